/* run.c - the loop that joins reporter, template, workers and those who watch. */
#include "run/state.h"

#include "base/clock.h"
#include "base/trace.h"
#include "os/chan.h"
#include "os/child.h"
#include "os/term.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS UINT64_C(1000000)

void run_close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* ---- signals and children */

static void first_interrupt(struct run *run)
{
    run->interrupted_ns = clock_now_ns();
    trace_event("interrupt");
    if (!run->configured || run->ended) { /* it alone is at work: importing, or in its hooks after the tests */
        kill(run->reporter.pid, SIGINT);
        return;
    }
    atomic_store(&run->segment.head->stop, 1);
    results_interrupt(run, "keyboard", "");
    pool_signal(run, SIGINT);
    if (!run->has_catalog && run->template.pid > 0)
        kill(run->template.pid, SIGKILL);
    if (!run->has_catalog)
        run_close_fd(&run->template.chan); /* its end of file ends it */
}

static void read_signals(struct run *run)
{
    struct signalfd_siginfo info;

    while (read(run->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        const int signal = (int)info.ssi_signo;

        if (signal == SIGWINCH && run->options->live) {
            struct term_size size;

            term_size(STDOUT_FILENO, &size);
            if (run->pty >= 0)
                term_set_size(run->pty, size);
            if (run->watcher->resized)
                run->watcher->resized(run->watcher->self, size.columns, size.rows);
        } else if (signal == SIGTSTP) {
            run->watcher->suspend(run->watcher->self);
        } else if (signal == SIGINT && run->plain) {
            /* A key's signal has reached it by itself where it shares our terminal and group. */
            if (info.ssi_code != SI_KERNEL || getpgid(run->reporter.pid) != getpgrp())
                kill(run->reporter.pid, SIGINT);
            run->n_interrupts++;
        } else if (signal == SIGINT) {
            if (run->n_interrupts++ == 0)
                first_interrupt(run);
        } else if (signal == SIGTERM || signal == SIGHUP) {
            run->exit_signal = signal;
        }
    }
}

static void reap_children(struct run *run)
{
    int status;
    int pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == run->reporter.pid) {
            run->reporter.exited = true;
            run->reporter.status = status;
            trace_event("reporter_end", TRACE_U64("status", status));
        } else if (pid == run->template.pid) {
            run->template.exited = true;
        }
        for (uint32_t i = 0; i < run->n_used; i++)
            if (run->workers[i].live && run->workers[i].pid == pid)
                pool_reap(run, i, status);
    }
}

/* ---- the course of a run */

/*
 * The early start that a template has asked for, or one that collects alone, once that has ended: it configured as gw0 and
 * unconfigures as that, which may drop what the new gw0 makes.
 */
static int start_other(struct run *run, struct err *err)
{
    const char *mode = run->early_wanted ? "early" : "template";

    if (!(run->early_wanted || run->anew_wanted) || run->template.chan >= 0 || run->interrupted_ns)
        return 0;
    run->early_wanted = run->anew_wanted = false;
    return launch_template(run, mode, err);
}

/* A reporter that was killed has said nothing to the end: another one says it all. */
static int revive_reporter(struct run *run, struct err *err)
{
    if (!run->reporter.exited || WIFEXITED(run->reporter.status) || !run->has_journal || run->plain ||
        run->interrupted_ns || run->exit_signal || run->reporter_restarts >= 2)
        return 0;
    fprintf(stderr, "hasten: the reporting process was killed by %s; another one reports from the start\n",
            child_signal_name(WTERMSIG(run->reporter.status)));
    return launch_reporter(run, err);
}

/* A result that does not fit into a ring comes in pieces: its worker waits for us then. */
static bool in_pieces(const struct run *run)
{
    for (uint32_t i = 0; i < run->n_used; i++)
        if (run->workers[i].live && run->workers[i].reader.in_pieces)
            return true;
    return false;
}

static uint64_t tick_ms(const struct run *run)
{
    if (run->configured && in_pieces(run))
        return 1;
    if (!run->planned || run->ended)
        return 20;
    return clock_now_ns() - run->last_result_ns < 500 * MS ? 4 : 15;
}

static int wait_for_news(struct run *run, struct err *err)
{
    struct pollfd polls[5 + 1024];
    nfds_t n = 0;

    polls[n++] = (struct pollfd){.fd = run->signals, .events = POLLIN};
    polls[n++] = (struct pollfd){.fd = run->reporter.chan, .events = POLLIN};
    polls[n++] = (struct pollfd){.fd = run->template.chan, .events = POLLIN};
    polls[n++] = (struct pollfd){.fd = run->pty, .events = POLLIN};
    polls[n++] = (struct pollfd){.fd = run->keys_lent && !run->keys_gone ? STDIN_FILENO : -1, .events = POLLIN};
    for (uint32_t i = 0; i < run->n_used && n < HS_COUNT(polls); i++)
        if (run->workers[i].live)
            polls[n++] = (struct pollfd){.fd = run->workers[i].chan, .events = POLLIN};
    poll(polls, n, (int)tick_ms(run));
    read_signals(run);
    show_relay_keys(run, (polls[4].revents & (POLLIN | POLLHUP)) != 0);
    show_relay(run);
    if (messages_drain(run, &run->reporter.chan, FROM_REPORTER, 0, err) < 0 ||
        messages_drain(run, &run->template.chan, FROM_TEMPLATE, 0, err) < 0)
        return -1;
    for (uint32_t i = 0; i < run->n_used; i++)
        if (run->workers[i].live && messages_drain(run, &run->workers[i].chan, FROM_WORKER, i, err) < 0)
            return -1;
    return 0;
}

