/* oldstyle.c - see oldstyle.h. */
#include "py/oldstyle.h"

#include "py/multicall.h"
#include "py/words.h"

static PyObject *result_class;  /* owned */
static PyObject *warn_teardown; /* owned */

int oldstyle_init(PyObject *result_type, PyObject *warn)
{
    if (!PyType_Check(result_type)) {
        PyErr_SetString(PyExc_TypeError, "pluggy's Result is no class");
        return -1;
    }
    Py_XSETREF(result_class, Py_NewRef(result_type));
    Py_XSETREF(warn_teardown, Py_NewRef(warn));
    return 0;
}

/* The teardown raised: pluggy warns about it, which may be an error itself. The exception stays set. */
static void warn_about(PyObject *impl, PyObject *hook_name)
{
    PyObject *exception = compat_take_exception();                                                  /* owned */
    PyObject *done = PyObject_CallFunctionObjArgs(warn_teardown, hook_name, impl, exception, NULL); /* owned */

    if (done) {
        compat_put_exception(exception);
        Py_DECREF(done);
        return;
    }
    PyObject *raised = compat_take_exception(); /* owned */

    PyException_SetContext(raised, exception);
    compat_put_exception(raised);
}

static void close_generator(PyObject *generator)
{
    PyObject *exception = compat_take_exception();                   /* owned, put back */
    PyObject *done = PyObject_CallMethodNoArgs(generator, S(close)); /* owned */

    if (done && exception)
        compat_put_exception(exception);
    else
        Py_XDECREF(exception);
    Py_XDECREF(done);
}

/* What outcome.get_result() gives; NULL with the exception that it raises. */
static PyObject *get_result(PyObject *outcome)
{
    PyObject *exception = PyObject_GetAttr(outcome, S(_exception)); /* owned */
    PyObject *traceback;

    if (exception == Py_None) {
        Py_DECREF(exception);
        return PyObject_GetAttr(outcome, S(_result));
    }
    traceback = exception ? PyObject_GetAttr(outcome, S(_traceback)) : NULL; /* owned */
    if (traceback && PyExceptionInstance_Check(exception) && PyException_SetTraceback(exception, traceback) == 0)
        compat_put_exception(Py_NewRef(exception));
    else if (!PyErr_Occurred())
        PyErr_SetString(PyExc_TypeError, "exceptions must derive from BaseException");
    Py_XDECREF(traceback);
    Py_XDECREF(exception);
    return NULL;
}

/* NULL with an exception set. */
static PyObject *send(PyObject *generator, PyObject *impl, PyObject *hook_name, PyObject *outcome)
{
    PyObject *yielded = NULL; /* owned */
    const PySendResult sent = PyIter_Send(generator, outcome, &yielded);

    Py_XDECREF(yielded);
    if (sent == PYGEN_RETURN)
        return get_result(outcome);
    if (sent == PYGEN_ERROR)
        warn_about(impl, hook_name);
    else
        multicall_fail(generator, "has second yield");
    close_generator(generator);
    return NULL;
}

void oldstyle_close(PyObject *generator, PyObject *impl, PyObject *hook_name, PyObject **result, PyObject **exception)
{
    PyObject *args[] = {*result ? *result : Py_None, *exception ? *exception : Py_None};
    PyObject *outcome = PyObject_Vectorcall(result_class, args, 2, NULL); /* owned */
    PyObject *answer = outcome ? send(generator, impl, hook_name, outcome) : NULL;

    Py_XSETREF(*result, answer);
    Py_XSETREF(*exception, answer ? NULL : compat_take_exception());
    Py_XDECREF(outcome);
}
