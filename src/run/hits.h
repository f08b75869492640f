/*
 * hits.h - which lines and arcs of which files ran, and in which context: memory that all processes of a run share.
 *
 * A sparse file: what is not written costs nothing. It has no name at first; hits_keep() (run/hitkeep.h) gives it one, so
 * that --resume finds what a run had measured that did not come to its end.
 *
 *      0          struct hits_head           with the heads of 8192 chains of files
 *      .          files, names of contexts   handed out upwards by `used`, in any order, never moved or freed
 *   HITS_CORE     blocks of HITS_BLOCK bytes, each written by one process:
 *                 struct hits_block, struct hits_piece[]
 *
 * Lines of a file are one bit each, bit i of byte b for line 8b+i: coverage.py's numbits. An arc (from, to) has a number
 * in its file: its place in the order of arrival. That a line ran is said by its bit, never by an arc to itself. Without
 * contexts, what ran is the file's own lines and arcs; with them it is the pieces: 256 lines or arcs of one file in one
 * context.
 *
 * Promises: a process may be killed at any instruction: what it wrote stays, and nothing that others wrote is lost.
 * Everything in the core is published by one compare-and-swap of an offset or a value (release; readers acquire); bits
 * are only ever set. A block has one writer; `n` is raised after the piece it counts is whole.
 */
#ifndef HASTEN_HITS_H
#define HASTEN_HITS_H

#include "base/err.h"

#include <stdatomic.h>

#define HITS_MAGIC "hshits02"
#define HITS_CORE (1ull << 30)
#define HITS_BLOCK (1u << 20)
#define HITS_CHAINS 8192u
#define HITS_PIECE_BITS 256u
#define HITS_MOST_LINES (1 << 20) /* of a file; arcs name lines in 21 bits */
#define HITS_NONE UINT32_MAX

enum hits_user {
    HITS_UNUSED,
    HITS_USED,     /* it is collected into */
    HITS_ELSEWHERE /* coverage is measured, by somebody who does not write here */
};

enum hits_contexts {
    HITS_NO_CONTEXTS,
    HITS_LINES_BY_CONTEXT,    /* what ran is in the pieces alone; files' arcs are what the pieces' numbers mean */
    HITS_FUNCTIONS_BY_CONTEXT /* what ran is with the files; the pieces hold which functions were entered */
};

struct hits_head {
    char magic[8];
    _Atomic uint64_t used; /* bytes of the core handed out */
    _Atomic uint32_t n_files;
    _Atomic uint32_t n_contexts;
    _Atomic uint32_t n_blocks;
    _Atomic uint32_t n_lost;              /* what found no room; not 0: the result is not complete */
    _Atomic uint64_t contexts;            /* offset of the newest struct hits_context, 0: none */
    _Atomic uint32_t branch;              /* arcs are collected */
    _Atomic uint32_t by_context;          /* enum hits_contexts */
    _Atomic uint32_t user;                /* enum hits_user */
    _Atomic uint32_t on_disk;             /* it may be full: room is asked for before it is written to */
    _Atomic uint64_t backed;              /* on a disk: bytes of the core that there is room for */
    _Atomic uint64_t key;                 /* of what is asked to be measured: equal in runs that can be one */
    _Atomic uint64_t chains[HITS_CHAINS]; /* offset of the newest struct hits_file, 0: none */
};

struct hits_file {
    uint64_t next;    /* in the chain */
    uint64_t path_at; /* UTF-8, path_size bytes */
    uint64_t lines_at;
    uint64_t arcs_at; /* _Atomic uint64_t[arcs_room]: an arc and its number, 0: free */
    uint32_t path_size;
    uint32_t id;
    uint32_t n_lines;   /* line numbers 0 to n_lines - 1 have a bit */
    uint32_t arcs_room; /* a power of two */
    _Atomic uint32_t n_arcs;
};

struct hits_context {
    uint64_t next;
    uint32_t id;
    uint32_t size;
    char name[]; /* UTF-8, size bytes */
};

struct hits_block {
    _Atomic uint32_t n;
    uint32_t unused[11];
};

struct hits_piece {
    uint32_t context;
    uint32_t file;
    uint32_t index;   /* the first bit is line or arc index * HITS_PIECE_BITS */
    uint32_t is_arcs; /* 0: lines */
    uint8_t bits[HITS_PIECE_BITS / 8];
};

/* One process's view. */
struct hits {
    struct hits_head *head;   /* shared; NULL: not attached */
    int fd;                   /* owned */
    struct hits_block *block; /* this process's own; NULL: none yet */
    void **full;              /* owned: blocks before it that somebody may still write to */
    uint32_t n_full;
    char *blocks; /* owned: all blocks, for reading; NULL: not mapped */
    size_t blocks_size;
};

/* A new memory, in a file of the working directory's disk where that can be: its descriptor (owned by the caller) or -1. */
int hits_create(struct err *err);
int hits_attach(struct hits *hits, int fd, struct err *err); /* takes a duplicate of fd */
void hits_detach(struct hits *hits);
bool hits_is_used(int fd);           /* it is collected into */
void hits_forked(struct hits *hits); /* in the child, before anything else: the block stays its parent's */

/*
 * The file of that path with bits for n_lines lines and room for n_arcs arcs; made when there is none. A path may have
 * several: what was there before too little room was found stays. NULL: no room.
 */
struct hits_file *hits_file(struct hits *hits, const char *path, size_t size, uint32_t n_lines, uint32_t n_arcs);
uint8_t *hits_lines(const struct hits *hits, const struct hits_file *file);

/* A bit is set for good, among others who set theirs in the same byte. */
static inline void hits_set(uint8_t *bits, uint32_t i)
{
    const uint8_t bit = (uint8_t)(1u << (i & 7));

    if (!(__atomic_load_n(&bits[i >> 3], __ATOMIC_RELAXED) & bit))
        __atomic_fetch_or(&bits[i >> 3], bit, __ATOMIC_RELAXED);
}

/* The number of an arc, from line `from` to line `to` (negative: out of the code that begins there). HITS_NONE: full. */
uint32_t hits_arc(const struct hits *hits, struct hits_file *file, int32_t from, int32_t to);

/* A new number for a context of that name; the same name may have several. HITS_NONE: no room. */
uint32_t hits_context(struct hits *hits, const char *name, size_t size);

/* A new piece of this process: 32 zero bytes to set bits in, until hits_settle(). NULL: no room. */
uint8_t *hits_piece(struct hits *hits, uint32_t context, uint32_t file, bool is_arcs, uint32_t index);

/* Nobody writes to the pieces that there are any more. */
void hits_settle(struct hits *hits);

/* Says that something found no room. */
void hits_lose(struct hits *hits);

/* ---- reading, when the writers are gone or do not matter */

/* visit: -1 ends the walk. Each answers -1 then, else 0. */
int hits_each_file(const struct hits *hits, int (*visit)(const struct hits_file *file, void *data), void *data);
int hits_each_context(const struct hits *hits, int (*visit)(const struct hits_context *context, void *data),
                      void *data);

/* The pieces stay where they are until the next call, or hits_detach(). */
int hits_each_piece(struct hits *hits, int (*visit)(const struct hits_piece *piece, void *data), void *data);

const char *hits_path(const struct hits *hits, const struct hits_file *file);

struct hits_pair {
    int32_t from;
    int32_t to;
    uint32_t number;
};

/* The arc in place i (0 to arcs_room - 1) of a file; false when there is none. */
bool hits_arc_at(const struct hits *hits, const struct hits_file *file, uint32_t i, struct hits_pair *pair);

#endif
