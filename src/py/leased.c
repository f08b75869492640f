/* leased.c - see leased.h. */
#include "py/leased.h"

#include "py/link.h"
#include "py/loop.h"
#include "py/native.h"

#include "base/clock.h"
#include "base/trace.h"
#include "os/bytelock.h"
#include "os/shm.h"
#include "os/wake.h"
#include "run/leases.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define LONG_NS (3000 * MS) /* people hear of it when another run makes us wait so long */
#define POLL_NS (20 * MS)   /* of what other runs hold */
#define AT_LEAST (200 * MS) /* workers look so often whether the run is to stop */
#define NO_POSITION UINT32_MAX

static struct {
    bool on;
    bool late;    /* has begun with late tests */
    bool turning; /* a claim was made since leased_turn */
    bool resting; /* ... of a test whose tokens are not taken yet */
    struct leases leases;
    struct leases_worker worker;
    struct lease_outside outside;
    bool told;                       /* Python knows of units */
    uint32_t at;                     /* position of the claimed test */
    uint32_t waiting;                /* fixed order: position that comes when its needs can be had; or NO_POSITION */
    PyObject *observer;              /* owned; NULL: not set */
    PyObject *cut;                   /* owned */
    PyObject *session;               /* owned */
    uint64_t keys[NEEDS_MOST_UNITS]; /* of units, for other runs */
    uint32_t n_keys;
    int locks; /* descriptor; -1: not open */
    _Atomic uint64_t *rates[NEEDS_MOST_RESOURCES];
    const char *names[NEEDS_MOST_RESOURCES];
    uint64_t waits_since_ns;
    bool said;
} my = {.locks = -1, .waiting = NO_POSITION};

bool leased_on(void)
{
    return my.on;
}

/* ---- other runs */

static bool lock_outside(void *self, const struct lease_hold *hold)
{
    (void)self;
    if (my.locks < 0)
        my.locks = bytelock_open("units");
    return my.locks >= 0 && hold->unit < my.n_keys &&
           bytelock_take(my.locks, my.keys[hold->unit], 1, hold->flags & NEEDS_SHARED) == 0;
}

static void unlock_outside(void *self, const struct lease_hold *hold)
{
    (void)self;
    if (my.locks >= 0 && hold->unit < my.n_keys)
        bytelock_put(my.locks, my.keys[hold->unit], 1);
}

/* A word that all runs of the machine share, or NULL. The machine may have started anew since it was written. */
static _Atomic uint64_t *map_rate(const char *name)
{
    const uint64_t most = clock_now_ns() + 24 * 3600 * 1000 * MS;
    char file[64];
    void *memory = NULL;
    size_t size;
    int fd;

    snprintf(file, sizeof file, "rate-%.50s", name);
    fd = bytelock_open(file);
    if (fd < 0)
        return NULL;
    if (ftruncate(fd, 64) != 0 || shm_map(fd, true, &memory, &size) < 0)
        memory = NULL;
    close(fd);
    if (memory && atomic_load((_Atomic uint64_t *)memory) > most)
        atomic_store((_Atomic uint64_t *)memory, 0);
    return memory;
}

static _Atomic uint64_t *rate_word(uint32_t index, const char *name, bool machine)
{
    static _Atomic uint64_t own[NEEDS_MOST_RESOURCES];

    if (machine && !my.rates[index])
        my.rates[index] = map_rate(name);
    if (my.rates[index])
        return my.rates[index];
    return my.on ? &my.leases.table.next[index] : &own[index];
}

/* ---- this worker */

void leased_attach(void)
{
    const struct link *link = link_mine();
    static const char *const none = "";

    my.on = leases_view(&my.leases, link->plan);
    if (!my.on)
        return;
    trace_open(getenv("HASTEN_TRACE")); /* the program has its own */
    my.outside = (struct lease_outside){.take = lock_outside, .put = unlock_outside};
    my.worker = (struct leases_worker){.leases = &my.leases,
                                       .segment = link->segment,
                                       .unit = plan_table_unit(link->plan),
                                       .me = {.slot = link->index, .pid = (uint32_t)getpid()},
                                       .outside = &my.outside,
                                       .rates = my.rates};
    for (uint32_t i = 0; i < my.leases.head->n_resources; i++) {
        my.names[i] = my.leases.resources[i].interval_us ? my.leases.resources[i].name : none;
        if (my.leases.resources[i].flags & NEEDS_MACHINE && my.leases.resources[i].interval_us)
            rate_word(i, my.leases.resources[i].name, true);
    }
}

