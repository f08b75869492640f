#include "harness.h"

#include "ui/region.h"
#include "ui/text.h"

#include <string.h>

#define MS_NS UINT64_C(1000000)
#define S_NS UINT64_C(1000000000)

static void assert_visible(const char *bytes, size_t n, bool utf8, const char *wanted)
{
    struct str out = STR_INIT;

    text_add_visible(&out, bytes, n, utf8);
    assert_string_equal(str_text(&out), wanted);
    str_release(&out);
}

static void test_text_makes_controls_visible(void **state)
{
    (void)state;
    assert_visible("a\x1b[31m\nb\x7f\0c", 11, true, "a^[[31m^Jb^?^@c");
    assert_visible("\xC2\x9Bx", 3, true, "\\x9bx");
    assert_visible("a\u202Eb\u200D", 8, true, "ab"); /* right-to-left override, joiner */
    assert_visible("\xFF\xC3", 2, true, "\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_visible("\xC0\x80", 2, true, "\xEF\xBF\xBD\xEF\xBF\xBD");                 /* overlong */
    assert_visible("\xED\xA0\x80", 3, true, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* surrogate */
    assert_visible("caf\xC3\xA9 \xE4\xB8\xAD", 9, false, "caf? ??");
}

static void test_text_counts_cells(void **state)
{
    (void)state;
    assert_int_equal(text_cells("abc", 3), 3);
    assert_int_equal(text_cells("e\xCC\x81", 3), 1);
    assert_int_equal(text_cells("\xE4\xB8\xAD\xE6\x96\x87", 6), 4);
    assert_int_equal(text_cells("\xF0\x9F\x98\x80", 4), 2);
    assert_int_equal(text_char_cells(0x1160), 0);
    assert_int_equal(text_char_cells(0x10FFFF), 1);
}

static void test_text_elides_in_the_middle_by_cells(void **state)
{
    static const char *const texts[] = {"tests/test_x.py::test_y[param]",
                                        "\xE4\xB8\xAD\xE6\x96\x87/\xE4\xB8\xAD\xE6\x96\x87",
                                        "e\u0301e\u0301e\u0301e\u0301e\u0301", "\x1b\x1b\x1b\x1b"};
    struct str out = STR_INIT;

    (void)state;
    text_add_elided(&out, texts[0], strlen(texts[0]), 16, true);
    assert_string_equal(str_text(&out), "tests\xE2\x80\xA6t_y[param]");
    str_reset(&out);
    text_add_elided(&out, texts[0], strlen(texts[0]), 16, false);
    assert_string_equal(str_text(&out), "test..t_y[param]");
    for (size_t i = 0; i < HS_COUNT(texts); i++) {
        for (uint32_t cells = 0; cells < 40; cells++) {
            str_reset(&out);
            text_add_elided(&out, texts[i], strlen(texts[i]), cells, true);
            assert_true(text_cells(str_text(&out), out.len) <= cells);
            assert_true(cells < 3 || text_cells(str_text(&out), out.len) >= (cells < 8 ? cells : 5) - 2);
        }
    }
    str_release(&out);
}

static struct view_worker running(uint32_t slot, uint64_t ns, const char *id)
{
    return (struct view_worker){
        .slot = slot, .state = VIEW_WORKER_RUNNING, .node_id = id, .node_id_len = strlen(id), .running_ns = ns};
}

static struct run_view typical(const struct view_worker *workers, uint32_t n)
{
    struct run_view view = {.phase = VIEW_TESTING,
                            .n_total = 6000,
                            .n_done = 1234,
                            .elapsed_ns = 4200 * MS_NS,
                            .eta_ns = 12 * S_NS,
                            .eta_trusted = true,
                            .workers = workers,
                            .n_workers = n};

    view.n_outcome[OUTCOME_FAILED] = 2;
    view.n_outcome[OUTCOME_ERROR] = 1;
    view.n_outcome[OUTCOME_SKIPPED] = 12;
    return view;
}

/* The region in ASCII, without colours; every row must leave the last column free. */
static void assert_region(const struct run_view *view, uint32_t columns, uint32_t rows, const char *wanted)
{
    const struct region_options options = {.columns = columns, .rows = rows};
    struct str out = STR_INIT;
    uint32_t n_rows = 1;
    uint32_t in_row = 0;
    const uint32_t n = region_render(&out, view, &options);

    assert_string_equal(str_text(&out), wanted);
    for (const char *c = str_text(&out); *c; c++) {
        n_rows += *c == '\n';
        in_row = *c == '\n' ? 0 : in_row + 1;
        assert_true(in_row < columns);
    }
    assert_int_equal(n, out.len ? n_rows : 0);
    str_release(&out);
}

static void test_region_shows_progress_at_every_width(void **state)
{
    const struct run_view view = typical(NULL, 0);

    (void)state;
    assert_region(&view, 200, 24,
                  "======------------------------  1,234/6,000  20%  3 failed  12 skipped  4.2 s  ~12 s left");
    assert_region(&view, 80, 24, "====----------------  1,234/6,000  20%  3 failed  12 skipped  4.2 s  ~12 s left");
    assert_region(&view, 60, 24, "1,234/6,000  20%  3 failed  12 skipped  4.2 s  ~12 s left");
    assert_region(&view, 40, 24, "==--------  1,234/6,000  20%\n3 failed  12 skipped  4.2 s  ~12 s left");
    assert_region(&view, 20, 24, "1,234/6,000  20%\n3 failed");
    assert_region(&view, 8, 24, "1,234/6\n3 faile");
    assert_region(&view, 20, 3, "=----  3 failed"); /* one row: the worst news stays */
    assert_region(&view, 20, 1, "");
    assert_region(&view, 1, 24, "");
}

static void test_region_says_when_the_estimate_is_a_guess(void **state)
{
    struct run_view view = typical(NULL, 0);

    (void)state;
    memset(view.n_outcome, 0, sizeof view.n_outcome);
    view.eta_trusted = false;
    assert_region(&view, 80, 24, "====----------------  1,234/6,000  20%  4.2 s  ~12 s left?");
    view.eta_ns = 0;
    assert_region(&view, 80, 24, "====----------------  1,234/6,000  20%  4.2 s");
    view.n_done = 5999; /* not 100 % before it is */
    assert_region(&view, 80, 24, "===================-  5,999/6,000  99%  4.2 s");
    view.n_done = 6000;
    view.phase = VIEW_FINISHING;
    assert_region(&view, 80, 24, "====================  6,000/6,000  100%  4.2 s  finishing");
    view.n_total = 0; /* nothing to divide by */
    view.n_done = 0;
    assert_region(&view, 80, 24, "--------------------  0/0  0%  4.2 s  finishing");
}

static void test_region_of_start_up(void **state)
{
    struct run_view view = {.phase = VIEW_STARTING, .elapsed_ns = 299 * MS_NS};

    (void)state;
    assert_region(&view, 80, 24, "starting");
    view.elapsed_ns = 300 * MS_NS;
    assert_region(&view, 80, 24, "starting  300 ms");
    view.phase = VIEW_COLLECTING;
    assert_region(&view, 80, 24, "collecting  300 ms");
    view.n_total = 1;
    assert_region(&view, 80, 24, "collecting 1 test  300 ms");
    view.n_total = 1234;
    view.elapsed_ns = 2 * S_NS;
    assert_region(&view, 80, 24, "collecting 1,234 tests  2.0 s");
    assert_region(&view, 20, 24, "collecting 1,234 te");
}

static void test_region_lists_slow_workers_longest_first(void **state)
{
    struct view_worker workers[] = {
        running(0, 1000 * MS_NS, "exactly one second is not more"),
        running(1, 1100 * MS_NS, "tests/test_x.py::test_y[param]"),
        running(12, 64 * S_NS,
                "tests/some/where/deep/test_long_name.py::TestClass::test_method_with_a_long_name[a-b-c-d]"),
        running(3, 90 * S_NS, "idle now"),
        running(2, 1100 * MS_NS, "a\nb"),
    };
    const struct run_view view = typical(workers, HS_COUNT(workers));

    (void)state;
    workers[3].state = VIEW_WORKER_IDLE;
    assert_region(&view, 80, 24,
                  "====----------------  1,234/6,000  20%  3 failed  12 skipped  4.2 s  ~12 s left\n"
                  "gw12  1 min 04 s  tests/some/where/de..s::test_method_with_a_long_name[a-b-c-d]\n"
                  "gw1        1.1 s  tests/test_x.py::test_y[param]\n"
                  "gw2        1.1 s  a^Jb");
}

static void test_region_takes_half_of_the_screen_at_most(void **state)
{
    struct view_worker workers[20];
    const struct run_view view = typical(workers, HS_COUNT(workers));
    const struct region_options sizes[] = {{80, 24, false, true}, {80, 10, true, true}, {30, 6, false, false},
                                           {80, 4, false, true},  {80, 2, true, false}, {30, 2, false, true}};
    const uint32_t wanted[] = {8, 5, 3, 2, 1, 1};

    (void)state;
    for (uint32_t i = 0; i < HS_COUNT(workers); i++)
        workers[i] = running(i, (i + 2) * S_NS, "tests/test_x.py::test_y");
    for (size_t i = 0; i < HS_COUNT(sizes); i++) {
        struct str out = STR_INIT;

        assert_int_equal(region_render(&out, &view, &sizes[i]), wanted[i]);
        if (i == 0)
            assert_non_null(strstr(str_text(&out), "\ngw14  16.0 s  tests/test_x.py::test_y\n14 more tests run"));
        str_release(&out);
    }
}

static void test_region_colours_failures_red(void **state)
{
    const struct region_options options = {.columns = 80, .rows = 24, .colour = true, .utf8 = true};
    const struct run_view view = typical(NULL, 0);
    struct str out = STR_INIT;

    (void)state;
    region_render(&out, &view, &options);
    assert_non_null(strstr(str_text(&out), "\x1b[31m3 failed\x1b[m"));
    assert_non_null(strstr(str_text(&out), "\xE2\x94\x81\xE2\x94\x81\x1b[m\x1b[2m\xE2\x94\x80"));
    str_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_makes_controls_visible),
        cmocka_unit_test(test_text_counts_cells),
        cmocka_unit_test(test_text_elides_in_the_middle_by_cells),
        cmocka_unit_test(test_region_shows_progress_at_every_width),
        cmocka_unit_test(test_region_says_when_the_estimate_is_a_guess),
        cmocka_unit_test(test_region_of_start_up),
        cmocka_unit_test(test_region_lists_slow_workers_longest_first),
        cmocka_unit_test(test_region_takes_half_of_the_screen_at_most),
        cmocka_unit_test(test_region_colours_failures_red),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
