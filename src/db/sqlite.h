/*
 * sqlite.h - SQLite: a file for every worker, copied from one that is at rest.
 *
 * A copy of a file is exact only while nobody writes and no -wal or -journal belongs to it. So the project's own file is
 * read through SQLite's backup interface, once, with whatever lies beside it; what is copied for workers is that backup,
 * which nobody opens.
 */
#ifndef HASTEN_DB_SQLITE_H
#define HASTEN_DB_SQLITE_H

#include "db/place.h"
#include "db/provider.h"

struct sqlite_options {
    const char *file;    /* the template's content without a set-up: a database; NULL: an empty one */
    bool (*ended)(void); /* as in pg.h */
};

enum { SQLITE_HEADER = 100 };

/* A worker's file when it was as its template. */
struct sqlite_mark {
    char name[DB_NAME_SIZE];
    unsigned char header[SQLITE_HEADER];
};

struct sqlite {
    struct db db;
    struct sqlite_options options;
    char source[PLACE_SIZE]; /* what clones are copies of */
    char build[PLACE_SIZE];
    int build_lock;            /* owned; -1 */
    struct sqlite_mark *marks; /* owned, n_marks */
    size_t n_marks;
};

int sqlite_init(struct sqlite *sqlite, const struct sqlite_options *options, const struct place *place, const char *run,
                struct err *err);

extern const struct db_provider sqlite_provider;

#endif