static long claimed(uint32_t at)
{
    const struct link *link = link_mine();
    const uint32_t item = plan_table_order(link->plan)[at];

    my.at = at;
    atomic_store_explicit(&segment_slot(link->segment, link->index)->claimed, item, memory_order_release);
    return (long)item;
}

/* A position that is this worker's already, and waits for what it needs. */
static long claim_waiting(uint64_t now)
{
    if (!leases_fixed(&my.worker, my.waiting, now))
        return LEASED_LATER;
    const long item = claimed(my.waiting);

    my.waiting = NO_POSITION;
    return item;
}

static long claim_own(uint32_t at, uint64_t now)
{
    my.waiting = at;
    claimed(at); /* if we die now, it is given back */
    return claim_waiting(now);
}

static long claim_fixed(uint64_t now)
{
    uint32_t at = my.late ? RANGE_NONE : link_take_usual();

    my.late = my.late || at == RANGE_NONE;
    if (at == RANGE_NONE)
        at = link_take_late();
    return at == RANGE_NONE ? -1 : claim_own(at, now);
}

/* Late tests stay in their order, with needs or without; who has begun with them takes no others any more. */
static long claim_late(long otherwise, uint64_t now)
{
    const uint32_t at = link_take_late();

    if (at == RANGE_NONE)
        return my.late ? -1 : otherwise;
    my.late = true;
    return claim_own(at, now);
}

static long claim_queued(uint64_t now)
{
    const uint32_t front = link_front();
    uint32_t at = leases_rest(&my.worker);
    bool later;

    if (at != RANGE_NONE) {
        my.resting = true;
        return claimed(at);
    }
    at = leases_next(&my.worker, front == RANGE_NONE ? 0 : my.leases.cost[front], now);
    if (at < LEASES_LATER)
        return claimed(at);
    later = at == LEASES_LATER;
    at = link_take_usual();
    if (at != RANGE_NONE)
        return claimed(at);
    if (front != RANGE_NONE || later) {
        at = leases_next(&my.worker, 0, now);
        if (at < LEASES_LATER)
            return claimed(at);
        later = at == LEASES_LATER;
    }
    return claim_late(later ? LEASED_LATER : -1, now);
}

long leased_claim(void)
{
    const uint64_t now = clock_now_ns();

    my.turning = true;
    my.resting = false;
    my.worker.coming.n = 0;
    if (link_stopped())
        return -1;
    if (my.waiting != NO_POSITION)
        return claim_waiting(now);
    if (my.leases.head->fixed)
        return claim_fixed(now);
    return my.late ? claim_late(-1, now) : claim_queued(now);
}

long leased_peek(void)
{
    const struct link *link = link_mine();
    uint32_t at = range_peek(&segment_slot(link->segment, link->index)->block);

    if (at == RANGE_NONE)
        at = link_front();
    for (uint32_t q = 0; at == RANGE_NONE && q < my.leases.head->n_queues; q++)
        at = range_peek(&my.leases.queues[q].range);
    return at == RANGE_NONE ? -1 : (long)plan_table_order(link->plan)[at];
}

static bool holds_session(void)
{
    for (uint32_t i = 0; i < my.worker.held.n; i++)
        if (my.worker.held.of[i].level == NEEDS_SESSION)
            return true;
    return false;
}

PyObject *leased_stand_in(PyObject *item, long next, PyObject *nextitem)
{
    enum needs_level level;
    PyObject *node;

    if (next == LEASED_LATER)
        return holds_session() || !my.session ? Py_None : my.session;
    if (next < 0)
        return Py_None;
    leases_keep(&my.worker, NEEDS_SESSION);
    level = leases_dropped(&my.worker);
    if (level == NEEDS_TEST || !my.cut)
        return nextitem;
    node = PyObject_CallFunction(my.cut, "OOi", item, nextitem, (int)level); /* a node of the session, or nextitem */
    if (!node)
        return NULL;
    Py_DECREF(node);
    if (node == nextitem || !my.leases.head->fixed)
        return node;
    leases_keep(&my.worker, NEEDS_CLASS);
    return nextitem;
}

