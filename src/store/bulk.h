/*
 * bulk.h - rows and index entries in ascending order into empty tables of an SQLite file, page by page.
 *
 * SQLite takes 1.1 us for a row of four small numbers with a UNIQUE constraint, inserted in order in one transaction
 * (3.40.1); its pages are written here in 0.05 us. The format is documented and promised to stay
 * (https://www.sqlite.org/fileformat2.html): header, b-tree pages, records. Of it this is used:
 *
 *  - a tree is made from its leaves upwards; each level is spread evenly over as few pages as it needs, so that no
 *    interior page has less than half of what fits. In an index the entry between two pages is in neither;
 *  - the root stays where the schema says; new pages go behind the last one of the file;
 *  - a record too large for a page goes on in overflow pages.
 *
 * The file must be closed in SQLite, and nobody else may use it. It is whole again after bulk_close(); what a
 * failure leaves is no database any more: write to a file that gets its name when it is done.
 */
#ifndef HASTEN_BULK_H
#define HASTEN_BULK_H

#include "base/err.h"
#include "base/str.h"

enum bulk_kind { BULK_TABLE, BULK_INDEX };

struct bulk_level {
    struct str pages;      /* uint32_t each */
    struct str separators; /* what leads to it in the level above, one after the other */
    struct str ends;       /* uint32_t each: where its separator ends */
    uint32_t longest;      /* separator */
};

struct bulk {
    int fd; /* owned; -1: not open */
    uint32_t page_size;
    uint32_t n_pages; /* of the file, with what is in `run` */
    uint64_t hash[2]; /* of all that was added */

    uint8_t *run; /* owned: full pages behind one another that are not written yet */
    uint32_t n_run;

    uint8_t *page; /* owned: the leaf that is filled now */
    uint32_t n_cells;
    uint32_t start; /* of its cells; they grow downwards */
    enum bulk_kind kind;
    uint32_t root;
    int64_t rowid; /* the last one */
    struct bulk_level level;
};

/*
 * -1 with err->sys 0: the file is of a form that this cannot write to, and was not touched; else a system call failed.
 * Close it in any case.
 */
int bulk_open(struct bulk *b, const char *path, struct err *err);

/* Whether that page is the root of an empty tree of that kind; -1 as above when not. */
int bulk_check(struct bulk *b, enum bulk_kind kind, uint32_t root, struct err *err);

/* Begins the tree with that root page, after the same check. */
int bulk_begin(struct bulk *b, enum bulk_kind kind, uint32_t root, struct err *err);

/* One more row of a table, behind those before it. */
int bulk_row(struct bulk *b, int64_t rowid, const void *record, size_t size, struct err *err);

/* One more entry of an index, above those before it in the index's order; a quarter of a page at most. */
int bulk_entry(struct bulk *b, const void *record, size_t size, struct err *err);

/* Ends the tree. */
int bulk_end(struct bulk *b, struct err *err);

/* Writes the header; the file is as SQLite would have left it. */
int bulk_finish(struct bulk *b, struct err *err);
void bulk_close(struct bulk *b);

/* ---- records: NULL, integers and a blob at most, as SQLite stores them */

#define BULK_MOST_INTEGERS 8
#define BULK_RECORD (1 + BULK_MOST_INTEGERS * 9 + 9) /* bytes that n integers and a blob's head take at most */

/* The record of n integers at out; its size. */
size_t bulk_integers(uint8_t *out, const int64_t *values, uint32_t n);

/* The same with a blob of `size` bytes as its last value, at most BULK_RECORD + size bytes. */
size_t bulk_integers_and_blob(uint8_t *out, const int64_t *values, uint32_t n, const void *blob, size_t size);

#endif
