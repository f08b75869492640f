#include "harness.h"

#include "run/hitkeep.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two runs in a folder of their own: the old one with a journal and what it measured, the new one with nothing yet. */
struct fixture {
    char folder[64];
    char journal[128];
    char source[128];
    struct hits old;
    struct hits now;
    int old_fd;
    int now_fd;
    int before; /* the working directory */
};

static int touch(const char *path, time_t at)
{
    const struct timespec times[2] = {{.tv_sec = at}, {.tv_sec = at}};
    const int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    return fd < 0 || futimens(fd, times) != 0 || close(fd) != 0 ? -1 : 0;
}

static int open_runs(void **state)
{
    static struct fixture f;
    struct err err = {0};

    f = (struct fixture){.folder = "/tmp/hitkeep-XXXXXX", .before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!mkdtemp(f.folder) || chdir(f.folder) != 0)
        return -1;
    snprintf(f.journal, sizeof f.journal, "%s/12-34.journal", f.folder);
    snprintf(f.source, sizeof f.source, "%s/a.py", f.folder);
    f.old_fd = hits_create(&err);
    f.now_fd = hits_create(&err);
    if (f.old_fd < 0 || f.now_fd < 0 || hits_attach(&f.old, f.old_fd, &err) < 0 ||
        hits_attach(&f.now, f.now_fd, &err) < 0 || touch(f.source, 1000) < 0 || touch(f.journal, 2000) < 0)
        return -1;
    atomic_store(&f.old.head->user, HITS_USED);
    atomic_store(&f.now.head->user, HITS_USED);
    *state = &f;
    return 0;
}

static int close_runs(void **state)
{
    struct fixture *f = *state;
    char path[256];

    hits_detach(&f->old);
    hits_detach(&f->now);
    close(f->old_fd);
    close(f->now_fd);
    if (hitkeep_path(f->journal, path, sizeof path))
        unlink(path);
    unlink(f->journal);
    unlink(f->source);
    if (fchdir(f->before) != 0)
        return -1;
    close(f->before);
    return rmdir(f->folder);
}

/* Keeps the old memory as its run would have done; skips where the disk has no files without a name. */
static void keep(const struct fixture *f)
{
    char path[256];

    if (!atomic_load(&f->old.head->on_disk))
        skip();
    assert_true(hitkeep_path(f->journal, path, sizeof path));
    assert_int_equal(hitkeep_link(f->old_fd, path), 0);
}

struct seen {
    char text[64];
    const struct hits *hits;
    struct hits_file *file;
};

static int note_piece(const struct hits_piece *piece, void *data)
{
    struct seen *seen = data;
    struct hits_pair pair;

    if (!piece->is_arcs)
        return 0;
    for (uint32_t i = 0; i < seen->file->arcs_room; i++)
        if (hits_arc_at(seen->hits, seen->file, i, &pair) && pair.number / HITS_PIECE_BITS == piece->index &&
            piece->bits[pair.number % HITS_PIECE_BITS / 8] & 1u << pair.number % 8)
            snprintf(seen->text, sizeof seen->text, "%u: %d to %d", piece->context, pair.from, pair.to);
    return 0;
}

static void test_lines_arcs_and_contexts_are_taken_up_under_new_numbers(void **state)
{
    struct fixture *f = *state;
    const size_t size = strlen(f->source);
    struct hits_file *old = hits_file(&f->old, f->source, size, 100, 64);
    struct hits_file *now = hits_file(&f->now, f->source, size, 100, 64);
    struct seen seen = {.hits = &f->now, .file = now};
    struct hitkeep_merge merge;
    uint8_t *bits;

    assert_int_equal(hits_context(&f->now, "other", 5), 0);
    hits_arc(&f->now, now, 5, 6);
    hits_set(hits_lines(&f->old, old), 7);
    bits = hits_piece(&f->old, hits_context(&f->old, "test", 4), old->id, true, 0);
    bits[0] = (uint8_t)(1u << hits_arc(&f->old, old, 1, -2));
    keep(f);
    assert_int_equal(hitkeep_take_up(f->now_fd, f->journal, &merge), HITKEEP_MERGED);
    assert_int_equal(merge.n_changed, 0);
    assert_int_equal(hits_lines(&f->now, now)[0], 1 << 7);
    assert_int_equal(hits_arc(&f->now, now, 1, -2), 1);
    assert_int_equal(hits_each_piece(&f->now, note_piece, &seen), 0);
    assert_string_equal(seen.text, "1: 1 to -2");
}

static void test_a_file_that_changed_since_is_left_out(void **state)
{
    struct fixture *f = *state;
    const size_t size = strlen(f->source);
    struct hitkeep_merge merge;

    hits_set(hits_lines(&f->old, hits_file(&f->old, f->source, size, 100, 64)), 7);
    keep(f);
    assert_int_equal(touch(f->source, 3000), 0);
    assert_int_equal(hitkeep_take_up(f->now_fd, f->journal, &merge), HITKEEP_MERGED);
    assert_int_equal(merge.n_changed, 1);
    assert_string_equal(merge.changed, f->source);
    assert_int_equal(atomic_load(&f->now.head->n_files), 0);
}

static void test_what_cannot_be_added_is_told_apart(void **state)
{
    struct fixture *f = *state;
    struct hitkeep_merge merge;

    assert_int_equal(hitkeep_take_up(f->now_fd, f->journal, &merge), HITKEEP_NOT_KEPT);
    keep(f);
    atomic_store(&f->now.head->key, 1);
    assert_int_equal(hitkeep_take_up(f->now_fd, f->journal, &merge), HITKEEP_OTHER);
    atomic_store(&f->now.head->user, HITS_ELSEWHERE);
    assert_int_equal(hitkeep_take_up(f->now_fd, f->journal, &merge), HITKEEP_NOT_KEPT);
    atomic_store(&f->now.head->user, HITS_UNUSED);
    assert_int_equal(hitkeep_take_up(f->now_fd, f->journal, &merge), HITKEEP_NOT_MEASURED);
    assert_int_equal(hitkeep_take_up(-1, f->journal, &merge), HITKEEP_NOT_MEASURED);
}

static int create_with_little_room(void *data)
{
    const struct rlimit limit = {.rlim_cur = 1 << 16, .rlim_max = RLIM_INFINITY};
    struct hits hits;
    struct err err = {0};
    int fd;

    (void)data;
    signal(SIGXFSZ, SIG_IGN);
    CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    fd = hits_create(&err);
    CHILD_CHECK(fd >= 0 && hits_attach(&hits, fd, &err) == 0);
    CHILD_CHECK(!atomic_load(&hits.head->on_disk));
    CHILD_CHECK(hits_file(&hits, "/a", 2, 100, 64) != NULL);
    return 0;
}

static void test_a_disk_that_takes_nothing_is_not_used(void **state)
{
    assert_int_equal(child_run(create_with_little_room, *state), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines_arcs_and_contexts_are_taken_up_under_new_numbers, open_runs,
                                        close_runs),
        cmocka_unit_test_setup_teardown(test_a_file_that_changed_since_is_left_out, open_runs, close_runs),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_added_is_told_apart, open_runs, close_runs),
        cmocka_unit_test_setup_teardown(test_a_disk_that_takes_nothing_is_not_used, open_runs, close_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
