/*
 * plain.c - the usual result of a test: three reports, all passed, nothing in them.
 *
 * Such a test is one record with location and keywords (the same in all three) as its payload; the reporter makes the
 * three reports again. Anything else is left to worker.py, which sends the reports as they are.
 */
#include "py/plain.h"

#include "py/link.h"
#include "py/native.h"
#include "store/record.h"

#include <marshal.h>

enum { WHEN, OUTCOME, LONGREPR, SECTIONS, PROPERTIES, DURATION, START, STOP, KEYWORDS, LOCATION, ID, N_NAMES };

static PyObject *names[N_NAMES]; /* owned, interned */
static PyObject *report_type;    /* owned: pytest's TestReport */
static PyObject *example;        /* owned: the attributes of one that passed, in pytest's order */
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

/* The very objects, and the keywords by what is in them. */
static bool has_values(PyObject *dict, const struct plain_values *values)
{
    PyObject *const news[] = {values->when,     values->id,    values->location,
                              values->duration, values->start, values->stop};
    PyObject *const keys[] = {names[WHEN], names[ID], names[LOCATION], names[DURATION], names[START], names[STOP]};

    for (size_t i = 0; i < HS_COUNT(news); i++)
        if (PyDict_GetItemWithError(dict, keys[i]) != news[i])
            return false;
    return same(PyDict_GetItemWithError(dict, names[KEYWORDS]), values->keywords);
}

bool plain_is(PyObject *report, const struct plain_values *values)
{
    PyObject *dict =
        (PyObject *)Py_TYPE(report) == report_type ? PyObject_GenericGetDict(report, NULL) : NULL; /* owned */
    const char *when = PyUnicode_AsUTF8(values->when);
    const bool plain = dict && when && passed_with_nothing(dict, when) && has_values(dict, values);

    Py_XDECREF(dict);
    PyErr_Clear();
    return plain;
}

static PyObject *filled(PyObject *dict, const struct plain_values *values)
{
    PyObject *sections = PyList_New(0);                 /* owned */
    PyObject *properties = PyList_New(0);               /* owned */
    PyObject *keywords = PyDict_Copy(values->keywords); /* owned: somebody may add to it */
    PyObject *const news[] = {values->when,  values->id,   values->location, keywords,  values->duration,
                              values->start, values->stop, sections,         properties};
    PyObject *const keys[] = {names[WHEN],  names[ID],   names[LOCATION], names[KEYWORDS],  names[DURATION],
                              names[START], names[STOP], names[SECTIONS], names[PROPERTIES]};
    int code = sections && properties && keywords ? 0 : -1;

    for (size_t i = 0; code == 0 && i < HS_COUNT(news); i++)
        code = PyDict_SetItem(dict, keys[i], news[i]);
    Py_XDECREF(sections);
    Py_XDECREF(properties);
    Py_XDECREF(keywords);
    return code < 0 ? NULL : dict;
}

PyObject *plain_new(const struct plain_values *values)
{
    PyObject *empty = PyTuple_New(0);                                                                     /* owned */
    PyObject *report = empty ? PyBaseObject_Type.tp_new((PyTypeObject *)report_type, empty, NULL) : NULL; /* owned */
    PyObject *dict = report ? PyDict_Copy(example) : NULL;                                                /* owned */

    if (!dict || !filled(dict, values) || PyObject_SetAttrString(report, "__dict__", dict) < 0)
        Py_CLEAR(report);
    Py_XDECREF(empty);
    Py_XDECREF(dict);
    return report;
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
                                               "duration", "start",   "stop",     "keywords", "location",
                                               "_id"};
    PyObject *dict = PyObject_GenericGetDict(report, NULL); /* owned */

    (void)self;
    if (!dict)
        return NULL;
    for (int i = 0; i < N_NAMES; i++)
        Py_XSETREF(names[i],
                   PyUnicode_InternFromString(i == ID && !PyDict_GetItemString(dict, "_id") ? "nodeid" : texts[i]));
    Py_XSETREF(report_type, Py_NewRef((PyObject *)Py_TYPE(report)));
    n_attributes = PyDict_GET_SIZE(dict);
    Py_XSETREF(example, PyDict_Copy(dict));
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
