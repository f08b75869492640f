/*
 * timeline.h - a run as a file for Perfetto or chrome://tracing: an array of trace events in JSON.
 *
 * Tracks (thread ids) of the one process "hasten run": 0 the run as a whole, 1 the reporter, 2 the template, and
 * 10 + slot for each worker that lived. Times are microseconds since hasten started.
 *
 * A worker's track holds one complete event (ph "X", cat "test") for each test it finished, with its phases (cat
 * "phase") inside, and what it did before its first and after its last test (cat "worker"). Tests of one track do not
 * overlap; where nothing stands the worker had nothing to do. The gaps between phases are not known, so the phases of
 * a test are drawn one after another from its start.
 *
 * Written as results come in: a viewer reads the array also when the run was killed before its end.
 */
#ifndef HASTEN_TIMELINE_H
#define HASTEN_TIMELINE_H

#include "base/err.h"
#include "run/options.h"

struct timeline;

/* A new file, emptied if it was there. NULL with err when it cannot be written. */
struct timeline *timeline_new(const char *path, struct err *err);

void timeline_test(struct timeline *t, const struct record *record, const char *id, size_t id_len);
void timeline_worker(struct timeline *t, uint32_t slot, uint64_t up_ns, uint64_t down_ns); /* clock_now_ns */

/* Writes the tracks of the run as a whole, closes the file and frees t (also after -1 with err: not all was written). */
int timeline_end(struct timeline *t, const struct run_totals *totals, struct err *err);

#endif
