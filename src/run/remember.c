/* remember.c - a run and the history (store/history.h): what is expected of each test before, what it took after. */
#include "run/state.h"

#include "base/clock.h"
#include "base/trace.h"
#include "os/cpu.h"
#include "store/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct remembered {
    struct history history;
    struct history_config config;
    struct map at;   /* node id -> index in spent */
    struct str ids;  /* every id, one after another: fixed once loading is over */
    uint64_t *spent; /* owned */
    size_t *id_at;   /* owned */
    size_t *id_len;  /* owned */
    size_t n;
    size_t cap;
    bool open;
};

static void trouble(struct run *run, const struct err *err)
{
    launch_note(run, "hasten: no history in this run: %s", err->text);
}

static void keep(void *arg, const struct history_test *test)
{
    struct remembered *r = arg;

    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 1024;
        r->spent = hs_realloc(r->spent, r->cap * sizeof *r->spent);
        r->id_at = hs_realloc(r->id_at, r->cap * sizeof *r->id_at);
        r->id_len = hs_realloc(r->id_len, r->cap * sizeof *r->id_len);
    }
    r->spent[r->n] = test->setup_ns + test->call_ns + test->teardown_ns;
    if (!r->spent[r->n] && !test->n_failures)
        r->spent[r->n] = 1; /* 0 means unknown: of a test that has only ever crashed nobody knows */
    r->id_at[r->n] = r->ids.len;
    r->id_len[r->n++] = test->id_len;
    str_add(&r->ids, test->id, test->id_len);
}

/* While the template collects. */
void remember_open(struct run *run)
{
    struct remembered *r = run->remembered = hs_alloc(sizeof *r);
    char dir[4200];
    struct err err;

    snprintf(dir, sizeof dir, "%.4096s/.hasten", run->config.rootdir);
    if (history_open(&r->history, dir, &err) < 0) {
        trouble(run, &err);
        return;
    }
    r->open = true;
    if (history_config(&r->history, run->config.key, &r->config, &err) < 0 ||
        history_load(&r->history, run->config.key, keep, r, &err) < 0) {
        trouble(run, &err);
        r->n = 0;
    }
    if (r->history.note.text[0])
        launch_note(run, "hasten: %s", r->history.note.text);
    for (size_t i = 0; i < r->n; i++)
        map_put(&r->at, r->ids.data + r->id_at[i], r->id_len[i], (uint32_t)i);
    trace_event("history", TRACE_U64("tests", r->n));
}

void remember_expect(struct run *run)
{
    struct remembered *r = run->remembered;

    run->expected_known = 0;
    for (uint32_t i = 0; r && i < run->catalog.n_items; i++) {
        uint32_t at;
        size_t len;
        const char *id = catalog_id(&run->catalog, i, &len);

        if (map_get(&r->at, id, len, &at)) {
            run->expected_ns[i] = r->spent[at];
            run->expected_known += r->spent[at] != 0;
        }
    }
}

/* Fewer workers than asked for by 'auto' when memory is short; from what a worker has needed before. */
uint32_t remember_workers(struct run *run)
{
    const struct remembered *r = run->remembered;
    struct cpu_limits limits;
    uint64_t fit;

    if (!run->config.auto_workers || !r || !r->config.worker_bytes)
        return run->config.workers;
    cpu_limits(&limits);
    if (!limits.memory_bytes)
        return run->config.workers;
    fit = limits.memory_bytes * 9 / 10 / r->config.worker_bytes;
    if (fit >= run->config.workers)
        return run->config.workers;
    fit = fit ? fit : 1;
    launch_note(run, "hasten: %u workers instead of %u: one has needed %llu MiB, and %llu MiB are free", (unsigned)fit,
                run->config.workers, (unsigned long long)(r->config.worker_bytes >> 20),
                (unsigned long long)(limits.memory_bytes >> 20));
    return (uint32_t)fit;
}

