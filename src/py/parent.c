/* parent.c - what the tests of one module or class share (parent.h). */
#include "py/parent.h"

#include "py/payload.h"
#include "py/words.h"

#include <string.h>

static PyObject *parents; /* owned: id(node) -> capsule */
static struct parent *latest;
static PyObject *relpaths;      /* owned, dict: co_filename -> path in a location, None where it is not that simple */
static PyObject *location_base; /* owned, str, ends in a slash; NULL: not known yet */

unsigned parent_marks_in(PyObject *marks)
{
    static const char *const skipping[] = {"skip", "skipif", "xfail"};
    unsigned found = 0;

    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(marks); i++) {
        PyObject *name = PyObject_GetAttr(PyList_GET_ITEM(marks, i), S(name)); /* owned */

        for (int k = 0; name && PyUnicode_Check(name) && k < 3; k++)
            if (PyUnicode_CompareWithASCIIString(name, skipping[k]) == 0)
                found |= MARK_SKIPPING;
        if (!name || !PyUnicode_Check(name) || PyUnicode_CompareWithASCIIString(name, "filterwarnings") == 0)
            found |= MARK_FILTERWARNINGS; /* one without a name: leave it to pytest */
        Py_XDECREF(name);
    }
    PyErr_Clear();
    return found;
}

Py_ssize_t parent_count_marks(const struct parent *parent)
{
    Py_ssize_t n = 0;

    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(parent->marks); i++)
        n += PyList_GET_SIZE(PyTuple_GET_ITEM(parent->marks, i));
    return n;
}

Py_ssize_t parent_count_keywords(const struct parent *parent)
{
    Py_ssize_t n = 0;

    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(parent->marker_dicts); i++)
        n += PyDict_GET_SIZE(PyTuple_GET_ITEM(parent->marker_dicts, i));
    return n;
}

static int read_marker_dicts(struct parent *parent)
{
    parent->marker_dicts = PyTuple_New(PyTuple_GET_SIZE(parent->chain));
    if (!parent->marker_dicts)
        return -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(parent->chain); i++) {
        PyObject *keywords = PyObject_GetAttr(PyTuple_GET_ITEM(parent->chain, i), S(keywords)); /* owned */
        PyObject *dict = keywords ? PyObject_GetAttr(keywords, S(_markers)) : NULL;             /* owned */

        Py_XDECREF(keywords);
        if (!dict || !PyDict_Check(dict)) {
            Py_XDECREF(dict);
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "keywords are no dictionary");
            return -1;
        }
        PyTuple_SET_ITEM(parent->marker_dicts, i, dict);
    }
    parent->n_keywords = parent_count_keywords(parent);
    return 0;
}

static int read_chain(struct parent *parent)
{
    PyObject *list = PyObject_CallMethod(parent->node, "listchain", NULL); /* owned */

    parent->chain = list ? PySequence_Tuple(list) : NULL;
    Py_XDECREF(list);
    parent->marks = parent->chain ? PyTuple_New(PyTuple_GET_SIZE(parent->chain)) : NULL;
    if (!parent->marks)
        return -1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(parent->chain); i++) {
        PyObject *marks = PyObject_GetAttr(PyTuple_GET_ITEM(parent->chain, i), S(own_markers)); /* owned */

        if (!marks || !PyList_Check(marks)) {
            Py_XDECREF(marks);
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "own_markers is no list");
            return -1;
        }
        PyTuple_SET_ITEM(parent->marks, i, marks);
        parent->special |= parent_marks_in(marks);
    }
    parent->n_marks = parent_count_marks(parent);
    return 0;
}

static int read_texts(struct parent *parent, PyObject *item)
{
    PyObject *keywords = PyObject_GetAttr(parent->node, S(keywords)); /* owned */
    PyObject *path;
    Py_ssize_t n;

    parent->keywords = keywords ? PySequence_Tuple(keywords) : NULL;
    Py_XDECREF(keywords);
    if (!relpaths)
        relpaths = PyDict_New();
    path = PyObject_CallMethod(item, "getmodpath", NULL); /* owned */
    if (!path || !PyUnicode_Check(path)) {
        Py_XDECREF(path);
        return -1;
    }
    keywords = PyObject_GetAttr(item, S(name)); /* owned */
    n = keywords ? PyUnicode_GET_LENGTH(path) - PyUnicode_GET_LENGTH(keywords) : -1;
    parent->prefix = n >= 0 ? PyUnicode_Substring(path, 0, n) : NULL;
    Py_XDECREF(keywords);
    Py_DECREF(path);
    parent->payload_end = parent->keywords ? payload_end(parent->keywords) : NULL;
    return parent->prefix && parent->payload_end && relpaths ? 0 : -1;
}

