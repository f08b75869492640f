/*
 * messages.c - what reporter, template and workers say to the supervisor (wire.h), and what is done then.
 *
 * Nothing that comes over a channel is believed: a test may overwrite memory of its process or write to a descriptor
 * that is not its own. Who may say what, and when, is a table; the rest is said once, dropped, and its descriptor closed.
 */
#include "run/state.h"

#include "base/clock.h"
#include "base/trace.h"
#include "os/chan.h"
#include "os/shm.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define MOST_AT_ONCE 1000  /* messages of one channel before the others have their turn */
#define MOST_RESTARTS 4000 /* replacements that a run has room for */

/* Message types: who may send them, if they bring a descriptor, if they make sense only after WIRE_CONFIG. */
static const struct rule {
    uint8_t from; /* enum sender, or'ed */
    bool with_fd;
    bool configured;
} rules[] = {
    [WIRE_CONFIG] = {.from = FROM_REPORTER},
    [WIRE_INPUTS] = {.from = FROM_REPORTER, .with_fd = true},
    [WIRE_STOP] = {.from = FROM_REPORTER},
    [WIRE_PLAIN] = {.from = FROM_REPORTER},
    [WIRE_ASKS] = {.from = FROM_REPORTER, .configured = true},
    [WIRE_GROUPS] = {.from = FROM_REPORTER, .with_fd = true, .configured = true},
    [WIRE_CRASH_SEEN] = {.from = FROM_REPORTER, .configured = true},
    [WIRE_BYE] = {.from = FROM_REPORTER},
    [WIRE_CATALOG] = {.from = FROM_TEMPLATE | FROM_WORKER, .with_fd = true, .configured = true},
    [WIRE_EXTRA] = {.from = FROM_TEMPLATE | FROM_WORKER, .with_fd = true, .configured = true},
    [WIRE_ABORT] = {.from = FROM_TEMPLATE | FROM_WORKER, .with_fd = true, .configured = true},
    [WIRE_EARLY] = {.from = FROM_REPORTER | FROM_TEMPLATE | FROM_WORKER},
    [WIRE_FORKED] = {.from = FROM_TEMPLATE, .configured = true},
    [WIRE_EXITED] = {.from = FROM_TEMPLATE, .configured = true},
    [WIRE_MISSING] = {.from = FROM_WORKER, .configured = true},
    [WIRE_HELLO] = {.from = FROM_TEMPLATE},
    [WIRE_COLLECT] = {.from = FROM_TEMPLATE, .configured = true},
    [WIRE_PARTS] = {.from = FROM_TEMPLATE, .with_fd = true, .configured = true},
};

static void tell_early(struct run *run)
{
    launch_note(run, "hasten: workers start early, before conftests are imported: %s", run->early_why);
    remember_start(run, "early", run->early_why);
}

static int on_config(struct run *run, const char *data, size_t n, struct err *err)
{
    if (run->configured)
        return 0; /* a restarted reporter says it again */
    if (run_config_parse(&run->config, data, n, err) < 0)
        return -1;
    if (run->config.max_restarts > MOST_RESTARTS)
        run->config.max_restarts = MOST_RESTARTS;
    run->n_slots = run->config.workers * 2 + run->config.max_restarts + 8;
    run->segment_fd = segment_create(&run->segment, run->n_slots, err);
    if (run->segment_fd < 0)
        return -1;
    run->segment.head->max_fail = run->config.max_fail;
    run->segment.head->each = !strcmp(run->config.dist, "each");
    run->segment.head->timeout_ns = run->config.timeout_ms * MS;
    run->workers = hs_alloc(run->n_slots * sizeof *run->workers);
    run->configured = true;
    run->configured_ns = clock_now_ns();
    run->spawn = !strcmp(run->config.start, "spawn");
    run->early = run->early || run->spawn || !strcmp(run->config.start, "early");
    if (run->options->reporter_chan >= 0)
        run->reporter.pid = 0;
    if (results_open(run, err) < 0)
        return -1;
    if (run->early_why[0])
        tell_early(run);
    return 0;
}

/* The template waits for these two; either may come first from the reporter. */
static void feed_template(struct run *run)
{
    const struct chan_msg segment = {.type = WIRE_SEGMENT};
    const struct chan_msg inputs = {.type = WIRE_INPUTS};

    if (run->segment_fd < 0 || run->inputs_fd < 0 || (run->template.chan < 0 && !run->spawn))
        return;
    if (!run->spawn) {
        chan_send(run->template.chan, &segment, NULL, 0, run->segment_fd);
        chan_send(run->template.chan, &inputs, NULL, 0, run->inputs_fd);
    }
    run->template_ready = run->template_ready || run->early;
    if (run->early && !run->planned)
        for (uint32_t i = pool_live(run); i < run->n_workers; i++)
            pool_start(run, 0);
}

