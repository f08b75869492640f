#include "harness.h"

#include "store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char *folder; /* owned; new for each test */
static char path[600];

static int setup(void **state)
{
    (void)state;
    folder = scratch_make();
    snprintf(path, sizeof path, "%s/run.journal", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(folder);
    return 0;
}

static void add_text(struct journal *j, uint32_t item, const char *text)
{
    const struct record r = {.size = (uint32_t)strlen(text), .type = RECORD_TEST, .item = item, .call_ns = item * 10};

    journal_add(j, &r, text);
}

static void expect_text(struct journal_reader *reader, uint32_t item, const char *text)
{
    struct record r;
    const void *payload;
    struct err err;

    assert_int_equal(journal_read(reader, &r, &payload, &err), 1);
    assert_int_equal(r.item, item);
    assert_int_equal(r.call_ns, item * 10);
    assert_int_equal(r.serial, reader->serial);
    assert_int_equal(r.size, strlen(text));
    assert_memory_equal(payload, text, r.size);
    assert_int_equal((uintptr_t)payload % 8, 0);
}

static void expect_no_more(struct journal_reader *reader)
{
    struct record r;
    const void *payload;
    struct err err;

    assert_int_equal(journal_read(reader, &r, &payload, &err), 0);
}

static void test_records_come_back_in_order(void **state)
{
    struct journal j;
    struct journal_reader reader;
    struct err err;

    (void)state;
    assert_int_equal(journal_open(&j, path, &err), 0);
    assert_false(j.in_memory);
    assert_string_equal(j.trouble.text, "");
    add_text(&j, 1, "");
    add_text(&j, 2, "seven b");
    add_text(&j, 3, "eight by");
    assert_int_equal(journal_flush(&j, &err), 0);
    assert_int_equal(j.serial, 3);
    journal_reader_open(&reader, j.fd, &err);
    expect_text(&reader, 1, "");
    expect_text(&reader, 2, "seven b");
    expect_text(&reader, 3, "eight by");
    expect_no_more(&reader);
    assert_int_equal(reader.at, j.length);
    journal_reader_close(&reader);
    journal_close(&j);
}

static void test_a_reader_at_the_end_sees_what_is_flushed_later(void **state)
{
    struct journal j;
    struct journal_reader reader;
    struct err err;

    (void)state;
    assert_int_equal(journal_open(&j, path, &err), 0);
    assert_int_equal(journal_reader_open(&reader, j.fd, &err), 0);
    for (uint32_t i = 0; i < 50; i++) {
        expect_no_more(&reader);
        add_text(&j, i, "x");
        expect_no_more(&reader); /* pending only */
        assert_int_equal(journal_flush(&j, &err), 0);
        expect_text(&reader, i, "x");
    }
    journal_reader_close(&reader);
    journal_close(&j);
}

static void test_a_record_is_found_again_at_its_offset(void **state)
{
    enum { N = 2000, BYTES = 500 }; /* several times the read-ahead */
    static uint64_t at[N];
    char text[BYTES + 1] = {0};
    struct journal j;
    struct journal_reader again;
    struct record record;
    const void *payload;
    struct err err;

    (void)state;
    assert_int_equal(journal_open(&j, path, &err), 0);
    for (uint32_t i = 0; i < N; i++) {
        memset(text, 'a' + (int)(i % 26), BYTES);
        at[i] = j.length + j.pending.len;
        add_text(&j, i, text);
    }
    assert_int_equal(journal_flush(&j, &err), 0);
    again = (struct journal_reader){.fd = j.fd};
    for (uint32_t k = 0; k < N; k++) {
        const uint32_t i = k % 3 ? N - 1 - k : k; /* forwards, backwards and far away */

        assert_int_equal(journal_read_at(&again, at[i], &record, &payload, &err), 1);
        assert_int_equal(record.item, i);
        assert_int_equal(((const char *)payload)[BYTES - 1], 'a' + (int)(i % 26));
    }
    assert_int_equal(journal_read_at(&again, j.length, &record, &payload, &err), 0);
    assert_int_equal(journal_read_at(&again, at[1] + 8, &record, &payload, &err), 0);
    journal_reader_close(&again);
    journal_close(&j);
}

static void test_a_payload_larger_than_the_read_ahead_is_whole(void **state)
{
    const uint32_t size = 3 * 1024 * 1024 + 5;
    char *big = hs_alloc(size + 1);
    struct journal j;
    struct journal_reader reader;
    struct err err;

    (void)state;
    for (uint32_t i = 0; i < size; i++)
        big[i] = (char)('a' + i % 26);
    assert_int_equal(journal_open(&j, NULL, &err), 0);
    assert_true(j.in_memory);
    assert_false(j.moved);
    assert_string_equal(j.trouble.text, "");
    add_text(&j, 1, "before");
    add_text(&j, 2, big);
    add_text(&j, 3, "after");
    assert_int_equal(journal_flush(&j, &err), 0);
    assert_int_equal(journal_reader_open(&reader, j.fd, &err), 0);
    expect_text(&reader, 1, "before");
    expect_text(&reader, 2, big);
    expect_text(&reader, 3, "after");
    expect_no_more(&reader);
    journal_reader_close(&reader);
    journal_close(&j);
    free(big);
}

/* Two records in a file; returns its descriptor and where the second begins. */
static int two_records(uint64_t *second_at)
{
    struct journal j;
    struct err err;
    const int fd = (assert_int_equal(journal_open(&j, path, &err), 0), open(path, O_RDWR));

    add_text(&j, 1, "first");
    assert_int_equal(journal_flush(&j, &err), 0);
    *second_at = j.length;
    add_text(&j, 2, "second");
    assert_int_equal(journal_flush(&j, &err), 0);
    journal_close(&j);
    return fd;
}

static void test_a_journal_cut_anywhere_keeps_its_whole_records(void **state)
{
    uint64_t second_at;
    const int fd = two_records(&second_at);
    struct stat info;

    (void)state;
    fstat(fd, &info);
    for (off_t size = info.st_size - 1; size >= 0; size--) {
        struct journal_reader reader;
        struct err err = {0};

        assert_int_equal(ftruncate(fd, size), 0);
        if (size < 16) {
            assert_int_equal(journal_reader_open(&reader, fd, &err), -1);
            assert_string_equal(err.text, "not a journal of this version of hasten");
            continue;
        }
        assert_int_equal(journal_reader_open(&reader, fd, &err), 0);
        if ((uint64_t)size >= second_at)
            expect_text(&reader, 1, "first");
        expect_no_more(&reader);
        journal_reader_close(&reader);
    }
    close(fd);
}

static void test_any_flipped_bit_ends_the_journal_before_it(void **state)
{
    const uint64_t payload_end = 64 + strlen("second"); /* padding is not covered and not looked at */
    uint64_t second_at;
    const int fd = two_records(&second_at);

    (void)state;
    for (uint64_t bit = 0; bit < payload_end * 8; bit++) {
        const off_t at = (off_t)(second_at + bit / 8);
        struct journal_reader reader;
        struct err err;
        char good, bad;

        assert_int_equal(pread(fd, &good, 1, at), 1);
        bad = (char)(good ^ (1 << bit % 8));
        assert_int_equal(pwrite(fd, &bad, 1, at), 1);
        assert_int_equal(journal_reader_open(&reader, fd, &err), 0);
        expect_text(&reader, 1, "first");
        expect_no_more(&reader);
        assert_int_equal(pwrite(fd, &good, 1, at), 1);
        expect_text(&reader, 2, "second"); /* the reader did not keep the wrong one */
        journal_reader_close(&reader);
    }
    close(fd);
}

static void test_a_record_out_of_its_place_is_not_read(void **state)
{
    char record[72];
    uint64_t second_at;
    const int fd = two_records(&second_at);
    struct journal_reader reader;
    struct err err;

    (void)state;
    /* The first record once more, right checksum and all, where the second should be. */
    assert_int_equal(pread(fd, record, sizeof record, 16), sizeof record);
    assert_int_equal(pwrite(fd, record, sizeof record, (off_t)second_at), sizeof record);
    assert_int_equal(journal_reader_open(&reader, fd, &err), 0);
    expect_text(&reader, 1, "first");
    expect_no_more(&reader);
    journal_reader_close(&reader);
    close(fd);
}

static void test_a_file_that_is_there_is_never_touched(void **state)
{
    struct journal j;
    struct err err;
    char text[16] = "";
    const int fd = open(path, O_RDWR | O_CREAT, 0600);

    (void)state;
    assert_int_equal(write(fd, "mine", 4), 4);
    assert_int_equal(journal_open(&j, path, &err), 0);
    assert_true(j.in_memory);
    assert_non_null(strstr(j.trouble.text, "run.journal'; it is kept in memory"));
    assert_int_equal(j.trouble.sys, EEXIST);
    assert_int_equal(pread(fd, text, sizeof text, 0), 4);
    assert_string_equal(text, "mine");
    journal_close(&j);
    close(fd);
}

static void test_a_folder_that_is_missing_leaves_a_journal_in_memory(void **state)
{
    struct journal j;
    struct journal_reader reader;
    struct err err;

    (void)state;
    strcat(path, "/no/such");
    assert_int_equal(journal_open(&j, path, &err), 0);
    assert_true(j.in_memory);
    assert_false(j.moved);
    assert_int_equal(j.trouble.sys, ENOENT);
    add_text(&j, 1, "kept");
    assert_int_equal(journal_flush(&j, &err), 0);
    assert_int_equal(journal_reader_open(&reader, j.fd, &err), 0);
    expect_text(&reader, 1, "kept");
    journal_reader_close(&reader);
    journal_close(&j);
}

/* Writing to a descriptor that is open for reading only fails as a full disk does: at once, with nothing written. */
static void make_unwritable(struct journal *j)
{
    const int fd = open(path, O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(dup2(fd, j->fd), j->fd);
    close(fd);
}

static void test_a_file_that_takes_no_more_is_continued_in_memory(void **state)
{
    struct journal j;
    struct journal_reader reader;
    struct err err;

    (void)state;
    assert_int_equal(journal_open(&j, path, &err), 0);
    add_text(&j, 1, "on disk");
    assert_int_equal(journal_flush(&j, &err), 0);
    assert_int_equal(journal_reader_open(&reader, dup(j.fd), &err), 0);
    expect_text(&reader, 1, "on disk");
    make_unwritable(&j);
    add_text(&j, 2, "in memory");
    assert_int_equal(journal_flush(&j, &err), 0);
    assert_true(j.in_memory && j.moved);
    assert_int_equal(j.trouble.sys, EBADF);
    assert_non_null(strstr(j.trouble.text, "cannot write the journal; it goes on in memory"));
    expect_no_more(&reader);
    close(reader.fd);
    reader.fd = j.fd; /* what the contract asks of readers */
    expect_text(&reader, 2, "in memory");
    journal_reader_close(&reader);

    assert_int_equal(journal_reader_open(&reader, j.fd, &err), 0); /* and a new reader sees all */
    expect_text(&reader, 1, "on disk");
    expect_text(&reader, 2, "in memory");
    journal_reader_close(&reader);
    journal_close(&j);
}

/* With a limit of file sizes a write stops in the middle; memory is a file, too, but the limit is not meant for it. */
static int flush_beyond_limit(void *arg)
{
    const struct rlimit small = {.rlim_cur = 200, .rlim_max = RLIM_INFINITY};
    struct rlimit now;
    struct journal j;
    struct journal_reader reader;
    struct record r;
    const void *payload;
    struct err err = {0};

    (void)arg;
    signal(SIGXFSZ, SIG_IGN);
    CHILD_CHECK(journal_open(&j, path, &err) == 0);
    add_text(&j, 1, "fits");
    CHILD_CHECK(journal_flush(&j, &err) == 0);
    CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    add_text(&j, 2,
             "does not fit here, and half of it is written before the kernel says so: it has to go on in memory");
    CHILD_CHECK(journal_flush(&j, &err) == 0);
    CHILD_CHECK(j.in_memory && j.trouble.sys == EFBIG);
    CHILD_CHECK(getrlimit(RLIMIT_FSIZE, &now) == 0 && now.rlim_cur == small.rlim_cur && now.rlim_max == small.rlim_max);
    CHILD_CHECK(journal_reader_open(&reader, j.fd, &err) == 0);
    CHILD_CHECK(journal_read(&reader, &r, &payload, &err) == 1 && r.item == 1);
    CHILD_CHECK(journal_read(&reader, &r, &payload, &err) == 1 && r.item == 2);
    CHILD_CHECK(journal_read(&reader, &r, &payload, &err) == 0);
    journal_reader_close(&reader);
    journal_close(&j);
    return 0;
}

static void test_a_write_that_stops_in_the_middle_loses_nothing(void **state)
{
    (void)state;
    assert_int_equal(child_run(flush_beyond_limit, NULL), 0);
}

static void test_a_descriptor_that_cannot_be_read_is_an_error(void **state)
{
    struct journal_reader reader;
    struct err err = {0};

    (void)state;
    assert_int_equal(journal_reader_open(&reader, -1, &err), -1);
    assert_int_equal(err.sys, EBADF);
    journal_reader_close(&reader);
}

#define JOURNAL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        JOURNAL_TEST(test_records_come_back_in_order),
        JOURNAL_TEST(test_a_reader_at_the_end_sees_what_is_flushed_later),
        JOURNAL_TEST(test_a_record_is_found_again_at_its_offset),
        JOURNAL_TEST(test_a_payload_larger_than_the_read_ahead_is_whole),
        JOURNAL_TEST(test_a_journal_cut_anywhere_keeps_its_whole_records),
        JOURNAL_TEST(test_any_flipped_bit_ends_the_journal_before_it),
        JOURNAL_TEST(test_a_record_out_of_its_place_is_not_read),
        JOURNAL_TEST(test_a_file_that_is_there_is_never_touched),
        JOURNAL_TEST(test_a_folder_that_is_missing_leaves_a_journal_in_memory),
        JOURNAL_TEST(test_a_file_that_takes_no_more_is_continued_in_memory),
        JOURNAL_TEST(test_a_write_that_stops_in_the_middle_loses_nothing),
        JOURNAL_TEST(test_a_descriptor_that_cannot_be_read_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
