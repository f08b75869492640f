#include "harness.h"
#include "line_play.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define S_NS UINT64_C(1000000000)

/*
 * A line that writes into a pipe of packets (each write is one packet), and a screen that is shown what was written.
 */
struct stage {
    struct line line;
    struct screen screen;
    struct str written; /* owned: by the last call */
    uint32_t n_writes;  /* by the last call */
    int pipe[2];
};

static void stage_open(struct stage *stage, uint32_t columns, uint32_t rows)
{
    struct line_options options = {.live = true, .utf8 = true, .columns = columns, .rows = rows};

    *stage = (struct stage){.n_writes = 0};
    assert_int_equal(pipe2(stage->pipe, O_CLOEXEC | O_DIRECT | O_NONBLOCK), 0);
    options.fd = stage->pipe[1];
    line_init(&stage->line, &options);
    screen_init(&stage->screen, columns, rows);
}

static void stage_close(struct stage *stage)
{
    line_release(&stage->line);
    screen_release(&stage->screen);
    str_release(&stage->written);
    close(stage->pipe[0]);
    close(stage->pipe[1]);
}

static void look(struct stage *stage)
{
    char bytes[8192];
    ssize_t n;

    stage->n_writes = 0;
    str_reset(&stage->written);
    while ((n = read(stage->pipe[0], bytes, sizeof bytes)) > 0) {
        stage->n_writes++;
        str_add(&stage->written, bytes, (size_t)n);
        screen_write(&stage->screen, bytes, (size_t)n);
    }
    assert_int_equal(stage->screen.n_unknown, 0);
    assert_int_equal(stage->screen.n_sync, 0);
    assert_int_equal(stage->screen.n_cut, 0);
    assert_int_equal(stage->line.trouble, 0);
}

/* Each call may write once, and must write the output in one piece. */
static void print(struct stage *stage, const char *text)
{
    line_output(&stage->line, text, strlen(text));
    look(stage);
    assert_int_equal(stage->n_writes, 1);
    assert_non_null(strstr(str_text(&stage->written), text));
}

static void draw(struct stage *stage, const struct run_view *view)
{
    line_draw(&stage->line, view);
    look(stage);
    assert_true(stage->n_writes <= 1);
}

static void clear(struct stage *stage)
{
    line_clear(&stage->line);
    look(stage);
    assert_true(stage->n_writes <= 1);
}

static void assert_row(struct stage *stage, uint32_t row, const char *wanted)
{
    char *text = screen_row(&stage->screen, row);

    assert_string_equal(text, wanted);
    free(text);
}

static void assert_screen(struct stage *stage, const char *wanted)
{
    char *text = screen_text(&stage->screen, false);

    assert_string_equal(text, wanted);
    free(text);
}

#define REGION "collecting 1,234 tests  2.0 s"

static const struct run_view collecting = {.phase = VIEW_COLLECTING, .n_total = 1234, .elapsed_ns = 2 * S_NS};

static void test_line_draws_below_complete_lines(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, 40, 6);
    print(&stage, "one\r\ntwo\r\n");
    draw(&stage, &collecting);
    assert_screen(&stage, "one\ntwo\n" REGION);
    assert_int_equal(stage.screen.at.row, 2); /* the cursor rests where output goes on */
    assert_int_equal(stage.screen.at.column, 0);
    print(&stage, "three\r\n");
    assert_screen(&stage, "one\ntwo\nthree\n" REGION);
    clear(&stage);
    assert_screen(&stage, "one\ntwo\nthree");
    print(&stage, "four\r\n"); /* and does not come back by itself */
    assert_screen(&stage, "one\ntwo\nthree\nfour");
    stage_close(&stage);
}

static void test_line_draws_below_partial_line_and_goes_on_at_its_end(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, 40, 4);
    print(&stage, "a\r\nb\r\nc\r\ntests/test_a.py \x1b[32m..");
    draw(&stage, &collecting);
    assert_row(&stage, 2, "tests/test_a.py ..");
    assert_row(&stage, 3, REGION);
    assert_int_equal(screen_cell(&stage.screen, 3, 0)->attr, 0); /* the output's green is not ours */
    print(&stage, ".");
    assert_int_equal(screen_cell(&stage.screen, 2, 18)->attr, 32); /* and comes back for the output */
    print(&stage, "F\x1b[0m");
    assert_row(&stage, 2, "tests/test_a.py ...F");
    assert_row(&stage, 3, REGION);
    assert_int_equal(stage.screen.at.column, 20);
    print(&stage, "  [100%]\r\n");
    assert_row(&stage, 2, "tests/test_a.py ...F  [100%]");
    assert_row(&stage, 3, REGION);
    clear(&stage);
    assert_screen(&stage, "a\nb\nc\ntests/test_a.py ...F  [100%]");
    stage_close(&stage);
}

