#include "db/pooler.h"

#include "base/clock.h"
#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

#define SOCKET_NAME ".s.PGSQL.5432"
#define STRAIGHT "../s/" SOCKET_NAME

enum { FDS_MOST = 4096, SETTLE_LIMIT_MS = 2000, LOOK_MS = 500, SHORT_MANY = 4, SHORT_WINDOWS = 2 };

enum pooler_mode pooler_mode_of(const char *setting)
{
    const char *said = getenv("HASTEN_DB_POOLER");

    if (said && said[0])
        return strcmp(said, "0") != 0 ? POOLER_ON : POOLER_OFF;
    if (setting && !strcmp(setting, "true"))
        return POOLER_ON;
    return setting && !strcmp(setting, "false") ? POOLER_OFF : POOLER_AUTO;
}

static void path_of(const struct pooler *pooler, const char *name, char path[320])
{
    snprintf(path, 320, "%s/%s", pooler->folder, name);
}

int pooler_link(const char *target, const char *link)
{
    char half[360];

    snprintf(half, sizeof half, "%s.%d", link, (int)getpid());
    unlink(half);
    if (symlink(target, half) < 0)
        return -errno;
    return rename(half, link) < 0 ? -errno : 0;
}

/* ---- the process */

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || strlen(path) >= sizeof address.sun_path)
        return -1;
    snprintf(address.sun_path, sizeof address.sun_path, "%.*s", (int)sizeof address.sun_path - 1, path);
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1024) == 0)
        return fd;
    close(fd);
    return -1;
}

/* It has nothing of the keeper but what it is given: no locks, no connections. */
static int be_pooler(const struct pooler *pooler, int listener, int control)
{
    char server[320], link[320];
    const struct pooler_paths paths = {
        .server = server,
        .link = link,
        .target = STRAIGHT,
        .listener = listener,
        .control = control,
        .stays = pooler->mode == POOLER_ON,
    };
    static const int ordinary[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGALRM};

#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    for (size_t i = 0; i < HS_COUNT(ordinary); i++)
        signal(ordinary[i], SIG_DFL);
    for (int fd = 3; fd < FDS_MOST; fd++)
        if (fd != listener && fd != control && fd != trace_fd)
            close(fd);
    path_of(pooler, "s/" SOCKET_NAME, server);
    path_of(pooler, "p/" SOCKET_NAME, link);
    trace_event("db_pooler");
    return pooler_serve(&paths);
}

static bool start_process(struct pooler *pooler)
{
    char path[320];
    int ends[2];
    int listener;

    path_of(pooler, "p/pool", path);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    listener = listen_at(path);
    pooler->pid = listener >= 0 ? fork() : -1;
    if (pooler->pid == 0)
        _exit(be_pooler(pooler, listener, ends[1]));
    if (listener >= 0)
        close(listener);
    close(ends[1]);
    pooler->control = ends[0];
    if (pooler->pid > 0)
        return true;
    pooler->pid = 0;
    close(ends[0]);
    pooler->control = -1;
    return false;
}

int pooler_start(struct pooler *pooler, const char *folder, unsigned user, unsigned group, struct err *err)
{
    char path[320];

    if (pooler->mode == POOLER_OFF || pooler->folder[0])
        return 0;
    pooler->control = -1;
    snprintf(pooler->folder, sizeof pooler->folder, "%s", folder);
    path_of(pooler, "p", path);
    if (mkdir(path, 0700) < 0 || (user && chown(path, user, group) < 0))
        return err_sys(err, errno, "cannot make the folder '%s'", path);
    pooler_route(pooler, pooler->mode == POOLER_ON);
    return 0;
}

void pooler_end(struct pooler *pooler)
{
    if (pooler->pid > 0) {
        close(pooler->control);
        kill(pooler->pid, SIGKILL);
        while (waitpid(pooler->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    pooler->pid = 0;
    pooler->control = -1;
}

bool pooler_check(struct pooler *pooler)
{
    if (pooler->pid <= 0 || waitpid(pooler->pid, NULL, WNOHANG) == 0)
        return true;
    close(pooler->control);
    pooler->control = -1;
    pooler->pid = 0;
    trace_event("db_pooler_died");
    pooler_route(pooler, false);
    return false;
}

/* ---- asking it */

static void ask(struct pooler *pooler, char what, const char *database)
{
    struct pollfd answer = {.fd = pooler->control, .events = POLLIN};
    char question[128];
    char byte;
    const int n = snprintf(question, sizeof question, "%c%.120s", what, database);

    if (pooler->pid <= 0)
        return;
    while (recv(pooler->control, &byte, 1, MSG_DONTWAIT) > 0) /* to a question that was given up */
        ;
    if (send(pooler->control, question, (size_t)n, MSG_NOSIGNAL) < 0)
        return;
    while (poll(&answer, 1, SETTLE_LIMIT_MS) < 0 && errno == EINTR)
        ;
    if (answer.revents)
        recv(pooler->control, &byte, 1, MSG_DONTWAIT);
}

void pooler_settle(struct pooler *pooler, const char *database)
{
    ask(pooler, 's', database);
}

void pooler_forget(struct pooler *pooler, const char *database)
{
    ask(pooler, 'f', database);
}

void pooler_route(struct pooler *pooler, bool through)
{
    char path[320];

    if (!pooler->folder[0])
        return;
    if (through && !pooler->pid && !start_process(pooler))
        through = false;
    path_of(pooler, "p/" SOCKET_NAME, path);
    pooler_link(through ? "pool" : STRAIGHT, path);
    pooler->routed = pooler->routed || through;
    trace_event("db_pooler_route", TRACE_BOOL("through", through));
}

/* ---- whether it is worth it */

bool pooler_wants_to_know(struct pooler *pooler)
{
    const uint64_t now = clock_now_ns();

    if (pooler->mode != POOLER_AUTO || pooler->routed || !pooler->folder[0] ||
        now - pooler->looked_ns < (uint64_t)LOOK_MS * 1000000)
        return false;
    pooler->looked_ns = now;
    return true;
}

void pooler_consider(struct pooler *pooler, uint64_t sessions)
{
    const uint64_t n = sessions > pooler->sessions ? sessions - pooler->sessions : 0;

    pooler->sessions = sessions;
    pooler->n_windows = n >= SHORT_MANY ? pooler->n_windows + 1 : 0;
    if (pooler->n_windows >= SHORT_WINDOWS)
        pooler_route(pooler, true);
}
