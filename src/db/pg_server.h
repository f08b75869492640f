/*
 * pg_server.h - a PostgreSQL server of a run's own, thrown away with it.
 *
 * Its cluster is a copy of a cached one (initdb takes two seconds, the copy a tenth); nothing waits for a disk, as nothing of
 * it is to survive; it listens on a Unix socket in a folder of its own alone. PostgreSQL refuses to run as root, so
 * there it runs as `postgres`, or where that user is missing as `nobody`.
 *
 * Where every worker has a server (pg_each.h), this one is what the others are copies of, and does not run: theirs are folders
 * of its folder, and the files of databases that nobody can connect to, such as templates, are links to its own.
 *
 * It ends with the keeper: stopped by it, or by the kernel when the keeper is killed (PR_SET_PDEATHSIG); where neither
 * happens, the next run's start clears it away (place.h).
 */
#ifndef HASTEN_DB_PG_SERVER_H
#define HASTEN_DB_PG_SERVER_H

#include "db/pg_find.h"
#include "db/place.h"

#include <sys/types.h>

struct pg_server;

struct pg_server_options {
    int major;          /* 0: any */
    const char *locale; /* of the cluster; NULL: that of the environment when it is one of UTF-8, else C.UTF-8 */
    const char *key;    /* template: a cached cluster that has it is preferred; NULL: none */
    uint32_t n_workers; /* how many databases there will be at least */
    uint32_t n_copies;  /* how many servers will be begun as copies of this one */
    const struct pg_server *copied; /* borrowed: the one that this is a copy of, below whose folder it lies; NULL */
    const char *name;               /* of its folder there */
};

struct pg_server {
    struct pg_program program;
    char folder[PLACE_SIZE]; /* data/, s/ (sockets), log */
    char cluster[64];        /* name in the cache of the cluster without templates */
    uid_t user;              /* 0: who we are */
    gid_t group;
    uint32_t n_workers;
    bool is_copy;     /* of another server of this run */
    bool has_data;    /* a cluster is there */
    int lock_fd;      /* owned; of the folder; -1 */
    int pid;          /* of the postmaster; 0: not running */
    struct err death; /* how it ended, when pid is 0 again */
    int *savers;      /* owned, n_savers: children that take clusters to the cache */
    size_t n_savers;
};

/* Socket folder of the server that pg_server_start will start; known before. */
int pg_server_place(struct pg_server *server, const struct pg_server_options *options, const struct place *place,
                    const char *run, struct err *err);

/* Copies or makes the cluster, where there is none yet. *has: it has template options->key. */
int pg_server_provide(struct pg_server *server, const struct pg_server_options *options, bool *has, struct err *err);

/* That and starts the server; it takes connections when this returns 0. */
int pg_server_start(struct pg_server *server, const struct pg_server_options *options, struct err *err);

/* The two halves of starting it, where the cluster is there: the second may be called by a child of ours, too. */
int pg_server_launch(struct pg_server *server, struct err *err);
int pg_server_await(struct pg_server *server, struct err *err);

/* The cache has a cluster with that template. */
bool pg_server_has(const struct pg_server *server, const char *key);

/*
 * Stops it cleanly, and starts it again if `again` says so. A child takes its cluster, or in that case a copy of it, to the
 * cache meanwhile as the one with template `key` ("": it does not). The child inherits descriptors, so that a lock that is
 * held ends with the later of both.
 */
int pg_server_save(struct pg_server *server, const char *key, bool again, struct err *err);

/* Waits for those children, for a while: what is not in the cache by then is built again by the next run. */
void pg_server_saved(struct pg_server *server);

/* What remains of it in this process. Its folder is the place's to remove. */
void pg_server_close(struct pg_server *server);

/* 0 while it runs; -1 with how it ended. */
int pg_server_check(struct pg_server *server, struct err *err);

/* After its death: what is left of it, so that pg_server_start can be called again. */
void pg_server_forget(struct pg_server *server);

void pg_server_stop(struct pg_server *server); /* at once; nothing is written any more */

/* conninfo of its superuser, with database "postgres". */
void pg_server_conninfo(const struct pg_server *server, char *text, size_t size);

#endif
