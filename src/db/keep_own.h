/*
 * keep_own.h - what the files of the keeper share: its kinds of databases, and who has which.
 *
 *   keep.c         its course: signals, names and addresses, templates, servers that died, the loop
 *   keep_answer.c  leases, and the answers to requests (keep.h)
 */
#ifndef HASTEN_DB_KEEP_OWN_H
#define HASTEN_DB_KEEP_OWN_H

#include "db/keep.h"

enum { KEEP_KINDS = 3 };

struct keep_lease {
    char name[DB_NAME_SIZE];
    int pid; /* who had it last; 0: nobody yet */
    bool sealed;
};

struct keep_kind {
    struct db *db; /* borrowed; NULL: not used */
    const struct keep_template *template;
    bool ready;
    int n_restarts;
    struct err err;            /* why not, when not */
    struct str output;         /* owned: of a set-up that failed */
    struct keep_lease *leases; /* owned, n */
    size_t n;
};

struct keeper {
    const struct keep_options *options; /* borrowed */
    struct place place;
    char run[DB_RUN_DIGITS + 1];
    int listener; /* owned; -1 */
    int pruner;   /* pid of the child that looks after the cache; 0: none */
    int watched;  /* owned: becomes readable when the process ends; -1 where the kernel has no such thing */
    struct pg pg;
    struct pg_each each; /* in place of pg, when every worker has a server */
    struct sqlite sqlite;
    struct redis redis;
    struct keep_kind kinds[KEEP_KINDS];
};

/* ---- keep.c */

/* Of the template, as a provider's functions want it: NULL where there is nothing to set up. */
const char *keep_key_of(const struct keep_kind *kind);

/* Looks after the servers: one that has died is started again, if that may be, with its databases as their template. */
void keep_look(struct keeper *k);

/* ---- keep_answer.c */

/*
 * Makes the database of the worker with that number before it asks, of all kinds that are used early; behind the last one
 * that of the process that imports. Others that ask meanwhile are not kept waiting for more than one. False: that was all.
 */
bool keep_make_ahead(struct keeper *k, uint32_t at);

/* The answer to one line, with its line break. */
void keep_answer(struct keeper *k, const char *request, struct str *answer);

#endif
