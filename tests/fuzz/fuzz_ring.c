/* A ring whose bytes, head and tail a worker has overwritten: the reader says so, and never reads outside. */
#include "run/ring.h"

#include <stdlib.h>
#include <string.h>

enum { DATA = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct ring *ring = aligned_alloc(64, (ring_bytes(DATA) + 63) / 64 * 64);
    struct ring_reader reader = {0};
    struct record record;
    uint64_t words[2] = {0};

    ring_init(ring, DATA);
    memset(ring->data, 0, DATA);
    memcpy(words, bytes, size < sizeof words ? size : sizeof words);
    atomic_store(&ring->head, words[0] % (4 * DATA));
    atomic_store(&ring->tail, words[1] % (4 * DATA));
    if (size > sizeof words)
        memcpy(ring->data, bytes + sizeof words, size - sizeof words < DATA ? size - sizeof words : DATA);
    for (int i = 0; i < 256 && ring_take(ring, &reader, &record) > 0; i++)
        if (record.size != reader.payload.len)
            abort();
    ring_reader_release(&reader);
    free(ring);
    return 0;
}
