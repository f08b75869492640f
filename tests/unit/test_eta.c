#include "harness.h"

#include "sched/eta.h"

#define SECOND ((uint64_t)1000000000)

static void test_before_anything_is_measured_the_plan_is_believed(void **state)
{
    struct eta e = {.n_workers = 4, .n_left = 100, .expected_left_ns = 40 * SECOND};

    (void)state;
    assert_int_equal(eta_left_ns(&e), 10 * SECOND);
    e.longest_left_ns = 25 * SECOND;
    assert_int_equal(eta_left_ns(&e), 25 * SECOND);
    e.n_workers = 0;
    assert_int_equal(eta_left_ns(&e), 40 * SECOND);
}

static void test_the_speed_of_this_run_counts_once_there_is_enough_of_it(void **state)
{
    /* Half done in 10 s where the plan said 5 s: the other half takes 10 s too. */
    struct eta e = {.n_workers = 4,
                    .n_done = 50,
                    .n_left = 50,
                    .wall_ns = 10 * SECOND,
                    .expected_done_ns = 20 * SECOND,
                    .expected_left_ns = 20 * SECOND};

    (void)state;
    assert_int_equal(eta_left_ns(&e), 10 * SECOND);
    e.longest_left_ns = 12 * SECOND;
    assert_int_equal(eta_left_ns(&e), 12 * SECOND);
}

static void test_little_evidence_moves_the_forecast_a_little(void **state)
{
    /* 1% done, at half the planned speed: between the plan's 99 s and the measured 198 s, nearer to the plan. */
    const struct eta e = {.n_workers = 1,
                          .n_done = 1,
                          .n_left = 99,
                          .wall_ns = 2 * SECOND,
                          .expected_done_ns = SECOND,
                          .expected_left_ns = 99 * SECOND};
    const uint64_t left = eta_left_ns(&e);

    (void)state;
    assert_true(left > 105 * SECOND && left < 130 * SECOND);
}

static void test_history_of_another_world_is_not_used(void **state)
{
    /* Expected 1 ms each, took 100 times as long; what is left is expected to take an hour each, and is only counted. */
    struct eta e = {.n_workers = 2,
                    .n_done = 20,
                    .n_left = 10,
                    .wall_ns = 20 * SECOND,
                    .expected_done_ns = SECOND / 50,
                    .expected_left_ns = 36000 * SECOND};

    (void)state;
    assert_int_equal(eta_left_ns(&e), 10 * SECOND);
    e.expected_done_ns = 4000 * SECOND; /* and the other way round */
    assert_int_equal(eta_left_ns(&e), 10 * SECOND);
}

static void test_nothing_left_takes_no_time(void **state)
{
    const struct eta e = {.n_workers = 2, .n_done = 5, .wall_ns = SECOND, .expected_left_ns = 7, .longest_left_ns = 7};

    (void)state;
    assert_int_equal(eta_left_ns(&e), 0);
}

static void test_numbers_without_bounds_give_a_long_time_and_no_more(void **state)
{
    const struct eta e = {.n_workers = 1,
                          .n_done = 1,
                          .n_left = UINT32_MAX,
                          .wall_ns = UINT64_MAX,
                          .expected_done_ns = 1,
                          .expected_left_ns = UINT64_MAX,
                          .longest_left_ns = UINT64_MAX};

    (void)state;
    assert_true(eta_left_ns(&e) > 1000000 * SECOND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_anything_is_measured_the_plan_is_believed),
        cmocka_unit_test(test_the_speed_of_this_run_counts_once_there_is_enough_of_it),
        cmocka_unit_test(test_little_evidence_moves_the_forecast_a_little),
        cmocka_unit_test(test_history_of_another_world_is_not_used),
        cmocka_unit_test(test_nothing_left_takes_no_time),
        cmocka_unit_test(test_numbers_without_bounds_give_a_long_time_and_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
