/* copy.h - copies of files and folders, by the cheapest way that the file system has; and their removal. */
#ifndef HASTEN_COPY_H
#define HASTEN_COPY_H

#include "base/base.h"

#include <sys/types.h>

struct copy_owner {
    uid_t user; /* (uid_t)-1: whoever copies */
    gid_t group;
};

/*
 * One regular file; `to` is replaced. Shares blocks where the file system can (reflink), else copies inside of the
 * kernel, else by read and write. The mode goes along. 0 or -errno; no half file is left.
 */
int copy_file(const char *from, const char *to, const struct copy_owner *owner);

/*
 * A folder with all in it (files, folders, links) to `to`, which must not be there. Its folders can be changed by their
 * owner, whatever was so before. 0 or -errno; what was copied stays.
 */
int copy_tree(const char *from, const char *to, const struct copy_owner *owner);

/* The same with as many threads as there are cores (4 at most), where somebody waits for it. */
int copy_tree_at_once(const char *from, const char *to, const struct copy_owner *owner);

enum copy_choice { COPY_IT, COPY_LINK, COPY_POINT, COPY_LEAVE };

/*
 * The same, where `choose` says of each file and folder (its path below `from`) what becomes of it: a copy, nothing, or a
 * hard link to the file itself, for files that nobody writes to. Of a folder COPY_LINK holds for all files in it. Where
 * there can be no link there is a copy. COPY_POINT makes one symbolic link to a folder as a whole; a file is copied.
 */
int copy_tree_chosen(const char *from, const char *to, const struct copy_owner *owner,
                     enum copy_choice (*choose)(void *arg, const char *path), void *arg);

/*
 * rm -rf; links are not followed, and folders that their owner has made read-only are no obstacle. 0 (also when nothing is
 * there) or -errno of the first that could not be removed.
 */
int copy_remove(const char *path);

/* Bytes of all files below path. */
uint64_t copy_size(const char *path);

/* The folder lies in a file system that shares blocks between files (FICLONE works). */
bool copy_shares_blocks(const char *folder);

/* Makes path and the folders above it that are missing, mode 0777 less umask. 0 or -errno. */
int copy_make_folders(const char *path, mode_t mode);

#endif
