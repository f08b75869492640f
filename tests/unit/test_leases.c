#include "lease_case.h"

#include "run/leases.h"

#include <pthread.h>
#include <sched.h>

/* ---- the course of runs */

/* What the tests of one made-up run need, and what has become of them. */
struct world {
    struct segment segment;
    struct plan_table plan;
    int fds[2];
    struct needs_resource resources[3];
    struct needs needs;
    struct leases leases;
    uint32_t n_sets, n_tests, n_plain;
    struct range plain; /* tests without needs */
    uint8_t ran[CAPACITY];
    uint64_t random;
};

static void open_world(struct world *w)
{
    struct err err;

    *w = (struct world){0};
    for (uint32_t i = 0; i < 3; i++)
        w->resources[i] = resource("abc" + i, i == 1 ? 1 : 2);
    w->resources[0].name[1] = w->resources[1].name[1] = '\0';
    w->needs = (struct needs){.n_resources = 3, .resources = w->resources};
    w->fds[0] = segment_create(&w->segment, SLOTS, &err);
    w->fds[1] = plan_table_create(&w->plan, CAPACITY, leases_bytes(&w->needs, CAPACITY, SLOTS), &err);
    assert_true(w->fds[0] >= 0 && w->fds[1] >= 0);
}

static void random_sets(struct world *w, struct needs_set sets[4])
{
    w->n_sets = 1 + next_random(&w->random) % 4;
    for (uint32_t i = 0; i < w->n_sets; i++) {
        sets[i] = (struct needs_set){0};
        for (uint16_t r = 0; r < 3; r++) {
            const bool last = r == 2 && sets[i].n == 0;

            if (next_random(&w->random) % 2 && !last)
                continue;
            sets[i].of[sets[i].n++] =
                (struct needs_one){.resource = r,
                                   .count = (uint16_t)(1 + next_random(&w->random) % w->resources[r].n_units),
                                   .flags = next_random(&w->random) % 4 == 0 ? NEEDS_SHARED : 0,
                                   .level = next_random(&w->random) % 6 == 0 ? NEEDS_SESSION : NEEDS_TEST};
        }
    }
}

/* A new run in the memory of the last one: queues of blocks of 1 to 4 tests. */
static void new_run(struct world *w)
{
    struct needs_set sets[4];
    uint32_t at = 0;

    memset(plan_table_more(&w->plan), 0, leases_bytes(&w->needs, CAPACITY, SLOTS));
    for (uint32_t i = 0; i < SLOTS; i++) {
        struct slot *slot = segment_slot(&w->segment, i);

        atomic_store(&slot->state, SLOT_FREE);
        range_set(&slot->block, 0, 0);
    }
    random_sets(w, sets);
    w->needs.sets = sets;
    w->needs.n_sets = w->n_sets;
    leases_make(&w->leases, &w->plan, &w->needs, SLOTS);
    leases_clear(&w->leases);
    for (uint32_t s = 0; s < w->n_sets; s++) {
        const uint32_t first = at, n = 1 + next_random(&w->random) % 8;

        for (uint32_t start = at, end = at; at < first + n; at++) {
            if (at == end) {
                start = at;
                end = at + 1 + (next_random(&w->random) % 3 ? 0 : next_random(&w->random) % 4);
            }
            plan_table_unit(&w->plan)[at] = start;
            w->leases.set[at] = s + 1;
            w->leases.cost[at] = 1 + next_random(&w->random) % 1000;
        }
        leases_add_queue(&w->leases, s, first, at);
    }
    w->n_plain = next_random(&w->random) % 8;
    w->n_tests = at + w->n_plain;
    for (uint32_t p = at; p < w->n_tests; p++)
        w->leases.set[p] = 0;
    range_set(&w->plain, at, w->n_tests);
    memset(w->ran, 0, sizeof w->ran);
}

struct player {
    struct leases_worker worker;
    uint32_t at; /* position that runs; RANGE_NONE */
    uint64_t until;
    bool waits, gone;
};

static struct player player(struct world *w, uint32_t slot)
{
    atomic_store(&segment_slot(&w->segment, slot)->state, SLOT_RUNNING);
    return (struct player){.worker = {.leases = &w->leases,
                                      .segment = &w->segment,
                                      .unit = plan_table_unit(&w->plan),
                                      .me = {slot, slot + 1}},
                           .at = RANGE_NONE};
}

/* As leased.c asks: the block in hand, a queue, a test without needs. */
static uint32_t choose(struct world *w, struct player *p)
{
    uint32_t at = leases_rest(&p->worker);

    if (at == RANGE_NONE)
        at = leases_next(&p->worker, next_random(&w->random) % 2 ? 0 : 2000, 1);
    if (at < LEASES_LATER)
        return at;
    at = range_take(&w->plain);
    if (at != RANGE_NONE)
        return at;
    return leases_next(&p->worker, 0, 1);
}

