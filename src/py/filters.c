/* filters.c - see filters.h. */
#include "py/filters.h"

#include "py/words.h"

static struct {
    PyObject *warnings;    /* owned: the module's dictionary; NULL without the warnings plugin */
    PyObject *log;         /* owned */
    PyObject *filters;     /* owned, the list */
    PyObject *filters_as;  /* owned, tuple: what it held */
    PyObject *showwarnmsg; /* owned */
    PyObject *showwarning; /* owned */
    PyObject *mutated;     /* owned */
    PyObject *sources;     /* owned, tuple of lists */
    PyObject *sources_as;  /* owned, tuple of tuples: what they held */
    PyObject *categories;  /* owned, tuple */
    PyObject *marks;       /* owned, tuple, empty for none */
    bool noisy;            /* setting the filters up warns, so it is done for each test */
    PyObject *remembered;  /* owned, dict: marks -> (filters_as, categories) */
} rec;

static bool same_items(PyObject *list, PyObject *tuple)
{
    if (!PyList_Check(list) || PyList_GET_SIZE(list) != PyTuple_GET_SIZE(tuple))
        return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(tuple); i++)
        if (PyList_GET_ITEM(list, i) != PyTuple_GET_ITEM(tuple, i))
            return false;
    return true;
}

static bool filters_changed(void)
{
    PyObject *filters = PyDict_GetItem(rec.warnings, S(filters));

    return filters != rec.filters || !same_items(filters, rec.filters_as);
}

bool filters_warned(void)
{
    return rec.warnings && (PyList_GET_SIZE(rec.log) || filters_changed() ||
                            PyDict_GetItem(rec.warnings, S(_showwarnmsg_impl)) != rec.showwarnmsg ||
                            PyDict_GetItem(rec.warnings, S(showwarning)) != rec.showwarning);
}

bool filters_only_warned(void)
{
    return !rec.noisy && !filters_changed() && PyDict_GetItem(rec.warnings, S(_showwarnmsg_impl)) == rec.showwarnmsg &&
           PyDict_GetItem(rec.warnings, S(showwarning)) == rec.showwarning;
}

int filters_again(void)
{
    PyObject *done = PyObject_CallNoArgs(rec.mutated); /* owned */

    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* ---- what the filters were made of */

static bool sources_changed(void)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(rec.sources); i++)
        if (!same_items(PyTuple_GET_ITEM(rec.sources, i), PyTuple_GET_ITEM(rec.sources_as, i)))
            return true;
    return false;
}

/* A module that was loaded anew has other classes. */
static bool categories_changed(PyObject *categories)
{
    PyObject *modules = PyTuple_GET_SIZE(categories) ? PySys_GetObject("modules") : NULL;
    bool changed = PyTuple_GET_SIZE(categories) && (!modules || !PyDict_Check(modules));

    for (Py_ssize_t i = 0; !changed && i < PyTuple_GET_SIZE(categories); i++) {
        PyObject *entry = PyTuple_GET_ITEM(categories, i);
        PyObject *module = PyDict_GetItem(modules, PyTuple_GET_ITEM(entry, 0));
        PyObject *found = module ? PyObject_GetAttr(module, PyTuple_GET_ITEM(entry, 1)) : NULL; /* owned */

        changed = found != PyTuple_GET_ITEM(entry, 2);
        Py_XDECREF(found);
        PyErr_Clear();
    }
    return changed;
}

/* ---- the filters of marks */

static PyObject *no_marks(void)
{
    static PyObject *none; /* owned, for ever */

    if (!none)
        none = PyTuple_New(0);
    return none;
}

static bool are_those_of(PyObject *marks)
{
    int equal;

    if (marks == rec.marks)
        return true;
    equal = rec.marks ? PyObject_RichCompareBool(rec.marks, marks, Py_EQ) : 0;
    PyErr_Clear();
    return equal == 1;
}

void filters_belong_to(PyObject *marks)
{
    PyObject *entry;

    marks = marks ? marks : no_marks();
    Py_XSETREF(rec.marks, Py_XNewRef(marks));
    rec.noisy = rec.warnings && PyList_GET_SIZE(rec.log) != 0;
    if (!rec.warnings || !marks || PyList_GET_SIZE(rec.log)) /* setting them up has warned: it does so each time */
        return;
    if (!rec.remembered)
        rec.remembered = PyDict_New();
    entry = PyTuple_Pack(2, rec.filters_as, rec.categories); /* owned */
    if (entry && rec.remembered)
        PyDict_SetItem(rec.remembered, marks, entry);
    PyErr_Clear(); /* arguments that have no hash: set up anew each time */
    Py_XDECREF(entry);
}

