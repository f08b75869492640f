/* covered.c - what was collected (run/hits.h), as coverage.py's data file wants it. */
#include "py/native.h"

#include "run/hits.h"

#include <string.h>

/* What one walk over the memory gathers. */
struct gathered {
    const struct hits *hits;
    PyObject *names;    /* owned: dict, number of a context -> its name */
    PyObject *paths;    /* owned: dict, number of a file -> its path */
    PyObject *arcs;     /* owned: dict, number of a file -> {number of an arc: (from, to)} */
    PyObject *lines_of; /* owned: dict, (path, context) -> bytearray */
    PyObject *arcs_of;  /* owned: dict, (path, context) -> set of (from, to) */
};

static int set_by_number(PyObject *dict, uint32_t number, PyObject *value)
{
    PyObject *key = value ? PyLong_FromUnsignedLong(number) : NULL;
    const int code = key ? PyDict_SetItem(dict, key, value) : -1;

    Py_XDECREF(key);
    Py_XDECREF(value);
    return code;
}

static PyObject *get_by_number(PyObject *dict, uint32_t number) /* borrowed; NULL with an exception set */
{
    PyObject *key = PyLong_FromUnsignedLong(number);
    PyObject *value = key ? PyDict_GetItemWithError(dict, key) : NULL;

    if (key && !value && !PyErr_Occurred())
        PyErr_SetObject(PyExc_KeyError, key);
    Py_XDECREF(key);
    return value;
}

static int add_context(const struct hits_context *context, void *data)
{
    struct gathered *g = data;

    return set_by_number(g->names, context->id, PyUnicode_DecodeUTF8(context->name, context->size, "replace"));
}

static int or_lines(struct gathered *g, PyObject *key, const uint8_t *bits, size_t at, size_t n)
{
    PyObject *all = PyDict_GetItemWithError(g->lines_of, key); /* borrowed */
    uint8_t *bytes;

    while (n > 0 && bits[n - 1] == 0)
        n--;
    if (n == 0)
        return 0;
    if (!all) {
        all = PyErr_Occurred() ? NULL : PyByteArray_FromStringAndSize(NULL, 0);
        if (!all || PyDict_SetItem(g->lines_of, key, all) < 0) {
            Py_XDECREF(all);
            return -1;
        }
        Py_DECREF(all);
    }
    if ((size_t)PyByteArray_GET_SIZE(all) < at + n) {
        const size_t before = (size_t)PyByteArray_GET_SIZE(all);

        if (PyByteArray_Resize(all, (Py_ssize_t)(at + n)) < 0)
            return -1;
        memset(PyByteArray_AS_STRING(all) + before, 0, at + n - before);
    }
    bytes = (uint8_t *)PyByteArray_AS_STRING(all);
    for (size_t i = 0; i < n; i++)
        bytes[at + i] |= bits[i];
    return 0;
}

static PyObject *set_for(PyObject *dict, PyObject *key) /* borrowed */
{
    PyObject *set = PyDict_GetItemWithError(dict, key);

    if (set || PyErr_Occurred())
        return set;
    set = PySet_New(NULL);
    if (set && PyDict_SetItem(dict, key, set) < 0)
        Py_CLEAR(set);
    Py_XDECREF(set);
    return set;
}

/* The arcs of one file by number; without contexts they are what ran. */
static int add_arcs(struct gathered *g, const struct hits_file *file, PyObject *key)
{
    PyObject *by_number = PyDict_New(); /* owned */
    const bool by_context = atomic_load(&g->hits->head->by_context) == HITS_LINES_BY_CONTEXT;
    PyObject *ran = file->arcs_room && !by_context ? set_for(g->arcs_of, key) : NULL;

    for (uint32_t i = 0; by_number && i < file->arcs_room; i++) {
        struct hits_pair pair;
        PyObject *arc;

        if (!hits_arc_at(g->hits, file, i, &pair))
            continue;
        arc = Py_BuildValue("(ii)", pair.from, pair.to);
        if (!arc || (ran && PySet_Add(ran, arc) < 0))
            Py_CLEAR(arc);
        if (set_by_number(by_number, pair.number, arc) < 0)
            Py_CLEAR(by_number);
    }
    if (PyErr_Occurred())
        Py_CLEAR(by_number);
    return set_by_number(g->arcs, file->id, by_number);
}

