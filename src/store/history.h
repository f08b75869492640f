/*
 * history.h - what earlier runs taught: durations, outcomes, the start mode that worked. `.hasten/hasten.db`, SQLite.
 *
 * Everything is kept per configuration: a text in which the caller puts what changes durations and outcomes (the
 * interpreter, pytest, options that matter). Losing the file costs time, never correctness; so it is written without
 * waiting for the disk, and a damaged one is moved aside and begun anew.
 *
 * Format, PRAGMA user_version = 1; a higher one is another hasten's and is left alone:
 *
 *   config  id, key            one row per configuration
 *           start_mode         "template", "early" or "spawn": what worked last; NULL when not known
 *           start_reason       why, one line for people
 *           worker_bytes       peak private memory of one worker; falls by half the difference per run
 *   run     id, config, started_ns (since 1970), wall_ns, n_workers, exit_status, args,
 *           n_passed, n_failed, n_skipped           the last 1000 are kept
 *   test    config, id         key; id is the node id
 *           setup_ns, call_ns, teardown_ns          mean with weight 0.5 on the last run
 *           n_runs, n_failures, n_reruns
 *           recent_hi, recent_lo  the last 32 outcomes, 4 bits each, the last one lowest; 0: none
 *           seen               id of the run that had it last; forgotten when that was 1000 runs ago
 *
 * Two runs may write at once: each adds its tests in one transaction, computed from what is there at that moment.
 * The handle must not be used in a child of fork().
 */
#ifndef HASTEN_HISTORY_H
#define HASTEN_HISTORY_H

#include "base/err.h"
#include "store/record.h"

struct sqlite3;
struct sqlite3_stmt;

struct history {
    struct sqlite3 *db;       /* owned */
    struct sqlite3_stmt *add; /* owned; inside of a run's transaction */
    char *path;               /* owned */
    int64_t config, run;      /* inside of a run's transaction */
    struct err note;          /* what people should be told once: the old file was moved aside. text "" when nothing */
};

struct history_config {
    char start_mode[16]; /* "" when not known */
    char start_reason[256];
    uint64_t worker_bytes; /* 0 when not known */
};

struct history_run {
    const char *key;     /* configuration; borrowed */
    const char *args;    /* command line for people; borrowed */
    uint64_t started_ns; /* since 1970 */
    uint64_t wall_ns;
    uint32_t n_workers;
    int exit_status;
    uint32_t n_passed, n_failed, n_skipped;
    uint64_t worker_bytes;    /* peak private memory of the largest worker; 0: not measured */
    const char *start_mode;   /* NULL: leave what is stored; borrowed */
    const char *start_reason; /* borrowed */
};

struct history_result {
    const char *id; /* borrowed; id_len bytes */
    size_t id_len;
    enum record_outcome outcome;
    uint32_t n_reruns;
    uint64_t setup_ns, call_ns, teardown_ns; /* ignored when it crashed: nobody measured them */
};

struct history_test {
    const char *id; /* borrowed until the function returns; id_len bytes */
    size_t id_len;
    uint64_t setup_ns, call_ns, teardown_ns;
    uint32_t n_runs, n_failures, n_reruns;
    uint64_t recent_hi, recent_lo;
};

typedef void history_run_fn(void *arg, const struct history_run *run);
typedef void history_test_fn(void *arg, const struct history_test *test);

/*
 * Opens dir/hasten.db; creates both, and a .gitignore in a new dir that keeps all of it out of git. -1 when it cannot
 * be used (read-only, full, busy for 2 s, of a later version): the run goes on without history.
 */
int history_open(struct history *h, const char *dir, struct err *err);
void history_close(struct history *h); /* safe after a failed open; takes back a run that was not ended */

/* Zeros and "" for a configuration never seen. */
int history_config(struct history *h, const char *key, struct history_config *config, struct err *err);

/* Every test of a configuration, in no order that means anything. key NULL: of all configurations. */
int history_load(struct history *h, const char *key, history_test_fn *each, void *arg, struct err *err);

/* One run: begin, add each test once, end. Nothing is seen by others before the end; -1 takes all of it back. */
int history_run_begin(struct history *h, const struct history_run *run, struct err *err);
int history_run_add(struct history *h, const struct history_result *result, struct err *err);
int history_run_end(struct history *h, struct err *err);

/* The last runs, the newest first. key NULL here and below: of all configurations. */
int history_runs(struct history *h, const char *key, uint32_t limit, history_run_fn *each, void *arg, struct err *err);

/* The tests with the longest sum of the three durations, longest first. */
int history_slow(struct history *h, const char *key, uint32_t limit, history_test_fn *each, void *arg, struct err *err);

/* The tests that history_is_flaky() names, most changes first. */
int history_flaky(struct history *h, const char *key, uint32_t limit, history_test_fn *each, void *arg,
                  struct err *err);

/* The outcome `ago` runs before the last one (0..31); OUTCOME_NONE when it had not run so often. */
enum record_outcome history_outcome(const struct history_test *test, uint32_t ago);

/* How often a test went from good to bad or back in its last 32 runs; skipped runs say nothing. */
uint32_t history_changes(const struct history_test *test);

/* It was rerun, or it changed at least twice: once is a defect that came or was mended. */
bool history_is_flaky(const struct history_test *test);

#endif
