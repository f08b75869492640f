#include "harness.h"

#include "sched/range.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* The same numbers on every run and in every thread: xorshift, seeded by the caller. */
static uint32_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

/* unit[p] for units of 1 to longest positions. */
static void fill_units(uint32_t *unit, uint32_t n, uint32_t longest, uint64_t *random)
{
    for (uint32_t start = 0; start < n;) {
        const uint32_t size = 1 + next_random(random) % longest;
        const uint32_t end = n - start > size ? start + size : n;

        for (uint32_t p = start; p < end; p++)
            unit[p] = start;
        start = end;
    }
}

static void expect_range(const struct range *range, uint32_t lo, uint32_t hi)
{
    uint32_t found_lo, found_hi;

    range_read(range, &found_lo, &found_hi);
    assert_int_equal(found_hi - found_lo, hi - lo);
    assert_int_equal(range_left(range), hi - lo);
    if (hi > lo)
        assert_int_equal(found_lo, lo);
    assert_int_equal(range_peek(range), hi > lo ? lo : RANGE_NONE);
}

static void test_take_gives_positions_in_order_and_then_none(void **state)
{
    struct range range;

    (void)state;
    range_set(&range, 7, 10);
    for (uint32_t p = 7; p < 10; p++) {
        expect_range(&range, p, 10);
        assert_int_equal(range_take(&range), p);
    }
    expect_range(&range, 0, 0);
    assert_int_equal(range_take(&range), RANGE_NONE);
    assert_int_equal(range_take(&range), RANGE_NONE);
}

static void test_the_highest_positions_fit(void **state)
{
    struct range range;

    (void)state;
    range_set(&range, UINT32_MAX - 2, UINT32_MAX);
    assert_int_equal(range_take(&range), UINT32_MAX - 2);
    assert_int_equal(range_take(&range), UINT32_MAX - 1);
    assert_int_equal(range_take(&range), RANGE_NONE);
}

static void test_what_a_dead_owner_took_last_can_be_given_back_once(void **state)
{
    const uint32_t unit[] = {0, 0, 0, 3};
    struct range dead, thief;

    (void)state;
    range_set(&dead, 0, 4);
    range_set(&thief, 0, 0);
    assert_int_equal(range_take(&dead), 0);
    assert_int_equal(range_take(&dead), 1);
    assert_false(range_give_back(&dead, 0)); /* was run */
    assert_false(range_give_back(&dead, 2));
    expect_range(&dead, 2, 4);
    assert_true(range_give_back(&dead, 1));
    assert_false(range_give_back(&dead, 1));
    expect_range(&dead, 1, 4);
    /* The rest of its unit goes over as one piece, and also when everything behind it was stolen before. */
    assert_int_equal(range_steal(&thief, &dead, unit, true), 1);
    while (range_take(&thief) != RANGE_NONE)
        ;
    assert_int_equal(range_steal(&thief, &dead, unit, true), 2);
    expect_range(&thief, 1, 3);
    range_set(&dead, 3, 4);
    assert_int_equal(range_take(&dead), 3);
    assert_true(range_give_back(&dead, 3));
    expect_range(&dead, 3, 4);
}

/* Steals from [lo, hi) with these units and expects the thief to get [cut, hi). */
static void expect_cut(const uint32_t *unit, uint32_t lo, uint32_t hi, bool dead, uint32_t cut)
{
    struct range victim, thief;

    range_set(&victim, lo, hi);
    range_set(&thief, 0, 0);
    assert_int_equal(range_steal(&thief, &victim, unit, dead), hi - cut);
    expect_range(&victim, lo, cut);
    expect_range(&thief, cut, hi);
}

