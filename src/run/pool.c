/*
 * pool.c - workers: start, watch, end.
 *
 * A worker that ends by itself has published RECORD_NODE_DOWN; one that has not has died, and the test in its slot
 * gets the result. What it had in its range is stolen by the others (its slot says SLOT_DEAD) or handed out again.
 */
#include "run/state.h"

#include "base/clock.h"
#include "base/trace.h"
#include "os/chan.h"
#include "os/child.h"
#include "os/cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define MAX_STACK 65536

/* Of a template that was started again: it may have collected in another order than the first one. */
static void send_numbers(const struct run *run, const struct worker *worker)
{
    const struct chan_msg catalog = {.type = WIRE_CATALOG};

    if (!run->early && run->template_restarts)
        chan_send(worker->chan, &catalog, NULL, 0, run->catalog_fd);
}

bool pool_start(struct run *run, uint32_t part)
{
    const uint32_t slot = run->n_used;
    const struct chan_msg msg = {.type = WIRE_FORK, .slot = slot, .a = part};
    struct worker *worker;
    int ends[2];
    int code;

    if (slot >= run->n_slots || (run->template.chan < 0 && !run->spawn) || chan_pair(ends) < 0)
        return false;
    worker = &run->workers[slot];
    *worker = (struct worker){
        .chan = ends[0], .live = true, .up_ns = clock_now_ns(), .last_item = RECORD_NO_ITEM, .part = part};
    run->n_used++;
    atomic_store_explicit(&segment_slot(&run->segment, slot)->part, part, memory_order_relaxed);
    ring_init(segment_ring(&run->segment, slot), SEGMENT_RING_BYTES);
    atomic_store_explicit(&segment_slot(&run->segment, slot)->state, SLOT_STARTING, memory_order_release);
    if (run->spawn) {
        struct err err;

        code = launch_worker(run, slot, ends[1], &err);
        close(ends[1]);
        if (code < 0)
            launch_note(run, "hasten: worker gw%u could not be started: %s", slot, err.text);
        trace_event("worker_start", TRACE_U64("slot", slot));
        return true; /* one that could not be started is reaped as lost */
    }
    if (!run->early) {
        const struct chan_msg plan = {.type = WIRE_PLAN};

        chan_offer(run->template.chan, &plan, run->table_fd);
    }
    code = chan_offer(run->template.chan, &msg, ends[1]);
    close(ends[1]);
    if (code == -EAGAIN) { /* it has hundreds to fork already, and would wait for us to hear of them: they will do */
        close(ends[0]);
        *worker = (struct worker){.chan = -1};
        run->n_used--;
        atomic_store_explicit(&segment_slot(&run->segment, slot)->state, SLOT_FREE, memory_order_release);
        return false;
    }
    send_numbers(run, worker);
    trace_event("worker_start", TRACE_U64("slot", slot), TRACE_U64("part", part));
    return true;
}

static void send_plan(struct run *run, uint32_t slot)
{
    const struct chan_msg plan = {.type = WIRE_PLAN};
    const struct chan_msg catalog = {.type = WIRE_CATALOG};

    chan_send(run->workers[slot].chan, &plan, NULL, 0, run->table_fd);
    chan_send(run->workers[slot].chan, &catalog, NULL, 0, run->catalog_fd);
    run->workers[slot].waits_for_plan = false;
    run->workers[slot].has_plan = true;
}

/* Workers that still configure and collect. */
static uint32_t n_collecting(const struct run *run)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < run->n_used; i++) {
        const struct worker *worker = &run->workers[i];

        n += worker->live && !worker->waits_for_plan && !worker->has_plan && !worker->node_down;
    }
    return n;
}

/*
 * No test runs, and no worker ends its session, while another one configures or collects, as with pytest-xdist: plugins
 * and conftests clear away there what they take for an earlier run's. (pytest-cov, for one: under load it deleted the
 * data of a worker that had run every test before the last one was up.) A worker in the place of one that died cannot be
 * waited for, as the others are in the middle of their tests.
 */
static bool gather(struct run *run)
{
    const uint32_t n = run->gathered ? 0 : n_collecting(run);

    if (n && n != run->n_awaited)
        trace_event("gather", TRACE_U64("missing", n));
    run->n_awaited = n;
    run->gathered = n == 0;
    return run->gathered;
}

