/* schedule.c - from what was collected to ranges that workers take from. */
#include "run/state.h"

#include "base/clock.h"
#include "base/trace.h"
#include "os/shm.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Takes catalog_fd over: reads the catalog into the run and writes it into the journal. */
int schedule_open(struct run *run, int catalog_fd, struct err *err)
{
    struct record record = {.type = RECORD_CATALOG, .item = RECORD_NO_ITEM, .slot = RECORD_NO_SLOT};
    const int code = shm_map(catalog_fd, false, &run->catalog_map, &run->catalog_size);
    uint32_t n;

    run->catalog_fd = catalog_fd;
    if (code < 0)
        return err_sys(err, -code, "cannot map what was collected");
    if (run->catalog_size > RECORD_MAX_PAYLOAD)
        return err_set(err, "what was collected is too large for a journal (%zu bytes)", run->catalog_size);
    if (catalog_open(&run->catalog, run->catalog_map, run->catalog_size, err) < 0)
        return -1;
    if (queues_open(run, err) < 0)
        return -1;
    n = run->catalog.n_items;
    run->has_catalog = true;
    run->result = hs_alloc(n);
    run->attempts = hs_alloc(n);
    run->unanswered = hs_alloc(n);
    run->phases = hs_alloc(n * sizeof *run->phases);
    run->expected_ns = hs_alloc(n * sizeof *run->expected_ns);
    remember_expect(run);
    record.size = (uint32_t)run->catalog_size;
    journal_add(&run->journal, &record, run->catalog_map);
    trace_event("collected", TRACE_U64("tests", n));
    return 0;
}

static enum plan_mode mode_of(const struct run *run)
{
    if (run->n_workers == 1)
        return PLAN_IN_ORDER;
    if (run->groups ||
        run->catalog.n_groups > 1) /* --dist, or the template has found tests that depend on each other */
        return PLAN_GROUPS;
    if (run->config.in_order)
        return PLAN_IN_ORDER;
    if (!strcmp(run->config.dist, "loadscope") || !strcmp(run->config.dist, "loadfile") ||
        !strcmp(run->config.dist, "loadgroup") || !strcmp(run->config.dist, "each"))
        return PLAN_GROUPS;
    return PLAN_LOAD;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* items[i] of the plan is test left[i] of the catalog. */
static int make_plan(struct run *run, struct plan *plan, const uint32_t *left, uint32_t n, uint32_t n_workers,
                     struct err *err)
{
    struct plan_item *items = hs_alloc((size_t)n * sizeof *items);
    const struct plan_options options = {.mode = mode_of(run), .n_workers = n_workers, .seed = run->options->seed};
    int code;

    for (uint32_t i = 0; i < n; i++) {
        const struct catalog_item *c = &run->catalog.items[left[i]];

        items[i] = (struct plan_item){.expected_ns = run->expected_ns[left[i]],
                                      .file = c->file,
                                      .group = run->groups ? run->groups[left[i]] : c->group,
                                      .affinity = c->affinity & ~CATALOG_LATE};
    }
    code = plan_make(plan, items, n, &options, err);
    free(items);
    return code;
}

static void fill_table(struct run *run, const struct plan *plan, const uint32_t *left)
{
    uint32_t *order = plan_table_order(&run->table);
    uint32_t *unit = plan_table_unit(&run->table);
    const uint32_t base = run->n_free;

    for (uint32_t p = 0; p < plan->n; p++) {
        order[base + p] = left[plan->order[p]];
        unit[base + p] = base + plan->unit[p];
        queues_fill(run, base + p, order[base + p], run->leased ? run->needs.items[order[base + p]].set : 0);
    }
    run->n_free += plan->n;
    run->table.head[1] = run->n_free;
}

/* Tests without a result; owned array. */
static uint32_t *list_left(const struct run *run, uint32_t *n)
{
    uint32_t *left = hs_alloc((size_t)run->catalog.n_items * sizeof *left);

    *n = 0;
    for (uint32_t i = 0; i < run->catalog.n_items; i++)
        if (!run->result[i])
            left[(*n)++] = i;
    return left;
}

/* From slot `from` on: a worker that collects for itself and has no plan yet; else the first slot not in use. */
static uint32_t next_without_plan(const struct run *run, uint32_t from)
{
    for (uint32_t i = from; i < run->n_used; i++)
        if (run->early && run->workers[i].live && !run->workers[i].has_plan)
            return i;
    return from > run->n_used ? from : run->n_used;
}

/* Stably: what is late behind the rest. Returns how many are not. */
static uint32_t put_late_behind(const struct run *run, uint32_t *left, uint32_t n)
{
    uint32_t *late = hs_alloc((size_t)n * sizeof *late);
    uint32_t n_usual = 0, n_late = 0;

    for (uint32_t i = 0; i < n; i++)
        if (run->catalog.items[left[i]].affinity & CATALOG_LATE)
            late[n_late++] = left[i];
        else
            left[n_usual++] = left[i];
    memcpy(left + n_usual, late, (size_t)n_late * sizeof *late);
    free(late);
    return n_usual;
}

/* What is late, in the given order: one range, from whose front every worker takes. */
static void hand_out_late(struct run *run, const uint32_t *late, uint32_t n, struct slot *slot)
{
    uint32_t *order = plan_table_order(&run->table);
    uint32_t *unit = plan_table_unit(&run->table);
    const uint32_t base = run->n_free;

    for (uint32_t p = base; p < base + n; p++) {
        order[p] = late[p - base];
        unit[p] = p;
        queues_fill(run, p, order[p], run->leased ? run->needs.items[order[p]].set : 0);
        run->expected_total_ns += run->expected_ns[late[p - base]];
    }
    run->n_free += n;
    run->table.head[1] = run->n_free;
    range_set(&slot->late, base, base + n);
}

/* Plans left[0..n), all of one part, and starts workers for it, each with its own first range. */
static int hand_out_to(struct run *run, uint32_t *left, uint32_t n, uint32_t n_workers, uint32_t part, struct err *err)
{
    /* One worker keeps the given order, in which the late ones stand where they belong. */
    const uint32_t n_usual = n_workers > 1 ? put_late_behind(run, left, n) : n;
    uint32_t n_planned = n_usual;
    uint32_t n_missing = 0;
    uint32_t base;
    struct plan plan = {0};

    n_workers = least(n_workers, n);
    if (n == 0)
        return 0;
    if (queues_split(run, left, &n_planned, mode_of(run) == PLAN_GROUPS, err) < 0)
        return -1;
    base = run->n_free;
    if (n_planned && make_plan(run, &plan, left, n_planned, least(n_workers, n_planned), err) < 0)
        return -1;
    run->expected_total_ns += plan.expected_total_ns;
    fill_table(run, &plan, left);
    trace_event("planned", TRACE_U64("tests", n), TRACE_U64("workers", n_workers),
                TRACE_U64("expected_wall_ns", plan.expected_wall_ns));
    for (uint32_t w = 0, from = 0; w < n_workers; w++) {
        const uint32_t slot = next_without_plan(run, from);
        struct slot *shared;

        if (slot >= run->n_slots)
            break;
        shared = segment_slot(&run->segment, slot);
        if (w < plan.n_workers)
            range_set(&shared->range, base + plan.first[w], base + plan.first[w + 1]);
        if (w == 0 && n > n_usual)
            hand_out_late(run, left + n_usual, n - n_usual, shared);
        if (slot >= run->n_used) /* behind one that was not started, none is */
            n_missing += slot > run->n_used || !pool_start(run, part);
        from = slot + 1;
    }
    if (n_missing)
        launch_note(run,
                    "hasten: %u of %u workers were not started: the system does not take so many at once; the others "
                    "run their tests",
                    n_missing, n_workers);
    plan_release(&plan);
    return 0;
}

/* Those of left[0..n) that belong to a part come first then; how many. */
static uint32_t select_part(const struct run *run, uint32_t *left, uint32_t n, uint32_t part)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < n; i++)
        if (run->part_of[left[i]] == part) {
            const uint32_t item = left[i];

            /* What is passed over goes behind, its order does not matter: it is looked for by a list of its own. */
            left[i] = left[found];
            left[found++] = item;
        }
    return found;
}

