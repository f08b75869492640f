#include "harness.h"

#include "base/clock.h"
#include "base/str.h"
#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scene {
    char *folder;    /* owned */
    struct str path; /* owned */
};

static int set_up(void **state)
{
    struct scene *s = hs_alloc(sizeof *s);

    s->folder = scratch_make();
    str_addf(&s->path, "%s/trace", s->folder);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;

    trace_close();
    clock_resume();
    str_release(&s->path);
    scratch_remove(s->folder);
    free(s);
    return 0;
}

static struct str read_all(const char *path)
{
    struct str text = STR_INIT;
    char part[4096];
    FILE *file = fopen(path, "re");
    size_t n;

    assert_non_null(file);
    while ((n = fread(part, 1, sizeof part, file)) > 0)
        str_add(&text, part, n);
    fclose(file);
    return text;
}

static void test_off_evaluates_nothing(void **state)
{
    int evaluated = 0;

    (void)state;
    assert_int_equal(trace_open(NULL), 0);
    assert_false(trace_on());
    trace_event("never", TRACE_U64("n", ++evaluated));
    assert_int_equal(evaluated, 0);
}

static void test_an_event_is_one_json_line(void **state)
{
    const struct scene *s = *state;
    char expected[300];
    struct str text;

    clock_stop_at(12345);
    assert_int_equal(trace_open(str_text(&s->path)), 0);
    trace_event("plain");
    trace_event("all", TRACE_U64("u", UINT64_MAX), TRACE_I64("i", -3), TRACE_BOOL("yes", true),
                TRACE_TEXT("text", "a\"b\n"), TRACE_TEXT("none", NULL), TRACE_BYTES("bytes", "\xff!", 2));
    text = read_all(str_text(&s->path));
    snprintf(expected, sizeof expected,
             "{\"t\":12345,\"pid\":%d,\"ev\":\"plain\"}\n"
             "{\"t\":12345,\"pid\":%d,\"ev\":\"all\",\"u\":18446744073709551615,\"i\":-3,\"yes\":true,"
             "\"text\":\"a\\\"b\\n\",\"none\":null,\"bytes\":\"\\ufffd!\"}\n",
             (int)getpid(), (int)getpid());
    assert_string_equal(str_text(&text), expected);
    str_release(&text);
}

enum { CHILDREN = 4, EVENTS = 500 };

static int write_many(void *arg)
{
    char long_text[600];

    memset(long_text, 'a' + *(int *)arg, sizeof long_text);
    for (int i = 0; i < EVENTS; i++)
        trace_event("many", TRACE_BYTES("text", long_text, sizeof long_text));
    return 0;
}

/* True when the line (without its newline) is one whole event of write_many. */
static bool line_is_whole(const char *line, size_t n)
{
    const char *text = strstr(line, "\"text\":\"");

    if (strncmp(line, "{\"t\":", 5) != 0 || !text || text + 8 + 600 + 2 != line + n)
        return false;
    for (int i = 1; i < 600; i++)
        if (text[8 + i] != text[8])
            return false;
    return memcmp(line + n - 2, "\"}", 2) == 0;
}

static void test_lines_of_several_processes_do_not_mix(void **state)
{
    const struct scene *s = *state;
    int numbers[CHILDREN];
    pid_t pids[CHILDREN];
    size_t lines = 0;
    struct str text;

    assert_int_equal(trace_open(str_text(&s->path)), 0);
    for (int i = 0; i < CHILDREN; i++) {
        numbers[i] = i;
        pids[i] = child_start(write_many, &numbers[i]);
    }
    for (int i = 0; i < CHILDREN; i++)
        assert_int_equal(child_wait(pids[i]), 0);
    text = read_all(str_text(&s->path));
    for (const char *at = str_text(&text); *at; lines++) {
        const char *end = strchr(at, '\n');

        assert_non_null(end);
        assert_true(line_is_whole(at, (size_t)(end - at)));
        at = end + 1;
    }
    assert_int_equal(lines, CHILDREN * EVENTS);
    str_release(&text);
}

static void test_a_closed_descriptor_that_became_another_file_is_left_alone(void **state)
{
    const struct scene *s = *state;
    struct str other = STR_INIT;
    struct str text;
    int fd;

    str_addf(&other, "%s/other", s->folder);
    assert_int_equal(trace_open(str_text(&s->path)), 0);
    fd = open(str_text(&other), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && dup2(fd, trace_fd) == trace_fd);
    trace_event("lost");
    assert_false(trace_on());
    text = read_all(str_text(&other));
    assert_int_equal(text.len, 0);
    str_release(&text);
    str_release(&other);
}

static void test_a_file_that_cannot_be_opened_is_said(void **state)
{
    (void)state;
    assert_int_equal(trace_open("/nowhere/at/all"), -ENOENT);
    assert_false(trace_on());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_off_evaluates_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_event_is_one_json_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lines_of_several_processes_do_not_mix, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_closed_descriptor_that_became_another_file_is_left_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_that_cannot_be_opened_is_said, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
