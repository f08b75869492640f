/* compat.h - the only file that includes Python.h and knows what differs between CPython 3.11 and 3.15. */
#ifndef HASTEN_COMPAT_H
#define HASTEN_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "base/err.h"

/* Sets an exception of the given type from a struct err and answers NULL. */
static inline PyObject *compat_raise(PyObject *type, const struct err *err)
{
    PyErr_SetString(type, err->text);
    return NULL;
}

/* Takes the current exception, normalized and with its traceback: owned, NULL when there is none. */
static inline PyObject *compat_take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type;
    PyObject *value;
    PyObject *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    if (!type)
        return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

/* Raises exception and takes it over. */
static inline void compat_put_exception(PyObject *exception)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exception);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), exception, PyException_GetTraceback(exception));
#endif
}

/* The instance's attribute dictionary: owned, NULL with an exception set when it has none. */
static inline PyObject *compat_dict(PyObject *object)
{
    return PyObject_GenericGetDict(object, NULL);
}

#if PY_VERSION_HEX >= 0x030C0000
/* The innermost frame, to compare only: another one may have its address later. */
static inline const void *compat_frame(void)
{
    const PyThreadState *tstate = PyThreadState_Get();
#if PY_VERSION_HEX >= 0x030D0000
    return tstate->current_frame;
#else
    return tstate->cframe->current_frame;
#endif
}

/* Offset (bytes) in its code of the instruction that the innermost frame is at; no frame object is made. */
static inline int compat_lasti(void)
{
    PyThreadState *tstate = PyThreadState_Get();
#if PY_VERSION_HEX >= 0x030D0000
    return PyUnstable_InterpreterFrame_GetLasti(tstate->current_frame);
#else
    return PyUnstable_InterpreterFrame_GetLasti(tstate->cframe->current_frame);
#endif
}
#endif

#endif