/* The owner answers a description of the hooks, or says in words why these tests are not fused. */
static int read_hooks(struct parent *parent, PyObject *item, PyObject *owner)
{
    PyObject *answer = PyObject_CallMethod(owner, "hooks_for", "O", item); /* owned */

    if (!answer)
        return -1;
    if (PyUnicode_Check(answer))
        parent->why = Py_NewRef(answer);
    else if (PyCapsule_CheckExact(answer))
        parent->hooks = PyCapsule_GetPointer(answer, "hasten.hooks");
    else
        PyErr_SetString(PyExc_TypeError, "hooks_for has to answer hooks or a text");
    Py_DECREF(answer);
    return PyErr_Occurred() ? -1 : 0;
}

static struct parent *make(PyObject *node, PyObject *item, PyObject *owner, PyObject *key)
{
    struct parent *parent = PyMem_Calloc(1, sizeof *parent); /* for as long as the process lives */
    PyObject *capsule = parent ? PyCapsule_New(parent, NULL, NULL) : NULL;

    if (!capsule)
        return NULL;
    parent->node = Py_NewRef(node);
    if (read_chain(parent) < 0 || read_marker_dicts(parent) < 0 || read_texts(parent, item) < 0 ||
        read_hooks(parent, item, owner) < 0 || PyDict_SetItem(parents, key, capsule) < 0)
        parent = NULL;
    Py_DECREF(capsule);
    return parent;
}

/* Marks, keywords or plugins came or went since it was made. */
static bool is_stale(const struct parent *parent)
{
    return (parent->hooks && !hooks_valid(parent->hooks)) || parent_count_marks(parent) != parent->n_marks ||
           parent_count_keywords(parent) != parent->n_keywords;
}

struct parent *parent_of(PyObject *item, PyObject *owner)
{
    PyObject *node = PyObject_GetAttr(item, S(parent)); /* owned */
    PyObject *key;
    PyObject *capsule;

    if (!node)
        return NULL;
    if (latest && latest->node == node && !is_stale(latest)) {
        Py_DECREF(node);
        return latest;
    }
    if (!parents)
        parents = PyDict_New();
    key = PyLong_FromVoidPtr(node); /* owned */
    capsule = parents && key ? PyDict_GetItemWithError(parents, key) : NULL;
    latest = capsule ? PyCapsule_GetPointer(capsule, NULL) : NULL;
    if (key && parents && !PyErr_Occurred() && (!latest || is_stale(latest)))
        latest = make(node, item, owner, key);
    Py_XDECREF(key);
    Py_DECREF(node);
    return latest;
}

/* ---- location and keywords */

PyObject *parent_code_of(PyObject *obj)
{
    static const char *const elsewhere[] = {"__wrapped__", "place_as", "__pytest_wrapped__"};
    PyObject *function = PyMethod_Check(obj) ? PyMethod_GET_FUNCTION(obj) : obj;
    PyObject *dict;

    if (!PyFunction_Check(function))
        return NULL;
    dict = ((PyFunctionObject *)function)->func_dict;
    for (int i = 0; dict && PyDict_GET_SIZE(dict) && i < 3; i++)
        if (PyDict_GetItemString(dict, elsewhere[i]))
            return NULL;
    return PyFunction_GET_CODE(function);
}

static PyObject *built_location(const struct parent *parent, PyObject *item, PyObject *code, PyObject *relpath)
{
    PyObject *name = PyObject_GetAttr(item, S(name));                             /* owned */
    PyObject *domain = name ? PyUnicode_Concat(parent->prefix, name) : NULL;      /* owned */
    PyObject *line = PyLong_FromLong(((PyCodeObject *)code)->co_firstlineno - 1); /* owned */
    PyObject *location = domain && line ? PyTuple_Pack(3, relpath, line, domain) : NULL;

    Py_XDECREF(name);
    Py_XDECREF(domain);
    Py_XDECREF(line);
    return location;
}

/* Is what follows the first n characters of a file's name a path without detours? */
static bool is_straight(PyObject *name, Py_ssize_t n)
{
    const char *text = PyUnicode_AsUTF8(name); /* ASCII of the same length, or something rare that is left to pytest */

    PyErr_Clear();
    return text && PyUnicode_IS_ASCII(name) && n > 0 && text[n - 1] == '/' && text[n] != '/' &&
           !strstr(text + n, "//") && !strstr(text + n, "./") && !strstr(text, "/../");
}

