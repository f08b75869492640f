#include "harness.h"

#include "base/clock.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t stopped_at;

int child_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: in a child: %s does not hold\n", file, line, what);
    return 99;
}

pid_t child_start(int (*body)(void *arg), void *arg)
{
    pid_t pid;

    fflush(NULL); /* or the child prints the parent's buffered output again */
    pid = fork();
    HS_CHECK(pid >= 0);
    if (pid == 0) {
        const int status = body(arg);

        fflush(NULL);
        _exit(status);
    }
    return pid;
}

/* Kills the child when it has not ended after 30 s: a test that hangs should fail with its name. */
static void wait_or_kill(pid_t pid)
{
    struct pollfd wait = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

    if (wait.fd < 0)
        return;
    while (poll(&wait, 1, 30000) < 0 && errno == EINTR)
        ;
    if (!(wait.revents & POLLIN))
        kill(pid, SIGKILL);
    close(wait.fd);
}

int child_wait(pid_t pid)
{
    int status;

    wait_or_kill(pid);
    while (waitpid(pid, &status, 0) < 0)
        HS_CHECK(errno == EINTR);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int child_run(int (*body)(void *arg), void *arg)
{
    return child_wait(child_start(body, arg));
}

void clock_stop_at(uint64_t now_ns)
{
    stopped_at = now_ns;
    clock_fake(&stopped_at);
}

void clock_advance(uint64_t by_ns)
{
    stopped_at += by_ns;
}

void clock_resume(void)
{
    clock_fake(NULL);
}

char *scratch_make(void)
{
    const char *tmp = getenv("TMPDIR");
    char path[512];

    snprintf(path, sizeof path, "%s/hasten-test-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    HS_CHECK(mkdtemp(path) != NULL);
    return hs_strdup(path);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

void scratch_remove(char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(path);
}

uint64_t harness_slower(void)
{
    const char *text = getenv("HASTEN_TEST_SLOWER");
    const uint64_t times = text ? strtoull(text, NULL, 10) : 1;

    return times ? times : 1;
}
