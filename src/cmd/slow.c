/* slow.c - `hasten slow`: where the time of the tests goes. */
#include "cmd/past.h"

#include "cmd/cmd.h"
#include "ui/units.h"

#include <inttypes.h>
#include <string.h>

static const struct table_column columns[] = {
    {"time", TABLE_RIGHT, 0}, {"share", TABLE_RIGHT, 1},    {"setup", TABLE_RIGHT, 2},
    {"call", TABLE_RIGHT, 4}, {"teardown", TABLE_RIGHT, 3}, {"test", TABLE_ELIDED, 0},
};

static uint64_t spent_ns(const struct history_test *test)
{
    return test->setup_ns + test->call_ns + test->teardown_ns;
}

static void add_up(void *arg, const struct history_test *test)
{
    uint64_t *total_ns = arg;

    *total_ns += spent_ns(test);
}

static void add_json(struct past *past, const struct history_test *test)
{
    struct str *out = past_json(past);

    past_json_text(out, "id", test->id, test->id_len);
    past_json_seconds(out, "time", spent_ns(test));
    past_json_seconds(out, "setup", test->setup_ns);
    past_json_seconds(out, "call", test->call_ns);
    past_json_seconds(out, "teardown", test->teardown_ns);
    str_addf(out, ",\"runs\":%u}", test->n_runs);
}

static void add_test(void *arg, const struct history_test *test)
{
    struct past *past = arg;
    const uint64_t *total_ns = past->own;
    char text[UNITS_SIZE];

    if (past->json) {
        add_json(past, test);
        return;
    }
    table_addf(&past->table, "%s", units_duration(text, spent_ns(test)));
    table_addf(&past->table, "%.1f%%", *total_ns ? (double)spent_ns(test) * 100 / (double)*total_ns : 0.0);
    table_addf(&past->table, "%s", units_duration(text, test->setup_ns));
    table_addf(&past->table, "%s", units_duration(text, test->call_ns));
    table_addf(&past->table, "%s", units_duration(text, test->teardown_ns));
    table_add(&past->table, test->id, test->id_len);
}

static int list(struct past *past, struct err *err)
{
    uint64_t total_ns = 0;

    past->own = &total_ns;
    if (history_load(&past->history, past->key, add_up, &total_ns, err) < 0)
        return -1;
    return history_slow(&past->history, past->key, past->limit, add_test, past, err);
}

int cmd_slow(int argc, char **argv)
{
    static const struct past_verb verb = {
        .usage = "usage: hasten slow [options] [folder]\n\nLists the tests that take longest, with their share of the "
                 "time of all tests: means\n"
                 "over earlier runs, in which the last one counts most.\n",
        .limit = 20,
        .columns = columns,
        .n_columns = HS_COUNT(columns),
        .nothing = "no test has run yet",
        .list = list,
    };

    return past_main(&verb, argc, argv);
}
