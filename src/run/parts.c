/*
 * parts.c - tests that several processes have collected (--collect=parallel): a worker is forked from the process that has
 * its tests, and takes from workers of the same part only. How many workers each part gets, and when a part gets one more.
 */
#include "run/state.h"

#include "base/clock.h"
#include "base/trace.h"
#include "os/shm.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define MOST_PARTS 1024
#define WORTH_NS (200 * MS) /* a session of its own costs something: its fixtures, its end */

void parts_drop(struct run *run)
{
    free(run->part_of);
    free(run->parts);
    run->part_of = NULL;
    run->parts = NULL;
    run->n_parts = run->n_part_of = 0;
}

void parts_take(struct run *run, int fd, uint64_t n)
{
    void *data = NULL;
    size_t size = 0;

    if (!run->has_catalog && n > 1 && n <= MOST_PARTS && shm_map(fd, false, &data, &size) == 0) {
        parts_drop(run);
        run->part_of = hs_alloc(size + 1);
        memcpy(run->part_of, data, size);
        run->n_part_of = (uint32_t)(size / sizeof *run->part_of);
        run->n_parts = (uint32_t)n;
        run->parts = hs_alloc(n * sizeof *run->parts);
    }
    if (data)
        shm_unmap(data, size);
    close(fd);
}

int parts_check(const struct run *run, struct err *err)
{
    if (run->n_parts && run->n_part_of != run->catalog.n_items)
        return err_set(err, "parts were collected of %u tests, and a catalog of %u", run->n_part_of,
                       run->catalog.n_items);
    for (uint32_t i = 0; run->n_parts && i < run->n_part_of; i++)
        if (run->part_of[i] >= run->n_parts)
            return err_set(err, "test %u was collected in part %u of %u", i, run->part_of[i], run->n_parts);
    return 0;
}

/* Mean time of the tests that have run, 1 ms before any has. */
static uint64_t usual_ns(const struct run *run)
{
    uint64_t spent = 0;
    uint64_t n = 0;

    for (uint32_t i = 0; i < run->n_used; i++) {
        const struct slot *slot = segment_slot(&run->segment, i);

        spent += atomic_load_explicit(&slot->busy_ns, memory_order_relaxed);
        n += atomic_load_explicit(&slot->n_done, memory_order_relaxed);
    }
    return n ? spent / n : MS;
}

static uint64_t expected_of(const struct run *run, uint32_t item, uint64_t usual)
{
    return run->expected_ns[item] ? run->expected_ns[item] : usual;
}

/* The part with tests and the least workers for its load; n_parts when there is none. */
static uint32_t neediest(const struct run *run, const uint64_t *load, const uint32_t *n_workers)
{
    uint32_t best = run->n_parts;

    for (uint32_t i = 0; i < run->n_parts; i++) {
        if (!load[i])
            continue;
        /* One for each before two for any. */
        if (best == run->n_parts || (!n_workers[i] && n_workers[best]) ||
            (!n_workers[i] == !n_workers[best] && load[i] / (n_workers[i] + 1) > load[best] / (n_workers[best] + 1)))
            best = i;
    }
    return best;
}

/* n_workers: room for each part; what is left out waits. */
void parts_share(struct run *run, const uint32_t *left, uint32_t n, uint32_t *n_workers)
{
    uint64_t *load = hs_alloc(run->n_parts * sizeof *load);
    const uint64_t usual = usual_ns(run);

    memset(n_workers, 0, run->n_parts * sizeof *n_workers);
    memset(load, 0, run->n_parts * sizeof *load);
    for (uint32_t i = 0; i < n; i++)
        load[run->part_of[left[i]]] += expected_of(run, left[i], usual);
    for (uint32_t i = 0; i < run->n_workers; i++) {
        const uint32_t part = neediest(run, load, n_workers);

        if (part < run->n_parts)
            n_workers[part]++;
    }
    for (uint32_t i = 0; i < run->n_parts; i++)
        run->parts[i] = (struct part){.waits = load[i] && !n_workers[i]};
    free(load);
}

/* What nobody has begun of a part, and how many workers are at it. */
static uint64_t remains_of(const struct run *run, uint32_t part, uint64_t usual, uint32_t *n_workers)
{
    const uint32_t *order = plan_table_order(&run->table);
    uint64_t total = 0;

    *n_workers = 0;
    for (uint32_t i = 0; i < run->n_used; i++) {
        uint32_t lo, hi;

        if (run->workers[i].part != part)
            continue;
        *n_workers += run->workers[i].live;
        range_read(&segment_slot(&run->segment, i)->range, &lo, &hi);
        for (uint32_t at = lo; at < hi && at < run->n_free; at++)
            total += expected_of(run, order[at], usual);
    }
    return total;
}

/* The part that one more worker helps most, if that is worth its session; n_parts when there is none. */
static uint32_t part_to_help(const struct run *run)
{
    const uint64_t usual = usual_ns(run);
    uint64_t most = WORTH_NS;
    uint32_t best = run->n_parts;

    for (uint32_t i = 0; i < run->n_parts; i++) {
        uint32_t n;
        const uint64_t remains = run->parts[i].closed ? 0 : remains_of(run, i, usual, &n);
        const uint64_t gain = remains && n ? remains / n - remains / (n + 1) : 0;

        if (gain > most) {
            most = gain;
            best = i;
        }
    }
    return best;
}

static uint32_t first_waiting(const struct run *run)
{
    for (uint32_t i = 0; i < run->n_parts; i++)
        if (run->parts[i].waits)
            return i;
    return run->n_parts;
}

static bool may_start(const struct run *run)
{
    const uint32_t kept = run->config.max_restarts - run->n_restarts; /* slots for who may crash */

    return run->n_parts && run->planned && !run->ended && run->template.chan >= 0 &&
           !atomic_load_explicit(&run->segment.head->stop, memory_order_relaxed) && pool_live(run) < run->n_workers &&
           run->n_used + kept < run->n_slots;
}

void parts_ended(struct run *run, uint32_t slot)
{
    if (!run->n_parts)
        return;
    if (!atomic_load_explicit(&segment_slot(&run->segment, slot)->n_done, memory_order_relaxed))
        run->parts[run->workers[slot].part].closed = true; /* nothing can be taken there, or it dies at once */
    parts_look(run);
}

void parts_look(struct run *run)
{
    struct err err;
    uint32_t next;

    if (!may_start(run))
        return;
    next = first_waiting(run);
    if (next < run->n_parts) {
        run->parts[next].waits = false;
        if (schedule_part(run, next, &err) < 0)
            launch_note(run, "hasten: %s", err.text);
        return;
    }
    next = part_to_help(run);
    if (next < run->n_parts) {
        trace_event("part_helped", TRACE_U64("part", next));
        pool_start(run, next);
    }
}