static void claim(struct world *w, struct player *p)
{
    p->worker.coming.n = 0;
    p->at = choose(w, p);
    if (p->at < LEASES_LATER)
        leases_keep(&p->worker, NEEDS_SESSION);
    leases_turn(&p->worker);
    p->waits = p->at == LEASES_LATER;
    p->gone = p->at == LEASES_NONE;
}

static bool holds(const struct player *p, uint32_t unit, bool alone)
{
    for (uint32_t i = 0; i < p->worker.held.n; i++)
        if (p->worker.held.of[i].unit == unit && (!alone || !(p->worker.held.of[i].flags & NEEDS_SHARED)))
            return true;
    return false;
}

/* 0, or what is broken: two have one unit, or a test runs without what it needs. */
static int check_units(const struct world *w, const struct player *players, uint32_t n)
{
    for (uint32_t unit = 0; unit < 5; unit++) {
        uint32_t all = 0, alone = 0;

        for (uint32_t i = 0; i < n; i++) {
            all += !players[i].gone && holds(&players[i], unit, false);
            alone += !players[i].gone && holds(&players[i], unit, true);
        }
        if (alone > 1 || (alone && all > 1))
            return 1;
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t at = players[i].at;
        const struct needs_set *set =
            at < LEASES_LATER && w->leases.set[at] ? &w->leases.sets[w->leases.set[at] - 1] : NULL;

        for (uint32_t k = 0; set && k < set->n; k++) {
            const struct lease_table *t = &w->leases.table;
            uint32_t count = 0;

            for (uint32_t u = t->first[set->of[k].resource]; u < t->first[set->of[k].resource + 1]; u++)
                count += holds(&players[i], u, !(set->of[k].flags & NEEDS_SHARED));
            if (count < set->of[k].count)
                return 2;
        }
        if (players[i].waits && players[i].worker.held.n)
            return 3;
    }
    return 0;
}

/* Could a worker that holds nothing run a block of this set now? By what all of them hold. */
static bool possible(const struct world *w, const struct player *players, uint32_t n, const struct needs_set *set)
{
    for (uint32_t k = 0; k < set->n; k++) {
        const struct lease_table *t = &w->leases.table;
        uint32_t count = 0;

        for (uint32_t u = t->first[set->of[k].resource]; u < t->first[set->of[k].resource + 1]; u++) {
            bool taken = false;

            for (uint32_t i = 0; i < n; i++)
                taken = taken ||
                        (!players[i].gone && holds(&players[i], u, set->of[k].flags & NEEDS_SHARED ? true : false));
            count += !taken;
        }
        if (count < set->of[k].count)
            return false;
    }
    return true;
}

/* Somebody waits although there is something to do. */
static bool idles(const struct world *w, const struct player *players, uint32_t n)
{
    if (range_left(&w->plain))
        return true;
    for (uint32_t q = 0; q < w->leases.head->n_queues; q++)
        if (range_left(&w->leases.queues[q].range) && possible(w, players, n, &w->leases.sets[w->leases.queues[q].set]))
            return true;
    return false;
}

static void kill_one(struct world *w, struct player *p, uint32_t *n_slots)
{
    const uint32_t slot = p->worker.me.slot;

    atomic_store(&segment_slot(&w->segment, slot)->state, SLOT_DEAD);
    leases_bury(&w->leases, segment_slot(&w->segment, slot), slot);
    *p = player(w, (*n_slots)++);
    claim(w, p);
}

/* 0, or what went wrong. */
static int play(struct world *w)
{
    const uint32_t n = 1 + next_random(&w->random) % 5;
    uint32_t n_slots = 0, n_done = 0;
    struct player players[5];
    uint64_t now = 0;

    for (uint32_t i = 0; i < n; i++)
        players[i] = player(w, n_slots++);
    for (uint32_t i = 0; i < n; i++)
        claim(w, &players[i]);
    while (n_done < w->n_tests) {
        uint32_t first = n;
        int broken;

        for (uint32_t i = 0; i < n; i++) { /* whoever waits is woken up by what was given back */
            if (players[i].waits)
                claim(w, &players[i]);
            if (players[i].at < LEASES_LATER && !players[i].until)
                players[i].until = now + 1 + next_random(&w->random) % 50;
            if (players[i].at < LEASES_LATER && (first == n || players[i].until < players[first].until))
                first = i;
        }
        broken = check_units(w, players, n);
        if (broken)
            return broken;
        for (uint32_t i = 0; i < n; i++)
            if (players[i].waits && idles(w, players, n))
                return 4;
        if (first == n)
            return 5; /* nobody runs and not all is done */
        now = players[first].until;
        if (w->ran[players[first].at]++)
            return 6;
        n_done++;
        players[first].until = 0;
        if (next_random(&w->random) % 16 == 0 && n_slots < SLOTS)
            kill_one(w, &players[first], &n_slots);
        else
            claim(w, &players[first]);
    }
    for (uint32_t i = 0; i < n; i++) /* they hear that there is nothing more */
        if (!players[i].gone)
            claim(w, &players[i]);
    for (uint32_t u = 0; u < 5; u++)
        if (atomic_load(&w->leases.table.owner[u]))
            return 7;
    return 0;
}

