/*
 * Only in builds with -Db_coverage=true, linked into the extension: os._exit writes gcov's counters first. hasten's
 * Python processes leave by it, and libgcov writes at an ordinary exit only. (_exit in C: tools/coverage_exit.h.)
 */
#include <Python.h>

#include <gcov.h>

static PyObject *leave(PyObject *self, PyObject *status)
{
    const long code = PyLong_AsLong(status);

    (void)self;
    if (code == -1 && PyErr_Occurred())
        return NULL;
    _exit((int)code);
}

/* dlopen of the extension: the interpreter imports it and holds its lock. */
__attribute__((constructor)) static void replace_exit(void)
{
    static PyMethodDef def = {"_exit", leave, METH_O, NULL};
    PyObject *os = PyImport_ImportModule("os");       /* owned */
    PyObject *function = PyCFunction_New(&def, NULL); /* owned */

    if (!os || !function || PyObject_SetAttrString(os, "_exit", function) < 0)
        Py_FatalError("coverage: os._exit cannot be replaced");
    Py_DECREF(function);
    Py_DECREF(os);
}