static void test_steal_takes_the_larger_half_of_single_tests(void **state)
{
    const uint32_t unit[] = {0, 1, 2, 3, 4, 5, 6, 7};

    (void)state;
    expect_cut(unit, 0, 8, false, 4);
    expect_cut(unit, 0, 7, false, 3);
    expect_cut(unit, 5, 7, false, 6);
    expect_cut(unit, 5, 6, false, 5); /* the only one left, not started */
    expect_cut(unit, 5, 5, false, 5);
    expect_cut(unit, 5, 6, true, 5);
}

static void test_steal_never_cuts_a_unit(void **state)
{
    const uint32_t unit[] = {0, 0, 0, 3, 4, 4, 4, 4, 4, 9};

    (void)state;
    expect_cut(unit, 0, 10, false, 4); /* middle 5 is in unit 4: its start is nearer than 9 */
    expect_cut(unit, 0, 3, false, 0);  /* one whole unit, not started: all of it */
    expect_cut(unit, 0, 4, false, 3);
    expect_cut(unit, 3, 9, false, 4);
    expect_cut(unit, 4, 10, false, 9); /* the front unit stays with its owner while there is another */
    expect_cut(unit, 4, 9, false, 4);
}

static void test_steal_leaves_a_started_unit_to_a_living_owner(void **state)
{
    const uint32_t unit[] = {0, 0, 0, 0, 0, 0, 6, 7};

    (void)state;
    expect_cut(unit, 1, 6, false, 6); /* nothing */
    expect_cut(unit, 5, 6, false, 6);
    expect_cut(unit, 1, 8, false, 6); /* what is behind it */
    expect_cut(unit, 1, 6, true, 1);
    expect_cut(unit, 5, 6, true, 5);
    expect_cut(unit, 1, 8, true, 6); /* first the rest, then the started unit */
}

/*
 * The reference: owners of positions in plain arrays. What a steal must do is told from the rules in range.h by trying
 * every cut, not by the way range.c finds one.
 */
struct model {
    uint32_t lo[6], hi[6];
};

static bool cut_is_allowed(const struct model *m, uint32_t v, uint32_t cut, const uint32_t *unit, bool dead)
{
    if (cut == m->lo[v])
        return dead || unit[cut] == cut;
    return unit[cut] == cut;
}

/* Checks [cut, hi): allowed, not everything when something else would do, and no allowed cut nearer to the middle. */
static void check_cut(const struct model *m, uint32_t v, uint32_t cut, const uint32_t *unit, bool dead)
{
    const uint32_t lo = m->lo[v], hi = m->hi[v], middle = lo + (hi - lo) / 2;
    const uint32_t far = cut > middle ? cut - middle : middle - cut;

    if (cut < hi)
        assert_true(cut_is_allowed(m, v, cut, unit, dead));
    for (uint32_t c = lo; c < hi; c++) {
        if (!cut_is_allowed(m, v, c, unit, dead))
            continue;
        assert_true(cut < hi); /* something could be taken */
        if (cut == lo)
            assert_true(c == lo); /* all is taken only when there is no other way */
        else if (c != lo)
            assert_true((c > middle ? c - middle : middle - c) >= far);
    }
}

static void model_step(struct range *ranges, struct model *m, const uint32_t *unit, uint8_t *taken, uint64_t *random)
{
    const uint32_t a = next_random(random) % 6, b = next_random(random) % 6;

    if (a == b || m->lo[a] < m->hi[a] || next_random(random) % 4 == 0) {
        const uint32_t p = range_take(&ranges[a]);

        assert_int_equal(p, m->lo[a] < m->hi[a] ? m->lo[a] : RANGE_NONE);
        if (p != RANGE_NONE) {
            m->lo[a]++;
            assert_int_equal(taken[p]++, 0);
        }
    } else {
        const bool dead = next_random(random) % 8 == 0;
        const uint32_t moved = range_steal(&ranges[a], &ranges[b], unit, dead);
        const uint32_t cut = m->hi[b] - moved;

        check_cut(m, b, cut, unit, dead);
        m->lo[a] = cut;
        m->hi[a] = m->hi[b];
        m->hi[b] = cut;
        expect_range(&ranges[a], m->lo[a], m->hi[a]);
        expect_range(&ranges[b], m->lo[b], m->hi[b]);
    }
}

