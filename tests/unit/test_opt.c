#include "harness.h"

#include "base/opt.h"

#include <string.h>

struct options {
    bool quiet;
    bool fast;
    uint32_t retries;
    uint64_t limit_ns;
    const char *workers;
    const char *format;
    const char *report;
    struct opt_list only;
};

static const struct opt opts[] = {
    {OPT_HEADING, .help = "How much"},
    {OPT_TEXT, 'n', "workers", "N", "number of workers, or auto for one per core that this process may use",
     offsetof(struct options, workers)},
    {OPT_U32, 0, "retries", "N", "run a failed test again", offsetof(struct options, retries)},
    {OPT_SECONDS, 0, "limit", "TIME", "stop a test after TIME", offsetof(struct options, limit_ns)},
    {OPT_LIST, 'k', "only", "ID", "only this test; may be given again", offsetof(struct options, only)},
    {OPT_HEADING, .help = "Output"},
    {OPT_FLAG, 'q', "quiet", NULL, "say less", offsetof(struct options, quiet)},
    {OPT_FLAG, 'f', "fast", NULL, "hurry", offsetof(struct options, fast), .hidden = true},
    {OPT_CHOICE, 0, "format", "text|json|junit", "how to write it", offsetof(struct options, format)},
    {OPT_TEXT, 0, "report", "FILE", "write a report", offsetof(struct options, report), .alone = "report.html"},
};

static const struct opt_table strict = {opts, HS_COUNT(opts), NULL};
static const struct opt_table passing = {opts, HS_COUNT(opts), "xvs"};

struct outcome {
    struct options o;
    struct opt_list rest;
    struct err err;
    int ret;
};

/* Parses words that are separated by one blank; "" as a word cannot be written. */
static struct outcome parse(const struct opt_table *table, const char *line)
{
    static char copy[400]; /* results point into it until the next call */
    struct outcome out = {0};
    char *argv[40];
    int argc = 0;

    HS_CHECK(strlen(line) < sizeof copy);
    memcpy(copy, line, strlen(line) + 1);
    for (char *at = copy; at && *at; argc++) {
        argv[argc] = at;
        at = strchr(at, ' ');
        if (at)
            *at++ = '\0';
    }
    out.ret = opt_parse(table, argc, argv, &out.o, &out.rest, &out.err);
    return out;
}

static void release(struct outcome *out)
{
    opt_list_release(&out->o.only);
    opt_list_release(&out->rest);
}

static void assert_rest(const struct outcome *out, const char *expected)
{
    struct str text = STR_INIT;

    for (size_t i = 0; i < out->rest.n; i++)
        str_addf(&text, "%s%s", i ? " " : "", out->rest.items[i]);
    assert_string_equal(str_text(&text), expected);
    if (out->rest.n)
        assert_null(out->rest.items[out->rest.n]);
    str_release(&text);
}

static void assert_usage_error(const struct opt_table *table, const char *line, const char *expected)
{
    struct outcome out = parse(table, line);

    assert_int_equal(out.ret, -1);
    assert_string_equal(out.err.text, expected);
    release(&out);
}

static void test_every_way_to_write_a_value(void **state)
{
    static const char *const lines[] = {"--workers 4", "--workers=4", "-n 4", "-n4", "-n=4", "-n 9 -n4"};

    (void)state;
    for (size_t i = 0; i < HS_COUNT(lines); i++) {
        struct outcome out = parse(&strict, lines[i]);

        assert_int_equal(out.ret, 0);
        assert_string_equal(out.o.workers, "4");
        assert_int_equal(out.rest.n, 0);
        release(&out);
    }
}

static void test_kinds(void **state)
{
    struct outcome out =
        parse(&strict, "-qf --retries 7 --limit=1.5 -k a --only=b --format json --report here --workers -1");

    (void)state;
    assert_int_equal(out.ret, 0);
    assert_true(out.o.quiet && out.o.fast);
    assert_int_equal(out.o.retries, 7);
    assert_int_equal(out.o.limit_ns, 1500000000u);
    assert_int_equal(out.o.only.n, 2);
    assert_string_equal(out.o.only.items[0], "a");
    assert_string_equal(out.o.only.items[1], "b");
    assert_string_equal(out.o.format, "json");
    assert_string_equal(out.o.report, "report.html"); /* its value needs "=", so "here" is an argument */
    assert_string_equal(out.o.workers, "-1");
    assert_rest(&out, "here");
    release(&out);
}

