/* flaky.c - `hasten flaky`: tests whose outcome changes without their code. */
#include "cmd/past.h"

#include "cmd/cmd.h"

#include <inttypes.h>
#include <string.h>

#define N_RECENT 32

static const struct table_column columns[] = {
    {"changes", TABLE_RIGHT, 0}, {"failed", TABLE_RIGHT, 2}, {"runs", TABLE_RIGHT, 3},
    {"reruns", TABLE_RIGHT, 4},  {"last", TABLE_RIGHT, 1},   {"test", TABLE_ELIDED, 0},
};

/* The last outcomes with pytest's letters, the newest one last. */
static void outcomes(const struct history_test *test, uint32_t most, char text[N_RECENT + 1])
{
    static const char letters[OUTCOME_COUNT] = {
        [OUTCOME_PASSED] = '.',  [OUTCOME_FAILED] = 'F',  [OUTCOME_ERROR] = 'E',
        [OUTCOME_SKIPPED] = 's', [OUTCOME_XFAILED] = 'x', [OUTCOME_XPASSED] = 'X',
        [OUTCOME_CRASHED] = 'C', [OUTCOME_TIMEOUT] = 'T', [OUTCOME_RERUN] = 'R'};
    size_t n = 0;

    for (uint32_t ago = most; ago-- > 0;) {
        const enum record_outcome outcome = history_outcome(test, ago);

        if (outcome > OUTCOME_NONE && outcome < OUTCOME_COUNT)
            text[n++] = letters[outcome];
    }
    text[n] = '\0';
}

static void add_json(struct past *past, const struct history_test *test)
{
    struct str *out = past_json(past);
    char text[N_RECENT + 1];

    past_json_text(out, "id", test->id, test->id_len);
    str_addf(out, ",\"changes\":%" PRIu32 ",\"runs\":%" PRIu32 ",\"failures\":%" PRIu32 ",\"reruns\":%" PRIu32 ",",
             history_changes(test), test->n_runs, test->n_failures, test->n_reruns);
    outcomes(test, N_RECENT, text);
    past_json_text(out, "last", text, strlen(text));
    str_puts(out, "}");
}

static void add_test(void *arg, const struct history_test *test)
{
    struct past *past = arg;
    char text[N_RECENT + 1];

    if (past->json) {
        add_json(past, test);
        return;
    }
    outcomes(test, 16, text);
    table_addf(&past->table, "%" PRIu32, history_changes(test));
    table_addf(&past->table, "%" PRIu32, test->n_failures);
    table_addf(&past->table, "%" PRIu32, test->n_runs);
    if (test->n_reruns)
        table_addf(&past->table, "%" PRIu32, test->n_reruns);
    else
        table_add(&past->table, "", 0);
    table_addf(&past->table, "%s", text);
    table_add(&past->table, test->id, test->id_len);
}

static int list(struct past *past, struct err *err)
{
    return history_flaky(&past->history, past->key, past->limit, add_test, past, err);
}

int cmd_flaky(int argc, char **argv)
{
    static const struct past_verb verb = {
        .usage = "usage: hasten flaky [options] [folder]\n\nLists tests that went from good to bad or back more than "
                 "once in their last 32 runs, or\n"
                 "were run again by a plugin. Under 'last' their outcomes in pytest's letters, the newest\n"
                 "one last; C: crashed, T: too long, R: run again.\n",
        .limit = 20,
        .columns = columns,
        .n_columns = HS_COUNT(columns),
        .nothing = "no test has changed its outcome more than once",
        .list = list,
    };

    return past_main(&verb, argc, argv);
}