void pool_send_plans(struct run *run)
{
    const struct chan_msg quit = {.type = WIRE_QUIT};

    if (!run->early || !run->has_catalog || !gather(run) || (run->waits_for_groups && answers_awaited(run)))
        return;
    for (uint32_t i = 0; i < run->n_used; i++) {
        struct worker *worker = &run->workers[i];

        if (!worker->live || !worker->waits_for_plan)
            continue;
        if (run->planned) {
            send_plan(run, i);
        } else {
            worker->waits_for_plan = false;
            worker->node_down = true;
            chan_send(worker->chan, &quit, NULL, 0, -1);
        }
    }
}

void pool_forked(struct run *run, uint32_t slot, int pid)
{
    if (slot >= run->n_used)
        return;
    run->workers[slot].pid = pid;
    if (!run->first_up_ns)
        run->first_up_ns = clock_now_ns();
    atomic_store_explicit(&segment_slot(&run->segment, slot)->pid, pid, memory_order_relaxed);
    trace_event("worker_forked", TRACE_U64("slot", slot), TRACE_U64("worker_pid", pid));
}

bool pool_debugs(const struct run *run)
{
    for (uint32_t i = 0; i < run->n_used; i++)
        if (run->workers[i].live && atomic_load_explicit(&segment_slot(&run->segment, i)->paused, memory_order_relaxed))
            return true;
    return false;
}

uint32_t pool_live(const struct run *run)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < run->n_used; i++)
        n += run->workers[i].live;
    return n;
}

static void stack_path(const struct run *run, int pid, char *path, size_t size)
{
    snprintf(path, size, "%s/%d", run->crash_dir, pid);
}

