/* link.c - a worker's link to the run: takes tests from the plan, publishes results in its ring. */
#include "py/link.h"

#include "py/leased.h"
#include "py/native.h"

#include "base/clock.h"
#include "os/cpu.h"
#include "os/origin.h"
#include "run/segment.h"

#include <time.h>
#include <unistd.h>

static struct {
    struct segment segment;
    struct plan_table plan;
    struct slot *slot; /* own; NULL while not attached */
    struct ring *ring;
    uint32_t index;
    bool late; /* has begun with late tests: takes no others any more */
} mine;

/*
 * A test has forked and its child came back out of it: the run goes on in the worker alone. In the child everything
 * here would be done a second time, so it ends where it first wants to take, to count or to tell.
 */
static void end_copies(int status)
{
    if (!origin_is_here())
        _exit(status);
}

static PyObject *native_worker_attach(PyObject *self, PyObject *args)
{
    int segment_fd;
    int plan_fd;
    unsigned int index;
    struct err err;

    (void)self;
    if (!PyArg_ParseTuple(args, "iiI", &segment_fd, &plan_fd, &index))
        return NULL;
    if (segment_attach(&mine.segment, segment_fd, &err) < 0 || plan_table_attach(&mine.plan, plan_fd, &err) < 0)
        return compat_raise(PyExc_RuntimeError, &err);
    if (index >= mine.segment.head->n_slots) {
        PyErr_SetString(PyExc_ValueError, "no such worker slot");
        return NULL;
    }
    mine.slot = segment_slot(&mine.segment, index);
    mine.ring = segment_ring(&mine.segment, index);
    mine.index = index;
    origin_mark();
    leased_attach();
    atomic_store_explicit(&mine.slot->state, SLOT_RUNNING, memory_order_release);
    Py_RETURN_NONE;
}

bool link_stopped(void)
{
    return atomic_load_explicit(&mine.segment.head->stop, memory_order_relaxed) != 0;
}

/* Its tests are here too: the same process has collected them. */
static bool same_part(struct slot *slot)
{
    return atomic_load_explicit(&slot->part, memory_order_relaxed) ==
           atomic_load_explicit(&mine.slot->part, memory_order_relaxed);
}

/* The worker with the most tests left that may be robbed; n_slots when there is none. */
static uint32_t richest(void)
{
    const uint32_t n = mine.segment.head->n_slots;
    uint32_t best = n;
    uint32_t most = 0;

    for (uint32_t i = 0; i < n; i++) {
        struct slot *slot = segment_slot(&mine.segment, i);
        const uint32_t left = range_left(&slot->range);

        if (i != mine.index && left > most && same_part(slot)) {
            most = left;
            best = i;
        }
    }
    return best;
}

static bool steal(void)
{
    const uint32_t n = mine.segment.head->n_slots;
    const uint32_t *unit = plan_table_unit(&mine.plan);
    const uint32_t best = richest();

    if (best == n)
        return false;
    /* The richest may hold one started unit only: then anybody's will do. */
    for (uint32_t k = 0; k < n; k++) {
        const uint32_t i = (best + k) % n;
        struct slot *victim = segment_slot(&mine.segment, i);
        const bool dead = atomic_load_explicit(&victim->state, memory_order_acquire) == SLOT_DEAD;

        if ((mine.segment.head->each && !dead) || !same_part(victim))
            continue;
        if (i != mine.index && range_steal(&mine.slot->range, &victim->range, unit, dead))
            return true;
    }
    return false;
}

uint32_t link_take_late(void)
{
    for (uint32_t i = 0; i < mine.segment.head->n_slots; i++) {
        struct slot *slot = segment_slot(&mine.segment, i);
        const uint32_t at = same_part(slot) ? range_take(&slot->late) : RANGE_NONE;

        if (at != RANGE_NONE)
            return at;
    }
    return RANGE_NONE;
}