/* 0, or -1 without an exception: pytest has to do it. */
static int put_back(PyObject *marks)
{
    PyObject *entry = rec.remembered ? PyDict_GetItemWithError(rec.remembered, marks) : NULL;
    PyObject *list;
    PyObject *done;

    PyErr_Clear();
    if (!entry || filters_warned() || categories_changed(PyTuple_GET_ITEM(entry, 1)))
        return -1;
    list = PySequence_List(PyTuple_GET_ITEM(entry, 0)); /* owned */
    done = list && PyList_SetSlice(rec.filters, 0, PyList_GET_SIZE(rec.filters), list) == 0
               ? PyObject_CallNoArgs(rec.mutated)
               : NULL; /* owned */
    Py_XDECREF(list);
    Py_XDECREF(done);
    PyErr_Clear();
    if (!done)
        return -1;
    Py_XSETREF(rec.filters_as, Py_NewRef(PyTuple_GET_ITEM(entry, 0)));
    Py_XSETREF(rec.categories, Py_NewRef(PyTuple_GET_ITEM(entry, 1)));
    Py_XSETREF(rec.marks, Py_NewRef(marks));
    return 0;
}

bool filters_suit(PyObject *marks)
{
    marks = marks ? marks : no_marks();
    if (!rec.warnings)
        return true;
    if (!marks || sources_changed()) {
        Py_CLEAR(rec.remembered);
        return false;
    }
    if (are_those_of(marks))
        return !categories_changed(rec.categories);
    return put_back(marks) == 0;
}

/* ---- the recorder */

static PyObject *copies_of(PyObject *lists)
{
    PyObject *copies = PyTuple_New(PyTuple_GET_SIZE(lists)); /* owned */

    for (Py_ssize_t i = 0; copies && i < PyTuple_GET_SIZE(lists); i++) {
        PyObject *one = PySequence_Tuple(PyTuple_GET_ITEM(lists, i));

        if (!one)
            Py_CLEAR(copies);
        else
            PyTuple_SET_ITEM(copies, i, one);
    }
    return copies;
}

static int read_module(PyObject *module)
{
    PyObject *dict = module && PyModule_Check(module) ? PyModule_GetDict(module) : NULL;
    PyObject *filters = dict ? PyDict_GetItem(dict, S(filters)) : NULL;

    if (!filters || !PyList_Check(filters)) {
        PyErr_SetString(PyExc_TypeError, "warnings.filters is no list");
        return -1;
    }
    Py_XSETREF(rec.filters, Py_NewRef(filters));
    Py_XSETREF(rec.filters_as, PySequence_Tuple(filters));
    Py_XSETREF(rec.showwarnmsg, Py_XNewRef(PyDict_GetItem(dict, S(_showwarnmsg_impl))));
    Py_XSETREF(rec.showwarning, Py_XNewRef(PyDict_GetItem(dict, S(showwarning))));
    Py_XSETREF(rec.warnings, Py_NewRef(dict));
    return rec.filters_as ? 0 : -1;
}

static bool same_copies(PyObject *a, PyObject *b)
{
    if (PyTuple_GET_SIZE(a) != PyTuple_GET_SIZE(b))
        return false;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(a); i++) {
        PyObject *one = PyTuple_GET_ITEM(a, i);
        PyObject *other = PyTuple_GET_ITEM(b, i);

        if (PyTuple_GET_SIZE(one) != PyTuple_GET_SIZE(other))
            return false;
        for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(one); k++)
            if (PyTuple_GET_ITEM(one, k) != PyTuple_GET_ITEM(other, k))
                return false;
    }
    return true;
}

/* What is remembered belongs to other sources. */
static int forget_others(void)
{
    PyObject *copies = copies_of(rec.sources); /* owned */

    if (!copies)
        return -1;
    if (!rec.sources_as || !same_copies(rec.sources_as, copies))
        Py_CLEAR(rec.remembered);
    Py_XSETREF(rec.sources_as, copies);
    return 0;
}

int filters_entered(PyObject *state)
{
    static const char *const names[] = {"log", "mutated", "sources", "categories"};
    PyObject **const places[] = {&rec.log, &rec.mutated, &rec.sources, &rec.categories};
    PyObject *log = PyDict_GetItemString(state, "log");

    if (!log)
        return 0;
    Py_CLEAR(rec.warnings);
    if (!PyList_Check(log))
        return 0;
    if (words_take(state, names, places, HS_COUNT(names)) < 0)
        return -1;
    if (forget_others() < 0)
        return -1;
    return read_module(PyDict_GetItemString(state, "warnings"));
}
