#include "store/history.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VERSION = 1, BUSY_MS = 2000, OUTCOME_BITS = 4, N_RECENT = 32, RUNS_KEPT = 1000, FORGET_EVERY = 50 };

_Static_assert(OUTCOME_COUNT <= 1 << OUTCOME_BITS, "an outcome does not fit into its bits");

static const char schema[] =
    "CREATE TABLE config (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, start_mode TEXT, start_reason TEXT,"
    " worker_bytes INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE run (id INTEGER PRIMARY KEY, config INTEGER NOT NULL, started_ns INTEGER NOT NULL,"
    " wall_ns INTEGER NOT NULL, n_workers INTEGER NOT NULL, exit_status INTEGER NOT NULL, args TEXT NOT NULL,"
    " n_passed INTEGER NOT NULL, n_failed INTEGER NOT NULL, n_skipped INTEGER NOT NULL);"
    "CREATE TABLE test (config INTEGER NOT NULL, id TEXT NOT NULL, setup_ns INTEGER NOT NULL,"
    " call_ns INTEGER NOT NULL, teardown_ns INTEGER NOT NULL, n_runs INTEGER NOT NULL, n_failures INTEGER NOT NULL,"
    " n_reruns INTEGER NOT NULL, recent_hi INTEGER NOT NULL, recent_lo INTEGER NOT NULL, seen INTEGER NOT NULL,"
    " PRIMARY KEY (config, id)) WITHOUT ROWID;"
    "PRAGMA user_version = 1;";

/* ?6: measured, ?7: failed, ?8: reruns, ?9: outcome, ?10: run. */
static const char add_test[] =
    "INSERT INTO test VALUES (?1, ?2, ?3, ?4, ?5, 1, ?7, ?8, 0, ?9, ?10) ON CONFLICT DO UPDATE SET"
    " setup_ns = iif(?6, iif(setup_ns + call_ns + teardown_ns, (setup_ns + ?3) / 2, ?3), setup_ns),"
    " call_ns = iif(?6, iif(setup_ns + call_ns + teardown_ns, (call_ns + ?4) / 2, ?4), call_ns),"
    " teardown_ns = iif(?6, iif(setup_ns + call_ns + teardown_ns, (teardown_ns + ?5) / 2, ?5), teardown_ns),"
    " n_runs = n_runs + 1, n_failures = n_failures + ?7, n_reruns = n_reruns + ?8,"
    " recent_hi = (recent_hi << 4) | ((recent_lo >> 60) & 15), recent_lo = (recent_lo << 4) | ?9, seen = ?10";

/* ---- errors and damage ---- */

static int open_db(struct history *h, struct err *err);

static void close_db(struct history *h)
{
    sqlite3_finalize(h->add);
    sqlite3_close(h->db);
    h->add = NULL;
    h->db = NULL;
}

static void with_suffix(char *out, size_t size, const struct history *h, const char *suffix)
{
    snprintf(out, size, "%s%s", h->path, suffix);
}

/*
 * A damaged file: moved aside, and the handle goes on with a new one. Once per handle: if the new one is damaged too,
 * it is not the file that is wrong. Another run may have moved it already, then the new one is opened.
 */