/* The Python stack that faulthandler wrote when pid died; empty when there is none. */
static void take_stack(const struct run *run, int pid, struct str *text)
{
    char path[192];
    ssize_t n;
    int fd;

    stack_path(run, pid, path, sizeof path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    str_reserve(text, MAX_STACK);
    n = read(fd, text->data, MAX_STACK);
    if (n > 0) {
        text->len = (size_t)n;
        text->data[n] = '\0';
    }
    close(fd);
}

void pool_remove_stack(const struct run *run, uint32_t slot)
{
    char path[192];

    stack_path(run, run->workers[slot].pid, path, sizeof path);
    unlink(path);
}

static void say_how(const struct run *run, const struct worker *worker, int status, struct str *out)
{
    if (worker->end == END_TIMEOUT)
        str_addf(out, "ended by hasten: the test ran into its time limit");
    else if (worker->end == END_LEAVING)
        str_addf(out, "ended by hasten: what follows its last test ran into the time limit");
    else if (worker->end == END_MEMORY)
        str_addf(out, "ended by hasten: it used more than --worker-memory (%llu MiB)",
                 (unsigned long long)(run->config.worker_memory >> 20));
    else if (worker->end == END_STOPPED)
        str_addf(out, "ended by hasten: it was stopped (SIGSTOP) and nobody would have continued it");
    else if (WIFSIGNALED(status))
        str_addf(out, "killed by %s%s", child_signal_name(WTERMSIG(status)),
                 WTERMSIG(status) == SIGKILL ? " (by the test, by somebody else, or for lack of memory)" : "");
    else
        str_addf(out, "the process left with exit status %d", WEXITSTATUS(status));
}

static void report_death(struct run *run, uint32_t slot, uint32_t item, int status)
{
    const struct worker *worker = &run->workers[slot];
    const uint64_t limit = atomic_load_explicit(&segment_slot(&run->segment, slot)->limit_ns, memory_order_relaxed);
    const uint64_t end_limit = pool_end_limit_ns(run);
    struct str text = STR_INIT;
    struct str stack = STR_INIT;
    size_t len = 0;
    const char *id = item < run->catalog.n_items ? catalog_id(&run->catalog, item, &len) : "";
    enum record_outcome outcome = OUTCOME_CRASHED;

    take_stack(run, worker->pid, &stack);
    if (worker->end == END_TIMEOUT) {
        outcome = OUTCOME_TIMEOUT;
        str_addf(&text, "Timeout (>%.1fs) from hasten: worker 'gw%u' was running '%.*s'\n", (double)limit / 1e9, slot,
                 (int)len, id);
    } else if (worker->end == END_LEAVING) {
        outcome = OUTCOME_TIMEOUT;
        str_addf(&text, "Timeout (>%.1fs) from hasten: worker 'gw%u' was at the end of its session, after '%.*s'\n",
                 (double)end_limit / 1e9, slot, (int)len, id);
    } else {
        str_addf(&text, "worker 'gw%u' crashed %s '%.*s'\n", slot,
                 run->result[item] ? "at the end of its session, after" : "while running", (int)len, id);
    }
    say_how(run, worker, status, &text);
    if (stack.len)
        str_addf(&text, "\n\n%s", str_text(&stack));
    results_crash(run, slot, item, outcome, str_text(&text));
    str_release(&text);
    str_release(&stack);
}

static void node_down(struct run *run, uint32_t slot, const char *text)
{
    const struct record record = {
        .type = RECORD_NODE_DOWN, .outcome = 1, .item = RECORD_NO_ITEM, .slot = slot, .size = (uint32_t)strlen(text)};

    results_add(run, &record, text);
}

bool pool_may_restart(struct run *run, uint32_t slot)
{
    char text[96];

    if (run->n_restarts < run->config.max_restarts) {
        run->n_restarts++;
        return true;
    }
    run->gave_up = true;
    if (run->config.max_restarts == 0 && slot != RECORD_NO_SLOT)
        snprintf(text, sizeof text, "worker gw%u crashed and worker restarting disabled", slot);
    else
        snprintf(text, sizeof text, "maximum crashed workers reached: %u", run->config.max_restarts);
    atomic_store_explicit(&run->segment.head->stop, 1, memory_order_relaxed);
    results_interrupt(run, "shouldfail", text);
    return false;
}

/* After a death: somebody else, while there is something left to run. */
static void replace(struct run *run, uint32_t slot)
{
    const bool stopping = atomic_load_explicit(&run->segment.head->stop, memory_order_relaxed) != 0;

    if (stopping || run->ended || (run->has_catalog ? !results_missing(run) : !run->early))
        return;
    if (!run->has_catalog && run->n_restarts >= run->config.workers) {
        atomic_store_explicit(&run->segment.head->stop, 1, memory_order_relaxed);
        results_interrupt(run, "internal",
                          "hasten: the workers died while they collected (see above); no test was run");
        return;
    }
    if (!pool_may_restart(run, slot))
        return;
    launch_note(run, "replacing crashed worker gw%u", slot);
    pool_start(run, run->n_parts ? run->workers[slot].part : 0);
}

/* Of a worker without a test that could be blamed: a note, with its stack when we have ended it. */
static void note_death(struct run *run, uint32_t slot, const char *when, const char *how)
{
    struct record record = {.type = RECORD_NOTE, .item = RECORD_NO_ITEM, .slot = RECORD_NO_SLOT};
    struct str text = STR_INIT;
    struct str stack = STR_INIT;

    str_addf(&text, "hasten: worker gw%u died %s: %s", slot, when, how);
    if (run->workers[slot].end != END_NONE)
        take_stack(run, run->workers[slot].pid, &stack);
    if (stack.len)
        str_addf(&text, "\n%s", str_text(&stack));
    record.size = (uint32_t)text.len;
    results_add(run, &record, str_text(&text));
    str_release(&stack);
    str_release(&text);
}

static void after_death(struct run *run, uint32_t slot, int status)
{
    struct worker *worker = &run->workers[slot];
    const uint32_t current = atomic_load_explicit(&segment_slot(&run->segment, slot)->current, memory_order_acquire);
    struct str how = STR_INIT;

    say_how(run, worker, status, &how);
    trace_event("worker_died", TRACE_U64("slot", slot), TRACE_U64("status", status), TRACE_TEXT("how", str_text(&how)));
    if (worker->end != END_INTERRUPT) {
        if (current < run->catalog.n_items && !run->result[current])
            report_death(run, slot, current, status);
        else if (worker->last_item != RECORD_NO_ITEM && !worker->node_down)
            report_death(run, slot, worker->last_item, status);
        else if (!worker->node_down)
            note_death(run, slot, "before its first test", str_text(&how));
        else
            note_death(run, slot, "after its session", str_text(&how));
    }
    if (!worker->node_down)
        node_down(run, slot, str_text(&how));
    str_release(&how);
    if (worker->end != END_INTERRUPT)
        replace(run, slot);
}

/*
 * The test that a dead worker had taken for later goes back to the front of its range, with the rest of its unit: whoever
 * takes that over runs it where it belongs.
 */
static void give_back_to(struct run *run, struct range *range, uint32_t item)
{
    uint32_t lo, hi;

    range_read(range, &lo, &hi);
    if (lo > 0 && lo <= run->n_free && plan_table_order(&run->table)[lo - 1] == item && range_give_back(range, lo - 1))
        trace_event("claim_given_back", TRACE_U64("item", item), TRACE_U64("at", lo - 1));
}

static void give_back_claim(struct run *run, struct slot *slot)
{
    const uint32_t item = atomic_load_explicit(&slot->claimed, memory_order_acquire);

    if (item >= run->catalog.n_items || run->result[item] || !run->planned)
        return;
    give_back_to(run, &slot->range, item);
    give_back_to(run, &slot->block, item);
}

/* That it has ended may be heard before what it said. What cannot be used of that says so to people (messages.c). */
static void hear_last_words(struct run *run, uint32_t slot)
{
    struct worker *worker = &run->workers[slot];
    struct err err;

    if (messages_drain(run, &worker->chan, FROM_WORKER, slot, &err) < 0)
        launch_note(run, "hasten: worker gw%u: %s", slot, err.text);
    run_close_fd(&worker->chan);
    results_drain(run, slot);
}

void pool_reap(struct run *run, uint32_t slot, int status)
{
    struct worker *worker = slot < run->n_used ? &run->workers[slot] : NULL;
    struct slot *shared;

    if (!worker || !worker->live)
        return;
    shared = segment_slot(&run->segment, slot);
    hear_last_words(run, slot);
    ring_reader_release(&worker->reader);
    worker->live = false;
    worker->down_ns = clock_now_ns();
    give_back_claim(run, shared);
    /* Release: thieves that see DEAD may take what was claimed for a started unit. */
    atomic_store_explicit(&shared->state, SLOT_DEAD, memory_order_release);
    if (run->leased && run->planned)
        leases_bury(&run->leases, shared, slot);
    trace_event("worker_end", TRACE_U64("slot", slot), TRACE_U64("status", status));
    if ((!worker->node_down || status != 0) && !worker->aborted)
        after_death(run, slot, status);
    pool_remove_stack(run, slot);
    parts_ended(run, slot);
}

void pool_signal(struct run *run, int signal)
{
    for (uint32_t i = 0; i < run->n_used; i++) {
        struct worker *worker = &run->workers[i];

        if (!worker->live || worker->pid <= 0)
            continue;
        if (signal)
            kill(-worker->pid, signal);
        else if (worker->end != END_NONE && !worker->ended_at_ns) {
            worker->ended_at_ns = clock_now_ns();
            kill(worker->pid, SIGABRT); /* faulthandler writes the Python stack */
            kill(worker->pid, SIGCONT);
        }
    }
}

static void end_worker(struct run *run, struct worker *worker, enum worker_end why)
{
    worker->end = why;
    pool_signal(run, 0);
}

/* How long a test and its fixtures have after the first Ctrl-C: teardowns may stop containers. */
static uint64_t interrupt_grace_ns(void)
{
    const char *text = getenv("HASTEN_TEST_GRACE_MS");

    return (text ? strtoull(text, NULL, 10) : 10000) * MS;
}

/*
 * What follows the last test (session hooks, plugins that save what they have measured, atexit, threads) has no limit in
 * pytest. Under --timeout it has that of a test, but not less than this: saving may take longer than any test may.
 */
uint64_t pool_end_limit_ns(const struct run *run)
{
    const char *text = getenv("HASTEN_TEST_END_MS");
    const uint64_t least = text ? strtoull(text, NULL, 10) : 10000;

    return run->config.timeout_ms ? (run->config.timeout_ms > least ? run->config.timeout_ms : least) * MS : 0;
}

/*
 * Time that counts for a limit. A worker with a full ring waits for us: while we were stopped (Ctrl-Z, a debugger, a frozen
 * container) its test may have been over for long.
 */
static uint64_t time_spent(const struct run *run, uint64_t since, uint64_t now)
{
    const uint64_t from = since > run->gap_begin_ns ? since : run->gap_begin_ns;
    const uint64_t gap = run->gap_end_ns > from ? run->gap_end_ns - from : 0;

    return now > since ? now - since - gap : 0;
}

static void note_gap(struct run *run, uint64_t now)
{
    if (run->looked_ns && now - run->looked_ns > 500 * MS) {
        run->gap_begin_ns = run->looked_ns;
        run->gap_end_ns = now;
        trace_event("gap", TRACE_U64("ns", now - run->looked_ns));
    }
    run->looked_ns = now;
}

static bool is_late(const struct run *run, const struct slot *slot, uint64_t now)
{
    const uint64_t limit = pool_end_limit_ns(run);

    /* The state first: who sees it sees since when. */
    return limit && atomic_load_explicit(&slot->state, memory_order_acquire) == SLOT_LEAVING &&
           time_spent(run, atomic_load_explicit(&slot->leaving_ns, memory_order_relaxed), now) > limit;
}

static void look_at(struct run *run, uint32_t slot, uint64_t now, bool slow_look)
{
    struct worker *worker = &run->workers[slot];
    const struct slot *shared = segment_slot(&run->segment, slot);
    const bool paused =
        atomic_load_explicit(&shared->paused, memory_order_acquire) != 0; /* first: its end sets started */
    uint64_t started, limit;
    const uint32_t current = slot_current(shared, &started, &limit);

    if (worker->end == END_NONE && run->interrupted_ns && now - run->interrupted_ns > interrupt_grace_ns()) {
        end_worker(run, worker, END_INTERRUPT);
        return;
    }
    if (worker->end != END_NONE && worker->ended_at_ns) {
        if (now - worker->ended_at_ns > 1000 * MS)
            kill(-worker->pid, SIGKILL);
        return;
    }
    if (current != SEGMENT_NO_ITEM && limit && !paused && time_spent(run, started, now) > limit) {
        end_worker(run, worker, END_TIMEOUT);
        return;
    }
    if (!slow_look)
        return;
    if (!paused && is_late(run, shared, now)) {
        end_worker(run, worker, END_LEAVING);
        return;
    }
    if (run->config.worker_memory && child_resident_bytes(worker->pid) > run->config.worker_memory) {
        end_worker(run, worker, END_MEMORY);
        return;
    }
    worker->stopped_looks = !paused && child_state(worker->pid) == 'T' ? worker->stopped_looks + 1 : 0;
    if (worker->stopped_looks > 10)
        end_worker(run, worker, END_STOPPED);
}

/* The memory of one worker, another one each second: reading it takes the kernel a millisecond for 500 MB. */
static void weigh(struct run *run, uint64_t now)
{
    const uint64_t turn = now / (1000 * MS);
    const struct worker *worker = run->n_used ? &run->workers[turn % run->n_used] : NULL;
    uint64_t bytes;

    if (!worker || !worker->live || worker->pid <= 0 || now - run->last_weigh_ns < 1000 * MS)
        return;
    run->last_weigh_ns = now;
    bytes = cpu_private_bytes(worker->pid);
    if (bytes > run->worker_bytes)
        run->worker_bytes = bytes;
}

/* Nobody tells how they ended when the template is gone: they are our children then, or nobody's. */
static void look_for_lost(struct run *run, uint32_t slot)
{
    const int pid = run->workers[slot].pid;
    int status = 0;

    if (waitpid(pid, &status, WNOHANG) == pid) {
        pool_reap(run, slot, status);
        return;
    }
    if (kill(pid, 0) != 0 && errno == ESRCH) {
        results_drain(run, slot); /* its last words may have come since the last look */
        pool_reap(run, slot, run->workers[slot].node_down ? 0 : SIGKILL);
    }
}

void pool_look(struct run *run)
{
    const uint64_t now = clock_now_ns();
    const bool slow_look = now - run->last_look_ns > 100 * MS;

    note_gap(run, now);
    if (slow_look)
        run->last_look_ns = now;
    weigh(run, now);
    if (slow_look)
        parts_look(run);
    for (uint32_t i = 0; i < run->n_used; i++) {
        struct worker *worker = &run->workers[i];

        if (!worker->live)
            continue;
        if (worker->pid > 0)
            look_at(run, i, now, slow_look);
        if (run->template.chan < 0 && worker->live) {
            if (worker->pid > 0)
                look_for_lost(run, i);
            else
                pool_reap(run, i, SIGKILL);
        }
    }
}
