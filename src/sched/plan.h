/*
 * plan.h - which test runs where and in which order. Pure: no clock, no I/O, no randomness beyond options.seed.
 *
 * In: what is known of every item. Out: order[] (position -> item), unit[] (position -> first position of its unit, see
 * range.h), and one first range for every worker. Longest expected first within and across workers (LPT over units),
 * so that what is left at the end is short and can be stolen.
 *
 * Modes are pytest-xdist's. PLAN_LOAD: single tests, but tests that share a fixture of higher scope (same affinity)
 * stay together as long as that does not lengthen the run: an affinity block is cut when its expected time is more
 * than a quarter of the ideal time per worker. Short tests without affinity stay with their file likewise, as far as
 * the balance allows; when no duration is known, the given order is cut into one part per worker.
 * LOADSCOPE/LOADFILE/LOADGROUP: one unit per group. EACH is not planned here. IN_ORDER (asked by options such as --ff,
 * --sw, or one worker): given order is kept, ranges are contiguous cuts.
 */
#ifndef HASTEN_PLAN_H
#define HASTEN_PLAN_H

#include "base/err.h"

enum plan_mode { PLAN_LOAD, PLAN_GROUPS, PLAN_IN_ORDER };

struct plan_item {
    uint64_t expected_ns; /* from history; 0: unknown (gets the median of its file, then of all, then 1 ms) */
    uint32_t file;        /* dense id of the test file */
    uint32_t group;       /* PLAN_GROUPS: dense id of the group (scope, file or mark); ignored otherwise */
    uint32_t affinity;    /* items with equal non-zero affinity share set-up of higher scope; 0: none */
};

struct plan_options {
    enum plan_mode mode;
    uint32_t n_workers; /* > 0 */
    uint64_t seed;      /* 0: deterministic; else shuffles ties and cuts, for tests of schedule independence */
};

struct plan {
    uint32_t n;      /* positions = items */
    uint32_t *order; /* owned, n */
    uint32_t *unit;  /* owned, n */
    uint32_t n_workers;
    uint32_t *first; /* owned, n_workers + 1: worker w starts with [first[w], first[w + 1]) */
    uint64_t expected_total_ns;
    uint64_t expected_wall_ns; /* of this plan, with stealing: max(total / workers, longest unit) at least */
};

/* items: borrowed; ids of any size, they need not be dense. 0, or -1 with err (n_workers 0, more than 2^31 items). */
int plan_make(struct plan *plan, const struct plan_item *items, uint32_t n, const struct plan_options *options,
              struct err *err);
void plan_release(struct plan *plan);

#endif
