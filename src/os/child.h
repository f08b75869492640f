/* child.h - child processes: handles that poll can wait for, subreapers, leftovers. */
#ifndef HASTEN_CHILD_H
#define HASTEN_CHILD_H

#include "base/base.h"

/* A descriptor that becomes readable when the process ends; -errno (-ENOSYS on kernels before 5.3). */
int child_handle(int pid);

/* Orphans among this process's descendants become its children. 0 or -errno. */
int child_adopt_orphans(void);

/* Children of this process now, at most cap of them. */
size_t child_list(int *pids, size_t cap);

/*
 * Ends every descendant that is left: SIGTERM, then SIGKILL after grace_ms, until this process has no child.
 * Returns how many were ended. Needs child_adopt_orphans to reach grandchildren.
 */
size_t child_end_all(int grace_ms);

/* 'R', 'S', 'T' (stopped) ... as in /proc/PID/stat; 0 when there is no such process. */
char child_state(int pid);

/* Resident memory in bytes; 0 when there is no such process. */
uint64_t child_resident_bytes(int pid);

/* "SIGSEGV" and so on; "signal 42" for those without a name. Borrowed until the next call. */
const char *child_signal_name(int signal);

#endif