static void on_early(struct run *run, const char *why, size_t n)
{
    if (run->early_why[0] || run->template_restarts > 2)
        return; /* said once; who says it again does not get new templates for ever */
    snprintf(run->early_why, sizeof run->early_why, "%.*s", (int)(n < 400 ? n : 400), why);
    trace_event("early", TRACE_TEXT("why", run->early_why));
    if (run->configured)
        tell_early(run);
    run->early = run->early_wanted = true;
    if (run->template.chan >= 0)
        trace_event("await_template");
}

/*
 * Forks of the template are not served in the middle of the run: those that are there end after their test, and what is
 * left is for others (finish.c). A run that is stopping for another reason stops.
 */
static void on_early_late(struct run *run, const char *why, size_t n)
{
    uint32_t none = 0;

    if (run->early || !run->planned || run->early_why[0])
        return;
    snprintf(run->early_why, sizeof run->early_why, "%.*s", (int)(n < 400 ? n : 400), why);
    trace_event("early", TRACE_TEXT("why", run->early_why));
    launch_note(run, "hasten: what is left of the tests runs in workers that start early: %s", run->early_why);
    remember_start(run, "early", run->early_why);
    atomic_compare_exchange_strong(&run->segment.head->stop, &none, SEGMENT_STOP_FORKS);
}

static void on_collect(struct run *run, uint64_t how, bool kept, const char *why, size_t n)
{
    static const char *const names[] = {"once", "parallel", "anew"};

    if (how >= HS_COUNT(names))
        return;
    trace_event("collect", TRACE_TEXT("how", names[how]), TRACE_BYTES("why", why, n));
    run->beside = how == WIRE_COLLECT_PARALLEL;
    if (how != WIRE_COLLECT_ANEW || run->has_catalog || run->anew_why[0])
        return;
    snprintf(run->anew_why, sizeof run->anew_why, "%.*s", (int)(n < 400 ? n : 400), why);
    launch_note(run, "hasten: tests are collected once more, by one process: %s", run->anew_why);
    run->anew_kept = kept;
    run->anew_wanted = true;
}

/* Takes fd over. The first one's order counts: later ones come from templates that were started again, or workers. */
static int on_catalog(struct run *run, int fd, bool nothing, struct err *err)
{
    if (run->has_catalog) {
        close(fd);
        return 0;
    }
    if (schedule_open(run, fd, err) < 0)
        return -1;
    run->collected_ns = clock_now_ns();
    if (run->options->resume && results_resume(run, err) < 0)
        return -1;
    if (nothing || !results_missing(run) || atomic_load(&run->segment.head->stop))
        return 0;
    run->waits_for_groups = (run->asks & WIRE_ASKS_GROUPS) != 0;
    if (run->waits_for_groups)
        return 0;
    return schedule_plan(run, err);
}

/* Takes fd over, the payload of a record. */
static void write_down(struct run *run, enum record_type type, int fd)
{
    struct record record = {.type = (uint16_t)type, .item = RECORD_NO_ITEM, .slot = RECORD_NO_SLOT};
    void *data = NULL;
    size_t size = 0;

    if (shm_map(fd, false, &data, &size) == 0 && size <= RECORD_MAX_PAYLOAD) {
        record.size = (uint32_t)size;
        journal_add(&run->journal, &record, data);
    }
    if (data)
        shm_unmap(data, size);
    close(fd);
}

static void on_abort(struct run *run, int fd)
{
    atomic_store(&run->segment.head->stop, 1);
    run->aborted = true;
    write_down(run, RECORD_INTERRUPT, fd);
}

static void on_missing(struct run *run, uint32_t slot, uint64_t n)
{
    if (!n)
        return;
    launch_note(run, "hasten: worker gw%u collected other tests than the first one (%llu are missing); not used", slot,
                (unsigned long long)n);
    run->workers[slot].node_down = true; /* it leaves without a session's end to report */
}

/* A pid of 0 or 1 would be everybody's once it is signalled as a group. */
static bool is_pid(uint64_t pid)
{
    return pid > 1 && pid <= INT_MAX;
}

/* -1: what it says cannot be. */
static int on_forked(struct run *run, uint32_t slot, uint64_t pid)
{
    if (slot >= run->n_used || !is_pid(pid))
        return -1;
    if (run->workers[slot].live && run->workers[slot].pid > 0)
        return -1;
    pool_forked(run, slot, (int)pid);
    return 0;
}

static const char *sender_name(enum sender from)
{
    return from == FROM_REPORTER ? "the reporting process" : from == FROM_TEMPLATE ? "the template" : "a worker";
}

/* Something that nobody of ours sends. Said once: what follows may be endless. */
static void drop(struct run *run, enum sender from, unsigned int type)
{
    trace_event("strange_message", TRACE_U64("type", type), TRACE_U64("from", from));
    if (!run->strange)
        launch_note(run, "hasten: a damaged message from %s was dropped (does a test write to descriptors of others?)",
                    sender_name(from));
    run->strange = true;
}

