#include "harness.h"

#include "run/hits.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture {
    struct hits hits;
    int fd;
};

static int open_hits(void **state)
{
    static struct fixture f;
    struct err err = {0};

    f.fd = hits_create(&err);
    if (f.fd < 0 || hits_attach(&f.hits, f.fd, &err) < 0)
        return -1;
    *state = &f;
    return 0;
}

static int close_hits(void **state)
{
    struct fixture *f = *state;

    hits_detach(&f->hits);
    close(f->fd);
    return 0;
}

static void test_a_file_is_found_again_by_its_path_if_it_has_room(void **state)
{
    struct fixture *f = *state;
    struct hits_file *a = hits_file(&f->hits, "/x/a.py", 7, 100, 64);

    assert_non_null(a);
    assert_ptr_equal(a, hits_file(&f->hits, "/x/a.py", 7, 50, 0));
    assert_ptr_not_equal(a, hits_file(&f->hits, "/x/b.py", 7, 100, 64));
    struct hits_file *wider = hits_file(&f->hits, "/x/a.py", 7, 1000, 64);
    assert_ptr_not_equal(a, wider);
    assert_true(wider->n_lines >= 1000);
    assert_memory_equal(hits_path(&f->hits, wider), "/x/a.py", 7);
}

static void test_arcs_are_numbered_in_the_order_of_arrival(void **state)
{
    struct fixture *f = *state;
    struct hits_file *file = hits_file(&f->hits, "a", 1, 100, 64);
    bool found = false;

    assert_int_equal(hits_arc(&f->hits, file, 1, 2), 0);
    assert_int_equal(hits_arc(&f->hits, file, 1000000, -1000000), 1);
    assert_int_equal(hits_arc(&f->hits, file, 1, 2), 0);
    for (uint32_t i = 0; i < file->arcs_room; i++) {
        struct hits_pair pair;

        if (!hits_arc_at(&f->hits, file, i, &pair) || pair.number != 1)
            continue;
        assert_int_equal(pair.from, 1000000);
        assert_int_equal(pair.to, -1000000);
        found = true;
    }
    assert_true(found);
}

static void test_a_full_file_takes_no_more_arcs_and_keeps_those_it_has(void **state)
{
    struct fixture *f = *state;
    struct hits_file *file = hits_file(&f->hits, "a", 1, 100, 64);
    uint32_t n = 0;

    while (hits_arc(&f->hits, file, 1, (int32_t)n + 2) != HITS_NONE)
        n++;
    assert_true(n >= 40 && n < file->arcs_room);
    assert_int_equal(hits_arc(&f->hits, file, 1, 2), 0);
    assert_int_equal(hits_arc(&f->hits, file, 1, (int32_t)n + 1), n - 1);
}

static int add_up(const struct hits_piece *piece, void *data)
{
    unsigned *sum = data;

    for (uint32_t i = 0; i < sizeof piece->bits; i++)
        *sum += (unsigned)__builtin_popcount(piece->bits[i]);
    return 0;
}

static int count(const struct hits_file *file, void *data)
{
    (void)file;
    ++*(unsigned *)data;
    return 0;
}

/* Every process writes the same 50 files, its own lines and arcs, and pieces enough for a second block. */
static int write_much(void *arg)
{
    struct fixture *f = ((void **)arg)[0];
    const uint32_t me = (uint32_t)(uintptr_t)((void **)arg)[1];
    uint32_t context;

    hits_forked(&f->hits);
    context = hits_context(&f->hits, "one", 3);
    CHILD_CHECK(context != HITS_NONE);
    for (uint32_t i = 0; i < 50; i++) {
        char path[16];
        const int size = snprintf(path, sizeof path, "/f%u.py", i);
        struct hits_file *file = hits_file(&f->hits, path, (size_t)size, 4000, 4000);

        CHILD_CHECK(file != NULL);
        for (uint32_t line = 0; line < 400; line++) {
            hits_set(hits_lines(&f->hits, file), line * 4 + me);
            CHILD_CHECK(hits_arc(&f->hits, file, (int32_t)line + 1, (int32_t)(line + me % 2 + 2)) != HITS_NONE);
        }
    }
    for (uint32_t i = 0; i < 25000; i++) {
        uint8_t *bits = hits_piece(&f->hits, context, 0, false, i);

        CHILD_CHECK(bits != NULL);
        bits[i % 32] |= 1;
    }
    return 0;
}

static int check_file(const struct hits_file *file, void *data)
{
    const struct hits *hits = data;

    for (uint32_t line = 0; line < 1600; line++)
        if (!(hits_lines(hits, file)[line / 8] & 1u << line % 8))
            return -1;
    return 0;
}

