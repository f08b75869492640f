#include "sched/lease.h"

#include <string.h>

/*
 * Memory orders. A unit's owner and its readers are different words that each look at the other: who wants it alone
 * writes the owner and then looks for readers, who shares it writes its byte and then looks for an owner. One of them
 * has to see the other, which needs sequential consistency (Dekker); so all of it is seq_cst. When both see each other
 * both step back, and turns says that another try makes sense.
 */

static uint64_t mark_of(struct lease_who who)
{
    return (uint64_t)(who.slot + 1) << 32 | who.pid;
}

static _Atomic uint8_t *reader(const struct lease_table *t, uint32_t unit, uint32_t slot)
{
    return &t->readers[(size_t)unit * t->n_slots + slot];
}

static size_t round_up(size_t n)
{
    return (n + 63) / 64 * 64;
}

static uint32_t count_units(const struct needs_resource *resources, uint32_t n)
{
    uint32_t units = 0;

    for (uint32_t i = 0; i < n; i++)
        units += resources[i].n_units;
    return units;
}

size_t lease_bytes(const struct needs_resource *resources, uint32_t n_resources, uint32_t n_slots)
{
    const size_t units = count_units(resources, n_resources);

    return 64 + round_up((units + n_resources) * sizeof(uint64_t)) + round_up(units * n_slots);
}

void lease_view(struct lease_table *table, void *memory, const struct needs_resource *resources, uint32_t n_resources,
                uint32_t n_slots)
{
    const size_t units = count_units(resources, n_resources);
    char *at = memory;

    HS_CHECK(n_resources <= NEEDS_MOST_RESOURCES);
    *table = (struct lease_table){.resources = resources, .n_resources = n_resources, .n_slots = n_slots};
    for (uint32_t i = 0; i < n_resources; i++)
        table->first[i + 1] = table->first[i] + resources[i].n_units;
    table->turns = (void *)at;
    table->owner = (void *)(at + 64);
    table->next = table->owner + units;
    table->readers = (void *)(at + 64 + round_up((units + n_resources) * sizeof(uint64_t)));
}

static bool others_read(const struct lease_table *t, uint32_t unit, uint32_t resource, uint32_t slot)
{
    if (!(t->resources[resource].flags & NEEDS_READERS))
        return false;
    for (uint32_t i = 0; i < t->n_slots; i++)
        if (i != slot && atomic_load(reader(t, unit, i)))
            return true;
    return false;
}

/* Only a look. */
static bool is_free(const struct lease_table *t, struct lease_who who, const struct needs_one *need, uint32_t unit)
{
    return atomic_load(&t->owner[unit]) == 0 &&
           (need->flags & NEEDS_SHARED || !others_read(t, unit, need->resource, who.slot));
}

static void say(const struct lease_table *t)
{
    atomic_fetch_add(t->turns, 1);
}

static bool take_shared(const struct lease_table *t, struct lease_who who, uint32_t unit)
{
    atomic_store(reader(t, unit, who.slot), 1);
    if (atomic_load(&t->owner[unit]) == 0)
        return true;
    atomic_store(reader(t, unit, who.slot), 0);
    say(t);
    return false;
}

static bool take_alone(const struct lease_table *t, struct lease_who who, uint32_t resource, uint32_t unit)
{
    uint64_t nobody = 0;

    if (!atomic_compare_exchange_strong(&t->owner[unit], &nobody, mark_of(who)))
        return false;
    if (!others_read(t, unit, resource, who.slot))
        return true;
    atomic_store(&t->owner[unit], 0);
    say(t);
    return false;
}

static void put_quietly(const struct lease_table *t, struct lease_who who, const struct lease_hold *hold)
{
    if (hold->flags & NEEDS_SHARED)
        atomic_store(reader(t, hold->unit, who.slot), 0);
    else
        atomic_store(&t->owner[hold->unit], 0);
}

static bool suits(const struct lease_hold *hold, const struct needs_one *need)
{
    return hold->resource == need->resource && (!(hold->flags & NEEDS_SHARED) || need->flags & NEEDS_SHARED);
}

static bool has_unit(const struct lease_held *held, uint32_t unit)
{
    for (uint32_t i = 0; i < held->n; i++)
        if (held->of[i].unit == unit)
            return true;
    return false;
}

static bool has_hold(const struct lease_held *held, const struct lease_hold *hold)
{
    for (uint32_t i = 0; i < held->n; i++)
        if (held->of[i].unit == hold->unit && held->of[i].flags == hold->flags)
            return true;
    return false;
}

/* So many units that worker has, or could have by the look of it. */
static bool looks_possible(const struct lease_table *t, struct lease_who who, const struct needs_one *need,
                           const struct lease_held *old)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < old->n; i++)
        n += suits(&old->of[i], need);
    for (uint32_t u = t->first[need->resource]; u < t->first[need->resource + 1] && n < need->count; u++)
        n += is_free(t, who, need, u);
    return n >= need->count;
}

