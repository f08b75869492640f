#include "db/pg_watch.h"

#include "base/trace.h"
#include "db/pg_own.h"
#include "db/pq.h"
#include "db/wal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STATEMENT_MOST = 100 };

#define POSITION "SELECT pg_catalog.pg_current_wal_insert_lsn()"

/*
 * Prepared, as planning it takes longer than running it; the functions below pg_stat_activity and pg_locks, for the same reason.
 * The message is an entry of the log without a meaning, whose commit waits until all before it is in the file.
 */
static const char session_sql[] =
    "SET synchronous_commit = on; SET client_min_messages = error; SET application_name = 'hasten'; "
    "SET lock_timeout = '2s'; SET session_replication_role = replica; "
    "PREPARE hasten_settle(pg_lsn, oid, bool) AS SELECT (SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM "
    "pg_catalog.pg_stat_get_activity(NULL) a WHERE (datid = $2 OR ($3 AND datid <> 0 AND application_name <> "
    "'hasten')) AND "
    "pid <> pg_catalog.pg_backend_pid() AND (state IS DISTINCT FROM 'idle' OR EXISTS (SELECT 1 FROM "
    "pg_catalog.pg_lock_status() l WHERE l.pid = a.pid AND locktype = "
    "'advisory'))), CASE WHEN pg_catalog.pg_current_wal_insert_lsn() <> $1 THEN "
    "pg_catalog.pg_logical_emit_message(true, 'hasten', '') END";

/*
 * One pass over what was touched, before anything is done. Many deletions in one statement take the server less than as many
 * statements.
 */
struct plan {
    struct str deletions, calls; /* of the next statement; n of them together */
    unsigned n;
    struct str sql;    /* in a transaction */
    struct str vacuum; /* names */
    bool shared;       /* something in the catalogs of the whole server */
};

static struct pg_watch *find(struct pg *pg, const char *name)
{
    for (size_t i = 0; i < pg->watching.n; i++)
        if (!strcmp(pg->watching.items[i].name, name))
            return &pg->watching.items[i];
    return NULL;
}

struct pg_known *pg_known(struct pg *pg)
{
    return pg->options.known ? pg->options.known : &pg->watching.own;
}

void pg_known_release(struct pg_known *known)
{
    pg_relations_release(known->items, known->n);
    *known = (struct pg_known){.n = 0};
}

static struct pg_relations *relations_of(struct pg *pg, const char *key)
{
    struct pg_known *known = pg_known(pg);

    for (size_t i = 0; i < known->n; i++)
        if (!strcmp(known->items[i].key, key))
            return &known->items[i];
    return NULL;
}

/* ---- the beginning */

int pg_log_source(struct pg *pg, struct pg_conn *conn, struct wal_source *source, char folder[PLACE_SIZE + 16],
                  struct err *err)
{
    struct pg_watching *all = &pg->watching; /* the same for all databases */
    struct str row = STR_INIT;
    int code = 0;

    if (!all->segment_bytes)
        code = pq_run(conn,
                      "SELECT setting, timeline_id FROM pg_catalog.pg_settings, "
                      "pg_catalog.pg_control_checkpoint() WHERE name = 'wal_segment_size'",
                      &row, err);
    if (code == 0 && row.len)
        sscanf(str_text(&row), "%u\t%u", &all->segment_bytes, &all->timeline);
    str_release(&row);
    snprintf(folder, PLACE_SIZE + 16, "%s/data/pg_wal", pg->server.folder);
    *source = (struct wal_source){folder, pg->version / 10000, all->segment_bytes, all->timeline, pg->options.alone};
    return code;
}

static int look_at_relations(struct pg *pg, const struct pg_watch *w, struct err *err)
{
    struct pg_known *known = pg_known(pg);
    struct pg_relations relations = {.n = 0};

    if (pg->options.url || relations_of(pg, w->key))
        return 0;
    snprintf(relations.key, sizeof relations.key, "%s", w->key);
    if (pg_relations_read(w->conn, &relations, err) < 0)
        return -1;
    known->items = hs_realloc(known->items, (known->n + 1) * sizeof *known->items);
    known->items[known->n++] = relations;
    return 0;
}

static int look_at_shared(const struct pg_watch *w, uint32_t *oid, char shared[64], struct err *err)
{
    struct str row = STR_INIT;
    const int code = pq_run(
        w->conn,
        "SELECT oid, md5(concat_ws('|', datdba, datallowconn, datconnlimit, datistemplate, datacl::text, "
        "pg_catalog.shobj_description(oid, 'pg_database'), (SELECT string_agg(setrole::text || setconfig::text, ',' "
        "ORDER BY setrole) FROM pg_catalog.pg_db_role_setting WHERE setdatabase = d.oid))) "
        "FROM pg_catalog.pg_database d WHERE datname = pg_catalog.current_database()",
        &row, err);

    if (code == 0)
        sscanf(str_text(&row), "%u\t%63s", oid, shared);
    str_release(&row);
    return code;
}

