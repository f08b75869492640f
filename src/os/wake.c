#include "os/wake.h"

#include <limits.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#define SECOND UINT64_C(1000000000)

#ifdef __linux__

void wake_wait(const _Atomic uint32_t *word, uint32_t seen, uint64_t most_ns)
{
    const struct timespec most = {.tv_sec = (time_t)(most_ns / SECOND), .tv_nsec = (long)(most_ns % SECOND)};

    syscall(SYS_futex, word, FUTEX_WAIT, seen, &most, NULL, 0);
}

void wake_all(const _Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

#else

/* Looks every millisecond. */
void wake_wait(const _Atomic uint32_t *word, uint32_t seen, uint64_t most_ns)
{
    const uint64_t nap = most_ns < SECOND / 1000 ? most_ns : SECOND / 1000;
    const struct timespec ts = {.tv_nsec = (long)nap};

    if (atomic_load(word) == seen)
        nanosleep(&ts, NULL);
}

void wake_all(const _Atomic uint32_t *word)
{
    (void)word;
}

#endif
