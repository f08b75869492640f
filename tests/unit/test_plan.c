#include "harness.h"

#include "base/clock.h"
#include "sched/plan.h"
#include "sched/range.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS ((uint64_t)1000000)

static uint64_t random_state;

static uint32_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

static struct plan make(const struct plan_item *items, uint32_t n, enum plan_mode mode, uint32_t n_workers,
                        uint64_t seed)
{
    struct plan plan;
    struct err err;

    assert_int_equal(
        plan_make(&plan, items, n, &(struct plan_options){.mode = mode, .n_workers = n_workers, .seed = seed}, &err),
        0);
    return plan;
}

/* What every plan promises: each item once, ranges that cover all, units that are what range.h says. */
static void check_plan(const struct plan *plan, uint32_t n, uint32_t n_workers)
{
    uint8_t *seen = hs_alloc(n);

    assert_int_equal(plan->n, n);
    for (uint32_t p = 0; p < n; p++) {
        assert_true(plan->order[p] < n);
        assert_int_equal(seen[plan->order[p]]++, 0);
        assert_true(plan->unit[p] <= p);
        assert_int_equal(plan->unit[plan->unit[p]], plan->unit[p]);
        if (p > 0)
            assert_true(plan->unit[p] == p || plan->unit[p] == plan->unit[p - 1]);
    }
    assert_int_equal(plan->first[0], 0);
    assert_int_equal(plan->first[n_workers], n);
    for (uint32_t w = 0; w < n_workers; w++) {
        assert_true(plan->first[w] <= plan->first[w + 1]);
        if (plan->first[w] < n)
            assert_int_equal(plan->unit[plan->first[w]], plan->first[w]);
    }
    free(seen);
}

/* The uneven suite: 300 tests, 21.6 s, the longest 2 s, the long ones at the end of the last files. */
static void uneven_suite(struct plan_item *items)
{
    uint64_t total = 0;

    random_state = 3;
    for (uint32_t i = 0; i < 300; i++)
        items[i] = (struct plan_item){.expected_ns = (5 + next_random() % 60) * MS, .file = i / 10};
    for (uint32_t i = 0; i < 6; i++)
        items[249 + i * 10].expected_ns = (700 + i * 260) * MS; /* 0.7 s to 2 s */
    for (uint32_t i = 0; i < 299; i++)
        total += items[i].expected_ns;
    for (uint32_t i = 0; total < 19600 * MS; i = (i + 7) % 240) {
        items[i].expected_ns += MS;
        total += MS;
    }
}

/* n workers that take and steal as the real ones do, in simulated time. Returns the time at which the last is done. */
static uint64_t simulate(const struct plan *plan, const struct plan_item *items, uint32_t n_workers,
                         uint64_t unknown_ns)
{
    struct range ranges[16];
    uint64_t free_at[16] = {0};
    bool done[16] = {false};
    uint64_t end = 0;

    for (uint32_t w = 0; w < n_workers; w++)
        range_set(&ranges[w], plan->first[w], plan->first[w + 1]);
    for (uint32_t n_done = 0; n_done < n_workers;) {
        uint32_t w = UINT32_MAX, victim, p;

        for (uint32_t k = 0; k < n_workers; k++)
            if (!done[k] && (w == UINT32_MAX || free_at[k] < free_at[w]))
                w = k;
        for (p = range_take(&ranges[w]); p == RANGE_NONE; p = range_take(&ranges[w])) {
            victim = w;
            for (uint32_t k = 0; k < n_workers; k++)
                if (range_left(&ranges[k]) > range_left(&ranges[victim]))
                    victim = k;
            if (victim == w || range_steal(&ranges[w], &ranges[victim], plan->unit, false) == 0)
                break;
        }
        if (p == RANGE_NONE) {
            done[w] = true;
            n_done++;
            continue;
        }
        free_at[w] += items[plan->order[p]].expected_ns ? items[plan->order[p]].expected_ns : unknown_ns;
        if (free_at[w] > end)
            end = free_at[w];
    }
    return end;
}

static uint64_t lower_bound(const struct plan_item *items, uint32_t n, uint32_t n_workers)
{
    uint64_t total = 0, longest = 0;

    for (uint32_t i = 0; i < n; i++) {
        total += items[i].expected_ns;
        if (items[i].expected_ns > longest)
            longest = items[i].expected_ns;
    }
    return total / n_workers > longest ? total / n_workers : longest;
}

