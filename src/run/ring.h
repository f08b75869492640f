/*
 * ring.h - one worker's results on their way to the supervisor: single writer, single reader, in shared memory.
 *
 *      0  u64 head   bytes ever written      [atomic, writer]
 *     64  u64 tail   bytes ever read         [atomic, reader]
 *    128  u64 size   bytes of data, a power of two
 *    192  data[size] records (store/record.h) one after another, wrapping byte by byte
 *
 * A record is visible whole or not at all (head moves once, with release order, after the bytes are there). When the
 * writer dies in the middle of a record nothing of it is seen. Payloads over ring_max_payload() go in pieces marked
 * RECORD_MORE; the pieces of a writer that died are dropped by the reader (ring_reader_reset).
 */
#ifndef HASTEN_RING_H
#define HASTEN_RING_H

#include "base/str.h"
#include "store/record.h"

#include <stdatomic.h>

struct ring {
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) _Atomic uint64_t tail;
    _Alignas(64) uint64_t size;
    _Alignas(64) char data[];
};

size_t ring_bytes(size_t data_size);                 /* of the whole structure */
void ring_init(struct ring *ring, size_t data_size); /* data_size: power of two, at least 4096 */
size_t ring_max_payload(const struct ring *ring);

/* False when there is no room now. record->size <= ring_max_payload. */
bool ring_put(struct ring *ring, const struct record *record, const void *payload);

struct ring_reader {
    struct str payload; /* owned: the payload of the last record, all pieces */
    bool in_pieces;     /* payload is not whole yet */
};

void ring_reader_release(struct ring_reader *reader);
void ring_reader_reset(struct ring_reader *reader);

/* 1: *record set (size: the whole payload, in reader->payload); 0: nothing (yet); -1: the ring is damaged. */
int ring_take(struct ring *ring, struct ring_reader *reader, struct record *record);

#endif