static bool makes_sense(const struct run *run, enum sender from, const struct chan_msg *msg, int fd)
{
    const struct rule *rule = msg->type < HS_COUNT(rules) ? &rules[msg->type] : NULL;

    return rule && rule->from & from && rule->with_fd == (fd >= 0) && (run->configured || !rule->configured);
}

/* One message. What it brings is taken over. */
struct news {
    enum sender from;
    uint32_t worker; /* slot of the sender when that is a worker; others name slots in the message */
    struct chan_msg msg;
    const char *data; /* borrowed */
    size_t n;
    int fd; /* owned */
};

static void has_collected(struct run *run, const struct news *news)
{
    if (news->from == FROM_WORKER) {
        run->workers[news->worker].waits_for_plan = true;
        trace_event("worker_collected", TRACE_U64("slot", news->worker));
        return;
    }
    run->template_last = news->msg.b != 0;
    run->template_ready = true;
}

/* A peer's words about itself and what it has made. */
static int handle_peer(struct run *run, const struct news *news, struct err *err)
{
    switch (news->msg.type) {
    case WIRE_CONFIG:
        return on_config(run, news->data, news->n, err);
    case WIRE_INPUTS:
        run_close_fd(&run->inputs_fd);
        run->inputs_fd = news->fd;
        feed_template(run);
        return 0;
    case WIRE_EARLY:
        if (news->from == FROM_WORKER)
            on_early_late(run, news->data, news->n);
        else
            on_early(run, news->data, news->n);
        return 0;
    case WIRE_CATALOG:
        has_collected(run, news);
        return on_catalog(run, news->fd, news->msg.a != 0, err);
    case WIRE_PARTS:
        parts_take(run, news->fd, news->msg.a);
        return 0;
    case WIRE_GROUPS:
        return answers_groups(run, news->fd, news->msg.a != 0, err);
    case WIRE_EXTRA:
        write_down(run, RECORD_EXTRA, news->fd);
        return 0;
    case WIRE_ABORT:
        if (news->from == FROM_WORKER)
            run->workers[news->worker].aborted = true;
        on_abort(run, news->fd);
        return 0;
    case WIRE_HELLO:
        if (is_pid(news->msg.a))
            run->template.said_pid = (int)news->msg.a;
        if (run->inputs_fd >= 0 && run->template_restarts)
            feed_template(run);
        return 0;
    default:
        return 0;
    }
}

static void handle_event(struct run *run, const struct news *news)
{
    const struct chan_msg *msg = &news->msg;

    if (msg->type == WIRE_STOP && run->configured)
        atomic_store(&run->segment.head->stop, 1);
    else if (msg->type == WIRE_COLLECT)
        on_collect(run, msg->a, msg->b != 0, news->data, news->n);
    else if (msg->type == WIRE_ASKS)
        run->asks = msg->a;
    else if (msg->type == WIRE_CRASH_SEEN)
        answers_crash(run, msg->a, msg->b == WIRE_CRASH_AGAIN);
    else if (msg->type == WIRE_BYE)
        run->said_bye = true;
    else if (msg->type == WIRE_FORKED && on_forked(run, msg->slot, msg->a) < 0)
        drop(run, news->from, msg->type);
    else if (msg->type == WIRE_EXITED)
        pool_reap(run, msg->slot, (int)msg->b);
    else if (msg->type == WIRE_MISSING)
        on_missing(run, news->worker, msg->a);
    else if (msg->type == WIRE_PLAIN) {
        run->plain = true;
        trace_event("plain", TRACE_BYTES("why", news->data, news->n));
    }
}

/* 1 while there may be more, 0 nothing now, -1 end of file; -2 with err. */
static int receive(struct run *run, int chan, struct news *news, struct err *err)
{
    static char data[CHAN_MAX_DATA];
    const int got = chan_recv(chan, 0, &news->msg, data, &news->n, &news->fd);

    if (got == -EAGAIN || got == -EINTR)
        return 0;
    if (got != -EBADMSG && got <= 0)
        return -1;
    if (got == -EBADMSG || !makes_sense(run, news->from, &news->msg, news->fd)) {
        run_close_fd(&news->fd);
        drop(run, news->from, news->msg.type);
        return 1;
    }
    news->data = data;
    handle_event(run, news);
    return handle_peer(run, news, err) < 0 ? -2 : 1;
}

int messages_drain(struct run *run, int *chan, enum sender from, uint32_t slot, struct err *err)
{
    int got = 1;

    for (int n = 0; n < MOST_AT_ONCE && got > 0 && *chan >= 0; n++) {
        struct news news = {.from = from, .worker = slot, .fd = -1};

        got = receive(run, *chan, &news, err);
    }
    if (got == -1)
        run_close_fd(chan);
    return got == -2 ? -1 : 0;
}
