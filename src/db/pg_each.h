/*
 * pg_each.h - PostgreSQL, a server of its own for every worker, so that nothing at all is shared between them: not roles,
 * tablespaces, settings, databases that tests make, nor what pg_stat_activity shows.
 *
 * The first server (pg.h) builds the template and stops; every other one is a copy of its cluster (pg_copy.h) in a folder of
 * its folder, PLACE_COPY and the worker's name. Those of all workers come to be at the same time: children copy, servers
 * start, children clone the databases in them.
 *
 * Between two tests a worker's database is put back as on one server for all, and where a test has changed anything else of its
 * server, that begins again as a copy (pg_alone.h). One that has died is there again when `check` says so.
 */
#ifndef HASTEN_DB_PG_EACH_H
#define HASTEN_DB_PG_EACH_H

#include "db/pg.h"

struct pg_each_one;

struct pg_each {
    struct db db;
    struct pg base;            /* builds the template */
    struct pg_options options; /* of the others */
    struct pg_known known;     /* of all copies */
    const struct place *place; /* borrowed */
    uint32_t n_workers;
    const char *key;           /* borrowed: of the template, as clone was told it last */
    struct pg_each_one **ones; /* owned, n */
    size_t n;
};

/* As pg_init, of our own servers; options->server.n_workers: for so many they are made ahead. */
int pg_each_init(struct pg_each *each, const struct pg_options *options, const struct place *place, const char *run,
                 struct err *err);

extern const struct db_provider pg_each_provider;

#endif
