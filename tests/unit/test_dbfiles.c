#include "harness.h"

#include "db/pg.h"
#include "db/sqlite.h"
#include "os/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *folder;
static struct place place;
static struct err err;

static int make_folder(void **state)
{
    (void)state;
    folder = scratch_make();
    setenv("TMPDIR", folder, 1);
    setenv("XDG_CACHE_HOME", folder, 1);
    unsetenv("XDG_RUNTIME_DIR");
    place.lock_fd = -1;
    return place_open(&place, (int)getpid(), &err);
}

static int remove_folder(void **state)
{
    (void)state;
    place_close(&place);
    unsetenv("TMPDIR");
    scratch_remove(folder);
    return 0;
}

static void run_sql(struct sqlite3 *db, const char *sql)
{
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static int number(const char *path, const char *sql)
{
    struct sqlite3 *db;
    sqlite3_stmt *stmt;
    int value = -1;

    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
        value = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return value;
}

static void begin(struct sqlite *s, const char *file)
{
    const struct sqlite_options options = {.file = file};

    assert_int_equal(sqlite_init(s, &options, &place, "01234567", &err), 0);
    if (sqlite_provider.start(&s->db, &err) < 0)
        fail_msg("%s", err.text);
}

/* Its last transaction is in the -wal file only, as its writer still has it open. */
static void test_a_wal_that_is_not_checkpointed_is_in_the_copy(void **state)
{
    char path[256], clone[DB_URL_SIZE];
    struct sqlite3 *writer;
    struct sqlite s;

    (void)state;
    snprintf(path, sizeof path, "%s/app.db", folder);
    assert_int_equal(sqlite3_open(path, &writer), SQLITE_OK);
    run_sql(writer, "PRAGMA journal_mode = WAL; CREATE TABLE t(x); INSERT INTO t VALUES (41)");
    begin(&s, path);
    assert_int_equal(sqlite_provider.clone(&s.db, NULL, "a", &err), 0);
    run_sql(writer, "UPDATE t SET x = 42");
    sqlite3_close(writer);
    sqlite_provider.hand_out(&s.db, "a", clone);
    assert_int_equal(number(clone, "SELECT x FROM t"), 41);
    sqlite_provider.release(&s.db);
}

/* The journal of a writer that died in mid-transaction lies beside the file: what it had written is taken back. */
static int die_in_a_transaction(void *path)
{
    struct sqlite3 *db;

    CHILD_CHECK(sqlite3_open(path, &db) == SQLITE_OK);
    CHILD_CHECK(sqlite3_exec(db,
                             "PRAGMA cache_size = 1; CREATE TABLE t(x); INSERT INTO t VALUES (1); BEGIN; "
                             "UPDATE t SET x = 2; CREATE TABLE big AS WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL "
                             "SELECT i + 1 FROM c WHERE i < 5000) SELECT i, hex(randomblob(100)) AS b FROM c",
                             NULL, NULL, NULL) == SQLITE_OK);
    _exit(0);
}

static void test_a_hot_journal_is_played_back(void **state)
{
    char path[256], journal[272], clone[DB_URL_SIZE];
    struct sqlite s;

    (void)state;
    snprintf(path, sizeof path, "%s/hot.db", folder);
    snprintf(journal, sizeof journal, "%s-journal", path);
    assert_int_equal(child_run(die_in_a_transaction, path), 0);
    assert_int_equal(access(journal, F_OK), 0);
    begin(&s, path);
    assert_int_equal(sqlite_provider.clone(&s.db, NULL, "a", &err), 0);
    sqlite_provider.hand_out(&s.db, "a", clone);
    assert_int_equal(number(clone, "SELECT x FROM t"), 1);
    assert_int_equal(number(clone, "SELECT count(*) FROM sqlite_master"), 1);
    sqlite_provider.release(&s.db);
}

static void test_clones_are_apart_and_reset_brings_the_template_back(void **state)
{
    char url[DB_URL_SIZE], file[256];
    struct str command = STR_INIT;
    struct sqlite s;
    FILE *f;

    (void)state;
    snprintf(file, sizeof file, "%s/schema.sql", folder);
    f = fopen(file, "w");
    fputs("CREATE TABLE t(x); INSERT INTO t VALUES (7);", f);
    fclose(f);
    begin(&s, NULL);
    assert_int_equal(sqlite_provider.template_begin(&s.db, "ab12", url, &err), 0);
    assert_int_equal(sqlite_provider.fill(&s.db, url, file, &command, &err), 0);
    assert_int_equal(sqlite_provider.template_end(&s.db, "ab12", true, &err), 0);
    assert_int_equal(sqlite_provider.template_begin(&s.db, "ab12", url, &err), 1);
    assert_int_equal(sqlite_provider.clone(&s.db, "ab12", "a", &err), 0);
    assert_int_equal(sqlite_provider.clone(&s.db, "ab12", "b", &err), 0);
    sqlite_provider.hand_out(&s.db, "a", url);
    number(url, "UPDATE t SET x = 8 RETURNING x");
    assert_int_equal(number(url, "SELECT x FROM t"), 8);
    assert_int_equal(sqlite_provider.reset(&s.db, "ab12", "a", &err), 0);
    assert_int_equal(number(url, "SELECT x FROM t"), 7);
    sqlite_provider.hand_out(&s.db, "b", url);
    assert_int_equal(number(url, "SELECT x FROM t"), 7);
    sqlite_provider.release(&s.db);
}

static void test_wrong_sql_is_said_and_leaves_no_template(void **state)
{
    char url[DB_URL_SIZE], file[256];
    struct str command = STR_INIT;
    struct sqlite s;
    FILE *f;

    (void)state;
    snprintf(file, sizeof file, "%s/wrong.sql", folder);
    f = fopen(file, "w");
    fputs("CREATE TABLE t(x); INSERT INTO nowhere VALUES (7);", f);
    fclose(f);
    begin(&s, NULL);
    assert_int_equal(sqlite_provider.template_begin(&s.db, "ab13", url, &err), 0);
    assert_int_equal(sqlite_provider.fill(&s.db, url, file, &command, &err), -1);
    assert_non_null(strstr(err.text, "no such table: nowhere"));
    assert_int_equal(sqlite_provider.template_end(&s.db, "ab13", false, &err), 0);
    assert_int_equal(access(url, F_OK), -1);
    assert_int_equal(sqlite_provider.template_begin(&s.db, "ab13", url, &err), 0);
    sqlite_provider.template_end(&s.db, "ab13", false, &err);
    sqlite_provider.release(&s.db);
}

/* ---- folders */

static void test_a_copied_tree_is_the_same_tree(void **state)
{
    char from[256], to[256], path[512], target[64] = "";
    struct stat st;
    FILE *f;

    (void)state;
    snprintf(from, sizeof from, "%s/from/deep/er", folder);
    snprintf(to, sizeof to, "%s/to", folder);
    assert_int_equal(copy_make_folders(from, 0755), 0);
    snprintf(path, sizeof path, "%s/file", from);
    f = fopen(path, "w");
    for (int i = 0; i < 100000; i++)
        fprintf(f, "%d\n", i);
    fclose(f);
    assert_int_equal(chmod(path, 0640), 0);
    snprintf(path, sizeof path, "%s/link", from);
    assert_int_equal(symlink("file", path), 0);
    snprintf(from, sizeof from, "%s/from", folder);
    assert_int_equal(copy_tree(from, to, NULL), 0);
    assert_true(copy_size(to) == 588890);
    snprintf(path, sizeof path, "%s/deep/er/file", to);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    snprintf(path, sizeof path, "%s/deep/er/link", to);
    assert_int_equal(readlink(path, target, sizeof target - 1), 4);
    assert_int_equal(copy_tree(from, to, NULL), -EEXIST);
    assert_int_equal(copy_remove(to), 0);
    assert_int_equal(access(to, F_OK), -1);
    assert_int_equal(copy_remove(to), 0);
}

static enum copy_choice by_name(void *arg, const char *path)
{
    (void)arg;
    return !strcmp(path, "deep/closed") ? COPY_LINK : !strcmp(path, "deep/left") ? COPY_LEAVE : COPY_IT;
}

static void write_file(const char *name)
{
    char path[320];
    FILE *f;

    snprintf(path, sizeof path, "%s/from/%s", folder, name);
    f = fopen(path, "we");
    assert_non_null(f);
    fputs("text", f);
    fclose(f);
}

static void test_of_a_tree_some_is_copied_some_is_linked_and_some_is_left(void **state)
{
    static const char *const folders[] = {"from", "from/deep", "from/deep/closed", "from/deep/closed/below"};
    static const struct {
        const char *name;
        nlink_t links; /* 0: it is not there */
    } files[] = {{"deep/file", 1}, {"deep/closed/file", 2}, {"deep/closed/below/file", 2}, {"deep/left", 0}};
    char from[256], to[256], path[320];
    struct stat st;

    (void)state;
    for (size_t i = 0; i < HS_COUNT(folders); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, folders[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    for (size_t i = 0; i < HS_COUNT(files); i++)
        write_file(files[i].name);
    snprintf(from, sizeof from, "%s/from", folder);
    snprintf(to, sizeof to, "%s/to", folder);
    assert_int_equal(copy_tree_chosen(from, to, NULL, by_name, NULL), 0);
    for (size_t i = 0; i < HS_COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s", to, files[i].name);
        assert_int_equal(stat(path, &st) == 0 ? st.st_nlink : 0, files[i].links);
    }
}

static enum copy_choice point_at_closed(void *arg, const char *path)
{
    (void)arg;
    return !strcmp(path, "closed") || !strcmp(path, "file") ? COPY_POINT : COPY_IT;
}

static void make_closed(char from[256])
{
    char path[320];

    snprintf(from, 256, "%s/from", folder);
    snprintf(path, sizeof path, "%s/closed/below", from);
    assert_int_equal(copy_make_folders(path, 0700), 0);
    write_file("file");
    write_file("closed/file");
    write_file("closed/below/file");
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(chmod(path, 0555), 0);
        *strrchr(path, '/') = '\0';
    }
}

static void test_a_folder_that_is_pointed_at_outlives_its_copy(void **state)
{
    char from[256], to[256], path[320], target[320] = "";
    struct stat st;

    (void)state;
    make_closed(from);
    snprintf(to, sizeof to, "%s/to", folder);
    assert_int_equal(copy_tree_chosen(from, to, NULL, point_at_closed, NULL), 0);
    snprintf(path, sizeof path, "%s/file", to);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode) && st.st_nlink == 1);
    snprintf(path, sizeof path, "%s/closed", to);
    assert_true(readlink(path, target, sizeof target - 1) > 0);
    assert_int_equal(strncmp(target, from, strlen(from)), 0);
    assert_string_equal(target + strlen(from), "/closed");
    assert_int_equal(copy_remove(path), 0); /* the link itself ... */
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(copy_remove(to), 0); /* ... and with the rest */
    assert_int_equal(access(to, F_OK), -1);
    snprintf(path, sizeof path, "%s/closed/below/file", from);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(copy_remove(from), 0);
}

