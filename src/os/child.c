#include "os/child.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int child_handle(int pid)
{
    const long fd = syscall(SYS_pidfd_open, pid, 0);

    return fd < 0 ? -errno : (int)fd;
}

int child_adopt_orphans(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 ? 0 : -errno;
}

static size_t read_children(const char *path, int *pids, size_t cap)
{
    FILE *f = fopen(path, "re");
    size_t n = 0;

    while (f && n < cap && fscanf(f, "%d", &pids[n]) == 1)
        n++;
    if (f)
        fclose(f);
    return n;
}

/* Kernels without /proc/self/task/.../children: every process that names us as its parent. */
static size_t scan_parents(int *pids, size_t cap)
{
    DIR *dir = opendir("/proc");
    struct dirent *e;
    size_t n = 0;

    while (dir && n < cap && (e = readdir(dir))) {
        char path[64];
        char line[512];
        char *after;
        int parent = 0;
        FILE *f;
        const int pid = atoi(e->d_name);

        if (pid <= 0)
            continue;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        f = fopen(path, "re");
        if (f && fgets(line, sizeof line, f) && (after = strrchr(line, ')')) &&
            sscanf(after, ") %*c %d", &parent) == 1 && parent == getpid())
            pids[n++] = pid;
        if (f)
            fclose(f);
    }
    if (dir)
        closedir(dir);
    return n;
}

size_t child_list(int *pids, size_t cap)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *e;
    size_t n = 0;
    bool known = false;

    while (dir && (e = readdir(dir))) {
        char path[320];

        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/children", e->d_name);
        known = known || access(path, R_OK) == 0;
        n += read_children(path, pids + n, cap - n);
    }
    if (dir)
        closedir(dir);
    return known ? n : scan_parents(pids, cap);
}

static void reap_all(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static void signal_all(const int *pids, size_t n, int signal)
{
    for (size_t i = 0; i < n; i++) {
        kill(pids[i], signal);
        kill(pids[i], SIGCONT); /* a stopped one would not see it */
    }
}

size_t child_end_all(int grace_ms)
{
    const uint64_t start = clock_now_ns();
    const struct timespec nap = {.tv_nsec = 2000000};
    size_t ended = 0;
    int pids[512];

    for (int round = 0;; round++) {
        const uint64_t waited_ms = (clock_now_ns() - start) / 1000000;
        size_t n;

        reap_all();
        n = child_list(pids, HS_COUNT(pids));
        if (n == 0 || waited_ms > (uint64_t)grace_ms + 2000)
            return ended;
        if (round == 0)
            ended = n;
        signal_all(pids, n, waited_ms >= (uint64_t)grace_ms ? SIGKILL : SIGTERM);
        nanosleep(&nap, NULL);
    }
}

char child_state(int pid)
{
    char path[64];
    char line[512];
    char state = 0;
    char *after;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    f = fopen(path, "re");
    if (f && fgets(line, sizeof line, f) && (after = strrchr(line, ')')))
        sscanf(after, ") %c", &state);
    if (f)
        fclose(f);
    return state;
}

uint64_t child_resident_bytes(int pid)
{
    char path[64];
    unsigned long pages = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    f = fopen(path, "re");
    if (f && fscanf(f, "%*u %lu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

const char *child_signal_name(int signal)
{
    static char text[32];
    const char *abbrev = sigabbrev_np(signal);

    if (abbrev)
        snprintf(text, sizeof text, "SIG%s", abbrev);
    else
        snprintf(text, sizeof text, "signal %d", signal);
    return text;
}