static void test_random_operations_do_what_the_rules_say(void **state)
{
    enum { N = 240 };

    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        uint64_t random = seed * 0x9E3779B97F4A7C15u;
        uint32_t unit[N];
        uint8_t taken[N] = {0};
        struct range ranges[6];
        struct model m;
        uint32_t all = 0;

        fill_units(unit, N, 1 + (uint32_t)seed % 12, &random);
        for (uint32_t w = 0, lo = 0; w < 6; w++) {
            uint32_t hi = w == 5 ? N : unit[(w + 1) * N / 6];

            m.lo[w] = lo;
            m.hi[w] = hi;
            range_set(&ranges[w], lo, hi);
            lo = hi;
        }
        for (int i = 0; i < 3000; i++)
            model_step(ranges, &m, unit, taken, &random);
        for (uint32_t w = 0; w < 6; w++)
            for (uint32_t p; (p = range_take(&ranges[w])) != RANGE_NONE;)
                assert_int_equal(taken[p]++, 0);
        for (uint32_t p = 0; p < N; p++)
            all += taken[p];
        assert_int_equal(all, N);
    }
}

enum { N_THREADS = 8 };

/* Threads stand for processes: ranges do not care who mapped them, and ThreadSanitizer sees threads only. */
struct crowd {
    struct range ranges[N_THREADS + 1]; /* the last is nobody's: filled while all the others look for work */
    uint32_t n;
    const uint32_t *unit;
    _Atomic uint32_t *taker; /* per position: 1 + the thread that took it, 0: nobody */
    _Atomic uint32_t n_taken;
    _Atomic uint32_t twice;
    _Atomic uint64_t steals;
    uint32_t *plain; /* written before range_set, read after range_take: what the orders promise */
    _Atomic uint32_t unseen;
};

struct member {
    struct crowd *crowd;
    uint32_t self;
};

static void note_taken(struct crowd *c, uint32_t self, uint32_t p)
{
    if (atomic_exchange_explicit(&c->taker[p], self + 1, memory_order_relaxed) != 0)
        atomic_fetch_add(&c->twice, 1);
    if (c->plain[p] != p + 1)
        atomic_fetch_add(&c->unseen, 1);
    atomic_fetch_add_explicit(&c->n_taken, 1, memory_order_relaxed);
}

static void *take_and_steal(void *arg)
{
    const struct member *me = arg;
    struct crowd *c = me->crowd;
    uint64_t random = 88172645463325252u + me->self;

    while (atomic_load_explicit(&c->n_taken, memory_order_relaxed) < c->n) {
        const uint32_t p = range_take(&c->ranges[me->self]);
        const uint32_t victim = next_random(&random) % (N_THREADS + 1);

        if (p != RANGE_NONE) {
            note_taken(c, me->self, p);
        } else if (victim != me->self) {
            if (range_steal(&c->ranges[me->self], &c->ranges[victim], c->unit, false))
                atomic_fetch_add_explicit(&c->steals, 1, memory_order_relaxed);
            else
                sched_yield(); /* there may be fewer cores than threads */
        }
    }
    return NULL;
}

static void feed_all(struct crowd *c)
{
    for (uint32_t p = 0; p < c->n; p++)
        c->plain[p] = p + 1;
    range_set(&c->ranges[N_THREADS], 0, c->n);
}

