/* results.c - from the rings to the journal; which test has a result, which has none. */
#include "run/state.h"

#include "base/clock.h"
#include "base/trace.h"
#include "run/hitkeep.h"
#include "store/runs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/chan.h"

static void add_header(struct run *run)
{
    struct str text = STR_INIT;
    struct record record = {.type = RECORD_HEADER, .item = RECORD_NO_ITEM, .slot = RECORD_NO_SLOT};

    str_addf(&text, "hasten=%s\nrootdir=%s\nstarted=%llu\npython=%s\npytest=%s\n", HASTEN_VERSION, run->config.rootdir,
             (unsigned long long)clock_wall_ns(), run->config.python, run->config.pytest);
    for (size_t i = 0; i < run->options->n_pytest_args; i++)
        str_addf(&text, "arg=%s\n", run->options->pytest_args[i]);
    record.size = (uint32_t)text.len;
    journal_add(&run->journal, &record, text.data);
    str_release(&text);
}

/* What is measured lies beside the journal from now on: nobody needs to be alive for that. */
static void keep_hits(struct run *run)
{
    if (run->hits_fd < 0 || !run->journal_path[0] || !hits_is_used(run->hits_fd) ||
        !hitkeep_path(run->journal_path, run->hits_path, sizeof run->hits_path))
        return;
    if (hitkeep_link(run->hits_fd, run->hits_path) < 0)
        run->hits_path[0] = '\0'; /* --resume will say so */
}

int results_open(struct run *run, struct err *err)
{
    char folder[4200];
    const char *path = NULL;

    if (runs_make_folder(run->config.rootdir, folder, sizeof folder)) {
        snprintf(run->journal_path, sizeof run->journal_path, "%.4200s/%llu-%d.journal", folder,
                 (unsigned long long)(clock_wall_ns() / 1000000), (int)getpid());
        path = run->journal_path;
        runs_prune(folder);
    }
    if (journal_open(&run->journal, path, err) < 0)
        return -1;
    run->has_journal = true;
    if (run->journal.in_memory)
        run->journal_path[0] = '\0';
    keep_hits(run);
    add_header(run);
    remember_open(run);
    run->n_workers = remember_workers(run);
    return 0;
}

/* The reporter learns of what was written since the last time. */
void results_tell(struct run *run)
{
    struct chan_msg msg = {.type = WIRE_ADVANCE};
    struct err err;
    bool moved;

    if (!run->has_journal)
        return;
    if (journal_flush(&run->journal, &err) < 0) {
        fprintf(stderr, "hasten: %s\n", err.text);
        return;
    }
    if (pool_debugs(run)) /* the reporter would print into the debugger's conversation */
        return;
    moved = run->journal.moved;
    if (run->reporter.chan < 0 || (run->told == run->journal.length && !moved))
        return;
    if (run->told == 0 || moved) {
        const struct chan_msg where = {.type = WIRE_JOURNAL};

        if (chan_offer(run->reporter.chan, &where, run->journal.fd) < 0)
            return;
        run->journal.moved = false;
    }
    /* A reporter that is stuck in a hook reads nothing: limits and Ctrl-C go on, and it is told at another time. */
    msg.a = run->journal.length;
    if (chan_offer(run->reporter.chan, &msg, -1) == 0)
        run->told = run->journal.length;
}

static void note_result(struct run *run, const struct record *record, const char *text, size_t text_len)
{
    const uint32_t item = record->item;
    size_t len;
    const char *id;

    if (!run->has_catalog || item >= run->catalog.n_items)
        return;
    if (!run->result[item]) {
        run->n_done++;
        run->expected_done_ns += run->expected_ns[item];
    } else {
        run->n_outcome[run->result[item]]--;
    }
    run->result[item] =
        (uint8_t)(record->outcome && record->outcome < OUTCOME_COUNT ? record->outcome : OUTCOME_PASSED);
    run->n_outcome[run->result[item]]++;
    run->phases[item] = (struct phases){.setup_ns = record->setup_ns,
                                        .call_ns = record->call_ns,
                                        .teardown_ns = record->teardown_ns,
                                        .fresh = !(record->flags & RECORD_RESUMED)};
    run->last_result_ns = clock_now_ns();
    id = catalog_id(&run->catalog, item, &len);
    trace_event("result", TRACE_U64("item", item), TRACE_U64("slot", record->slot),
                TRACE_TEXT("outcome", outcome_name(run->result[item])), TRACE_BYTES("id", id, len));
    if (run->watcher->finished)
        run->watcher->finished(run->watcher->self, record, id, len, text, text_len);
}

