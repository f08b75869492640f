#include "os/term.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

bool term_is_tty(int fd)
{
    return isatty(fd) == 1;
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);

    return value && *value;
}

static bool equals(const char *name, const char *wanted)
{
    const char *value = getenv(name);

    return value && strcmp(value, wanted) == 0;
}

bool term_is_foreground(int fd)
{
    const pid_t group = tcgetpgrp(fd);

    return group < 0 || group == getpgrp();
}

bool term_is_dumb(void)
{
    return !is_set("TERM") || equals("TERM", "dumb");
}

bool term_has_colour(int fd)
{
    if (equals("PY_COLORS", "1") || equals("PY_COLORS", "0"))
        return equals("PY_COLORS", "1");
    if (is_set("NO_COLOR"))
        return false;
    if (is_set("FORCE_COLOR") || (is_set("CLICOLOR_FORCE") && !equals("CLICOLOR_FORCE", "0")))
        return true;
    return term_is_tty(fd) && !term_is_dumb();
}

bool term_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < HS_COUNT(names); i++) {
        const char *value = getenv(names[i]);

        if (value && *value)
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

static uint32_t size_from(const char *name, uint32_t otherwise)
{
    const char *value = getenv(name);
    const long n = value ? strtol(value, NULL, 10) : 0;

    return n > 0 && n < 10000 ? (uint32_t)n : otherwise;
}

int term_size(int fd, struct term_size *size)
{
    struct winsize ws = {0};
    const int ret = ioctl(fd, TIOCGWINSZ, &ws) < 0 ? -errno : 0;

    size->columns = ws.ws_col ? ws.ws_col : size_from("COLUMNS", 80);
    size->rows = ws.ws_row ? ws.ws_row : size_from("LINES", 24);
    return ret;
}

int term_set_size(int fd, struct term_size size)
{
    const struct winsize ws = {.ws_col = (unsigned short)size.columns, .ws_row = (unsigned short)size.rows};

    return ioctl(fd, TIOCSWINSZ, &ws) < 0 ? -errno : 0;
}

/*
 * Raw input. Written by term_raw before `active` is set and read by handlers only while it is set, in one thread.
 */
static struct {
    volatile sig_atomic_t active;
    bool prepared; /* atexit and handlers are in place */
    int fd;
    pid_t owner;
    struct termios before;
    struct termios raw;
} saved = {.fd = -1};

/* tcsetattr from a background process group stops the process: the terminal is then another's to set up. */
static void apply(const struct termios *mode)
{
    if (tcgetpgrp(saved.fd) == getpgrp())
        while (tcsetattr(saved.fd, TCSADRAIN, mode) < 0 && errno == EINTR)
            ;
}

void term_restore(void)
{
    const int keep = errno;

    if (saved.active && saved.owner == getpid()) {
        saved.active = 0;
        apply(&saved.before);
    }
    errno = keep;
}

static void restore_and_die(int sig)
{
    term_restore();
    raise(sig); /* SA_RESETHAND: with its default action, as soon as this handler returns */
}

static void stop_and_go_on(int sig)
{
    const int keep = errno;
    const bool again = saved.active && saved.owner == getpid();

    (void)sig;
    if (again)
        apply(&saved.before);
    raise(SIGSTOP); /* goes on here after SIGCONT */
    if (again && saved.active)
        apply(&saved.raw);
    errno = keep;
}

static void handle(int sig, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    struct sigaction old;

    if (sigaction(sig, NULL, &old) < 0 || (old.sa_flags & SA_SIGINFO) || old.sa_handler != SIG_DFL)
        return; /* somebody else takes care of it */
    sigemptyset(&action.sa_mask);
    sigaction(sig, &action, NULL);
}

static void prepare(void)
{
    static const int deadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGSEGV, SIGBUS,
                                 SIGILL, SIGFPE, SIGABRT, SIGSYS,  SIGXCPU, SIGXFSZ};

    if (saved.prepared)
        return;
    for (size_t i = 0; i < HS_COUNT(deadly); i++)
        handle(deadly[i], restore_and_die, (int)SA_RESETHAND);
    handle(SIGTSTP, stop_and_go_on, SA_RESTART);
    saved.prepared = atexit(term_restore) == 0;
}

int term_raw(int fd, bool keys_signal)
{
    term_restore();
    if (tcgetattr(fd, &saved.before) < 0)
        return -errno;
    saved.raw = saved.before;
    saved.raw.c_iflag &= ~(tcflag_t)(ICRNL | INLCR | IGNCR | IXON);
    saved.raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ECHONL | IEXTEN);
    if (!keys_signal)
        saved.raw.c_lflag &= ~(tcflag_t)ISIG;
    saved.raw.c_cc[VMIN] = 1;
    saved.raw.c_cc[VTIME] = 0;
    saved.fd = fd;
    saved.owner = getpid();
    prepare();
    saved.active = 1; /* before the change: a signal in between restores what is there already */
    if (tcsetattr(fd, TCSADRAIN, &saved.raw) < 0) {
        const int code = errno;

        saved.active = 0;
        return -code;
    }
    return 0;
}

static int open_slave(int master)
{
    char name[64];

#ifdef TIOCGPTPEER
    const int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC); /* needs no /dev/pts; Linux 4.13 */

    if (peer >= 0)
        return peer;
#endif
    if (ptsname_r(master, name, sizeof name) != 0)
        return -1;
    return open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
}

int term_open_pty(int *master, int *slave, struct term_size size)
{
    int code;

    *slave = -1;
    *master = posix_openpt(O_RDWR | O_NOCTTY);
    if (*master < 0)
        return -errno;
    if (fcntl(*master, F_SETFD, FD_CLOEXEC) < 0 || grantpt(*master) < 0 || unlockpt(*master) < 0)
        goto fail;
    *slave = open_slave(*master);
    if (*slave < 0 || term_set_size(*master, size) < 0)
        goto fail;
    return 0;

fail:
    code = errno ? errno : EIO;
    if (*slave >= 0)
        close(*slave);
    close(*master);
    *master = *slave = -1;
    return -code;
}

int term_adopt(int slave)
{
    if (setsid() < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
        return -errno;
    return 0;
}

int term_write(int fd, const void *bytes, size_t n)
{
    const char *from = bytes;

    while (n > 0) {
        const ssize_t done = write(fd, from, n);

        if (done >= 0) {
            from += done;
            n -= (size_t)done;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};

            if (poll(&wait, 1, -1) < 0 && errno != EINTR)
                return -errno;
        } else if (errno != EINTR) {
            return -errno;
        }
    }
    return 0;
}
