/* terminal.c - a worker borrows the run's terminal, for a debugger or for a test that reads. */
#include "py/link.h"
#include "py/native.h"

#include "os/borrow.h"

#include <errno.h>

static PyObject *native_terminal_open(PyObject *self, PyObject *args)
{
    int tty;
    const char *path;

    (void)self;
    if (!PyArg_ParseTuple(args, "is", &tty, &path))
        return NULL;
    borrow_open(tty, path, link_pause);
    Py_RETURN_NONE;
}

static PyObject *fail(int code)
{
    errno = -code;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *native_terminal_take(PyObject *self, PyObject *args)
{
    int code;

    (void)self;
    (void)args;
    Py_BEGIN_ALLOW_THREADS
    code = borrow_take();
    Py_END_ALLOW_THREADS
    if (code < 0)
        return fail(code);
    Py_RETURN_NONE;
}

static PyObject *native_terminal_give(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyBool_FromLong(borrow_give());
}

static PyObject *native_terminal_when_read(PyObject *self, PyObject *args)
{
    const int code = borrow_when_read();

    (void)self;
    (void)args;
    if (code < 0)
        return fail(code);
    Py_RETURN_NONE;
}

PyMethodDef terminal_methods[] = {
    {"terminal_open", native_terminal_open, METH_VARARGS,
     "terminal_open(tty, lock_path)\n\nWhich terminal this process may borrow, and the lock that all borrowers share. "
     "tty "
     "stays the caller's and has to stay open."},
    {"terminal_take", native_terminal_take, METH_NOARGS,
     "terminal_take()\n\nWaits until no other worker has the terminal; no time limit of the test from here on. "
     "OSError."},
    {"terminal_give", native_terminal_give, METH_NOARGS, "terminal_give() -> bool\n\nTrue when it was borrowed."},
    {"terminal_when_read", native_terminal_when_read, METH_NOARGS,
     "terminal_when_read()\n\nReading from the terminal, or setting it up, borrows it. OSError."},
    {NULL, NULL, 0, NULL},
};
