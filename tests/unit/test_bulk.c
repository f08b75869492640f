#include "harness.h"

#include "store/bulk.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[64];

/* A database that SQLite has made, and closed. */
static void make(const char *before, const char *schema)
{
    sqlite3 *db;

    snprintf(path, sizeof path, "/tmp/hasten-bulk-%d.db", (int)getpid());
    unlink(path);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, before, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, schema, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static char *ask(const char *sql)
{
    static char text[400];
    sqlite3_stmt *stmt;
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
        snprintf(text, sizeof text, "%s", (const char *)sqlite3_column_text(stmt, 0));
    else
        snprintf(text, sizeof text, "failed: %s", sqlite3_errmsg(db));
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return text;
}

static uint32_t root(const char *name)
{
    char sql[100];

    snprintf(sql, sizeof sql, "SELECT rootpage FROM sqlite_master WHERE name = '%s'", name);
    return (uint32_t)atoi(ask(sql));
}

#define PAIRS "CREATE TABLE pair (a integer, b integer, unique (a, b)); CREATE TABLE other (x)"

/* Row i of n: of all sizes that SQLite stores integers in. */
static void pair(int64_t i, int64_t values[3])
{
    values[0] = i / 7;
    values[1] = i % 7 == 0 ? INT64_MIN / 2 : i % 7 == 1 ? -200 : i % 7 == 2 ? 0 : i % 7 == 3 ? 1 : 1ll << (8 * (i % 7));
    values[2] = i + 1;
}

static int write_pairs(int64_t n, uint32_t table, uint32_t index, struct err *err)
{
    struct bulk b;
    int code = bulk_open(&b, path, err);

    for (int round = 0; code == 0 && round < 2; round++) {
        code = round ? bulk_begin(&b, BULK_INDEX, index, err) : bulk_begin(&b, BULK_TABLE, table, err);
        for (int64_t i = 0; code == 0 && i < n; i++) {
            uint8_t record[BULK_RECORD];
            int64_t values[3];

            pair(i, values);
            code = round ? bulk_entry(&b, record, bulk_integers(record, values, 3), err)
                         : bulk_row(&b, i + 1, record, bulk_integers(record, values, 2), err);
        }
        code = code == 0 ? bulk_end(&b, err) : code;
    }
    code = code == 0 ? bulk_finish(&b, err) : code;
    bulk_close(&b);
    return code;
}

static void check_pairs(int64_t n)
{
    char sql[200];
    struct err err = {0};

    assert_int_equal(write_pairs(n, root("pair"), root("sqlite_autoindex_pair_1"), &err), 0);
    assert_string_equal(ask("PRAGMA integrity_check"), "ok");
    assert_int_equal(atoll(ask("SELECT count(*) FROM pair NOT INDEXED")), n);
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM (SELECT a, b FROM pair INDEXED BY sqlite_autoindex_pair_1 WHERE a >= 0)");
    assert_int_equal(atoll(ask(sql)), n);
    for (int64_t i = 0; i < n; i += n / 50 + 1) {
        int64_t values[3];

        pair(i, values);
        snprintf(sql, sizeof sql, "SELECT rowid FROM pair WHERE a = %lld AND b = %lld", (long long)values[0],
                 (long long)values[1]);
        assert_int_equal(atoll(ask(sql)), i + 1);
    }
    assert_int_equal(atoll(ask("INSERT INTO pair VALUES (-1, -1) RETURNING rowid")), n + 1);
    assert_string_equal(ask("PRAGMA integrity_check"), "ok");
}

/* Around what one leaf holds, and up to trees of four levels. */
static void test_rows_and_their_index_are_a_whole_database(void **state)
{
    static const int64_t numbers[] = {0,  1,  2,  3,   22,  23,  24,  25,  26,  27,  28,   29,
                                      30, 31, 32, 100, 255, 256, 257, 300, 500, 999, 5000, 60000};

    (void)state;
    for (size_t i = 0; i < HS_COUNT(numbers); i++) {
        make("PRAGMA page_size = 512", PAIRS);
        check_pairs(numbers[i]);
    }
    make("PRAGMA page_size = 4096", PAIRS);
    check_pairs(200000);
    make("PRAGMA page_size = 65536", PAIRS);
    check_pairs(20000);
}

static void test_every_number_of_rows_around_a_page_is_whole(void **state)
{
    struct err err = {0};

    (void)state;
    for (int64_t n = 0; n < 120; n++) {
        make("PRAGMA page_size = 512", PAIRS);
        assert_int_equal(write_pairs(n, root("pair"), root("sqlite_autoindex_pair_1"), &err), 0);
        assert_string_equal(ask("PRAGMA integrity_check"), "ok");
        assert_int_equal(atoll(ask("SELECT count(*) FROM pair")), n);
    }
}

#define BLOBS "CREATE TABLE blobs (a integer, bits blob)"

/* Blobs of ever more bytes, some longer than a page. */
static void test_blobs_go_on_in_other_pages(void **state)
{
    static const size_t most[] = {700, 20000};
    uint8_t *blob = hs_alloc(20000);
    uint8_t *record = hs_alloc(20000 + BULK_RECORD);

    (void)state;
    for (size_t i = 0; i < 20000; i++)
        blob[i] = (uint8_t)(i * 31 + i / 256);
    for (size_t round = 0; round < HS_COUNT(most); round++) {
        const size_t step = round ? 997 : 1;
        struct err err = {0};
        struct bulk b;
        int64_t rowid = 0;

        make(round ? "PRAGMA page_size = 1024" : "PRAGMA page_size = 512", BLOBS);
        assert_int_equal(bulk_open(&b, path, &err), 0);
        assert_int_equal(bulk_begin(&b, BULK_TABLE, root("blobs"), &err), 0);
        for (size_t size = 0; size < most[round]; size += step) {
            const int64_t values[] = {(int64_t)size};
            const size_t n = bulk_integers_and_blob(record, values, 1, blob, size);

            assert_int_equal(bulk_row(&b, ++rowid, record, n, &err), 0);
        }
        assert_int_equal(bulk_end(&b, &err), 0);
        assert_int_equal(bulk_finish(&b, &err), 0);
        bulk_close(&b);
        assert_string_equal(ask("PRAGMA integrity_check"), "ok");
        assert_int_equal(atoll(ask("SELECT count(*) FROM blobs WHERE length(bits) = a")), rowid);
        assert_int_equal(
            atoll(ask("SELECT count(*) FROM blobs x, blobs y WHERE y.rowid = (SELECT max(rowid) FROM blobs) "
                      "AND substr(y.bits, 1, x.a) = x.bits")),
            rowid);
    }
    free(record);
    free(blob);
}

static void refuse(const char *before, const char *schema, const char *table)
{
    struct err err = {0};
    char hash[400];

    make(before, schema);
    const uint32_t at = root(table);
    const uint32_t index = root("sqlite_autoindex_pair_1");
    snprintf(hash, sizeof hash, "%s", ask("SELECT group_concat(sql) FROM sqlite_master"));
    assert_int_equal(write_pairs(3, at, index, &err), -1);
    assert_int_equal(err.sys, 0);
    assert_true(strlen(err.text) > 0);
    assert_string_equal(ask("PRAGMA integrity_check"), "ok");
    assert_string_equal(ask("SELECT group_concat(sql) FROM sqlite_master"), hash);
}

static void test_files_of_another_form_are_left_alone(void **state)
{
    (void)state;
    refuse("PRAGMA journal_mode = wal", PAIRS, "pair");
    refuse("PRAGMA auto_vacuum = full", PAIRS, "pair");
    refuse("PRAGMA encoding = 'UTF-16le'", PAIRS, "pair");
    refuse("PRAGMA page_size = 512", PAIRS "; INSERT INTO pair VALUES (1, 2)", "pair");
    refuse("PRAGMA page_size = 512", PAIRS, "sqlite_autoindex_pair_1");
    refuse("PRAGMA page_size = 512", PAIRS, "none");
    refuse("PRAGMA page_size = 512", PAIRS "; CREATE TABLE gone (x); DROP TABLE gone", "pair");
}

static void test_what_is_no_database_is_refused(void **state)
{
    struct err err = {0};
    struct bulk b;
    int fd;

    (void)state;
    make("", PAIRS);
    fd = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, "short", 5), 5);
    close(fd);
    assert_int_equal(bulk_open(&b, path, &err), -1);
    assert_int_equal(err.sys, 0);
    bulk_close(&b);
    unlink(path);
    assert_int_equal(bulk_open(&b, path, &err), -1);
    assert_true(err.sys != 0);
    bulk_close(&b);
}