static void move_aside(struct history *h)
{
    static const char *const companions[] = {"-wal", "-shm"};
    const bool again = h->note.text[0] != '\0';
    char name[4096];
    int moved = 0;
    struct err ignored;

    sqlite3_file_control(h->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    close_db(h);
    with_suffix(name, sizeof name, h, ".corrupt");
    if (again || (!moved && rename(h->path, name) < 0))
        return;
    err_set(&h->note, "history '%s' was damaged and is now '%.200s'; a new one is begun", h->path, name);
    for (size_t i = 0; i < HS_COUNT(companions) && !moved; i++) {
        with_suffix(name, sizeof name, h, companions[i]);
        unlink(name);
    }
    if (open_db(h, &ignored) < 0)
        close_db(h);
}

/* Says what went wrong with the last statement, and deals with damage. After it h->db may be another or NULL. */
static int failed(struct history *h, const char *what, struct err *err)
{
    const int code = h->db ? sqlite3_errcode(h->db) & 0xff : SQLITE_CANTOPEN;
    const int sys = h->db ? sqlite3_system_errno(h->db) : 0;

    err_set(err, "cannot %s history '%.200s': %.120s%s", what, h->path,
            h->db ? sqlite3_errmsg(h->db) : "it is not open",
            code == SQLITE_BUSY ? " (another run has been writing to it for 2 s)" : "");
    err->sys = sys;
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
        move_aside(h);
    return -1;
}

static int run_sql(struct history *h, const char *sql, const char *what, struct err *err)
{
    if (!h->db || sqlite3_exec(h->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return failed(h, what, err);
    return 0;
}

static sqlite3_stmt *prepare(struct history *h, const char *sql, const char *what, struct err *err)
{
    sqlite3_stmt *stmt = NULL;

    if (!h->db || sqlite3_prepare_v2(h->db, sql, -1, &stmt, NULL) != SQLITE_OK)
        failed(h, what, err);
    return stmt;
}

/* Ends a statement of which no more rows are wanted. rc: what its last step answered. */
static int finish(struct history *h, sqlite3_stmt *stmt, int rc, const char *what, struct err *err)
{
    const int ret = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : -1;

    if (ret == 0) {
        sqlite3_finalize(stmt);
        return 0;
    }
    /* The message is the connection's; finalize repeats the statement's error there. */
    sqlite3_finalize(stmt);
    return failed(h, what, err);
}

/* ---- open ---- */

static int read_version(struct history *h, int *version, struct err *err)
{
    sqlite3_stmt *stmt = prepare(h, "PRAGMA user_version", "open", err);
    int rc;

    if (!stmt)
        return -1;
    rc = sqlite3_step(stmt);
    *version = rc == SQLITE_ROW ? sqlite3_column_int(stmt, 0) : 0;
    return finish(h, stmt, rc, "open", err);
}

/* Two first runs may come here at once: the second one waits for the first, and then finds its tables. */
static int create_tables(struct history *h, struct err *err)
{
    int version;

    if (run_sql(h, "BEGIN IMMEDIATE", "create", err) < 0)
        return -1;
    if (read_version(h, &version, err) < 0)
        return -1;
    if (version == 0 && run_sql(h, schema, "create", err) < 0)
        return -1;
    return run_sql(h, "COMMIT", "create", err);
}

static int open_db(struct history *h, struct err *err)
{
    int version;

    if (sqlite3_open_v2(h->path, &h->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
        return failed(h, "open", err);
    sqlite3_busy_timeout(h->db, BUSY_MS);
    if (read_version(h, &version, err) < 0)
        return -1;
    if (version > VERSION)
        return err_set(err, "history '%s' is of a later hasten (version %d); remove it or update hasten", h->path,
                       version);
    /*
     * Switching to WAL fails at once when another process is doing it just now: then it is done. Not waiting for the
     * disk risks the file when the power fails; a run should not end later for that.
     */
    sqlite3_exec(h->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
    if (run_sql(h, "PRAGMA synchronous = OFF", "open", err) < 0)
        return -1;
    return version == 0 ? create_tables(h, err) : 0;
}

static int make_folder(const char *dir, struct err *err)
{
    char name[4096];
    int fd;

    if (mkdir(dir, 0777) < 0 && errno != EEXIST)
        return err_sys(err, errno, "cannot create '%s'", dir);
    snprintf(name, sizeof name, "%s/.gitignore", dir);
    fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return errno == EEXIST ? 0 : err_sys(err, errno, "cannot write to '%s'", dir);
    if (write(fd, "*\n", 2) != 2) {
        const int code = errno;

        close(fd);
        unlink(name);
        return err_sys(err, code, "cannot write to '%s'", dir);
    }
    close(fd);
    return 0;
}

int history_open(struct history *h, const char *dir, struct err *err)
{
    size_t size = strlen(dir) + sizeof "/hasten.db";

    *h = (struct history){0}; /* from here on history_close() is safe */
    if (make_folder(dir, err) < 0)
        return -1;
    h->path = hs_alloc(size);
    snprintf(h->path, size, "%s/hasten.db", dir);
    if (open_db(h, err) == 0 || (h->db && h->note.text[0]))
        return 0;
    history_close(h);
    return -1;
}

void history_close(struct history *h)
{
    close_db(h);
    free(h->path);
    h->path = NULL;
}

/* ---- reading ---- */

static void copy_text(char *out, size_t size, const unsigned char *text)
{
    snprintf(out, size, "%s", text ? (const char *)text : "");
}

int history_config(struct history *h, const char *key, struct history_config *config, struct err *err)
{
    sqlite3_stmt *stmt =
        prepare(h, "SELECT start_mode, start_reason, worker_bytes FROM config WHERE key = ?1", "read", err);
    int rc;

    *config = (struct history_config){0};
    if (!stmt)
        return -1;
    sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        copy_text(config->start_mode, sizeof config->start_mode, sqlite3_column_text(stmt, 0));
        copy_text(config->start_reason, sizeof config->start_reason, sqlite3_column_text(stmt, 1));
        config->worker_bytes = (uint64_t)sqlite3_column_int64(stmt, 2);
    }
    return finish(h, stmt, rc, "read", err);
}

static struct history_test test_of_row(sqlite3_stmt *row)
{
    /* Text first, then its length: SQLite may convert in between. */
    const char *id = (const char *)sqlite3_column_text(row, 0);

    return (struct history_test){
        .id = id ? id : "",
        .id_len = (size_t)sqlite3_column_bytes(row, 0),
        .setup_ns = (uint64_t)sqlite3_column_int64(row, 1),
        .call_ns = (uint64_t)sqlite3_column_int64(row, 2),
        .teardown_ns = (uint64_t)sqlite3_column_int64(row, 3),
        .n_runs = (uint32_t)sqlite3_column_int64(row, 4),
        .n_failures = (uint32_t)sqlite3_column_int64(row, 5),
        .n_reruns = (uint32_t)sqlite3_column_int64(row, 6),
        .recent_hi = (uint64_t)sqlite3_column_int64(row, 7),
        .recent_lo = (uint64_t)sqlite3_column_int64(row, 8),
    };
}

#define TEST_COLUMNS "SELECT id, setup_ns, call_ns, teardown_ns, n_runs, n_failures, n_reruns, recent_hi, recent_lo"
#define OF_CONFIG " FROM test WHERE config = (SELECT id FROM config WHERE key = ?1)"
#define OF_ALL " FROM test WHERE ?1 IS NULL"

struct query {
    const char *sql; /* with ?1 the key and ?2 the limit, where it has them */
    const char *key;
    uint32_t limit;
};

/* Steps through tests. */
static int each_test(struct history *h, const struct query *query, history_test_fn *each, void *arg, struct err *err)
{
    sqlite3_stmt *stmt = prepare(h, query->sql, "read", err);
    int rc;

    if (!stmt)
        return -1;
    sqlite3_bind_text(stmt, 1, query->key, -1, SQLITE_STATIC); /* NULL binds NULL */
    if (sqlite3_bind_parameter_count(stmt) > 1)
        sqlite3_bind_int64(stmt, 2, query->limit);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const struct history_test test = test_of_row(stmt);

        each(arg, &test);
    }
    return finish(h, stmt, rc, "read", err);
}

int history_load(struct history *h, const char *key, history_test_fn *each, void *arg, struct err *err)
{
    const struct query query = {.sql = key ? TEST_COLUMNS OF_CONFIG : TEST_COLUMNS OF_ALL, .key = key};

    return each_test(h, &query, each, arg, err);
}

int history_slow(struct history *h, const char *key, uint32_t limit, history_test_fn *each, void *arg, struct err *err)
{
    static const char of_config[] =
        TEST_COLUMNS OF_CONFIG " ORDER BY setup_ns + call_ns + teardown_ns DESC, id LIMIT ?2";
    static const char of_all[] = TEST_COLUMNS OF_ALL " ORDER BY setup_ns + call_ns + teardown_ns DESC, id LIMIT ?2";
    const struct query query = {.sql = key ? of_config : of_all, .key = key, .limit = limit};

    return each_test(h, &query, each, arg, err);
}

int history_runs(struct history *h, const char *key, uint32_t limit, history_run_fn *each, void *arg, struct err *err)
{
    sqlite3_stmt *stmt = prepare(h,
                                 "SELECT key, args, started_ns, wall_ns, n_workers, exit_status, n_passed, n_failed,"
                                 " n_skipped, worker_bytes, start_mode, start_reason FROM run JOIN config"
                                 " ON config.id = run.config WHERE ?1 IS NULL OR key = ?1 ORDER BY run.id DESC"
                                 " LIMIT ?2",
                                 "read", err);
    int rc;

    if (!stmt)
        return -1;
    sqlite3_bind_text(stmt, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, limit);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const struct history_run run = {
            .key = (const char *)sqlite3_column_text(stmt, 0),
            .args = (const char *)sqlite3_column_text(stmt, 1),
            .started_ns = (uint64_t)sqlite3_column_int64(stmt, 2),
            .wall_ns = (uint64_t)sqlite3_column_int64(stmt, 3),
            .n_workers = (uint32_t)sqlite3_column_int64(stmt, 4),
            .exit_status = sqlite3_column_int(stmt, 5),
            .n_passed = (uint32_t)sqlite3_column_int64(stmt, 6),
            .n_failed = (uint32_t)sqlite3_column_int64(stmt, 7),
            .n_skipped = (uint32_t)sqlite3_column_int64(stmt, 8),
            .worker_bytes = (uint64_t)sqlite3_column_int64(stmt, 9),
            .start_mode = (const char *)sqlite3_column_text(stmt, 10),
            .start_reason = (const char *)sqlite3_column_text(stmt, 11),
        };

        each(arg, &run);
    }
    return finish(h, stmt, rc, "read", err);
}

/* ---- writing ---- */

static int take_back(struct history *h)
{
    sqlite3_finalize(h->add);
    h->add = NULL;
    if (h->db && !sqlite3_get_autocommit(h->db))
        sqlite3_exec(h->db, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

static int write_config(struct history *h, const struct history_run *run, struct err *err)
{
    sqlite3_stmt *stmt = prepare(h,
                                 "INSERT INTO config (key, worker_bytes, start_mode, start_reason) VALUES (?1, ?2, ?3,"
                                 " ?4) ON CONFLICT DO UPDATE SET worker_bytes = iif(?2 = 0, worker_bytes,"
                                 " max(?2, (worker_bytes + ?2) / 2)), start_mode = coalesce(?3, start_mode),"
                                 " start_reason = iif(?3 IS NULL, start_reason, ?4) RETURNING id",
                                 "write", err);
    int rc;

    if (!stmt)
        return -1;
    sqlite3_bind_text(stmt, 1, run->key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64)run->worker_bytes);
    sqlite3_bind_text(stmt, 3, run->start_mode, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 4, run->start_reason, -1, SQLITE_STATIC);
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        h->config = sqlite3_column_int64(stmt, 0);
    return finish(h, stmt, rc, "write", err);
}

static int write_run(struct history *h, const struct history_run *run, struct err *err)
{
    sqlite3_stmt *stmt = prepare(h, "INSERT INTO run VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)", "write", err);
    int ret;

    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, h->config);
    sqlite3_bind_int64(stmt, 2, (sqlite3_int64)run->started_ns);
    sqlite3_bind_int64(stmt, 3, (sqlite3_int64)run->wall_ns);
    sqlite3_bind_int64(stmt, 4, run->n_workers);
    sqlite3_bind_int(stmt, 5, run->exit_status);
    sqlite3_bind_text(stmt, 6, run->args ? run->args : "", -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 7, run->n_passed);
    sqlite3_bind_int64(stmt, 8, run->n_failed);
    sqlite3_bind_int64(stmt, 9, run->n_skipped);
    ret = finish(h, stmt, sqlite3_step(stmt), "write", err);
    if (ret == 0)
        h->run = sqlite3_last_insert_rowid(h->db);
    return ret;
}

int history_run_begin(struct history *h, const struct history_run *run, struct err *err)
{
    if (run_sql(h, "BEGIN IMMEDIATE", "write", err) < 0)
        return -1;
    if (write_config(h, run, err) < 0 || write_run(h, run, err) < 0)
        return take_back(h);
    h->add = prepare(h, add_test, "write", err);
    return h->add ? 0 : take_back(h);
}

static bool is_bad(enum record_outcome outcome)
{
    return outcome == OUTCOME_FAILED || outcome == OUTCOME_ERROR || outcome == OUTCOME_CRASHED ||
           outcome == OUTCOME_TIMEOUT;
}

static void bind_ns(sqlite3_stmt *stmt, int at, uint64_t ns)
{
    const uint64_t most = (uint64_t)1 << 60; /* 36 years; sums of three still fit */

    sqlite3_bind_int64(stmt, at, (sqlite3_int64)(ns < most ? ns : most));
}

int history_run_add(struct history *h, const struct history_result *result, struct err *err)
{
    const bool measured = result->outcome != OUTCOME_CRASHED;

    if (!h->add)
        return err_set(err, "cannot write history: no run was begun");
    sqlite3_bind_int64(h->add, 1, h->config);
    sqlite3_bind_text64(h->add, 2, result->id, result->id_len, SQLITE_STATIC, SQLITE_UTF8);
    bind_ns(h->add, 3, measured ? result->setup_ns : 0);
    bind_ns(h->add, 4, measured ? result->call_ns : 0);
    bind_ns(h->add, 5, measured ? result->teardown_ns : 0);
    sqlite3_bind_int(h->add, 6, measured);
    sqlite3_bind_int(h->add, 7, is_bad(result->outcome));
    sqlite3_bind_int64(h->add, 8, result->n_reruns);
    sqlite3_bind_int(h->add, 9, (int)result->outcome & 15);
    sqlite3_bind_int64(h->add, 10, h->run);
    sqlite3_step(h->add);
    if (sqlite3_reset(h->add) == SQLITE_OK)
        return 0;
    sqlite3_finalize(h->add); /* before failed(), which may close the connection */
    h->add = NULL;
    failed(h, "write", err);
    return take_back(h);
}

/* Now and then, what is too old to matter. The scan costs some 20 ms for 100,000 tests. */
static int forget(struct history *h, struct err *err)
{
    char sql[160];

    if (h->run % FORGET_EVERY != 0)
        return 0;
    snprintf(sql, sizeof sql, "DELETE FROM run WHERE id <= %lld; DELETE FROM test WHERE seen <= %lld;",
             (long long)h->run - RUNS_KEPT, (long long)h->run - RUNS_KEPT);
    return run_sql(h, sql, "write", err);
}

int history_run_end(struct history *h, struct err *err)
{
    if (!h->add)
        return err_set(err, "cannot write history: no run was begun");
    sqlite3_finalize(h->add);
    h->add = NULL;
    if (forget(h, err) < 0 || run_sql(h, "COMMIT", "write", err) < 0)
        return take_back(h);
    return 0;
}

/* ---- flakiness ---- */

enum record_outcome history_outcome(const struct history_test *test, uint32_t ago)
{
    const uint64_t half = ago < N_RECENT / 2 ? test->recent_lo : test->recent_hi;

    if (ago >= N_RECENT)
        return OUTCOME_NONE;
    return (enum record_outcome)(half >> ago % (N_RECENT / 2) * OUTCOME_BITS & 15);
}

uint32_t history_changes(const struct history_test *test)
{
    enum record_outcome last = OUTCOME_NONE;
    uint32_t changes = 0;

    for (uint32_t ago = 0; ago < N_RECENT; ago++) {
        const enum record_outcome outcome = history_outcome(test, ago);

        if (outcome == OUTCOME_NONE || outcome == OUTCOME_SKIPPED)
            continue;
        changes += last != OUTCOME_NONE && is_bad(outcome) != is_bad(last);
        last = outcome;
    }
    return changes;
}

bool history_is_flaky(const struct history_test *test)
{
    return test->n_reruns > 0 || history_changes(test) >= 2;
}

struct flaky {
    struct history_test *tests; /* owned, their ids too */
    size_t n, cap;
};

static void keep_flaky(void *arg, const struct history_test *test)
{
    struct flaky *found = arg;
    char *id;

    if (!history_is_flaky(test))
        return;
    if (found->n == found->cap) {
        found->cap = found->cap ? found->cap * 2 : 64;
        found->tests = hs_realloc(found->tests, found->cap * sizeof *found->tests);
    }
    id = hs_alloc(test->id_len + 1);
    memcpy(id, test->id, test->id_len);
    found->tests[found->n] = *test;
    found->tests[found->n++].id = id;
}

static int most_changes_first(const void *a, const void *b)
{
    const struct history_test *x = a, *y = b;
    const uint32_t cx = history_changes(x) + x->n_reruns, cy = history_changes(y) + y->n_reruns;

    return cx != cy ? (cx < cy ? 1 : -1) : strcmp(x->id, y->id);
}

int history_flaky(struct history *h, const char *key, uint32_t limit, history_test_fn *each, void *arg, struct err *err)
{
    static const char of_config[] = TEST_COLUMNS OF_CONFIG " AND (n_failures > 0 OR n_reruns > 0)";
    static const char of_all[] = TEST_COLUMNS OF_ALL " AND (n_failures > 0 OR n_reruns > 0)";
    struct flaky found = {0};
    const struct query query = {.sql = key ? of_config : of_all, .key = key};
    const int ret = each_test(h, &query, keep_flaky, &found, err);

    if (found.n)
        qsort(found.tests, found.n, sizeof *found.tests, most_changes_first);
    for (size_t i = 0; i < found.n; i++) {
        if (ret == 0 && i < limit)
            each(arg, &found.tests[i]);
        free((char *)(uintptr_t)found.tests[i].id);
    }
    free(found.tests);
    return ret;
}
