/*
 * pg_pool.h - clones that are ready for the next test that needs a new one.
 *
 * They are made by a child with a connection of its own, so that nobody who asks waits for it; the child first drops what
 * they have taken the place of. Nothing is made before a test was in need of one.
 */
#ifndef HASTEN_DB_PG_POOL_H
#define HASTEN_DB_PG_POOL_H

#include "base/err.h"
#include "db/provider.h"

enum { PG_POOL_MOST = 4 };

struct pg;

struct pg_pool {
    char key[DB_NAME_SIZE]; /* of the template whose clones these are ... */
    bool plain;             /* ... which is template1: key NULL in provider.h */
    char ready[PG_POOL_MOST][DB_NAME_SIZE];
    char old[PG_POOL_MOST][DB_NAME_SIZE]; /* to be dropped */
    size_t n_ready, n_old;
    size_t wanted; /* 0: nobody was in need yet */
    char making[DB_NAME_SIZE];
    unsigned number; /* of the next name */
    int filler;      /* pid of the child; 0: none */
};

/* A new clone under that name, in place of the one that has it; connections to that are ended. */
int pg_pool_swap(struct pg *pg, const char *key, const char *name, struct err *err);

/* Looks after the child, and starts the next when something is to be done. */
void pg_pool_fill(struct pg *pg);

/* Ends the child. */
void pg_pool_release(struct pg *pg);

#endif
