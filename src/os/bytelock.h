/*
 * bytelock.h - locks on single bytes of a file that several programs know: one byte for each thing that must not be used
 * twice. They are the process's own (a child does not inherit them) and the kernel frees them when it dies, however it
 * dies. Closing any descriptor of the file in this process frees all of them: the file has one descriptor.
 */
#ifndef HASTEN_BYTELOCK_H
#define HASTEN_BYTELOCK_H

#include "base/base.h"

enum { BYTELOCK_PATH = 256 };

/*
 * The folder of such files: $HASTEN_LOCKS, else /tmp/hasten-locks-<uid>; the same for all runs of a user, whatever
 * their temporary folder is. Made with mode 0700. 0, or -errno: it cannot be made (-EPERM: another user's, or open to others).
 */
int bytelock_folder(char path[BYTELOCK_PATH]);

/* The file `name` there, made if it is missing; close-on-exec. Descriptor or -errno. */
int bytelock_open(const char *name);

/* 0, -EAGAIN when another process has one of the bytes, or -errno. */
int bytelock_take(int fd, uint64_t at, uint64_t n, bool shared);
void bytelock_put(int fd, uint64_t at, uint64_t n);

/* A process that keeps this one from the byte; 0: none. */
int bytelock_owner(int fd, uint64_t at);

#endif
