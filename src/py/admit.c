/* admit.c - may a test be run on the fused path? Reads what its way through needs (fuse.h). */
#include "py/fuse.h"

#include "py/words.h"

static void count_reason(PyObject *why)
{
    PyObject *n = PyDict_GetItemWithError(fuse.reasons, why);
    PyObject *more = PyLong_FromLong(n ? PyLong_AsLong(n) + 1 : 1); /* owned */

    if (more)
        PyDict_SetItem(fuse.reasons, why, more);
    Py_XDECREF(more);
    PyErr_Clear();
}

bool admit_not(const char *why)
{
    PyObject *text = PyUnicode_FromString(why); /* owned */

    PyErr_Clear();
    if (text)
        count_reason(text);
    Py_XDECREF(text);
    return false;
}

static bool is_patched(const struct pass *pass)
{
    return PyDict_Contains(pass->dict, S(runtest)) || PyDict_Contains(pass->dict, S(setup)) ||
           PyDict_Contains(pass->dict, S(teardown)) || PyDict_Contains(pass->dict, S(add_report_section));
}

/* Is the test one that pytest_pyfunc_call can just call? */
static bool is_callable_now(struct pass *pass)
{
    PyObject *obj = fuse_obj(pass); /* owned */
    PyObject *function = obj && PyMethod_Check(obj) ? PyMethod_GET_FUNCTION(obj) : obj;
    bool plain = function && PyFunction_Check(function);

    if (plain) {
        PyObject *dict = ((PyFunctionObject *)function)->func_dict;
        const int flags = ((PyCodeObject *)PyFunction_GET_CODE(function))->co_flags;

        dict = dict && PyDict_GET_SIZE(dict) ? dict : NULL;
        plain = !(flags & (CO_COROUTINE | CO_ASYNC_GENERATOR | CO_ITERABLE_COROUTINE)) &&
                !(dict &&
                  (PyDict_GetItemString(dict, "_is_coroutine") || PyDict_GetItemString(dict, "_is_coroutine_mark")));
    }
    Py_XDECREF(obj);
    PyErr_Clear();
    return plain || pass->hooks->pyfunc != Py_None;
}

/* Appends the arguments of the filterwarnings marks of a list. 0 or -1. */
static int add_filters(PyObject *marks, PyObject *found)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(marks); i++) {
        PyObject *name = PyObject_GetAttr(PyList_GET_ITEM(marks, i), S(name)); /* owned */
        const bool is = name && PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "filterwarnings") == 0;
        PyObject *args = is ? PyObject_GetAttr(PyList_GET_ITEM(marks, i), S(args)) : NULL; /* owned */
        const int code = name && (!is || (args && PyList_Append(found, args) == 0)) ? 0 : -1;

        Py_XDECREF(name);
        Py_XDECREF(args);
        if (code < 0)
            return -1;
    }
    return 0;
}

/* The arguments of all filterwarnings marks of the test, the closest first, as pytest goes through them. 0 or -1. */
static int read_filters(struct pass *pass, PyObject *own)
{
    PyObject *found = PyList_New(0); /* owned */
    int code = found ? add_filters(own, found) : -1;

    for (Py_ssize_t i = PyTuple_GET_SIZE(pass->parent->marks); i > 0 && code == 0; i--)
        code = add_filters(PyTuple_GET_ITEM(pass->parent->marks, i - 1), found);
    if (code == 0)
        pass->filters = PyList_AsTuple(found);
    Py_XDECREF(found);
    return pass->filters ? 0 : -1;
}

static int read_marks(struct pass *pass)
{
    PyObject *marks = fuse_own(pass, S(own_markers));
    unsigned special = pass->parent->special;

    if (!marks || !PyList_Check(marks))
        return -1;
    special |= parent_marks_in(marks);
    pass->n_marks = PyList_GET_SIZE(marks);
    pass->marked = (special & MARK_SKIPPING) != 0;
    return special & MARK_FILTERWARNINGS ? read_filters(pass, marks) : 0;
}

/* item.nodeid is a property over these. New, NULL when it is not that simple. */
static PyObject *kept_nodeid(PyObject *item)
{
    PyObject *id = PyObject_GetAttr(item, fuse.id_is_object ? S(_id) : S(_nodeid)); /* owned */

    if (id && fuse.id_is_object)
        Py_SETREF(id, PyObject_GetAttr(id, S(_str_cache)));
    if (id && !PyUnicode_CheckExact(id))
        Py_CLEAR(id);
    PyErr_Clear();
    return id;
}

static int read_item(struct pass *pass)
{
    PyObject *stash;

    pass->dict = compat_dict(pass->item);
    if (!pass->dict || !PyDict_CheckExact(pass->dict))
        return -1;
    stash = fuse_own(pass, S(stash));
    pass->keywords = fuse_own(pass, S(keywords));
    pass->request = Py_XNewRef(fuse_own(pass, S(_request)));
    pass->funcargs = Py_XNewRef(fuse_own(pass, S(funcargs)));
    if (!stash || !pass->keywords || !pass->request || !pass->funcargs)
        return -1;
    pass->storage = PyObject_GetAttr(stash, S(_storage));
    pass->markers = pass->storage ? PyObject_GetAttr(pass->keywords, S(_markers)) : NULL;
    if (!pass->markers || !PyDict_CheckExact(pass->markers) || !PyDict_CheckExact(pass->storage) ||
        !PyDict_CheckExact(pass->funcargs))
        return -1;
    pass->n_keywords = PyDict_GET_SIZE(pass->markers);
    pass->nodeid = kept_nodeid(pass->item);
    if (!pass->nodeid)
        pass->nodeid = PyObject_GetAttr(pass->item, S(nodeid));
    return pass->nodeid && PyUnicode_Check(pass->nodeid) ? 0 : -1;
}

/* pytest works around twisted's trial, and so does trial around pytest. */
static bool has_trial(void)
{
    PyObject *modules = PySys_GetObject("modules");

    return !modules || !PyDict_Check(modules) || PyDict_GetItemString(modules, "twisted.trial.unittest");
}

bool admit(struct pass *pass)
{
    PyObject *type = (PyObject *)Py_TYPE(pass->item);

    pass->testcase = type == fuse.testcase_type;
    if (!pass->testcase && type != fuse.function_type)
        return admit_not("not a plain test function (doctest, a plugin's own item)");
    pass->parent = parent_of(pass->item, fuse.owner);
    if (!pass->parent)
        return admit_not("its module or class could not be read");
    if (!pass->parent->hooks)
        return count_reason(pass->parent->why), false;
    pass->hooks = pass->parent->hooks;
    if (read_item(pass) < 0)
        return admit_not("its attributes are not as pytest makes them");
    if ((PyObject *)Py_TYPE(pass->request) != fuse.request_type || PyDict_GET_SIZE(pass->funcargs))
        return admit_not("it has run before");
    if (is_patched(pass))
        return admit_not("its methods are replaced");
    if (pass->testcase ? has_trial() : !is_callable_now(pass))
        return admit_not(pass->testcase ? "unittest while twisted's trial is loaded" : "an async or unusual function");
    if (read_marks(pass) < 0)
        return admit_not("a mark that is not as pytest makes it");
    return true;
}
