#include "db/pg.h"

#include "base/trace.h"
#include "db/pg_own.h"
#include "db/pq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct pg *pg_of(struct db *db)
{
    return (struct pg *)db; /* db is its first member */
}

int pg_init(struct pg *pg, const struct pg_options *options, const struct place *place, const char *run,
            struct err *err)
{
    *pg = (struct pg){.options = *options, .place = place, .build_lock = -1};
    pg->pooler = (struct pooler){.mode = options->pooler, .control = -1};
    pg->db.provider = &pg_provider;
    snprintf(pg->db.run, sizeof pg->db.run, "%s", run);
    snprintf(pg->db.folder, sizeof pg->db.folder, "%s", place->folder);
    if (options->url)
        return pg_set_conninfo(pg, err);
    if (pg_server_place(&pg->server, &options->server, place, run, err) < 0)
        return -1;
    pg_server_conninfo(&pg->server, pg->conninfo, sizeof pg->conninfo);
    return 0;
}

/* ---- asking the server */

static int lock_number(const char *text)
{
    char digits[9];

    snprintf(digits, sizeof digits, "%.8s", text);
    return (int)(uint32_t)strtoul(digits, NULL, 16);
}

/* The first column of the first row; *found false when there is none. */
int pg_ask(struct pg *pg, const char *sql, char *value, size_t size, bool *found, struct err *err)
{
    struct str rows = STR_INIT;
    const int code = pq_run(pg->conn, sql, &rows, err);

    *found = code == 0 && rows.len > 0;
    snprintf(value, size, "%.*s", (int)strcspn(str_text(&rows), "\t\n"), str_text(&rows));
    str_release(&rows);
    return code;
}

int pg_exists(struct pg *pg, const char *name, bool *found, struct err *err)
{
    char sql[160];
    char value[8];

    snprintf(sql, sizeof sql, "SELECT 1 FROM pg_catalog.pg_database WHERE datname = '%.63s'", name);
    return pg_ask(pg, sql, value, sizeof value, found, err);
}

int pg_try_lock(struct pg *pg, int kind, const char *number, bool *got, struct err *err)
{
    char sql[128];
    char value[8];
    bool found;

    snprintf(sql, sizeof sql, "SELECT pg_catalog.pg_try_advisory_lock(%d, %d)", kind, lock_number(number));
    if (pg_ask(pg, sql, value, sizeof value, &found, err) < 0)
        return -1;
    *got = value[0] == 't';
    return 0;
}

void pg_unlock(struct pg *pg, int kind, const char *number)
{
    struct err err;

    pq_runf(pg->conn, &err, "SELECT pg_catalog.pg_advisory_unlock(%d, %d)", kind, lock_number(number));
}

bool pg_has_ended(const struct pg *pg)
{
    return pg->options.ended && pg->options.ended();
}

/* ---- start */

/* Locks are the databases' own, so that all runs have to hold theirs in the same one. */
static int connect_to_server(struct pg *pg, struct err *err)
{
    static const char *const names[] = {"postgres", "template1", NULL};

    for (size_t i = 0; i < HS_COUNT(names); i++) {
        pg->conn = pq_open(pg->conninfo, names[i], err);
        if (pg->conn || strcmp(pq_state(), "3D000") != 0)
            break;
    }
    if (!pg->conn)
        return -1;
    pg->version = pq_version(pg->conn);
    if (pg->version / 10000 < PG_OLDEST)
        return err_set(err, "the PostgreSQL server has version %d; hasten needs %d or later", pg->version / 10000,
                       PG_OLDEST);
    return pq_run(pg->conn, "SET client_min_messages = error; SET application_name = 'hasten'", NULL, err);
}

int pg_join(struct pg *pg, struct err *err)
{
    return connect_to_server(pg, err);
}

static int lock_run(struct pg *pg, struct err *err)
{
    bool got;

    if (pg_try_lock(pg, LOCK_RUN, pg->db.run, &got, err) < 0)
        return -1;
    return got ? 0 : err_set(err, "another run on this PostgreSQL server has the number %s; start again", pg->db.run);
}

