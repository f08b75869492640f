#include "history_case.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <sqlite3.h>

static void write_file(const char *path, const char *bytes, size_t n)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

static void test_a_file_that_is_no_database_is_moved_aside(void **state)
{
    char name[720], garbage[3000];
    struct history h;

    (void)state;
    memset(garbage, 'x', sizeof garbage);
    mkdir(dir, 0700);
    write_file(db, garbage, sizeof garbage);
    open_history(&h);
    assert_non_null(strstr(h.note.text, "was damaged and is now"));
    run_of_one(&h, "k", "t", OUTCOME_PASSED, 5);
    history_close(&h);
    snprintf(name, sizeof name, "%s.corrupt", db);
    assert_int_equal(access(name, F_OK), 0);
    open_history(&h);
    assert_string_equal(h.note.text, ""); /* said once */
    assert_int_equal(load(&h, "k").n, 1);
    history_close(&h);
}

/* Damage behind the first page is found when it is read. */
static void test_damage_found_later_is_an_error_and_the_next_run_begins_anew(void **state)
{
    char garbage[40 * 4096];
    struct history h;
    struct found f = {0};
    struct err err = {0};
    int fd;

    (void)state;
    open_history(&h);
    assert_int_equal(history_run_begin(&h, &a_run, &err), 0);
    for (int i = 0; i < 5000; i++) {
        char id[100];

        snprintf(id, sizeof id, "tests/test_file.py::test_number_%d_with_a_name", i);
        assert_int_equal(add(&h, id, OUTCOME_PASSED, 5, &err), 0);
    }
    assert_int_equal(history_run_end(&h, &err), 0);
    history_close(&h);
    memset(garbage, 0xa5, sizeof garbage);
    fd = open(db, O_RDWR);
    assert_int_equal(pwrite(fd, garbage, sizeof garbage, 10 * 4096), sizeof garbage);
    close(fd);

    open_history(&h);
    assert_int_equal(history_load(&h, a_run.key, collect, &f, &err), -1);
    assert_non_null(strstr(err.text, "cannot read history"));
    assert_non_null(strstr(h.note.text, "was damaged"));
    run_of_one(&h, "k", "t", OUTCOME_PASSED, 5); /* into the new one */
    history_close(&h);
    open_history(&h);
    assert_int_equal(load(&h, NULL).n, 1);
    history_close(&h);
}

static void test_a_later_version_is_left_alone(void **state)
{
    struct history h;
    struct err err = {0};
    sqlite3 *other;

    (void)state;
    mkdir(dir, 0700);
    assert_int_equal(sqlite3_open(db, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "PRAGMA user_version = 2", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(history_open(&h, dir, &err), -1);
    assert_non_null(strstr(err.text, "is of a later hasten (version 2)"));
    assert_null(h.db);
    history_close(&h);
}

static void test_a_folder_that_cannot_be_is_one_clear_line(void **state)
{
    struct history h;
    struct err err = {0};

    (void)state;
    write_file(dir, "", 0); /* a file in its place */
    assert_int_equal(history_open(&h, dir, &err), -1);
    assert_non_null(strstr(err.text, "cannot write to"));
    assert_null(strchr(err.text, '\n'));
    unlink(dir);
    mkdir(dir, 0700);
    mkdir(db, 0700);
    assert_int_equal(history_open(&h, dir, &err), -1);
    assert_non_null(strstr(err.text, "unable to open database file"));
    rmdir(db);
}

static int write_to_a_full_disk(void *arg)
{
    const struct rlimit small = {.rlim_cur = 64 * 1024, .rlim_max = RLIM_INFINITY};
    struct history h;
    struct err err = {0};
    int ret = 0;

    (void)arg;
    signal(SIGXFSZ, SIG_IGN);
    CHILD_CHECK(history_open(&h, dir, &err) == 0);
    CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    CHILD_CHECK(history_run_begin(&h, &a_run, &err) == 0);
    for (int i = 0; i < 5000 && ret == 0; i++) {
        char id[100];

        snprintf(id, sizeof id, "tests/test_file.py::test_number_%d_with_a_name", i);
        ret = add(&h, id, OUTCOME_PASSED, 5, &err);
    }
    CHILD_CHECK(ret < 0 || history_run_end(&h, &err) < 0);
    CHILD_CHECK(strstr(err.text, "cannot write history"));
    history_close(&h);
    return 0;
}

static void test_a_full_disk_takes_the_run_back_and_keeps_the_rest(void **state)
{
    struct history h;

    (void)state;
    open_history(&h);
    run_of_one(&h, "k", "before", OUTCOME_PASSED, 5);
    history_close(&h);
    assert_int_equal(child_run(write_to_a_full_disk, NULL), 0);
    open_history(&h);
    assert_string_equal(h.note.text, "");
    assert_int_equal(load(&h, NULL).n, 1);
    history_close(&h);
}

static int write_twenty_runs(void *arg)
{
    struct err err = {0};

    (void)arg;
    for (int i = 0; i < 20; i++) {
        struct history h;

        if (history_open(&h, dir, &err) < 0 || history_run_begin(&h, &a_run, &err) < 0 ||
            add(&h, "t", OUTCOME_PASSED, 5, &err) < 0 || history_run_end(&h, &err) < 0) {
            fprintf(stderr, "%s\n", err.text);
            return 1;
        }
        CHILD_CHECK(h.note.text[0] == '\0');
        history_close(&h);
    }
    return 0;
}

static void test_runs_at_the_same_time_lose_nothing(void **state)
{
    struct history h;
    pid_t pids[4];

    (void)state;
    for (int i = 0; i < 4; i++) /* the very first ones too: nobody made the tables before */
        pids[i] = child_start(write_twenty_runs, NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(child_wait(pids[i]), 0);
    open_history(&h);
    assert_int_equal(load(&h, a_run.key).test[0].n_runs, 80);
    history_close(&h);
}

static void test_a_writer_that_does_not_end_is_given_up(void **state)
{
    struct history slow, h;
    struct err err = {0};
    uint64_t start;

    (void)state;
    open_history(&slow);
    open_history(&h);
    assert_int_equal(history_run_begin(&slow, &a_run, &err), 0);
    start = clock_now_ns();
    assert_int_equal(history_run_begin(&h, &a_run, &err), -1);
    assert_true(clock_now_ns() - start > 1500000000u);
    assert_non_null(strstr(err.text, "another run has been writing to it for 2 s"));
    assert_int_equal(load(&h, NULL).n, 0); /* readers do not wait */
    assert_int_equal(history_run_end(&slow, &err), 0);
    run_of_one(&h, "k", "t", OUTCOME_PASSED, 5);
    history_close(&slow);
    history_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        HISTORY_TEST(test_a_file_that_is_no_database_is_moved_aside),
        HISTORY_TEST(test_damage_found_later_is_an_error_and_the_next_run_begins_anew),
        HISTORY_TEST(test_a_later_version_is_left_alone),
        HISTORY_TEST(test_a_folder_that_cannot_be_is_one_clear_line),
        HISTORY_TEST(test_a_full_disk_takes_the_run_back_and_keeps_the_rest),
        HISTORY_TEST(test_runs_at_the_same_time_lose_nothing),
        HISTORY_TEST(test_a_writer_that_does_not_end_is_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
