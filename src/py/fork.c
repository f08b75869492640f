/*
 * fork.c - the template's loop: fork a worker when told, say when one ends, and nothing else.
 *
 * The loop runs where a worker is to come to life (deep in pytest's own stack), and *returns* in every child, so that
 * the child goes on through pytest's stack as if it had come there by itself. fork() and not os.fork(): debuggers and
 * coverage tools replace the latter for the suite's own use; CPython's before and after hooks are called all the same.
 */
#include "py/native.h"

#include "os/chan.h"
#include "os/child.h"
#include "run/wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_CHILDREN 1024

struct child {
    int pid;
    int handle; /* owned; -1 where the kernel has none */
    uint32_t slot;
};

struct template {
    int chan;               /* borrowed */
    struct child *children; /* owned, n */
    size_t n;
    int segment_fd; /* owned; -1 while not sent */
    int inputs_fd;
    int plan_fd;
    bool quit;
    bool proper_end; /* a worker has ended the session as pytest does */
};

static void keep_fd(int *kept, int fd)
{
    if (*kept >= 0)
        close(*kept);
    *kept = fd;
}

static void forget_child(struct template *t, size_t i, int status)
{
    const struct chan_msg msg = {
        .type = WIRE_EXITED, .slot = t->children[i].slot, .a = (uint64_t)t->children[i].pid, .b = (uint64_t)status};

    chan_send(t->chan, &msg, NULL, 0, -1);
    if (t->children[i].handle >= 0)
        close(t->children[i].handle);
    t->children[i] = t->children[--t->n];
}

/* Workers, and orphans of their tests that came to us. */
static void reap(struct template *t)
{
    int status;
    int pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (size_t i = 0; i < t->n; i++)
            if (t->children[i].pid == pid) {
                forget_child(t, i, status);
                break;
            }
}

static void release(struct template *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->children[i].handle >= 0)
            close(t->children[i].handle);
    free(t->children);
    t->children = NULL;
    t->n = 0;
}

/* The supervisor is gone: nobody is left to run for. */
static HS_NORETURN void end_with_supervisor(struct template *t)
{
    for (size_t i = 0; i < t->n; i++)
        kill(t->children[i].pid, SIGKILL);
    child_end_all(0);
    _exit(3);
}

/* 1 in the child, 0 in the template, -1 when there is no memory or process left for a fork. */
static int fork_worker(struct template *t, uint32_t slot)
{
    struct chan_msg msg = {.type = WIRE_FORKED, .slot = slot};
    int pid;

    if (t->n == MAX_CHILDREN)
        return -1;
    PyOS_BeforeFork();
    pid = fork();
    if (pid == 0) {
        PyOS_AfterFork_Child();
        setpgid(0, 0); /* its tests' children end with it */
        release(t);
        return 1;
    }
    PyOS_AfterFork_Parent();
    if (pid < 0) {
        msg = (struct chan_msg){.type = WIRE_EXITED, .slot = slot, .a = 0, .b = (uint64_t)errno};
        chan_send(t->chan, &msg, NULL, 0, -1);
        return 0;
    }
    t->children[t->n++] = (struct child){.pid = pid, .handle = child_handle(pid), .slot = slot};
    msg.a = (uint64_t)pid;
    chan_send(t->chan, &msg, NULL, 0, -1);
    return 0;
}

/* Same as fork_worker; worker_chan (owned by the child then) is closed in the template. */
static int handle(struct template *t, const struct chan_msg *msg, int fd, int *worker_chan)
{
    int forked = 0;

    switch (msg->type) {
    case WIRE_SEGMENT:
        keep_fd(&t->segment_fd, fd);
        return 0;
    case WIRE_INPUTS:
        keep_fd(&t->inputs_fd, fd);
        return 0;
    case WIRE_PLAN:
        keep_fd(&t->plan_fd, fd);
        return 0;
    case WIRE_FORK:
        forked = fork_worker(t, msg->slot);
        if (forked == 1)
            *worker_chan = fd;
        else if (fd >= 0)
            close(fd);
        return forked;
    case WIRE_QUIT:
        t->quit = true;
        t->proper_end = msg->a != 0;
        break;
    default:
        break;
    }
    if (fd >= 0)
        close(fd);
    return 0;
}

