#include "db/pg_own.h"

#include <stdio.h>
#include <stdlib.h>

/* Where every test gets a new database, no session outlives it. */
void pg_consider_pooler(struct pg *pg)
{
    char sql[160];
    char value[32];
    bool found;
    struct err err;

    if (pg->version < 140000 || (pg->options.watched && !pg->options.in_place) || !pooler_wants_to_know(&pg->pooler))
        return;
    snprintf(sql, sizeof sql,
             "SELECT sum(pg_catalog.pg_stat_get_db_sessions(oid)) FROM pg_catalog.pg_database WHERE datname LIKE "
             "'hasten\\_%s\\_%%'",
             pg->db.run);
    if (pg_ask(pg, sql, value, sizeof value, &found, &err) == 0)
        pooler_consider(&pg->pooler, strtoull(value, NULL, 10));
}
