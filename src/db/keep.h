/*
 * keep.h - the keeper: the one process of a run that has the servers, makes templates and clones, and cleans up.
 *
 * `hasten db keep` runs it, started before the first conftest is imported, so that server and template come to be while
 * tests are collected. It says on stdout, and in the file `info` of its folder (place.h), a line for each fact, then an
 * empty one:
 *
 *   control PATH        its socket
 *   run DIGITS
 *   postgres URL        of the worker's database, with %s for the worker as in its name, wherever that stands
 *   sqlite PATH         the same
 *   redis URL           the same
 *
 * A request is a line on a connection of its own to the socket; the answer is "ok TEXT" or "error TEXT", a line. It comes when it can be given: asking is waiting.
 *
 *   lease KIND WORKER PID   the URL of this worker's database; another PID than last time: with the template's content again
 *   reset KIND WORKER PID   the same, always with the template's content
 *   clean KIND WORKER PID   between two tests: the same by what is cheapest (provider.h); the answer is "ok WHAT": what had been
 *                           changed, nothing for nothing
 *   seal KIND WORKER PID    nobody gets into that database any more; "ok WHAT" as in provider.h
 *   starts KIND             "ok N": how often its server was started again, after it had died
 *   ready KIND              "ok" when databases of this kind can be had
 *
 * What went wrong, with the output of a set-up, it also adds to the file `trouble` of its folder.
 *
 * It ends with SIGTERM, or when the process ends for which it keeps.
 */
#ifndef HASTEN_DB_KEEP_H
#define HASTEN_DB_KEEP_H

#include "db/cache.h"
#include "db/pg_each.h"
#include "db/redis.h"
#include "db/sqlite.h"

struct keep_template {
    bool used;
    bool early;          /* workers' databases are made before they are asked for */
    const char *key;     /* "": not to be shared; without sql and command not looked at */
    const char *sql;     /* file; NULL: none */
    const char *command; /* of a shell, run in root; NULL: none */
    const char *reset;   /* "exact", "rollback", "clone": they are cleaned between tests; NULL: they are not */
    const char *env;     /* variable that tells the command the URL, beside HASTEN_DB_URL; NULL: none */
};

struct keep_options {
    int pid;          /* for which the databases are kept */
    const char *root; /* the project's folder */
    uint32_t n_workers;
    struct keep_template postgres, sqlite, redis;
    struct pg_options pg;
    bool pg_each; /* a PostgreSQL server of its own for every worker */
    struct sqlite_options files;
    struct redis_options cache;
    struct cache_limits kept; /* of the cache, when this run looks after it */
};

/* Until the end. 0, or -1 when it could not begin; what fails later is told to those who ask. */
int keep_run(const struct keep_options *options, struct err *err);

#endif