uint32_t link_take_usual(void)
{
    for (;;) {
        const uint32_t at = range_take(&mine.slot->range);

        if (at != RANGE_NONE || !steal())
            return at;
    }
}

uint32_t link_front(void)
{
    return range_peek(&mine.slot->range);
}

const struct link *link_mine(void)
{
    static struct link link;

    link = (struct link){.segment = &mine.segment, .plan = &mine.plan, .index = mine.index};
    return &link;
}

long link_take(void)
{
    uint32_t at;
    uint32_t item;

    end_copies(0);
    if (leased_on())
        return leased_claim();
    at = mine.late || link_stopped() ? RANGE_NONE : link_take_usual();
    if (at == RANGE_NONE && !link_stopped()) {
        mine.late = true;
        at = link_take_late();
    }
    if (at == RANGE_NONE)
        return -1;
    item = plan_table_order(&mine.plan)[at];
    atomic_store_explicit(&mine.slot->claimed, item, memory_order_release);
    return (long)item;
}

static PyObject *native_worker_take(PyObject *self, PyObject *args)
{
    long index = link_take();

    (void)self;
    (void)args;
    if (leased_on())
        index = leased_wait(index);
    return index == LEASED_ERROR ? NULL : PyLong_FromLong(index);
}

long link_peek(void)
{
    const uint32_t at = link_stopped() ? RANGE_NONE : range_peek(&mine.slot->range);

    if (leased_on())
        return link_stopped() ? -1 : leased_peek();
    return at == RANGE_NONE ? -1 : (long)plan_table_order(&mine.plan)[at];
}

void link_begin(uint32_t item, uint64_t limit_ns)
{
    if (!limit_ns)
        limit_ns = mine.segment.head->timeout_ns;
    atomic_thread_fence(memory_order_release); /* after the end of the last one: slot_current */
    atomic_store_explicit(&mine.slot->started_ns, clock_now_ns(), memory_order_relaxed);
    atomic_store_explicit(&mine.slot->limit_ns, limit_ns, memory_order_relaxed);
    if (atomic_load_explicit(&mine.slot->claimed, memory_order_relaxed) == item)
        atomic_store_explicit(&mine.slot->claimed, SEGMENT_NO_ITEM, memory_order_relaxed);
    /* Release: who sees the item sees its start and limit. */
    atomic_store_explicit(&mine.slot->current, item, memory_order_release);
}

void link_end(void)
{
    struct slot *slot = mine.slot;
    const uint64_t ran = clock_now_ns() - atomic_load_explicit(&slot->started_ns, memory_order_relaxed);

    atomic_store_explicit(&slot->current, SEGMENT_NO_ITEM, memory_order_release);
    atomic_fetch_add_explicit(&slot->busy_ns, ran, memory_order_relaxed);
    atomic_fetch_add_explicit(&slot->n_done, 1, memory_order_relaxed);
}

/* Waits for room in the ring: the supervisor empties it every few milliseconds. */
static void put_piece(const struct record *record, const char *payload)
{
    const struct timespec nap = {.tv_nsec = 200000};

    if (ring_put(mine.ring, record, payload))
        return;
    Py_BEGIN_ALLOW_THREADS
    while (!ring_put(mine.ring, record, payload))
        nanosleep(&nap, NULL);
    Py_END_ALLOW_THREADS
}

void link_publish(struct record *record, const char *payload, size_t size)
{
    const size_t most = ring_max_payload(mine.ring);
    const uint32_t flags = record->flags;
    size_t done = 0;

    end_copies(0);
    record->slot = mine.index;
    do {
        const size_t piece = size - done < most ? size - done : most;

        record->size = (uint32_t)piece;
        record->flags = flags | (done + piece < size ? RECORD_MORE : 0u);
        put_piece(record, payload + done);
        done += piece;
    } while (done < size);
}

