/* tail.h - the journal as the reporter reads it, for the files that look at records before Python does. */
#ifndef HASTEN_TAIL_H
#define HASTEN_TAIL_H

#include "base/err.h"
#include "store/record.h"

struct tail_record {
    struct record record;
    const void *payload; /* borrowed until the next tail_peek */
    uint64_t at;         /* its offset in the journal */
};

/* 1: *found is the next record, which stays the next one until tail_consume; 0: nothing there; -1 with err. */
int tail_peek(struct tail_record *found, struct err *err);
void tail_consume(void);

/* The record at an offset that tail_peek has told. payload: borrowed until the next call. -1 with err. */
int tail_again(uint64_t at, struct record *record, const void **payload, struct err *err);
void tail_again_done(void); /* gives back what tail_again keeps */

#endif