static int join_given(struct pg *pg, struct err *err)
{
    char value[16];
    bool found;

    if (pg_ask(pg, "SHOW fsync", value, sizeof value, &found, err) < 0)
        return -1;
    pg->durable = strcmp(value, "off") != 0;
    return pg_prune(&pg->db, false, err) < 0 ? -1 : 0;
}

void pg_unlock_build(struct pg *pg)
{
    if (pg->build_lock >= 0)
        close(pg->build_lock);
    pg->build_lock = -1;
}

/* One run builds a template for the cache; the others wait for it and take it from there. */
static int start_own(struct pg *pg, struct err *err)
{
    const struct pg_server_options *o = &pg->options.server;
    bool has;

    if (o->key && o->key[0] && !pg_server_has(&pg->server, o->key) &&
        place_cache_lock(o->key, pg->options.ended, &pg->build_lock, err) < 0)
        return -1;
    if (pg->build_lock >= 0 && pg_server_has(&pg->server, o->key))
        pg_unlock_build(pg);
    if (pg_server_provide(&pg->server, o, &has, err) < 0)
        return -1;
    pg->still = o->n_copies && (has || !o->key);
    return pg->still ? 0 : pg_server_start(&pg->server, o, err);
}

/* Nobody waits for the answer any more, or nobody will give it. */
static bool is_in_vain(void *arg)
{
    struct pg *pg = arg;
    struct err err;

    return pg_has_ended(pg) || (!pg->options.url && pg_server_check(&pg->server, &err) < 0);
}

void pg_attend(struct pg *pg)
{
    pq_watch(is_in_vain, pg);
}

int pg_connect(struct pg *pg, struct err *err)
{
    return connect_to_server(pg, err) < 0 ? -1 : lock_run(pg, err);
}

/* The address that is handed out is there as soon as the server is. */
static int open_to_clients(struct pg *pg, struct err *err)
{
    const struct pg_server *server = &pg->server;

    return pooler_start(&pg->pooler, server->folder, server->user, server->group, err);
}

static int start(struct db *db, struct err *err)
{
    struct pg *pg = pg_of(db);

    pg_attend(pg);
    if (!pg->options.url && start_own(pg, err) < 0)
        return -1;
    if (pg->still)
        return 0;
    if (pg_connect(pg, err) < 0)
        return -1;
    if (pg->options.url)
        return join_given(pg, err);
    return pg->options.server.n_copies ? 0 : open_to_clients(pg, err); /* nobody connects to what copies are made of */
}

/* ---- clones */

int pg_begin(struct pg *pg, const char *key, const char *name, struct err *err)
{
    if (!pg->options.url && open_to_clients(pg, err) < 0)
        return -1;
    if (pg->options.alone && pg_alone_begin(pg, err) < 0)
        return -1;
    return pg->options.watched ? pg_watch_begin(pg, key, name, err) : 0;
}

static int clone(struct db *db, const char *key, const char *name, struct err *err)
{
    struct pg *pg = pg_of(db);

    pooler_forget(&pg->pooler, name);
    pg_watch_end(pg, name);
    if (pg_clone_plainly(pg, key, name, err) < 0)
        return -1;
    trace_event("db_clone", TRACE_TEXT("name", name));
    return pg_begin(pg, key, name, err);
}

static int swap(struct pg *pg, const char *key, const char *name, struct err *err)
{
    pooler_forget(&pg->pooler, name);
    pg_watch_end(pg, name);
    if (pg_pool_swap(pg, key, name, err) < 0)
        return -1;
    return pg_begin(pg, key, name, err);
}

