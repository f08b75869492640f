/* db.c - `hasten db list|prune`: what hasten keeps of databases; `keep` is what runs start. */
#include "cmd/cmd.h"

#include "base/json.h"
#include "base/opt.h"
#include "db/cache.h"
#include "db/keep.h"
#include "os/copy.h"
#include "os/term.h"
#include "ui/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct db_args {
    const char *url;
    bool all;
    bool json;
    bool help;
    uint32_t pid, workers, major, older_than, keep_days, keep_megabytes;
    const char *root, *locale, *scheme, *file;
    const char *pg_key, *pg_sql, *pg_command, *pg_env;
    const char *sqlite_key, *sqlite_sql, *sqlite_command, *sqlite_env;
    const char *redis_key, *redis_command, *redis_env, *redis_file, *redis_scheme;
    const char *pg_reset, *sqlite_reset, *redis_reset, *pooler;
    bool postgres, sqlite, redis, postgres_early, sqlite_early, redis_early, pg_each;
};

#define AT(member) offsetof(struct db_args, member)

static const struct opt options[] = {
    {OPT_HEADING, .help = "Options"},
    {OPT_TEXT, 0, "db-url", "URL",
     "look at this PostgreSQL server too: postgresql://user@host:port/, or 'env' for the one that PGHOST and the other "
     "PG* "
     "variables name",
     AT(url), NULL, false},
    {OPT_FLAG, 0, "all", NULL, "prune: templates and cached servers too, and not only what dead runs left", AT(all),
     NULL, false},
    {OPT_U32, 0, "older-than", "DAYS", "prune: templates and cached servers too that no run has used for so many days",
     AT(older_than), NULL, false},
    {OPT_FLAG, 0, "json", NULL, "list: a JSON array, one object a line", AT(json), NULL, false},
    {OPT_FLAG, 'h', "help", NULL, "this text", AT(help), NULL, false},
    {OPT_U32, 0, "pid", "N", "", AT(pid), NULL, true},
    {OPT_U32, 0, "workers", "N", "", AT(workers), NULL, true},
    {OPT_TEXT, 0, "root", "FOLDER", "", AT(root), NULL, true},
    {OPT_FLAG, 0, "postgres", NULL, "", AT(postgres), NULL, true},
    {OPT_FLAG, 0, "postgres-early", NULL, "", AT(postgres_early), NULL, true},
    {OPT_FLAG, 0, "postgres-each", NULL, "", AT(pg_each), NULL, true},
    {OPT_U32, 0, "postgres-version", "N", "", AT(major), NULL, true},
    {OPT_TEXT, 0, "postgres-locale", "NAME", "", AT(locale), NULL, true},
    {OPT_TEXT, 0, "postgres-scheme", "NAME", "", AT(scheme), NULL, true},
    {OPT_TEXT, 0, "postgres-key", "KEY", "", AT(pg_key), NULL, true},
    {OPT_TEXT, 0, "postgres-sql", "FILE", "", AT(pg_sql), NULL, true},
    {OPT_TEXT, 0, "postgres-command", "TEXT", "", AT(pg_command), NULL, true},
    {OPT_TEXT, 0, "postgres-env", "NAME", "", AT(pg_env), NULL, true},
    {OPT_FLAG, 0, "sqlite", NULL, "", AT(sqlite), NULL, true},
    {OPT_FLAG, 0, "sqlite-early", NULL, "", AT(sqlite_early), NULL, true},
    {OPT_TEXT, 0, "sqlite-file", "FILE", "", AT(file), NULL, true},
    {OPT_TEXT, 0, "sqlite-key", "KEY", "", AT(sqlite_key), NULL, true},
    {OPT_TEXT, 0, "sqlite-sql", "FILE", "", AT(sqlite_sql), NULL, true},
    {OPT_TEXT, 0, "sqlite-command", "TEXT", "", AT(sqlite_command), NULL, true},
    {OPT_TEXT, 0, "sqlite-env", "NAME", "", AT(sqlite_env), NULL, true},
    {OPT_TEXT, 0, "postgres-reset", "HOW", "", AT(pg_reset), NULL, true},
    {OPT_TEXT, 0, "pooler", "BOOL", "", AT(pooler), NULL, true},
    {OPT_TEXT, 0, "sqlite-reset", "HOW", "", AT(sqlite_reset), NULL, true},
    {OPT_TEXT, 0, "redis-reset", "HOW", "", AT(redis_reset), NULL, true},
    {OPT_U32, 0, "keep-days", "N", "", AT(keep_days), NULL, true},
    {OPT_U32, 0, "keep-megabytes", "N", "", AT(keep_megabytes), NULL, true},
    {OPT_FLAG, 0, "redis", NULL, "", AT(redis), NULL, true},
    {OPT_FLAG, 0, "redis-early", NULL, "", AT(redis_early), NULL, true},
    {OPT_TEXT, 0, "redis-file", "FILE", "", AT(redis_file), NULL, true},
    {OPT_TEXT, 0, "redis-scheme", "NAME", "", AT(redis_scheme), NULL, true},
    {OPT_TEXT, 0, "redis-key", "KEY", "", AT(redis_key), NULL, true},
    {OPT_TEXT, 0, "redis-command", "TEXT", "", AT(redis_command), NULL, true},
    {OPT_TEXT, 0, "redis-env", "NAME", "", AT(redis_env), NULL, true},
};

