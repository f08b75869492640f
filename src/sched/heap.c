#include "sched/heap.h"

#include <stdlib.h>

static bool is_lighter(const struct heap *h, uint32_t a, uint32_t b)
{
    return h->load[a] != h->load[b] ? h->load[a] < h->load[b] : a < b;
}

void heap_init(struct heap *h, const uint64_t *load, uint32_t n)
{
    *h = (struct heap){.load = load, .n = n};
    h->worker = hs_alloc(n * sizeof *h->worker);
    h->place = hs_alloc(n * sizeof *h->place);
    for (uint32_t i = 0; i < n; i++)
        h->worker[i] = h->place[i] = i;
}

void heap_release(struct heap *h)
{
    free(h->worker);
    free(h->place);
    *h = (struct heap){0};
}

uint32_t heap_top(const struct heap *h)
{
    return h->worker[0];
}

static void put(struct heap *h, uint32_t at, uint32_t worker)
{
    h->worker[at] = worker;
    h->place[worker] = at;
}

void heap_sink(struct heap *h, uint32_t worker)
{
    uint32_t at = h->place[worker];

    for (;;) {
        uint32_t child = 2 * at + 1;

        if (child >= h->n)
            break;
        if (child + 1 < h->n && is_lighter(h, h->worker[child + 1], h->worker[child]))
            child++;
        if (!is_lighter(h, h->worker[child], worker))
            break;
        put(h, at, h->worker[child]);
        at = child;
    }
    put(h, at, worker);
}
