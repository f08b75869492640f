/* pg_template.c - templates: built under a name of the run's, sealed, and named by their key. */
#include "base/trace.h"
#include "db/pg_copy.h"
#include "db/pg_own.h"
#include "db/pq.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* 1: it is there. 0: this process holds the lock of its build now. */
static int await_template(struct pg *pg, const char *key, const char *name, struct err *err)
{
    const struct timespec nap = {.tv_nsec = 20000000};
    bool found, got;

    for (;;) {
        if (pg_exists(pg, name, &found, err) < 0)
            return -1;
        if (found)
            return 1;
        if (!key[0])
            return 0;
        if (pg_try_lock(pg, LOCK_TEMPLATE, key, &got, err) < 0)
            return -1;
        if (got && pg_exists(pg, name, &found, err) < 0)
            return -1;
        if (got && found)
            pg_unlock(pg, LOCK_TEMPLATE, key);
        if (got)
            return found ? 1 : 0;
        if (pg_has_ended(pg))
            return err_set(err, "ended while another run built the same template");
        nanosleep(&nap, NULL);
    }
}

int pg_template_begin(struct db *db, const char *key, char url[DB_URL_SIZE], struct err *err)
{
    struct pg *pg = (struct pg *)db;
    char name[DB_NAME_SIZE], build[DB_NAME_SIZE];
    int code;

    if (pg->still)
        return 1;
    pg_template_name(db, key, name);
    db_name(db->run, "build", build);
    code = await_template(pg, key, name, err);
    if (code != 0)
        return code;
    if (db->provider->drop(db, build, err) < 0 || pg_create(pg, build, "template1", err) < 0) {
        struct err unused;

        db->provider->template_end(db, key, false, &unused);
        return -1;
    }
    if (pg->options.url)
        db->provider->hand_out(db, build, url);
    else
        pg_own_url(pg, build, "", true, url);
    trace_event("db_template_build", TRACE_TEXT("key", key));
    return 0;
}

/*
 * Statistics once, as nothing else gathers them; frozen rows need no look at who wrote them in any clone. The first session
 * after that writes what the next ones begin with (pg_internal.init), and a clone has its file.
 */
static int settle(struct pg *pg, const char *build, struct err *err)
{
    struct pg_conn *conn = pq_open(pg->conninfo, build, err);
    const int code = conn ? pq_run(conn, "VACUUM (FREEZE, ANALYZE)", NULL, err) : -1;
    struct err unused;

    pq_close(conn);
    pq_close(code == 0 ? pq_open(pg->conninfo, build, &unused) : NULL);
    return code;
}

/* The name comes last: what has it is whole. */
static int seal(struct pg *pg, const char *build, const char *name, struct err *err)
{
    if (settle(pg, build, err) < 0 ||
        pq_runf(pg->conn, err, "ALTER DATABASE %s WITH ALLOW_CONNECTIONS false IS_TEMPLATE true", build) < 0 ||
        pg_end_connections(pg, build, err) < 0 ||
        pq_runf(pg->conn, err, "COMMENT ON DATABASE %s IS 'template of hasten %s, built %lld'", build, HASTEN_VERSION,
                (long long)time(NULL)) < 0)
        return -1;
    for (int round = 0;; round++) { /* the server itself waits for a tenth of a second when somebody is there */
        const int code = pq_runf(pg->conn, err, "ALTER DATABASE %s RENAME TO %s", build, name);

        if (code == 0 || round == 100 || strcmp(pq_state(), "55006") != 0)
            return code;
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    }
}

/* Copies of the cluster share the files of databases that nobody can connect to. */
static int note_closed(struct pg *pg, struct err *err)
{
    struct str numbers = STR_INIT;
    int code = pq_run(pg->conn, "SELECT oid FROM pg_catalog.pg_database WHERE NOT datallowconn", &numbers, err);

    if (code == 0)
        code = pg_copy_note(&pg->server, str_text(&numbers), err);
    str_release(&numbers);
    return code;
}

/*
 * Our own server ends with the run: what it has built goes to the cache at once, before anybody connects. Where workers have
 * servers that are copies of this one, it has done its part.
 */
static int save(struct pg *pg, const char *key, struct err *err)
{
    const bool again = !pg->options.server.n_copies;

    if (pg->options.url || (!key[0] && again))
        return 0;
    if (note_closed(pg, err) < 0)
        return -1;
    pq_close(pg->conn);
    pg->conn = NULL;
    if (pg_server_save(&pg->server, key, again, err) < 0)
        return -1;
    pg->still = !again;
    return again ? pg_connect(pg, err) : 0;
}

int pg_template_end(struct db *db, const char *key, bool filled, struct err *err)
{
    struct pg *pg = (struct pg *)db;
    char name[DB_NAME_SIZE], build[DB_NAME_SIZE];
    struct err unused;
    int code = 0;

    pg_template_name(db, key, name);
    db_name(db->run, "build", build);
    if (filled)
        code = seal(pg, build, name, err);
    if (!filled || code < 0)
        pg_drop_any(pg, build, &unused);
    if (key[0])
        pg_unlock(pg, LOCK_TEMPLATE, key);
    trace_event("db_template_end", TRACE_TEXT("key", key), TRACE_BOOL("filled", filled && code == 0));
    if (filled && code == 0)
        code = save(pg, key, err);
    pg_unlock_build(pg);
    return code;
}
