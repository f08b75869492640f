/* descriptor.c - see descriptor.h. */
#include "os/descriptor.h"

#include <sys/syscall.h>
#include <unistd.h>

int descriptor_stat(int fd, struct stat *st)
{
#if defined(__linux__) && defined(__x86_64__) && defined(SYS_fstat) /* the kernel's structure is the library's there */
    return (int)syscall(SYS_fstat, fd, st);
#else
    return fstat(fd, st);
#endif
}
