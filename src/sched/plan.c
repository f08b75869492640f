#include "sched/plan.h"

#include "sched/heap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/*
 * How PLAN_LOAD plans. Items with the same affinity, or one after the other in the same file, form a group. Groups
 * are cut into blocks: a block is at most a quarter (affinity) or a 64th (file) of the ideal time per worker, and one
 * long test is a block by itself. Groups are dealt longest first, block by block, each to the worker with the least
 * load; but a further block of a group goes to the worker that had the last one while that worker stays within the
 * ideal. So a group is spread only where the balance needs it, and small blocks cost no locality. Each worker then
 * runs its groups in the order of their longest test, so that what is left at the end, and can be stolen, is short.
 *
 * With nothing known of any duration, cutting the given order into contiguous parts is as good a guess as any, and
 * sets each file's fixtures up once.
 */

enum { UNKNOWN_NS = 1000 * 1000, AFFINITY_PARTS = 4, FILE_PARTS = 64 };

struct block {
    uint64_t total_ns;
    uint64_t longest_ns;
    uint64_t lead_ns;  /* order within its group on one worker: longest_ns of one long test, else 0 */
    uint64_t group_ns; /* while dealing: time of its group; then: longest test of its group on its worker */
    uint64_t tie;      /* of its group. Equal times: this decides; the given order unless there is a seed */
    uint32_t group;
    uint32_t start; /* in members */
    uint32_t n;
    uint32_t worker;
};

struct work {
    const struct plan_item *items;      /* borrowed */
    const struct plan_options *options; /* borrowed */
    uint32_t n;
    uint32_t n_groups;
    uint64_t *time;       /* owned; per item: expected or guessed */
    uint64_t *load;       /* owned; per worker */
    uint32_t *group;      /* owned; per item */
    uint32_t *members;    /* owned; items by group, in given order within */
    uint32_t *at;         /* owned; n_groups + 1: where a group's members begin */
    struct block *blocks; /* owned */
    uint32_t n_blocks;
    bool all_unknown;
    uint64_t total_ns;
    uint64_t longest_ns;
    uint64_t ideal_ns; /* total / workers, at least 1 */
    uint64_t long_ns;  /* above this a test is a long one, planned by itself */
    uint64_t random;
};

