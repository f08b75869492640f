/* monitor_tests.c - which starts and ends of frames begin and end a context, where test functions do. */
#include "py/monitor.h"

#include "py/native.h"

#if PY_VERSION_HEX >= 0x030C0000

static struct {
    bool on;
    PyObject *found; /* owned: (code), a test function starts for the first time; NULL: contexts are not by test */
    PyObject *began; /* owned: (code, offset) */
    PyObject *ended; /* owned: (code, offset, ...) */
} tests;

/* As coverage.py's dynamic_context = test_function has it. */
static bool is_test(PyCodeObject *code)
{
    return PyUnicode_GET_LENGTH(code->co_name) >= 4 &&
           (PyUnicode_CompareWithASCIIString(code->co_name, "runTest") == 0 ||
            (PyUnicode_ReadChar(code->co_name, 0) == 't' && PyUnicode_ReadChar(code->co_name, 1) == 'e' &&
             PyUnicode_ReadChar(code->co_name, 2) == 's' && PyUnicode_ReadChar(code->co_name, 3) == 't'));
}

int monitor_test_starts(PyCodeObject *code)
{
    PyObject *result; /* owned */

    if (!tests.on || !is_test(code))
        return 0;
    result = PyObject_CallOneArg(tests.found, (PyObject *)code);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static PyObject *pass_on(PyObject *function, PyObject *const *args)
{
    if (!is_test((PyCodeObject *)args[0]))
        return Py_NewRef(Py_None);
    return PyObject_Vectorcall(function, args, 3, NULL);
}

/* (code, offset, exception) */
static PyObject *on_throw(PyObject *const *args)
{
    return pass_on(tests.began, args);
}

static PyObject *on_unwind(PyObject *const *args)
{
    return pass_on(tests.ended, args);
}

/*
 * monitor_tests(found, began, ended): found(code) is called when a test function starts for the first time, before any of
 * its events; began and ended(code, offset, exception) where an exception is thrown into its frame or leaves it, which are
 * events of no code object in particular. Answers a dict of callbacks for these two.
 */
static PyObject *native_monitor_tests(PyObject *self, PyObject *args)
{
    static PyObject **const places[] = {&tests.found, &tests.began, &tests.ended};
    PyObject *calls[HS_COUNT(places)]; /* borrowed */

    (void)self;
    if (!PyArg_ParseTuple(args, "OOO", &calls[0], &calls[1], &calls[2]))
        return NULL;
    for (size_t i = 0; i < HS_COUNT(places); i++)
        Py_XSETREF(*places[i], Py_IsNone(calls[i]) ? NULL : Py_NewRef(calls[i]));
    tests.on = tests.found != NULL;
    return Py_BuildValue("{s:N,s:N}", "throw", monitor_callback(&tests.on, on_throw, 3), "unwind",
                         monitor_callback(&tests.on, on_unwind, 3));
}

PyMethodDef monitor_tests_methods[] = {
    {"monitor_tests", native_monitor_tests, METH_VARARGS,
     "monitor_tests(found, began, ended) -> dict\n\nTest functions begin and end contexts; callbacks for PY_THROW and "
     "PY_UNWIND. None each: they do not."},
    {NULL, NULL, 0, NULL},
};

#else

PyMethodDef monitor_tests_methods[] = {{NULL, NULL, 0, NULL}};

#endif
