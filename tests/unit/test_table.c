#include "harness.h"

#include "ui/table.h"
#include "ui/text.h"

#include <string.h>

#define DOTS "\xE2\x80\xA6"

static const struct table_column columns[] = {
    {"time", TABLE_RIGHT, 0}, {"share", TABLE_RIGHT, 1}, {"none", TABLE_LEFT, 0},
    {"last", TABLE_LEFT, 2},  {"test", TABLE_ELIDED, 0},
};

static void add(struct table *table, const char *time, const char *share, const char *last, const char *id)
{
    table_addf(table, "%s", time);
    table_addf(table, "%s", share);
    table_add(table, "", 0);
    table_addf(table, "%s", last);
    table_add(table, id, strlen(id));
}

static void fill(struct table *table)
{
    table_init(table, columns, HS_COUNT(columns));
    add(table, "1.2 s", "9%", "..F", "tests/test_a.py::test_one");
    add(table, "850 ms", "12.5%", ".", "tests/deep/down/test_b.py::TestThing::test_two[parameter]");
}

static void assert_table(uint32_t width, const char *wanted)
{
    const struct table_options options = {.columns = width, .utf8 = true};
    struct str out = STR_INIT;
    struct table table;

    fill(&table);
    table_render(&out, &table, &options);
    assert_string_equal(str_text(&out), wanted);
    str_release(&out);
    table_release(&table);
}

static void test_table_aligns_and_leaves_out_empty_columns(void **state)
{
    (void)state;
    assert_table(0, "  time  share  last  test\n"
                    " 1.2 s     9%  ..F   tests/test_a.py::test_one\n"
                    "850 ms  12.5%  .     tests/deep/down/test_b.py::TestThing::test_two[parameter]\n");
}

static void test_table_elides_then_leaves_out_what_one_can_do_without(void **state)
{
    (void)state;
    assert_table(60, "  time  share  last  test\n"
                     " 1.2 s     9%  ..F   tests/test_a.py::test_one\n"
                     "850 ms  12.5%  .     tests/deep/d" DOTS "Thing::test_two[parameter]\n");
    assert_table(40, "  time  share  test\n"
                     " 1.2 s     9%  tests/test_a.py::test_one\n"
                     "850 ms  12.5%  tests/de" DOTS "t_two[parameter]\n");
    assert_table(32, "  time  test\n"
                     " 1.2 s  tests/t" DOTS "t_a.py::test_one\n"
                     "850 ms  tests/d" DOTS "t_two[parameter]\n");
}

static void test_table_rows_are_never_wider_than_the_terminal(void **state)
{
    (void)state;
    for (uint32_t width = 16; width < 100; width++) {
        const struct table_options options = {.columns = width, .utf8 = true};
        struct str out = STR_INIT;
        struct table table;

        fill(&table);
        table_render(&out, &table, &options);
        for (const char *line = str_text(&out); *line; line = strchr(line, '\n') + 1)
            assert_true(text_cells(line, (size_t)(strchr(line, '\n') - line)) <= width);
        str_release(&out);
        table_release(&table);
    }
}

static void test_table_shows_no_control_characters(void **state)
{
    static const struct table_column one[] = {{"id", TABLE_ELIDED, 0}};
    const struct table_options options = {.colour = true, .utf8 = true};
    struct str out = STR_INIT;
    struct table table;

    (void)state;
    table_init(&table, one, 1);
    table_add(&table, "a\x1b[31mb\nc", 9);
    table_render(&out, &table, &options);
    assert_string_equal(str_text(&out), "\x1b[2mid\x1b[m\na^[[31mb^Jc\n");
    str_release(&out);
    table_release(&table);
}

static void test_table_without_rows_is_nothing(void **state)
{
    struct str out = STR_INIT;
    struct table table;

    (void)state;
    table_init(&table, columns, HS_COUNT(columns));
    table_render(&out, &table, &(struct table_options){.columns = 80});
    assert_string_equal(str_text(&out), "");
    table_release(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_aligns_and_leaves_out_empty_columns),
        cmocka_unit_test(test_table_elides_then_leaves_out_what_one_can_do_without),
        cmocka_unit_test(test_table_rows_are_never_wider_than_the_terminal),
        cmocka_unit_test(test_table_shows_no_control_characters),
        cmocka_unit_test(test_table_without_rows_is_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