static void take_own(const struct needs_one *need, const struct lease_held *old, struct lease_held *held, uint32_t *n)
{
    for (uint32_t i = 0; i < old->n && *n < need->count && held->n < LEASE_MOST_HELD; i++) {
        if (!suits(&old->of[i], need))
            continue;
        held->of[held->n] = old->of[i];
        held->of[held->n++].level = need->level;
        (*n)++;
    }
}

static bool take_unit(const struct lease_table *t, struct lease_who who, const struct lease_hold *hold,
                      const struct lease_outside *outside)
{
    const bool got =
        hold->flags & NEEDS_SHARED ? take_shared(t, who, hold->unit) : take_alone(t, who, hold->resource, hold->unit);

    if (!got)
        return false;
    if (!outside || !(t->resources[hold->resource].flags & NEEDS_MACHINE) || outside->take(outside->self, hold))
        return true;
    put_quietly(t, who, hold); /* another run has it: who asks again does so after a while */
    return false;
}

static bool take_need(const struct lease_table *t, struct lease_who who, const struct needs_one *need,
                      const struct lease_held *old, struct lease_held *held, const struct lease_outside *outside)
{
    uint32_t n = 0;

    take_own(need, old, held, &n);
    for (uint32_t u = t->first[need->resource]; u < t->first[need->resource + 1] && n < need->count; u++) {
        const struct lease_hold hold = {
            .resource = need->resource, .flags = need->flags & NEEDS_SHARED, .level = need->level, .unit = u};

        if (held->n == LEASE_MOST_HELD || has_unit(held, u) || !is_free(t, who, need, u) ||
            !take_unit(t, who, &hold, outside))
            continue;
        held->of[held->n++] = hold;
        n++;
    }
    return n == need->count;
}

bool lease_take(const struct lease_table *table, struct lease_who who, const struct needs_set *set,
                const struct lease_held *old, struct lease_held *held, const struct lease_outside *outside)
{
    struct lease_held got = {0};

    for (uint32_t i = 0; i < set->n; i++)
        if (!looks_possible(table, who, &set->of[i], old))
            return false;
    for (uint32_t i = 0; i < set->n; i++) {
        if (!take_need(table, who, &set->of[i], old, &got, outside)) {
            lease_leave(table, who, &got, old, outside);
            return false;
        }
    }
    *held = got;
    return true;
}

void lease_leave(const struct lease_table *table, struct lease_who who, const struct lease_held *held,
                 const struct lease_held *kept, const struct lease_outside *outside)
{
    bool any = false;

    for (uint32_t i = 0; i < held->n; i++) {
        const struct lease_hold *hold = &held->of[i];

        if (has_hold(kept, hold))
            continue;
        if (outside && table->resources[hold->resource].flags & NEEDS_MACHINE && !has_unit(kept, hold->unit))
            outside->put(outside->self, hold);
        put_quietly(table, who, hold);
        any = true;
    }
    if (any)
        say(table);
}

uint32_t lease_bury(const struct lease_table *table, uint32_t slot)
{
    uint32_t n = 0;

    for (uint32_t u = 0; u < table->first[table->n_resources]; u++) {
        if (atomic_load(&table->owner[u]) >> 32 == slot + 1) {
            atomic_store(&table->owner[u], 0);
            n++;
        }
        n += atomic_exchange(reader(table, u, slot), 0);
    }
    if (n)
        say(table);
    return n;
}

/*
 * next is the moment up to which tokens are spent when they come one each interval; `burst` of them may be ahead of now.
 * One word, so that a worker which dies has taken its tokens or has not.
 */
bool lease_pace(_Atomic uint64_t *next, uint64_t interval_ns, uint32_t burst, uint32_t n, uint64_t now_ns,
                uint64_t *when_ns)
{
    const uint64_t ahead = interval_ns * (burst - 1);
    uint64_t spent = atomic_load(next);

    do {
        if (spent > now_ns && spent - now_ns > ahead) {
            *when_ns = spent - ahead;
            return false;
        }
    } while (!atomic_compare_exchange_weak(next, &spent, (spent > now_ns ? spent : now_ns) + interval_ns * n));
    return true;
}

uint64_t lease_pace_when(const _Atomic uint64_t *next, uint64_t interval_ns, uint32_t burst)
{
    const uint64_t ahead = interval_ns * (burst - 1);
    const uint64_t spent = atomic_load(next);

    return spent > ahead ? spent - ahead : 0;
}

void lease_unpace(_Atomic uint64_t *next, uint64_t interval_ns, uint32_t n)
{
    atomic_fetch_sub(next, interval_ns * n);
}
