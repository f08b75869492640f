/* history.c - `hasten history`: the last runs. */
#include "cmd/past.h"

#include "cmd/cmd.h"
#include "ui/units.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

static const struct table_column columns[] = {
    {"when", TABLE_LEFT, 0},    {"time", TABLE_RIGHT, 0},       {"passed", TABLE_RIGHT, 0},
    {"failed", TABLE_RIGHT, 0}, {"skipped", TABLE_RIGHT, 2},    {"workers", TABLE_RIGHT, 3},
    {"ended", TABLE_LEFT, 1},   {"arguments", TABLE_ELIDED, 0},
};

/* pytest's words for its exit statuses. */
static const char *status_name(int status)
{
    static const char *const names[] = {"ok", "failed", "interrupted", "internal error", "usage error", "no tests"};

    return status >= 0 && status < (int)HS_COUNT(names) ? names[status] : "?";
}

static void add_json(struct past *past, const struct history_run *run)
{
    struct str *out = past_json(past);

    past_json_text(out, "key", run->key, strlen(run->key));
    past_json_seconds(out, "started", run->started_ns);
    past_json_seconds(out, "wall", run->wall_ns);
    str_addf(out, ",\"workers\":%u,\"exit_status\":%d,\"passed\":%u,\"failed\":%u,\"skipped\":%u,", run->n_workers,
             run->exit_status, run->n_passed, run->n_failed, run->n_skipped);
    past_json_text(out, "args", run->args, strlen(run->args));
    str_puts(out, "}");
}

static void add_run(void *arg, const struct history_run *run)
{
    struct past *past = arg;
    const time_t started = (time_t)(run->started_ns / 1000000000);
    char text[UNITS_SIZE];
    char when[32] = "";
    struct tm tm;

    if (past->json) {
        add_json(past, run);
        return;
    }
    if (localtime_r(&started, &tm))
        strftime(when, sizeof when, "%Y-%m-%d %H:%M", &tm);
    table_addf(&past->table, "%s", when);
    table_addf(&past->table, "%s", units_duration(text, run->wall_ns));
    table_addf(&past->table, "%s", units_count(text, run->n_passed));
    table_addf(&past->table, "%s", run->n_failed ? units_count(text, run->n_failed) : "");
    table_addf(&past->table, "%s", run->n_skipped ? units_count(text, run->n_skipped) : "");
    table_addf(&past->table, "%" PRIu32, run->n_workers);
    table_addf(&past->table, "%s", status_name(run->exit_status));
    table_add(&past->table, run->args, strlen(run->args));
}

static int list(struct past *past, struct err *err)
{
    return history_runs(&past->history, past->key, past->limit, add_run, past, err);
}

int cmd_history(int argc, char **argv)
{
    static const struct past_verb verb = {
        .usage = "usage: hasten history [options] [folder]\n\nLists the last runs of a project, the newest first.\n",
        .limit = 20,
        .every_key = true,
        .columns = columns,
        .n_columns = HS_COUNT(columns),
        .nothing = "no run has come to its end yet",
        .list = list,
    };

    return past_main(&verb, argc, argv);
}