static const struct opt_table table = {options, HS_COUNT(options), NULL};

static const char usage[] =
    "usage: hasten db list [options]\n"
    "       hasten db prune [options]\n\n"
    "Lists, or removes, what hasten keeps of databases: templates, cached servers, and what runs left that were\n"
    "killed. A run removes the latter by itself when it starts. Settings stand in [tool.hasten.db] of "
    "pyproject.toml.\n\n";

/* ---- list and prune */

static const struct table_column columns[] = {
    {"kind", TABLE_LEFT, 0}, {"what", TABLE_LEFT, 0}, {"size", TABLE_RIGHT, 1}, {"name", TABLE_ELIDED, 0}};

struct listing {
    const struct db_args *args;
    struct table table;
    struct str json;
    size_t n;
};

static void add_entry(void *arg, const struct db_entry *entry)
{
    struct listing *listing = arg;

    listing->n++;
    if (listing->args->json) {
        str_addf(&listing->json,
                 "%s{\"kind\":\"%s\",\"what\":\"%s\",\"bytes\":%llu,\"name\":", listing->n > 1 ? ",\n" : "[\n",
                 entry->provider, entry->what, (unsigned long long)entry->bytes);
        json_string(&listing->json, entry->name, strlen(entry->name));
        str_puts(&listing->json, "}");
        return;
    }
    table_addf(&listing->table, "%s", entry->provider);
    table_addf(&listing->table, "%s", entry->what);
    table_addf(&listing->table, "%.1f MB", (double)entry->bytes / 1e6);
    table_add(&listing->table, entry->name, strlen(entry->name));
}

static void add_leftover(void *arg, const char *path)
{
    const struct db_entry entry = {
        .provider = "run", .name = path, .what = "left behind", .bytes = copy_size(path), .dead = true};

    add_entry(arg, &entry);
}

/* The given server, joined as a run of its own that ends at once. */
static int with_server(const struct db_args *args, int (*act)(struct db *db, void *arg, struct err *err), void *arg,
                       struct err *err)
{
    const struct pg_options o = {.url = args->url};
    struct place place = {.lock_fd = -1};
    struct pg pg;
    char run[DB_RUN_DIGITS + 1];
    int code;

    snprintf(run, sizeof run, "%08x", (unsigned)getpid());
    if (pg_init(&pg, &o, &place, run, err) < 0)
        return -1;
    code = pg_join(&pg, err);
    if (code == 0)
        code = act(&pg.db, arg, err);
    pg.db.provider->release(&pg.db);
    return code;
}

static int list_server(struct db *db, void *arg, struct err *err)
{
    return db->provider->list(db, add_entry, arg, err);
}

static int list(const struct db_args *args, struct err *err)
{
    struct listing listing = {.args = args};
    struct table_options shape = {.colour = term_has_colour(STDOUT_FILENO), .utf8 = term_is_utf8()};
    struct term_size size;
    struct str out = STR_INIT;
    int code = 0;

    table_init(&listing.table, columns, HS_COUNT(columns));
    cache_each(add_entry, &listing);
    place_clear(add_leftover, &listing);
    if (args->url)
        code = with_server(args, list_server, &listing, err);
    if (term_size(STDOUT_FILENO, &size) == 0)
        shape.columns = size.columns;
    if (code == 0 && args->json)
        printf("%s%s", listing.n ? str_text(&listing.json) : "[", listing.n ? "\n]\n" : "]\n");
    else if (code == 0 && !listing.n)
        puts("nothing is kept and nothing was left behind");
    else if (code == 0) {
        table_render(&out, &listing.table, &shape);
        fputs(str_text(&out), stdout);
    }
    table_release(&listing.table);
    str_release(&listing.json);
    str_release(&out);
    return code;
}