static int add_file(const struct hits_file *file, void *data)
{
    struct gathered *g = data;
    PyObject *path = PyUnicode_DecodeUTF8(hits_path(g->hits, file), file->path_size, "replace"); /* owned */
    PyObject *key = path ? Py_BuildValue("(Os)", path, "") : NULL;                               /* owned */
    int code = path ? 0 : -1;

    if (code == 0 && key)
        code = or_lines(g, key, hits_lines(g->hits, file), 0, file->n_lines / 8);
    if (code == 0)
        code = add_arcs(g, file, key);
    if (code == 0)
        code = set_by_number(g->paths, file->id, Py_NewRef(path));
    Py_XDECREF(key);
    Py_XDECREF(path);
    return code < 0 || PyErr_Occurred() ? -1 : 0;
}

static int add_piece_of_arcs(struct gathered *g, const struct hits_piece *piece, PyObject *key)
{
    PyObject *by_number = get_by_number(g->arcs, piece->file); /* borrowed */
    PyObject *ran = by_number ? set_for(g->arcs_of, key) : NULL;

    for (uint32_t i = 0; ran && i < HITS_PIECE_BITS; i++) {
        PyObject *arc;

        if (!(piece->bits[i / 8] & 1u << i % 8))
            continue;
        arc = get_by_number(by_number, piece->index * HITS_PIECE_BITS + i);
        if (!arc || PySet_Add(ran, arc) < 0)
            return -1;
    }
    return ran ? 0 : -1;
}

static int add_piece(const struct hits_piece *piece, void *data)
{
    struct gathered *g = data;
    PyObject *path = get_by_number(g->paths, piece->file);
    PyObject *name = path ? get_by_number(g->names, piece->context) : NULL;
    PyObject *key = name ? PyTuple_Pack(2, path, name) : NULL; /* owned */
    int code = -1;

    if (key && piece->is_arcs)
        code = add_piece_of_arcs(g, piece, key);
    else if (key)
        code = or_lines(g, key, piece->bits, (size_t)piece->index * sizeof piece->bits, sizeof piece->bits);
    Py_XDECREF(key);
    return code;
}

/* A line that ran is an arc to itself, where arcs are wanted. */
static int lines_as_arcs(struct gathered *g)
{
    PyObject *key;
    PyObject *bytes;
    Py_ssize_t at = 0;

    while (PyDict_Next(g->lines_of, &at, &key, &bytes)) {
        PyObject *ran = set_for(g->arcs_of, key);
        const uint8_t *bits = (const uint8_t *)PyByteArray_AS_STRING(bytes);

        for (Py_ssize_t line = 0; ran && line < 8 * PyByteArray_GET_SIZE(bytes); line++) {
            PyObject *arc = bits[line / 8] & 1u << line % 8 ? Py_BuildValue("(nn)", line, line) : NULL;

            if (arc && PySet_Add(ran, arc) < 0)
                ran = NULL;
            Py_XDECREF(arc);
        }
        if (!ran || PyErr_Occurred())
            return -1;
    }
    return 0;
}

static PyObject *gather(struct hits *hits)
{
    struct gathered g = {.hits = hits, PyDict_New(), PyDict_New(), PyDict_New(), PyDict_New(), PyDict_New()};
    PyObject *result = NULL;

    if (g.names && g.paths && g.arcs && g.lines_of && g.arcs_of && hits_each_context(hits, add_context, &g) == 0 &&
        hits_each_file(hits, add_file, &g) == 0 && hits_each_piece(hits, add_piece, &g) == 0 &&
        (!atomic_load(&hits->head->branch) || lines_as_arcs(&g) == 0))
        result = Py_BuildValue("(OOk)", g.lines_of, g.arcs_of, (unsigned long)atomic_load(&hits->head->n_lost));
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_OSError, "coverage's memory cannot be read");
    Py_XDECREF(g.names);
    Py_XDECREF(g.paths);
    Py_XDECREF(g.arcs);
    Py_XDECREF(g.lines_of);
    Py_XDECREF(g.arcs_of);
    return result;
}

static PyObject *native_covered(PyObject *self, PyObject *arg)
{
    const long fd = PyLong_AsLong(arg);
    struct hits hits = {0};
    struct err err = {0};
    PyObject *result;

    (void)self;
    if (fd == -1 && PyErr_Occurred())
        return NULL;
    if (hits_attach(&hits, (int)fd, &err) < 0)
        return compat_raise(PyExc_OSError, &err);
    result = gather(&hits);
    hits_detach(&hits);
    return result;
}

PyMethodDef covered_methods[] = {
    {"covered", native_covered, METH_O,
     "covered(fd) -> (lines, arcs, n_lost)\n\nlines: {(path, context): bytearray of numbits}; arcs: {(path, context): "
     "set of (from, to)}; n_lost: what found no room. OSError."},
    {NULL, NULL, 0, NULL},
};
