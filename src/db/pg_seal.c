/*
 * pg_seal.c - the database that code was imported with, before workers were forked: closed, and not to be made again.
 *
 * It stays, as a template that takes no connections: what asks for it gets an error, and so does CREATE DATABASE.
 */
#include "db/pg_own.h"

#include "base/trace.h"
#include "db/pq.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LEAVE_ROUNDS = 200, STATISTICS_AT_ONCE = 150000 };

/* Those of people; one that is leaving is waited for, two seconds at most. */
static int count_sessions(struct pg *pg, const char *name, long *n, struct err *err)
{
    char sql[256], value[24];
    bool found;

    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = '%.63s' AND "
             "backend_type = 'client backend'",
             name);
    for (int round = 0;; round++) {
        if (pg_ask(pg, sql, value, sizeof value, &found, err) < 0)
            return -1;
        *n = atol(value);
        if (!*n || round == LEAVE_ROUNDS)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

/*
 * What has been written in it since it was made: rows, also of catalogs, and also what was rolled back. A sequence counts
 * when it was looked at. A session tells that when it ends; before version 15 that could get lost.
 */
static int find_changes(struct pg *pg, const char *name, struct str *what, struct err *err)
{
    static const char sql[] =
        "SELECT (SELECT tup_inserted + tup_updated + tup_deleted FROM pg_catalog.pg_stat_database WHERE datname = "
        "current_database()) + (SELECT coalesce(sum(blks_read + blks_hit), 0) FROM pg_catalog.pg_statio_all_sequences)";
    struct pg_conn *conn = pq_open(pg->conninfo, name, err);
    struct str rows = STR_INIT;
    int code = -1;

    if (conn)
        code = pq_run(conn, sql, &rows, err);
    if (code == 0 && pg->version < STATISTICS_AT_ONCE)
        str_puts(what, "this version does not say at once whether the database was changed");
    else if (code == 0 && atoll(str_text(&rows)) != 0)
        str_puts(what, "the database was changed");
    pq_close(conn);
    str_release(&rows);
    return code;
}

/* One whose name says nothing of a worker: what was derived from this one's name before the fork is the same in all. */
static int find_other(struct pg *pg, const char *name, struct str *what, struct err *err)
{
    char sql[512], value[DB_NAME_SIZE];
    bool found;

    snprintf(sql, sizeof sql,
             "SELECT datname FROM pg_catalog.pg_database WHERE oid > %u AND datname <> '%.63s' AND (strpos(datname, "
             "'%.63s') > 0 OR (datname !~ '^hasten_(t|[0-9a-f]{8})_' AND strpos(datname, 'hasten_%.8s_') = 0)) "
             "ORDER BY 1 LIMIT 1",
             pg->sealed_at, name, name, pg->db.run);
    if (pg_ask(pg, sql, value, sizeof value, &found, err) < 0)
        return -1;
    if (found)
        str_addf(what, "a test has made the database '%s', which every worker would", value);
    return 0;
}

static int note_newest(struct pg *pg, struct err *err)
{
    char value[24];
    bool found;

    if (pg_ask(pg, "SELECT max(oid::bigint) FROM pg_catalog.pg_database", value, sizeof value, &found, err) < 0)
        return -1;
    pg->sealed_at = (uint32_t)strtoul(value, NULL, 10);
    return 0;
}

static int is_sealed(struct pg *pg, const char *name, bool *sealed, struct err *err)
{
    char sql[256], value[8];

    snprintf(sql, sizeof sql, "SELECT 1 FROM pg_catalog.pg_database WHERE datname = '%.63s' AND NOT datallowconn",
             name);
    return pg_ask(pg, sql, value, sizeof value, sealed, err);
}

int pg_seal(struct db *db, const char *key, const char *name, struct str *what, struct err *err)
{
    struct pg *pg = (struct pg *)db;
    bool sealed;
    long n = 0;

    (void)key;
    if (is_sealed(pg, name, &sealed, err) < 0)
        return -1;
    if (sealed)
        return find_other(pg, name, what, err);
    if (note_newest(pg, err) < 0)
        return -1;
    pg_watch_end(pg, name); /* our own connection to it */
    pooler_forget(&pg->pooler, name);
    if (count_sessions(pg, name, &n, err) < 0)
        return -1;
    if (n)
        str_puts(what, "a connection to the database was opened");
    else if (find_changes(pg, name, what, err) < 0)
        return -1;
    trace_event("db_seal", TRACE_TEXT("name", name), TRACE_TEXT("what", str_text(what)));
    return pq_runf(pg->conn, err, "ALTER DATABASE %s WITH ALLOW_CONNECTIONS false IS_TEMPLATE true", name);
}
