/*
 * hitrows.h - what ran (hits.h) in the order of a data file's tables: by file, by context, by line.
 *
 * The numbers of files and contexts in the memory are those of their arrival, and one path or name may have several;
 * the caller says which row of its tables each of them is, and gets every line or arc once, in ascending order of rows.
 */
#ifndef HASTEN_HITROWS_H
#define HASTEN_HITROWS_H

#include "run/hits.h"

struct hitrows_part; /* lines or arcs of one file in one context, as one piece of memory has them */
struct hitrows_arc;

struct hitrows {
    struct hits *hits; /* borrowed */
    bool branch;       /* arcs count, else lines */
    uint32_t n_files;
    uint32_t n_contexts;
    const struct hits_file **files;       /* owned: by number; NULL: its maker was killed */
    const struct hits_context **contexts; /* owned: by number */
    bool *file_ran;                       /* owned: by number; it has rows */
    bool *context_ran;                    /* owned: by number */
    bool own_ran;                         /* something ran that belongs to no context */

    struct hitrows_part *parts; /* owned; sorted by hitrows_sort() */
    size_t n_parts, parts_room;
    struct hitrows_arc *arcs; /* owned: all arcs of all files, sorted, each once */
    uint32_t **places;        /* owned: by number of a file and of an arc: where it is among those of its row's file */
    uint32_t *first_arc;      /* owned: by row of a file, and one more */
    uint32_t n_rows;          /* the largest row of a file */
    uint64_t *bits;           /* owned: one row's arcs */
    uint8_t *lines;           /* owned: one row's lines */
};

struct hitrows_ids {
    const uint32_t *files;    /* row by number of a file, from 1; used where file_ran says so */
    const uint32_t *contexts; /* row by number of a context, from 1 */
    uint32_t own;             /* row of what belongs to no context */
};

/* Looks what there is. hits: nobody writes to it any more, and it stays attached. Close it in any case. */
int hitrows_open(struct hitrows *rows, struct hits *hits, bool branch, struct err *err);
void hitrows_close(struct hitrows *rows);

/* Once, before the visits. */
void hitrows_sort(struct hitrows *rows, const struct hitrows_ids *ids);

/*
 * visit: -1 ends it. Each answers -1 then, else 0. A line that ran and that no arc leaves comes as an arc to itself.
 * bits: no zero byte at the end, never empty.
 */
int hitrows_each_arc(struct hitrows *rows,
                     int (*visit)(uint32_t file, uint32_t context, int32_t from, int32_t to, void *data), void *data);
int hitrows_each_lines(struct hitrows *rows,
                       int (*visit)(uint32_t file, uint32_t context, const uint8_t *bits, size_t n_bytes, void *data),
                       void *data);

#endif