void results_add(struct run *run, const struct record *record, const void *payload)
{
    journal_add(&run->journal, record, payload);
    if (record->type == RECORD_TEST)
        note_result(run, record, "", 0);
    else if (record->type == RECORD_CRASH)
        note_result(run, record, payload, record->size);
}

static bool is_sane(const struct run *run, const struct record *record)
{
    const bool has_item = record->item != RECORD_NO_ITEM;

    return record->type > RECORD_CATALOG && record->type < RECORD_END && record->outcome < OUTCOME_COUNT &&
           (!has_item || record->item < run->catalog.n_items) && (record->type != RECORD_TEST || has_item);
}

void results_drain(struct run *run, uint32_t slot)
{
    struct worker *worker = &run->workers[slot];
    struct ring *ring = segment_ring(&run->segment, slot);
    struct record record;
    int got;

    while ((got = ring_take(ring, &worker->reader, &record)) > 0) {
        if (!is_sane(run, &record)) {
            got = -1;
            break;
        }
        record.slot = slot;
        results_add(run, &record, worker->reader.payload.data);
        if (record.type == RECORD_TEST)
            worker->last_item = record.item;
        if (record.type == RECORD_NODE_DOWN)
            worker->node_down = run->proper_end = true;
    }
    if (got < 0 && worker->live && worker->pid > 0) {
        launch_note(run, "hasten: the results of worker gw%u are damaged (its memory was overwritten?); ending it",
                    slot);
        worker->end = END_STOPPED;
        pool_signal(run, 0);
    }
}

void results_drain_all(struct run *run)
{
    for (uint32_t i = 0; i < run->n_used; i++)
        if (run->workers[i].live)
            results_drain(run, i);
}

static void count_failure(struct segment_head *head)
{
    const uint32_t n = 1 + atomic_fetch_add_explicit(&head->n_failed, 1, memory_order_relaxed);

    if (head->max_fail && n >= head->max_fail)
        atomic_store_explicit(&head->stop, 1, memory_order_relaxed);
}

void results_crash(struct run *run, uint32_t slot, uint32_t item, enum record_outcome outcome, const char *text)
{
    const struct slot *shared = segment_slot(&run->segment, slot);
    const uint64_t started = atomic_load_explicit(&shared->started_ns, memory_order_relaxed);
    const uint64_t now = clock_now_ns();
    const struct record record = {
        .type = RECORD_CRASH,
        .outcome = (uint16_t)outcome,
        .flags = run->result[item] ? RECORD_AFTER : 0,
        .item = item,
        .slot = slot,
        .size = (uint32_t)strlen(text),
        .start_ns = started && now > started ? clock_wall_ns() - (now - started) : clock_wall_ns(),
        .call_ns = started && now > started ? now - started : 0,
    };

    if (!(run->asks & WIRE_ASKS_CRASHES))
        count_failure(run->segment.head);
    results_add(run, &record, text);
    if (!(record.flags & RECORD_AFTER))
        answers_ask_crash(run, item);
}

uint32_t results_missing(const struct run *run)
{
    return run->has_catalog ? run->catalog.n_items - run->n_done : 0;
}

void results_interrupt(struct run *run, const char *kind, const char *text)
{
    struct str payload = STR_INIT;
    struct record record = {.type = RECORD_INTERRUPT, .item = RECORD_NO_ITEM, .slot = RECORD_NO_SLOT};

    str_addf(&payload, "%s\n\n%s", kind, text);
    record.size = (uint32_t)payload.len;
    journal_add(&run->journal, &record, payload.data);
    str_release(&payload);
}
