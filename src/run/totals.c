/* totals.c - what is left to say when a run is over. */
#include "run/state.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

static uint64_t spent_ns(const struct phases *p)
{
    return p->setup_ns + p->call_ns + p->teardown_ns;
}

/* Puts a test among the slowest where it belongs there. */
static void add_slow(struct run *run, uint32_t item)
{
    struct run_totals *t = run->totals;
    const uint64_t ns = spent_ns(&run->phases[item]);
    uint32_t at = t->n_slow;
    size_t len;
    const char *id;

    if (at == HS_COUNT(t->slow) && ns <= t->slow[at - 1].ns)
        return;
    if (at < HS_COUNT(t->slow))
        t->n_slow++;
    else
        at--;
    for (; at > 0 && t->slow[at - 1].ns < ns; at--)
        t->slow[at] = t->slow[at - 1];
    id = catalog_id(&run->catalog, item, &len);
    t->slow[at].ns = ns;
    snprintf(t->slow[at].id, sizeof t->slow[at].id, "%.*s", (int)(len < 250 ? len : 250), id);
}

/* A test taken over from an earlier run's journal has cost this one nothing. */
static void add_tests(struct run *run)
{
    for (uint32_t i = 0; run->has_catalog && i < run->catalog.n_items; i++) {
        if (!run->result[i] || !run->phases[i].fresh)
            continue;
        run->totals->n_tests++;
        run->totals->tests_ns += spent_ns(&run->phases[i]);
        add_slow(run, i);
    }
}

/* A replacement takes the place of the worker that died: together they are one. */
static void add_workers(struct run *run)
{
    struct run_totals *t = run->totals;
    uint64_t last_down = 0;
    uint64_t busy = 0;
    uint64_t waited = 0;

    for (uint32_t i = 0; i < run->n_used; i++) {
        const struct worker *worker = &run->workers[i];

        if (worker->down_ns > last_down)
            last_down = worker->down_ns;
        busy += atomic_load_explicit(&segment_slot(&run->segment, i)->busy_ns, memory_order_relaxed);
        waited += atomic_load_explicit(&segment_slot(&run->segment, i)->waited_ns, memory_order_relaxed);
        if (run->watcher->worker && worker->pid)
            run->watcher->worker(run->watcher->self, i, worker->up_ns,
                                 worker->down_ns ? worker->down_ns : clock_now_ns());
    }
    t->tests_ns -= waited < t->tests_ns ? waited : t->tests_ns; /* one worker would not have had to wait */
    t->n_workers = run->n_workers < run->n_used ? run->n_workers : run->n_used;
    t->span_ns = last_down > run->first_up_ns ? last_down - run->first_up_ns : 0;
    t->idle_ns = t->span_ns * t->n_workers > busy ? t->span_ns * t->n_workers - busy : 0;
}

void totals_fill(struct run *run)
{
    struct run_totals *t = run->totals;
    const uint64_t now = clock_now_ns();

    t->wall_ns = now - run->started_ns;
    t->distributed = run->planned;
    t->quiet = run->config.quiet;
    t->start_ns = run->first_up_ns ? run->first_up_ns - run->started_ns : 0;
    t->marks = (struct run_marks){.started_ns = run->started_ns,
                                  .configured_ns = run->configured_ns,
                                  .collected_ns = run->collected_ns,
                                  .first_up_ns = run->first_up_ns,
                                  .ended_ns = run->ended_ns,
                                  .over_ns = now};
    add_tests(run);
    add_workers(run);
    if (run->n_interrupts > 1 && run->has_journal && !run->journal.in_memory)
        snprintf(t->note, sizeof t->note,
                 "stopped at once; hasten run --resume goes on with the %u tests that have no result",
                 results_missing(run));
    if (run->has_journal && run->journal.in_memory && run->journal.trouble.text[0])
        snprintf(t->note, sizeof t->note, "no journal on disk: %.400s", run->journal.trouble.text);
}
