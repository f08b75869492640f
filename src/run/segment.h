/*
 * segment.h - the shared memory of one run: what workers and supervisor read and write while tests run.
 *
 *      0  struct segment_head
 *      .  struct slot[n_slots]     one for each worker that ever lives (a replacement gets a new one)
 *      .  struct ring[n_slots]     ring.h; sparse: memory is paid for when it is used
 *
 * The plan table is a memory file of its own (its size is known after collection only):
 *      0  u32 capacity, u32 n      positions it can hold, positions in use now
 *      8  u32 order[capacity]      position -> item
 *      .  u32 unit[capacity]       position -> first position of its unit (sched/range.h)
 *      .  leases.h, where tests need exclusive things: then workers write there, too
 * S fills it before it sends it; positions added later (tests that are run again) are written before the range that
 * names them is set.
 *
 * Who writes what in a slot: S sets range while the slot is new, state FREE -> STARTING, and DEAD; the worker all the
 * rest. A claim names its owner because it lies in the owner's slot.
 *
 * state:  FREE -> STARTING : pool_start (S)       STARTING -> RUNNING : slot_enter (W)
 *         RUNNING -> LEAVING : slot_leave (W)     any but FREE -> DEAD : pool_reap (S)
 */
#ifndef HASTEN_SEGMENT_H
#define HASTEN_SEGMENT_H

#include "base/err.h"
#include "run/ring.h"
#include "sched/range.h"

#define SEGMENT_MAGIC "hsseg 04"
#define SEGMENT_NO_ITEM UINT32_MAX
#define SEGMENT_STOP_FORKS 2u
#define SEGMENT_RING_BYTES 262144u

enum slot_state { SLOT_FREE, SLOT_STARTING, SLOT_RUNNING, SLOT_LEAVING, SLOT_DEAD };

struct segment_head {
    char magic[8];
    uint32_t n_slots;
    uint32_t ring_bytes; /* data of one ring */
    uint64_t slots_at;
    uint64_t rings_at;
    uint64_t ring_stride;
    uint32_t max_fail;   /* 0: no limit */
    uint32_t each;       /* not 0: every worker has its own copy of every test; steal from the dead only */
    uint64_t timeout_ns; /* of one test, 0: none */
    _Alignas(64) _Atomic uint32_t stop; /* not 0: start no more tests; SEGMENT_STOP_FORKS: in forks of this template */
    _Atomic uint32_t n_failed;          /* failed reports so far, as pytest's maxfail counts */
};

struct slot {
    _Alignas(128) struct range range;
    struct range late;  /* for after all of range: any worker of this part takes its front, whoever has it */
    struct range block; /* leases.h: the rest of what is run under one lease; not to be stolen while its owner lives */
    _Atomic uint32_t state; /* enum slot_state */
    _Atomic int32_t pid;
    _Atomic uint32_t current;    /* item that runs now, or SEGMENT_NO_ITEM */
    _Atomic uint32_t claimed;    /* item taken for after it, or SEGMENT_NO_ITEM */
    _Atomic uint64_t started_ns; /* clock_now_ns at the start of current */
    _Atomic uint64_t limit_ns;   /* time limit of current; 0: none */
    _Atomic uint32_t paused;     /* a debugger holds this worker: no time limit */
    _Atomic uint32_t n_done;
    _Atomic uint32_t part;       /* S, before STARTING: whose tests this worker has; others it cannot take */
    _Atomic uint64_t busy_ns;    /* time inside tests */
    _Atomic uint64_t leaving_ns; /* clock_now_ns when it had no more tests */
    _Atomic uint64_t waited_ns;  /* ready to run without a core, up to then */
};

struct segment {
    struct segment_head *head; /* shared */
    size_t size;
};

struct plan_table {
    uint32_t *head; /* shared: capacity, n */
    size_t size;
};

/* A new segment. Its descriptor (owned by the caller) or -1 with err. */
int segment_create(struct segment *segment, uint32_t n_slots, struct err *err);
int segment_attach(struct segment *segment, int fd, struct err *err);
void segment_detach(struct segment *segment);

struct slot *segment_slot(const struct segment *segment, uint32_t index);
/*
 * What runs there, since when, and its limit: of one and the same item, which takes looking twice, as the worker goes on
 * meanwhile. SEGMENT_NO_ITEM: nothing, or it is just changing.
 */
uint32_t slot_current(const struct slot *slot, uint64_t *started_ns, uint64_t *limit_ns);
struct ring *segment_ring(const struct segment *segment, uint32_t index);

/* more: bytes behind the two arrays, zero, aligned to 64. Descriptor or -1. */
int plan_table_create(struct plan_table *table, uint32_t capacity, size_t more, struct err *err);
int plan_table_attach(struct plan_table *table, int fd, struct err *err);
void plan_table_detach(struct plan_table *table);
uint32_t *plan_table_order(const struct plan_table *table);
uint32_t *plan_table_unit(const struct plan_table *table);
void *plan_table_more(const struct plan_table *table); /* NULL: nothing is there */

#endif
