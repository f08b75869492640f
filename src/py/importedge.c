/* importedge.c - who imports whom, whether it was there or not. */
#include "py/importwatch.h"

#include "py/importlog.h"

/* sys.modules[name]: borrowed, NULL without an exception. */
PyObject *edge_loaded(PyObject *name)
{
    PyObject *modules = PyImport_GetModuleDict(); /* borrowed */
    PyObject *module = modules && PyDict_Check(modules) ? PyDict_GetItemWithError(modules, name) : NULL;

    if (!module)
        PyErr_Clear();
    return module;
}

PyObject *edge_attribute(PyObject *module, const char *name)
{
    PyObject *value = NULL; /* borrowed from the module */

    if (module && PyModule_Check(module))
        value = PyDict_GetItemString(PyModule_GetDict(module), name);
    PyErr_Clear();
    return value;
}

/* The package that dots are counted from. */
static PyObject *package_of(PyObject *globals)
{
    static PyObject *key; /* owned for good */
    PyObject *package;    /* borrowed */

    if (!key)
        key = PyUnicode_InternFromString("__package__");
    package = key ? PyDict_GetItemWithError(globals, key) : NULL;
    PyErr_Clear();
    return package;
}

/* Of "a.b.c", "a.b": an extension module is no package. */
static uint32_t package_around(PyObject *name)
{
    const Py_ssize_t n = PyUnicode_GET_LENGTH(name);
    const Py_ssize_t dot = PyUnicode_FindChar(name, '.', 0, n, -1);
    PyObject *package = dot > 0 ? PyUnicode_Substring(name, 0, dot) : NULL; /* owned */
    const uint32_t text = package ? importlog_text(package) : 0;

    PyErr_Clear();
    Py_XDECREF(package);
    return text;
}

enum { MOST_NAMES = 500 };

void edge_note(const struct place *place, PyObject *name, int level, PyObject *fromlist)
{
    union {
        struct log_edge edge;
        char bytes[sizeof(struct log_edge) + (MOST_NAMES + 1) * sizeof(uint32_t)];
    } record;
    struct log_edge *edge = &record.edge;
    const struct span *load = span_load();

    *edge = (struct log_edge){.head.type = LOG_EDGE, .level = (uint32_t)level};
    place_write(place, &edge->place, &edge->flags);
    edge->name = importlog_text(name);
    edge->package = !level             ? 0
                    : place->extension ? package_around(place->extension)
                                       : importlog_text(package_of(place->globals));
    edge->loading = load ? load->seq : LOG_NONE;
    if (fromlist && (PyTuple_Check(fromlist) || PyList_Check(fromlist)))
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(fromlist) && edge->n_names < MOST_NAMES; i++)
            edge->names[edge->n_names++] = importlog_text(PySequence_Fast_GET_ITEM(fromlist, i));
    if (edge->n_names % 2)
        edge->names[edge->n_names] = 0; /* the record is a multiple of 8 bytes */
    if (edge->place.importer)
        importlog_add(edge, (sizeof *edge + edge->n_names * sizeof edge->names[0] + 7) & ~(size_t)7);
}