static int remove_read_only(void *arg)
{
    char to[256], path[320];
    struct stat st;

    CHILD_CHECK(geteuid() != 0 || (chown(folder, 12345, 12345) == 0 && setuid(12345) == 0));
    if (access(folder, W_OK) < 0)
        return 0; /* a temporary folder that is root's alone */
    snprintf(to, sizeof to, "%s/to", folder);
    CHILD_CHECK(copy_tree(arg, to, NULL) == 0); /* it can be written to, as what it is a copy of cannot */
    snprintf(path, sizeof path, "%s/closed", to);
    CHILD_CHECK(stat(path, &st) == 0 && (st.st_mode & 07777) == 0755);
    CHILD_CHECK(chmod(path, 0555) == 0);
    snprintf(path, sizeof path, "%s/closed/below", to);
    CHILD_CHECK(chmod(path, 0555) == 0);
    CHILD_CHECK(unlinkat(AT_FDCWD, path, AT_REMOVEDIR) < 0);
    CHILD_CHECK(copy_remove(to) == 0 && access(to, F_OK) < 0);
    return 0;
}

static void test_folders_that_were_made_read_only_are_removed_by_who_is_not_root(void **state)
{
    char from[256], path[320];

    (void)state;
    make_closed(from);
    snprintf(path, sizeof path, "%s/closed/below/file", from);
    assert_int_equal(chmod(path, 0644), 0);
    snprintf(path, sizeof path, "%s/closed/file", from);
    assert_int_equal(chmod(path, 0644), 0);
    snprintf(path, sizeof path, "%s/file", from);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(chmod(from, 0755), 0);
    assert_int_equal(child_run(remove_read_only, from), 0);
    assert_int_equal(copy_remove(from), 0);
}

