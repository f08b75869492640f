#include "harness.h"

#include "ui/report.h"
#include "ui/text.h"
#include "ui/units.h"

#include <stdlib.h>
#include <string.h>

#define MS_NS UINT64_C(1000000)
#define S_NS UINT64_C(1000000000)

static void assert_duration(uint64_t ns, const char *wanted)
{
    char text[UNITS_SIZE];

    assert_string_equal(units_duration(text, ns), wanted);
}

static void test_units_round_before_they_choose_the_unit(void **state)
{
    (void)state;
    assert_duration(0, "0 ms");
    assert_duration(1, "<1 ms");
    assert_duration(850 * MS_NS, "850 ms");
    assert_duration(999 * MS_NS + 499999, "999 ms");
    assert_duration(999 * MS_NS + 500000, "1.0 s");
    assert_duration(4240 * MS_NS, "4.2 s");
    assert_duration(59949 * MS_NS, "59.9 s");
    assert_duration(59950 * MS_NS, "1 min 00 s");
    assert_duration(65 * S_NS, "1 min 05 s");
    assert_duration(3599 * S_NS + 499 * MS_NS, "59 min 59 s");
    assert_duration(3599 * S_NS + 500 * MS_NS, "1 h 00 min");
    assert_duration(3720 * S_NS, "1 h 02 min");
    assert_duration(3600 * S_NS * 1000, "1000 h 00 min");
}

static void test_units_about_has_no_false_precision(void **state)
{
    char text[UNITS_SIZE];

    (void)state;
    assert_string_equal(units_about(text, 1), "1 s");
    assert_string_equal(units_about(text, 11600 * MS_NS), "12 s");
    assert_string_equal(units_about(text, 59600 * MS_NS), "1 min 00 s");
    assert_string_equal(units_about(text, 65 * S_NS), "1 min 05 s");
    assert_string_equal(units_about(text, 725 * S_NS), "12 min");
    assert_string_equal(units_about(text, 3569 * S_NS), "59 min");
    assert_string_equal(units_about(text, 3590 * S_NS), "1 h 00 min");
    assert_string_equal(units_about(text, 3720 * S_NS), "1 h 02 min");
}

static void test_units_count_groups_digits(void **state)
{
    char text[UNITS_SIZE];

    (void)state;
    assert_string_equal(units_count(text, 0), "0");
    assert_string_equal(units_count(text, 999), "999");
    assert_string_equal(units_count(text, 1000), "1,000");
    assert_string_equal(units_count(text, UINT64_MAX), "18,446,744,073,709,551,615");
}

static const struct report_test quick = {"tests/test_q.py::test_q", 23, 30 * MS_NS};
static const struct report_test slow = {"test_x.py::test_slow", 20, 1200 * MS_NS};
static const struct report_test slower = {"tests/very/deep/down/test_x.py::TestThing::test_slower[one-two-three]", 69,
                                          2500 * MS_NS};

static const struct report_totals typical = {.wall_ns = 4200 * MS_NS,
                                             .tests_ns = 12400 * MS_NS,
                                             .start_up_ns = 500 * MS_NS,
                                             .idle_ns = 940 * MS_NS,
                                             .worker_ns = 15700 * MS_NS,
                                             .n_workers = 4,
                                             .n_tests = 1234};

static void assert_report(const struct report_totals *totals, uint32_t columns, const char *wanted)
{
    const struct report_options options = {.columns = columns, .utf8 = true};
    struct str out = STR_INIT;

    report_render(&out, totals, &options);
    assert_string_equal(str_text(&out), wanted);
    for (const char *line = str_text(&out); columns && *line; line = strchr(line, '\n') + 1)
        assert_true(text_cells(line, (size_t)(strchr(line, '\n') - line)) <= columns);
    str_release(&out);
}

static void test_report_says_what_one_worker_would_take(void **state)
{
    (void)state;
    assert_report(&typical, 0, "hasten: 4.2 s; one worker would take about 12.9 s (3.1x); 4 workers, 6% idle\n");
    assert_report(&typical, 80, "hasten: 4.2 s; one worker would take about 12.9 s (3.1x); 4 workers, 6% idle\n");
    assert_report(&typical, 79, "hasten: 4.2 s; one worker would take about 12.9 s (3.1x); 4 workers, 6% idle\n");
    assert_report(&typical, 70, "hasten: 4.2 s; one worker would take about 12.9 s (3.1x)\n");
    assert_report(&typical, 40, "hasten: 4.2 s (3.1x); 4 workers, 6% idle\n");
    assert_report(&typical, 39, "hasten: 4.2 s (3.1x)\n");
    assert_report(&typical, 20, "hasten: 4.2 s (3.1x)\n");
}