static void expect_makespan_within_2_percent(const struct plan_item *items, uint32_t n)
{
    for (uint32_t n_workers = 2; n_workers <= 16; n_workers *= 2) {
        struct plan plan = make(items, n, PLAN_LOAD, n_workers, 0);
        const uint64_t best = lower_bound(items, n, n_workers);
        const uint64_t took = simulate(&plan, items, n_workers, 0);

        check_plan(&plan, n, n_workers);
        if (getenv("HASTEN_TEST_SHOW"))
            fprintf(stderr, "# %u workers: %.3f of the bound\n", n_workers, (double)took / (double)best);
        assert_int_equal(plan.expected_wall_ns, best);
        assert_true(took >= best);
        assert_true(took * 100 <= best * 102);
        plan_release(&plan);
    }
}

static void test_known_durations_end_within_2_percent_of_the_bound(void **state)
{
    struct plan_item items[300];
    uint64_t total = 0;

    (void)state;
    uneven_suite(items);
    for (uint32_t i = 0; i < 300; i++)
        total += items[i].expected_ns;
    assert_int_equal(total / MS, 21600);
    expect_makespan_within_2_percent(items, 300);
    for (uint32_t i = 0; i < 300; i++)
        items[i].affinity = 1 + i / 10; /* every file has a module fixture */
    expect_makespan_within_2_percent(items, 300);
    for (uint32_t i = 0; i < 300; i++)
        items[i].file = items[i].affinity = 1; /* all is one file */
    expect_makespan_within_2_percent(items, 300);
}

static void test_long_tests_start_first(void **state)
{
    struct plan_item items[300];
    struct plan plan;

    (void)state;
    uneven_suite(items);
    plan = make(items, 300, PLAN_LOAD, 4, 0);
    for (uint32_t w = 0; w < 4; w++)
        assert_true(items[plan.order[plan.first[w]]].expected_ns >= 1200 * MS);
    plan_release(&plan);
}

/* Number of (worker, key) pairs, where key is an item's file or affinity: 1 for each when nothing is spread. */
static uint32_t count_places(const struct plan *plan, const struct plan_item *items, uint32_t n_workers, bool adjacent)
{
    uint32_t places = 0;

    for (uint32_t w = 0; w < n_workers; w++) {
        for (uint32_t p = plan->first[w]; p < plan->first[w + 1]; p++) {
            const uint32_t file = items[plan->order[p]].file;
            bool new = p == plan->first[w] || items[plan->order[p - 1]].file != file;

            for (uint32_t q = plan->first[w]; q < p && new && !adjacent; q++)
                new = items[plan->order[q]].file != file;
            places += new;
        }
    }
    return places;
}

static void test_small_tests_of_a_file_stay_together(void **state)
{
    enum { N = 4000, FILES = 80 };
    struct plan_item *items = hs_alloc(N * sizeof *items);

    (void)state;
    random_state = 5;
    for (uint32_t i = 0; i < N; i++)
        items[i] = (struct plan_item){.expected_ns = 100000 + next_random() % 100000, .file = i / (N / FILES)};
    for (uint32_t n_workers = 2; n_workers <= 16; n_workers *= 2) {
        struct plan plan = make(items, N, PLAN_LOAD, n_workers, 0);
        const uint32_t places = count_places(&plan, items, n_workers, false);

        check_plan(&plan, N, n_workers);
        if (getenv("HASTEN_TEST_SHOW"))
            fprintf(stderr, "# %u workers: %u places for %u files\n", n_workers, places, FILES);
        assert_true(places <= FILES + 2 * n_workers);
        assert_int_equal(count_places(&plan, items, n_workers, true), places); /* contiguous where it is */
        for (uint32_t w = 0; w < n_workers; w++)
            for (uint32_t p = plan.first[w] + 1; p < plan.first[w + 1]; p++)
                if (items[plan.order[p]].file == items[plan.order[p - 1]].file)
                    assert_true(plan.order[p] > plan.order[p - 1]);
        plan_release(&plan);
    }
    free(items);
}

