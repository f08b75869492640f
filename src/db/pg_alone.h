/*
 * pg_alone.h - a server that only one worker uses: whether its tests have changed anything of it but their own database.
 *
 * Roles, memberships, settings, tablespaces, other databases and their content, comments and labels of all these, replication
 * slots, and the files that hold settings. Where something is not as it was when the server began, the server is
 * spoilt, and a copy of the first one takes its place: there is no list of statements that could undo it all.
 *
 * The write-ahead log says whether anything may have changed; what is left of it the catalogs say: a role that a test has made and
 * dropped again has changed nothing.
 */
#ifndef HASTEN_DB_PG_ALONE_H
#define HASTEN_DB_PG_ALONE_H

#include "base/err.h"

struct pg;
struct wal_touches;

struct pg_alone {
    char files[160]; /* which those of its settings are; "": the server has just begun */
    uint64_t from;   /* the log is read from here on, where no pg_watch reads it */
    bool spoilt;
};

/* The worker's database is as its template. The first time, the server is as it should be for good. */
int pg_alone_begin(struct pg *pg, struct err *err);

/* Sets spoilt by what was touched since the beginning; own: the worker's database. Also said by what it returns. */
bool pg_alone_judge(struct pg *pg, const struct wal_touches *touches, uint32_t own);

/* The same where nothing was written to the log. */
bool pg_alone_judge_files(struct pg *pg);

/* The same, by reading the log; what cannot be read has spoilt it. name: of the worker's database. */
bool pg_alone_look(struct pg *pg, const char *name);

#endif
