/* memory.c - what Python does with the memory of a run's coverage (run/hits.h), whoever collects. */
#include "py/native.h"
#include "run/hits.h"

#include <unistd.h>

static PyObject *native_hits_create(PyObject *self, PyObject *unused)
{
    struct err err = {0};
    const int fd = hits_create(&err);

    (void)self;
    (void)unused;
    return fd < 0 ? compat_raise(PyExc_OSError, &err) : PyLong_FromLong(fd);
}

static PyObject *native_hits_elsewhere(PyObject *self, PyObject *number)
{
    const long fd = PyLong_AsLong(number);
    struct hits hits;
    struct err err = {0};

    (void)self;
    if (fd == -1 && PyErr_Occurred())
        return NULL;
    if (hits_attach(&hits, (int)fd, &err) < 0)
        return compat_raise(PyExc_OSError, &err);
    atomic_store(&hits.head->user, HITS_ELSEWHERE);
    hits_detach(&hits);
    Py_RETURN_NONE;
}

PyMethodDef memory_methods[] = {
    {"hits_create", native_hits_create, METH_NOARGS,
     "hits_create() -> int\n\nA descriptor of new memory for what runs. OSError."},
    {"hits_elsewhere", native_hits_elsewhere, METH_O,
     "hits_elsewhere(fd)\n\nCoverage is measured by somebody who does not write there. OSError."},
    {NULL, NULL, 0, NULL},
};
