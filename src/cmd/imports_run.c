/*
 * imports_run.c - the processes that `hasten imports` measures.
 *
 * Python imports sitecustomize at its start. Ours lies first in PYTHONPATH, begins to watch, takes itself out of sys.path
 * and gives the place to the one it hid. Processes that the measured one starts inherit it, and write logs of their own.
 */
#include "cmd/imports.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char site[] = "import os\n"
                           "import sys\n"
                           "\n"
                           "\n"
                           "def _begin():\n"
                           "    here = os.path.dirname(os.path.abspath(__file__))\n"
                           "    sys.path[:] = [path for path in sys.path if path != here]\n"
                           "    try:\n"
                           "        from hasten import imports_child\n"
                           "    except Exception as failure:\n"
                           "        with open(os.path.join(os.path.dirname(here), 'trouble'), 'w') as file:\n"
                           "            file.write(f'{sys.executable} cannot load hasten: {failure}')\n"
                           "        return\n"
                           "    imports_child.begin(__name__)\n"
                           "\n"
                           "\n"
                           "if 'HASTEN_IMPORTS' in os.environ:\n"
                           "    _begin()\n";

static int write_file(const char *path, const char *text, size_t n, struct err *err)
{
    FILE *file = fopen(path, "we");

    if (!file)
        return err_sys(err, errno, "cannot write '%.200s'", path);
    if (fwrite(text, 1, n, file) != n || fclose(file) != 0)
        return err_sys(err, errno, "cannot write '%.200s'", path);
    return 0;
}

static int make_folder(struct measuring *m, struct err *err)
{
    const char *base = getenv("TMPDIR");
    const char *path_before = getenv("PYTHONPATH");
    struct str path = STR_INIT;
    char name[sizeof m->folder + 32];
    int code;

    snprintf(m->folder, sizeof m->folder, "%.200s/hasten-imports-XXXXXX", base && base[0] ? base : "/tmp");
    m->path_before = path_before ? hs_strdup(path_before) : NULL; /* setenv moves what getenv gave */
    if (!mkdtemp(m->folder)) {
        m->folder[0] = '\0';
        return err_sys(err, errno, "cannot make a folder for the measurement");
    }
    snprintf(name, sizeof name, "%s/site", m->folder);
    if (mkdir(name, 0700) < 0)
        return err_sys(err, errno, "cannot make '%s'", name);
    str_addf(&path, "%s%s%s", name, path_before && path_before[0] ? ":" : "", path_before ? path_before : "");
    setenv("PYTHONPATH", str_text(&path), 1);
    str_release(&path);
    snprintf(name, sizeof name, "%s/site/sitecustomize.py", m->folder);
    code = write_file(name, site, sizeof site - 1, err);
    return code;
}

/* Starts the command; its output goes to our stderr, or nowhere. The pid, or -1. */
static int start(const struct measuring *m, bool shown, struct err *err)
{
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    int code;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (shown) {
        posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    } else {
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    }
    code = posix_spawnp(&pid, m->command.items[0], &actions, NULL, (char *const *)(uintptr_t)m->command.items, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (code)
        return err_sys(err, code, "cannot start '%.200s'", m->command.items[0]);
    return pid;
}

/* Ctrl-C reaches the measured process, too: we only wait for its end, and take our folder away. */
static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

static int run_once(const struct measuring *m, bool shown, int *status, struct err *err)
{
    const int pid = start(m, shown, err);
    int code;

    if (pid < 0)
        return -1;
    while (waitpid(pid, &code, 0) < 0)
        if (errno != EINTR)
            return err_sys(err, errno, "cannot wait for '%.200s'", m->command.items[0]);
    *status = WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code);
    return 0;
}

static uint64_t spent_ns(const struct log *log)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < log->n_loads; i++)
        sum += log->loads[i]->self_cpu_ns;
    return sum;
}

/* The log of the process that spent most on imports; the others are counted. */
static int read_logs(struct measuring *m, const char *folder, struct log *best, struct err *err)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    uint32_t n = 0;

    *best = (struct log){0};
    while (dir && (entry = readdir(dir))) {
        char path[sizeof m->folder + 300];
        struct log log;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (log_read(&log, path, err) < 0) {
            closedir(dir);
            log_close(best);
            return -1;
        }
        n++;
        if (!best->data || spent_ns(&log) > spent_ns(best)) {
            log_close(best);
            *best = log;
        } else {
            log_close(&log);
        }
    }
    if (dir)
        closedir(dir);
    m->n_others = n ? n - 1 : 0;
    return 0;
}

/* What the processes themselves said went wrong. */
static int say_trouble(const struct measuring *m, struct err *err)
{
    char path[sizeof m->folder + 16];
    char text[400] = "";
    FILE *file;

    snprintf(path, sizeof path, "%s/trouble", m->folder);
    file = fopen(path, "re");
    if (file) {
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
    }
    text[strcspn(text, "\n")] = '\0';
    return err_set(err, "%s", text[0] ? text : "the command started no Python that could be watched");
}

static int measure_once(struct measuring *m, uint32_t number, struct err *err)
{
    char folder[sizeof m->folder + 32];
    struct log log;
    int status = 0;

    snprintf(folder, sizeof folder, "%s/%u", m->folder, number);
    if (mkdir(folder, 0700) < 0)
        return err_sys(err, errno, "cannot make '%s'", folder);
    setenv("HASTEN_IMPORTS", folder, 1);
    setenv("HASTEN_IMPORTS_ROOT", m->root ? m->root : "", 1);
    if (run_once(m, number == 0, &status, err) < 0)
        return -1;
    if (interrupted) {
        m->interrupted = true;
        return err_set(err, "interrupted");
    }
    if (read_logs(m, folder, &log, err) < 0)
        return -1;
    if (!log.data)
        return say_trouble(m, err);
    if (number == 0) { /* it compiled what was not compiled, and read files from the disk */
        m->status = status;
        log_close(&log);
    } else {
        m->logs[m->n_logs++] = log;
    }
    return 0;
}

static void unwatch(const struct measuring *m)
{
    unsetenv("HASTEN_IMPORTS");
    unsetenv("HASTEN_IMPORTS_ROOT");
    if (m->path_before)
        setenv("PYTHONPATH", m->path_before, 1);
    else
        unsetenv("PYTHONPATH");
}

int measuring_run(struct measuring *m, struct err *err)
{
    const struct sigaction action = {.sa_handler = on_interrupt}; /* exec gives the child the default back */

    fflush(stdout);
    if (make_folder(m, err) < 0)
        return -1;
    sigaction(SIGINT, &action, NULL);
    m->logs = hs_alloc(m->n_runs * sizeof *m->logs);
    for (uint32_t i = 0; i <= m->n_runs; i++)
        if (measure_once(m, i, err) < 0)
            return -1;
    unwatch(m);
    return 0;
}

static void remove_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char path[600];

        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(path, sizeof path, "%.300s/%.255s", folder, entry->d_name);
        if (unlink(path) < 0 && errno == EISDIR)
            remove_folder(path);
    }
    if (dir)
        closedir(dir);
    rmdir(folder);
}

void measuring_end(struct measuring *m)
{
    for (uint32_t i = 0; i < m->n_logs; i++)
        log_close(&m->logs[i]);
    free(m->logs);
    free(m->path_before);
    if (m->folder[0])
        remove_folder(m->folder);
    opt_list_release(&m->command);
    *m = (struct measuring){0};
}