/* All ranges are empty until everybody runs: then the work appears in nobody's range. */
static void run_threads(void *(*body)(void *), uint32_t n, uint32_t longest_unit, void (*feeder)(struct crowd *),
                        uint32_t min_steals)
{
    uint64_t random = 42;
    uint32_t *unit = hs_alloc(n * sizeof *unit);
    struct crowd c = {.n = n, .unit = unit};
    struct member members[N_THREADS];
    pthread_t threads[N_THREADS];

    fill_units(unit, n, longest_unit, &random);
    c.taker = hs_alloc(n * sizeof *c.taker);
    c.plain = hs_alloc(n * sizeof *c.plain);
    for (uint32_t w = 0; w <= N_THREADS; w++)
        range_set(&c.ranges[w], 0, 0);
    for (uint32_t w = 0; w < N_THREADS; w++) {
        members[w] = (struct member){&c, w};
        assert_int_equal(pthread_create(&threads[w], NULL, body, &members[w]), 0);
    }
    feeder(&c);
    for (uint32_t w = 0; w < N_THREADS; w++)
        assert_int_equal(pthread_join(threads[w], NULL), 0);
    assert_int_equal(c.twice, 0);
    assert_int_equal(c.unseen, 0);
    assert_int_equal(c.n_taken, n);
    assert_true(c.steals >= min_steals);
    for (uint32_t p = 0; p < n; p++) {
        assert_int_not_equal(c.taker[p], 0);
        assert_int_equal(c.taker[p], c.taker[unit[p]]); /* all of a unit by one thread */
    }
    free(c.plain);
    free((void *)c.taker);
    free(unit);
}

static void run_crowd(uint32_t n, uint32_t longest_unit)
{
    run_threads(take_and_steal, n, longest_unit, feed_all, 1);
}

static void test_threads_take_each_single_test_once(void **state)
{
    (void)state;
    run_crowd(4000000, 1);
}

static void test_threads_never_share_a_unit(void **state)
{
    (void)state;
    run_crowd(2000000, 9);
    run_crowd(20000, 5000);
}

/* The supervisor's part of the next test: eight positions at a time, whenever nobody's range is empty. */
static void feed(struct crowd *c)
{
    for (uint32_t next = 0; next < c->n; next += 8) {
        while (range_left(&c->ranges[N_THREADS]) > 0)
            sched_yield();
        for (uint32_t p = next; p < next + 8; p++)
            c->plain[p] = p + 1;
        range_set(&c->ranges[N_THREADS], next, next + 8);
    }
}

static void test_work_that_comes_in_small_parts_is_stolen_once(void **state)
{
    (void)state;
    run_threads(take_and_steal, 20000, 1, feed, 20000 / 8);
}

static void *only_take(void *arg)
{
    const struct member *me = arg;
    struct crowd *c = me->crowd;

    while (atomic_load_explicit(&c->n_taken, memory_order_relaxed) < c->n) {
        const uint32_t p = range_take(&c->ranges[N_THREADS]);

        if (p != RANGE_NONE)
            note_taken(c, me->self, p);
        else
            sched_yield();
    }
    return NULL;
}

/* Without a steal in between: what was written before range_set is seen by who takes. ThreadSanitizer watches. */
static void test_who_takes_sees_what_was_written_before_it_was_set(void **state)
{
    (void)state;
    run_threads(only_take, 20000, 1, feed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take_gives_positions_in_order_and_then_none),
        cmocka_unit_test(test_the_highest_positions_fit),
        cmocka_unit_test(test_what_a_dead_owner_took_last_can_be_given_back_once),
        cmocka_unit_test(test_steal_takes_the_larger_half_of_single_tests),
        cmocka_unit_test(test_steal_never_cuts_a_unit),
        cmocka_unit_test(test_steal_leaves_a_started_unit_to_a_living_owner),
        cmocka_unit_test(test_random_operations_do_what_the_rules_say),
        cmocka_unit_test(test_threads_take_each_single_test_once),
        cmocka_unit_test(test_threads_never_share_a_unit),
        cmocka_unit_test(test_work_that_comes_in_small_parts_is_stolen_once),
        cmocka_unit_test(test_who_takes_sees_what_was_written_before_it_was_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