static int write_with_little_room(void *arg)
{
    const struct rlimit limit = {40000, 40000};
    struct err err = {0};

    signal(SIGXFSZ, SIG_IGN);
    CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHILD_CHECK(write_pairs(*(const int64_t *)arg, root("pair"), root("sqlite_autoindex_pair_1"), &err) == -1);
    CHILD_CHECK(err.sys == EFBIG);
    return 0;
}

static void test_a_file_that_cannot_grow_is_said(void **state)
{
    int64_t n = 10000;

    (void)state;
    make("PRAGMA page_size = 4096", PAIRS);
    assert_int_equal(child_run(write_with_little_room, &n), 0);
}

static void test_the_page_of_sqlites_locks_is_left_out(void **state)
{
    struct err err = {0};
    struct bulk b;

    (void)state;
    make("PRAGMA page_size = 65536", PAIRS);
    assert_int_equal(truncate(path, (off_t)(1 << 30) - 65536), 0);
    assert_int_equal(bulk_open(&b, path, &err), -1); /* its header says otherwise */
    bulk_close(&b);
    make("PRAGMA page_size = 65536", PAIRS);
    assert_int_equal(bulk_open(&b, path, &err), 0);
    b.n_pages = (1 << 30) / 65536 - 1;
    assert_int_equal(bulk_begin(&b, BULK_TABLE, root("pair"), &err), 0);
    for (int64_t i = 0; i < 30000; i++) {
        uint8_t record[BULK_RECORD];

        assert_int_equal(bulk_row(&b, i + 1, record, bulk_integers(record, (int64_t[]){i, i}, 2), &err), 0);
    }
    assert_int_equal(bulk_end(&b, &err), 0);
    assert_int_equal(bulk_finish(&b, &err), 0);
    bulk_close(&b);
    assert_int_equal(atoll(ask("SELECT count(*) FROM pair NOT INDEXED WHERE a = b")), 30000);
    assert_int_equal(atoll(ask("SELECT count(*) FROM pair NOT INDEXED WHERE rowid = a + 1")), 30000);
}

