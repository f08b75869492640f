/*
 * cov_which.c - `hasten cov which FILE:LINE`: the tests that ran a line, from coverage.py's data file.
 *
 * Read here and not by coverage.py, whose import alone takes longer than the answer may. Of the schema (version 7) three
 * things are used: file(id, path), context(id, context), and either line_bits(file_id, context_id, numbits), where bit i
 * of byte b stands for line 8b+i, or arc(file_id, context_id, fromno, tono), where a line that ran is an end of an arc.
 */
#include "cmd/cov.h"

#include "base/json.h"
#include "base/opt.h"
#include "cmd/cmd.h"

#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCHEMA_VERSION 7
#define DEFAULT_NAME ".coverage"

struct which_args {
    const char *data_file;
    bool json;
    bool help;
};

struct which {
    sqlite3 *db;      /* owned */
    const char *path; /* of the data file; borrowed */
    bool has_arcs;
    bool json;
    size_t n_answers;
    struct str out; /* owned */
};

struct place {
    const char *text; /* as given; borrowed */
    char file[PATH_MAX];
    char absolute[2 * PATH_MAX];
    int line;
};

/* What rows of a test's phases have been printed of one line. */
struct listing {
    struct which *which; /* borrowed */
    struct str test;     /* owned: the one whose row is open; empty: none */
    size_t n;
};

static const struct opt options[] = {
    {OPT_HEADING, .help = "Options"},
    {OPT_TEXT, 0, "data-file", "FILE",
     "coverage.py's data file (default: $COVERAGE_FILE, or .coverage in this folder or the nearest above it)",
     offsetof(struct which_args, data_file), NULL, false},
    {OPT_FLAG, 0, "json", NULL, "a JSON array, one object a line of source", offsetof(struct which_args, json), NULL,
     false},
    {OPT_FLAG, 'h', "help", NULL, "this text", offsetof(struct which_args, help), NULL, false},
};

static const struct opt_table table = {options, HS_COUNT(options), NULL};

static const char usage[] =
    "usage: hasten cov which [options] FILE:LINE [FILE:LINE ...]\n\n"
    "Lists the tests that ran a line. The data must have been measured with --cov-context=test or item. A file is\n"
    "named by its path, or by the end of it. Ends with 1 when a line was run by nothing.\n";

/* ---- the data file */

static int db_failed(struct which *w, struct err *err)
{
    return err_set(err, "cannot read '%.300s': %.100s", w->path, sqlite3_errmsg(w->db));
}

static int prepare(struct which *w, const char *sql, sqlite3_stmt **stmt, struct err *err)
{
    return sqlite3_prepare_v2(w->db, sql, -1, stmt, NULL) == SQLITE_OK ? 0 : db_failed(w, err);
}

/* The first column of the first row; otherwise when there is no row. */
static int read_number(struct which *w, const char *sql, int otherwise, int *number, struct err *err)
{
    sqlite3_stmt *stmt;
    int rc;

    if (prepare(w, sql, &stmt, err) < 0)
        return -1;
    rc = sqlite3_step(stmt);
    *number = rc == SQLITE_ROW ? sqlite3_column_int(stmt, 0) : otherwise;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        db_failed(w, err);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : -1;
}

