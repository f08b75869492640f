#include "harness.h"

#undef run_tests /* of cmocka; ours is a function */

#include "os/chan.h"
#include "os/shm.h"
#include "run/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A supervisor whose reporter and template are we. */
struct play {
    struct run run;
    struct run_options options;
    struct run_watcher watcher;
    struct run_totals totals;
    int reporter;
    int template;
    char *rootdir; /* owned */
};

static void open_play(struct play *play)
{
    int ends[2];

    *play = (struct play){.options = {.reporter_chan = -1, .template_chan = -1}, .rootdir = scratch_make()};
    play->run = (struct run){.options = &play->options,
                             .watcher = &play->watcher,
                             .totals = &play->totals,
                             .signals = -1,
                             .segment_fd = -1,
                             .inputs_fd = -1,
                             .table_fd = -1,
                             .catalog_fd = -1,
                             .pty = -1,
                             .pty_slave = -1};
    assert_int_equal(chan_pair(ends), 0);
    play->run.reporter.chan = ends[0];
    play->reporter = ends[1];
    assert_int_equal(chan_pair(ends), 0);
    play->run.template.chan = ends[0];
    play->template = ends[1];
}

static void close_play(struct play *play)
{
    run_close_fd(&play->run.reporter.chan);
    run_close_fd(&play->run.template.chan);
    run_close_fd(&play->reporter);
    run_close_fd(&play->template);
    for (uint32_t i = 0; i < play->run.n_used; i++)
        run_close_fd(&play->run.workers[i].chan);
    if (play->run.catalog_map)
        shm_unmap(play->run.catalog_map, play->run.catalog_size);
    run_release(&play->run);
    scratch_remove(play->rootdir);
}

static int say(struct play *play, enum sender from, struct chan_msg msg, const char *text, int fd)
{
    struct err err = {0};
    const int code = chan_send(from == FROM_REPORTER ? play->reporter : play->template, &msg, text, strlen(text), fd);

    assert_int_equal(code, 0);
    return from == FROM_REPORTER ? messages_drain(&play->run, &play->run.reporter.chan, from, 0, &err)
                                 : messages_drain(&play->run, &play->run.template.chan, from, 0, &err);
}

static void configure(struct play *play)
{
    char text[4200];

    snprintf(text, sizeof text, "workers=2\nmax_restarts=4000000000\ndist=load\nrootdir=%s\n", play->rootdir);
    assert_int_equal(say(play, FROM_REPORTER, (struct chan_msg){.type = WIRE_CONFIG}, text, -1), 0);
    assert_true(play->run.configured);
}

/* Two tests; a memory file, owned by the caller. */
static int make_catalog(void)
{
    const uint32_t counts[] = {2, 1};
    const uint64_t areas[] = {64 + 2 * 24 + 2, 0, 64 + 2 * 24, 2};
    char blob[64 + 2 * 24 + 2] = CATALOG_MAGIC;
    const int fd = shm_create("catalog", 0);

    memcpy(blob + 8, counts, sizeof counts);
    memcpy(blob + 16, areas, sizeof areas);
    for (uint32_t i = 0; i < 2; i++) {
        const struct catalog_item item = {.id_at = i, .id_len = 1};

        memcpy(blob + 64 + i * sizeof item, &item, sizeof item);
    }
    memcpy(blob + 64 + 2 * 24, "ab", 2);
    assert_int_equal(write(fd, blob, sizeof blob), sizeof blob);
    return fd;
}

static void collect(struct play *play)
{
    const int fd = make_catalog();

    assert_int_equal(say(play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_CATALOG}, "", fd), 0);
    close(fd);
    assert_int_equal(play->run.n_used, 2);
}

static void test_what_needs_a_configured_run_is_dropped_before_it(void **state)
{
    const int fd = make_catalog();
    struct play play;

    (void)state;
    open_play(&play);
    assert_int_equal(say(&play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_CATALOG}, "", fd), 0);
    assert_true(play.run.strange);
    assert_false(play.run.has_catalog);
    close(fd);
    close_play(&play);
}

static void say_parts(struct play *play, uint64_t n, uint32_t first, uint32_t second)
{
    const uint32_t of[] = {first, second};
    const int fd = shm_create("parts", 0);

    assert_int_equal(write(fd, of, sizeof of), sizeof of);
    assert_int_equal(say(play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_PARTS, .a = n}, "", fd), 0);
    close(fd);
}

static void test_each_part_gets_a_worker_of_its_own(void **state)
{
    struct play play;

    (void)state;
    open_play(&play);
    configure(&play);
    play.run.n_workers = 2;
    say_parts(&play, 3, 2, 0);
    assert_int_equal(play.run.n_parts, 3);
    collect(&play);
    assert_int_equal(play.run.workers[0].part, 0);
    assert_int_equal(play.run.workers[1].part, 2);
    assert_int_equal(range_left(&segment_slot(&play.run.segment, 0)->range), 1);
    assert_int_equal(range_left(&segment_slot(&play.run.segment, 1)->range), 1);
    say_parts(&play, 2, 0, 1); /* the tests are known: too late */
    assert_int_equal(play.run.n_parts, 3);
    close_play(&play);
}

