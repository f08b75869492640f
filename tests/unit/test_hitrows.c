#include "harness.h"

#include "run/hitrows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    struct hits hits;
    struct hitrows rows;
    int fd;
    char seen[4000];
};

static int open_hits(void **state)
{
    static struct fixture f;
    struct err err = {0};

    f = (struct fixture){.fd = hits_create(&err)};
    if (f.fd < 0 || hits_attach(&f.hits, f.fd, &err) < 0)
        return -1;
    *state = &f;
    return 0;
}

static int close_hits(void **state)
{
    struct fixture *f = *state;

    hitrows_close(&f->rows);
    hits_detach(&f->hits);
    close(f->fd);
    return 0;
}

static void say(struct fixture *f, const char *text)
{
    strncat(f->seen, text, sizeof f->seen - strlen(f->seen) - 1);
}

static int see_arc(uint32_t file, uint32_t context, int32_t from, int32_t to, void *data)
{
    char text[100];

    snprintf(text, sizeof text, "%u.%u:%d>%d ", file, context, from, to);
    say(data, text);
    return 0;
}

static int see_lines(uint32_t file, uint32_t context, const uint8_t *bits, size_t n_bytes, void *data)
{
    char text[100];

    snprintf(text, sizeof text, "%u.%u:", file, context);
    say(data, text);
    for (size_t i = 0; i < n_bytes; i++) {
        snprintf(text, sizeof text, "%02x", bits[i]);
        say(data, text);
    }
    say(data, " ");
    return 0;
}

/* What the visits tell, with those rows. */
static const char *walk(struct fixture *f, bool branch, const uint32_t *files, const uint32_t *contexts, uint32_t own)
{
    struct err err = {0};

    hitrows_close(&f->rows);
    f->seen[0] = '\0';
    assert_int_equal(hitrows_open(&f->rows, &f->hits, branch, &err), 0);
    hitrows_sort(&f->rows, &(struct hitrows_ids){files, contexts, own});
    if (branch)
        assert_int_equal(hitrows_each_arc(&f->rows, see_arc, f), 0);
    else
        assert_int_equal(hitrows_each_lines(&f->rows, see_lines, f), 0);
    return f->seen;
}

static void add_arc(struct fixture *f, uint32_t context, struct hits_file *file, int32_t from, int32_t to)
{
    const uint32_t number = hits_arc(&f->hits, file, from, to);
    uint8_t *bits = hits_piece(&f->hits, context, file->id, true, number / HITS_PIECE_BITS);

    assert_non_null(bits);
    hits_set(bits, number % HITS_PIECE_BITS);
}

static void add_line(struct fixture *f, uint32_t context, struct hits_file *file, uint32_t line)
{
    uint8_t *bits = hits_piece(&f->hits, context, file->id, false, line / HITS_PIECE_BITS);

    assert_non_null(bits);
    hits_set(bits, line % HITS_PIECE_BITS);
}

static void test_nothing_ran(void **state)
{
    struct fixture *f = *state;

    hits_file(&f->hits, "a", 1, 100, 64);
    hits_context(&f->hits, "c", 1);
    assert_string_equal(walk(f, true, (uint32_t[]){0}, (uint32_t[]){0}, 0), "");
    assert_string_equal(walk(f, false, (uint32_t[]){0}, (uint32_t[]){0}, 0), "");
    assert_false(f->rows.file_ran[0]);
    assert_false(f->rows.context_ran[0]);
    assert_false(f->rows.own_ran);
}

