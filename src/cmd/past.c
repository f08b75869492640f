#include "cmd/past.h"

#include "base/json.h"
#include "base/opt.h"
#include "cmd/cmd.h"
#include "os/term.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEYS_LOOKED_AT = 1000 }; /* runs: as many as are kept */

struct past_args {
    uint32_t limit;
    const char *key;
    bool json;
    bool help;
};

static const struct opt options[] = {
    {OPT_HEADING, .help = "Options"},
    {OPT_U32, 'n', "limit", "N", "how many to list; 0: all", offsetof(struct past_args, limit), NULL, false},
    {OPT_TEXT, 0, "key", "TEXT",
     "only the configuration (interpreter and pytest) whose name contains TEXT; `hasten history --json` shows their "
     "names",
     offsetof(struct past_args, key), NULL, false},
    {OPT_FLAG, 0, "json", NULL, "a JSON array, one object a line; times in seconds", offsetof(struct past_args, json),
     NULL, false},
    {OPT_FLAG, 'h', "help", NULL, "this text", offsetof(struct past_args, help), NULL, false},
};

static const struct opt_table table = {options, HS_COUNT(options), NULL};

static int print_help(const struct past_verb *verb)
{
    struct str text = STR_INIT;

    opt_help(&text, &table, 80);
    printf("%s\n%s", verb->usage, str_text(&text));
    str_release(&text);
    return CMD_OK;
}

/* The .hasten/ with a history in folder or the nearest one above it. */
static int find(const char *folder, char path[PATH_MAX + 32], struct err *err)
{
    char top[PATH_MAX];
    char *slash;

    if (!realpath(folder, top))
        return err_set(err, "there is no folder '%.300s'", folder);
    for (;;) {
        snprintf(path, PATH_MAX + 32, "%s/.hasten/hasten.db", strcmp(top, "/") ? top : "");
        if (access(path, R_OK) == 0) {
            *strrchr(path, '/') = '\0';
            return 0;
        }
        slash = strrchr(top, '/');
        if (!slash || !strcmp(top, "/"))
            return err_set(err, "no history in '%.300s' or above it; `hasten run` writes one in pytest's root folder",
                           folder);
        slash[slash == top] = '\0';
    }
}

/* ---- which configuration */

struct choice {
    const char *wanted; /* NULL: that of the last run */
    char key[512];      /* "": none yet */
    bool several;
};

static void choose(void *arg, const struct history_run *run)
{
    struct choice *choice = arg;

    if (choice->wanted && !strstr(run->key, choice->wanted))
        return;
    if (!choice->key[0])
        snprintf(choice->key, sizeof choice->key, "%s", run->key);
    else if (strcmp(choice->key, run->key) != 0)
        choice->several = true;
}

static int choose_key(struct past *past, const char *wanted, struct choice *choice, struct err *err)
{
    *choice = (struct choice){.wanted = wanted};
    if (history_runs(&past->history, NULL, KEYS_LOOKED_AT, choose, choice, err) < 0)
        return -1;
    if (wanted && !choice->key[0])
        return err_set(err, "no run has a configuration like '%.200s'; `hasten history --json` shows their names",
                       wanted);
    past->key = (past->verb->every_key && !wanted) || !choice->key[0] ? NULL : choice->key;
    return 0;
}

/* ---- output */

struct str *past_json(struct past *past)
{
    str_puts(&past->out, past->out.len ? ",\n{" : "[\n{");
    return &past->out;
}

void past_json_text(struct str *out, const char *key, const char *text, size_t n)
{
    str_addf(out, "\"%s\":", key);
    json_string(out, text, n);
}

void past_json_seconds(struct str *out, const char *key, uint64_t ns)
{
    str_addf(out, ",\"%s\":%" PRIu64 ".%09" PRIu64, key, ns / 1000000000, ns % 1000000000);
}

static void print(struct past *past, const struct choice *choice)
{
    struct table_options shape = {.colour = term_has_colour(STDOUT_FILENO), .utf8 = term_is_utf8()};
    struct term_size size;

    if (past->json) {
        str_puts(&past->out, past->out.len ? "\n]\n" : "[]\n");
    } else if (!past->table.n_cells) {
        str_addf(&past->out, "%s\n", past->verb->nothing);
    } else {
        if (term_size(STDOUT_FILENO, &size) == 0)
            shape.columns = size.columns;
        table_render(&past->out, &past->table, &shape);
        if (past->key && choice->several)
            str_addf(&past->out, "only of %s, which ran last; --key names another configuration\n", past->key);
    }
    fputs(str_text(&past->out), stdout);
}

static int run(struct past *past, const char *folder, const char *wanted, struct err *err)
{
    char path[PATH_MAX + 32];
    struct choice choice;
    int code;

    if (find(folder, path, err) < 0 || history_open(&past->history, path, err) < 0)
        return -1;
    table_init(&past->table, past->verb->columns, past->verb->n_columns);
    code = choose_key(past, wanted, &choice, err);
    if (code == 0)
        code = past->verb->list(past, err);
    if (code == 0)
        print(past, &choice);
    history_close(&past->history);
    table_release(&past->table);
    str_release(&past->out);
    return code;
}

int past_main(const struct past_verb *verb, int argc, char **argv)
{
    struct past_args args = {.limit = verb->limit};
    struct opt_list rest = {0};
    struct past past = {.verb = verb};
    struct err err;
    int code = 0;

    if (opt_parse(&table, argc, argv, &args, &rest, &err) < 0) {
        opt_list_release(&rest);
        return cmd_fail(CMD_USAGE, err.text);
    }
    if (args.help) {
        opt_list_release(&rest);
        return print_help(verb);
    }
    past.limit = args.limit ? args.limit : UINT32_MAX;
    past.json = args.json;
    if (rest.n > 1)
        code = cmd_fail(CMD_USAGE, "one folder at most can be given");
    else if (run(&past, rest.n ? rest.items[0] : ".", args.key, &err) < 0)
        code = cmd_fail(CMD_FAILED, err.text);
    opt_list_release(&rest);
    return code;
}
