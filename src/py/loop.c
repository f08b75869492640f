/* loop.c - see loop.h. */
#include "py/loop.h"

#include "py/leased.h"
#include "py/link.h"
#include "py/words.h"
#include "py/native.h"

static struct {
    PyObject *session;  /* owned */
    PyObject *items;    /* owned, list */
    PyObject *items_of; /* owned, list: index in the catalog -> index in items */
    PyObject *original; /* owned: session._setupstate.teardown_exact */
    PyObject *current;  /* owned: the running test, where that is asked for (leased.h) */
    PyObject *peeked;   /* owned: what the running test was told to come next, or None */
    bool hidden;        /* the session has _shouldfail and _shouldstop */
    bool inside;        /* of a test */
    bool has_claimed;
    long claimed; /* -1: nothing comes next; or leased.h */
} loop;

/* Borrowed; NULL with an exception set. */
static PyObject *item_at(long index)
{
    PyObject *at = PyList_GetItem(loop.items_of, index);
    const Py_ssize_t i = at ? PyLong_AsSsize_t(at) : -1;

    return i < 0 ? NULL : PyList_GetItem(loop.items, i);
}

static void claim(void)
{
    loop.claimed = link_take();
    loop.has_claimed = true;
}

int loop_stopping(void)
{
    /* Since pytest 8.1 the two are properties over these attributes. */
    PyObject *const names[] = {loop.hidden ? S(_shouldfail) : S(shouldfail),
                               loop.hidden ? S(_shouldstop) : S(shouldstop)};
    int answer = 0;

    for (int i = 0; i < 2 && answer == 0; i++) {
        PyObject *value = PyObject_GetAttr(loop.session, names[i]); /* owned */

        answer = value ? PyObject_IsTrue(value) : -1;
        Py_XDECREF(value);
    }
    return answer;
}

PyObject *loop_nextitem(PyObject *nextitem)
{
    PyObject *next;

    if (!loop.inside || nextitem != loop.peeked)
        return nextitem;
    if (!loop.has_claimed) {
        const int stop = loop_stopping();

        if (stop < 0)
            return NULL;
        if (!stop)
            claim();
        else
            loop.claimed = -1;
        loop.has_claimed = true;
    }
    next = loop.claimed < 0 ? NULL : item_at(loop.claimed);
    if (loop.claimed >= 0 && !next)
        return NULL;
    if (leased_on())
        return leased_stand_in(loop.current, loop.claimed, next);
    return next ? next : Py_None;
}

PyObject *loop_original(void)
{
    return loop.original;
}

static PyObject *native_loop_set(PyObject *self, PyObject *args)
{
    PyObject *session;
    PyObject *items;
    PyObject *items_of;
    PyObject *original;

    (void)self;
    if (words_init() < 0 ||
        !PyArg_ParseTuple(args, "OO!O!O", &session, &PyList_Type, &items, &PyList_Type, &items_of, &original))
        return NULL;
    Py_XSETREF(loop.session, Py_NewRef(session));
    Py_XSETREF(loop.items, Py_NewRef(items));
    Py_XSETREF(loop.items_of, Py_NewRef(items_of));
    Py_XSETREF(loop.original, Py_NewRef(original));
    loop.inside = loop.has_claimed = false;
    loop.hidden = PyObject_HasAttr(session, S(_shouldfail)) && PyObject_HasAttr(session, S(_shouldstop));
    Py_RETURN_NONE;
}

static int keep_current(uint32_t index)
{
    PyObject *item = item_at((long)index);

    Py_XSETREF(loop.current, Py_XNewRef(item));
    return item ? 0 : -1;
}

static int begin(uint32_t index, uint64_t limit_ns, bool at_once)
{
    PyObject *next;
    long ahead;

    loop.has_claimed = false;
    if (leased_on() && (keep_current(index) < 0 || leased_begin(loop.current) < 0))
        return -1;
    link_begin(index, limit_ns);
    if (at_once)
        claim();
    ahead = loop.has_claimed ? loop.claimed : link_peek();
    next = ahead < 0 ? Py_None : item_at(ahead);
    if (!next)
        return -1;
    Py_XSETREF(loop.peeked, Py_NewRef(next));
    loop.inside = true;
    return 0;
}

PyObject *loop_begin(long index, PyObject *limits, bool at_once, PyObject **next)
{
    PyObject *key = PyDict_GET_SIZE(limits) ? PyLong_FromLong(index) : NULL; /* owned */
    PyObject *limit = key ? PyDict_GetItemWithError(limits, key) : NULL;
    const uint64_t limit_ns = limit ? PyLong_AsUnsignedLongLong(limit) : 0;

    Py_XDECREF(key);
    if (PyErr_Occurred() || begin((uint32_t)index, limit_ns, at_once) < 0)
        return NULL;
    *next = loop.peeked;
    return Py_XNewRef(item_at(index));
}

int loop_end(void)
{
    loop.inside = false;
    link_end();
    if (leased_on() && loop.has_claimed)
        leased_turn();
    return loop_stopping();
}

long loop_next(void)
{
    const bool late = !loop.has_claimed;
    const long next = late ? link_take() : loop.claimed;

    if (!leased_on())
        return next;
    if (late)
        leased_claimed_late(next);
    return leased_wait(next);
}

static PyObject *native_loop_begin(PyObject *self, PyObject *args)
{
    unsigned int index;
    unsigned long long limit_ns;
    int at_once;

    (void)self;
    if (!PyArg_ParseTuple(args, "IKp", &index, &limit_ns, &at_once) || begin(index, limit_ns, at_once != 0) < 0)
        return NULL;
    return Py_NewRef(loop.peeked);
}

static PyObject *native_loop_end(PyObject *self, PyObject *args)
{
    const int stop = loop_end();

    (void)self;
    (void)args;
    return stop < 0 ? NULL : PyBool_FromLong(stop);
}

static PyObject *native_loop_next(PyObject *self, PyObject *args)
{
    const long next = loop_next();

    (void)self;
    (void)args;
    return next == LEASED_ERROR ? NULL : PyLong_FromLong(next);
}

static PyObject *native_loop_current(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return Py_NewRef(loop.current ? loop.current : Py_None);
}

static PyObject *native_loop_teardown_exact(PyObject *self, PyObject *nextitem)
{
    PyObject *next = loop_nextitem(nextitem);

    (void)self;
    return next ? PyObject_CallOneArg(loop.original, next) : NULL;
}

PyMethodDef loop_methods[] = {
    {"loop_set", native_loop_set, METH_VARARGS,
     "loop_set(session, items, items_of, teardown_exact)\n\nWhat this worker runs; items_of: index in the catalog -> "
     "index in items."},
    {"loop_begin", native_loop_begin, METH_VARARGS,
     "loop_begin(index, limit_ns, at_once) -> item or None\n\nThis test runs now; answers the next one, which is only "
     "claimed with at_once. limit_ns 0: the run's --timeout."},
    {"loop_end", native_loop_end, METH_NOARGS,
     "loop_end() -> bool\n\nThe test is over and its result published; True: the session is to "
     "stop."},
    {"loop_next", native_loop_next, METH_NOARGS, "loop_next() -> int\n\nThe next test's index in the catalog, or -1."},
    {"loop_current", native_loop_current, METH_NOARGS,
     "loop_current() -> item or None\n\nThe last test that has begun, in a run with leases."},
    {"loop_teardown_exact", native_loop_teardown_exact, METH_O,
     "loop_teardown_exact(nextitem)\n\nStands in for SetupState.teardown_exact and claims the next test."},
    {NULL, NULL, 0, NULL},
};
