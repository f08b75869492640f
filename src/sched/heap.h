/* heap.h - workers by load: the least loaded one at once, and any one's load may grow. For plan.c. */
#ifndef HASTEN_HEAP_H
#define HASTEN_HEAP_H

#include "base/base.h"

struct heap {
    const uint64_t *load; /* borrowed; the caller changes it, upwards only */
    uint32_t *worker;     /* owned; heap order */
    uint32_t *place;      /* owned; worker -> index in worker[] */
    uint32_t n;
};

/* n > 0 workers with equal loads. */
void heap_init(struct heap *heap, const uint64_t *load, uint32_t n);
void heap_release(struct heap *heap);

uint32_t heap_top(const struct heap *heap); /* the worker of the least load; of equal ones that of the lowest number */

/* To be called after load[worker] grew. */
void heap_sink(struct heap *heap, uint32_t worker);

#endif
