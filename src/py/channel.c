/* channel.c - messages (os/chan.h) and memory files for Python. */
#include "py/channel.h"

#include "py/native.h"

#include "os/chan.h"
#include "os/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static int lifeline = -1; /* what die_with was given, to find out whether it is still open */

static PyObject *raise_code(int code)
{
    errno = code;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *native_send(PyObject *self, PyObject *args)
{
    int chan;
    int fd = -1;
    unsigned int type;
    unsigned int slot = 0;
    unsigned long long a = 0;
    unsigned long long b = 0;
    Py_buffer data = {0};
    struct chan_msg msg;
    int code;

    (void)self;
    if (!PyArg_ParseTuple(args, "iI|IKKy*i", &chan, &type, &slot, &a, &b, &data, &fd))
        return NULL;
    if (data.len > (Py_ssize_t)CHAN_MAX_DATA) {
        PyBuffer_Release(&data);
        PyErr_Format(PyExc_ValueError, "message data over %u bytes", CHAN_MAX_DATA);
        return NULL;
    }
    msg = (struct chan_msg){.type = type, .slot = slot, .a = a, .b = b};
    Py_BEGIN_ALLOW_THREADS
    code = chan_send(chan, &msg, data.buf, (size_t)data.len, fd);
    Py_END_ALLOW_THREADS
    if (data.obj)
        PyBuffer_Release(&data);
    if (code < 0)
        return raise_code(-code);
    Py_RETURN_NONE;
}

static PyObject *native_recv(PyObject *self, PyObject *args)
{
    static char data[CHAN_MAX_DATA]; /* main thread only */
    struct chan_msg msg;
    size_t n = 0;
    int chan;
    int wait_ms = -1;
    int fd = -1;
    int code;

    (void)self;
    if (!PyArg_ParseTuple(args, "i|i", &chan, &wait_ms))
        return NULL;
    for (;;) {
        Py_BEGIN_ALLOW_THREADS
        code = chan_recv(chan, wait_ms, &msg, data, &n, &fd);
        Py_END_ALLOW_THREADS
        if (code != -EINTR)
            break;
        if (PyErr_CheckSignals() != 0)
            return NULL;
    }
    if (code == -EAGAIN)
        Py_RETURN_FALSE;
    if (code < 0)
        return raise_code(-code);
    if (code == 0)
        Py_RETURN_NONE;
    return Py_BuildValue("(IIKKy#i)", msg.type, msg.slot, (unsigned long long)msg.a, (unsigned long long)msg.b, data,
                         (Py_ssize_t)n, fd);
}

static PyObject *native_blob(PyObject *self, PyObject *arg)
{
    Py_buffer data;
    Py_ssize_t done = 0;
    int fd;

    (void)self;
    if (PyObject_GetBuffer(arg, &data, PyBUF_SIMPLE) < 0)
        return NULL;
    fd = shm_create("hasten-blob", 0);
    while (fd >= 0 && done < data.len) {
        const ssize_t n = shm_write(fd, (const char *)data.buf + done, (size_t)(data.len - done), (uint64_t)done);

        if (n < 0 && errno != EINTR) {
            const int code = errno;

            close(fd);
            fd = -code;
            break;
        }
        done += n > 0 ? n : 0;
    }
    PyBuffer_Release(&data);
    return fd < 0 ? raise_code(-fd) : PyLong_FromLong(fd);
}

static PyObject *native_blob_read(PyObject *self, PyObject *arg)
{
    const long fd = PyLong_AsLong(arg);
    void *memory;
    size_t size;
    PyObject *bytes;
    int code;

    (void)self;
    if (fd == -1 && PyErr_Occurred())
        return NULL;
    code = shm_map((int)fd, false, &memory, &size);
    if (code == -EINVAL)
        return PyBytes_FromStringAndSize(NULL, 0);
    if (code < 0)
        return raise_code(-code);
    bytes = PyBytes_FromStringAndSize(memory, (Py_ssize_t)size);
    shm_unmap(memory, size);
    return bytes;
}

/*
 * From now on the kernel kills this process when the other end of chan is closed: S is gone, however it went. A signal
 * rather than a thread or a poll, as neither an endless loop in C nor a test that closes every descriptor may outlive
 * the run's supervisor unnoticed. Nothing may be received on chan afterwards: data raises the signal too.
 */
static PyObject *native_die_with(PyObject *self, PyObject *arg)
{
    const long fd = PyLong_AsLong(arg);
    struct pollfd gone;

    (void)self;
    if (fd < 0)
        return PyErr_Occurred() ? NULL : raise_code(EBADF);
    if (fcntl((int)fd, F_SETOWN, getpid()) < 0 || fcntl((int)fd, F_SETSIG, SIGKILL) < 0 ||
        fcntl((int)fd, F_SETFL, fcntl((int)fd, F_GETFL) | O_ASYNC | O_NONBLOCK) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    lifeline = (int)fd;
    gone = (struct pollfd){.fd = (int)fd, .events = POLLIN};
    if (poll(&gone, 1, 0) > 0 && gone.revents & POLLHUP) /* closed before the signal was asked for */
        raise(SIGKILL);
    Py_RETURN_NONE;
}

/* Nothing that a suite opens has this flag, and asking for it is the cheapest question about a descriptor. */
bool channel_intact(void)
{
    int flags;

    if (lifeline < 0)
        return true;
    flags = fcntl(lifeline, F_GETFL);
    return flags >= 0 && flags & O_ASYNC;
}

static PyObject *native_intact(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyBool_FromLong(channel_intact());
}

PyMethodDef channel_methods[] = {
    {"send", native_send, METH_VARARGS,
     "send(chan, type, slot=0, a=0, b=0, data=b'', fd=-1)\n\nOne message. OSError when the other end is gone."},
    {"recv", native_recv, METH_VARARGS,
     "recv(chan, wait_ms=-1) -> (type, slot, a, b, data, fd)\n\nOne message; None at end of file, False when wait_ms "
     "passed. The caller closes fd unless it is -1."},
    {"blob", native_blob, METH_O, "blob(bytes) -> fd\n\nA memory file with these bytes; the caller closes it."},
    {"blob_read", native_blob_read, METH_O, "blob_read(fd) -> bytes\n\nAll bytes of a memory file."},
    {"die_with", native_die_with, METH_O, "die_with(chan)\n\nSIGKILL for this process when chan's other end closes."},
    {"intact", native_intact, METH_NOARGS,
     "intact() -> bool\n\nFalse when what die_with was given is open no more: descriptors of this process "
     "were closed."},
    {NULL, NULL, 0, NULL},
};