/* The last row of statements whose last one asks for the position. */
static int run_to_position(struct pg_watch *w, const char *sql, struct err *err)
{
    struct str row = STR_INIT;
    int code = pq_run(w->conn, sql, &row, err);

    if (code == 0 && !wal_position(str_text(&row), &w->from))
        code = err_set(err, "the PostgreSQL server does not say where its log is");
    str_release(&row);
    return code;
}

static struct pg_watch *add(struct pg *pg, const char *key, const char *name)
{
    struct pg_watching *all = &pg->watching;
    struct pg_watch *w = find(pg, name);

    if (w)
        pq_close(w->conn);
    else {
        all->items = hs_realloc(all->items, (all->n + 1) * sizeof *all->items);
        w = &all->items[all->n++];
    }
    *w = (struct pg_watch){.oid = 0};
    snprintf(w->name, sizeof w->name, "%s", name);
    snprintf(w->key, sizeof w->key, "%s", key ? key : "");
    return w;
}

int pg_watch_begin(struct pg *pg, const char *key, const char *name, struct err *err)
{
    struct pg_watch *w = add(pg, key, name);

    w->conn = pq_open(pg->conninfo, name, err);
    if (!w->conn)
        return -1;
    if (pq_run(w->conn, session_sql, NULL, err) == 0 && look_at_relations(pg, w, err) == 0 &&
        look_at_shared(w, &w->oid, w->shared, err) == 0)
        return run_to_position(w, POSITION, err);
    pq_close(w->conn);
    w->conn = NULL;
    return -1;
}

void pg_watch_end(struct pg *pg, const char *name)
{
    struct pg_watch *w = find(pg, name);

    if (w) {
        pq_close(w->conn);
        w->conn = NULL;
    }
}

void pg_watch_release(struct pg *pg)
{
    struct pg_watching *all = &pg->watching;

    for (size_t i = 0; i < all->n; i++)
        pq_close(all->items[i].conn);
    free(all->items);
    pg_known_release(&all->own);
    *all = (struct pg_watching){0};
}

/* ---- what has happened */

/* Ends who is in the middle of something. *to: up to where the log is written then; 0 when nobody has added to it. */
static int settle(const struct pg *pg, struct pg_watch *w, uint64_t *to, struct err *err)
{
    const struct timespec nap = {.tv_nsec = 1000000};
    struct str sql = STR_INIT;
    struct str row = STR_INIT;
    int code = 0;

    str_addf(&sql, "EXECUTE hasten_settle('%X/%X', %u, %s)", (unsigned)(w->from >> 32), (unsigned)w->from, w->oid,
             pg->options.alone ? "true" : "false");
    for (int round = 0; code == 0; round++) {
        str_reset(&row);
        code = pq_run(w->conn, str_text(&sql), &row, err);
        if (code == 0 && str_text(&row)[0] == '0')
            break;
        if (code == 0 && round == 2000)
            code = err_set(err, "a connection could not be ended");
        nanosleep(&nap, NULL);
    }
    *to = 0;
    if (code == 0)
        wal_position(str_text(&row) + 2, to);
    str_release(&sql);
    str_release(&row);
    return code;
}

static void add_name(struct str *list, const char *name)
{
    str_addf(list, "%s%s", list->len ? ", " : "", name);
}

static void end_statement(struct plan *plan)
{
    if (plan->deletions.len)
        str_addf(&plan->sql, "WITH %s ", str_text(&plan->deletions));
    if (plan->n)
        str_addf(&plan->sql, "SELECT %s; ", plan->calls.len ? str_text(&plan->calls) : "1");
    str_reset(&plan->deletions);
    str_reset(&plan->calls);
    plan->n = 0;
}

static void plan_deletion(struct plan *plan, const char *name)
{
    str_addf(&plan->deletions, "%sd%u AS (DELETE FROM ONLY %s)", plan->deletions.len ? ", " : "", plan->n, name);
    if (++plan->n == STATEMENT_MOST)
        end_statement(plan);
}

static void plan_call(struct plan *plan, const char *call)
{
    add_name(&plan->calls, call);
    if (++plan->n == STATEMENT_MOST)
        end_statement(plan);
}

