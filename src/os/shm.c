#include "os/shm.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int shm_create(const char *name, size_t size)
{
    const int fd = memfd_create(name, MFD_CLOEXEC);

    if (fd < 0)
        return -errno;
    if (size && ftruncate(fd, (off_t)size) != 0) {
        const int code = errno;

        close(fd);
        return -code;
    }
    return fd;
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