void leased_claimed_late(long next)
{
    PyObject *done;

    if (next >= 0)
        leases_keep(&my.worker, NEEDS_CLASS);
    if (next != LEASED_LATER || leases_dropped(&my.worker) == NEEDS_TEST)
        return;
    done = PyObject_CallOneArg(loop_original(), Py_None);
    if (!done)
        PyErr_WriteUnraisable(loop_original());
    Py_XDECREF(done);
}

void leased_turn(void)
{
    if (my.turning)
        leases_turn(&my.worker);
    my.turning = false;
}

static PyObject *units_held(void)
{
    const struct lease_held *held = &my.worker.held;
    PyObject *list = PyList_New(held->n); /* owned */

    for (uint32_t i = 0; list && i < held->n; i++) {
        const struct lease_hold *hold = &held->of[i];
        PyObject *entry = Py_BuildValue("(iii)", (int)hold->resource,
                                        (int)(hold->unit - my.leases.table.first[hold->resource]), (int)hold->level);

        if (!entry) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, i, entry);
    }
    return list;
}

int leased_begin(PyObject *item)
{
    PyObject *units;
    PyObject *done;

    leased_turn();
    if (!my.observer || (!my.worker.held.n && !my.told))
        return 0;
    my.told = my.worker.held.n != 0;
    trace_event("lease", TRACE_U64("slot", my.worker.me.slot), TRACE_U64("units", my.worker.held.n));
    units = units_held(); /* owned */
    done = units ? PyObject_CallFunctionObjArgs(my.observer, units, item, NULL) : NULL;
    Py_XDECREF(units);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* ---- waiting */

/* Once, when another run keeps this one waiting. */
static void say(void)
{
    struct record record = {.type = RECORD_NOTE, .item = RECORD_NO_ITEM};
    char text[160];
    int owner = 0;

    if (my.said || !my.worker.outside_busy || clock_now_ns() - my.waits_since_ns < LONG_NS)
        return;
    for (uint32_t i = 0; i < my.n_keys && my.locks >= 0 && !owner; i++)
        owner = bytelock_owner(my.locks, my.keys[i]);
    my.said = true;
    if (my.locks >= 0)
        snprintf(text, sizeof text, "hasten: worker gw%u waits for a resource that process %d of another run has",
                 my.worker.me.slot, owner);
    else
        snprintf(text, sizeof text, "hasten: worker gw%u waits for ever: the folder of locks cannot be used",
                 my.worker.me.slot);
    link_publish(&record, text, strlen(text));
}

/* -1: an exception is set. */
static int nap(uint32_t seen)
{
    const uint64_t now = clock_now_ns();
    uint64_t most = my.worker.outside_busy ? POLL_NS : AT_LEAST;

    if (my.worker.when_ns)
        most = my.worker.when_ns <= now ? 0 : my.worker.when_ns - now < most ? my.worker.when_ns - now : most;
    say();
    if (my.worker.outside_busy) /* who tries in vain for that counts up, too */
        seen = atomic_load(my.leases.table.turns);
    Py_BEGIN_ALLOW_THREADS
    wake_wait(my.leases.table.turns, seen, most);
    Py_END_ALLOW_THREADS
    if (PyErr_CheckSignals() == 0)
        return 0;
    if (!link_stopped() || !PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return -1;
    PyErr_Clear(); /* Ctrl-C has ended the run already: there is no more test, and nothing of the suite to be shown */
    return 0;
}

static long wait_for_tokens(long item)
{
    while (my.resting && !link_stopped() && !leases_pace(&my.worker, my.at, clock_now_ns()))
        if (nap(atomic_load(my.leases.table.turns)) < 0)
            return LEASED_ERROR;
    my.resting = false;
    return item;
}

long leased_wait(long item)
{
    if (item >= 0)
        return my.resting ? wait_for_tokens(item) : item;
    leased_turn();
    my.waits_since_ns = clock_now_ns();
    trace_event("lease_wait", TRACE_U64("slot", my.worker.me.slot));
    while (item == LEASED_LATER) {
        const uint32_t seen = atomic_load(my.leases.table.turns);

        item = leased_claim();
        if (item == LEASED_LATER && nap(seen) < 0)
            return LEASED_ERROR;
    }
    trace_event("lease_waited", TRACE_U64("slot", my.worker.me.slot),
                TRACE_U64("ns", clock_now_ns() - my.waits_since_ns));
    return item;
}

/* ---- for Python */

static int read_keys(PyObject *keys)
{
    my.n_keys = 0;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(keys) && i < NEEDS_MOST_UNITS; i++) {
        my.keys[i] = PyLong_AsUnsignedLongLong(PyList_GET_ITEM(keys, i));
        my.n_keys++;
    }
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *native_lease_set(PyObject *self, PyObject *args)
{
    PyObject *observer;
    PyObject *cut;
    PyObject *session;
    PyObject *keys;

    (void)self;
    if (!PyArg_ParseTuple(args, "OOOO!", &observer, &cut, &session, &PyList_Type, &keys) || read_keys(keys) < 0)
        return NULL;
    Py_XSETREF(my.observer, Py_NewRef(observer));
    Py_XSETREF(my.cut, Py_NewRef(cut));
    Py_XSETREF(my.session, Py_NewRef(session));
    return PyBool_FromLong(my.on);
}

static PyObject *native_lease_pace(PyObject *self, PyObject *args)
{
    unsigned int index, interval_us, burst, n;
    const char *name;
    int machine;
    uint64_t when = 0;
    uint64_t now;

    (void)self;
    if (!PyArg_ParseTuple(args, "IspIII", &index, &name, &machine, &interval_us, &burst, &n))
        return NULL;
    if (index >= NEEDS_MOST_RESOURCES || !burst || !interval_us) {
        PyErr_SetString(PyExc_ValueError, "no such rate");
        return NULL;
    }
    now = clock_now_ns();
    if (lease_pace(rate_word(index, name, machine != 0), interval_us * UINT64_C(1000), burst, n, now, &when))
        return PyFloat_FromDouble(0.0);
    return PyFloat_FromDouble((double)(when - now) / 1e9);
}

static PyObject *native_lock_open(PyObject *self, PyObject *args)
{
    const char *name;
    int fd;

    (void)self;
    if (!PyArg_ParseTuple(args, "s", &name))
        return NULL;
    fd = bytelock_open(name);
    if (fd < 0) {
        errno = -fd;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromLong(fd);
}

static PyObject *native_lock_take(PyObject *self, PyObject *args)
{
    int fd, shared = 0, code;
    unsigned long long at, n = 1;

    (void)self;
    if (!PyArg_ParseTuple(args, "iK|Kp", &fd, &at, &n, &shared))
        return NULL;
    code = bytelock_take(fd, at, n, shared != 0);
    if (code == 0 || code == -EAGAIN)
        return PyBool_FromLong(code == 0);
    errno = -code;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *native_lock_put(PyObject *self, PyObject *args)
{
    int fd;
    unsigned long long at, n = 1;

    (void)self;
    if (!PyArg_ParseTuple(args, "iK|K", &fd, &at, &n))
        return NULL;
    bytelock_put(fd, at, n);
    Py_RETURN_NONE;
}

static PyObject *native_lock_owner(PyObject *self, PyObject *args)
{
    int fd;
    unsigned long long at;

    (void)self;
    if (!PyArg_ParseTuple(args, "iK", &fd, &at))
        return NULL;
    return PyLong_FromLong(bytelock_owner(fd, at));
}

PyMethodDef lease_methods[] = {
    {"lease_set", native_lease_set, METH_VARARGS,
     "lease_set(observer, cut, session, keys) -> bool\n\nobserver(units, item): called before a test when its worker "
     "has "
     "units, or has lost them: (resource, unit, level) of each; cut(item, nextitem, level): the node up to which "
     "pytest tears down when a unit of that "
     "level "
     "is given back; keys: of the units, for other runs. False: no test of this run needs anything."},
    {"lease_pace", native_lease_pace, METH_VARARGS,
     "lease_pace(index, name, machine, interval_us, burst, n) -> seconds\n\nTakes n tokens of a rate: 0.0, or how long "
     "it is until another try makes sense."},
    {"lock_open", native_lock_open, METH_VARARGS, "lock_open(name) -> fd\n\nos/bytelock.h."},
    {"lock_take", native_lock_take, METH_VARARGS, "lock_take(fd, at, n=1, shared=False) -> bool"},
    {"lock_put", native_lock_put, METH_VARARGS, "lock_put(fd, at, n=1)"},
    {"lock_owner", native_lock_owner, METH_VARARGS, "lock_owner(fd, at) -> pid or 0"},
    {NULL, NULL, 0, NULL},
};
