/* finish.c - the end of a run: nobody lives and every test has its result, or is run again, or never will be. */
#include "run/state.h"

#include "base/clock.h"
#include "base/trace.h"
#include "os/chan.h"

#include <signal.h>
#include <string.h>

#define MS UINT64_C(1000000)

static void quit_template(struct run *run)
{
    const struct chan_msg msg = {.type = WIRE_QUIT, .a = run->proper_end};

    if (run->template.chan >= 0 && !run->quit_ns)
        chan_send(run->template.chan, &msg, NULL, 0, -1);
    if (!run->quit_ns)
        run->quit_ns = clock_now_ns();
}

/*
 * What the template does when it ends comes before the reporter's summary: it tears --session-once fixtures down, or ends
 * the session as no worker has done it, and plugins save then what they have gathered (pytest-cov: when no test is left
 * to run, its data is there only then). A template that may still collect is not waited for, unless it has said that it
 * could not.
 */
static bool template_is_last(const struct run *run)
{
    if (run->template.chan < 0)
        return false;
    return run->template_last || (!run->early && !run->proper_end && (run->has_catalog || run->aborted));
}

/* The template has been at its end for too long. */
static void end_late_template(struct run *run)
{
    const uint64_t limit = pool_end_limit_ns(run);
    const uint64_t spent = run->quit_ns ? clock_now_ns() - run->quit_ns : 0;
    const int pid = run->template.said_pid;

    if (!limit || spent < limit || pid <= 0)
        return;
    if (spent > limit + 1000 * MS)
        kill(pid, SIGKILL);
    else if (!run->template_late) {
        run->template_late = true;
        launch_note(run, "hasten: %s ran into its time limit (%.1f s)",
                    run->template_last ? "the teardown of --session-once fixtures" : "the end of the session",
                    (double)limit / 1e9);
        kill(pid, SIGABRT); /* faulthandler writes the Python stack to stderr */
    }
}

static void await_template(struct run *run)
{
    if (!run->quit_ns)
        trace_event("await_template");
    quit_template(run);
    end_late_template(run);
}

/* Forks of this template were of no use (messages.c): another one is started when it has ended. */
static bool changes_start(struct run *run)
{
    const struct chan_msg quit = {.type = WIRE_QUIT, .a = run->proper_end};
    uint32_t why = SEGMENT_STOP_FORKS;

    if (run->early_wanted)
        return run->interrupted_ns == 0;
    if (!atomic_compare_exchange_strong(&run->segment.head->stop, &why, 0) || !results_missing(run))
        return false;
    if (run->template.chan >= 0)
        chan_send(run->template.chan, &quit, NULL, 0, -1);
    run->early = run->early_wanted = true;
    run->gathered = false;
    trace_event("await_template");
    return true;
}

/* No worker lives, and some tests may have no result: true when they will be run after all. */
static bool runs_on(struct run *run)
{
    if (run->planned && changes_start(run))
        return true;

    const bool stop = atomic_load(&run->segment.head->stop) != 0;
    const bool collected = run->has_catalog || stop;
    struct err err;

    if (!collected && !run->spawn && run->template_restarts < (run->anew_why[0] ? 3 : 2)) {
        launch_note(run, "hasten: the template died while it collected; starting it again");
        if (launch_template(run, run->early ? "early" : "template", &err) == 0)
            return true;
    }
    if (!collected)
        results_interrupt(run, "internal", "hasten: the process that collects tests died (see above); no test was run");
    if (!run->has_catalog || stop || !run->planned || !results_missing(run))
        return false;
    if (run->template.chan < 0 && !run->spawn && run->template_restarts < (run->anew_why[0] ? 4 : 3)) {
        launch_note(run, "hasten: the template died; starting it again for %u tests", results_missing(run));
        if (launch_template(run, run->early ? "early" : "template", &err) == 0)
            return true;
    }
    if (run->template.chan >= 0 && !run->template_ready) /* it would not understand WIRE_FORK yet */
        return true;
    if ((run->template.chan >= 0 || run->spawn) && schedule_again(run))
        return true;
    results_interrupt(run, "internal", "hasten: some tests could not be run; see above");
    return false;
}

/* The template may still come to its catalog, or another one is to be started. */
static bool collects(const struct run *run)
{
    return !run->has_catalog && !atomic_load(&run->segment.head->stop) &&
           (run->template.chan >= 0 || run->early_wanted || run->anew_wanted || (run->spawn && !run->n_used));
}

void finish_look(struct run *run)
{
    struct record record = {.type = RECORD_END, .item = RECORD_NO_ITEM, .slot = RECORD_NO_SLOT};

    if (run->ended || !run->has_journal || pool_live(run) || collects(run) || answers_awaited(run))
        return;
    if (!run->quit_ns && runs_on(run)) /* told to end, a template starts nobody any more */
        return;
    if (template_is_last(run)) {
        await_template(run);
        return;
    }
    record.call_ns = clock_cpu_ns();
    journal_add(&run->journal, &record, NULL);
    run->ended = true;
    run->ended_ns = clock_now_ns();
    trace_event("end", TRACE_U64("done", run->n_done));
    quit_template(run);
    results_tell(run);
    remember_write(run);
}
