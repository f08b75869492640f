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

#endif