static void test_line_leaves_the_region_alone_while_a_line_grows(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, 40, 6);
    print(&stage, "x");
    draw(&stage, &collecting);
    print(&stage, "\x1b[32m.\x1b[0m");
    assert_string_equal(str_text(&stage.written), "\x1b[32m.\x1b[0m"); /* nothing of ours in between: no flicker */
    print(&stage, "\r50%\x1b[K");
    assert_string_equal(str_text(&stage.written), "\r50%\x1b[K");
    assert_screen(&stage, "50%\n" REGION);
    stage_close(&stage);
}

static void test_line_erased_at_the_top_left_does_not_get_into_tmux_history(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, 40, 6);
    draw(&stage, &collecting);
    print(&stage, "first\r\n");
    assert_int_equal(stage.screen.history.len, 0);
    assert_screen(&stage, "first\n" REGION);
    stage_close(&stage);
}

static void test_line_writes_nothing_for_the_same_text(void **state)
{
    struct stage stage;
    struct run_view view = collecting;

    (void)state;
    stage_open(&stage, 40, 6);
    draw(&stage, &view);
    assert_int_equal(stage.n_writes, 1);
    view.elapsed_ns += 1000000; /* still 2.0 s */
    draw(&stage, &view);
    assert_int_equal(stage.n_writes, 0);
    line_output(&stage.line, "", 0);
    look(&stage);
    assert_int_equal(stage.n_writes, 0);
    clear(&stage);
    clear(&stage);
    assert_int_equal(stage.n_writes, 0);
    stage_close(&stage);
}

/* first, a draw, second: the region must not be there before second, and there after it. */
static void assert_waits(const char *first, const char *second, const char *wanted)
{
    struct stage stage;
    char *seen;

    stage_open(&stage, 40, 6);
    print(&stage, first);
    draw(&stage, &collecting);
    assert_int_equal(stage.n_writes, 0);
    print(&stage, second);
    seen = screen_text(&stage.screen, false);
    assert_string_equal(seen, wanted);
    free(seen);
    stage_close(&stage);
}

static void test_line_waits_for_a_place_it_can_come_back_from(void **state)
{
    (void)state;
    assert_waits("a\x1b", "[1mb\x1b[0m\r\n", "ab\n" REGION); /* escape sequence cut in the middle */
    assert_waits("a\x1b[3", "1mb", "ab\n" REGION);
    assert_waits("\xE4\xB8", "\xAD", "\xE4\xB8\xAD\n" REGION);                     /* character cut in the middle */
    assert_waits("\x1b]0;title", "\x07", REGION);                                  /* title being set */
    assert_waits("one\r\ntwo\r\n\x1b[A\x1b[A", "\r\n\r\n", "one\ntwo\n\n" REGION); /* output below the cursor */
    assert_waits("\xF0\x9F\x98\x80", "\r\n", "\xF0\x9F\x98\x80\n" REGION); /* width that terminals disagree on */
    assert_waits("\0337ab", "\0338\x1b[5G", "ab\n" REGION);                /* the program's own saved cursor */
    assert_waits("0123456789012345678901234567890123456789", "x",          /* waiting to wrap */
                 "0123456789012345678901234567890123456789\nx\n" REGION);
}

static void test_line_leaves_bars_of_several_rows_alone(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, 40, 8);
    draw(&stage, &collecting);
    print(&stage, "outer  10%\r\ninner  10%\x1b[A\r"); /* as progress bars below each other do */
    assert_screen(&stage, "outer  10%\ninner  10%");
    print(&stage, "outer  20%\r\ninner  20%\x1b[A\r");
    draw(&stage, &collecting);
    assert_screen(&stage, "outer  20%\ninner  20%");
    print(&stage, "\r\n\r\n");
    assert_screen(&stage, "outer  20%\ninner  20%\n" REGION);
    stage_close(&stage);
}

