/*
 * collect.c - what collection needs from C.
 *
 * through() puts a cache around one of pytest's functions. In Python that would be a frame more in every traceback that
 * goes through the function, and pytest shows its own frames for a test file that does not compile.
 */
#include "py/native.h"

enum { THROUGH_FIND, THROUGH_ORIGINAL, THROUGH_KEEP, N_THROUGH, MAX_THROUGH_ARGS = 8 };

/* Calls keep(*args, result); what keep raises does not count, as the result is there already. */
static void call_keep(PyObject *keep, PyObject *const *args, Py_ssize_t n, PyObject *result)
{
    PyObject *all[MAX_THROUGH_ARGS + 1]; /* borrowed */
    PyObject *done;                      /* owned */

    for (Py_ssize_t i = 0; i < n; i++)
        all[i] = args[i];
    all[n] = result;
    done = PyObject_Vectorcall(keep, all, (size_t)n + 1, NULL);
    if (!done)
        PyErr_WriteUnraisable(keep);
    Py_XDECREF(done);
}

static PyObject *call_through(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    PyObject *found; /* owned */
    PyObject *result;
    PyObject *type;
    PyObject *value;
    PyObject *traceback;

    if (n > MAX_THROUGH_ARGS)
        return PyObject_Vectorcall(PyTuple_GET_ITEM(self, THROUGH_ORIGINAL), args, (size_t)n, NULL);
    found = PyObject_Vectorcall(PyTuple_GET_ITEM(self, THROUGH_FIND), args, (size_t)n, NULL);
    if (found != Py_None)
        return found;
    Py_DECREF(found);
    result = PyObject_Vectorcall(PyTuple_GET_ITEM(self, THROUGH_ORIGINAL), args, (size_t)n, NULL);
    PyErr_Fetch(&type, &value, &traceback);
    call_keep(PyTuple_GET_ITEM(self, THROUGH_KEEP), args, n, result ? result : Py_None);
    PyErr_Restore(type, value, traceback);
    return result;
}

static PyMethodDef through_def = {"through", (PyCFunction)(void (*)(void))call_through, METH_FASTCALL, NULL};

static PyObject *collect_through(PyObject *self, PyObject *args)
{
    (void)self;
    if (PyTuple_GET_SIZE(args) != N_THROUGH) {
        PyErr_SetString(PyExc_TypeError, "through() takes three functions");
        return NULL;
    }
    return PyCFunction_New(&through_def, args);
}

PyMethodDef collect_methods[] = {
    {"through", collect_through, METH_VARARGS,
     "through(find, original, keep) -> function\n\nf(*args) answers find(*args), or original(*args) when that is None; "
     "keep(*args, result) is called after original, with None as its result when it raised. Leaves no frame."},
    {NULL, NULL, 0, NULL},
};
