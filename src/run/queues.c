/* queues.c - lays tests that need exclusive things out in queues (leases.h), for schedule.c. */
#include "run/state.h"

#include "base/trace.h"

#include <stdlib.h>
#include <string.h>

/* A test with needs on its way into a queue. */
struct needy {
    uint32_t set;   /* index in leases.sets, of its block */
    uint32_t block; /* equal ones stay together */
    uint32_t item;
    uint32_t at; /* given order */
};

int queues_open(struct run *run, struct err *err)
{
    if (needs_open(&run->needs, run->catalog.needs, run->catalog.needs_size, err) < 0)
        return -1;
    if (run->needs.n_items && run->needs.n_items != run->catalog.n_items)
        return err_set(err, "needs were written of %u tests, and a catalog of %u", run->needs.n_items,
                       run->catalog.n_items);
    for (uint32_t i = 0; i < run->needs.n_items; i++)
        run->leased = run->leased || run->needs.items[i].set;
    return 0;
}

size_t queues_bytes(const struct run *run, uint32_t capacity)
{
    return run->leased ? leases_bytes(&run->needs, capacity, run->n_slots) : 0;
}

void queues_make(struct run *run, bool fixed)
{
    if (!run->leased)
        return;
    leases_make(&run->leases, &run->table, &run->needs, run->n_slots);
    run->leases.head->fixed = fixed;
}

void queues_fill(struct run *run, uint32_t at, uint32_t item, uint32_t set)
{
    const uint64_t us = run->expected_ns[item] / 1000;

    if (!run->leased)
        return;
    run->leases.set[at] = set;
    run->leases.own[at] = run->needs.items[item].set;
    run->leases.cost[at] = us == 0 ? 1000 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int compare(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int by_set_and_block(const void *a, const void *b)
{
    const struct needy *x = a, *y = b;

    if (x->set != y->set)
        return compare(x->set, y->set);
    return x->block != y->block ? compare(x->block, y->block) : compare(x->at, y->at);
}

/* --dist keeps groups on one worker: it holds what any of their tests needs, until the last is done. */
static int join_groups(struct run *run, struct needy *all, uint32_t n, struct err *err)
{
    const struct needs *needs = &run->needs;
    uint32_t last = 0;
    uint32_t *set_of; /* owned: 1 + set, by group */
    int code = 0;

    for (uint32_t i = 0; i < n; i++)
        last = all[i].block > last ? all[i].block : last;
    set_of = hs_alloc(((size_t)last + 1) * sizeof *set_of);
    for (uint32_t i = 0; i < n && code == 0; i++) {
        const uint32_t own = needs->items[all[i].item].set;
        uint32_t *of = &set_of[all[i].block];
        struct needs_set joined;
        uint32_t set = own - 1;

        if (!own)
            continue;
        if (*of) {
            joined = run->leases.sets[*of - 1];
            set = needs_join(&joined, &needs->sets[own - 1], needs->resources) ? leases_add_set(&run->leases, &joined)
                                                                               : UINT32_MAX;
        }
        if (set == UINT32_MAX)
            code = err_set(err, "tests that --dist keeps together need more resources than one worker can have");
        *of = set + 1;
    }
    for (uint32_t i = 0; i < n; i++)
        all[i].set = set_of[all[i].block];
    free(set_of);
    return code;
}

static uint32_t group_of(const struct run *run, uint32_t item)
{
    return run->groups ? run->groups[item] : run->catalog.items[item].group;
}

/* One queue: all of one set. */
static int add_queue(struct run *run, const struct needy *all, uint32_t n, struct err *err)
{
    struct plan_item *items = hs_alloc((size_t)n * sizeof *items);
    struct plan_options options = {.mode = PLAN_LOAD, .n_workers = 1, .seed = run->options->seed};
    struct plan plan = {0};
    const uint32_t base = run->n_free;
    int code;

    for (uint32_t i = 0; i < n; i++) {
        const struct catalog_item *c = &run->catalog.items[all[i].item];

        items[i] = (struct plan_item){.expected_ns = run->expected_ns[all[i].item],
                                      .file = c->file,
                                      .group = all[i].block,
                                      .affinity = c->affinity};
        if (i && all[i].block == all[i - 1].block)
            options.mode = PLAN_GROUPS;
    }
    if (options.mode == PLAN_LOAD && run->config.in_order)
        options.mode = PLAN_IN_ORDER;
    code = plan_make(&plan, items, n, &options, err);
    for (uint32_t p = 0; code == 0 && p < n; p++) {
        plan_table_order(&run->table)[base + p] = all[plan.order[p]].item;
        plan_table_unit(&run->table)[base + p] = base + (options.mode == PLAN_GROUPS ? plan.unit[p] : p);
        queues_fill(run, base + p, all[plan.order[p]].item, all[0].set);
    }
    if (code == 0) {
        run->expected_total_ns += plan.expected_total_ns;
        run->n_free += n;
        run->table.head[1] = run->n_free;
        if (leases_add_queue(&run->leases, all[0].set - 1, base, base + n) == UINT32_MAX)
            code = err_set(err, "tests need more than %d combinations of resources", NEEDS_MOST_SETS);
        trace_event("queue", TRACE_U64("set", all[0].set - 1), TRACE_U64("tests", n));
    }
    plan_release(&plan);
    free(items);
    return code;
}

/* What stays together: by --dist, or by fixtures that hold a unit; else each test by itself. */
static struct needy *list(const struct run *run, const uint32_t *left, uint32_t n, bool grouped)
{
    const uint32_t n_items = run->catalog.n_items;
    struct needy *all = hs_alloc((size_t)n * sizeof *all);

    for (uint32_t i = 0; i < n; i++) {
        const struct needs_item *needs = &run->needs.items[left[i]];

        all[i] = (struct needy){.set = needs->set, .item = left[i], .at = i};
        all[i].block = grouped ? group_of(run, left[i]) : needs->block ? n_items + needs->block : left[i];
    }
    return all;
}

int queues_split(struct run *run, uint32_t *left, uint32_t *n, bool grouped, struct err *err)
{
    struct needy *all;
    uint32_t n_kept = 0, n_needy = 0;
    int code = 0;

    if (!run->leased || run->leases.head->fixed)
        return 0;
    leases_clear(&run->leases);
    all = list(run, left, *n, grouped);
    if (grouped)
        code = join_groups(run, all, *n, err);
    for (uint32_t i = 0; i < *n; i++) {
        if (all[i].set)
            all[n_needy++] = all[i];
        else
            left[n_kept++] = all[i].item;
    }
    qsort(all, n_needy, sizeof *all, by_set_and_block);
    for (uint32_t i = 0, end; i < n_needy && code == 0; i = end) {
        for (end = i; end < n_needy && all[end].set == all[i].set; end++)
            ;
        code = add_queue(run, all + i, end - i, err);
    }
    free(all);
    *n = n_kept;
    return code;
}
