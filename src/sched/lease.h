/*
 * lease.h - exclusive things: who holds which unit, and the pace of rate-limited services. Pure: no clock, no I/O.
 *
 * Layout: words in shared memory, reached only through this file; all zero: everything is free. A unit is held by one
 * worker alone (its word names slot and pid), or by several that share it (one byte for each slot). So the supervisor can
 * give back what a dead worker held, whatever that was doing when it died.
 *
 * All or nothing: a test gets all that it needs, or none of it and may try again. Nobody waits while it holds anything
 * (run/leases.h sees to that), so nobody waits for ever.
 *
 * turns grows after every unit that was given back: whoever has seen it before a try that failed knows when another try
 * makes sense. A try that finds nothing free changes nothing, so those who wait do not wake each other up.
 */
#ifndef HASTEN_LEASE_H
#define HASTEN_LEASE_H

#include "sched/needs.h"

#include <stdatomic.h>

enum { LEASE_MOST_HELD = 64 };

struct lease_who {
    uint32_t slot;
    uint32_t pid; /* > 0 */
};

struct lease_table {
    const struct needs_resource *resources; /* borrowed */
    uint32_t n_resources;
    uint32_t n_slots;
    uint32_t first[NEEDS_MOST_RESOURCES + 1]; /* a resource's units are [first[r], first[r + 1]) */
    _Atomic uint64_t *owner;                  /* shared, per unit: slot + 1 and pid; 0: nobody */
    _Atomic uint64_t *next;   /* shared, per resource: when its rate allows the next token, lease_pace */
    _Atomic uint8_t *readers; /* shared, per unit and slot */
    _Atomic uint32_t *turns;  /* shared */
};

struct lease_hold {
    uint16_t resource;
    uint8_t flags; /* NEEDS_SHARED */
    uint8_t level; /* enum needs_level */
    uint32_t unit;
};

struct lease_held {
    uint32_t n;
    struct lease_hold of[LEASE_MOST_HELD];
};

/* What has to be had outside of this run's memory, too (a lock that other runs see). Nothing of it may wait. */
struct lease_outside {
    bool (*take)(void *self, const struct lease_hold *hold);
    void (*put)(void *self, const struct lease_hold *hold);
    void *self;
};

/* Bytes of the shared words, a multiple of 64. */
size_t lease_bytes(const struct needs_resource *resources, uint32_t n_resources, uint32_t n_slots);

/* memory: of so many bytes, aligned to 64, mapped by whoever; borrowed. */
void lease_view(struct lease_table *table, void *memory, const struct needs_resource *resources, uint32_t n_resources,
                uint32_t n_slots);

/*
 * All units of the set for this worker, which has `old` already: what suits of that is used, and stays in old. True:
 * *held is what the set gets; false: nothing has changed. outside may be NULL.
 */
bool lease_take(const struct lease_table *table, struct lease_who who, const struct needs_set *set,
                const struct lease_held *old, struct lease_held *held, const struct lease_outside *outside);

/* Gives back what is in held and not in kept. */
void lease_leave(const struct lease_table *table, struct lease_who who, const struct lease_held *held,
                 const struct lease_held *kept, const struct lease_outside *outside);

/* This worker is dead: all that it held is free. How many units. By one process. */
uint32_t lease_bury(const struct lease_table *table, uint32_t slot);

/*
 * n tokens of a rate now. False: not yet; *when is then the earliest moment at which it makes sense to ask again. Tokens
 * come evenly: any two are interval_ns apart, burst aside.
 */
bool lease_pace(_Atomic uint64_t *next, uint64_t interval_ns, uint32_t burst, uint32_t n, uint64_t now_ns,
                uint64_t *when_ns);
uint64_t lease_pace_when(const _Atomic uint64_t *next, uint64_t interval_ns,
                         uint32_t burst);                                    /* only a look: from then on */
void lease_unpace(_Atomic uint64_t *next, uint64_t interval_ns, uint32_t n); /* they were not used after all */

#endif
