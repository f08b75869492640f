#include "db/ask.h"

#include "base/clock.h"
#include "os/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Everything up to the end of the stream. */
static int read_all(int fd, struct str *out)
{
    char part[4096];
    ssize_t n;

    while ((n = read(fd, part, sizeof part)) != 0) {
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            str_add(out, part, (size_t)n);
    }
    return 0;
}

int ask_start(char *const *argv, int *pid, struct str *facts, struct err *err)
{
    int out[2];
    int code;

    if (pipe2(out, O_CLOEXEC) < 0)
        return err_sys(err, errno, "cannot make a pipe");
    code = spawn(&(struct spawn_options){.argv = argv, .terminal = -1, .own_group = true, .out = out[1]}, pid);
    close(out[1]);
    if (code == 0)
        read_all(out[0], facts);
    close(out[0]);
    if (code < 0)
        return err_sys(err, -code, "cannot run '%s'", argv[0]);
    if (!strncmp(str_text(facts), "control ", 8))
        return 0;
    waitpid(*pid, NULL, 0);
    return err_set(err, "%.*s", (int)strcspn(str_text(facts), "\n"),
                   facts->len ? str_text(facts) : "the process that keeps databases ended at once");
}

static int reach(const char *control, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (strlen(control) >= sizeof address.sun_path)
        errno = ENAMETOOLONG;
    else {
        snprintf(address.sun_path, sizeof address.sun_path, "%s", control);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
            return fd;
    }
    err_sys(err, errno, "the process that keeps this run's databases has ended");
    if (fd >= 0)
        close(fd);
    return -1;
}

int ask(const char *control, const char *request, struct str *answer, struct err *err)
{
    const int fd = reach(control, err);
    struct str line = STR_INIT;
    int code = 0;

    if (fd < 0)
        return -1;
    str_addf(&line, "%s\n", request);
    if (send(fd, line.data, line.len, MSG_NOSIGNAL) != (ssize_t)line.len || (code = read_all(fd, answer)) < 0 ||
        !answer->len)
        code = err_set(err, "the process that keeps this run's databases ended while it was asked");
    str_release(&line);
    close(fd);
    return code;
}

bool ask_end(int pid, int limit_ms)
{
    const uint64_t limit = clock_now_ns() + (uint64_t)limit_ms * 1000000;

    kill(pid, SIGTERM);
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (clock_now_ns() > limit)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
}
