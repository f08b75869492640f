/* cpu.h - what this process may use of the machine: cores, memory; and what a process uses. */
#ifndef HASTEN_CPU_H
#define HASTEN_CPU_H

#include "base/base.h"

struct cpu_limits {
    uint32_t logical;      /* cores in the affinity mask, at least 1 */
    uint32_t physical;     /* distinct cores among them (hyper-threads counted once), at least 1 */
    uint32_t quota;        /* cores by cgroup quota, rounded up; 0: no quota */
    uint64_t memory_bytes; /* that could be allocated now: MemAvailable, bounded by the cgroup's limit; 0: unknown */
};

void cpu_limits(struct cpu_limits *limits);

/* Private (not shared with a parent or sibling) memory of a process in bytes; 0 when it cannot be read. */
uint64_t cpu_private_bytes(int pid);

/* How long this process's main thread was ready to run and had no core; 0 where the kernel does not tell. */
uint64_t cpu_waited_ns(void);

#endif