static void test_line_keeps_a_progress_bar_of_a_test(void **state)
{
    struct stage stage;
    char text[32];

    (void)state;
    stage_open(&stage, 40, 5);
    print(&stage, "1\r\n2\r\n3\r\n4\r\n5\r\n");
    for (int percent = 0; percent <= 100; percent++) {
        snprintf(text, sizeof text, "\rloading %3d%%", percent);
        print(&stage, text);
        draw(&stage, &collecting);
    }
    assert_row(&stage, 3, "loading 100%");
    assert_row(&stage, 4, REGION);
    print(&stage, "\r\n");
    clear(&stage);
    assert_screen(&stage, "1\n2\n3\n4\n5\nloading 100%");
    stage_close(&stage);
}

static void test_line_loses_no_line_of_a_burst(void **state)
{
    static char burst[10000 * 12];
    struct str wanted = STR_INIT;
    struct stage stage;
    size_t n = 0;
    char *seen;

    (void)state;
    stage_open(&stage, 80, 24);
    for (int i = 0; i < 10000; i++) {
        n += (size_t)snprintf(burst + n, sizeof burst - n, "line %05d\r\n", i);
        str_addf(&wanted, "line %05d\n", i);
    }
    for (size_t at = 0; at < n; at += 1021) { /* lines and "\r\n" are cut anywhere */
        line_output(&stage.line, burst + at, n - at < 1021 ? n - at : 1021);
        look(&stage);
        draw(&stage, &collecting);
    }
    str_puts(&wanted, REGION);
    seen = screen_text(&stage.screen, false);
    assert_string_equal(seen, str_text(&wanted));
    free(seen);
    str_release(&wanted);
    stage_close(&stage);
}

static struct run_view with_workers(struct view_worker *workers, uint32_t n)
{
    static const char id[] = "tests/test_x.py::test_y[\xE4\xB8\xAD\xE6\x96\x87\x1b[31m]";

    for (uint32_t i = 0; i < n; i++)
        workers[i] = (struct view_worker){.slot = i,
                                          .state = VIEW_WORKER_RUNNING,
                                          .node_id = id,
                                          .node_id_len = sizeof id - 1,
                                          .running_ns = 2 * S_NS};
    return (struct run_view){.phase = VIEW_TESTING,
                             .n_total = 100,
                             .n_done = 50,
                             .elapsed_ns = 61 * S_NS,
                             .eta_ns = S_NS,
                             .workers = workers,
                             .n_workers = n};
}

static void test_line_fits_every_size(void **state)
{
    static const struct term {
        uint32_t columns;
        uint32_t rows;
    } sizes[] = {{20, 24}, {40, 10}, {80, 24}, {200, 50}, {20, 4}, {80, 3}, {7, 3}, {1, 1}, {3, 2}};
    struct view_worker workers[12];

    (void)state;
    for (size_t i = 0; i < HS_COUNT(sizes); i++) {
        const struct run_view view = with_workers(workers, HS_COUNT(workers));
        struct stage stage;

        stage_open(&stage, sizes[i].columns, sizes[i].rows);
        for (int n = 0; n < 60; n++) {
            print(&stage, "x\r\n");
            draw(&stage, &view); /* look() sees to it that nothing is cut at the edge */
        }
        assert_true(stage.line.n_wanted <= sizes[i].rows / 2);
        clear(&stage);
        for (uint32_t row = 0; row < sizes[i].rows && stage.screen.history.len == 0; row++)
            assert_row(&stage, row, row < 60 ? "x" : "");
        assert_int_equal(stage.screen.at.column, 0);
        stage_close(&stage);
    }
}

static void test_line_makes_way_for_a_larger_and_a_smaller_region(void **state)
{
    struct view_worker workers[3];
    struct run_view view;
    struct stage stage;

    (void)state;
    stage_open(&stage, 80, 8);
    print(&stage, "1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7\r\n8 ..");
    for (int round = 0; round < 3; round++) {
        view = with_workers(workers, 3);
        draw(&stage, &view);
        assert_row(&stage, 3, "8 ..");
        assert_row(&stage, 7, "gw2  2.0 s  tests/test_x.py::test_y[\xE4\xB8\xAD\xE6\x96\x87^[[31m]");
        view = with_workers(workers, 1);
        draw(&stage, &view);
        assert_row(&stage, 3, "8 ..");
        assert_row(&stage, 5, "gw0  2.0 s  tests/test_x.py::test_y[\xE4\xB8\xAD\xE6\x96\x87^[[31m]");
        assert_row(&stage, 6, "");
    }
    clear(&stage);
    assert_screen(&stage, "1\n2\n3\n4\n5\n6\n7\n8 ..");
    stage_close(&stage);
}

