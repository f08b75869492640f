/*
 * show.c - what those who watch see of a run (run_watcher), and the terminal's two directions: pytest's output to the
 * watcher, keys to whoever behind the pseudo-terminal reads them (a debugger, pytest in one process).
 */
#include "run/state.h"

#include "base/clock.h"
#include "os/term.h"
#include "sched/eta.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define MS UINT64_C(1000000)

static void fill_workers(const struct run *run, struct view_worker *views, uint32_t *n, uint64_t now)
{
    *n = 0;
    for (uint32_t i = 0; i < run->n_used && *n < 256; i++) {
        uint64_t started, unused;
        const uint32_t current = slot_current(segment_slot(&run->segment, i), &started, &unused);
        struct view_worker *v = &views[*n];

        if (!run->workers[i].live)
            continue;
        *v = (struct view_worker){.slot = i, .state = VIEW_WORKER_IDLE};
        if (run->has_catalog && current < run->catalog.n_items) {
            v->state = VIEW_WORKER_RUNNING;
            v->node_id = catalog_id(&run->catalog, current, &v->node_id_len);
            v->running_ns = now > started ? now - started : 0;
        }
        ++*n;
    }
}

/* The expected rest of the test that will run longest from now, among those that run. */
static uint64_t longest_left(const struct run *run, uint64_t now)
{
    uint64_t longest = 0;

    for (uint32_t i = 0; i < run->n_used; i++) {
        uint64_t started, unused;
        const uint32_t current = slot_current(segment_slot(&run->segment, i), &started, &unused);
        const uint64_t used = now > started ? now - started : 0;

        if (current < run->catalog.n_items && run->expected_ns[current] > used + longest)
            longest = run->expected_ns[current] - used;
    }
    return longest;
}

static void forecast(const struct run *run, struct run_view *view, uint64_t now)
{
    const uint64_t done = run->expected_done_ns;
    const uint32_t n = run->catalog.n_items;
    const struct eta eta = {.n_workers = run->n_workers,
                            .n_done = run->n_done,
                            .n_left = n - run->n_done,
                            .wall_ns = run->first_up_ns ? now - run->first_up_ns : 0,
                            .expected_done_ns = done,
                            .expected_left_ns = run->expected_total_ns > done ? run->expected_total_ns - done : 0,
                            .longest_left_ns = longest_left(run, now)};

    if (!run->first_up_ns || run->n_done == n)
        return;
    view->eta_ns = eta_left_ns(&eta);
    view->eta_trusted = run->expected_known > n / 2 || run->n_done > n / 10;
}

void show_draw(struct run *run)
{
    static struct view_worker workers[256];
    const uint64_t now = clock_now_ns();
    struct run_view view = {
        .stopping = run->interrupted_ns != 0, .elapsed_ns = now - run->started_ns, .workers = workers};

    if (!run->watcher->tick || now - run->last_draw_ns < 100 * MS || run->keys_lent || run->config.own_screen)
        return;
    run->last_draw_ns = now;
    view.phase = run->ended        ? VIEW_FINISHING
                 : run->planned    ? VIEW_TESTING
                 : run->configured ? VIEW_COLLECTING
                                   : VIEW_STARTING;
    if (run->has_catalog) {
        view.n_total = run->catalog.n_items;
        view.n_done = run->n_done;
        memcpy(view.n_outcome, run->n_outcome, sizeof view.n_outcome);
        forecast(run, &view, now);
    }
    if (run->workers)
        fill_workers(run, workers, &view.n_workers, now);
    run->watcher->tick(run->watcher->self, &view);
}

/* What pytest has printed, up to a bound: results wait meanwhile. True when there may be more. */
bool show_relay(struct run *run)
{
    char bytes[16384];

    for (int i = 0; i < 64 && run->pty >= 0; i++) {
        const ssize_t n = read(run->pty, bytes, sizeof bytes);

        if (n <= 0)
            return false;
        if (run->watcher->output)
            run->watcher->output(run->watcher->self, bytes, (size_t)n);
    }
    return run->pty >= 0;
}

void show_lend_keys(struct run *run)
{
    const bool lent = run->pty >= 0 && (run->plain || pool_debugs(run));

    if (lent != run->keys_lent && run->watcher->lend)
        run->watcher->lend(run->watcher->self, lent);
    run->keys_lent = lent;
}

void show_relay_keys(struct run *run, bool ready)
{
    char keys[1024];
    ssize_t n;

    if (!ready || run->pty < 0)
        return;
    n = read(STDIN_FILENO, keys, sizeof keys);
    if (n > 0)
        term_write(run->pty, keys, (size_t)n);
    else if (n == 0 || errno != EINTR)
        run->keys_gone = true;
}
