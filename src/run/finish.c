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

/* The template tears --session-once fixtures down and has been at it for too long. */
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
        launch_note(run, "hasten: the teardown of --session-once fixtures ran into its time limit (%.1f s)",
                    (double)limit / 1e9);
        kill(pid, SIGABRT); /* faulthandler writes the Python stack to stderr */
    }
}

/* No worker is left: what has no result runs again, or the run is over. */
void finish_look(struct run *run)
{
    const bool stop = run->configured && atomic_load(&run->segment.head->stop) != 0;
    struct record record = {.type = RECORD_END, .item = RECORD_NO_ITEM, .slot = RECORD_NO_SLOT};
    const bool collected = run->has_catalog || stop;
    struct err err;

    if (run->ended || !run->has_journal || pool_live(run))
        return;
    if (!collected && (run->template.chan >= 0 || (run->spawn && !run->n_used)))
        return;
    if (!collected && !run->spawn && run->template_restarts < 2) {
        launch_note(run, "hasten: the template died while it collected; starting it again");
        if (launch_template(run, run->early ? "early" : "template", &err) == 0)
            return;
    }
    if (!collected)
        results_interrupt(run, "internal", "hasten: the process that collects tests died (see above); no test was run");
    if (run->has_catalog && !stop && run->planned && results_missing(run)) {
        if (run->template.chan < 0 && !run->spawn && run->template_restarts < 3) {
            launch_note(run, "hasten: the template died; starting it again for %u tests", results_missing(run));
            if (launch_template(run, run->early ? "early" : "template", &err) == 0)
                return;
        }
        if ((run->template.chan >= 0 || run->spawn) && schedule_again(run))
            return;
        results_interrupt(run, "internal", "hasten: some tests could not be run; see above");
    }
    if (run->template_last && run->template.chan >= 0) {
        quit_template(run);
        end_late_template(run);
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
