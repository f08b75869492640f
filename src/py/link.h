/* link.h - this worker's link to the run, for the files that take tests and publish results. After worker_attach. */
#ifndef HASTEN_LINK_H
#define HASTEN_LINK_H

#include "run/segment.h"
#include "store/record.h"

/* Sets size, slot and RECORD_MORE; waits, without the GIL, while the ring is full. */
void link_publish(struct record *record, const char *payload, size_t size);

/* A debugger, or a person who is asked, holds this worker (on): no time limit meanwhile. Async-signal-safe. */
void link_pause(bool on);

/* The next test's index in the catalog, from the own range or stolen; -1 when there is none; or leased.h. */
long link_take(void);

/* The test that link_take would give now, or -1; it may be stolen meanwhile. */
long link_peek(void);

/* What this worker is attached to. */
struct link {
    const struct segment *segment;
    const struct plan_table *plan;
    uint32_t index; /* slot */
};
const struct link *link_mine(void);

/* Positions, RANGE_NONE for none; for leased.c, which says what has been claimed. Of the own range, or stolen. */
uint32_t link_take_usual(void);
/* In their order, and each worker ever further back: they may depend on what others of them leave. */
uint32_t link_take_late(void);
uint32_t link_front(void); /* of the own range, to look at */
bool link_stopped(void);   /* no worker starts another test */

/* This test runs now; limit_ns 0: the run's --timeout. */
void link_begin(uint32_t item, uint64_t limit_ns);

/* It is over and its result published. */
void link_end(void);

#endif
