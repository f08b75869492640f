/*
 * plain.c - the usual result of a test: three reports, all passed, nothing in them.
 *
 * Such a test is one record with location and keywords (the same in all three) as its payload; the reporter makes the
 * three reports again. Anything else is left to worker.py, which sends the reports as they are.
 */
#include "py/native.h"

#include "py/link.h"
#include "store/record.h"

#include <marshal.h>

enum { WHEN, OUTCOME, LONGREPR, SECTIONS, PROPERTIES, DURATION, START, KEYWORDS, LOCATION, ID, N_NAMES };

static PyObject *names[N_NAMES]; /* owned, interned */
static PyObject *report_type;    /* owned: pytest's TestReport */
static Py_ssize_t n_attributes;  /* of a report that nobody has added to */

static const char *const phases[3] = {"setup", "call", "teardown"};

static bool is_text(PyObject *value, const char *text)
{
    return value && PyUnicode_Check(value) && PyUnicode_CompareWithASCIIString(value, text) == 0;
}

static bool is_empty(PyObject *value)
{
    return value && PyList_CheckExact(value) && PyList_GET_SIZE(value) == 0;
}

/* dict: borrowed, a report's own attributes. */
static bool passed_with_nothing(PyObject *dict, const char *when)
{
    PyObject *longrepr = PyDict_GetItemWithError(dict, names[LONGREPR]);

    return PyDict_GET_SIZE(dict) == n_attributes && longrepr == Py_None &&
           is_text(PyDict_GetItemWithError(dict, names[WHEN]), when) &&
           is_text(PyDict_GetItemWithError(dict, names[OUTCOME]), "passed") &&
           is_empty(PyDict_GetItemWithError(dict, names[SECTIONS])) &&
           is_empty(PyDict_GetItemWithError(dict, names[PROPERTIES]));
}

static bool same(PyObject *a, PyObject *b)
{
    return a && b && (a == b || PyObject_RichCompareBool(a, b, Py_EQ) == 1);
}

static uint64_t seconds_of(PyObject *dict, int name)
{
    PyObject *value = PyDict_GetItemWithError(dict, names[name]);
    const double seconds = value && PyFloat_Check(value) ? PyFloat_AS_DOUBLE(value) : 0;

    return seconds > 0 ? (uint64_t)(seconds * 1e9) : 0;
}

/* dicts: owned references of the three reports' attributes. False, with no exception set, when one is not plain. */
static bool look_at(PyObject *reports, PyObject *dicts[3], uint64_t times[3])
{
    for (int i = 0; i < 3; i++) {
        PyObject *report = PyList_GET_ITEM(reports, i);

        if ((PyObject *)Py_TYPE(report) != report_type)
            return false;
        dicts[i] = PyObject_GenericGetDict(report, NULL);
        if (!dicts[i] || !passed_with_nothing(dicts[i], phases[i]))
            return false;
        times[i] = seconds_of(dicts[i], DURATION);
        if (i && (!same(PyDict_GetItemWithError(dicts[i], names[KEYWORDS]),
                        PyDict_GetItemWithError(dicts[0], names[KEYWORDS])) ||
                  !same(PyDict_GetItemWithError(dicts[i], names[ID]), PyDict_GetItemWithError(dicts[0], names[ID]))))
            return false;
    }
    return true;
}

static PyObject *payload_of(PyObject *dict)
{
    PyObject *location = PyDict_GetItemWithError(dict, names[LOCATION]);
    PyObject *keywords = PyDict_GetItemWithError(dict, names[KEYWORDS]);
    PyObject *both = location && keywords ? PyTuple_Pack(2, location, keywords) : NULL; /* owned */
    PyObject *bytes = both ? PyMarshal_WriteObjectToString(both, 4) : NULL;

    Py_XDECREF(both);
    return bytes;
}

/* True when the record is in the ring; False when these reports have to go as they are. */
static PyObject *native_worker_publish_plain(PyObject *self, PyObject *args)
{
    PyObject *dicts[3] = {NULL, NULL, NULL}; /* owned */
    PyObject *reports;                       /* borrowed */
    PyObject *payload = NULL;                /* owned */
    uint64_t times[3] = {0};
    unsigned int item;

    (void)self;
    if (!PyArg_ParseTuple(args, "O!I", &PyList_Type, &reports, &item))
        return NULL;
    if (PyList_GET_SIZE(reports) == 3 && look_at(reports, dicts, times))
        payload = payload_of(dicts[0]);
    if (payload) {
        struct record record = {.type = RECORD_TEST,
                                .outcome = OUTCOME_PASSED,
                                .flags = RECORD_PLAIN,
                                .item = item,
                                .start_ns = seconds_of(dicts[0], START),
                                .setup_ns = times[0],
                                .call_ns = times[1],
                                .teardown_ns = times[2]};

        link_publish(&record, PyBytes_AS_STRING(payload), (size_t)PyBytes_GET_SIZE(payload));
    }
    PyErr_Clear(); /* keywords or a location that marshal does not know: no error, just not plain */
    for (int i = 0; i < 3; i++)
        Py_XDECREF(dicts[i]);
    return PyBool_FromLong(payload ? (Py_DECREF(payload), 1) : 0);
}

static PyObject *native_worker_plain_is(PyObject *self, PyObject *report)
{
    static const char *const texts[N_NAMES] = {"when",     "outcome", "longrepr", "sections", "user_properties",
                                               "duration", "start",   "keywords", "location", "_id"};
    PyObject *dict = PyObject_GenericGetDict(report, NULL); /* owned */

    (void)self;
    if (!dict)
        return NULL;
    for (int i = 0; i < N_NAMES; i++)
        Py_XSETREF(names[i],
                   PyUnicode_InternFromString(i == ID && !PyDict_GetItemString(dict, "_id") ? "nodeid" : texts[i]));
    Py_XSETREF(report_type, Py_NewRef((PyObject *)Py_TYPE(report)));
    n_attributes = PyDict_GET_SIZE(dict);
    Py_DECREF(dict);
    Py_RETURN_NONE;
}

PyMethodDef plain_methods[] = {
    {"worker_plain_is", native_worker_plain_is, METH_O,
     "worker_plain_is(report)\n\nThis new report shows type and attributes of a plain one."},
    {"worker_publish_plain", native_worker_publish_plain, METH_VARARGS,
     "worker_publish_plain(reports, item) -> bool\n\nPublishes a test whose three reports have nothing in them; False "
     "(and nothing is published) when they have."},
    {NULL, NULL, 0, NULL},
};