static void test_an_affinity_is_cut_only_above_a_quarter_of_the_ideal(void **state)
{
    struct plan_item items[100];
    uint32_t places[3] = {0};
    struct plan plan;

    (void)state;
    /* Ideal of 4 workers: 250 ms. Affinity 1: 60 ms; affinity 2: 400 ms; the rest has none. */
    for (uint32_t i = 0; i < 100; i++)
        items[i] = (struct plan_item){.expected_ns = 10 * MS, .file = i % 7, .affinity = i < 6 ? 1 : i < 46 ? 2 : 0};
    plan = make(items, 100, PLAN_LOAD, 4, 0);
    check_plan(&plan, 100, 4);
    for (uint32_t w = 0; w < 4; w++) {
        bool has[3] = {false};

        for (uint32_t p = plan.first[w]; p < plan.first[w + 1]; p++)
            has[items[plan.order[p]].affinity] = true;
        places[1] += has[1];
        places[2] += has[2];
    }
    assert_int_equal(places[1], 1);
    assert_int_equal(places[2], 2); /* 400 ms do not fit into 250 ms, but into two of them */
    plan_release(&plan);
}

static void test_affinities_below_a_quarter_of_the_ideal_are_never_spread(void **state)
{
    struct plan_item items[17 * 6];
    struct plan plan;

    (void)state;
    /* 17 of 60 ms on 4 workers: 255 ms each would be ideal, but only four of them fit into that. */
    for (uint32_t i = 0; i < HS_COUNT(items); i++)
        items[i] = (struct plan_item){.expected_ns = 10 * MS, .file = i / 6, .affinity = 1 + i / 6};
    plan = make(items, HS_COUNT(items), PLAN_LOAD, 4, 0);
    check_plan(&plan, HS_COUNT(items), 4);
    assert_int_equal(count_places(&plan, items, 4, false), 17);
    plan_release(&plan);
}

static void test_unknown_durations_keep_the_order_in_contiguous_parts(void **state)
{
    enum { N = 997 };
    struct plan_item items[N] = {{0}};

    (void)state;
    for (uint32_t i = 0; i < N; i++)
        items[i].file = i / 20;
    for (uint32_t n_workers = 1; n_workers <= 16; n_workers++) {
        struct plan plan = make(items, N, PLAN_LOAD, n_workers, 0);
        const uint32_t ideal = N / n_workers;

        check_plan(&plan, N, n_workers);
        for (uint32_t p = 0; p < N; p++)
            assert_int_equal(plan.order[p], p);
        for (uint32_t w = 0; w < n_workers; w++) {
            const uint32_t size = plan.first[w + 1] - plan.first[w];

            assert_true(size >= ideal * 3 / 4 - 1 && size <= ideal * 5 / 4 + 1);
            if (n_workers <= 6 && w > 0)
                assert_int_equal(plan.first[w] % 20, 0); /* parts as long as that begin with a file */
        }
        assert_int_equal(plan.expected_total_ns, N * MS);
        plan_release(&plan);
    }
}

static void test_unknown_durations_gather_what_shares_fixtures(void **state)
{
    struct plan_item items[40] = {{0}};
    struct plan plan;

    (void)state;
    for (uint32_t i = 0; i < 40; i++)
        items[i].affinity = 1 + i % 4; /* interleaved, as parametrized session fixtures may leave them */
    plan = make(items, 40, PLAN_LOAD, 2, 0);
    check_plan(&plan, 40, 2);
    for (uint32_t p = 0; p < 40; p++)
        assert_int_equal(items[plan.order[p]].affinity, 1 + p / 10);
    assert_int_equal(plan.first[1], 20);
    plan_release(&plan);
}

static void test_an_unknown_test_is_expected_to_take_the_median_of_its_file_then_of_all(void **state)
{
    const struct plan_item items[] = {
        {.expected_ns = 10 * MS, .file = 0},
        {.expected_ns = 30 * MS, .file = 0},
        {.expected_ns = 900 * MS, .file = 0},
        {.file = 0}, /* 30 ms */
        {.expected_ns = 1 * MS, .file = 7},
        {.expected_ns = 2 * MS, .file = 7},
        {.file = 9}, /* 10 ms: the median of 1, 2, 10, 30, 900 */
    };
    struct plan plan = make(items, HS_COUNT(items), PLAN_LOAD, 2, 0);

    (void)state;
    assert_int_equal(plan.expected_total_ns, (10 + 30 + 900 + 30 + 1 + 2 + 10) * MS);
    assert_int_equal(plan.expected_wall_ns, 900 * MS);
    plan_release(&plan);
}

