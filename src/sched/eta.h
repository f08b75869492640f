/*
 * eta.h - how long a run still takes. Pure: numbers in, nanoseconds out.
 *
 * Progress is counted in expected time (from history, plan.h), and its speed is measured in this run: that covers what
 * no duration of a test shows (the runner's own work, a busy machine, idle workers). While there is little to measure
 * the plan is believed. When this run is more than ten times slower or faster than history says, the durations are of
 * another world (another machine, a changed suite) and tests are counted instead.
 */
#ifndef HASTEN_ETA_H
#define HASTEN_ETA_H

#include "base/base.h"

struct eta {
    uint32_t n_workers;
    uint32_t n_done;           /* tests finished */
    uint32_t n_left;           /* tests not finished, running ones too */
    uint64_t wall_ns;          /* since the first test began */
    uint64_t expected_done_ns; /* sum over the tests finished, of what was expected of them */
    uint64_t expected_left_ns; /* of those not finished, less what running ones have used (at most what was expected) */
    uint64_t longest_left_ns;  /* the longest expected rest of one test; 0 when not known */
};

/* Wall time from now to the end of the last test. 0 when nothing is left. */
uint64_t eta_left_ns(const struct eta *eta);

#endif