static void test_rows_come_in_the_order_that_was_given(void **state)
{
    struct fixture *f = *state;
    struct hits_file *a = hits_file(&f->hits, "a", 1, 100, 64);
    struct hits_file *b = hits_file(&f->hits, "b", 1, 100, 64);
    const uint32_t c = hits_context(&f->hits, "c", 1);
    const uint32_t d = hits_context(&f->hits, "d", 1);

    atomic_store(&f->hits.head->by_context, HITS_LINES_BY_CONTEXT);
    add_arc(f, c, a, 5, 6);
    add_arc(f, c, a, 5, -1);
    add_arc(f, d, a, 2, 3);
    add_arc(f, c, b, 9, 8);
    add_arc(f, d, b, 9, 8);
    assert_string_equal(walk(f, true, (uint32_t[]){2, 1}, (uint32_t[]){2, 1}, 0),
                        "1.1:9>8 1.2:9>8 2.1:2>3 2.2:5>-1 2.2:5>6 ");
    assert_string_equal(walk(f, true, (uint32_t[]){1, 2}, (uint32_t[]){3, 7}, 0),
                        "1.3:5>-1 1.3:5>6 1.7:2>3 2.3:9>8 2.7:9>8 ");
}

static void test_numbers_of_one_path_or_context_are_one_row(void **state)
{
    struct fixture *f = *state;
    struct hits_file *a = hits_file(&f->hits, "a", 1, 100, 64);
    struct hits_file *wider = hits_file(&f->hits, "a", 1, 1000, 64);
    const uint32_t c = hits_context(&f->hits, "c", 1);
    const uint32_t again = hits_context(&f->hits, "c", 1);

    atomic_store(&f->hits.head->by_context, HITS_LINES_BY_CONTEXT);
    hits_arc(&f->hits, wider, 50, 51); /* other numbers than those of a */
    add_arc(f, c, a, 1, 2);
    add_arc(f, again, wider, 1, 2);
    add_arc(f, again, wider, 1, 3);
    add_line(f, c, a, 3);
    add_line(f, again, wider, 300);
    assert_string_equal(walk(f, true, (uint32_t[]){1, 1}, (uint32_t[]){1, 1}, 0),
                        "1.1:1>2 1.1:1>3 1.1:3>3 1.1:300>300 ");
    assert_non_null(strstr(walk(f, false, (uint32_t[]){1, 1}, (uint32_t[]){1, 1}, 0), "1.1:08000000"));
    assert_int_equal(strlen(f->seen), 4 + 2 * (300 / 8 + 1) + 1);
}

static void test_a_line_that_something_leaves_needs_no_arc_to_itself(void **state)
{
    struct fixture *f = *state;
    struct hits_file *a = hits_file(&f->hits, "a", 1, 100, 64);
    const uint32_t c = hits_context(&f->hits, "c", 1);
    const uint32_t d = hits_context(&f->hits, "d", 1);

    atomic_store(&f->hits.head->by_context, HITS_LINES_BY_CONTEXT);
    for (uint32_t line = 1; line < 6; line++)
        add_line(f, c, a, line);
    add_arc(f, c, a, 2, -1);
    add_arc(f, c, a, 3, 4);
    add_arc(f, c, a, 70, 4); /* behind the last line that ran */
    add_line(f, d, a, 3);
    add_line(f, d, a, 90);
    assert_string_equal(walk(f, true, (uint32_t[]){1}, (uint32_t[]){1, 2}, 0),
                        "1.1:1>1 1.1:2>-1 1.1:3>4 1.1:4>4 1.1:5>5 1.1:70>4 1.2:3>3 1.2:90>90 ");
}

static void test_without_contexts_it_is_what_the_files_hold(void **state)
{
    struct fixture *f = *state;
    struct hits_file *a = hits_file(&f->hits, "a", 1, 100, 64);
    struct hits_file *b = hits_file(&f->hits, "b", 1, 100, 64);

    hits_arc(&f->hits, a, 7, 8);
    hits_set(hits_lines(&f->hits, a), 7);
    hits_set(hits_lines(&f->hits, a), 9);
    hits_set(hits_lines(&f->hits, b), 1);
    assert_string_equal(walk(f, true, (uint32_t[]){3, 1}, (uint32_t[]){0}, 1), "1.1:1>1 3.1:7>8 3.1:9>9 ");
    assert_true(f->rows.own_ran);
    assert_string_equal(walk(f, false, (uint32_t[]){2, 1}, (uint32_t[]){0}, 1), "1.1:02 2.1:8002 ");
}