/* False: it cannot be put back in place. */
static bool plan_relation(struct plan *plan, const struct pg_relation *relation, uint32_t block, struct str *what)
{
    if (relation->kind == 't') /* its table is there too */
        return true;
    add_name(what, relation->name);
    if (relation->kind == 'S') {
        if (relation->put_back)
            plan_call(plan, relation->put_back);
        return relation->put_back != NULL;
    }
    if (relation->seeded || relation->odd || relation->kind != 'r')
        return false;
    plan_deletion(plan, relation->name);
    if (block > 0)
        add_name(&plan->vacuum, relation->name);
    return true;
}

/* Those say nothing to the log: taken as changed whenever anything was. */
static bool plan_unlogged(struct plan *plan, const struct pg_relations *all)
{
    struct str unused = STR_INIT;
    bool can = true;

    for (size_t i = 0; i < all->n && can; i++)
        if (all->items[i].unlogged)
            can = plan_relation(plan, &all->items[i], 1, &unused);
    str_release(&unused);
    return can;
}

static bool make_plan(struct plan *plan, const struct pg_watch *w, const struct pg_relations *all,
                      const struct wal_touches *touches, struct str *what)
{
    if (touches->remapped)
        return false;
    for (size_t i = 0; i < touches->n; i++) {
        const struct wal_touch *touch = &touches->items[i];
        const struct pg_relation *relation;

        if (touch->database != w->oid) { /* of other databases pg_alone_judge has had its say */
            plan->shared |= !touch->database;
            continue;
        }
        relation = pg_relations_find(all, touch->filenode);
        if (!relation)
            add_name(what, "the schema");
        if (!relation || !plan_relation(plan, relation, touch->block, what))
            return false;
    }
    if (!plan_unlogged(plan, all))
        return false;
    end_statement(plan);
    return true;
}

static void release_plan(struct plan *plan)
{
    str_release(&plan->deletions);
    str_release(&plan->calls);
    str_release(&plan->sql);
    str_release(&plan->vacuum);
}

/* ---- the way back */

static int put_rows_back(struct pg_watch *w, const struct plan *plan, struct err *err)
{
    struct str sql = STR_INIT;
    struct err unused;
    int code;

    if (plan->sql.len)
        str_addf(&sql, "BEGIN; %sCOMMIT; ", str_text(&plan->sql));
    str_puts(&sql, POSITION);
    code = run_to_position(w, str_text(&sql), err);
    if (code < 0)
        pq_run(w->conn, "ROLLBACK", NULL, &unused);
    str_release(&sql);
    return code;
}

static int carry_out(struct pg_watch *w, const struct plan *plan, struct err *err)
{
    char shared[64] = "";
    uint32_t oid;

    if (plan->shared && (look_at_shared(w, &oid, shared, err) < 0 || strcmp(shared, w->shared) != 0))
        return -1;
    if (put_rows_back(w, plan, err) < 0)
        return -1;
    if (!plan->vacuum.len)
        return 0;
    return pq_runf(w->conn, err, "VACUUM %s", str_text(&plan->vacuum)) < 0 ? -1 : run_to_position(w, POSITION, err);
}

/* True when it is as the template again. */
static bool put_back(struct pg *pg, struct pg_watch *w, uint64_t to, struct str *what)
{
    char folder[PLACE_SIZE + 16];
    struct wal_source source;
    const struct pg_relations *all = relations_of(pg, w->key);
    struct wal_touches touches;
    struct plan plan = {.shared = false};
    struct err err;
    bool done;

    if (pg->options.url || !all || pg_log_source(pg, w->conn, &source, folder, &err) < 0 ||
        wal_read(&source, w->from, to, w->oid, &touches, &err) < 0) {
        add_name(what, "what cannot be told");
        pg->alone.spoilt = pg->options.alone;
        return false;
    }
    if (pg->options.alone && pg_alone_judge(pg, &touches, w->oid)) {
        add_name(what, "the server");
        wal_touches_release(&touches);
        return false;
    }
    done = make_plan(&plan, w, all, &touches, what) && (!plan.sql.len || pg->options.in_place) &&
           carry_out(w, &plan, &err) == 0;
    wal_touches_release(&touches);
    release_plan(&plan);
    return done;
}

int pg_watch_clean(struct pg *pg, const char *name, struct str *what)
{
    struct pg_watch *w = find(pg, name);
    struct err err;
    uint64_t to;

    if (!w || !w->conn || settle(pg, w, &to, &err) < 0) {
        pg->alone.spoilt = pg->options.alone;
        return 1;
    }
    if (!to && pg->options.alone && pg_alone_judge_files(pg)) {
        add_name(what, "the server");
        return 1;
    }
    if (!to)
        return 0;
    return put_back(pg, w, to, what) ? 0 : 1;
}