static void test_groups_stay_whole_and_the_longest_goes_first(void **state)
{
    struct plan_item items[60];
    struct plan plan;

    (void)state;
    for (uint32_t i = 0; i < 60; i++)
        items[i] = (struct plan_item){.expected_ns = MS * (1 + i % 6 * 2), .group = 1000000 + i % 6};
    plan = make(items, 60, PLAN_GROUPS, 3, 0);
    check_plan(&plan, 60, 3);
    for (uint32_t p = 0; p < 60; p++) {
        assert_int_equal(plan.unit[p], p / 10 * 10);
        assert_int_equal(items[plan.order[p]].group, items[plan.order[plan.unit[p]]].group);
        if (p % 10)
            assert_int_equal(plan.order[p], plan.order[p - 1] + 6); /* in given order */
    }
    /* Groups take 10, 30, 50, 70, 90, 110 ms: 110 + 10, 90 + 30, 70 + 50. */
    for (uint32_t w = 0; w < 3; w++)
        assert_int_equal(items[plan.order[plan.first[w]]].expected_ns, (11 - 2 * w) * MS);
    assert_int_equal(plan.expected_wall_ns, 120 * MS);
    plan_release(&plan);
}

static void test_one_group_takes_as_long_as_it_takes(void **state)
{
    struct plan_item items[10];
    struct plan plan;

    (void)state;
    for (uint32_t i = 0; i < 10; i++)
        items[i] = (struct plan_item){.expected_ns = MS};
    plan = make(items, 10, PLAN_GROUPS, 4, 0);
    check_plan(&plan, 10, 4);
    assert_int_equal(plan.expected_wall_ns, 10 * MS);
    assert_int_equal(plan.first[1], 10);
    plan_release(&plan);
}

static void test_in_order_keeps_the_order_whatever_is_known(void **state)
{
    struct plan_item items[300];
    struct plan plan;
    uint64_t load = 0;

    (void)state;
    uneven_suite(items);
    for (uint32_t i = 0; i < 300; i++)
        items[i].affinity = i % 5;
    plan = make(items, 300, PLAN_IN_ORDER, 3, 0);
    check_plan(&plan, 300, 3);
    for (uint32_t p = 0; p < 300; p++)
        assert_int_equal(plan.order[p], p);
    for (uint32_t p = plan.first[1]; p < plan.first[2]; p++)
        load += items[p].expected_ns;
    assert_true(load > 6200 * MS && load < 8200 * MS); /* a third of 21.6 s, give or take one long test */
    plan_release(&plan);
}

static void test_one_worker_runs_in_given_order(void **state)
{
    struct plan_item items[300];
    struct plan plan;

    (void)state;
    uneven_suite(items);
    plan = make(items, 300, PLAN_LOAD, 1, 0);
    check_plan(&plan, 300, 1);
    for (uint32_t p = 0; p < 300; p++)
        assert_int_equal(plan.order[p], p);
    plan_release(&plan);
}

static bool same(const struct plan *a, const struct plan *b, uint32_t n, uint32_t n_workers)
{
    return memcmp(a->order, b->order, n * sizeof *a->order) == 0 &&
           memcmp(a->unit, b->unit, n * sizeof *a->unit) == 0 &&
           memcmp(a->first, b->first, (n_workers + 1) * sizeof *a->first) == 0;
}

static void test_equal_input_and_seed_give_equal_plans(void **state)
{
    struct plan_item items[300];

    (void)state;
    uneven_suite(items);
    for (uint32_t known = 0; known < 2; known++) {
        for (enum plan_mode mode = PLAN_LOAD; mode <= PLAN_IN_ORDER; mode++) {
            struct plan zero = make(items, 300, mode, 4, 0);

            for (uint64_t seed = 0; seed < 20; seed++) {
                struct plan a = make(items, 300, mode, 4, seed), b = make(items, 300, mode, 4, seed);

                check_plan(&a, 300, 4);
                assert_true(same(&a, &b, 300, 4));
                if (mode == PLAN_LOAD && seed)
                    assert_false(same(&a, &zero, 300, 4));
                plan_release(&a);
                plan_release(&b);
            }
            plan_release(&zero);
        }
        for (uint32_t i = 0; i < 300; i++) {
            items[i].expected_ns = 0;
            items[i].group = i / 5;
        }
    }
}