static void test_a_part_waits_where_there_are_more_parts_than_workers(void **state)
{
    const int fd = make_catalog();
    struct play play;

    (void)state;
    open_play(&play);
    configure(&play);
    play.run.n_workers = 1;
    say_parts(&play, 2, 0, 1);
    assert_int_equal(say(&play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_CATALOG}, "", fd), 0);
    close(fd);
    assert_int_equal(play.run.n_used, 1);
    assert_true(play.run.parts[1].waits);
    atomic_store(&segment_slot(&play.run.segment, 0)->n_done, 1);
    play.run.workers[0].node_down = true;
    pool_reap(&play.run, 0, 0);
    assert_int_equal(play.run.n_used, 2);
    assert_int_equal(play.run.workers[1].part, 1);
    assert_false(play.run.parts[1].waits);
    close_play(&play);
}

static void test_parts_that_cannot_be_end_the_run_with_a_message(void **state)
{
    struct chan_msg msg = {.type = WIRE_CATALOG};
    const int fd = make_catalog();
    struct play play;
    struct err err = {0};

    (void)state;
    open_play(&play);
    configure(&play);
    play.run.n_workers = 2;
    say_parts(&play, 2, 0, 7);
    assert_int_equal(chan_send(play.template, &msg, "", 0, fd), 0);
    assert_int_equal(messages_drain(&play.run, &play.run.template.chan, FROM_TEMPLATE, 0, &err), -1);
    assert_string_equal(err.text, "test 1 was collected in part 7 of 2");
    close(fd);
    close_play(&play);
}

static void test_only_who_may_say_it_is_heard(void **state)
{
    struct play play;

    (void)state;
    open_play(&play);
    assert_int_equal(say(&play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_BYE}, "", -1), 0);
    assert_int_equal(say(&play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_CONFIG}, "workers=2\n", -1), 0);
    assert_true(play.run.strange);
    assert_false(play.run.said_bye);
    assert_false(play.run.configured);
    assert_int_equal(say(&play, FROM_REPORTER, (struct chan_msg){.type = WIRE_BYE}, "", -1), 0);
    assert_true(play.run.said_bye);
    close_play(&play);
}

static void test_no_message_makes_us_signal_everybody(void **state)
{
    const uint64_t pids[] = {0, 1, UINT32_MAX, UINT64_MAX, (uint64_t)1 << 31};
    struct play play;

    (void)state;
    open_play(&play);
    configure(&play);
    collect(&play);
    for (size_t i = 0; i < HS_COUNT(pids); i++) {
        assert_int_equal(say(&play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_FORKED, .a = pids[i]}, "", -1), 0);
        assert_int_equal(say(&play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_HELLO, .a = pids[i]}, "", -1), 0);
        assert_int_equal(play.run.workers[0].pid, 0);
        assert_int_equal(play.run.template.said_pid, 0);
    }
    assert_int_equal(say(&play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_FORKED, .slot = 9, .a = 77}, "", -1), 0);
    assert_int_equal(say(&play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_FORKED, .a = 1 << 22}, "", -1), 0);
    assert_int_equal(play.run.workers[0].pid, 1 << 22);
    assert_int_equal(say(&play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_FORKED, .a = 77}, "", -1), 0);
    assert_int_equal(play.run.workers[0].pid, 1 << 22); /* one worker is one process */
    close_play(&play);
}

static void test_a_damaged_catalog_ends_the_run_with_a_message(void **state)
{
    const int fd = shm_create("damaged", 4096);
    struct play play;

    (void)state;
    open_play(&play);
    configure(&play);
    assert_int_equal(say(&play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_CATALOG}, "", fd), -1);
    close(fd);
    close_play(&play);
}

static void test_another_start_is_asked_for_once(void **state)
{
    struct play play;

    (void)state;
    open_play(&play);
    configure(&play);
    play.run.template_restarts = 3;
    assert_int_equal(say(&play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_EARLY}, "why", -1), 0);
    assert_int_equal(play.run.template_restarts, 3);
    assert_false(play.run.early);
    close_play(&play);
}

/* The other end of a worker's channel, as the template is told to fork it. Owned. */
static int channel_of_worker(struct play *play, uint32_t slot)
{
    static char data[CHAN_MAX_DATA];
    struct chan_msg msg;
    size_t n;
    int fd = -1;

    while (chan_recv(play->template, 0, &msg, data, &n, &fd) == 1 && (msg.type != WIRE_FORK || msg.slot != slot))
        run_close_fd(&fd);
    assert_true(fd >= 0);
    return fd;
}

/* Both are there when the supervisor looks, and the template is looked at first. */
static void test_what_a_worker_said_is_heard_when_it_has_ended_meanwhile(void **state)
{
    const struct chan_msg early = {.type = WIRE_EARLY};
    const struct chan_msg ended = {.type = WIRE_EXITED, .slot = 1};
    struct play play;
    int worker;

    (void)state;
    open_play(&play);
    configure(&play);
    play.run.n_workers = 2;
    collect(&play);
    worker = channel_of_worker(&play, 1);
    assert_int_equal(chan_send(worker, &early, "why", 3, -1), 0);
    close(worker);
    assert_int_equal(say(&play, FROM_TEMPLATE, ended, "", -1), 0);
    assert_false(play.run.workers[1].live);
    assert_string_equal(play.run.early_why, "why");
    close_play(&play);
}