static int write_run(struct run *run, struct history *history, struct err *err)
{
    const uint64_t wall = clock_now_ns() - run->started_ns;
    const uint32_t *n = run->n_outcome;
    const uint32_t failed = n[OUTCOME_FAILED] + n[OUTCOME_ERROR] + n[OUTCOME_CRASHED] + n[OUTCOME_TIMEOUT];
    struct str args = STR_INIT;
    struct history_run head = {.key = run->config.key,
                               .started_ns = clock_wall_ns() - wall,
                               .wall_ns = wall,
                               .n_workers = run->config.workers,
                               .exit_status = run->n_interrupts ? 2
                                              : failed          ? 1
                                                                : 0,
                               .n_passed = n[OUTCOME_PASSED] + n[OUTCOME_XPASSED],
                               .n_failed = failed,
                               .n_skipped = n[OUTCOME_SKIPPED] + n[OUTCOME_XFAILED],
                               .worker_bytes = run->worker_bytes,
                               .start_mode = run->early ? "early" : "template",
                               .start_reason = ""};
    int code;

    for (size_t i = 0; i < run->options->n_pytest_args; i++)
        str_addf(&args, "%s%s", i ? " " : "", run->options->pytest_args[i]);
    head.args = str_text(&args);
    code = history_run_begin(history, &head, err);
    str_release(&args);
    for (uint32_t i = 0; code == 0 && i < run->catalog.n_items; i++) {
        struct history_result result = {.outcome = run->result[i]};

        if (!run->result[i] || !run->phases[i].fresh)
            continue;
        result.id = catalog_id(&run->catalog, i, &result.id_len);
        result.setup_ns = run->phases[i].setup_ns;
        result.call_ns = run->phases[i].call_ns;
        result.teardown_ns = run->phases[i].teardown_ns;
        code = history_run_add(history, &result, err);
    }
    return code < 0 ? -1 : history_run_end(history, err);
}

/* While the reporter prints its summary. */
void remember_write(struct run *run)
{
    struct remembered *r = run->remembered;
    struct err err;

    if (!r || !r->open || !run->n_done)
        return;
    remember_collect(run);
    if (write_run(run, &r->history, &err) < 0)
        snprintf(run->totals->note, sizeof run->totals->note, "durations are not kept: %.400s", err.text);
    history_close(&r->history);
    r->open = false;
}

void remember_close(struct run *run)
{
    struct remembered *r = run->remembered;

    if (!r)
        return;
    if (r->open)
        history_close(&r->history);
    map_release(&r->at);
    str_release(&r->ids);
    free(r->spent);
    free(r->id_at);
    free(r->id_len);
    free(r);
    run->remembered = NULL;
}

/* .hasten/collect: "ns of collection, ns of the run", then why several processes cannot collect, or an empty line. */
struct collect_file {
    char path[4200];
    unsigned long long collection_ns;
    unsigned long long run_ns;
    char doubt[600];
};

static void read_collect(struct collect_file *c, const char *rootdir)
{
    FILE *f;

    *c = (struct collect_file){0};
    snprintf(c->path, sizeof c->path, "%.4096s/.hasten/collect", rootdir);
    f = fopen(c->path, "re");
    if (!f)
        return;
    if (fscanf(f, "%llu %llu%*[^\n]", &c->collection_ns, &c->run_ns) < 2)
        c->collection_ns = c->run_ns = 0;
    if (fgetc(f) == EOF || !fgets(c->doubt, sizeof c->doubt, f))
        c->doubt[0] = '\0';
    c->doubt[strcspn(c->doubt, "\n")] = '\0';
    fclose(f);
}

/* What --collect=auto decides by (python/hasten/parts.py). What several took says nothing of what one would take. */
void remember_collect(const struct run *run)
{
    struct collect_file c;
    FILE *f;

    read_collect(&c, run->config.rootdir);
    if (run->beside)
        c.doubt[0] = '\0';
    else if (run->anew_kept)
        snprintf(c.doubt, sizeof c.doubt, "%.500s", run->anew_why);
    if (!run->beside && !run->anew_why[0] && !run->interrupted_ns) {
        c.collection_ns = run->collected_ns - run->configured_ns;
        c.run_ns = run->ended_ns - run->configured_ns;
    }
    f = fopen(c.path, "we");
    if (!f)
        return;
    fprintf(f, "%llu %llu\n%s\n", c.collection_ns, c.run_ns, c.doubt);
    fclose(f);
}

void remember_start(const struct run *run, const char *mode, const char *why)
{
    char path[4200];
    FILE *f;

    snprintf(path, sizeof path, "%.4096s/.hasten/start", run->config.rootdir);
    f = fopen(path, "we");
    if (!f)
        return;
    fprintf(f, "%s\n%s\n", mode, why);
    fclose(f);
}