/* Files below this folder have the rest of their names in a location. */
static void learn_base(PyObject *filename, PyObject *relpath)
{
    const Py_ssize_t n = PyUnicode_GET_LENGTH(filename) - PyUnicode_GET_LENGTH(relpath);

    if (n > 0 && PyUnicode_Tailmatch(filename, relpath, 0, PY_SSIZE_T_MAX, 1) == 1 && is_straight(filename, n))
        Py_XSETREF(location_base, PyUnicode_Substring(filename, 0, n));
    PyErr_Clear();
}

/* Borrowed from relpaths; NULL when pytest has to be asked. */
static PyObject *relpath_by_base(PyObject *filename)
{
    PyObject *rest = NULL; /* owned */
    Py_ssize_t n;

    if (!location_base || PyUnicode_Tailmatch(filename, location_base, 0, PY_SSIZE_T_MAX, -1) != 1)
        return NULL;
    n = PyUnicode_GET_LENGTH(location_base);
    if (n < PyUnicode_GET_LENGTH(filename) && is_straight(filename, n))
        rest = PyUnicode_Substring(filename, n, PyUnicode_GET_LENGTH(filename));
    if (rest)
        PyDict_SetItem(relpaths, filename, rest);
    Py_XDECREF(rest);
    PyErr_Clear();
    return PyDict_GetItem(relpaths, filename);
}

/* pytest's own answer, and whether it could have been built. */
static PyObject *learnt_location(const struct parent *parent, PyObject *item, PyObject *code)
{
    PyObject *filename = ((PyCodeObject *)code)->co_filename;
    PyObject *real = PyObject_GetAttr(item, S(location)); /* owned */
    PyObject *built = real && PyTuple_Check(real) && PyTuple_GET_SIZE(real) == 3
                          ? built_location(parent, item, code, PyTuple_GET_ITEM(real, 0))
                          : NULL; /* owned */
    const int equal = built ? PyObject_RichCompareBool(real, built, Py_EQ) : 0;

    PyErr_Clear();
    if (real)
        PyDict_SetItem(relpaths, filename, equal == 1 ? PyTuple_GET_ITEM(real, 0) : Py_None);
    if (equal == 1)
        learn_base(filename, PyTuple_GET_ITEM(real, 0));
    Py_XDECREF(built);
    return real;
}

PyObject *parent_relpath(PyObject *code)
{
    PyObject *filename = ((PyCodeObject *)code)->co_filename;
    PyObject *relpath = PyDict_GetItemWithError(relpaths, filename);

    return relpath ? relpath : relpath_by_base(filename);
}

PyObject *parent_location(const struct parent *parent, PyObject *item)
{
    PyObject *obj = PyObject_GetAttr(item, S(obj));    /* owned */
    PyObject *code = obj ? parent_code_of(obj) : NULL; /* of a function that the test's module or class keeps, too */
    PyObject *relpath = code ? parent_relpath(code) : Py_None;

    Py_XDECREF(obj);
    PyErr_Clear();
    if (!relpath)
        return learnt_location(parent, item, code);
    if (relpath == Py_None)
        return PyObject_GetAttr(item, S(location));
    return built_location(parent, item, code, relpath);
}

PyObject *parent_keywords(const struct parent *parent, PyObject *item, Py_ssize_t n_own)
{
    PyObject *keywords = PyObject_GetAttr(item, S(keywords));                  /* owned */
    PyObject *own = keywords ? PyObject_GetAttr(keywords, S(_markers)) : NULL; /* owned */
    PyObject *result = own && PyDict_CheckExact(own) ? PyDict_New() : NULL;    /* owned */
    PyObject *one = PyLong_FromLong(1);                                        /* owned */
    PyObject *key;
    PyObject *value;
    Py_ssize_t at = 0;
    int code = result && one ? 0 : -1;

    while (code == 0 && n_own-- > 0 && PyDict_Next(own, &at, &key, &value))
        code = PyDict_SetItem(result, key, one);
    for (Py_ssize_t i = 0; code == 0 && i < PyTuple_GET_SIZE(parent->keywords); i++)
        code = PyDict_SetItem(result, PyTuple_GET_ITEM(parent->keywords, i), one);
    Py_XDECREF(keywords);
    Py_XDECREF(own);
    Py_XDECREF(one);
    if (code < 0)
        Py_CLEAR(result);
    return result;
}
