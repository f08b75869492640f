/* shm.h - anonymous shared memory: a file without a name that other processes reach by its descriptor. */
#ifndef HASTEN_SHM_H
#define HASTEN_SHM_H

#include "base/base.h"

#include <sys/types.h>

/* A new, close-on-exec memory file of `size` zero bytes (not touched, so not yet paid for). Descriptor or -errno. */
int shm_create(const char *name, size_t size);

/* As pwrite, to such a file; a limit of file sizes is lifted meanwhile where that is allowed. */
ssize_t shm_write(int fd, const void *bytes, size_t n, uint64_t at);

/* Makes such a file n bytes from `at` on long, if it is not; the memory is there then. 0 or -errno. */
int shm_extend(int fd, uint64_t at, size_t n);

/* Maps the whole file. 0 and *memory, *size; or -errno (-EINVAL for an empty file). */
int shm_map(int fd, bool writable, void **memory, size_t *size);
void shm_unmap(void *memory, size_t size);

#endif
