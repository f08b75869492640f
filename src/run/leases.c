#include "run/leases.h"

#include <string.h>

#include "os/wake.h"

_Static_assert(sizeof(struct leases_head) == 64, "what follows is aligned to 64");
_Static_assert(sizeof(struct leases_queue) == 64, "one cache line each");

static size_t round_up(size_t n)
{
    return (n + 63) / 64 * 64;
}

static size_t fixed_bytes(uint32_t n_resources)
{
    return sizeof(struct leases_head) + n_resources * sizeof(struct needs_resource) +
           round_up(NEEDS_MOST_SETS * sizeof(struct needs_set)) + NEEDS_MOST_SETS * sizeof(struct leases_queue);
}

size_t leases_bytes(const struct needs *needs, uint32_t capacity, uint32_t n_slots)
{
    return fixed_bytes(needs->n_resources) + round_up(3 * sizeof(uint32_t) * (size_t)capacity) +
           lease_bytes(needs->resources, needs->n_resources, n_slots);
}

static void view(struct leases *l, void *memory, uint32_t capacity)
{
    char *at = memory;

    l->head = memory;
    at += sizeof *l->head;
    l->resources = (void *)at;
    at += l->head->n_resources * sizeof *l->resources;
    l->sets = (void *)at;
    at += round_up(NEEDS_MOST_SETS * sizeof *l->sets);
    l->queues = (void *)at;
    at += NEEDS_MOST_SETS * sizeof *l->queues;
    l->set = (void *)at;
    l->own = l->set + capacity;
    l->cost = l->own + capacity;
    at += round_up(3 * sizeof(uint32_t) * (size_t)capacity);
    lease_view(&l->table, at, l->resources, l->head->n_resources, l->head->n_slots);
}

void leases_make(struct leases *leases, const struct plan_table *plan, const struct needs *needs, uint32_t n_slots)
{
    struct leases_head *head = plan_table_more(plan);
    char *at = (char *)head + sizeof *head;

    head->n_resources = needs->n_resources;
    head->n_sets = needs->n_sets;
    head->n_slots = n_slots;
    memcpy(at, needs->resources, needs->n_resources * sizeof *needs->resources);
    memcpy(at + needs->n_resources * sizeof *needs->resources, needs->sets, needs->n_sets * sizeof *needs->sets);
    view(leases, head, plan->head[0]);
}

bool leases_view(struct leases *leases, const struct plan_table *plan)
{
    struct leases_head *head = plan_table_more(plan);

    *leases = (struct leases){0};
    if (head)
        view(leases, head, plan->head[0]);
    return head != NULL;
}

void leases_clear(struct leases *leases)
{
    leases->head->n_queues = 0;
    atomic_store(&leases->head->n_orphans, 0);
}

uint32_t leases_add_queue(struct leases *leases, uint32_t set, uint32_t lo, uint32_t hi)
{
    struct leases_queue *queue = &leases->queues[leases->head->n_queues];
    uint64_t load = 0;

    if (leases->head->n_queues == NEEDS_MOST_SETS)
        return UINT32_MAX;
    for (uint32_t p = lo; p < hi; p++)
        load += leases->cost[p];
    queue->set = set;
    atomic_store(&queue->load_us, load);
    range_set(&queue->range, lo, hi);
    return leases->head->n_queues++;
}

uint32_t leases_add_set(struct leases *leases, const struct needs_set *set)
{
    for (uint32_t i = 0; i < leases->head->n_sets; i++)
        if (needs_equal(&leases->sets[i], set))
            return i;
    if (leases->head->n_sets == NEEDS_MOST_SETS)
        return UINT32_MAX;
    leases->sets[leases->head->n_sets] = *set;
    return leases->head->n_sets++;
}

static void wake(struct leases *leases)
{
    atomic_fetch_add(leases->table.turns, 1);
    wake_all(leases->table.turns);
}

void leases_bury(struct leases *leases, struct slot *dead, uint32_t slot)
{
    if (range_left(&dead->block))
        atomic_fetch_add(&leases->head->n_orphans, 1);
    lease_bury(&leases->table, slot);
    wake(leases);
}

/* ---- a worker */

static _Atomic uint64_t *rate_of(const struct leases_worker *w, uint32_t resource)
{
    return w->rates && w->rates[resource] ? w->rates[resource] : &w->leases->table.next[resource];
}

static uint64_t interval_of(const struct leases_worker *w, const struct needs_one *one)
{
    return one->calls ? w->leases->resources[one->resource].interval_us * UINT64_C(1000) : 0;
}