struct pruning {
    bool all;
    int n;
};

static int prune_server(struct db *db, void *arg, struct err *err)
{
    struct pruning *pruning = arg;

    pruning->n = db->provider->prune(db, pruning->all, err);
    return pruning->n < 0 ? -1 : 0;
}

static int prune(const struct db_args *args, struct err *err)
{
    const struct cache_limits limits = {.days = args->older_than, .megabytes = UINT64_MAX, .all = args->all};
    struct pruning pruning = {.all = args->all};
    size_t n = place_clear(NULL, NULL);

    n += cache_prune(&limits);
    if (args->url && with_server(args, prune_server, &pruning, err) < 0)
        return -1;
    printf("removed: %zu\n", n + (size_t)pruning.n);
    return 0;
}

/* ---- keep */

/* Of a given server, by its environment: everybody on a machine may read arguments, and a password may be in it. */
static const char *given_url(const struct db_args *a)
{
    static char *given; /* owned, for ever */

    if (!a->url && !given && getenv("HASTEN_DB_KEEP_URL"))
        given = hs_strdup(getenv("HASTEN_DB_KEEP_URL"));
    unsetenv("HASTEN_DB_KEEP_URL"); /* a set-up may start a run of its own */
    return a->url ? a->url : given;
}

static int keep(const struct db_args *a, struct err *err)
{
    const struct keep_options o = {
        .pid = (int)a->pid,
        .root = a->root,
        .n_workers = a->workers,
        .postgres = {a->postgres, a->postgres_early, a->pg_key, a->pg_sql, a->pg_command, a->pg_reset, a->pg_env},
        .sqlite = {a->sqlite, a->sqlite_early, a->sqlite_key, a->sqlite_sql, a->sqlite_command, a->sqlite_reset,
                   a->sqlite_env},
        .redis = {a->redis, a->redis_early, a->redis_key, NULL, a->redis_command, a->redis_reset, a->redis_env},
        .pg = {.url = given_url(a),
               .scheme = a->scheme,
               .server = {.major = (int)a->major, .locale = a->locale},
               .pooler = pooler_mode_of(a->pooler)},
        .pg_each = a->pg_each,
        .kept = {.days = a->keep_days, .megabytes = a->keep_megabytes},
        .files = {.file = a->file},
        .cache = {.file = a->redis_file, .scheme = a->redis_scheme},
    };

    if (!a->pid || !a->root)
        return err_set(err, "hasten db keep is started by runs, not by hand");
    return keep_run(&o, err);
}

int cmd_db(int argc, char **argv)
{
    struct db_args args = {
        .pg_key = "", .sqlite_key = "", .redis_key = "", .keep_days = CACHE_DAYS, .keep_megabytes = CACHE_MEGABYTES};
    struct opt_list rest = {0};
    struct err err;
    int code;

    if (opt_parse(&table, argc, argv, &args, &rest, &err) < 0)
        code = cmd_fail(CMD_USAGE, err.text);
    else if (args.help)
        code = cmd_help(usage, &table);
    else if (rest.n == 1 && !strcmp(rest.items[0], "list"))
        code = list(&args, &err) < 0 ? cmd_fail(CMD_FAILED, err.text) : CMD_OK;
    else if (rest.n == 1 && !strcmp(rest.items[0], "prune"))
        code = prune(&args, &err) < 0 ? cmd_fail(CMD_FAILED, err.text) : CMD_OK;
    else if (rest.n == 1 && !strcmp(rest.items[0], "keep"))
        code = keep(&args, &err) < 0 ? cmd_fail(CMD_FAILED, err.text) : CMD_OK;
    else
        code = cmd_fail(CMD_USAGE, "hasten db: one of 'list' and 'prune' is wanted; hasten db --help tells more");
    opt_list_release(&rest);
    return code;
}
