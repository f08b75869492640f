#include "os/borrow.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

static struct {
    int tty;
    int lock;   /* owned; -1 while not borrowed */
    int before; /* the group in the foreground before us; -1: tty is no terminal of ours */
    pid_t owner;
    void (*told)(bool on);
    char path[512];
} mine = {.tty = -1, .lock = -1};

void borrow_open(int tty, const char *lock_path, void (*told)(bool on))
{
    if (mine.lock >= 0 && mine.owner != getpid())
        close(mine.lock); /* of the process that has forked us, which still has it */
    mine.tty = tty;
    mine.lock = -1;
    mine.before = -1;
    mine.owner = getpid();
    mine.told = told;
    snprintf(mine.path, sizeof mine.path, "%s", lock_path);
}

/* From the background that is a stop, unless SIGTTOU is blocked. */
static int set_foreground(pid_t group)
{
    sigset_t block, before;
    int code;

    sigemptyset(&block);
    sigaddset(&block, SIGTTOU);
    sigprocmask(SIG_BLOCK, &block, &before);
    code = tcsetpgrp(mine.tty, group) < 0 ? -errno : 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return code;
}

static int lock(void)
{
    const int fd = open(mine.path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0)
        return -errno;
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR) {
            const int code = -errno;

            close(fd);
            return code;
        }
    return fd;
}

int borrow_take(void)
{
    int fd;

    if (mine.lock >= 0 || mine.owner != getpid())
        return 0;
    mine.told(true);
    fd = lock();
    if (fd < 0) {
        mine.told(false);
        return fd;
    }
    mine.lock = fd;
    mine.before = tcgetpgrp(mine.tty);
    return mine.before < 0 ? 0 : set_foreground(getpgrp());
}

bool borrow_is_taken(void)
{
    return mine.lock >= 0;
}

bool borrow_give(void)
{
    if (mine.lock < 0 || mine.owner != getpid())
        return false;
    if (mine.before >= 0)
        set_foreground(mine.before);
    close(mine.lock);
    mine.lock = -1;
    mine.told(false);
    return true;
}

/*
 * The kernel stops the whole group, so a child of a test that reads is stopped too: it is told to go on. A child that a
 * test has forked (and that has this handler) waits for the worker's to do it.
 */
static void on_stop(int signal_number)
{
    const int keep = errno;

    if (mine.owner == getpid()) {
        if (borrow_take() < 0 || tcgetpgrp(mine.tty) != getpgrp())
            signal(signal_number, SIG_DFL); /* somebody else's terminal after all: stop, as without us */
        kill(0, SIGCONT);
    }
    errno = keep;
}

int borrow_when_read(void)
{
    struct sigaction action = {.sa_handler = on_stop, .sa_flags = SA_RESTART};

    sigemptyset(&action.sa_mask);
    sigaddset(&action.sa_mask, SIGTTIN);
    sigaddset(&action.sa_mask, SIGTTOU);
    if (sigaction(SIGTTIN, &action, NULL) < 0 || sigaction(SIGTTOU, &action, NULL) < 0)
        return -errno;
    return 0;
}
