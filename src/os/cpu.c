#include "os/cpu.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* First line of a small kernel file; false when it cannot be read. */
static bool read_line(const char *path, char *line, size_t size)
{
    FILE *f = fopen(path, "re");
    const bool ok = f && fgets(line, (int)size, f);

    if (f)
        fclose(f);
    return ok;
}

static uint32_t count_physical(const cpu_set_t *set)
{
    uint32_t n = 0;

    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        char path[96];
        char line[128];

        if (!CPU_ISSET((size_t)cpu, set))
            continue;
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
        /* Counted at the first sibling that we may use; a list such as "0,4" or "0-1" begins with the lowest one. */
        if (!read_line(path, line, sizeof line)) {
            n++;
            continue;
        }
        int first = atoi(line);
        if (first == cpu || first >= CPU_SETSIZE || !CPU_ISSET((size_t)first, set))
            n++;
    }
    return n ? n : 1;
}

static uint32_t quota_of(double quota, double period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    const double cores = quota / period;
    const uint32_t whole = (uint32_t)cores;

    return whole + (cores > whole ? 1 : 0);
}

/* This process's group in the unified hierarchy ("/" when unknown). */
static void own_cgroup(char *path, size_t size)
{
    char line[512];
    FILE *f = fopen("/proc/self/cgroup", "re");

    snprintf(path, size, "/");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, "0::", 3)) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(path, size, "%s", line + 3);
        }
    if (f)
        fclose(f);
}

/* The smallest quota and memory limit from the own group up to the root: each one binds. */
static void read_cgroup_v2(uint32_t *quota, uint64_t *memory)
{
    char group[512];

    own_cgroup(group, sizeof group);
    for (;;) {
        char path[640];
        char line[128];
        double q;
        double p;
        const char *slash = strcmp(group, "/") ? group : "";

        snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", slash);
        if (read_line(path, line, sizeof line) && sscanf(line, "%lf %lf", &q, &p) == 2) {
            const uint32_t n = quota_of(q, p);

            if (n && (!*quota || n < *quota))
                *quota = n;
        }
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", slash);
        if (read_line(path, line, sizeof line) && line[0] != 'm') {
            uint64_t limit = strtoull(line, NULL, 10);
            uint64_t used = 0;

            snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.current", slash);
            if (read_line(path, line, sizeof line))
                used = strtoull(line, NULL, 10);
            limit = limit > used ? limit - used : 1;
            if (!*memory || limit < *memory)
                *memory = limit;
        }
        if (!strcmp(group, "/"))
            return;
        char *cut = strrchr(group, '/');
        if (cut == group)
            cut[1] = '\0';
        else
            *cut = '\0';
    }
}

static void read_cgroup_v1(uint32_t *quota)
{
    char q[64];
    char p[64];

    if (read_line("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", q, sizeof q) &&
        read_line("/sys/fs/cgroup/cpu/cpu.cfs_period_us", p, sizeof p))
        *quota = quota_of(atof(q), atof(p));
}

static uint64_t mem_available(void)
{
    char line[128];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %lu", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib * 1024;
}

void cpu_limits(struct cpu_limits *limits)
{
    cpu_set_t set;
    uint64_t bound = 0;
    const uint64_t available = mem_available();

    *limits = (struct cpu_limits){.logical = 1, .physical = 1};
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
        limits->logical = (uint32_t)CPU_COUNT(&set);
        limits->physical = count_physical(&set);
    }
    read_cgroup_v2(&limits->quota, &bound);
    if (!limits->quota)
        read_cgroup_v1(&limits->quota);
    limits->memory_bytes = bound && bound < available ? bound : available;
}

uint64_t cpu_private_bytes(int pid)
{
    char path[64];
    char line[256];
    uint64_t sum = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        uint64_t kib;

        if (sscanf(line, "Private_Dirty: %lu", &kib) == 1 || sscanf(line, "Private_Clean: %lu", &kib) == 1)
            sum += kib * 1024;
    }
    if (f)
        fclose(f);
    return sum;
}

uint64_t cpu_waited_ns(void)
{
    char line[128];
    unsigned long long ran;
    unsigned long long waited;

    if (!read_line("/proc/self/schedstat", line, sizeof line) || sscanf(line, "%llu %llu", &ran, &waited) != 2)
        return 0;
    return waited;
}
