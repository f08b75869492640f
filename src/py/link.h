/* link.h - this worker's ring, for the files that publish results. */
#ifndef HASTEN_LINK_H
#define HASTEN_LINK_H

#include "store/record.h"

/* Sets size, slot and RECORD_MORE; waits, without the GIL, while the ring is full. Only after worker_attach. */
void link_publish(struct record *record, const char *payload, size_t size);

/* A debugger, or a person who is asked, holds this worker (on): no time limit meanwhile. Async-signal-safe. */
void link_pause(bool on);

#endif
