#include "run/segment.h"

#include "os/shm.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

struct slot *segment_slot(const struct segment *segment, uint32_t index)
{
    HS_CHECK(index < segment->head->n_slots);
    return (struct slot *)(void *)((char *)segment->head + segment->head->slots_at) + index;
}

uint32_t slot_current(const struct slot *slot, uint64_t *started_ns, uint64_t *limit_ns)
{
    const uint32_t item = atomic_load_explicit(&slot->current, memory_order_acquire);

    *started_ns = atomic_load_explicit(&slot->started_ns, memory_order_relaxed);
    *limit_ns = atomic_load_explicit(&slot->limit_ns, memory_order_relaxed);
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&slot->current, memory_order_relaxed) == item ? item : SEGMENT_NO_ITEM;
}

struct ring *segment_ring(const struct segment *segment, uint32_t index)
{
    HS_CHECK(index < segment->head->n_slots);
    return (struct ring *)(void *)((char *)segment->head + segment->head->rings_at +
                                   index * segment->head->ring_stride);
}

static void init_slots(struct segment *segment)
{
    for (uint32_t i = 0; i < segment->head->n_slots; i++) {
        struct slot *slot = segment_slot(segment, i);

        atomic_init(&slot->current, SEGMENT_NO_ITEM);
        atomic_init(&slot->claimed, SEGMENT_NO_ITEM);
    }
}

int segment_create(struct segment *segment, uint32_t n_slots, struct err *err)
{
    const size_t slots_at = round_up(sizeof(struct segment_head), 4096);
    const size_t rings_at = round_up(slots_at + n_slots * sizeof(struct slot), 4096);
    const size_t stride = round_up(ring_bytes(SEGMENT_RING_BYTES), 4096);
    const int fd = shm_create("hasten-segment", rings_at + n_slots * stride);
    void *memory;
    int code;

    *segment = (struct segment){0};
    if (fd < 0)
        return err_sys(err, -fd, "cannot make shared memory of %zu bytes%s", rings_at + n_slots * stride,
                       fd == -EFBIG ? " under this limit of file sizes (ulimit -f); -n 0 does without" : "");
    code = shm_map(fd, true, &memory, &segment->size);
    if (code < 0) {
        close(fd);
        return err_sys(err, -code, "cannot map shared memory");
    }
    segment->head = memory;
    memcpy(segment->head->magic, SEGMENT_MAGIC, sizeof segment->head->magic);
    segment->head->n_slots = n_slots;
    segment->head->ring_bytes = SEGMENT_RING_BYTES;
    segment->head->slots_at = slots_at;
    segment->head->rings_at = rings_at;
    segment->head->ring_stride = stride;
    init_slots(segment);
    return fd;
}

int segment_attach(struct segment *segment, int fd, struct err *err)
{
    void *memory;
    int code;

    *segment = (struct segment){0};
    code = shm_map(fd, true, &memory, &segment->size);
    if (code < 0)
        return err_sys(err, -code, "cannot map the run's shared memory");
    segment->head = memory;
    if (segment->size < sizeof *segment->head || memcmp(segment->head->magic, SEGMENT_MAGIC, 8) != 0) {
        segment_detach(segment);
        return err_set(err, "the run's shared memory is of another version of hasten: program and package differ");
    }
    return 0;
}

void segment_detach(struct segment *segment)
{
    shm_unmap(segment->head, segment->size);
    *segment = (struct segment){0};
}

static size_t arrays_bytes(uint32_t capacity)
{
    return round_up((2 + 2 * (size_t)capacity) * sizeof(uint32_t), 64);
}

int plan_table_create(struct plan_table *table, uint32_t capacity, size_t more, struct err *err)
{
    const int fd = shm_create("hasten-plan", arrays_bytes(capacity) + more);
    void *memory;
    int code;

    *table = (struct plan_table){0};
    if (fd < 0)
        return err_sys(err, -fd, "cannot make the plan's shared memory");
    code = shm_map(fd, true, &memory, &table->size);
    if (code < 0) {
        close(fd);
        return err_sys(err, -code, "cannot map the plan's shared memory");
    }
    table->head = memory;
    table->head[0] = capacity;
    return fd;
}

/* Workers only read it, unless there is more than the arrays. */
static int map_table(struct plan_table *table, int fd, bool writable)
{
    void *memory;
    const int code = shm_map(fd, writable, &memory, &table->size);

    table->head = code < 0 ? NULL : memory;
    return code;
}

int plan_table_attach(struct plan_table *table, int fd, struct err *err)
{
    int code = map_table(table, fd, false);

    if (code == 0 && plan_table_more(table)) {
        shm_unmap(table->head, table->size);
        code = map_table(table, fd, true);
    }
    if (code < 0)
        return err_sys(err, -code, "cannot map the run's plan");
    if (table->size < 8 || table->size < arrays_bytes(table->head[0])) {
        plan_table_detach(table);
        return err_set(err, "the run's plan has an impossible size");
    }
    return 0;
}

void plan_table_detach(struct plan_table *table)
{
    shm_unmap(table->head, table->size);
    *table = (struct plan_table){0};
}

uint32_t *plan_table_order(const struct plan_table *table)
{
    return table->head + 2;
}

uint32_t *plan_table_unit(const struct plan_table *table)
{
    return table->head + 2 + table->head[0];
}

void *plan_table_more(const struct plan_table *table)
{
    const size_t arrays = table->size < 8 ? 0 : arrays_bytes(table->head[0]);

    return arrays < table->size ? (char *)table->head + arrays : NULL;
}