/* So many that threads share them, of all sizes around those at which another way is taken. */
static void test_many_files_are_copied_whole_by_several_threads(void **state)
{
    static const size_t sizes[] = {0, 1, 8192, (1 << 17) - 1, 1 << 17, (1 << 17) + 1, 1 << 20};
    char from[256], to[256], path[320], command[640];
    FILE *f;

    (void)state;
    snprintf(from, sizeof from, "%s/from", folder);
    snprintf(to, sizeof to, "%s/to", folder);
    assert_int_equal(mkdir(from, 0700), 0);
    for (size_t i = 0; i < 300; i++) {
        snprintf(path, sizeof path, "%s/%zu", from, i);
        f = fopen(path, "we");
        assert_non_null(f);
        for (size_t at = 0; at < sizes[i % 50 < HS_COUNT(sizes) ? i % 50 : 2]; at++)
            fputc((int)((at * 7 + i) & 0xff), f);
        fclose(f);
    }
    assert_int_equal(copy_tree_at_once(from, to, NULL), 0);
    snprintf(command, sizeof command, "diff -r '%s' '%s' > /dev/null", from, to);
    assert_int_equal(system(command), 0);
    assert_true(copy_size(from) == copy_size(to));
}

static int die_with_a_place(void *arg)
{
    struct place own = {.lock_fd = -1};
    struct err wrong;

    CHILD_CHECK(place_open(&own, 1, &wrong) == 0);
    CHILD_CHECK(place_add(&own, arg, &wrong) == 0);
    CHILD_CHECK(mkdir(arg, 0700) == 0);
    _exit(0);
}