static void test_times_have_units(void **state)
{
    static const struct {
        const char *line;
        uint64_t ns;
    } cases[] = {{"--limit 2", 2000000000u},
                 {"--limit 250ms", 250000000u},
                 {"--limit 0.25s", 250000000u},
                 {"--limit 2m", 120000000000u},
                 {"--limit 1h", 3600000000000u}};

    (void)state;
    for (size_t i = 0; i < HS_COUNT(cases); i++) {
        struct outcome out = parse(&strict, cases[i].line);

        assert_int_equal(out.ret, 0);
        assert_int_equal(out.o.limit_ns, cases[i].ns);
        release(&out);
    }
}

static void test_usage_errors_say_what_to_do(void **state)
{
    (void)state;
    assert_usage_error(&strict, "--wrokers 4", "unknown option '--wrokers'; did you mean --workers?");
    assert_usage_error(&strict, "--nothing-like-it", "unknown option '--nothing-like-it'; --help lists them");
    assert_usage_error(&strict, "-z", "unknown option '-z'; --help lists them");
    assert_usage_error(&strict, "-qz", "unknown option '-z' in '-qz'");
    assert_usage_error(&strict, "--workers", "--workers needs a value (N)");
    assert_usage_error(&strict, "--workers --quiet", "--workers needs a value (N)");
    assert_usage_error(&strict, "--quiet=1", "--quiet takes no value");
    assert_usage_error(&strict, "--retries x", "--retries needs a whole number, not 'x'");
    assert_usage_error(&strict, "--retries -1", "--retries needs a whole number, not '-1'");
    assert_usage_error(&strict, "--retries 4294967296", "--retries needs a whole number, not '4294967296'");
    assert_usage_error(&strict, "--limit 3d", "--limit needs a time like 30, 1.5s, 250ms or 2m, not '3d'");
    assert_usage_error(&strict, "--limit nan", "--limit needs a time like 30, 1.5s, 250ms or 2m, not 'nan'");
    assert_usage_error(&strict, "--format jso", "--format must be one of text|json|junit, not 'jso'");
}

static void test_strict_keeps_arguments_and_drops_the_double_dash(void **state)
{
    struct outcome out = parse(&strict, "a -q - b -- -n --quiet");

    (void)state;
    assert_int_equal(out.ret, 0);
    assert_true(out.o.quiet);
    assert_null(out.o.workers);
    assert_rest(&out, "a - b -n --quiet");
    release(&out);
}

static void test_what_is_not_ours_is_passed_on_unchanged_and_in_order(void **state)
{
    struct outcome out =
        parse(&passing, "-x tests/a.py::t -n 4 --cov=src --tb short -m slow --quiet -p no:foo -- -n 8 --");

    (void)state;
    assert_int_equal(out.ret, 0);
    assert_string_equal(out.o.workers, "4");
    assert_true(out.o.quiet);
    assert_rest(&out, "-x tests/a.py::t --cov=src --tb short -m slow -p no:foo -- -n 8 --");
    release(&out);
}

static void test_a_cluster_is_ours_only_after_flags(void **state)
{
    struct outcome out = parse(&passing, "-xvn4 -xs -pn4 -rn -qx");

    (void)state;
    assert_int_equal(out.ret, 0);
    assert_string_equal(out.o.workers, "4");
    assert_true(out.o.quiet);
    assert_rest(&out, "-x -v -xs -pn4 -rn -x");
    release(&out);
}

static void test_help_lists_what_is_not_hidden(void **state)
{
    struct str out = STR_INIT;

    (void)state;
    opt_help(&out, &strict, 70);
    assert_string_equal(str_text(&out), "How much:\n"
                                        "  -n, --workers N           number of workers, or auto for one per\n"
                                        "                            core that this process may use\n"
                                        "      --retries N           run a failed test again\n"
                                        "      --limit TIME          stop a test after TIME\n"
                                        "  -k, --only ID             only this test; may be given again\n"
                                        "\n"
                                        "Output:\n"
                                        "  -q, --quiet               say less\n"
                                        "      --format text|json|junit\n"
                                        "                            how to write it\n"
                                        "      --report[=FILE]       write a report\n");
    str_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_way_to_write_a_value),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_times_have_units),
        cmocka_unit_test(test_usage_errors_say_what_to_do),
        cmocka_unit_test(test_strict_keeps_arguments_and_drops_the_double_dash),
        cmocka_unit_test(test_what_is_not_ours_is_passed_on_unchanged_and_in_order),
        cmocka_unit_test(test_a_cluster_is_ours_only_after_flags),
        cmocka_unit_test(test_help_lists_what_is_not_hidden),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