/* Only a look, so that who waits for a token does not take and give back units meanwhile. */
static bool has_tokens(struct leases_worker *w, const struct needs_set *set, uint64_t now)
{
    uint64_t last = 0;

    for (uint32_t i = 0; set && i < set->n; i++) {
        const struct needs_one *one = &set->of[i];
        const uint64_t interval = interval_of(w, one);
        const uint64_t when =
            interval ? lease_pace_when(rate_of(w, one->resource), interval, w->leases->resources[one->resource].burst)
                     : 0;

        last = when > last ? when : last;
    }
    if (last <= now)
        return true;
    if (!w->when_ns || last < w->when_ns)
        w->when_ns = last;
    return false;
}

/* The tokens of a set, all or none. */
static bool take_tokens(struct leases_worker *w, const struct needs_set *set, uint64_t now)
{
    for (uint32_t i = 0; i < set->n; i++) {
        const struct needs_one *one = &set->of[i];
        const uint64_t interval = interval_of(w, one);
        uint64_t when = 0;

        if (!interval || lease_pace(rate_of(w, one->resource), interval, w->leases->resources[one->resource].burst,
                                    one->calls, now, &when))
            continue;
        if (!w->when_ns || when < w->when_ns)
            w->when_ns = when;
        while (i-- > 0)
            lease_unpace(rate_of(w, set->of[i].resource), interval_of(w, &set->of[i]), set->of[i].calls);
        return false;
    }
    return true;
}

static bool needs_machine(const struct leases_worker *w, const struct needs_set *set)
{
    for (uint32_t i = 0; i < set->n; i++)
        if (w->leases->resources[set->of[i].resource].flags & NEEDS_MACHINE)
            return true;
    return false;
}

/* Units and tokens: all of both or nothing. own: the set of the test itself. */
static bool take_set(struct leases_worker *w, const struct needs_set *set, const struct needs_set *own, uint64_t now)
{
    struct lease_held got;

    if (!has_tokens(w, own, now))
        return false;
    if (!lease_take(&w->leases->table, w->me, set, &w->held, &got, w->outside)) {
        w->outside_busy = w->outside_busy || needs_machine(w, set);
        return false;
    }
    if (own && !take_tokens(w, own, now)) {
        lease_leave(&w->leases->table, w->me, &got, &w->held, w->outside);
        return false;
    }
    w->coming = got;
    return true;
}

/* Microseconds that each resource is still busy with, by its units, or that its rate makes of it. */
static void weigh(const struct leases *l, uint64_t busy_us[NEEDS_MOST_RESOURCES])
{
    memset(busy_us, 0, NEEDS_MOST_RESOURCES * sizeof *busy_us);
    for (uint32_t q = 0; q < l->head->n_queues; q++) {
        const struct needs_set *set = &l->sets[l->queues[q].set];
        const uint64_t left = range_left(&l->queues[q].range);

        for (uint32_t k = 0; left && k < set->n; k++) {
            const struct needs_resource *r = &l->resources[set->of[k].resource];
            const uint64_t busy = r->n_units ? atomic_load(&l->queues[q].load_us) * set->of[k].count / r->n_units : 0;
            const uint64_t paced = left * set->of[k].calls * r->interval_us;

            busy_us[set->of[k].resource] += busy > paced ? busy : paced;
        }
    }
}

/* Of the scarcest resource that this set needs. */
static uint64_t urgency(const struct needs_set *set, const uint64_t busy_us[NEEDS_MOST_RESOURCES])
{
    uint64_t most = 0;

    for (uint32_t i = 0; i < set->n; i++)
        if (busy_us[set->of[i].resource] > most)
            most = busy_us[set->of[i].resource];
    return most;
}

/* The block [lo, hi) is this worker's now, under the lease in coming: its first position. */
static uint32_t enter_block(struct leases_worker *w, uint32_t lo, uint32_t hi)
{
    w->block_set = w->leases->set[lo];
    range_set(&segment_slot(w->segment, w->me.slot)->block, lo + 1, hi);
    return lo;
}

static const struct needs_set *set_at(const struct leases_worker *w, const uint32_t *column, uint32_t at)
{
    return column[at] ? &w->leases->sets[column[at] - 1] : NULL;
}

static void put_back(struct leases_worker *w)
{
    lease_leave(&w->leases->table, w->me, &w->coming, &w->held, w->outside);
    w->coming.n = 0;
}

static uint32_t take_from(struct leases_worker *w, struct leases_queue *queue, uint64_t now)
{
    const uint32_t at = range_peek(&queue->range);
    uint32_t lo, hi;

    /* Another worker may take the very one that was looked at: then the tokens are those of a test of the same set. */
    if (at == RANGE_NONE || !take_set(w, &w->leases->sets[queue->set], set_at(w, w->leases->own, at), now))
        return LEASES_LATER;
    if (!range_take_unit(&queue->range, w->unit, &lo, &hi)) {
        put_back(w);
        wake(w->leases);
        return LEASES_NONE;
    }
    for (uint32_t p = lo; p < hi; p++)
        atomic_fetch_sub(&queue->load_us, w->leases->cost[p]);
    if (range_left(&queue->range) == 0)
        wake(w->leases); /* who waited for this queue need not any more */
    return enter_block(w, lo, hi);
}