static PyObject *native_worker_publish(PyObject *self, PyObject *args)
{
    struct record record = {0};
    unsigned int type;
    unsigned int outcome;
    unsigned int flags;
    unsigned int item;
    unsigned long long start;
    unsigned long long phase[3];
    Py_buffer payload = {0};

    (void)self;
    if (!PyArg_ParseTuple(args, "IIIIKKKK|y*", &type, &outcome, &flags, &item, &start, &phase[0], &phase[1], &phase[2],
                          &payload))
        return NULL;
    record.type = (uint16_t)type;
    record.outcome = (uint16_t)outcome;
    record.flags = flags;
    record.item = item;
    record.start_ns = start;
    record.setup_ns = phase[0];
    record.call_ns = phase[1];
    record.teardown_ns = phase[2];
    end_copies(0);
    if (payload.len > (Py_ssize_t)RECORD_MAX_PAYLOAD) {
        PyBuffer_Release(&payload);
        PyErr_SetString(PyExc_ValueError, "a result of over 1 GiB");
        return NULL;
    }
    link_publish(&record, payload.buf, (size_t)payload.len);
    if (payload.obj)
        PyBuffer_Release(&payload);
    Py_RETURN_NONE;
}

static PyObject *native_worker_failed(PyObject *self, PyObject *args)
{
    struct segment_head *head = mine.segment.head;
    uint32_t n;

    (void)self;
    (void)args;
    end_copies(1);
    n = 1 + atomic_fetch_add_explicit(&head->n_failed, 1, memory_order_relaxed);
    if (head->max_fail && n >= head->max_fail)
        atomic_store_explicit(&head->stop, 1, memory_order_relaxed);
    return PyLong_FromUnsignedLong(n);
}

static PyObject *native_worker_stop(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    end_copies(1);
    atomic_store_explicit(&mine.segment.head->stop, 1, memory_order_relaxed);
    Py_RETURN_NONE;
}

static PyObject *native_worker_stopped(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyBool_FromLong(link_stopped());
}

void link_pause(bool on)
{
    if (!mine.slot)
        return;
    atomic_store_explicit(&mine.slot->started_ns, clock_now_ns(), memory_order_relaxed);
    atomic_store_explicit(&mine.slot->paused, on, memory_order_release);
}

static PyObject *native_worker_leave(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    atomic_store_explicit(&mine.slot->waited_ns, cpu_waited_ns(), memory_order_relaxed);
    atomic_store_explicit(&mine.slot->leaving_ns, clock_now_ns(), memory_order_relaxed);
    atomic_store_explicit(&mine.slot->state, SLOT_LEAVING, memory_order_release);
    Py_RETURN_NONE;
}

PyMethodDef worker_methods[] = {
    {"worker_attach", native_worker_attach, METH_VARARGS,
     "worker_attach(segment_fd, plan_fd, slot)\n\nThis process is the worker of that slot. RuntimeError when the "
     "shared memory is not of this version."},
    {"worker_take", native_worker_take, METH_NOARGS,
     "worker_take() -> int\n\nThe next test's index in the catalog: from the own range, else stolen; -1 when none."},
    {"worker_publish", native_worker_publish, METH_VARARGS,
     "worker_publish(type, outcome, flags, item, start_ns, setup_ns, call_ns, teardown_ns, payload=b'')\n\nOne record "
     "(store/record.h) into the ring; waits while the ring is full."},
    {"worker_failed", native_worker_failed, METH_NOARGS,
     "worker_failed() -> int\n\nCounts a failure of the run and stops the run at --maxfail."},
    {"worker_stop", native_worker_stop, METH_NOARGS, "worker_stop()\n\nNo worker starts another test."},
    {"worker_stopped", native_worker_stopped, METH_NOARGS, "worker_link_stopped() -> bool"},
    {"worker_leave", native_worker_leave, METH_NOARGS, "worker_leave()\n\nNo more tests for this worker."},
    {NULL, NULL, 0, NULL},
};
