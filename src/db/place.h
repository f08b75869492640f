/*
 * place.h - the folders of databases.
 *
 * A run's folder: $XDG_RUNTIME_DIR/hasten-db/<pid>, or <temporary folder>/hasten-db-<uid>/<pid>; pid is that of the process
 * for which the databases are kept, so that every process of a run finds it.
 *
 *   lock      held (flock) as long as the keeper lives; a folder whose lock can be had is left behind
 *   control   the keeper's socket
 *   info      text for who asks (keep.h)
 *   places    one path a line, written before the path is made: data of servers elsewhere
 *
 * The cache: $XDG_CACHE_HOME/hasten/db or ~/.cache/hasten/db; what is in it appears whole, by rename.
 */
#ifndef HASTEN_DB_PLACE_H
#define HASTEN_DB_PLACE_H

#include "base/err.h"

#define PLACE_SIZE 256
#define PLACE_COPY "w-" /* how the folders begin that are a server's of their own, in the folder of another */

struct place {
    char folder[PLACE_SIZE];
    int lock_fd; /* owned; -1 */
};

/* The folder of a process's run, whether it is there or not. -1: the path is too long for a socket in it. */
int place_of(int pid, char folder[PLACE_SIZE], struct err *err);

/* Makes and locks it, after clearing away what was left in it. place.lock_fd is -1 after a failure. */
int place_open(struct place *place, int pid, struct err *err);
void place_close(struct place *place); /* removes it */

/*
 * Makes a folder for data (mode 0700), which belongs to this run: it is removed with it, or after it. It has a lock of its
 * own, so that it is found even when the run's folder is gone (a temporary folder that a CI job throws away).
 */
int place_make_data(const struct place *place, const char *path, int *lock_fd, struct err *err);

/* Ends every process that stands in the folder `data`, where a server's pid file says that there may be some. */
void place_end_server(const char *data);

/* From now on path belongs to this run: it is removed with it, or after it. */
int place_add(const struct place *place, const char *path, struct err *err);

/*
 * Clears away the folders whose keeper is dead, with their data elsewhere; servers that still run in them are ended
 * first. Returns how many there were. each, if not NULL, is called with the path instead, and nothing is removed.
 */
size_t place_clear(void (*each)(void *arg, const char *path), void *arg);

/* The cache's folder `name` ("" for itself), made if it is not there. -1: it cannot be. */
int place_cache(const char *name, char path[PLACE_SIZE], struct err *err);

/* Notes that a thing of the cache was used: the least recently used goes first. */
void place_used(const char *path);

/* An exclusive lock on cache/<name>.lock: *fd, closed by who no longer needs it. -1 also when `ended` said so meanwhile. */
int place_cache_lock(const char *name, bool (*ended)(void), int *fd, struct err *err);

/*
 * Where data of `bytes` should lie: memory (tmpfs) while that is at most a quarter of what is available there and of
 * the machine's memory, else the temporary folder. Borrowed text, static.
 */
const char *place_for_data(uint64_t bytes);

#endif
