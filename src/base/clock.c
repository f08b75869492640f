#include "base/clock.h"

#include <time.h>

static const uint64_t *fake_now;

static uint64_t read_clock(clockid_t id)
{
    struct timespec ts;

    HS_CHECK(clock_gettime(id, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t clock_now_ns(void)
{
    return fake_now ? *fake_now : read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

uint64_t clock_cpu_ns(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

void clock_fake(const uint64_t *fake)
{
    fake_now = fake;
}
