/*
 * demo_line.c - the live region as a person sees it, for looking at it in a real terminal and for the recorded screens
 * in tests/golden (tests/e2e/test_screen.py).
 *
 * Usage: demo_line [--stop]   with --stop it ends in the middle and leaves the region on the screen, then waits for a
 * line on its input; the size is the terminal's and times are invented, so that a screen depends on nothing else.
 */
#include "os/term.h"
#include "ui/line.h"
#include "ui/report.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MS_NS UINT64_C(1000000)
#define N_TESTS 600

static const char *const slow_ids[] = {
    "tests/integration/test_checkout.py::TestCheckout::test_pays_with_every_card[visa-EUR-3ds]",
    "tests/test_\xE4\xB8\xAD\xE6\x96\x87.py::test_wide[\xF0\x9F\x98\x80]",
    "tests/test_short.py::test_x",
};

static struct view_worker workers[HS_COUNT(slow_ids)];

static struct run_view view_at(uint32_t n_done)
{
    struct run_view view = {.phase = VIEW_TESTING,
                            .n_total = N_TESTS,
                            .n_done = n_done,
                            .elapsed_ns = 400 * MS_NS + n_done * 20 * MS_NS,
                            .eta_ns = (N_TESTS - n_done) * 20 * MS_NS,
                            .eta_trusted = n_done > 100,
                            .workers = workers,
                            .n_workers = HS_COUNT(workers)};

    view.n_outcome[OUTCOME_FAILED] = n_done / 150;
    view.n_outcome[OUTCOME_SKIPPED] = n_done / 40;
    for (uint32_t i = 0; i < HS_COUNT(workers); i++)
        workers[i] = (struct view_worker){.slot = i * 5,
                                          .state = VIEW_WORKER_RUNNING,
                                          .node_id = slow_ids[i],
                                          .node_id_len = strlen(slow_ids[i]),
                                          .running_ns = (n_done + i * 45) % 150 * 20 * MS_NS};
    return view;
}

static void print(struct line *line, const char *text)
{
    line_output(line, text, strlen(text));
}

static void play_start(struct line *line)
{
    const struct run_view starting = {.phase = VIEW_STARTING, .elapsed_ns = 150 * MS_NS};
    const struct run_view collecting = {.phase = VIEW_COLLECTING, .n_total = N_TESTS, .elapsed_ns = 350 * MS_NS};

    line_draw(line, &starting);
    print(line, "============ test session starts ============\r\nrootdir: /demo\r\n");
    line_draw(line, &collecting);
    print(line, "collected 600 items\r\n\r\n");
}

static void follow_size(struct line *line)
{
    struct term_size size;

    if (term_size(1, &size) == 0 && (size.columns != line->options.columns || size.rows != line->options.rows))
        line_resize(line, size.columns, size.rows);
}

static void play_tests(struct line *line, uint32_t until, long pause_ns)
{
    const struct timespec pause = {.tv_nsec = pause_ns};

    for (uint32_t i = 0; i < until; i++) {
        const struct run_view view = view_at(i + 1);
        char text[64];

        if (i % 30 == 0) {
            snprintf(text, sizeof text, "%stests/test_%02u.py ", i ? "\r\n" : "", i / 30);
            print(line, text);
        }
        print(line, i % 150 == 149 ? "\x1b[31mF\x1b[0m" : i % 40 == 39 ? "\x1b[33ms\x1b[0m" : "\x1b[32m.\x1b[0m");
        follow_size(line);
        line_draw(line, &view);
        if (pause_ns)
            nanosleep(&pause, NULL);
    }
}

static void play_end(struct line *line, const struct line_options *options)
{
    struct report_totals totals = {.wall_ns = 12400 * MS_NS,
                                   .tests_ns = 38000 * MS_NS,
                                   .start_up_ns = 400 * MS_NS,
                                   .idle_ns = 900 * MS_NS,
                                   .worker_ns = 36000 * MS_NS,
                                   .n_workers = 3,
                                   .n_tests = N_TESTS};
    const struct report_options how = {.columns = options->columns, .colour = options->colour, .utf8 = options->utf8};
    struct str out = STR_INIT;

    for (uint32_t i = 0; i < HS_COUNT(slow_ids); i++)
        report_add_test(&totals, &(struct report_test){slow_ids[i], strlen(slow_ids[i]), (3000 - i * 700) * MS_NS});
    line_clear(line);
    print(line, "\r\n============ 4 failed, 581 passed, 15 skipped in 12.31s ============\r\n");
    report_render(&out, &totals, &how);
    print(line, str_text(&out));
    str_release(&out);
}

int main(int argc, char **argv)
{
    const bool stop = argc > 1 && strcmp(argv[1], "--stop") == 0;
    struct term_size size;
    struct line_options options = {.fd = 1, .live = true, .colour = term_has_colour(1), .utf8 = term_is_utf8()};
    struct line line;
    char end;

    if (term_size(1, &size) < 0)
        options.live = false;
    options.columns = size.columns;
    options.rows = size.rows;
    if (options.live)
        term_raw(0, true); /* an echoed Enter would move the cursor behind our back */
    line_init(&line, &options);
    play_start(&line);
    play_tests(&line, stop ? 255 : N_TESTS, stop ? 0 : 10000000);
    if (stop && read(0, &end, 1) < 0)
        return 1;
    play_end(&line, &options);
    line_release(&line);
    return line.trouble ? 1 : 0;
}
