/*
 * passed.c - the reporter's memory of tests that passed with nothing to say: a few numbers each.
 *
 * Their reports lie in the journal as the workers have sent them (plain.c) and become objects only when somebody asks:
 * three of them cost a thousand times what is kept here. A test whose id means something to pytest's bookkeeping in
 * Python (it has failed before, it has another result already) is "owned" by Python and never taken here.
 */
#include "py/passed.h"

#include "py/native.h"

#include "py/tail.h"

#include <marshal.h>
#include <stdlib.h>
#include <string.h>

enum kind { NEW, TAKEN, OWNED };

struct passed {
    uint64_t at; /* in the journal */
    uint64_t ns[3];
    uint32_t item;
};

static struct {
    bool open;
    uint8_t *kind; /* owned, per item: enum kind */
    uint32_t n_items;
    struct passed *kept; /* owned */
    size_t n;
    size_t cap;
} mine;

bool passed_wants(const struct record *record)
{
    return mine.open && record->type == RECORD_TEST && record->flags & RECORD_PLAIN && record->item < mine.n_items &&
           mine.kind[record->item] == NEW;
}

static void keep(const struct tail_record *found)
{
    const struct record *r = &found->record;

    if (mine.n == mine.cap) {
        mine.cap = mine.cap ? mine.cap + mine.cap / 2 : 1024;
        mine.kept = hs_realloc(mine.kept, mine.cap * sizeof *mine.kept);
    }
    mine.kept[mine.n++] =
        (struct passed){.at = found->at, .ns = {r->setup_ns, r->call_ns, r->teardown_ns}, .item = r->item};
    mine.kind[r->item] = TAKEN;
}

static PyObject *native_passed_open(PyObject *self, PyObject *arg)
{
    const unsigned long n = PyLong_AsUnsignedLong(arg);

    (void)self;
    if (PyErr_Occurred())
        return NULL;
    if (!mine.kind) {
        mine.kind = hs_alloc(n ? n : 1);
        mine.n_items = (uint32_t)n;
    } else if (n != mine.n_items) {
        PyErr_SetString(PyExc_ValueError, "another number of tests than before");
        return NULL;
    }
    mine.open = true;
    Py_RETURN_NONE;
}

static PyObject *native_passed_close(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    mine.open = false;
    Py_RETURN_NONE;
}

static PyObject *native_passed_own(PyObject *self, PyObject *arg)
{
    const unsigned long item = PyLong_AsUnsignedLong(arg);
    bool taken;

    (void)self;
    if (PyErr_Occurred())
        return NULL;
    if (item >= mine.n_items)
        Py_RETURN_FALSE;
    taken = mine.kind[item] == TAKEN;
    mine.kind[item] = OWNED;
    return PyBool_FromLong(taken);
}

static PyObject *native_passed_take(PyObject *self, PyObject *arg)
{
    const long most = PyLong_AsLong(arg);
    long n = 0;
    int got = 0;
    struct tail_record next;
    struct err err;

    (void)self;
    if (PyErr_Occurred())
        return NULL;
    for (; n < most && (got = tail_peek(&next, &err)) > 0 && passed_wants(&next.record); n++) {
        keep(&next);
        tail_consume();
    }
    return got < 0 ? compat_raise(PyExc_RuntimeError, &err) : PyLong_FromLong(n);
}

