#include "db/setup.h"

#include "os/child.h"
#include "os/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int start(const struct setup *setup, const char *command, const char *url, int *pid)
{
    char own[DB_URL_SIZE + 64], theirs[DB_URL_SIZE + 64];
    const char *const env[] = {own, setup->what->env ? theirs : NULL, NULL};
    char *argv[] = {(char *)(uintptr_t)"/bin/sh", (char *)(uintptr_t)"-c", (char *)(uintptr_t)command, NULL};
    const struct spawn_options options = {
        .argv = argv,
        .env = env,
        .terminal = -1,
        .own_group = true,
        .log = setup->log,
        .folder = setup->root,
    };

    snprintf(own, sizeof own, "HASTEN_DB_URL=%s", url);
    if (setup->what->env)
        snprintf(theirs, sizeof theirs, "%.63s=%s", setup->what->env, url);
    return spawn(&options, pid);
}

/* Its status as waitpid gives it; -1 when it was ended by us. */
static int await(const struct setup *setup, int pid)
{
    const struct timespec nap = {.tv_nsec = 2000000};
    int status = 0;
    int got;

    while ((got = waitpid(pid, &status, WNOHANG)) == 0 || (got < 0 && errno == EINTR)) {
        if (setup->ended && setup->ended()) {
            kill(-pid, SIGKILL);
            waitpid(pid, NULL, 0);
            return -1;
        }
        nanosleep(&nap, NULL);
    }
    kill(-pid, SIGKILL); /* what it left running would hold the template open */
    return status;
}

/* The last line that speaks of an error, else the last one that is not indented: psql ends with a line under the place. */
static void last_line(const char *path, char *line, size_t size)
{
    char next[280];
    bool of_error = false;
    FILE *f = fopen(path, "re");

    snprintf(line, size, "it printed nothing");
    while (f && fgets(next, sizeof next, f)) {
        const bool speaks = strcasestr(next, "error") != NULL;

        next[strcspn(next, "\n")] = '\0';
        if (next[0] && next[0] != ' ' && next[0] != '\t' && (speaks || !of_error)) {
            snprintf(line, size, "%s", next);
            of_error = speaks;
        }
    }
    if (f)
        fclose(f);
}

static int run_command(const struct setup *setup, const char *command, const char *url, const char *name,
                       struct err *err)
{
    char words[300];
    int pid;
    const int code = start(setup, command, url, &pid);
    const int status = code < 0 ? 0 : await(setup, pid);

    if (code < 0)
        return err_sys(err, -code, "cannot run the template's set-up in '%.200s'", setup->root);
    if (status == -1)
        return err_set(err, "ended in the middle of the template's set-up");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    last_line(setup->log, words, sizeof words);
    if (WIFSIGNALED(status))
        return err_set(err, "the template's set-up '%.100s' was killed by %s: %s", name,
                       child_signal_name(WTERMSIG(status)), words);
    return err_set(err, "the template's set-up '%.100s' failed with status %d: %s", name, WEXITSTATUS(status), words);
}

int setup_run(const struct setup *setup, struct db *db, const char *url, struct err *err)
{
    const struct keep_template *what = setup->what;
    struct str command = STR_INIT;
    int code;

    if (what->command)
        return run_command(setup, what->command, url, what->command, err);
    code = db->provider->fill(db, url, what->sql, &command, err);
    if (code == 1)
        code = run_command(setup, str_text(&command), url, what->sql, err);
    str_release(&command);
    return code;
}