static void test_any_input_gives_a_right_plan(void **state)
{
    (void)state;
    random_state = 11;
    for (int round = 0; round < 3000; round++) {
        const uint32_t n = next_random() % 60, n_workers = 1 + next_random() % 12;
        const enum plan_mode mode = next_random() % 3;
        struct plan_item items[60];
        struct plan plan;

        for (uint32_t i = 0; i < n; i++) {
            items[i] = (struct plan_item){.expected_ns = next_random() % 4 ? next_random() % 1000 * MS : 0,
                                          .file = UINT32_MAX - next_random() % 5,
                                          .group = next_random() % 6 * 0x2AAAAAAA,
                                          .affinity = next_random() % 3 ? 0 : UINT32_MAX - next_random() % 4};
            if (round % 50 == 0)
                items[i].expected_ns = UINT64_MAX - next_random(); /* sums that do not fit */
            if (round % 50 == 1)
                items[i].expected_ns = next_random() % 2;
        }
        plan = make(items, n, mode, n_workers, round % 3 ? (uint64_t)round : 0);
        check_plan(&plan, n, n_workers);
        for (uint32_t p = 1; p < n && mode == PLAN_GROUPS; p++)
            assert_true((plan.unit[p] != p) == (items[plan.order[p]].group == items[plan.order[p - 1]].group));
        for (uint32_t p = 0; p < n && mode != PLAN_GROUPS; p++)
            assert_int_equal(plan.unit[p], p);
        plan_release(&plan);
    }
}

static void test_no_workers_is_an_error(void **state)
{
    struct plan plan;
    struct err err = {0};

    (void)state;
    assert_int_equal(plan_make(&plan, NULL, 0, &(struct plan_options){0}, &err), -1);
    assert_string_equal(err.text, "a plan needs at least one worker");
    plan_release(&plan);
    assert_int_equal(plan_make(&plan, NULL, (1u << 31) + 1, &(struct plan_options){.n_workers = 1}, &err), -1);
    assert_non_null(strstr(err.text, "2147483649 tests are more than"));
    plan_release(&plan);
}

/* Not a measurement (sanitizers and a busy machine run it too), but nothing may be quadratic. */
static void test_100000_tests_are_planned_at_once(void **state)
{
    enum { N = 100000 };
    struct plan_item *items = hs_alloc(N * sizeof *items);

    (void)state;
    random_state = 9;
    for (int kind = 0; kind < 6; kind++) {
        uint64_t start, took;
        struct plan plan;

        for (uint32_t i = 0; i < N; i++)
            items[i] = (struct plan_item){.expected_ns = kind == 0 ? 0 : 50000 + next_random() % 1000000,
                                          .file = kind == 2 ? next_random() % 3000 : i / 33,
                                          .group = i / 11,
                                          .affinity = kind == 3 ? i / 33 + 1 : 0};
        for (uint32_t i = 0; i < N && kind == 4; i += 3)
            items[i].expected_ns = 0;
        start = clock_now_ns();
        plan = make(items, N, kind == 5 ? PLAN_GROUPS : PLAN_LOAD, 16, 0);
        took = clock_now_ns() - start;
        check_plan(&plan, N, 16);
        if (getenv("HASTEN_TEST_SHOW"))
            fprintf(stderr, "# kind %d: %.1f ms\n", kind, (double)took / 1e6);
        assert_true(took < 2000 * MS);
        plan_release(&plan);
    }
    free(items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_durations_end_within_2_percent_of_the_bound),
        cmocka_unit_test(test_long_tests_start_first),
        cmocka_unit_test(test_small_tests_of_a_file_stay_together),
        cmocka_unit_test(test_an_affinity_is_cut_only_above_a_quarter_of_the_ideal),
        cmocka_unit_test(test_affinities_below_a_quarter_of_the_ideal_are_never_spread),
        cmocka_unit_test(test_unknown_durations_keep_the_order_in_contiguous_parts),
        cmocka_unit_test(test_unknown_durations_gather_what_shares_fixtures),
        cmocka_unit_test(test_an_unknown_test_is_expected_to_take_the_median_of_its_file_then_of_all),
        cmocka_unit_test(test_groups_stay_whole_and_the_longest_goes_first),
        cmocka_unit_test(test_one_group_takes_as_long_as_it_takes),
        cmocka_unit_test(test_in_order_keeps_the_order_whatever_is_known),
        cmocka_unit_test(test_one_worker_runs_in_given_order),
        cmocka_unit_test(test_equal_input_and_seed_give_equal_plans),
        cmocka_unit_test(test_any_input_gives_a_right_plan),
        cmocka_unit_test(test_no_workers_is_an_error),
        cmocka_unit_test(test_100000_tests_are_planned_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
