#include "run/ring.h"

#include <string.h>

size_t ring_bytes(size_t data_size)
{
    return sizeof(struct ring) + data_size;
}

void ring_init(struct ring *ring, size_t data_size)
{
    HS_CHECK(data_size >= 4096 && (data_size & (data_size - 1)) == 0);
    atomic_store_explicit(&ring->head, 0, memory_order_relaxed);
    atomic_store_explicit(&ring->tail, 0, memory_order_relaxed);
    ring->size = data_size;
}

size_t ring_max_payload(const struct ring *ring)
{
    return (size_t)ring->size / 4 - sizeof(struct record);
}

static void copy_in(struct ring *ring, uint64_t at, const void *bytes, size_t n)
{
    const size_t from = (size_t)(at & (ring->size - 1));
    const size_t first = n < ring->size - from ? n : (size_t)ring->size - from;

    memcpy(ring->data + from, bytes, first);
    memcpy(ring->data, (const char *)bytes + first, n - first);
}

static void copy_out(const struct ring *ring, uint64_t at, void *bytes, size_t n)
{
    const size_t from = (size_t)(at & (ring->size - 1));
    const size_t first = n < ring->size - from ? n : (size_t)ring->size - from;

    memcpy(bytes, ring->data + from, first);
    memcpy((char *)bytes + first, ring->data, n - first);
}

bool ring_put(struct ring *ring, const struct record *record, const void *payload)
{
    /* Own word: relaxed. The reader's word: acquire, so that its copies out are over before we write there again. */
    const uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    const uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    const size_t span = record_span(record);

    HS_CHECK(record->size <= ring_max_payload(ring));
    if (ring->size - (head - tail) < span)
        return false;
    copy_in(ring, head, record, sizeof *record);
    if (record->size)
        copy_in(ring, head + sizeof *record, payload, record->size);
    /* Release: whoever sees the new head sees the bytes. */
    atomic_store_explicit(&ring->head, head + span, memory_order_release);
    return true;
}

void ring_reader_release(struct ring_reader *reader)
{
    str_release(&reader->payload);
    reader->in_pieces = false;
}

void ring_reader_reset(struct ring_reader *reader)
{
    str_reset(&reader->payload);
    reader->in_pieces = false;
}

/* One record of the ring, appended to reader->payload. 1, 0 or -1 as ring_take. */
static int take_piece(struct ring *ring, struct ring_reader *reader, struct record *record)
{
    const uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    const uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    const uint64_t there = head - tail;

    if (there == 0)
        return 0;
    if (there > ring->size || there < sizeof *record)
        return -1;
    copy_out(ring, tail, record, sizeof *record);
    if (record->size > ring_max_payload(ring) || record_span(record) > there)
        return -1;
    str_reserve(&reader->payload, record->size);
    copy_out(ring, tail + sizeof *record, reader->payload.data + reader->payload.len, record->size);
    reader->payload.len += record->size;
    reader->payload.data[reader->payload.len] = '\0';
    atomic_store_explicit(&ring->tail, tail + record_span(record), memory_order_release);
    return 1;
}

int ring_take(struct ring *ring, struct ring_reader *reader, struct record *record)
{
    if (!reader->in_pieces)
        str_reset(&reader->payload);
    for (;;) {
        const int got = take_piece(ring, reader, record);

        if (got <= 0)
            return got;
        if (reader->payload.len > RECORD_MAX_PAYLOAD)
            return -1;
        reader->in_pieces = (record->flags & RECORD_MORE) != 0;
        if (!reader->in_pieces) {
            record->size = (uint32_t)reader->payload.len;
            return 1;
        }
    }
}
