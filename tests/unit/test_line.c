#include "harness.h"
#include "screen.h"

#include "ui/line.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define S_NS 1000000000u

/* A line that writes into a file, and a screen that is shown what was written. */
struct stage {
    struct line line;
    struct screen screen;
    int fd;
    off_t read_to;
    uint32_t n_writes; /* by size of the file: calls that wrote something */
};

static void stage_open(struct stage *stage, uint32_t columns, uint32_t rows)
{
    struct line_options options = {.live = true, .utf8 = true, .columns = columns, .rows = rows};

    *stage = (struct stage){.fd = memfd_create("line", MFD_CLOEXEC)};
    assert_true(stage->fd >= 0);
    options.fd = stage->fd;
    line_init(&stage->line, &options);
    screen_init(&stage->screen, columns, rows);
}

static void stage_close(struct stage *stage)
{
    line_release(&stage->line);
    screen_release(&stage->screen);
    close(stage->fd);
}

static void stage_look(struct stage *stage)
{
    char bytes[4096];
    ssize_t n;

    while ((n = pread(stage->fd, bytes, sizeof bytes, stage->read_to)) > 0) {
        screen_write(&stage->screen, bytes, (size_t)n);
        stage->read_to += n;
        stage->n_writes++;
    }
}

static void print(struct stage *stage, const char *text)
{
    line_output(&stage->line, text, strlen(text));
    stage_look(stage);
}

static void draw(struct stage *stage, const struct run_view *view)
{
    line_draw(&stage->line, view);
    stage_look(stage);
}

static void clear(struct stage *stage)
{
    line_clear(&stage->line);
    stage_look(stage);
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

static const struct run_view collecting = {.phase = VIEW_COLLECTING, .n_total = 1234, .elapsed_ns = 2 * S_NS};


static void test_line_draws_below_complete_lines(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, 40, 6);
    print(&stage, "one\r\ntwo\r\n");
    draw(&stage, &collecting);
    assert_screen(&stage, "one\ntwo\ncollecting 1,234 tests  2.0 s");
    assert_int_equal(stage.screen.at.row, 2);
    assert_int_equal(stage.screen.at.column, 0);
    print(&stage, "three\r\n");
    assert_screen(&stage, "one\ntwo\nthree\ncollecting 1,234 tests  2.0 s");
    clear(&stage);
    assert_screen(&stage, "one\ntwo\nthree");
    stage_close(&stage);
}

static void test_line_draws_below_partial_line_and_goes_on_at_its_end(void **state)
{
    struct stage stage;

    (void)state;
    stage_open(&stage, 40, 4);
    print(&stage, "a\r\nb\r\nc\r\ntests/test_a.py \x1b[32m..");
    draw(&stage, &collecting);
    assert_screen(&stage, "a\nb\nc\ntests/test_a.py ..\ncollecting 1,234 tests  2.0 s");
    print(&stage, ".");
    print(&stage, "F\x1b[0m");
    assert_row(&stage, 2, "tests/test_a.py ...F");
    assert_row(&stage, 3, "collecting 1,234 tests  2.0 s");
    assert_int_equal(stage.screen.at.column, 20);
    print(&stage, "  [100%]\r\n");
    assert_row(&stage, 2, "tests/test_a.py ...F  [100%]");
    assert_row(&stage, 3, "collecting 1,234 tests  2.0 s");
    clear(&stage);
    assert_screen(&stage, "a\nb\nc\ntests/test_a.py ...F  [100%]");
    stage_close(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_draws_below_complete_lines),
        cmocka_unit_test(test_line_draws_below_partial_line_and_goes_on_at_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
