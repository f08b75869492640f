/* tail.c - the reporter reads the run's journal (store/journal.h) while the supervisor writes it. */
#include "py/tail.h"

#include "py/native.h"

#include "py/passed.h"
#include "store/journal.h"

#include <unistd.h>

static struct {
    struct journal_reader reader;
    struct journal_reader again; /* looks at what was read before; same fd */
    struct tail_record next;
    bool has_next;
    bool open;
    int fd; /* owned */
} tail;

int tail_peek(struct tail_record *found, struct err *err)
{
    if (!tail.has_next) {
        const int got = tail.open ? journal_read(&tail.reader, &tail.next.record, &tail.next.payload, err) : 0;

        if (got <= 0)
            return got;
        tail.next.at = tail.reader.at - record_span(&tail.next.record);
        tail.has_next = true;
    }
    *found = tail.next;
    return 1;
}

void tail_consume(void)
{
    tail.has_next = false;
}

int tail_again(uint64_t at, struct record *record, const void **payload, struct err *err)
{
    int got;

    tail.again.fd = tail.fd;
    got = journal_read_at(&tail.again, at, record, payload, err);
    return got == 0 ? err_set(err, "a result is no longer in the journal") : got < 0 ? -1 : 0;
}

void tail_again_done(void)
{
    journal_reader_close(&tail.again);
    tail.again = (struct journal_reader){0};
}

static PyObject *native_journal_attach(PyObject *self, PyObject *arg)
{
    const long fd = PyLong_AsLong(arg);
    struct err err;

    (void)self;
    if (fd == -1 && PyErr_Occurred())
        return NULL;
    if (tail.open) { /* the journal has moved to memory: same bytes, same offsets */
        close(tail.fd);
        tail.fd = (int)fd;
        tail.reader.fd = (int)fd;
        Py_RETURN_NONE;
    }
    if (journal_reader_open(&tail.reader, (int)fd, &err) < 0)
        return compat_raise(PyExc_RuntimeError, &err);
    tail.fd = (int)fd;
    tail.open = true;
    Py_RETURN_NONE;
}

static PyObject *one_record(const struct record *r, const void *payload)
{
    return Py_BuildValue("(IIIIIKKKKy#)", r->type, r->outcome, r->flags, r->item, r->slot,
                         (unsigned long long)r->start_ns, (unsigned long long)r->setup_ns,
                         (unsigned long long)r->call_ns, (unsigned long long)r->teardown_ns, (const char *)payload,
                         (Py_ssize_t)r->size);
}

static PyObject *native_journal_read(PyObject *self, PyObject *args)
{
    unsigned int most = 256;
    PyObject *list; /* owned */

    (void)self;
    if (!PyArg_ParseTuple(args, "|I", &most))
        return NULL;
    list = PyList_New(0);
    while (list && most--) {
        struct tail_record next;
        struct err err;
        PyObject *tuple; /* owned */
        const int got = tail_peek(&next, &err);

        if (got == 0 || (got > 0 && passed_wants(&next.record)))
            break;
        tail_consume();
        tuple = got > 0 ? one_record(&next.record, next.payload) : compat_raise(PyExc_RuntimeError, &err);
        if (!tuple || PyList_Append(list, tuple) < 0)
            Py_CLEAR(list);
        Py_XDECREF(tuple);
    }
    return list;
}

PyMethodDef journal_methods[] = {
    {"journal_attach", native_journal_attach, METH_O,
     "journal_attach(fd)\n\nReads this journal from its start, or goes on in its copy when one is read already. Takes "
     "the descriptor over."},
    {"journal_read", native_journal_read, METH_VARARGS,
     "journal_read(most=256) -> list of (type, outcome, flags, item, slot, start_ns, setup_ns, call_ns, teardown_ns, "
     "payload)\n\nThe next records that are there, at most `most`, none behind one that passed_take wants; empty when "
     "there "
     "is nothing new."},
    {NULL, NULL, 0, NULL},
};