/* What a dead worker has left of its block, under a lease of our own. */
static uint32_t take_orphan(struct leases_worker *w, uint64_t now)
{
    uint32_t answer = LEASES_NONE;

    for (uint32_t i = 0; i < w->leases->head->n_slots; i++) {
        struct slot *slot = segment_slot(w->segment, i);
        const uint32_t at = range_peek(&slot->block);
        uint32_t lo, hi;

        if (i == w->me.slot || at == RANGE_NONE ||
            atomic_load_explicit(&slot->state, memory_order_acquire) != SLOT_DEAD)
            continue;
        answer = LEASES_LATER;
        if (!take_set(w, &w->leases->sets[w->leases->set[at] - 1], set_at(w, w->leases->own, at), now))
            continue;
        if (range_take_all(&slot->block, &lo, &hi)) {
            atomic_fetch_sub(&w->leases->head->n_orphans, 1);
            return enter_block(w, lo, hi);
        }
        put_back(w);
    }
    return answer;
}

/* The most urgent queue that is not in `tried`; n_queues when there is none of at least this urgency. */
static uint32_t most_urgent(const struct leases *l, const uint8_t *tried, const uint64_t *busy_us, uint64_t least_us)
{
    uint32_t best = l->head->n_queues;
    uint64_t most = 0;

    for (uint32_t q = 0; q < l->head->n_queues; q++) {
        const uint64_t found =
            tried[q] || !range_left(&l->queues[q].range) ? 0 : 1 + urgency(&l->sets[l->queues[q].set], busy_us);

        if (found > most && found > least_us) {
            most = found;
            best = q;
        }
    }
    return best;
}

uint32_t leases_rest(struct leases_worker *worker)
{
    const uint32_t at = range_take(&segment_slot(worker->segment, worker->me.slot)->block);

    if (at != RANGE_NONE)
        worker->coming = worker->held;
    return at;
}

uint32_t leases_next(struct leases_worker *worker, uint64_t least_us, uint64_t now_ns)
{
    uint8_t tried[NEEDS_MOST_SETS] = {0};
    uint64_t busy_us[NEEDS_MOST_RESOURCES];
    uint32_t answer = LEASES_NONE;
    uint32_t q;

    worker->when_ns = 0;
    worker->outside_busy = false;
    if (atomic_load(&worker->leases->head->n_orphans)) {
        answer = take_orphan(worker, now_ns);
        if (answer < LEASES_LATER)
            return answer;
    }
    weigh(worker->leases, busy_us);
    while ((q = most_urgent(worker->leases, tried, busy_us, least_us)) < worker->leases->head->n_queues) {
        const uint32_t at = take_from(worker, &worker->leases->queues[q], now_ns);

        if (at < LEASES_LATER)
            return at;
        if (at == LEASES_LATER)
            answer = at;
        tried[q] = 1;
    }
    return answer;
}

bool leases_fixed(struct leases_worker *worker, uint32_t at, uint64_t now_ns)
{
    const struct needs_set *set = set_at(worker, worker->leases->set, at);

    worker->when_ns = 0;
    worker->outside_busy = false;
    worker->coming.n = 0;
    return !set || take_set(worker, set, set_at(worker, worker->leases->own, at), now_ns);
}

bool leases_pace(struct leases_worker *worker, uint32_t at, uint64_t now_ns)
{
    const struct needs_set *own = set_at(worker, worker->leases->own, at);

    worker->when_ns = 0;
    return !own || take_tokens(worker, own, now_ns);
}

void leases_turn(struct leases_worker *worker)
{
    const struct lease_held before = worker->held;

    if (!before.n && !worker->coming.n)
        return;
    lease_leave(&worker->leases->table, worker->me, &before, &worker->coming, worker->outside);
    worker->held = worker->coming;
    worker->coming.n = 0;
    if (before.n)
        wake_all(worker->leases->table.turns);
}

static bool in_coming(const struct leases_worker *w, const struct lease_hold *hold)
{
    for (uint32_t i = 0; i < w->coming.n; i++)
        if (w->coming.of[i].unit == hold->unit)
            return true;
    return false;
}

enum needs_level leases_dropped(const struct leases_worker *worker)
{
    enum needs_level widest = NEEDS_TEST;

    for (uint32_t i = 0; i < worker->held.n; i++)
        if (worker->held.of[i].level > widest && !in_coming(worker, &worker->held.of[i]))
            widest = worker->held.of[i].level;
    return widest;
}

void leases_keep(struct leases_worker *worker, enum needs_level from)
{
    for (uint32_t i = 0; i < worker->held.n; i++) {
        const struct lease_hold *hold = &worker->held.of[i];

        if (hold->level >= from && !in_coming(worker, hold) && worker->coming.n < LEASE_MOST_HELD)
            worker->coming.of[worker->coming.n++] = *hold;
    }
}
