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
#define MAX_PARTS 1024

struct child {
    int pid;
    int handle; /* owned; -1 where the kernel has none */
    uint32_t slot;
};

/* Another process that has collected a part of the tests (--collect=parallel): forks for its tests are its. */
struct part {
    int chan; /* borrowed */
    int pid;
};

struct template {
    int chan;           /* borrowed: orders */
    int out;            /* borrowed: answers go there; not chan in such a process */
    struct part *parts; /* owned, n_parts: number 1 and up */
    size_t n_parts;
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

    chan_send(t->out, &msg, NULL, 0, -1);
    if (t->children[i].handle >= 0)
        close(t->children[i].handle);
    t->children[i] = t->children[--t->n];
}

/* Without one that collected, its tests cannot be run from here: who is started in our place has them all. */
static void look_for_part(const struct template *t, int pid)
{
    for (size_t i = 0; i < t->n_parts; i++)
        if (t->parts[i].pid == pid && !t->quit)
            _exit(3);
}

/* Workers, and orphans of their tests that came to us. */
static void reap(struct template *t)
{
    int status;
    int pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        look_for_part(t, pid);
        for (size_t i = 0; i < t->n; i++)
            if (t->children[i].pid == pid) {
                forget_child(t, i, status);
                break;
            }
    }
}

static void release(struct template *t)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->children[i].handle >= 0)
            close(t->children[i].handle);
    free(t->children);
    free(t->parts);
    t->children = NULL;
    t->parts = NULL;
    t->n = t->n_parts = 0;
}

/*
 * The supervisor is gone: nobody is left to run for. For a part that is the template, and workers outlive that: they
 * see by themselves whether the supervisor lives.
 */
static HS_NORETURN void end_with_supervisor(struct template *t)
{
    if (t->out != t->chan)
        _exit(3);
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
        for (size_t i = 0; i < t->n_parts; i++)
            close(t->parts[i].chan);
        release(t);
        return 1;
    }
    PyOS_AfterFork_Parent();
    if (pid < 0) {
        msg = (struct chan_msg){.type = WIRE_EXITED, .slot = slot, .a = 0, .b = (uint64_t)errno};
        chan_send(t->out, &msg, NULL, 0, -1);
        return 0;
    }
    t->children[t->n++] = (struct child){.pid = pid, .handle = child_handle(pid), .slot = slot};
    msg.a = (uint64_t)pid;
    chan_send(t->out, &msg, NULL, 0, -1);
    return 0;
}

/* To the process that has this part's tests; it answers the supervisor itself. */
static void pass_on(const struct template *t, const struct chan_msg *msg, int fd)
{
    const struct chan_msg plan = {.type = WIRE_PLAN};
    struct chan_msg fork = *msg;
    const int chan = t->parts[msg->a - 1].chan;

    fork.a = 0;
    chan_send(chan, &plan, NULL, 0, t->plan_fd);
    chan_send(chan, &fork, NULL, 0, fd);
    close(fd);
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
        if (msg->a && msg->a <= t->n_parts) {
            pass_on(t, msg, fd);
            return 0;
        }
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

/* Their workers are gone: they end at once when told so. */
static void end_parts(const struct template *t)
{
    const struct chan_msg quit = {.type = WIRE_QUIT, .a = 1};
    int status;

    for (size_t i = 0; i < t->n_parts; i++)
        chan_send(t->parts[i].chan, &quit, NULL, 0, -1);
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < t->n_parts; i++)
        waitpid(t->parts[i].pid, &status, 0);
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
    end_parts(t);
    return PyBool_FromLong(t->proper_end);
}

/* parts: list of (chan, pid). */
static int read_parts(struct template *t, PyObject *parts)
{
    const Py_ssize_t n = parts ? PyList_Size(parts) : 0;

    if (n > MAX_PARTS) {
        PyErr_SetString(PyExc_ValueError, "too many parts");
        return -1;
    }
    t->parts = hs_alloc(((size_t)n + 1) * sizeof *t->parts);
    for (Py_ssize_t i = 0; i < n; i++, t->n_parts++)
        if (!PyArg_ParseTuple(PyList_GET_ITEM(parts, i), "ii", &t->parts[i].chan, &t->parts[i].pid))
            return -1;
    return 0;
}

static PyObject *native_template_serve(PyObject *self, PyObject *args)
{
    struct template t = {.out = -1, .segment_fd = -1, .inputs_fd = -1, .plan_fd = -1};
    PyObject *parts = NULL;
    PyObject *result = NULL;

    (void)self;
    if (!PyArg_ParseTuple(args, "i|iiO!i", &t.chan, &t.segment_fd, &t.inputs_fd, &PyList_Type, &parts, &t.out))
        return NULL;
    t.out = t.out < 0 ? t.chan : t.out;
    t.children = hs_alloc(MAX_CHILDREN * sizeof *t.children);
    child_adopt_orphans();
    if (read_parts(&t, parts) == 0)
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
     "template_serve(chan, segment_fd=-1, inputs_fd=-1, parts=[], out=-1) -> tuple | bool\n\nForks workers as the "
     "supervisor asks. In a worker: (slot, chan, segment_fd, inputs_fd, plan_fd), all its own; fds are -1 while not "
     "sent. In the template, at the end of the run: True when a worker has ended the session properly. Does not return "
     "when the supervisor is gone. parts: (chan, pid) of processes that fork for their parts of the tests; out: where "
     "such a process answers."},
    {"template_end_orphans", native_template_end_orphans, METH_NOARGS,
     "template_end_orphans() -> int\n\nEnds every process that tests have left behind; how many there were."},
    {NULL, NULL, 0, NULL},
};
