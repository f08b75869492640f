/*
 * collector.c - forked processes keep what their parent made out of the cyclic collector's sight.
 *
 * A collection writes into the header of every object that it looks at: in a fork it copies all pages that were shared
 * with the template, and spends its time on objects that were there before the first test. So they are frozen
 * (gc.freeze) - until somebody looks: gc.collect, get_objects, get_referrers, get_stats, freeze, unfreeze and
 * get_freeze_count give them back first. Found by calling, not by name: the functions' own entries in CPython's method
 * table are replaced, as `from gc import collect` may have been executed long before.
 */
#include "py/native.h"

#define FUNCTIONS(X)      \
    X(0, "collect")       \
    X(1, "get_objects")   \
    X(2, "get_referrers") \
    X(3, "get_stats")     \
    X(4, "freeze")        \
    X(5, "unfreeze")      \
    X(6, "get_freeze_count")

enum { N_FUNCTIONS = 7 };

static struct {
    const char *name;
    PyMethodDef *def; /* CPython's own entry; NULL while not replaced */
    PyCFunction original;
} held[N_FUNCTIONS];

static bool holding;

static void give_back(void)
{
    PyObject *gc;
    PyObject *done;

    if (!holding)
        return;
    holding = false;
    for (int i = 0; i < N_FUNCTIONS; i++)
        if (held[i].def)
            held[i].def->ml_meth = held[i].original;
    gc = PyImport_ImportModule("gc");
    done = gc ? PyObject_CallMethod(gc, "unfreeze", NULL) : NULL;
    if (!done)
        PyErr_Clear(); /* cannot happen: gc is built in; and the caller's own call goes on either way */
    Py_XDECREF(done);
    Py_XDECREF(gc);
}

typedef PyObject *two_args(PyObject *, PyObject *);
typedef PyObject *fast_args(PyObject *, PyObject *const *, Py_ssize_t);
typedef PyObject *fast_keywords(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
typedef PyObject *with_keywords(PyObject *, PyObject *, PyObject *);
typedef void any_function(void);

/* One stand-in for each function and calling convention. */
#define STAND_INS(i, text)                                                                                   \
    static PyObject *plain_##i(PyObject *self, PyObject *arg)                                                \
    {                                                                                                        \
        give_back();                                                                                         \
        return ((two_args *)(any_function *)held[i].original)(self, arg);                                    \
    }                                                                                                        \
    static PyObject *fast_##i(PyObject *self, PyObject *const *args, Py_ssize_t n)                           \
    {                                                                                                        \
        give_back();                                                                                         \
        return ((fast_args *)(any_function *)held[i].original)(self, args, n);                               \
    }                                                                                                        \
    static PyObject *fast_keywords_##i(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names) \
    {                                                                                                        \
        give_back();                                                                                         \
        return ((fast_keywords *)(any_function *)held[i].original)(self, args, n, names);                    \
    }                                                                                                        \
    static PyObject *keywords_##i(PyObject *self, PyObject *args, PyObject *keywords)                        \
    {                                                                                                        \
        give_back();                                                                                         \
        return ((with_keywords *)(any_function *)held[i].original)(self, args, keywords);                    \
    }

FUNCTIONS(STAND_INS)

static any_function *stand_in(int i, int flags)
{
#define ROW(at, text)                                                                                  \
    [at] = {(any_function *)plain_##at, (any_function *)fast_##at, (any_function *)fast_keywords_##at, \
            (any_function *)keywords_##at},
    static any_function *const table[N_FUNCTIONS][4] = {FUNCTIONS(ROW)};

    switch (flags & (METH_NOARGS | METH_O | METH_VARARGS | METH_FASTCALL | METH_KEYWORDS)) {
    case METH_NOARGS:
    case METH_O:
    case METH_VARARGS:
        return table[i][0];
    case METH_FASTCALL:
        return table[i][1];
    case METH_FASTCALL | METH_KEYWORDS:
        return table[i][2];
    case METH_VARARGS | METH_KEYWORDS:
        return table[i][3];
    default:
        return NULL;
    }
}

/* False, with nothing changed, when gc's function is not the interpreter's own. */
static bool find(PyObject *gc, int i)
{
    PyObject *function = PyObject_GetAttrString(gc, held[i].name); /* owned */
    bool found = false;

    if (function && PyCFunction_CheckExact(function)) {
        held[i].def = ((PyCFunctionObject *)function)->m_ml;
        held[i].original = held[i].def->ml_meth;
        found = stand_in(i, held[i].def->ml_flags) != NULL;
    }
    PyErr_Clear();
    Py_XDECREF(function); /* the module keeps it */
    return found;
}

static PyObject *native_collector_hold(PyObject *self, PyObject *args)
{
#define NAME(at, text) held[at].name = text;
    PyObject *gc = PyImport_ImportModule("gc"); /* owned */
    PyObject *done;

    (void)self;
    (void)args;
    if (!gc)
        return NULL;
    FUNCTIONS(NAME)
    for (int i = 0; i < N_FUNCTIONS && !holding; i++)
        if (!find(gc, i)) {
            Py_DECREF(gc);
            Py_RETURN_FALSE;
        }
    done = holding ? Py_NewRef(Py_None) : PyObject_CallMethod(gc, "freeze", NULL);
    Py_DECREF(gc);
    if (!done)
        return NULL;
    Py_DECREF(done);
    for (int i = 0; i < N_FUNCTIONS; i++)
        held[i].def->ml_meth = (PyCFunction)stand_in(i, held[i].def->ml_flags);
    holding = true;
    Py_RETURN_TRUE;
}

static PyObject *native_collector_collect(PyObject *self, PyObject *args)
{
    int most = 5;
    int i;

    (void)self;
    if (!PyArg_ParseTuple(args, "|i", &most))
        return NULL;
    for (i = 0; i < most; i++)
        if (PyGC_Collect() == 0)
            break;
    return PyLong_FromLong(i);
}

PyMethodDef collector_methods[] = {
    {"collector_hold", native_collector_hold, METH_NOARGS,
     "collector_hold() -> bool\n\nFreezes what exists, until a function of gc is called that would show or need it. "
     "False where gc's functions are not the interpreter's own."},
    {"collector_collect", native_collector_collect, METH_VARARGS,
     "collector_collect(most=5) -> int\n\nCollects what was made since collector_hold, again until nothing is found, "
     "at most `most` times."},
    {NULL, NULL, 0, NULL},
};
