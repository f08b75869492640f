/* lease_case.h - what the tests of leases share: resources and needs in few words. */
#ifndef LEASE_CASE_H
#define LEASE_CASE_H

#include "harness.h"

#include "sched/lease.h"

#include <string.h>

enum { SLOTS = 24, CAPACITY = 96 };

#ifdef __SANITIZE_THREAD__
enum { SCHEDULES = 5000, TRIES = 20000 }; /* they take twenty times as long there */
#else
enum { SCHEDULES = 100000, TRIES = 100000 };
#endif

static inline uint32_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

static inline struct needs_resource resource(const char *name, uint32_t n_units)
{
    struct needs_resource r = {.n_units = n_units, .flags = NEEDS_READERS, .burst = 1};

    memcpy(r.name, name, strlen(name));
    return r;
}

static inline struct needs_set set_of(uint32_t n, const struct needs_one *of)
{
    struct needs_set set = {.n = n};

    memcpy(set.of, of, n * sizeof *of);
    return set;
}

static const struct lease_held nothing;
static const struct needs_one one_a = {.resource = 0, .count = 1};
static const struct needs_one both_a = {.resource = 0, .count = 2};
static const struct needs_one one_b = {.resource = 1, .count = 1};
static const struct needs_one read_b = {.resource = 1, .count = 1, .flags = NEEDS_SHARED};

#endif
