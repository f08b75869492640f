#include "db/pg.h"

#include "base/trace.h"
#include "db/pg_own.h"
#include "db/pq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAL_LOG_MOST (UINT64_C(100) << 20)

static struct pg *pg_of(struct db *db)
{
    return (struct pg *)db; /* db is its first member */
}

/* ---- names and addresses */

void pg_template_name(const struct db *db, const char *key, char name[DB_NAME_SIZE])
{
    if (key && key[0])
        snprintf(name, DB_NAME_SIZE, "hasten_t_%.40s", key);
    else if (key)
        db_name(db->run, "template", name); /* of this run alone */
    else
        snprintf(name, DB_NAME_SIZE, "template1"); /* nothing to set up */
}

static int lock_number(const char *text)
{
    char digits[9];

    snprintf(digits, sizeof digits, "%.8s", text);
    return (int)(uint32_t)strtoul(digits, NULL, 16);
}

bool pg_url_of(const char *url, const char *scheme, const char *name, char out[DB_URL_SIZE])
{
    const char *host = strstr(url, "://");
    const size_t n_host = host ? strcspn(host + 3, "/?#") : 0;
    const char *query = host ? strpbrk(host + 3 + n_host, "?") : NULL;
    int n;

    if (!host)
        return false;
    n = snprintf(out, DB_URL_SIZE, "%.*s://%.*s/%s%s", scheme ? (int)strlen(scheme) : (int)(host - url),
                 scheme ? scheme : url, (int)n_host, host + 3, name, query ? query : "");
    return n < DB_URL_SIZE;
}

void pg_own_url(const struct pg *pg, const char *name, const char *copy, bool straight, char url[DB_URL_SIZE])
{
    snprintf(url, DB_URL_SIZE, "%.64s://postgres@/%s?host=%s%s%.40s/%s&port=5432",
             pg->options.scheme ? pg->options.scheme : "postgresql", name, pg->server.folder,
             copy[0] ? "/" PLACE_COPY : "", copy, straight || pg->options.pooler == POOLER_OFF ? "s" : "p");
}

static void hand_out(struct db *db, const char *name, char url[DB_URL_SIZE])
{
    struct pg *pg = pg_of(db);
    const char *given = pg->options.url;
    const char *scheme = pg->options.scheme ? pg->options.scheme : "postgresql";

    if (!given)
        pg_own_url(pg, name, "", false, url);
    else if (!strcmp(given, "env"))
        snprintf(url, DB_URL_SIZE, "%.64s:///%s", scheme, name);
    else
        HS_CHECK(pg_url_of(given, pg->options.scheme, name, url)); /* pg_init has tried */
}

/* libpq knows no "postgresql+psycopg://", which SQLAlchemy's users write. */
static int set_conninfo(struct pg *pg, struct err *err)
{
    const char *url = pg->options.url;
    char unused[DB_URL_SIZE];

    if (!url || !strcmp(url, "env"))
        return 0;
    if ((strncmp(url, "postgresql", 10) != 0 && strncmp(url, "postgres:", 9) != 0) ||
        !pg_url_of(url, pg->options.scheme, "hasten_00000000_aaaaaaaaaaaaaaaa", unused))
        return err_set(err, "'%.200s' is not the URL of a PostgreSQL server (postgresql://user@host:port/database)",
                       url);
    snprintf(pg->conninfo, sizeof pg->conninfo, "postgresql%s", strstr(url, "://"));
    return 0;
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
        return set_conninfo(pg, err);
    if (pg_server_place(&pg->server, &options->server, place, run, err) < 0)
        return -1;
    pg_server_conninfo(&pg->server, pg->conninfo, sizeof pg->conninfo);
    return 0;
}

/* ---- asking the server */

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

const char *pg_strategy(int version, bool durable, uint64_t bytes)
{
    if (version < 150000)
        return ""; /* files are copied, always */
    return !durable || bytes > WAL_LOG_MOST ? " STRATEGY FILE_COPY" : " STRATEGY WAL_LOG";
}

