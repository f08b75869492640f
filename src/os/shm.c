#include "os/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * The kernel counts memory files as files: a limit that keeps a suite's files small (ulimit -f) would keep ours small, too.
 * It is lifted for one call, as far as it may be. False when it may not.
 */
static bool lift_limit(struct rlimit *before)
{
    const struct rlimit none = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};
    struct rlimit most;

    if (getrlimit(RLIMIT_FSIZE, before) != 0)
        return false;
    most = (struct rlimit){.rlim_cur = before->rlim_max, .rlim_max = before->rlim_max};
    return setrlimit(RLIMIT_FSIZE, &none) == 0 ||
           (before->rlim_cur != before->rlim_max && setrlimit(RLIMIT_FSIZE, &most) == 0);
}

static int set_size(int fd, off_t size)
{
    struct rlimit before;
    int code = ftruncate(fd, size) != 0 ? -errno : 0;

    if (code == -EFBIG && lift_limit(&before)) {
        code = ftruncate(fd, size) != 0 ? -errno : 0;
        setrlimit(RLIMIT_FSIZE, &before);
    }
    return code;
}

int shm_create(const char *name, size_t size)
{
    const int fd = memfd_create(name, MFD_CLOEXEC);
    int code;

    if (fd < 0)
        return -errno;
    code = size ? set_size(fd, (off_t)size) : 0;
    if (code < 0)
        close(fd);
    return code < 0 ? code : fd;
}

ssize_t shm_write(int fd, const void *bytes, size_t n, uint64_t at)
{
    struct rlimit before;
    ssize_t done = pwrite(fd, bytes, n, (off_t)at);
    int code = errno;

    if (done < 0 && code == EFBIG && lift_limit(&before)) {
        done = pwrite(fd, bytes, n, (off_t)at);
        code = errno;
        setrlimit(RLIMIT_FSIZE, &before);
    }
    errno = code;
    return done;
}

int shm_extend(int fd, uint64_t at, size_t n)
{
    struct rlimit before;
    int code = fallocate(fd, 0, (off_t)at, (off_t)n) != 0 ? -errno : 0;

    if (code == -EFBIG && lift_limit(&before)) {
        code = fallocate(fd, 0, (off_t)at, (off_t)n) != 0 ? -errno : 0;
        setrlimit(RLIMIT_FSIZE, &before);
    }
    return code;
}

int shm_map(int fd, bool writable, void **memory, size_t *size)
{
    struct stat st;
    void *at;

    if (fstat(fd, &st) != 0)
        return -errno;
    if (st.st_size <= 0)
        return -EINVAL;
    at = mmap(NULL, (size_t)st.st_size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    *memory = at;
    *size = (size_t)st.st_size;
    return 0;
}

void shm_unmap(void *memory, size_t size)
{
    if (memory)
        munmap(memory, size);
}
