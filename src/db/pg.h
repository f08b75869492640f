/*
 * pg.h - PostgreSQL: a server of the run's own (pg_server.h), or one that is given.
 *
 *   hasten_<run>_<worker>   a worker's database
 *   hasten_<run>_build      a template while it is built
 *   hasten_t_<key>          a template, whole; it takes no connections
 *
 * On a given server the keeper holds an advisory lock of its run's number, in database "postgres", as long as it lives, on
 * whatever machine: a run whose lock can be had is dead. Another advisory lock is held while a template is built.
 */
#ifndef HASTEN_DB_PG_H
#define HASTEN_DB_PG_H

#include "db/pg_alone.h"
#include "db/pg_pool.h"
#include "db/pg_server.h"
#include "db/pg_watch.h"
#include "db/pooler.h"
#include "db/provider.h"

struct pg_conn;

struct pg_options {
    const char *url;    /* of a given server; "env": by libpq's variables (PGHOST ...); NULL: a server of our own */
    const char *scheme; /* of URLs handed out; NULL: that of url, or "postgresql" */
    struct pg_server_options server; /* of our own */
    bool (*ended)(void);             /* true: nobody waits for us any more; NULL: never */
    bool watched;                    /* databases are cleaned between tests (pg_watch.h) ... */
    bool in_place;                   /* ... and not only by new clones */
    struct pg_known *known;          /* borrowed: shared with other copies of the same cluster; NULL: it is not */
    bool alone;                      /* only one worker uses the server (pg_alone.h) */
    enum pooler_mode pooler;         /* of our own server */
};

struct pg {
    struct db db;
    struct pg_options options;
    const struct place *place; /* borrowed */
    struct pg_server server;
    struct pg_conn *conn; /* owned; to the database in which locks are held */
    char conninfo[DB_URL_SIZE];
    int version;    /* 150018 */
    bool durable;   /* the server waits for its disk: that decides how a clone is made */
    bool still;     /* the server has done its part: it is there to be copied, and does not run */
    int build_lock; /* owned; of the cache, while a template of our own server is built; -1 */
    struct pg_watching watching;
    struct pg_pool pool;
    struct pg_alone alone;
    uint32_t sealed_at; /* newest oid of a database when one was sealed (pg_seal.c) */
    struct pooler pooler;
};

/* Says what server it will be, so that URLs can be handed out before it runs. options' texts are borrowed. */
int pg_init(struct pg *pg, const struct pg_options *options, const struct place *place, const char *run,
            struct err *err);

/* Connects without a lock of our own and without clearing anything away: to list and prune, and for the keeper's children. */
int pg_join(struct pg *pg, struct err *err);

extern const struct db_provider pg_provider;

/* The URL of a database of that name on the same server: url's own path replaced. False when url has no such form. */
bool pg_url_of(const char *url, const char *scheme, const char *name, char out[DB_URL_SIZE]);

/* How to clone (measured: docs/decisions): the words after CREATE DATABASE ... TEMPLATE ..., "" when there is no choice. */
const char *pg_strategy(int version, bool durable, uint64_t bytes);

#endif