static bool hurry(const struct run *run)
{
    const uint64_t now = clock_now_ns();

    return run->exit_signal || run->n_interrupts > 1 ||
           (run->interrupted_ns && !run->plain && now - run->interrupted_ns > 30000 * MS && pool_live(run));
}

static bool is_over(const struct run *run)
{
    if (run->options->reporter_chan >= 0)
        return run->reporter.chan < 0;
    return run->reporter.exited;
}

static int step(struct run *run, struct err *err)
{
    if (wait_for_news(run, err) < 0)
        return -1;
    if (run->configured) {
        results_drain_all(run);
        pool_look(run);
        pool_send_plans(run);
    }
    show_lend_keys(run);
    reap_children(run);
    if (revive_reporter(run, err) < 0 || start_other(run, err) < 0)
        return -1;
    finish_look(run);
    results_tell(run);
    show_draw(run);
    return 0;
}

static void end_everything(struct run *run)
{
    for (uint32_t i = 0; i < run->n_used; i++)
        if (run->workers[i].live && run->workers[i].pid > 0)
            kill(-run->workers[i].pid, SIGKILL);
    run_close_fd(&run->template.chan);
    run_close_fd(&run->reporter.chan);
    if (run->reporter.pid > 0 && !run->reporter.exited)
        kill(run->reporter.pid, SIGKILL);
    if (run->options->reporter_chan < 0)
        child_end_all(300);
}

/* Ctrl-Z is ours only where there is a screen to be taken off first. */
static int open_signals(bool suspend)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGWINCH);
    sigaddset(&set, SIGCHLD);
    if (suspend)
        sigaddset(&set, SIGTSTP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* the journal goes on in memory */
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int exit_status(const struct run *run)
{
    const int status = run->reporter.status;

    if (run->exit_signal || run->n_interrupts > 1)
        return 2;
    if (!run->reporter.exited)
        return 0;
    if (!WIFEXITED(status))
        fprintf(stderr, "hasten: the reporting process was killed by %s\n", child_signal_name(WTERMSIG(status)));
    else if (!run->said_bye && WEXITSTATUS(status) == 0) {
        fputs(
            "hasten: the reporting process left with exit status 0 in the middle (os._exit in a conftest or plugin?)\n",
            stderr);
        return 3;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : run->n_interrupts ? 2 : 3;
}

/* Workers remove nothing there: stacks go with pool_reap, the debuggers' lock (debug.py) goes here. */
static void remove_crash_dir(const struct run *run)
{
    char lock[160];

    if (!run->crash_dir[0])
        return;
    for (uint32_t i = 0; i < run->n_used; i++)
        pool_remove_stack(run, i);
    snprintf(lock, sizeof lock, "%s/debugger", run->crash_dir);
    unlink(lock);
    rmdir(run->crash_dir);
}

void run_release(struct run *run)
{
    remove_crash_dir(run);
    for (uint32_t i = 0; i < run->n_used; i++)
        ring_reader_release(&run->workers[i].reader);
    free(run->workers);
    free(run->result);
    free(run->attempts);
    free(run->unanswered);
    free(run->groups);
    parts_drop(run);
    free(run->phases);
    remember_close(run);
    free(run->expected_ns);
    if (run->has_journal)
        journal_close(&run->journal);
    segment_detach(&run->segment);
    plan_table_detach(&run->table);
    run_close_fd(&run->signals);
    run_close_fd(&run->segment_fd);
    run_close_fd(&run->inputs_fd);
    run_close_fd(&run->hits_fd);
    if (run->hits_path[0] && !results_missing(run))
        unlink(run->hits_path); /* the run is whole */
    run_close_fd(&run->table_fd);
    run_close_fd(&run->catalog_fd);
    run_close_fd(&run->pty);
    run_close_fd(&run->pty_slave);
}

int run_tests(const struct run_options *options, const struct run_watcher *watcher, struct run_totals *totals,
              struct err *err)
{
    struct run run = {.options = options,
                      .watcher = watcher,
                      .totals = totals,
                      .reporter = {.chan = options->reporter_chan},
                      .template = {.chan = options->template_chan},
                      .segment_fd = -1,
                      .inputs_fd = -1,
                      .hits_fd = -1,
                      .table_fd = -1,
                      .catalog_fd = -1,
                      .pty = -1,
                      .pty_slave = -1,
                      .started_ns = clock_now_ns()};
    const char *tmp = getenv("TMPDIR");
    bool launched;
    int code = 0;

    *totals = (struct run_totals){0};
    run.signals = open_signals(watcher->suspend != NULL);
    child_adopt_orphans();
    snprintf(run.crash_dir, sizeof run.crash_dir, "%.90s/hasten-XXXXXX", tmp && tmp[0] ? tmp : "/tmp");
    if (!mkdtemp(run.crash_dir))
        run.crash_dir[0] = '\0';
    launch_open_hits(&run);
    if (options->reporter_chan < 0)
        code = launch_pytest(&run, err);
    launched = code == 0; /* else there is no such interpreter, which is wrong usage */
    while (code == 0 && !is_over(&run) && !hurry(&run))
        code = step(&run, err);
    if (code == 0 && !hurry(&run)) /* its last words may have come after the last look */
        code = messages_drain(&run, &run.reporter.chan, FROM_REPORTER, 0, err);
    end_everything(&run);
    while (show_relay(&run))
        ;
    totals_fill(&run);
    totals->status = code == 0 ? exit_status(&run) : launched ? 3 : 4;
    run_release(&run);
    return code;
}