static int drop(struct db *db, const char *name, struct err *err)
{
    struct pg *pg = pg_of(db);

    if (pg->version >= 130000)
        return pq_runf(pg->conn, err, "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
    if (pq_runf(pg->conn, err,
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
                "WHERE datname = '%s'",
                name) < 0)
        return -1;
    return pq_runf(pg->conn, err, "DROP DATABASE IF EXISTS %s", name);
}

/* What ALTER DATABASE ... SET has said of the template: CREATE DATABASE leaves it out. */
static int copy_settings(struct pg *pg, const char *from, const char *to, struct err *err)
{
    static const char lists[] =
        "'local_preload_libraries','search_path','session_preload_libraries','shared_preload_libraries',"
        "'temp_tablespaces','unix_socket_directories'"; /* their values are lists of quoted names already */
    struct str sql = STR_INIT;
    struct str statements = STR_INIT;
    int code;

    str_addf(
        &sql,
        "SELECT format('ALTER %%s SET %%I TO %%s;', CASE WHEN s.setrole = 0 THEN format('DATABASE %%I', '%s') ELSE "
        "format('ROLE %%I IN DATABASE %%I', (SELECT rolname FROM pg_catalog.pg_roles r WHERE r.oid = s.setrole), "
        "'%s') END, split_part(c, '=', 1), CASE WHEN split_part(c, '=', 1) IN (%s) AND strpos(c, '=') < length(c) "
        "THEN substr(c, strpos(c, '=') + 1) ELSE quote_literal(substr(c, strpos(c, '=') + 1)) END) "
        "FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, "
        "unnest(s.setconfig) c WHERE d.datname = '%s'",
        to, to, lists, from);
    code = pq_run(pg->conn, str_text(&sql), &statements, err);
    if (code == 0 && statements.len)
        code = pq_run(pg->conn, str_text(&statements), NULL, err);
    str_release(&sql);
    str_release(&statements);
    return code;
}

static uint64_t size_of(struct pg *pg, const char *name)
{
    char sql[128];
    char value[32];
    bool found;
    struct err err;

    snprintf(sql, sizeof sql, "SELECT pg_catalog.pg_database_size('%.63s')", name);
    return pg_ask(pg, sql, value, sizeof value, &found, &err) == 0 ? strtoull(value, NULL, 10) : 0;
}

int pg_create(struct pg *pg, const char *name, const char *from, struct err *err)
{
    const uint64_t bytes = pg->durable ? size_of(pg, from) : 0;

    return pq_runf(pg->conn, err, "CREATE DATABASE %s TEMPLATE %s%s", name, from,
                   pg_strategy(pg->version, pg->durable, bytes));
}

int pg_clone_plainly(struct pg *pg, const char *key, const char *name, struct err *err)
{
    char from[DB_NAME_SIZE];
    bool found;

    pg_template_name(&pg->db, key, from);
    if (pg_exists(pg, name, &found, err) < 0 || (found && pg_drop_any(pg, name, err) < 0) ||
        pg_create(pg, name, from, err) < 0)
        return -1;
    if (key && copy_settings(pg, from, name, err) < 0) {
        struct err unused;

        drop(&pg->db, name, &unused);
        return -1;
    }
    return 0;
}

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

/* A template has to be made an ordinary database before it can be dropped. */
int pg_drop_any(struct pg *pg, const char *name, struct err *err)
{
    bool found;

    if (pg_exists(pg, name, &found, err) < 0)
        return -1;
    if (found && pq_runf(pg->conn, err, "ALTER DATABASE %s WITH IS_TEMPLATE false", name) < 0)
        return strcmp(pq_state(), "3D000") == 0 ? 0 : -1; /* another run was faster */
    return found ? drop(&pg->db, name, err) : 0;
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

/* psql, as scripts for it are what people have (pg_dump writes them): \\copy, \\i, COPY ... FROM stdin. */
static int command_for_sql(struct db *db, const char *url, const char *file, struct str *command, struct err *err)
{
    const struct pg *pg = pg_of(db);
    char psql[PLACE_SIZE + 16] = "psql";

    (void)err;
    if (!pg->options.url) {
        snprintf(psql, sizeof psql, "%s/psql", pg->server.program.bin);
        if (access(psql, X_OK) < 0)
            snprintf(psql, sizeof psql, "psql");
    }
    str_puts(command, "exec ");
    db_shell_word(command, psql);
    str_puts(command, " -X -q -v ON_ERROR_STOP=1 -o /dev/null -f ");
    db_shell_word(command, file);
    str_puts(command, " -d ");
    if (strncmp(url, "postgresql+", 11) == 0) {
        char plain[DB_URL_SIZE];

        snprintf(plain, sizeof plain, "postgresql%s", strstr(url, "://"));
        db_shell_word(command, plain);
    } else
        db_shell_word(command, url);
    return 1;
}

const struct db_provider pg_provider = {
    .name = "postgres",
    .start = start,
    .template_begin = pg_template_begin,
    .template_end = pg_template_end,
    .clone = clone,
    .hand_out = hand_out,
    .fill = command_for_sql,
    .reset = reset,
    .clean = clean,
    .idle = idle,
    .drop = drop,
    .seal = pg_seal,
    .list = pg_list,
    .prune = pg_prune,
    .check = check,
    .forget = forget,
    .release = release,
};