/* Each part its share of the workers; a part without one waits for the first that ends. */
static int hand_out_parts(struct run *run, const uint32_t *left, uint32_t n, struct err *err)
{
    uint32_t *n_workers = hs_alloc(run->n_parts * sizeof *n_workers);
    uint32_t *own = hs_alloc((size_t)n * sizeof *own);
    int code = 0;

    parts_share(run, left, n, n_workers);
    for (uint32_t part = 0; part < run->n_parts && code == 0; part++) {
        memcpy(own, left, (size_t)n * sizeof *own);
        if (n_workers[part])
            code = hand_out_to(run, own, select_part(run, own, n, part), n_workers[part], part, err);
    }
    free(n_workers);
    free(own);
    return code;
}

/* Plans what is left and starts workers for it. */
static int hand_out(struct run *run, struct err *err)
{
    uint32_t n;
    uint32_t *left = list_left(run, &n);
    int code;

    run->expected_total_ns = 0;
    if (run->n_parts)
        code = hand_out_parts(run, left, n, err);
    else
        code = hand_out_to(run, left, n, run->n_workers, 0, err);
    free(left);
    return code;
}

int schedule_part(struct run *run, uint32_t part, struct err *err)
{
    uint32_t n;
    uint32_t *left = list_left(run, &n);
    const int code = hand_out_to(run, left, select_part(run, left, n, part), 1, part, err);

    free(left);
    return code;
}

int schedule_plan(struct run *run, struct err *err)
{
    const uint32_t capacity = run->catalog.n_items * 4 + 16;

    if (parts_check(run, err) < 0)
        return -1;
    run->table_fd = plan_table_create(&run->table, capacity, queues_bytes(run, capacity), err);
    if (run->table_fd < 0)
        return -1;
    queues_make(run, run->n_workers == 1 || run->segment.head->each);
    run->planned = true;
    return hand_out(run, err);
}

static void empty_slot(struct slot *slot)
{
    range_set(&slot->range, 0, 0);
    range_set(&slot->late, 0, 0);
    range_set(&slot->block, 0, 0);
}

uint32_t schedule_again(struct run *run)
{
    const uint32_t missing = results_missing(run);
    struct err err;

    if (run->n_free + missing > run->table.head[0] || run->n_used >= run->n_slots)
        return 0;
    for (uint32_t i = 0; i < run->n_used; i++) /* nobody lives: what the dead have left is handed out anew */
        empty_slot(segment_slot(&run->segment, i));
    for (uint32_t i = 0; i < run->catalog.n_items; i++)
        if (!run->result[i])
            run->attempts[i]++;
    if (hand_out(run, &err) < 0) {
        launch_note(run, "hasten: %s", err.text);
        return 0;
    }
    return missing;
}
