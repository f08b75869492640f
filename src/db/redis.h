/*
 * redis.h - Redis: a server of its own for every worker, as much in Redis belongs to the server and to no database in it
 * (FLUSHALL, publish and subscribe, scripts, CONFIG).
 *
 * It listens on the Unix socket r/<worker> in the run's folder and nowhere else, writes nothing by itself, and ends with
 * the keeper. A template is an image in Redis's own format (RDB), written by a server that the set-up has filled; each
 * worker's server begins with a copy of it. HASTEN_REDIS names the server's program where it is not in PATH.
 */
#ifndef HASTEN_DB_REDIS_H
#define HASTEN_DB_REDIS_H

#include "db/place.h"
#include "db/provider.h"

struct redis_options {
    const char *file;    /* the template's content without a set-up: an image; NULL: nothing */
    const char *scheme;  /* of URLs handed out ("redis+socket"); NULL: "unix" */
    bool (*ended)(void); /* as in pg.h */
};

struct redis_instance;

struct redis {
    struct db db;
    struct redis_options options;
    char program[PLACE_SIZE];
    int major;                        /* of its version */
    char source[PLACE_SIZE];          /* the image of which instances begin with a copy; "": they begin empty */
    char image[PLACE_SIZE];           /* where the template's image is, or comes to be */
    int build_lock;                   /* owned; -1 */
    struct redis_instance *instances; /* owned, n */
    size_t n;
};

int redis_init(struct redis *redis, const struct redis_options *options, const struct place *place, const char *run,
               struct err *err);

extern const struct db_provider redis_provider;

#endif