/* Until a message is there or a child may have ended. */
static void wait_for_news(struct template *t, struct pollfd *polls)
{
    bool blind = t->n == 0; /* orphans have no handle: look for them now and then */

    polls[0] = (struct pollfd){.fd = t->chan, .events = POLLIN};
    for (size_t i = 0; i < t->n; i++) {
        polls[i + 1] = (struct pollfd){.fd = t->children[i].handle, .events = POLLIN};
        blind = blind || t->children[i].handle < 0;
    }
    Py_BEGIN_ALLOW_THREADS
    poll(polls, t->n + 1, blind ? 50 : 1000);
    Py_END_ALLOW_THREADS
}

static PyObject *serve(struct template *t)
{
    static char data[CHAN_MAX_DATA];
    struct pollfd polls[MAX_CHILDREN + 1];

    while (!t->quit) {
        struct chan_msg msg;
        size_t n;
        int fd = -1;
        int worker_chan = -1;
        int got;

        wait_for_news(t, polls);
        reap(t);
        if (!(polls[0].revents & (POLLIN | POLLHUP | POLLERR)))
            continue;
        got = chan_recv(t->chan, 0, &msg, data, &n, &fd);
        if (got == 0 || (got < 0 && got != -EAGAIN && got != -EINTR))
            end_with_supervisor(t);
        if (got > 0 && handle(t, &msg, fd, &worker_chan) == 1)
            return Py_BuildValue("(Iiiii)", msg.slot, worker_chan, t->segment_fd, t->inputs_fd, t->plan_fd);
    }
    reap(t);
    return PyBool_FromLong(t->proper_end);
}

static PyObject *native_template_serve(PyObject *self, PyObject *args)
{
    struct template t = {.segment_fd = -1, .inputs_fd = -1, .plan_fd = -1};
    PyObject *result;

    (void)self;
    if (!PyArg_ParseTuple(args, "i|ii", &t.chan, &t.segment_fd, &t.inputs_fd))
        return NULL;
    t.children = hs_alloc(MAX_CHILDREN * sizeof *t.children);
    child_adopt_orphans();
    result = serve(&t);
    release(&t);
    return result;
}

static PyObject *native_template_end_orphans(PyObject *self, PyObject *args)
{
    size_t n;

    (void)self;
    (void)args;
    Py_BEGIN_ALLOW_THREADS
    n = child_end_all(200);
    Py_END_ALLOW_THREADS
    return PyLong_FromSize_t(n);
}

static PyObject *native_fork(PyObject *self, PyObject *args)
{
    int pid;

    (void)self;
    (void)args;
    PyOS_BeforeFork();
    pid = fork();
    if (pid == 0)
        PyOS_AfterFork_Child();
    else
        PyOS_AfterFork_Parent();
    return pid < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(pid);
}

PyMethodDef template_methods[] = {
    {"fork", native_fork, METH_NOARGS,
     "fork() -> int\n\nos.fork() without its warning about threads; 0 in the child. OSError when there is no room."},
    {"template_serve", native_template_serve, METH_VARARGS,
     "template_serve(chan, segment_fd=-1, inputs_fd=-1) -> tuple | bool\n\nForks workers as the supervisor asks. In a "
     "worker: (slot, chan, segment_fd, inputs_fd, plan_fd), all its own; fds are -1 while not sent. In the template, "
     "at the end of the run: True when a worker has ended the session properly. Does not return when the supervisor "
     "is gone."},
    {"template_end_orphans", native_template_end_orphans, METH_NOARGS,
     "template_end_orphans() -> int\n\nEnds every process that tests have left behind; how many there were."},
    {NULL, NULL, 0, NULL},
};