static uint64_t add_times(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t min_time(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static uint64_t next_random(struct work *w)
{
    w->random += 0x9E3779B97F4A7C15u;
    return mix(w->random);
}

/* Numbers of any size -> 0, 1, 2 ... in the order of their first appearance. */
struct dense {
    uint64_t *keys;   /* owned; key + 1, 0: free */
    uint32_t *values; /* owned */
    size_t mask;
    uint32_t n;
};

static void dense_init(struct dense *d, uint32_t n)
{
    size_t size = 16;

    while (size < (size_t)n * 2)
        size *= 2;
    *d = (struct dense){.mask = size - 1};
    d->keys = hs_alloc(size * sizeof *d->keys);
    d->values = hs_alloc(size * sizeof *d->values);
}

static void dense_release(struct dense *d)
{
    free(d->keys);
    free(d->values);
}

static uint32_t *dense_find(struct dense *d, uint64_t key)
{
    size_t i = mix(key) & d->mask;

    while (d->keys[i] && d->keys[i] != key + 1)
        i = (i + 1) & d->mask;
    if (!d->keys[i]) {
        d->keys[i] = key + 1;
        d->values[i] = d->n++;
    }
    return &d->values[i];
}

/* Sorts item numbers by group into members; at[g]..at[g + 1] are those of group g. */
static void gather(struct work *w)
{
    free(w->at);
    w->at = hs_alloc(((size_t)w->n_groups + 2) * sizeof *w->at);
    for (uint32_t i = 0; i < w->n; i++)
        w->at[w->group[i] + 2]++;
    for (uint32_t g = 0; g < w->n_groups; g++)
        w->at[g + 2] += w->at[g + 1];
    for (uint32_t i = 0; i < w->n; i++)
        w->members[w->at[w->group[i] + 1]++] = i;
}

static void group_by_file(struct work *w)
{
    struct dense files;

    dense_init(&files, w->n);
    for (uint32_t i = 0; i < w->n; i++)
        w->group[i] = *dense_find(&files, w->items[i].file);
    w->n_groups = files.n;
    dense_release(&files);
    gather(w);
}

static void group_by_group(struct work *w)
{
    struct dense groups;

    dense_init(&groups, w->n);
    for (uint32_t i = 0; i < w->n; i++)
        w->group[i] = *dense_find(&groups, w->items[i].group);
    w->n_groups = groups.n;
    dense_release(&groups);
    gather(w);
}

/*
 * A long test without affinity is a group of its own, so that it starts early wherever its file goes. Files that take
 * next to no time share a group: fewer blocks (a shuffled suite changes its file at every test), and as good a balance.
 */
static void group_by_affinity(struct work *w)
{
    const uint64_t enough = w->all_unknown ? 0 : w->ideal_ns / FILE_PARTS / 4;
    uint64_t so_far = 0;
    struct dense affinities;
    uint32_t file = 0, file_group = UINT32_MAX;

    dense_init(&affinities, w->n);
    for (uint32_t i = 0; i < w->n; i++) {
        const struct plan_item *item = &w->items[i];

        if (item->affinity) {
            w->group[i] = *dense_find(&affinities, item->affinity);
        } else if (w->time[i] > w->long_ns) {
            w->group[i] = affinities.n++;
        } else {
            if (file_group == UINT32_MAX || (file != item->file && so_far >= enough)) {
                file_group = affinities.n++;
                so_far = 0;
            }
            file = item->file;
            so_far = add_times(so_far, w->time[i]);
            w->group[i] = file_group;
        }
    }
    w->n_groups = affinities.n;
    dense_release(&affinities);
    gather(w);
}

static int compare_times(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The (lower) median of the known times among these items; 0 when none is known. */
static uint64_t median(const struct work *w, const uint32_t *items, uint32_t n, uint64_t *scratch)
{
    uint32_t known = 0;

    for (uint32_t i = 0; i < n; i++)
        if (w->items[items[i]].expected_ns)
            scratch[known++] = w->items[items[i]].expected_ns;
    if (known == 0)
        return 0;
    qsort(scratch, known, sizeof *scratch, compare_times);
    return scratch[(known - 1) / 2];
}

/* Fills time[]: what is known, else the median of the file, else of all, else 1 ms. */
static void guess_times(struct work *w)
{
    uint64_t *scratch;
    uint64_t of_all;
    uint32_t n_unknown = 0;

    for (uint32_t i = 0; i < w->n; i++) {
        w->time[i] = w->items[i].expected_ns;
        n_unknown += w->time[i] == 0;
    }
    w->all_unknown = n_unknown == w->n;
    if (n_unknown == 0)
        return;
    group_by_file(w);
    scratch = hs_alloc((size_t)w->n * sizeof *scratch);
    of_all = median(w, w->members, w->n, scratch);
    for (uint32_t g = 0; g < w->n_groups && !w->all_unknown; g++) {
        const uint32_t *items = w->members + w->at[g];
        const uint32_t n = w->at[g + 1] - w->at[g];
        uint64_t of_file = 0;
        bool asked = false;

        for (uint32_t i = 0; i < n; i++) {
            if (w->time[items[i]])
                continue;
            if (!asked)
                of_file = median(w, items, n, scratch);
            asked = true;
            w->time[items[i]] = of_file ? of_file : of_all;
        }
    }
    for (uint32_t i = 0; i < w->n && w->all_unknown; i++)
        w->time[i] = UNKNOWN_NS;
    free(scratch);
}

static void sum_times(struct work *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        w->total_ns = add_times(w->total_ns, w->time[i]);
        if (w->time[i] > w->longest_ns)
            w->longest_ns = w->time[i];
    }
    w->ideal_ns = w->total_ns / w->options->n_workers;
    if (w->ideal_ns == 0)
        w->ideal_ns = 1;
    w->long_ns = min_time(w->ideal_ns / 8, w->total_ns / w->n * 4);
    if (w->long_ns < w->ideal_ns / FILE_PARTS)
        w->long_ns = w->ideal_ns / FILE_PARTS;
    if (w->all_unknown)
        w->long_ns = UINT64_MAX;
}

static void add_block(struct work *w, uint32_t group, uint32_t start, uint32_t end)
{
    struct block *b = &w->blocks[w->n_blocks++];

    *b = (struct block){.group = group, .start = start, .n = end - start};
    for (uint32_t m = start; m < end; m++) {
        const uint64_t time = w->time[w->members[m]];

        b->total_ns = add_times(b->total_ns, time);
        if (time > b->longest_ns)
            b->longest_ns = time;
    }
}

static uint64_t time_of(const struct work *w, uint32_t start, uint32_t end)
{
    uint64_t total = 0;

    for (uint32_t m = start; m < end; m++)
        total = add_times(total, w->time[w->members[m]]);
    return total;
}

/* Cuts the members [start, end) into blocks of at most `most` ns where single tests allow it, of about equal time. */
static void cut_evenly(struct work *w, uint32_t group, uint32_t start, uint32_t end, uint64_t most)
{
    const uint64_t total = time_of(w, start, end);
    const uint64_t parts = total / most + (total % most != 0);
    uint64_t so_far = 0, part = 1;

    for (uint32_t m = start, from = start; m < end; m++) {
        so_far = add_times(so_far, w->time[w->members[m]]);
        /* Ends a part when the middle of the next test lies behind the part's share of the total. */
        if (m + 1 == end || (add_times(so_far, w->time[w->members[m + 1]] / 2) / part >= total / parts)) {
            add_block(w, group, from, m + 1);
            from = m + 1;
            while (part < parts && so_far / part >= total / parts)
                part++;
        }
    }
}

static void cut_group(struct work *w, uint32_t group, uint64_t total)
{
    const uint32_t start = w->at[group], end = w->at[group + 1];
    const bool shared = w->items[w->members[start]].affinity != 0;
    const uint64_t share = w->ideal_ns / (shared ? AFFINITY_PARTS : FILE_PARTS);
    const uint64_t most = w->options->seed ? share / 2 + next_random(w) % (share / 2 + 1) + 1 : share + (share == 0);
    uint32_t from = start;

    if (total <= most) {
        add_block(w, group, start, end);
        return;
    }
    for (uint32_t m = start; m < end; m++) {
        if (w->time[w->members[m]] <= w->long_ns)
            continue;
        if (m > from)
            cut_evenly(w, group, from, m, most);
        add_block(w, group, m, m + 1); /* a long test by itself */
        w->blocks[w->n_blocks - 1].lead_ns = w->time[w->members[m]];
        from = m + 1;
    }
    if (end > from)
        cut_evenly(w, group, from, end, most);
}

static void make_blocks(struct work *w)
{
    w->blocks = hs_alloc((size_t)w->n * sizeof *w->blocks);
    for (uint32_t g = 0; g < w->n_groups; g++) {
        const uint32_t before = w->n_blocks;
        const uint64_t tie = w->options->seed ? next_random(w) : w->members[w->at[g]];
        const uint64_t total = time_of(w, w->at[g], w->at[g + 1]);

        if (w->options->mode == PLAN_GROUPS)
            add_block(w, g, w->at[g], w->at[g + 1]);
        else
            cut_group(w, g, total);
        for (uint32_t b = before; b < w->n_blocks; b++) {
            w->blocks[b].group_ns = total;
            w->blocks[b].tie = tie;
        }
    }
}

#define COMPARE(a, b) \
    if ((a) != (b))   \
    return (a) < (b) ? -1 : 1

/* By groups, so that what no longer fits on a full worker is the rest of few groups and not a bit of each. */
static int longest_group_first(const void *a, const void *b)
{
    const struct block *x = a, *y = b;

    COMPARE(y->group_ns, x->group_ns);
    COMPARE(x->tie, y->tie);
    COMPARE(x->group, y->group);
    COMPARE(y->lead_ns, x->lead_ns);
    COMPARE(x->start, y->start);
    return 0;
}

static int by_worker_and_group(const void *a, const void *b)
{
    const struct block *x = a, *y = b;

    COMPARE(x->worker, y->worker);
    COMPARE(x->group, y->group);
    COMPARE(y->lead_ns, x->lead_ns);
    COMPARE(x->start, y->start);
    return 0;
}

static int in_order_of_running(const void *a, const void *b)
{
    const struct block *x = a, *y = b;

    COMPARE(x->worker, y->worker);
    COMPARE(y->group_ns, x->group_ns);
    COMPARE(x->tie, y->tie);
    COMPARE(x->group, y->group);
    COMPARE(y->lead_ns, x->lead_ns);
    COMPARE(x->start, y->start);
    return 0;
}

/* Gives every block its worker. */
static void deal(struct work *w)
{
    const uint64_t room = w->ideal_ns > w->longest_ns ? w->ideal_ns : w->longest_ns;
    uint32_t *last = hs_alloc((size_t)w->n_groups * sizeof *last); /* 1 + worker of the group's last block; 0: none */
    struct heap heap;

    qsort(w->blocks, w->n_blocks, sizeof *w->blocks, longest_group_first);
    heap_init(&heap, w->load, w->options->n_workers);
    for (uint32_t i = 0; i < w->n_blocks; i++) {
        struct block *b = &w->blocks[i];
        uint32_t worker = heap_top(&heap);

        if (last[b->group] && add_times(w->load[last[b->group] - 1], b->total_ns) <= room)
            worker = last[b->group] - 1;
        b->worker = worker;
        last[b->group] = worker + 1;
        w->load[worker] = add_times(w->load[worker], b->total_ns);
        heap_sink(&heap, worker);
    }
    heap_release(&heap);
    free(last);
}

/* Puts each worker's blocks in the order in which it runs them: group by group, that of the longest test first. */
static void arrange(struct work *w)
{
    struct block *b = w->blocks;

    qsort(b, w->n_blocks, sizeof *b, by_worker_and_group);
    for (uint32_t i = 0, end; i < w->n_blocks; i = end) {
        uint64_t longest = 0;

        for (end = i; end < w->n_blocks && b[end].worker == b[i].worker && b[end].group == b[i].group; end++) {
            const uint64_t time = w->options->mode == PLAN_GROUPS ? b[end].total_ns : b[end].longest_ns;

            if (time > longest)
                longest = time;
        }
        for (uint32_t k = i; k < end; k++)
            b[k].group_ns = longest;
    }
    qsort(b, w->n_blocks, sizeof *b, in_order_of_running);
}

static void lay_out_blocks(const struct work *w, struct plan *plan)
{
    uint32_t p = 0, worker = 0;

    for (uint32_t i = 0; i < w->n_blocks; i++) {
        const struct block *b = &w->blocks[i];
        const uint32_t first = p;

        while (worker < b->worker)
            plan->first[++worker] = p;
        for (uint32_t k = 0; k < b->n; k++, p++) {
            plan->order[p] = w->members[b->start + k];
            plan->unit[p] = w->options->mode == PLAN_GROUPS ? first : p;
        }
    }
    while (worker < w->options->n_workers)
        plan->first[++worker] = p;
}

/*
 * Position `at`, or the nearest start of a group before or behind it, if that is not farther than an eighth
 * of the ideal time. */
static uint32_t snap(const struct work *w, const struct plan *plan, uint32_t at, uint32_t low)
{
    const uint64_t reach = w->ideal_ns / 8;
    uint64_t back = 0, on = 0;
    uint32_t b = at, f = at;

    while (b > low && b < plan->n && w->group[plan->order[b]] == w->group[plan->order[b - 1]] && back <= reach)
        back = add_times(back, w->time[plan->order[--b]]);
    while (f > low && f < plan->n && w->group[plan->order[f]] == w->group[plan->order[f - 1]] && on <= reach)
        on = add_times(on, w->time[plan->order[f++]]);
    if (back <= reach && (back <= on || on > reach))
        return b;
    return on <= reach ? f : at;
}

/* Contiguous parts of plan->order, of about equal time. */
static void cut_in_order(struct work *w, struct plan *plan)
{
    const uint32_t n_workers = w->options->n_workers;
    uint64_t so_far = 0;
    uint32_t p = 0;

    for (uint32_t p2 = 0; p2 < w->n; p2++)
        plan->unit[p2] = p2;
    for (uint32_t k = 1; k < n_workers; k++) {
        uint64_t goal = w->total_ns / n_workers * k + w->total_ns % n_workers * k / n_workers;
        uint32_t cut;

        if (w->options->seed)
            goal = add_times(goal, next_random(w) % (w->ideal_ns / 4 + 1)) - w->ideal_ns / 8;
        while (p < w->n && add_times(so_far, w->time[plan->order[p]] / 2) < goal)
            so_far = add_times(so_far, w->time[plan->order[p++]]);
        cut = w->options->mode == PLAN_LOAD ? snap(w, plan, p, plan->first[k - 1]) : p;
        plan->first[k] = cut > plan->first[k - 1] ? cut : plan->first[k - 1];
    }
    plan->first[n_workers] = w->n;
}

static void plan_in_order(struct work *w, struct plan *plan)
{
    for (uint32_t i = 0; i < w->n; i++)
        plan->order[i] = i;
    cut_in_order(w, plan);
}

static uint64_t expected_wall(const struct work *w)
{
    uint64_t wall = w->ideal_ns > w->longest_ns ? w->ideal_ns : w->longest_ns;

    /* Groups cannot be cut, so what was dealt is what stealing can reach. */
    for (uint32_t i = 0; w->options->mode == PLAN_GROUPS && i < w->options->n_workers; i++)
        if (w->load[i] > wall)
            wall = w->load[i];
    return wall;
}

static void plan_all(struct work *w, struct plan *plan)
{
    const bool in_order = w->options->mode == PLAN_IN_ORDER || (w->options->n_workers == 1 && !w->options->seed);

    guess_times(w);
    sum_times(w);
    if (in_order && w->options->mode != PLAN_GROUPS) {
        plan_in_order(w, plan);
    } else if (w->options->mode == PLAN_LOAD && w->all_unknown && !w->options->seed) {
        group_by_affinity(w);
        memcpy(plan->order, w->members, (size_t)w->n * sizeof *plan->order);
        cut_in_order(w, plan);
    } else {
        if (w->options->mode == PLAN_GROUPS)
            group_by_group(w);
        else
            group_by_affinity(w);
        make_blocks(w);
        deal(w);
        arrange(w);
        lay_out_blocks(w, plan);
    }
    plan->expected_total_ns = w->total_ns;
    plan->expected_wall_ns = expected_wall(w);
}

int plan_make(struct plan *plan, const struct plan_item *items, uint32_t n, const struct plan_options *options,
              struct err *err)
{
    struct work w = {.items = items, .options = options, .n = n, .random = options->seed};

    *plan = (struct plan){0}; /* from here on plan_release() is safe */
    if (options->n_workers == 0)
        return err_set(err, "a plan needs at least one worker");
    if (n > 1u << 31)
        return err_set(err, "%" PRIu32 " tests are more than a plan can hold (%u)", n, 1u << 31);
    plan->n = n;
    plan->n_workers = options->n_workers;
    plan->order = hs_alloc((size_t)n * sizeof *plan->order);
    plan->unit = hs_alloc((size_t)n * sizeof *plan->unit);
    plan->first = hs_alloc(((size_t)options->n_workers + 1) * sizeof *plan->first);
    if (n == 0)
        return 0;
    w.time = hs_alloc((size_t)n * sizeof *w.time);
    w.group = hs_alloc((size_t)n * sizeof *w.group);
    w.members = hs_alloc((size_t)n * sizeof *w.members);
    w.load = hs_alloc((size_t)options->n_workers * sizeof *w.load);
    plan_all(&w, plan);
    free(w.time);
    free(w.group);
    free(w.members);
    free(w.load);
    free(w.at);
    free(w.blocks);
    return 0;
}

void plan_release(struct plan *plan)
{
    free(plan->order);
    free(plan->unit);
    free(plan->first);
    *plan = (struct plan){0};
}
