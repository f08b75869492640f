#include "os/spawn.h"

#include "os/term.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

extern char **environ;

/* environ with the additions; owned array of borrowed strings. Later entries of the same name are dropped by us. */
static char **merged_environment(const char *const *additions)
{
    size_t n = 0;
    size_t n_add = 0;
    char **merged;

    while (environ[n])
        n++;
    while (additions && additions[n_add])
        n_add++;
    merged = hs_alloc((n + n_add + 1) * sizeof *merged);
    n = 0;
    for (size_t i = 0; i < n_add; i++)
        merged[n++] = (char *)(uintptr_t)additions[i];
    for (char **e = environ; *e; e++) {
        bool replaced = false;

        for (size_t i = 0; i < n_add && !replaced; i++) {
            size_t k = 0;

            while (additions[i][k] && additions[i][k] != '=' && additions[i][k] == (*e)[k])
                k++;
            replaced = additions[i][k] == '=' && (*e)[k] == '=';
        }
        if (!replaced)
            merged[n++] = *e;
    }
    return merged;
}

/* -1 with errno: what is not as it was asked for. */
static int set_output(const struct spawn_options *o)
{
    const int null = open("/dev/null", O_RDONLY);
    const int log = o->log ? open(o->log, O_WRONLY | O_CREAT | O_APPEND, 0600) : o->out;

    if (null < 0 || log < 0)
        return -1;
    return dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 ? -1 : 0;
}

static int set_person(const struct spawn_options *o)
{
    const gid_t group = (gid_t)o->group;

    if (o->user && (setgroups(1, &group) < 0 || setgid(group) < 0 || setuid((uid_t)o->user) < 0))
        return -1;
#ifdef __linux__
    if (o->ends_with_parent) {    /* after setuid, which would take it back */
        signal(SIGQUIT, SIG_DFL); /* a shell ignores it for what it runs in the background */
        prctl(PR_SET_PDEATHSIG, SIGQUIT);
    }
#endif
    return 0;
}

/* Only async-signal-safe calls from here to exec. */
static HS_NORETURN void child(const struct spawn_options *o, char **env, int report)
{
    sigset_t none;
    int code;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTTOU, SIG_DFL);
    if (o->terminal >= 0) {
        term_adopt(o->terminal); /* fails when it controls another session already: then it is only read and written */
        for (int fd = 0; fd <= 2; fd++)
            dup2(o->terminal, fd);
    } else if (o->own_group)
        setpgid(0, 0);
    for (size_t i = 0; i < o->n_keep; i++)
        if (o->keep[i] >= 0)
            fcntl(o->keep[i], F_SETFD, 0);
    environ = env;
    if (((!o->log && !o->out) || set_output(o) == 0) && set_person(o) == 0 && (!o->folder || chdir(o->folder) == 0))
        execvp(o->argv[0], o->argv);
    code = errno;
    if (write(report, &code, sizeof code) < 0)
        _exit(126);
    _exit(127);
}

int spawn(const struct spawn_options *options, int *pid)
{
    char **env = merged_environment(options->env);
    int report[2];
    int code = 0;

    if (pipe2(report, O_CLOEXEC) != 0) {
        free(env);
        return -errno;
    }
    *pid = fork();
    if (*pid == 0)
        child(options, env, report[1]);
    code = *pid < 0 ? errno : 0;
    close(report[1]);
    free(env);
    if (!code && read(report[0], &code, sizeof code) != (ssize_t)sizeof code)
        code = 0; /* end of file: exec has closed it */
    close(report[0]);
    return -code;
}