static void read_all(int chan)
{
    static char data[CHAN_MAX_DATA];
    struct chan_msg msg;
    size_t n;
    int fd = -1;

    while (chan_recv(chan, 0, &msg, data, &n, &fd) == 1)
        run_close_fd(&fd);
}

static void fill(int chan)
{
    const struct chan_msg msg = {.type = WIRE_ADVANCE};

    while (chan_offer(chan, &msg, -1) == 0)
        ;
    assert_int_equal(chan_offer(chan, &msg, -1), -EAGAIN);
}

/* A hook that never returns must not stop time limits and Ctrl-C. */
static void test_a_reporter_that_reads_nothing_is_not_waited_for(void **state)
{
    struct play play;

    (void)state;
    open_play(&play);
    configure(&play);
    fill(play.run.reporter.chan);
    results_tell(&play.run);
    assert_int_equal(play.run.told, 0);
    read_all(play.reporter);
    results_tell(&play.run);
    assert_true(play.run.told > 0);
    close_play(&play);
}

static void test_a_template_that_is_behind_is_not_waited_for(void **state)
{
    const int fd = make_catalog();
    struct play play;

    (void)state;
    open_play(&play);
    configure(&play);
    fill(play.run.template.chan);
    assert_int_equal(say(&play, FROM_TEMPLATE, (struct chan_msg){.type = WIRE_CATALOG}, "", fd), 0);
    close(fd);
    assert_int_equal(play.run.n_used, 0);
    read_all(play.template);
    assert_true(pool_start(&play.run, 0));
    assert_int_equal(play.run.n_used, 1);
    close_play(&play);
}

/* ---- the channel itself */

static void send_raw(int chan, size_t n, const int *fds, size_t n_fds)
{
    static char bytes[sizeof(struct chan_msg) + CHAN_MAX_DATA + 1];
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec part = {.iov_base = bytes, .iov_len = n};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};

    if (n_fds) {
        control.align.cmsg_level = SOL_SOCKET;
        control.align.cmsg_type = SCM_RIGHTS;
        control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
        head.msg_control = control.bytes;
        head.msg_controllen = control.align.cmsg_len;
    }
    assert_int_equal(sendmsg(chan, &head, MSG_NOSIGNAL), n);
}

static int n_open(void)
{
    int n = 0;

    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void test_a_message_that_cannot_be_is_refused_and_keeps_nothing_open(void **state)
{
    const size_t head = sizeof(struct chan_msg);
    const struct {
        size_t n;
        size_t n_fds;
    } cases[] = {{head - 1, 0}, {1, 1}, {0, 1}, {head, 2}, {head + 3, 2}, {head + CHAN_MAX_DATA + 1, 1}};
    static char data[CHAN_MAX_DATA];
    const int fds[] = {STDERR_FILENO, STDERR_FILENO};
    struct chan_msg msg;
    size_t n;
    int ends[2];
    int fd = -1;
    int before;

    (void)state;
    assert_int_equal(chan_pair(ends), 0);
    before = n_open();
    for (size_t i = 0; i < HS_COUNT(cases); i++) {
        send_raw(ends[0], cases[i].n, fds, cases[i].n_fds);
        assert_int_equal(chan_recv(ends[1], 1000, &msg, data, &n, &fd), -EBADMSG);
        assert_int_equal(fd, -1);
        assert_int_equal(n_open(), before);
    }
    send_raw(ends[0], head + CHAN_MAX_DATA, fds, 1); /* the channel goes on */
    assert_int_equal(chan_recv(ends[1], 1000, &msg, data, &n, &fd), 1);
    assert_int_equal(n, CHAN_MAX_DATA);
    assert_true(fd >= 0);
    close(fd);
    close(ends[0]);
    assert_int_equal(chan_recv(ends[1], 1000, &msg, data, &n, &fd), 0);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_needs_a_configured_run_is_dropped_before_it),
        cmocka_unit_test(test_each_part_gets_a_worker_of_its_own),
        cmocka_unit_test(test_a_part_waits_where_there_are_more_parts_than_workers),
        cmocka_unit_test(test_parts_that_cannot_be_end_the_run_with_a_message),
        cmocka_unit_test(test_only_who_may_say_it_is_heard),
        cmocka_unit_test(test_no_message_makes_us_signal_everybody),
        cmocka_unit_test(test_a_damaged_catalog_ends_the_run_with_a_message),
        cmocka_unit_test(test_another_start_is_asked_for_once),
        cmocka_unit_test(test_what_a_worker_said_is_heard_when_it_has_ended_meanwhile),
        cmocka_unit_test(test_a_reporter_that_reads_nothing_is_not_waited_for),
        cmocka_unit_test(test_a_template_that_is_behind_is_not_waited_for),
        cmocka_unit_test(test_a_message_that_cannot_be_is_refused_and_keeps_nothing_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
