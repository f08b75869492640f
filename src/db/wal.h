/*
 * wal.h - which relations a stretch of PostgreSQL's write-ahead log has changed, read from the server's own files.
 *
 * Versions 12 to 18 write the same records as far as is read here: their header, the references to blocks, and of
 * transactions those that were rolled back. What changes no content is left out: locks on rows, pruning, freezing, hints,
 * indexes (their table is there too), and what was rolled back. Sequences count always, as they are not rolled back.
 */
#ifndef HASTEN_DB_WAL_H
#define HASTEN_DB_WAL_H

#include "base/err.h"

struct wal_source {
    const char *folder; /* .../pg_wal; borrowed */
    int major;
    uint32_t segment_bytes;
    uint32_t timeline;
    bool everywhere; /* touches of all databases count, not only those of one and of what all share */
};

struct wal_touch {
    uint32_t database; /* 0: shared by all */
    uint32_t filenode; /* 0: catalogs of another database have new files */
    uint32_t xid;      /* 0: of no transaction, or for good whatever becomes of it */
    uint32_t block;    /* the highest */
};

struct wal_touches {
    struct wal_touch *items; /* owned, n; one for each relation, sorted */
    size_t n;
    bool
        silent; /* a transaction was committed that has written nothing here: to unlogged or temporary tables, perhaps */
    bool remapped; /* catalogs of the database have new files */
};

/*
 * Reads [from, to), both where records begin or end; to must have been written. -1: it could not be read to its end (a
 * segment is gone, or something is there that is not understood): nothing is known then.
 */
int wal_read(const struct wal_source *source, uint64_t from, uint64_t to, uint32_t database,
             struct wal_touches *touches, struct err *err);
void wal_touches_release(struct wal_touches *touches);

/* "16/B374D848" */
bool wal_position(const char *text, uint64_t *position);

#endif
