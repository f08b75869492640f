/* launch.c - starts pytest: the process that becomes reporter and template, or either of them again. */
#include "run/state.h"

#include "base/clock.h"
#include "base/trace.h"
#include "os/chan.h"
#include "os/spawn.h"
#include "os/term.h"
#include "run/hits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * As pytest's console script would start, so that sys.path and sys.argv are what the suite knows; only -c's entry for
 * the current folder has to go. `python -m hasten` puts it there as `python -m pytest` does.
 */
static const char boot[] =
    "import os, sys\n"
    "if sys.path and sys.path[0] == '': del sys.path[0]\n"
    "if os.environ.pop('HASTEN_CWD_ON_PATH', ''): sys.path.insert(0, os.getcwd())\n"
    "try:\n"
    "    from hasten.plugin import console_main\n"
    "except ImportError as exc:\n"
    "    sys.stderr.write(f'hasten: {sys.executable} cannot import hasten and pytest ({exc}); '\n"
    "                     'install hasten there or name another interpreter with --python\\n')\n"
    "    sys.exit(4)\n"
    "sys.exit(console_main())\n";

#define LAUNCH_HITS "HASTEN_HITS"

void launch_note(struct run *run, const char *fmt, ...)
{
    struct record record = {.type = RECORD_NOTE, .item = RECORD_NO_ITEM, .slot = RECORD_NO_SLOT};
    char text[600];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    record.size = (uint32_t)strlen(text);
    if (run->has_journal && !run->ended)
        journal_add(&run->journal, &record, text);
    else
        fprintf(stderr, "%s\n", text);
}

static char **make_argv(const struct run_options *o)
{
    char **argv = hs_alloc((o->n_pytest_args + 4) * sizeof *argv);
    size_t n = 0;

    argv[n++] = (char *)(uintptr_t)o->python;
    argv[n++] = (char *)(uintptr_t)"-c";
    argv[n++] = (char *)(uintptr_t)boot;
    for (size_t i = 0; i < o->n_pytest_args; i++)
        argv[n++] = o->pytest_args[i];
    return argv;
}

/*
 * The end of a pipe whose other end stays open in this process for as long as it lives: end of file there means that we
 * are gone, at moments when nobody reads the channels (a template that imports and collects).
 */
static int make_life(void)
{
    int ends[2];

    return pipe2(ends, O_CLOEXEC) == 0 ? ends[0] : -1;
}

/*
 * One pseudo-terminal for all that are ever started. We keep its slave open too, so that it does not hang up between a
 * reporter that was killed and the next one.
 */
static int open_terminal(struct run *run)
{
    struct term_size size;
    int code;

    term_size(STDOUT_FILENO, &size);
    code = term_open_pty(&run->pty, &run->pty_slave, size);
    if (code == 0 && fcntl(run->pty, F_SETFL, O_NONBLOCK) < 0)
        code = -errno;
    return code;
}

/* Coverage's memory: pytest's own where it has started us, a new one otherwise. It costs nothing until it is used. */
void launch_open_hits(struct run *run)
{
    const char *given = getenv(LAUNCH_HITS);
    struct err err;

    if (given && run->options->reporter_chan >= 0 && fcntl(atoi(given), F_SETFD, FD_CLOEXEC) == 0)
        run->hits_fd = atoi(given);
    else
        run->hits_fd = hits_create(&err);
    unsetenv(LAUNCH_HITS);
}

/* reporter, template: our descriptors for the child to keep, or -1. */
static int start(struct run *run, int reporter, int template, const char *mode, int *pid, struct err *err)
{
    char channels[96];
    char start_env[64];
    char crash_env[192];
    char hits_env[32];
    const char *env[] = {channels, start_env, crash_env, hits_env, run->options->live ? "HASTEN_LIVE=1" : NULL, NULL};
    const int life = template >= 0 ? make_life() : -1;
    const int keep[] = {reporter, template, life, run->hits_fd};
    char **argv = make_argv(run->options);
    int code;

    snprintf(channels, sizeof channels, "HASTEN_CHANNELS=%d,%d,%d", reporter, template, life);
    snprintf(start_env, sizeof start_env, "HASTEN_START=%s", mode);
    snprintf(hits_env, sizeof hits_env, LAUNCH_HITS "=%d", run->hits_fd);
    snprintf(crash_env, sizeof crash_env, "HASTEN_CRASH_DIR=%s", run->crash_dir);
    if (run->options->live && run->pty < 0) {
        code = open_terminal(run);
        if (code < 0) {
            free(argv);
            return err_sys(err, -code, "cannot open a pseudo-terminal");
        }
    }
    const struct spawn_options options = {
        .argv = argv, .env = env, .keep = keep, .n_keep = 4, .terminal = run->pty_slave, .own_group = true};
    code = spawn(&options, pid);
    free(argv);
    if (life >= 0)
        close(life);
    if (code < 0)
        return err_sys(err, -code, "cannot start '%s'", run->options->python);
    trace_event("pytest_start", TRACE_U64("pytest_pid", *pid), TRACE_TEXT("start", mode));
    return 0;
}

int launch_pytest(struct run *run, struct err *err)
{
    int r[2] = {-1, -1};
    int z[2] = {-1, -1};
    int code = chan_pair(r);

    if (code == 0)
        code = chan_pair(z);
    if (code < 0)
        return err_sys(err, -code, "cannot open a channel to pytest");
    run->reporter.chan = r[0];
    run->template.chan = z[0];
    code = start(run, r[1], z[1], "", &run->reporter.pid, err);
    close(r[1]);
    close(z[1]);
    return code;
}

/* The reporter once more: it reads the journal from its start, so that no result is lost with its predecessor. */
int launch_reporter(struct run *run, struct err *err)
{
    int r[2] = {-1, -1};
    int code = chan_pair(r);

    if (code < 0)
        return err_sys(err, -code, "cannot open a channel to pytest");
    if (run->reporter.chan >= 0)
        close(run->reporter.chan);
    run->reporter = (struct peer){.chan = r[0]};
    run->reporter_restarts++;
    run->told = 0;
    code = start(run, r[1], -1, "template", &run->reporter.pid, err);
    close(r[1]);
    return code;
}

/* The template once more, in a process of its own: the suite needs another start, or the template has died. */
int launch_template(struct run *run, const char *mode, struct err *err)
{
    int z[2] = {-1, -1};
    int code = chan_pair(z);

    if (code < 0)
        return err_sys(err, -code, "cannot open a channel to pytest");
    if (run->template.chan >= 0)
        close(run->template.chan);
    run->template = (struct peer){.chan = z[0]};
    run->template_restarts++;
    run->template_ready = false;
    parts_drop(run); /* it collects alone */
    code = start(run, -1, z[1], mode, &run->template.pid, err);
    close(z[1]);
    return code;
}

/* The spawn start: a worker in a process of its own, which collects for itself. chan: its end, borrowed. */
int launch_worker(struct run *run, uint32_t slot, int chan, struct err *err)
{
    const struct chan_msg segment = {.type = WIRE_SEGMENT};
    const struct chan_msg inputs = {.type = WIRE_INPUTS};
    struct worker *worker = &run->workers[slot];
    char mode[32];
    int pid = 0;

    snprintf(mode, sizeof mode, "spawn:%u", slot);
    if (start(run, -1, chan, mode, &pid, err) < 0)
        return -1;
    pool_forked(run, slot, pid);
    chan_send(worker->chan, &segment, NULL, 0, run->segment_fd);
    chan_send(worker->chan, &inputs, NULL, 0, run->inputs_fd);
    return 0;
}