/* The server itself: a connection that has ended may be all that is seen of that for a moment. */
static bool is_dead(struct pg *pg, struct err *err)
{
    struct err unused;

    if (pq_run(pg->conn, "SELECT 1", NULL, &unused) == 0)
        return false;
    for (int round = 0; round < 100; round++) {
        if (pg_server_check(&pg->server, err) < 0)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return false;
}

/* Its server, of which the worker has spoilt more than its database, begins again as a copy; a new clone is what that ends in. */
static int renew(struct pg *pg, const char *key, const char *name, struct err *err)
{
    if (is_dead(pg, err))
        return -1; /* it was not put back: check says so, and the keeper counts that */
    trace_event("db_renew", TRACE_TEXT("name", name));
    pg->db.provider->forget(&pg->db);
    return start(&pg->db, err) < 0 ? -1 : clone(&pg->db, key, name, err);
}

/* A new clone; where even that cannot be had, as the test has locked us out of its server, a new server. */
static int replace(struct pg *pg, const char *key, const char *name, struct err *err)
{
    if (!pg->options.alone)
        return swap(pg, key, name, err);
    return !pg->alone.spoilt && swap(pg, key, name, err) == 0 ? 0 : renew(pg, key, name, err);
}

static int clean(struct db *db, const char *key, const char *name, struct str *what, struct err *err)
{
    struct pg *pg = pg_of(db);

    pooler_settle(&pg->pooler, name);
    if (pg_watch_clean(pg, name, what) == 0)
        return 0;
    trace_event("db_changed", TRACE_TEXT("name", name), TRACE_TEXT("what", str_text(what)));
    return replace(pg, key, name, err);
}

static void idle(struct db *db)
{
    pg_pool_fill(pg_of(db));
    pg_consider_pooler(pg_of(db));
}

/* ---- resets */

static int reset(struct db *db, const char *key, const char *name, struct err *err)
{
    struct pg *pg = pg_of(db);
    struct str what = STR_INIT;

    if (pg->options.alone && pg->options.watched)
        pg_watch_clean(pg, name, &what);
    else if (pg->options.alone)
        pg_alone_look(pg, name);
    str_release(&what);
    if (pg->options.alone && pg->alone.spoilt)
        return renew(pg, key, name, err);
    return pg->options.watched ? swap(pg, key, name, err) : clone(db, key, name, err);
}

/* ---- the end */

/* A test may end all connections of its own server. On one for all others would suffer: there that is the server's end. */
static bool is_back(struct pg *pg)
{
    struct err err;

    if (!pg->options.alone)
        return false;
    pq_close(pg->conn);
    pg->conn = NULL;
    return pg_connect(pg, &err) == 0;
}

static int check(struct db *db, struct err *err)
{
    struct pg *pg = pg_of(db);

    if (pg->options.url)
        return pq_run(pg->conn, "SELECT 1", NULL, err);
    if (!pooler_check(&pg->pooler)) /* it takes connections along: tests that failed by that run again */
        return err_set(err, "the process that keeps sessions of the PostgreSQL server has ended");
    for (int round = 0; round < 1000; round++) { /* a connection may break before the server is seen to end */
        if (pg_server_check(&pg->server, err) < 0)
            return -1;
        if (pg->conn && !pq_is_lost(pg->conn))
            return 0;
        if (round % 10 == 9 && is_back(pg))
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    return err_set(err, "the PostgreSQL server has ended hasten's own connection");
}

static void forget(struct db *db)
{
    struct pg *pg = pg_of(db);

    pg_pool_release(pg);
    pg->pool = (struct pg_pool){.number = pg->pool.number};
    pg_watch_release(pg);
    pq_close(pg->conn);
    pg->conn = NULL;
    pg_unlock_build(pg);
    pg_server_forget(&pg->server);
    pg->alone = (struct pg_alone){.spoilt = false};
    pg->still = false;
}

static void release(struct db *db)
{
    struct pg *pg = pg_of(db);

    pq_watch(NULL, NULL);
    pooler_end(&pg->pooler);
    pg_pool_release(pg);
    pg_watch_release(pg);
    if (pg->conn && pg->options.url)
        pg_drop_own(pg);
    pq_close(pg->conn);
    pg->conn = NULL;
    pg_unlock_build(pg);
    if (!pg->options.url) {
        pg_server_stop(&pg->server);
        pg_server_saved(&pg->server);
        pg_server_close(&pg->server);
    }
}

const struct db_provider pg_provider = {
    .name = "postgres",
    .start = start,
    .template_begin = pg_template_begin,
    .template_end = pg_template_end,
    .clone = clone,
    .hand_out = pg_hand_out,
    .fill = pg_command_for_sql,
    .reset = reset,
    .clean = clean,
    .idle = idle,
    .drop = pg_drop,
    .seal = pg_seal,
    .list = pg_list,
    .prune = pg_prune,
    .check = check,
    .forget = forget,
    .release = release,
};