static void resize(struct stage *stage, uint32_t columns, uint32_t rows)
{
    screen_resize(&stage->screen, columns, rows); /* the terminal is first, then we hear of it */
    line_resize(&stage->line, columns, rows);
    look(stage);
}

static void test_line_survives_a_resize(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, 80, 10);
    print(&stage, "one\r\ntwo ..");
    draw(&stage, &collecting);
    resize(&stage, 30, 5);
    assert_screen(&stage, "one\ntwo ..");
    draw(&stage, &collecting);
    assert_screen(&stage, "one\ntwo ..\n" REGION);
    print(&stage, ".\r\n");
    resize(&stage, 20, 3);
    assert_screen(&stage, "one\ntwo ...");
    draw(&stage, &collecting);
    assert_screen(&stage, "one\ntwo ...\ncollecting 1,234 te");
    resize(&stage, 200, 50);
    draw(&stage, &collecting);
    assert_screen(&stage, "one\ntwo ...\n" REGION);
    print(&stage, "a line of thirty-five characters ..");
    resize(&stage, 30, 10); /* terminals fold it or cut it: wait for the next line */
    draw(&stage, &collecting);
    assert_int_equal(stage.n_writes, 0);
    print(&stage, "\r\n");
    assert_row(&stage, 3, REGION);
    stage_close(&stage);
}

static void test_line_passes_output_through_without_a_terminal(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, 80, 24);
    stage.line.options.live = false;
    draw(&stage, &collecting);
    assert_int_equal(stage.n_writes, 0);
    print(&stage, "a\x1b[");
    assert_string_equal(str_text(&stage.written), "a\x1b[");
    clear(&stage);
    assert_int_equal(stage.n_writes, 0);
    stage_close(&stage);
}

static void test_line_remembers_that_the_terminal_is_gone(void **state)
{
    struct stage stage;

    (void)state;
    signal(SIGPIPE, SIG_IGN);
    stage_open(&stage, 80, 24);
    close(stage.pipe[0]);
    line_output(&stage.line, "x", 1);
    assert_int_equal(stage.line.trouble, -EPIPE);
    line_draw(&stage.line, &collecting);
    line_clear(&stage.line);
    assert_int_equal(stage.line.trouble, -EPIPE);
    stage.pipe[0] = dup(stage.pipe[1]);
    stage_close(&stage);
}

/* xorshift: the same bytes on every machine. */
static void fill_random(unsigned char *bytes, size_t n, uint32_t seed)
{
    uint32_t x = seed * 2654435761u + 1;

    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        bytes[i] = (unsigned char)(x >> 11);
    }
}

static void test_line_leaves_no_trace_of_random_runs(void **state)
{
    unsigned char bytes[1000];

    (void)state;
    for (uint32_t seed = 1; seed <= 400; seed++) {
        fill_random(bytes, sizeof bytes, seed);
        line_play_same(bytes, sizeof bytes);
        line_play_any(bytes, sizeof bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_draws_below_complete_lines),
        cmocka_unit_test(test_line_draws_below_partial_line_and_goes_on_at_its_end),
        cmocka_unit_test(test_line_leaves_the_region_alone_while_a_line_grows),
        cmocka_unit_test(test_line_erased_at_the_top_left_does_not_get_into_tmux_history),
        cmocka_unit_test(test_line_writes_nothing_for_the_same_text),
        cmocka_unit_test(test_line_waits_for_a_place_it_can_come_back_from),
        cmocka_unit_test(test_line_leaves_bars_of_several_rows_alone),
        cmocka_unit_test(test_line_keeps_a_progress_bar_of_a_test),
        cmocka_unit_test(test_line_loses_no_line_of_a_burst),
        cmocka_unit_test(test_line_fits_every_size),
        cmocka_unit_test(test_line_makes_way_for_a_larger_and_a_smaller_region),
        cmocka_unit_test(test_line_survives_a_resize),
        cmocka_unit_test(test_line_passes_output_through_without_a_terminal),
        cmocka_unit_test(test_line_remembers_that_the_terminal_is_gone),
        cmocka_unit_test(test_line_leaves_no_trace_of_random_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
