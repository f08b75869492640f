/* origin.c - see origin.h. A page that the kernel empties in every forked child (Linux 4.14), else the process's number. */
#include "os/origin.h"

#include <sys/mman.h>
#include <unistd.h>

static struct {
    volatile char *page; /* NULL where the kernel cannot empty it */
    int pid;
} mark;

static volatile char *map_page(void)
{
#ifdef MADV_WIPEONFORK
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return NULL;
    if (madvise(page, size, MADV_WIPEONFORK) == 0)
        return page;
    munmap(page, size);
#endif
    return NULL;
}

void origin_mark(void)
{
    mark.pid = getpid();
    if (!mark.page)
        mark.page = map_page();
    if (mark.page)
        *mark.page = 1;
}

bool origin_is_here(void)
{
    return mark.page ? *mark.page != 0 : mark.pid == getpid();
}
