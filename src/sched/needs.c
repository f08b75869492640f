#include "sched/needs.h"

#include <inttypes.h>
#include <string.h>

_Static_assert(sizeof(struct needs_resource) == 64, "python/hasten/resources.py writes 64 bytes");
_Static_assert(sizeof(struct needs_set) == 72, "python/hasten/resources.py writes 72 bytes");

static int check_resource(const struct needs_resource *r, struct err *err)
{
    if (!memchr(r->name, '\0', sizeof r->name) || !r->name[0])
        return err_set(err, "a resource has no name");
    if (r->n_units > NEEDS_MOST_UNITS || !r->burst || (!r->n_units && !r->interval_us))
        return err_set(err, "resource '%s' has impossible numbers", r->name);
    return 0;
}

static int check_set(const struct needs *needs, const struct needs_set *set, struct err *err)
{
    if (set->n == 0 || set->n > NEEDS_MOST)
        return err_set(err, "a test needs %" PRIu32 " resources; %d at most are possible", set->n, NEEDS_MOST);
    for (uint32_t i = 0; i < set->n; i++) {
        const struct needs_one *one = &set->of[i];

        if (one->resource >= needs->n_resources || (i && one->resource <= set->of[i - 1].resource) ||
            one->level > NEEDS_SESSION)
            return err_set(err, "a test needs a resource that there is not");
        if (one->count > needs->resources[one->resource].n_units)
            return err_set(err, "a test needs %u of '%s', and there are %" PRIu32, one->count,
                           needs->resources[one->resource].name, needs->resources[one->resource].n_units);
    }
    return 0;
}

static int check(const struct needs *needs, struct err *err)
{
    uint64_t n_units = 0;

    for (uint32_t i = 0; i < needs->n_resources; i++) {
        if (check_resource(&needs->resources[i], err) < 0)
            return -1;
        n_units += needs->resources[i].n_units;
    }
    if (n_units > NEEDS_MOST_UNITS)
        return err_set(err, "resources have %" PRIu64 " units together; %d at most are possible", n_units,
                       NEEDS_MOST_UNITS);
    for (uint32_t i = 0; i < needs->n_sets; i++)
        if (check_set(needs, &needs->sets[i], err) < 0)
            return -1;
    for (uint32_t i = 0; i < needs->n_items; i++)
        if (needs->items[i].set > needs->n_sets)
            return err_set(err, "test %" PRIu32 " has needs that there are not", i);
    return 0;
}

int needs_open(struct needs *needs, const void *blob, size_t size, struct err *err)
{
    const uint32_t *head = blob;
    size_t wanted;

    *needs = (struct needs){0};
    if (size == 0)
        return 0;
    if (size < 16 || head[0] > NEEDS_MOST_RESOURCES || head[1] > NEEDS_MOST_SETS)
        return err_set(err, "what tests need is damaged, or more than %d resources or %d combinations of them",
                       NEEDS_MOST_RESOURCES, NEEDS_MOST_SETS);
    wanted = 16 + head[0] * sizeof *needs->resources + head[1] * sizeof *needs->sets +
             (size_t)head[2] * sizeof *needs->items;
    if (size != wanted)
        return err_set(err, "what tests need takes %zu bytes, not %zu", size, wanted);
    *needs = (struct needs){.n_resources = head[0], .n_sets = head[1], .n_items = head[2]};
    needs->resources = (const void *)(head + 4);
    needs->sets = (const void *)(needs->resources + needs->n_resources);
    needs->items = (const void *)(needs->sets + needs->n_sets);
    if (check(needs, err) == 0)
        return 0;
    *needs = (struct needs){0};
    return -1;
}

static struct needs_one join_one(struct needs_one a, const struct needs_one *b)
{
    a.count = a.count > b->count ? a.count : b->count;
    a.calls = a.calls > b->calls ? a.calls : b->calls;
    a.level = a.level > b->level ? a.level : b->level;
    a.flags &= b->flags;
    return a;
}

bool needs_join(struct needs_set *set, const struct needs_set *other, const struct needs_resource *resources)
{
    struct needs_set all = {0};
    uint32_t i = 0, k = 0;

    while (i < set->n || k < other->n) {
        const bool first = k == other->n || (i < set->n && set->of[i].resource <= other->of[k].resource);
        const bool both = i < set->n && k < other->n && set->of[i].resource == other->of[k].resource;
        struct needs_one one = first ? set->of[i] : other->of[k];

        if (both)
            one = join_one(one, &other->of[k]);
        i += first;
        k += both || !first;
        if (all.n == NEEDS_MOST || one.count > resources[one.resource].n_units)
            return false;
        all.of[all.n++] = one;
    }
    *set = all;
    return true;
}

bool needs_equal(const struct needs_set *a, const struct needs_set *b)
{
    return a->n == b->n && memcmp(a->of, b->of, a->n * sizeof a->of[0]) == 0;
}