static void test_functions_by_context_come_with_the_rest(void **state)
{
    struct fixture *f = *state;
    struct hits_file *a = hits_file(&f->hits, "a", 1, 100, 64);
    const uint32_t c = hits_context(&f->hits, "c", 1);

    atomic_store(&f->hits.head->by_context, HITS_FUNCTIONS_BY_CONTEXT);
    hits_set(hits_lines(&f->hits, a), 9);
    add_line(f, c, a, 4);
    assert_string_equal(walk(f, false, (uint32_t[]){1}, (uint32_t[]){2}, 1), "1.1:0002 1.2:10 ");
}

/* Many lines, files and contexts, beside a table of what was set. */
static void test_random_lines_are_all_there(void **state)
{
    enum { FILES = 7, CONTEXTS = 11, LINES = 700 };
    static uint8_t wanted[FILES][CONTEXTS][LINES / 8 + 1];
    static const uint32_t file_rows[] = {7, 6, 5, 4, 3, 2, 1};
    static const uint32_t context_rows[] = {1, 3, 5, 7, 9, 11, 2, 4, 6, 8, 10};
    struct fixture *f = *state;
    struct hits_file *files[FILES];
    char want[100];

    memset(wanted, 0, sizeof wanted);
    atomic_store(&f->hits.head->by_context, HITS_LINES_BY_CONTEXT);
    for (int i = 0; i < FILES; i++) {
        snprintf(want, sizeof want, "%d.py", i);
        files[i] = hits_file(&f->hits, want, strlen(want), LINES, 0);
    }
    for (int i = 0; i < CONTEXTS; i++)
        assert_int_equal(hits_context(&f->hits, "x", 1), i);
    srandom(1);
    for (int i = 0; i < 3000; i++) {
        const uint32_t file = (uint32_t)random() % FILES;
        const uint32_t context = (uint32_t)random() % CONTEXTS;
        const uint32_t line = (uint32_t)random() % LINES;

        add_line(f, context, files[file], line);
        wanted[file][context][line / 8] |= (uint8_t)(1u << line % 8);
    }
    struct err err = {0};
    assert_int_equal(hitrows_open(&f->rows, &f->hits, false, &err), 0);
    hitrows_sort(&f->rows, &(struct hitrows_ids){file_rows, context_rows, 0});
    f->seen[0] = '\0';
    assert_int_equal(hitrows_each_lines(&f->rows, see_lines, f), 0);
    /* The first rows are enough for the text; the last file has row 1. */
    for (uint32_t row = 1; row < 4; row++)
        for (int context = 0; context < CONTEXTS; context++)
            if (context_rows[context] == row) {
                size_t n = sizeof wanted[0][0];

                while (!wanted[FILES - 1][context][n - 1])
                    n--;
                snprintf(want, sizeof want, "1.%u:", row);
                const char *at = strstr(f->seen, want);
                assert_non_null(at);
                at += strlen(want);
                for (size_t i = 0; i < n; i++) {
                    snprintf(want, sizeof want, "%02x", wanted[FILES - 1][context][i]);
                    assert_memory_equal(at + 2 * i, want, 2);
                }
                assert_int_equal(at[2 * n], ' ');
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_ran, open_hits, close_hits),
        cmocka_unit_test_setup_teardown(test_rows_come_in_the_order_that_was_given, open_hits, close_hits),
        cmocka_unit_test_setup_teardown(test_numbers_of_one_path_or_context_are_one_row, open_hits, close_hits),
        cmocka_unit_test_setup_teardown(test_a_line_that_something_leaves_needs_no_arc_to_itself, open_hits,
                                        close_hits),
        cmocka_unit_test_setup_teardown(test_without_contexts_it_is_what_the_files_hold, open_hits, close_hits),
        cmocka_unit_test_setup_teardown(test_functions_by_context_come_with_the_rest, open_hits, close_hits),
        cmocka_unit_test_setup_teardown(test_random_lines_are_all_there, open_hits, close_hits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
