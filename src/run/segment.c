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

int plan_table_create(struct plan_table *table, uint32_t capacity, struct err *err)
{
    const int fd = shm_create("hasten-plan", (2 + 2 * (size_t)capacity) * sizeof(uint32_t));
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

int plan_table_attach(struct plan_table *table, int fd, struct err *err)
{
    void *memory;
    const int code = shm_map(fd, false, &memory, &table->size);

    table->head = NULL;
    if (code < 0)
        return err_sys(err, -code, "cannot map the run's plan");
    table->head = memory;
    if (table->size < 8 || table->size != (2 + 2 * (size_t)table->head[0]) * sizeof(uint32_t)) {
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
