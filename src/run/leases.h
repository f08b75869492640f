/*
 * leases.h - tests that need exclusive things: who runs them, and when. One file for the supervisor, which lays them out,
 * and for workers, which take them.
 *
 * Tests with needs are in no worker's range but in queues, one for each set of needs (sched/needs.h). A queue is a range
 * of the plan that nobody owns, cut into blocks: tests that are run by one worker under one lease. A worker that looks
 * for its next test takes, in this order: the rest of its own block; the first block of a queue that is urgent, if all
 * that it needs is free; a test of its range, or a stolen one; a block of any queue. Only when all that fails it waits,
 * and holds nothing then: before, its present test is torn down so far that no fixture uses a unit. So nobody waits for
 * ever, and nobody idles while there is a test that could be run.
 *
 * A queue is urgent when what is left of its scarcest resource takes longer than the test that comes next otherwise.
 *
 * Where the order of tests is fixed (one worker, --dist each) there are no queues: a test with needs stays in its range,
 * and its worker waits for what it needs.
 *
 * Layout, behind the plan table's arrays:
 *      0  struct leases_head
 *      .  struct needs_resource[n_resources], struct needs_set[NEEDS_MOST_SETS], struct leases_queue[NEEDS_MOST_SETS]
 *      .  u32 set[capacity]    position -> 1 + set of its block, 0 none
 *      .  u32 own[capacity]    position -> 1 + set of the test itself, for the tokens that it takes
 *      .  u32 cost[capacity]   position -> expected time, microseconds
 *      .  what lease.h says
 * Who writes what: S all of it before a worker sees it, and queues again when no worker lives; workers take from queues
 * and write the words of lease.h.
 */
#ifndef HASTEN_LEASES_H
#define HASTEN_LEASES_H

#include "run/segment.h"
#include "sched/lease.h"

struct leases_head {
    uint32_t n_resources;
    uint32_t n_sets;
    uint32_t n_queues;
    uint32_t n_slots;
    uint32_t fixed;             /* not 0: the order is fixed, there are no queues */
    _Atomic uint32_t n_orphans; /* dead workers whose block is not done */
    uint32_t reserved[10];
};

struct leases_queue {
    struct range range;
    _Atomic uint64_t load_us; /* of what is left; a guess */
    uint32_t set;             /* index */
    uint32_t reserved[11];
};

/* A process's view. */
struct leases {
    struct leases_head *head;
    struct needs_resource *resources;
    struct needs_set *sets;
    struct leases_queue *queues;
    uint32_t *set;
    uint32_t *own;
    uint32_t *cost;
    struct lease_table table;
};

size_t leases_bytes(const struct needs *needs, uint32_t capacity, uint32_t n_slots);

/* S: writes head, resources and sets into the plan table, and *leases. */
void leases_make(struct leases *leases, const struct plan_table *plan, const struct needs *needs, uint32_t n_slots);

/* False: nobody needs anything in this run. */
bool leases_view(struct leases *leases, const struct plan_table *plan);

/* S: the queues are empty again; add_queue answers the index of a new one, UINT32_MAX when there are too many. */
void leases_clear(struct leases *leases);
uint32_t leases_add_queue(struct leases *leases, uint32_t set, uint32_t lo, uint32_t hi);

/* Index of a set that is equal, added if need be; UINT32_MAX when there are too many. */
uint32_t leases_add_set(struct leases *leases, const struct needs_set *set);

/* S: this worker is dead. What it held is free, and others may take what it has not begun of its block. */
void leases_bury(struct leases *leases, struct slot *dead, uint32_t slot);

/* ---- a worker */

/* What it looks at and what it has. */
struct leases_worker {
    struct leases *leases;         /* borrowed */
    const struct segment *segment; /* borrowed */
    const uint32_t *unit;          /* borrowed, the plan's */
    struct lease_who me;
    const struct lease_outside *outside; /* borrowed; NULL: there is nothing */
    _Atomic uint64_t **rates;            /* borrowed, per resource: the word of its rate; NULL: lease.h's own */
    struct lease_held held;              /* for the test that runs, and for fixtures that still use units */
    struct lease_held coming;            /* for the one that was claimed */
    uint32_t block_set;                  /* 1 + set of the block in hand */
    uint64_t when_ns;  /* after a try that failed: a rate allows another one then; 0: no rate was it */
    bool outside_busy; /* ... another run had what was needed */
};

/* What leases_next answers beside a position. */
#define LEASES_NONE UINT32_MAX        /* no test with needs can be taken */
#define LEASES_LATER (UINT32_MAX - 1) /* not now, but there are some */

/* The next test of the block in hand, RANGE_NONE when that is done. Its worker holds what it needs already. */
uint32_t leases_rest(struct leases_worker *worker);

/*
 * The first test of a block of which everything can be had now, with the lease in worker->coming; LEASES_NONE,
 * LEASES_LATER. least_us: only queues that are at least so urgent.
 */
uint32_t leases_next(struct leases_worker *worker, uint64_t least_us, uint64_t now_ns);

/* The needs of this position, which is the worker's already (fixed order): true and worker->coming, or false. */
bool leases_fixed(struct leases_worker *worker, uint32_t at, uint64_t now_ns);

/* Tokens for the claimed test of a block in hand: true, or false and worker->when_ns. */
bool leases_pace(struct leases_worker *worker, uint32_t at, uint64_t now_ns);

/* The running test has ended (or none ran): what the claimed one does not need is given back. */
void leases_turn(struct leases_worker *worker);

/* What of held lasts longer than a test and is not in coming: the widest level, NEEDS_TEST for nothing. */
enum needs_level leases_dropped(const struct leases_worker *worker);

/* Takes over into coming what fixtures of these levels and wider still use. */
void leases_keep(struct leases_worker *worker, enum needs_level from);

#endif
