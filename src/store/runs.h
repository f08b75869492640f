/*
 * runs.h - the folder of journals: rootdir/.hasten/runs/<ms since 1970>-<pid of the supervisor>.journal
 *
 * Journals of finished runs are kept for a while, so that a person can look and --resume can go on; the oldest go first.
 */
#ifndef HASTEN_RUNS_H
#define HASTEN_RUNS_H

#include "base/base.h"

#define RUNS_KEPT 10

/* Makes rootdir/.hasten (which ignores itself in git) and its runs; *path of the folder. False when it cannot be made. */
bool runs_make_folder(const char *rootdir, char *path, size_t size);

/* The newest journal in folder but `except` (a path, or ""); false when there is none. */
bool runs_newest(const char *folder, const char *except, char *path, size_t size);

/*
 * Removes the oldest journals beyond RUNS_KEPT, and <the same>.hits (run/hitkeep.h) of all but the newest; nothing of
 * those whose supervisor still runs.
 */
void runs_prune(const char *folder);

#endif
