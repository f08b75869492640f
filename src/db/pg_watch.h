/*
 * pg_watch.h - a worker's database between two tests: what has been changed in it, and the way back.
 *
 * On a server of our own the write-ahead log says it (wal.h): nothing, or rows of tables that are empty in the template, and
 * sequences, which are put back in place; anything else (the schema, rows that the template has, large objects, settings of
 * the database) takes a new clone, from a pool that is filled in the background once a test was in need of one. On a given
 * server only "nothing was written at all" can be told, and everything else takes a new clone.
 *
 * What is put back in place is as in a new clone, the order of rows without ORDER BY included: rows that were deleted
 * leave their places empty until the table is vacuumed, which it is as soon as it has a second page.
 *
 * Backends that are in a transaction, or hold advisory locks, are ended; others keep their connection where no new clone
 * is taken.
 */
#ifndef HASTEN_DB_PG_WATCH_H
#define HASTEN_DB_PG_WATCH_H

#include "base/err.h"
#include "base/str.h"
#include "db/provider.h"

struct pg;
struct pg_conn;

/* A relation of the template. */
struct pg_relation {
    uint32_t filenode, oid;
    char kind; /* of pg_class: r, S (sequence), t (TOAST), m */
    bool unlogged;
    bool seeded;    /* it has rows in the template */
    bool odd;       /* cannot be emptied quietly: triggers that always fire, a materialized view */
    char *name;     /* owned; quoted, with its schema */
    char *put_back; /* owned; of a sequence, a call; else NULL */
};

struct pg_relations {
    char key[DB_NAME_SIZE];
    struct pg_relation *items; /* owned, n; sorted by filenode */
    size_t n;
};

/* What is known of templates: the same for all copies of a cluster, whose servers may share it. */
struct pg_known {
    struct pg_relations *items; /* owned, n: of each template */
    size_t n;
    char catalogs[64]; /* pg_alone.h: of a server that has just begun; "": not looked at yet */
};

void pg_known_release(struct pg_known *known);

struct pg_watch {
    char name[DB_NAME_SIZE];
    char key[DB_NAME_SIZE];
    struct pg_conn *conn; /* owned; to that database; NULL: it could not be made */
    uint32_t oid;
    uint64_t from;   /* the log is read from here on */
    char shared[64]; /* what of the database stands in catalogs of the whole server */
};

struct pg_watching {
    struct pg_watch *items; /* owned, n */
    size_t n;
    struct pg_known own; /* of this server alone */
    uint32_t segment_bytes, timeline;
};

/* Begins, for a database that is as its template; in place of what is watched under that name. */
int pg_watch_begin(struct pg *pg, const char *key, const char *name, struct err *err);
void pg_watch_end(struct pg *pg, const char *name);
void pg_watch_release(struct pg *pg);

/*
 * 0: it is as its template again, with what had been changed added to `what` (names with commas, "" for nothing). 1: only
 * a new clone is that; `what` says why.
 */
int pg_watch_clean(struct pg *pg, const char *name, struct str *what);

#endif