static void test_what_several_processes_write_is_all_there(void **state)
{
    struct fixture *f = *state;
    unsigned n_files = 0;
    unsigned bits = 0;
    pid_t pids[4];

    for (uintptr_t i = 0; i < 4; i++) {
        void *arg[] = {f, (void *)i};

        pids[i] = child_start(write_much, arg);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(child_wait(pids[i]), 0);
    assert_int_equal(hits_each_file(&f->hits, count, &n_files), 0);
    assert_int_equal(n_files, 50);
    assert_int_equal(hits_each_file(&f->hits, check_file, &f->hits), 0);
    assert_int_equal(hits_each_piece(&f->hits, add_up, &bits), 0);
    assert_int_equal(bits, 4 * 25000);
    assert_int_equal(atomic_load(&f->hits.head->n_lost), 0);
}

struct sums {
    unsigned first; /* bits of the piece that was made first */
    unsigned others;
};

static int sum_apart(const struct hits_piece *piece, void *data)
{
    struct sums *sums = data;

    for (uint32_t i = 0; i < sizeof piece->bits; i++)
        *(piece->index == 0 ? &sums->first : &sums->others) += (unsigned)__builtin_popcount(piece->bits[i]);
    return 0;
}

static void test_a_piece_can_be_written_when_its_block_is_full(void **state)
{
    struct fixture *f = *state;
    struct sums sums = {0};
    uint8_t *first = hits_piece(&f->hits, 0, 0, false, 0);

    for (uint32_t i = 1; i < 60000; i++)
        assert_non_null(hits_piece(&f->hits, 0, 0, false, i));
    memset(first, 255, 32);
    assert_int_equal(hits_each_piece(&f->hits, sum_apart, &sums), 0);
    assert_int_equal(sums.first, 256);
    assert_int_equal(sums.others, 0);
    hits_settle(&f->hits);
    assert_int_equal(f->hits.n_full, 0);
}

static int write_and_die(void *arg)
{
    struct fixture *f = arg;
    const uint32_t context = hits_context(&f->hits, "", 0);

    for (uint32_t i = 0;; i++) {
        uint8_t *bits = hits_piece(&f->hits, context, 7, true, i);

        CHILD_CHECK(bits != NULL);
        bits[0] = 255;
        hits_set(hits_lines(&f->hits, hits_file(&f->hits, "/a", 2, 100, 0)), 33);
        if (i == 1000)
            kill(getpid(), SIGKILL);
    }
    return 0;
}

static void test_what_a_killed_process_wrote_stays(void **state)
{
    struct fixture *f = *state;
    unsigned bits = 0;

    assert_int_equal(child_run(write_and_die, f), 128 + SIGKILL);
    assert_int_equal(hits_each_piece(&f->hits, add_up, &bits), 0);
    assert_int_equal(bits, 8 * 1001);
    assert_int_equal(hits_lines(&f->hits, hits_file(&f->hits, "/a", 2, 100, 0))[4], 2);
}

static void test_what_finds_no_room_is_counted(void **state)
{
    struct fixture *f = *state;

    atomic_store(&f->hits.head->used, HITS_CORE - 100);
    assert_null(hits_file(&f->hits, "/a", 2, 10000, 64));
    assert_int_equal(hits_context(&f->hits,
                                  "a name that is longer than what is left of the memory, by far, that is, "
                                  "than a hundred bytes",
                                  90),
                     HITS_NONE);
    assert_true(atomic_load(&f->hits.head->n_lost) >= 2);
}

static void test_other_memory_is_refused(void **state)
{
    struct hits hits;
    struct err err = {0};
    const int fd = open("/dev/zero", O_RDWR);

    (void)state;
    assert_int_equal(hits_attach(&hits, fd, &err), -1);
    assert_non_null(strstr(err.text, "coverage"));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_file_is_found_again_by_its_path_if_it_has_room, open_hits, close_hits),
        cmocka_unit_test_setup_teardown(test_arcs_are_numbered_in_the_order_of_arrival, open_hits, close_hits),
        cmocka_unit_test_setup_teardown(test_a_full_file_takes_no_more_arcs_and_keeps_those_it_has, open_hits,
                                        close_hits),
        cmocka_unit_test_setup_teardown(test_what_several_processes_write_is_all_there, open_hits, close_hits),
        cmocka_unit_test_setup_teardown(test_a_piece_can_be_written_when_its_block_is_full, open_hits, close_hits),
        cmocka_unit_test_setup_teardown(test_what_a_killed_process_wrote_stays, open_hits, close_hits),
        cmocka_unit_test_setup_teardown(test_what_finds_no_room_is_counted, open_hits, close_hits),
        cmocka_unit_test(test_other_memory_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
