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

/* Its code has not come to its end. */
bool edge_is_partial(PyObject *module)
{
    PyObject *spec = edge_attribute(module, "__spec__"); /* borrowed */
    PyObject *value;                                     /* owned */
    bool truth;

    if (!spec || spec == Py_None)
        return false;
    value = PyObject_GetAttrString(spec, "_initializing");
    truth = value == Py_True;
    Py_XDECREF(value);
    PyErr_Clear();
    return truth;
}

static void write_edge(const struct place *place, PyObject *target, PyObject *names, uint32_t flags)
{
    const struct span *load = span_load();
    struct log_edge edge = {.head.type = LOG_EDGE, .flags = flags};

    place_write(place, &edge.place, &edge.flags);
    edge.target = importlog_text(target);
    edge.names = importlog_text(names);
    edge.loading = load ? load->seq : LOG_NONE;
    if (edge.target && edge.place.importer)
        importlog_add(&edge, sizeof edge);
}

/* The absolute name that a relative import means: owned, NULL with or without an exception when there is none. */
PyObject *edge_resolve(PyObject *globals, PyObject *name, int level)
{
    PyObject *package;     /* owned */
    PyObject *base = NULL; /* owned */
    PyObject *full = NULL; /* owned */
    Py_ssize_t end;

    if (level <= 0)
        return Py_NewRef(name);
    package = PyDict_GetItemString(globals, "__package__");
    if (!package || !PyUnicode_Check(package))
        return NULL;
    end = PyUnicode_GET_LENGTH(package);
    for (int i = 1; i < level && end > 0; i++)
        end = PyUnicode_FindChar(package, '.', 0, end, -1);
    if (end <= 0)
        return NULL;
    base = PyUnicode_Substring(package, 0, end);
    if (base && PyUnicode_GET_LENGTH(name) > 0)
        full = PyUnicode_FromFormat("%U.%U", base, name);
    else
        full = Py_XNewRef(base);
    Py_XDECREF(base);
    return full;
}

/* "a,b" of a fromlist: owned; NULL without an exception for none. */
static PyObject *joined(PyObject *fromlist)
{
    PyObject *comma;       /* owned */
    PyObject *text = NULL; /* owned */

    if (!fromlist || fromlist == Py_None || !PySequence_Check(fromlist) || PySequence_Size(fromlist) <= 0)
        goto done;
    comma = PyUnicode_FromString(",");
    if (comma)
        text = PyUnicode_Join(comma, fromlist);
    Py_XDECREF(comma);
done:
    PyErr_Clear();
    return text;
}

/* `from package import a, b`: what of it are modules, which the statement reaches, too. True when all are. */
static bool write_submodules(const struct place *place, PyObject *package, PyObject *fromlist)
{
    bool all = true;

    if (!fromlist || !PyTuple_Check(fromlist) || !edge_attribute(edge_loaded(package), "__path__"))
        return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(fromlist); i++) {
        PyObject *name = PyTuple_GET_ITEM(fromlist, i); /* borrowed */
        PyObject *full = NULL;                          /* owned */

        if (PyUnicode_Check(name))
            full = PyUnicode_FromFormat("%U.%U", package, name);
        if (full && edge_loaded(full))
            write_edge(place, full, NULL, 0);
        else
            all = false;
        Py_XDECREF(full);
    }
    PyErr_Clear();
    return all;
}

void edge_note(const struct place *place, PyObject *target, PyObject *fromlist, bool partial)
{
    PyObject *failure = compat_take_exception(); /* owned: the statement's own, if it failed */
    PyObject *names = joined(fromlist);          /* owned */
    const bool all = write_submodules(place, target, fromlist);

    /* A package that is asked for its modules only need not be executed to its end. */
    write_edge(place, target, names, all ? LOG_PARENT : partial ? LOG_PARTIAL : 0);
    PyErr_Clear();
    Py_XDECREF(names);
    if (failure)
        compat_put_exception(failure);
}