static void test_other_rows_have_another_hash(void **state)
{
    uint64_t first[2] = {0};
    struct err err = {0};

    (void)state;
    for (int64_t last = 0; last < 2; last++) {
        struct bulk b;
        uint8_t record[BULK_RECORD];

        make("", PAIRS);
        assert_int_equal(bulk_open(&b, path, &err), 0);
        assert_int_equal(bulk_begin(&b, BULK_TABLE, root("pair"), &err), 0);
        assert_int_equal(bulk_row(&b, 1, record, bulk_integers(record, (int64_t[]){5, 6}, 2), &err), 0);
        assert_int_equal(bulk_row(&b, 2, record, bulk_integers(record, (int64_t[]){7, last}, 2), &err), 0);
        assert_true(memcmp(first, b.hash, sizeof first) != 0);
        memcpy(first, b.hash, sizeof first);
        bulk_close(&b);
    }
}

static int remove_file(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_rows_and_their_index_are_a_whole_database, remove_file),
        cmocka_unit_test_teardown(test_every_number_of_rows_around_a_page_is_whole, remove_file),
        cmocka_unit_test_teardown(test_blobs_go_on_in_other_pages, remove_file),
        cmocka_unit_test_teardown(test_files_of_another_form_are_left_alone, remove_file),
        cmocka_unit_test_teardown(test_what_is_no_database_is_refused, remove_file),
        cmocka_unit_test_teardown(test_a_file_that_cannot_grow_is_said, remove_file),
        cmocka_unit_test_teardown(test_the_page_of_sqlites_locks_is_left_out, remove_file),
        cmocka_unit_test_teardown(test_other_rows_have_another_hash, remove_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