/* Others on this machine may have died, too. */
static void count(void *arg, const char *path)
{
    *(int *)arg += !strncmp(path, folder, strlen(folder));
}

static void test_what_a_dead_keeper_left_is_cleared_away_and_nothing_else(void **state)
{
    char elsewhere[256];
    int n = 0;

    (void)state;
    snprintf(elsewhere, sizeof elsewhere, "%s/hasten-data", folder);
    assert_int_equal(child_run(die_with_a_place, elsewhere), 0);
    assert_int_equal(access(elsewhere, F_OK), 0);
    place_clear(count, &n);
    assert_int_equal(n, 1); /* the one of this process is locked */
    assert_true(place_clear(NULL, NULL) >= 1);
    assert_int_equal(access(elsewhere, F_OK), -1);
    assert_int_equal(access(place.folder, F_OK), 0);
    n = 0;
    place_clear(count, &n);
    assert_int_equal(n, 0);
}

/* A temporary folder that is thrown away, as CI does it, and a keeper that was killed: only the data remain. */
static int die_with_data_in_memory(void *arg)
{
    struct place own = {.lock_fd = -1};
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct err wrong;
    int fd;

    CHILD_CHECK(place_open(&own, 1, &wrong) == 0);
    CHILD_CHECK(place_make_data(&own, arg, &fd, &wrong) == 0);
    CHILD_CHECK(utimensat(AT_FDCWD, arg, long_ago, 0) == 0);
    CHILD_CHECK(copy_remove(own.folder) == 0);
    place_clear(NULL, NULL);
    CHILD_CHECK(access(arg, F_OK) == 0); /* locked */
    _exit(0);
}

static void test_data_in_memory_are_found_without_their_runs_folder(void **state)
{
    char data[64];

    (void)state;
    if (access("/dev/shm", W_OK) < 0)
        skip();
    snprintf(data, sizeof data, "/dev/shm/hasten-%u-%d-01234567", (unsigned)geteuid(), (int)getpid());
    assert_int_equal(child_run(die_with_data_in_memory, data), 0);
    place_clear(NULL, NULL);
    assert_int_equal(access(data, F_OK), -1);
}

static void test_a_folder_that_others_may_write_to_is_refused(void **state)
{
    char base[256];
    struct place other = {.lock_fd = -1};

    (void)state;
    snprintf(base, sizeof base, "%s/hasten-db-%u", folder, (unsigned)geteuid());
    assert_int_equal(chmod(base, 0777), 0);
    assert_int_equal(place_open(&other, 2, &err), -1);
    assert_non_null(strstr(err.text, "is not a folder of this user alone"));
    assert_int_equal(chmod(base, 0711), 0);
}

static void test_no_password_is_shown_with_a_url_that_is_none(void **state)
{
    static const struct {
        const char *url, *shown;
    } cases[] = {
        {"mysql://me:secret@host/db", "'mysql://me:***@host/db'"},
        {"postgres+x://me:s@e:c/ret@host:5432/db", "'postgres+x://me:***@host:5432/db'"},
        {"me:secret@host", "'me:***@host'"},
        {"host:5432/db", "'host:5432/db'"},
        {"http://me@host:1/", "'http://me@host:1/'"},
    };
    struct pg pg;

    (void)state;
    for (size_t i = 0; i < HS_COUNT(cases); i++) {
        assert_int_equal(pg_init(&pg, &(struct pg_options){.url = cases[i].url}, &place, "0123abcd", &err), -1);
        assert_null(strstr(err.text, "ret@"));
        assert_non_null(strstr(err.text, cases[i].shown));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_wal_that_is_not_checkpointed_is_in_the_copy, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_hot_journal_is_played_back, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_clones_are_apart_and_reset_brings_the_template_back, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_wrong_sql_is_said_and_leaves_no_template, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_copied_tree_is_the_same_tree, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_of_a_tree_some_is_copied_some_is_linked_and_some_is_left, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_a_folder_that_is_pointed_at_outlives_its_copy, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_folders_that_were_made_read_only_are_removed_by_who_is_not_root,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_many_files_are_copied_whole_by_several_threads, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_what_a_dead_keeper_left_is_cleared_away_and_nothing_else, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_data_in_memory_are_found_without_their_runs_folder, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(test_a_folder_that_others_may_write_to_is_refused, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_no_password_is_shown_with_a_url_that_is_none, make_folder, remove_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