static void test_report_of_one_worker_compares_with_nothing(void **state)
{
    struct report_totals totals = typical;

    (void)state;
    totals.n_workers = 1;
    totals.idle_ns = 0;
    assert_report(&totals, 80, "hasten: 4.2 s; 1 worker, 0% idle\n");
    totals.worker_ns = 0; /* nothing known: no division by it */
    assert_report(&totals, 80, "hasten: 4.2 s; 1 worker, 0% idle\n");
    totals.n_tests = 0;
    assert_report(&totals, 80, "");
}

static void test_report_leaves_out_a_comparison_that_says_nothing(void **state)
{
    struct report_totals totals = typical;

    (void)state;
    totals.wall_ns = 12300 * MS_NS; /* 1.049 times */
    assert_report(&totals, 80, "hasten: 12.3 s; 4 workers, 6% idle\n");
    assert_report(&totals, 30, "hasten: 12.3 s\n");
    totals.wall_ns = 30000 * MS_NS;
    assert_report(&totals, 80, "hasten: 30.0 s; 4 workers, 6% idle\n");
    totals.wall_ns = 12285 * MS_NS;
    assert_report(&totals, 80, "hasten: 12.3 s; one worker would take about 12.9 s (1.1x); 4 workers, 6% idle\n");
}

static void test_report_names_only_tests_worth_it(void **state)
{
    struct report_totals totals = typical;
    struct report_test test = quick;

    (void)state;
    report_add_test(&totals, &slow);
    report_add_test(&totals, &quick);
    report_add_test(&totals, &slower);
    assert_int_equal(totals.n_slowest, 3);
    assert_ptr_equal(totals.slowest[0].node_id, slower.node_id);
    assert_ptr_equal(totals.slowest[2].node_id, quick.node_id);
    assert_report(&totals, 0,
                  "hasten: 4.2 s; one worker would take about 12.9 s (3.1x); 4 workers, 6% idle; slowest: 2.5 s "
                  "tests/very/deep/down/test_x.py::TestThing::test_slower[one-two-three], "
                  "1.2 s test_x.py::test_slow\n");
    assert_report(&totals, 80,
                  "hasten: 4.2 s; one worker would take about 12.9 s (3.1x); 4 workers, 6% idle\n"
                  "hasten: slowest: 2.5 s tests/ver\xE2\x80\xA6ower[one-two-three], "
                  "1.2 s test_x.py::test_slow\n");
    assert_report(&totals, 40,
                  "hasten: 4.2 s (3.1x); 4 workers, 6% idle\nhasten: slowest: 2.5 s tests\xE2\x80\xA6-two-three]\n");
    test.ns = 211 * MS_NS; /* more than 5 % of 4.2 s */
    report_add_test(&totals, &test);
    assert_int_equal(totals.n_slowest, 3);
    assert_int_equal(totals.slowest[2].ns, test.ns);
}

static void test_report_is_coloured_only_when_asked(void **state)
{
    const struct report_options options = {.columns = 80, .colour = true, .utf8 = true};
    struct str out = STR_INIT;

    (void)state;
    report_render(&out, &typical, &options);
    assert_non_null(strstr(str_text(&out), "\x1b[2mhasten: \x1b[m4.2 s"));
    str_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units_round_before_they_choose_the_unit),
        cmocka_unit_test(test_units_about_has_no_false_precision),
        cmocka_unit_test(test_units_count_groups_digits),
        cmocka_unit_test(test_report_says_what_one_worker_would_take),
        cmocka_unit_test(test_report_of_one_worker_compares_with_nothing),
        cmocka_unit_test(test_report_leaves_out_a_comparison_that_says_nothing),
        cmocka_unit_test(test_report_names_only_tests_worth_it),
        cmocka_unit_test(test_report_is_coloured_only_when_asked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