static void test_random_runs_are_exclusive_and_nobody_idles_or_starves(void **state)
{
    const uint64_t n = SCHEDULES / harness_slower();
    struct world w;

    (void)state;
    open_world(&w);
    for (uint64_t i = 1; i <= n; i++) {
        int broken;

        w.random = i * 0x9E3779B97F4A7C15u;
        new_run(&w);
        broken = play(&w);
        if (broken)
            fail_msg("schedule %u: broken %d", (unsigned)i, broken);
    }
}

/* ---- many at once */

static struct crowd {
    struct world world;
    _Atomic uint32_t alone[5], all[5];
    _Atomic uint32_t ran[CAPACITY];
    _Atomic uint32_t broken;
} crowd;

static void use_units(const struct lease_held *held)
{
    for (uint32_t i = 0; i < held->n; i++) {
        const uint32_t u = held->of[i].unit;
        const bool shared = held->of[i].flags & NEEDS_SHARED;
        const uint32_t before = atomic_fetch_add(&crowd.all[u], 1);

        if (shared ? atomic_load(&crowd.alone[u]) != 0 : before || atomic_fetch_add(&crowd.alone[u], 1))
            atomic_fetch_add(&crowd.broken, 1);
    }
    sched_yield();
    for (uint32_t i = 0; i < held->n; i++) {
        if (!(held->of[i].flags & NEEDS_SHARED))
            atomic_fetch_sub(&crowd.alone[held->of[i].unit], 1);
        atomic_fetch_sub(&crowd.all[held->of[i].unit], 1);
    }
}

static void *live(void *arg)
{
    struct player *p = arg;

    for (;;) {
        uint32_t at;

        p->worker.coming.n = 0;
        at = leases_rest(&p->worker);
        if (at == RANGE_NONE)
            at = leases_next(&p->worker, 0, 1);
        if (at == LEASES_NONE)
            break;
        leases_turn(&p->worker);
        if (at == LEASES_LATER) {
            sched_yield();
            continue;
        }
        atomic_fetch_add(&crowd.ran[at], 1);
        use_units(&p->worker.held);
    }
    p->worker.coming.n = 0;
    leases_turn(&p->worker);
    return NULL;
}

static void test_threads_hold_units_one_at_a_time(void **state)
{
    (void)state;
    open_world(&crowd.world);
    for (uint32_t round = 1; round <= 300; round++) {
        pthread_t threads[4];
        struct player players[4];

        crowd.world.random = round * 0x9E3779B97F4A7C15u;
        new_run(&crowd.world);
        memset(crowd.ran, 0, sizeof crowd.ran);
        for (uint32_t i = 0; i < 4; i++) {
            players[i] = player(&crowd.world, i);
            assert_int_equal(pthread_create(&threads[i], NULL, live, &players[i]), 0);
        }
        for (uint32_t i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(atomic_load(&crowd.broken), 0);
        for (uint32_t p = 0; p < crowd.world.n_tests - crowd.world.n_plain; p++)
            assert_int_equal(atomic_load(&crowd.ran[p]), 1);
    }
}

/* Readers and writers of one unit, as fast as they can. */
static void *hammer(void *arg)
{
    const uint32_t slot = *(const uint32_t *)arg;
    const struct lease_who who = {slot, slot + 1};
    const struct needs_set set = set_of(1, slot % 2 ? &read_b : &one_b);

    for (uint32_t i = 0; i < TRIES; i++) {
        struct lease_held held;

        if (!lease_take(&crowd.world.leases.table, who, &set, &nothing, &held, NULL))
            continue;
        if (slot % 2) {
            atomic_fetch_add(&crowd.all[0], 1);
            if (atomic_load(&crowd.alone[0]))
                atomic_fetch_add(&crowd.broken, 1);
            atomic_fetch_sub(&crowd.all[0], 1);
        } else {
            if (atomic_fetch_add(&crowd.alone[0], 1) || atomic_load(&crowd.all[0]))
                atomic_fetch_add(&crowd.broken, 1);
            atomic_fetch_sub(&crowd.alone[0], 1);
        }
        lease_leave(&crowd.world.leases.table, who, &held, &nothing, NULL);
    }
    return NULL;
}

static void test_readers_and_a_writer_never_meet(void **state)
{
    const uint32_t slots[] = {0, 1, 2, 3};
    pthread_t threads[4];

    (void)state;
    memset(&crowd, 0, sizeof crowd);
    open_world(&crowd.world);
    crowd.world.random = 99;
    new_run(&crowd.world);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, (void *)(uintptr_t)&slots[i]), 0);
    for (uint32_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&crowd.broken), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_runs_are_exclusive_and_nobody_idles_or_starves),
        cmocka_unit_test(test_threads_hold_units_one_at_a_time),
        cmocka_unit_test(test_readers_and_a_writer_never_meet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
