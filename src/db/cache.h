/*
 * cache.h - what of databases is kept for later runs (place.h has the folder): clusters, with and without a template, and
 * images of SQLite and Redis. It costs time to lose them and nothing else.
 */
#ifndef HASTEN_DB_CACHE_H
#define HASTEN_DB_CACHE_H

#include "db/provider.h"

enum { CACHE_DAYS = 30, CACHE_MEGABYTES = 2000 };

struct cache_limits {
    uint32_t days;      /* what was not used for so long goes; 0: that is no reason */
    uint64_t megabytes; /* of all together: the least recently used goes first; UINT64_MAX: any number */
    bool all;           /* everything goes */
};

/* Calls each for what is whole in the cache. Returns how many there are. */
size_t cache_each(db_entry_fn *each, void *arg);

/* Returns how many were removed. What a run uses now it has used within the hour: that stays, unless all goes. */
size_t cache_prune(const struct cache_limits *limits);

/* cache_prune in a child that gives way to all else, once a day. Its pid, or 0. */
int cache_prune_beside(const struct cache_limits *limits);

#endif