static PyObject *native_passed_items(PyObject *self, PyObject *args)
{
    PyObject *list = PyList_New(0); /* owned */

    (void)self;
    (void)args;
    for (uint32_t i = 0; list && i < mine.n_items; i++) {
        PyObject *item; /* owned */

        if (mine.kind[i] != TAKEN)
            continue;
        mine.kind[i] = OWNED;
        item = PyLong_FromUnsignedLong(i);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

/* ---- reports */

enum name { WHEN, SECTIONS, PROPERTIES, DURATION, START, STOP, KEYWORDS, LOCATION, ID, N_NAMES };

static struct {
    PyTypeObject *type;   /* owned: pytest's TestReport */
    PyObject *names;      /* owned tuple: a report's attributes in their order */
    PyObject *values;     /* owned tuple: what a passed one has in them, where that is always the same */
    int name_at[N_NAMES]; /* where in names */
    PyObject *phases[3];  /* owned */
    PyObject *nothing;    /* owned: () */
} made;

static int find_names(PyObject *dict)
{
    static const char *const texts[N_NAMES] = {"when", "sections", "user_properties", "duration", "start",
                                               "stop", "keywords", "location",        "_id"};
    const Py_ssize_t n = PyTuple_GET_SIZE(made.names);

    for (int i = 0; i < N_NAMES; i++) {
        const char *text = i == ID && !PyDict_GetItemString(dict, "_id") ? "nodeid" : texts[i];
        Py_ssize_t at = 0;

        while (at < n && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(made.names, at), text) != 0)
            at++;
        if (at == n) {
            PyErr_Format(PyExc_ValueError, "a report without %s", text);
            return -1;
        }
        made.name_at[i] = (int)at;
    }
    return 0;
}

static PyObject *native_passed_are_like(PyObject *self, PyObject *report)
{
    static const char *const phases[3] = {"setup", "call", "teardown"};
    PyObject *dict = PyObject_GenericGetDict(report, NULL); /* owned */
    PyObject *names = dict ? PyDict_Keys(dict) : NULL;      /* owned */
    PyObject *values = dict ? PyDict_Values(dict) : NULL;   /* owned */
    int code = -1;

    (void)self;
    if (names && values) {
        Py_XSETREF(made.names, PySequence_Tuple(names));
        Py_XSETREF(made.values, PySequence_Tuple(values));
        Py_XSETREF(made.nothing, PyTuple_New(0));
        Py_XSETREF(made.type, (PyTypeObject *)Py_NewRef((PyObject *)Py_TYPE(report)));
        for (int i = 0; i < 3; i++)
            Py_XSETREF(made.phases[i], PyUnicode_InternFromString(phases[i]));
        if (made.names && made.values && made.nothing && made.phases[0] && made.phases[1] && made.phases[2])
            code = find_names(dict);
    }
    Py_XDECREF(dict);
    Py_XDECREF(names);
    Py_XDECREF(values);
    if (code < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* own: what this report has of its own, by enum name; NULL where it has what all have. */
static PyObject *make_report(PyObject *const own[N_NAMES])
{
    PyObject *report = made.type->tp_new(made.type, made.nothing, NULL); /* owned */
    const Py_ssize_t n = PyTuple_GET_SIZE(made.names);
    PyObject *value[32];

    if (n > (Py_ssize_t)HS_COUNT(value)) {
        PyErr_SetString(PyExc_ValueError, "a report with more attributes than expected");
        Py_CLEAR(report);
    }
    for (Py_ssize_t i = 0; report && i < n; i++)
        value[i] = PyTuple_GET_ITEM(made.values, i);
    for (int i = 0; report && i < N_NAMES; i++)
        value[made.name_at[i]] = own[i];
    for (Py_ssize_t i = 0; report && i < n; i++)
        if (PyObject_GenericSetAttr(report, PyTuple_GET_ITEM(made.names, i), value[i]) < 0)
            Py_CLEAR(report);
    return report;
}

/* The report of one phase. shared: keywords, location and id, the same in all three. *clock: its start, then its end. */
static PyObject *phase_report(int phase, uint64_t ns, PyObject *const shared[3], double *clock)
{
    const double spent = (double)ns / 1e9;
    PyObject *own[N_NAMES] = {
        [WHEN] = made.phases[phase], [KEYWORDS] = shared[0], [LOCATION] = shared[1], [ID] = shared[2]};
    PyObject *report = NULL; /* owned */

    own[SECTIONS] = PyList_New(0);
    own[PROPERTIES] = PyList_New(0);
    own[DURATION] = PyFloat_FromDouble(spent);
    own[START] = PyFloat_FromDouble(*clock);
    own[STOP] = PyFloat_FromDouble(*clock + spent);
    *clock += spent;
    if (own[SECTIONS] && own[PROPERTIES] && own[DURATION] && own[START] && own[STOP])
        report = make_report(own);
    for (int i = SECTIONS; i <= STOP; i++)
        Py_XDECREF(own[i]);
    return report;
}

/* Appends the three reports of a test to list. id: its node id as reports have it. */
static int add_reports(PyObject *list, const struct record *r, const char *payload, size_t size, PyObject *id)
{
    const uint64_t ns[3] = {r->setup_ns, r->call_ns, r->teardown_ns};
    PyObject *both = PyMarshal_ReadObjectFromString(payload, (Py_ssize_t)size); /* owned: (location, keywords) */
    double clock = (double)r->start_ns / 1e9;
    int code = -1;

    if (both && PyTuple_Check(both) && PyTuple_GET_SIZE(both) == 2) {
        PyObject *const shared[3] = {PyTuple_GET_ITEM(both, 1), PyTuple_GET_ITEM(both, 0), id};

        code = 0;
        for (int i = 0; code == 0 && i < 3; i++) {
            PyObject *report = phase_report(i, ns[i], shared, &clock); /* owned */

            code = report ? PyList_Append(list, report) : -1;
            Py_XDECREF(report);
        }
    } else if (both) {
        PyErr_SetString(PyExc_ValueError, "not the payload of a plain result");
    }
    Py_XDECREF(both);
    return code;
}

static PyObject *native_passed_reports(PyObject *self, PyObject *args)
{
    struct record record = {0};
    PyObject *id; /* borrowed */
    Py_buffer payload;
    PyObject *list = NULL; /* owned */
    unsigned long long start, ns[3];

    (void)self;
    if (!PyArg_ParseTuple(args, "OKKKKy*", &id, &start, &ns[0], &ns[1], &ns[2], &payload))
        return NULL;
    record.start_ns = start;
    record.setup_ns = ns[0];
    record.call_ns = ns[1];
    record.teardown_ns = ns[2];
    list = PyList_New(0);
    if (list && add_reports(list, &record, payload.buf, (size_t)payload.len, id) < 0)
        Py_CLEAR(list);
    PyBuffer_Release(&payload);
    return list;
}

/* The reports of one kept test. ids: by item; make_id: from text to what reports have, or None where that is the text. */
static int add_kept(PyObject *list, const struct passed *p, PyObject *ids, PyObject *make_id)
{
    struct record record;
    const void *payload;
    struct err err;
    PyObject *text; /* borrowed */
    PyObject *id;   /* owned */
    int code;

    if (tail_again(p->at, &record, &payload, &err) < 0) {
        compat_raise(PyExc_RuntimeError, &err);
        return -1;
    }
    text = PyList_GetItem(ids, (Py_ssize_t)p->item);
    if (!text)
        return -1;
    id = make_id == Py_None ? Py_NewRef(text) : PyObject_CallOneArg(make_id, text);
    code = id ? add_reports(list, &record, payload, record.size, id) : -1;
    Py_XDECREF(id);
    return code;
}

static PyObject *native_passed_all(PyObject *self, PyObject *args)
{
    PyObject *ids, *make_id;             /* borrowed */
    PyObject *list;                      /* owned */
    const int collects = PyGC_Disable(); /* nothing made here is garbage */

    (void)self;
    list = PyArg_ParseTuple(args, "O!O", &PyList_Type, &ids, &make_id) ? PyList_New(0) : NULL;
    for (size_t i = 0; list && i < mine.n; i++)
        if (add_kept(list, &mine.kept[i], ids, make_id) < 0)
            Py_CLEAR(list);
    tail_again_done();
    if (collects)
        PyGC_Enable();
    if (list) {
        free(mine.kept);
        mine.kept = NULL;
        mine.n = mine.cap = 0;
    }
    return list;
}

PyMethodDef passed_methods[] = {
    {"passed_open", native_passed_open, METH_O,
     "passed_open(n_items)\n\nFrom here on passed_take takes records and journal_read leaves them to it."},
    {"passed_close", native_passed_close, METH_NOARGS,
     "passed_close()\n\npassed_take takes no more; what it has taken is kept."},
    {"passed_own", native_passed_own, METH_O,
     "passed_own(item) -> bool\n\nRecords of this test are never taken again; True when one was."},
    {"passed_take", native_passed_take, METH_O,
     "passed_take(most) -> int\n\nKeeps the next records, at most `most`, as long as they are plain passes; how many."},
    {"passed_items", native_passed_items, METH_NOARGS,
     "passed_items() -> list of int\n\nThe tests that were taken, in the catalog's order; passed_own of all of them."},
    {"passed_are_like", native_passed_are_like, METH_O,
     "passed_are_like(report)\n\nThis new passed report shows type, attributes and values of those to be made."},
    {"passed_reports", native_passed_reports, METH_VARARGS,
     "passed_reports(id, start_ns, setup_ns, call_ns, teardown_ns, payload) -> [setup, call, teardown]"},
    {"passed_all", native_passed_all, METH_VARARGS,
     "passed_all(ids, make_id) -> [setup, call, teardown, setup, ...]\n\nThe reports of all tests kept, in the order "
     "in "
     "which they were taken; they are kept no longer. make_id(text) is what reports have as id; None: the text."},
    {NULL, NULL, 0, NULL},
};