static int open_data(struct which *w, struct err *err)
{
    struct err unused;
    int version;
    int n_contexts;
    int has_arcs;

    if (access(w->path, F_OK) < 0)
        return err_set(err, "there is no data file '%.300s'; `hasten cov --cov-context=test` writes one", w->path);
    if (sqlite3_open_v2(w->path, &w->db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
        return db_failed(w, err);
    sqlite3_busy_timeout(w->db, 2000);
    if (read_number(w, "SELECT count(*) FROM sqlite_master", 0, &version, err) < 0)
        return -1;
    if (read_number(w, "SELECT version FROM coverage_schema", 0, &version, &unused) < 0)
        return err_set(err, "'%.300s' is not a data file of coverage.py", w->path);
    if (version != SCHEMA_VERSION)
        return err_set(err, "'%.300s' has version %d of coverage.py's schema, hasten knows %d", w->path, version,
                       SCHEMA_VERSION);
    if (read_number(w, "SELECT value = '1' FROM meta WHERE key = 'has_arcs'", 0, &has_arcs, err) < 0 ||
        read_number(w, "SELECT count(*) FROM context WHERE context <> ''", 0, &n_contexts, err) < 0)
        return -1;
    if (!n_contexts)
        return err_set(err, "'%.300s' does not say which test ran what; measure with --cov-context=test", w->path);
    w->has_arcs = has_arcs;
    return 0;
}

/* .coverage here or above. */
static const char *find_data(const char *given, char path[PATH_MAX + 16])
{
    char *slash;

    if (!given)
        given = getenv("COVERAGE_FILE");
    if (given && given[0])
        return given;
    if (!getcwd(path, PATH_MAX))
        return DEFAULT_NAME;
    for (slash = path + strlen(path); slash; slash = strrchr(path, '/')) {
        snprintf(slash, 16, "/" DEFAULT_NAME);
        if (access(path, F_OK) == 0)
            return path;
        *slash = '\0';
    }
    return DEFAULT_NAME;
}

/* ---- which file and line is meant */

static int parse_place(const char *text, struct place *place, struct err *err)
{
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    const long line = colon ? strtol(colon + 1, &end, 10) : 0;

    if (!colon || colon == text || end == colon + 1 || *end || line <= 0 || line > INT_MAX)
        return err_set(err, "'%.300s' is not FILE:LINE; write for example src/shop.py:12", text);
    if ((size_t)(colon - text) >= sizeof place->file)
        return err_set(err, "the path of a file is too long");
    place->text = text;
    place->line = (int)line;
    snprintf(place->file, sizeof place->file, "%.*s", (int)(colon - text), text);
    if (!realpath(place->file, place->absolute))
        place->absolute[0] = '\0';
    return 0;
}

/* Whether `tail` is `path` or its last parts. */
static bool ends_with(const char *path, const char *tail)
{
    const size_t n = strlen(path);
    const size_t k = strlen(tail);

    return k <= n && !strcmp(path + n - k, tail) && (k == n || path[n - k - 1] == '/');
}

/* 0: another file; 1: the path ends as what was given; 2: the very file. Relative data files have relative paths. */
static int fits(const struct place *place, const char *path)
{
    const char *tail = strncmp(place->file, "./", 2) ? place->file : place->file + 2;

    if (!strcmp(path, place->absolute) || !strcmp(path, tail))
        return 2;
    if (place->absolute[0] && path[0] != '/' && ends_with(place->absolute, path))
        return 2;
    return ends_with(path, tail);
}

/* The row of the file that is meant; -1 and a line of text when there is none, or more than one. */
static int find_file(struct which *w, const struct place *place, sqlite3_int64 *id, struct err *err)
{
    sqlite3_stmt *stmt;
    int best = 0;
    int n = 0;

    if (prepare(w, "SELECT id, path FROM file", &stmt, err) < 0)
        return -1;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *path = (const char *)sqlite3_column_text(stmt, 1);
        const int fit = path ? fits(place, path) : 0;

        if (fit < best || !fit)
            continue;
        n = fit > best ? 1 : n + 1;
        best = fit;
        *id = sqlite3_column_int64(stmt, 0);
    }
    sqlite3_finalize(stmt);
    if (!n)
        return err_set(err, "no file '%.200s' was measured ('%.200s')", place->file, w->path);
    if (n > 1)
        return err_set(err, "%d measured files have a path that ends with '%.300s'; write more of it", n, place->file);
    return 0;
}

/* ---- the answer */

static bool has_bit(sqlite3_stmt *stmt, int column, int line)
{
    const unsigned char *bits = sqlite3_column_blob(stmt, column);
    const int n = sqlite3_column_bytes(stmt, column);

    return bits && line / 8 < n && bits[line / 8] >> (line % 8) & 1;
}

/* Where the phase begins in "nodeid|run"; NULL: the context is not of a phase. */
static const char *find_phase(const char *context)
{
    static const char *const phases[] = {"setup", "run", "teardown"};
    const char *bar = strrchr(context, '|');

    for (size_t i = 0; bar && i < HS_COUNT(phases); i++)
        if (!strcmp(bar + 1, phases[i]))
            return bar + 1;
    return NULL;
}

static void add_context(struct listing *listing, const char *context)
{
    struct str *out = &listing->which->out;
    const char *phase = find_phase(context);
    const size_t n = phase ? (size_t)(phase - context) - 1 : strlen(context);

    listing->n++;
    if (listing->which->json) {
        str_puts(out, listing->n > 1 ? "," : "");
        json_string(out, context, strlen(context));
        return;
    }
    if (phase && listing->test.len == n && n && !memcmp(listing->test.data, context, n)) {
        str_addf(out, ", %s", phase);
        return;
    }
    str_reset(&listing->test);
    str_add(&listing->test, context, n);
    str_puts(out, "\n  ");
    str_puts(out, n ? str_text(&listing->test) : "(no test: while modules were imported or tests collected)");
    if (phase)
        str_addf(out, "  %s", phase);
}

static int list_contexts(struct which *w, sqlite3_int64 file, int line, struct listing *listing, struct err *err)
{
    const char *of_lines = "SELECT c.context, l.numbits FROM line_bits l JOIN context c ON c.id = l.context_id "
                           "WHERE l.file_id = ?1 ORDER BY c.context";
    const char *of_arcs = "SELECT DISTINCT c.context FROM arc a JOIN context c ON c.id = a.context_id "
                          "WHERE a.file_id = ?1 AND (a.fromno = ?2 OR a.tono = ?2) ORDER BY c.context";
    sqlite3_stmt *stmt;
    int rc;

    if (prepare(w, w->has_arcs ? of_arcs : of_lines, &stmt, err) < 0)
        return -1;
    sqlite3_bind_int64(stmt, 1, file);
    if (w->has_arcs)
        sqlite3_bind_int(stmt, 2, line);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        if (w->has_arcs || has_bit(stmt, 1, line))
            add_context(listing, (const char *)sqlite3_column_text(stmt, 0));
    if (rc != SQLITE_DONE)
        db_failed(w, err);
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? 0 : -1;
}

/* 1 when something ran the line, 0 when nothing did. */
static int answer(struct which *w, const struct place *place, struct err *err)
{
    struct listing listing = {.which = w};
    sqlite3_int64 file = 0;
    int code;

    if (find_file(w, place, &file, err) < 0)
        return -1;
    if (w->json) {
        str_addf(&w->out, "%s{\"file\":", w->n_answers ? ",\n" : "[\n");
        json_string(&w->out, place->file, strlen(place->file));
        str_addf(&w->out, ",\"line\":%d,\"contexts\":[", place->line);
    } else {
        str_addf(&w->out, "%s:%d", place->file, place->line);
    }
    w->n_answers++;
    code = list_contexts(w, file, place->line, &listing, err);
    str_puts(&w->out, w->json ? "]}" : listing.n ? "\n" : ": not run by any test\n");
    str_release(&listing.test);
    return code < 0 ? -1 : listing.n > 0;
}

/* The exit status. */
static int answer_all(struct which *w, const struct opt_list *given)
{
    int status = CMD_OK;
    struct place place;
    struct err err;

    for (size_t i = 0; i < given->n; i++) {
        const int code = parse_place(given->items[i], &place, &err) < 0 ? -2 : answer(w, &place, &err);

        if (code < 0)
            cmd_fail(CMD_FAILED, err.text);
        if (code == -2)
            return CMD_USAGE;
        if (code <= 0)
            status = CMD_FAILED;
    }
    if (w->json)
        str_puts(&w->out, w->n_answers ? "\n]\n" : "[]\n");
    fputs(str_text(&w->out), stdout);
    return status;
}

static int run(const struct which_args *args, const struct opt_list *given)
{
    struct which w = {.json = args->json};
    char path[PATH_MAX + 16];
    struct err err;
    int status;

    w.path = find_data(args->data_file, path);
    status = open_data(&w, &err) < 0 ? cmd_fail(CMD_FAILED, err.text) : answer_all(&w, given);
    sqlite3_close(w.db);
    str_release(&w.out);
    return status;
}

int cov_which(int argc, char **argv)
{
    struct which_args args = {0};
    struct opt_list rest = {0};
    struct err err;
    int status;

    if (opt_parse(&table, argc, argv, &args, &rest, &err) < 0)
        status = cmd_fail(CMD_USAGE, err.text);
    else if (args.help)
        status = cmd_help(usage, &table);
    else if (!rest.n)
        status = cmd_fail(CMD_USAGE, "name a line as FILE:LINE, for example: hasten cov which src/shop.py:12");
    else
        status = run(&args, &rest);
    opt_list_release(&rest);
    return status;
}
