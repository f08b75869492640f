#include "harness.h"

#include "db/pgwire.h"
#include "db/pooler.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The pooler is a child; server and clients are this process, so that every step is in order. */
static char *folder;
static int server = -1, control = -1;
static pid_t pooler;
static struct pooler_paths paths;
static char paths_of[3][256];

enum { LIMIT_MS = 20000 };

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    HS_CHECK(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 100) == 0);
    return fd;
}

static int serve(void *arg)
{
    (void)arg;
    close(server);
    close(control);
    return pooler_serve(&paths);
}

static int set_up(void **state)
{
    int ends[2];

    (void)state;
    folder = scratch_make();
    snprintf(paths_of[0], sizeof paths_of[0], "%s/server", folder);
    snprintf(paths_of[1], sizeof paths_of[1], "%s/link", folder);
    snprintf(paths_of[2], sizeof paths_of[2], "%s/pool", folder);
    server = listen_at(paths_of[0]);
    HS_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    control = ends[0];
    paths = (struct pooler_paths){.server = paths_of[0], .link = paths_of[1], .target = "server", .stays = true};
    paths.listener = listen_at(paths_of[2]);
    paths.control = ends[1];
    fcntl(paths.listener, F_SETFL, O_NONBLOCK);
    pooler = child_start(serve, NULL);
    close(paths.listener);
    close(ends[1]);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(server);
    close(control);
    HS_CHECK(child_wait(pooler) == 0); /* it ends with the keeper's end of the control */
    scratch_remove(folder);
    return 0;
}

/* ---- server and client */

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static bool has_something(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1;
}

static int accept_one(void)
{
    assert_true(has_something(server, LIMIT_MS));
    return accept4(server, NULL, NULL, SOCK_CLOEXEC);
}

static void say(int fd, const void *bytes, size_t n)
{
    assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
}

static void say_slowly(int fd, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        say(fd, (const char *)bytes + i, 1);
}

static void hear(int fd, const void *expected, size_t n)
{
    char got[4096];
    size_t have = 0;

    assert_true(n <= sizeof got);
    while (have < n) {
        ssize_t part;

        assert_true(has_something(fd, LIMIT_MS));
        part = recv(fd, got + have, n - have, 0);
        assert_true(part > 0);
        have += (size_t)part;
    }
    assert_memory_equal(got, expected, n);
}

static void hear_end(int fd)
{
    char got;

    assert_true(has_something(fd, LIMIT_MS));
    assert_true(recv(fd, &got, 1, 0) <= 0);
    close(fd);
}

/* A query of the pooler's that has this word in it. */
static void hear_query(int fd, const char *word)
{
    unsigned char head[5];
    char text[4096] = "";
    size_t n = 0;
    uint32_t length;

    assert_true(has_something(fd, LIMIT_MS));
    assert_int_equal(recv(fd, head, sizeof head, MSG_WAITALL), sizeof head);
    assert_int_equal(head[0], 'Q');
    length = wire_u32(head + 1) - 4;
    assert_true(length < sizeof text);
    while (n < length) {
        assert_true(has_something(fd, LIMIT_MS));
        n += (size_t)recv(fd, text + n, length - n, 0);
    }
    if (!strstr(text, word))
        fail_msg("'%s' has no '%s'", text, word);
}

#define START(user) "\0\0\0\x14\0\3\0\0user\0" user "\0\0"
#define GREETING                    \
    "R\0\0\0\x8\0\0\0\0S\0\0\0\x0d" \
    "a_b_c\0de\0"                   \
    "K\0\0\0\x0c\0\0\0\7\0\0\0\x8Z\0\0\0\5I"
#define READY(c) "Z\0\0\0\5" c
#define YES "D\0\0\0\x0b\0\1\0\0\0\1t" READY("I")
#define SETTINGS(c) "D\0\0\0\x0b\0\1\0\0\0\1" c READY("I")
#define SAY(fd, text) say(fd, text, sizeof(text) - 1)
#define HEAR(fd, text) hear(fd, text, sizeof(text) - 1)
#define ASKED "Q\0\0\0\x0dSELECT 1\0"
#define TERMINATE "X\0\0\0\4"

struct pair {
    int client, session;
};

/* audited: the database was looked at before. */
static struct pair begin(const char start[20], bool slowly, bool audited)
{
    struct pair p = {.client = connect_to(paths_of[2])};

    (slowly ? say_slowly : say)(p.client, start, 20);
    p.session = accept_one();
    hear(p.session, start, 20);
    (slowly ? say_slowly : say)(p.session, GREETING, sizeof GREETING - 1);
    if (!audited)
        hear_query(p.session, "pg_extension");
    hear_query(p.session, "pg_db_role_setting");
    if (!audited)
        (slowly ? say_slowly : say)(p.session, YES, sizeof YES - 1);
    (slowly ? say_slowly : say)(p.session, SETTINGS("1"), sizeof SETTINGS("1") - 1);
    HEAR(p.client, GREETING);
    return p;
}

static int again(const struct pair *p, const char start[20], const char *settings, size_t n)
{
    const int client = connect_to(paths_of[2]);

    say(client, start, 20);
    hear_query(p->session, "pg_db_role_setting");
    say(p->session, settings, n);
    return client;
}

static void end(struct pair *p)
{
    SAY(p->client, TERMINATE);
    hear_end(p->client);
}

static void end_and_clean(struct pair *p)
{
    end(p);
    hear_query(p->session, "DISCARD ALL");
    SAY(p->session, READY("I"));
}

/* ---- */

static void test_a_session_serves_one_client_after_the_other(void **state)
{
    (void)state;
    for (int slowly = 0; slowly < 2; slowly++) {
        const char *start = slowly ? START("slow_") : START("quick");
        struct pair p = begin(start, slowly, false);

        (slowly ? say_slowly : say)(p.client, ASKED, sizeof ASKED - 1);
        HEAR(p.session, ASKED);
        (slowly ? say_slowly : say)(p.session, READY("T"), 6);
        HEAR(p.client, READY("T"));
        end(&p);
        hear_query(p.session, "ROLLBACK"); /* it is in a transaction */
        hear_query(p.session, "DISCARD ALL");
        SAY(p.session, READY("I") READY("I"));
        p.client = again(&p, start, SETTINGS("1"), sizeof SETTINGS("1") - 1);
        HEAR(p.client, GREETING);
        end_and_clean(&p);
        /* other settings now: a new session */
        p.client = again(&p, start, SETTINGS("2"), sizeof SETTINGS("2") - 1);
        HEAR(p.session, TERMINATE);
        close(p.session);
        p.session = accept_one();
        hear(p.session, start, 20);
        close(p.session);
        hear_end(p.client);
    }
}

static void test_a_session_with_a_doubt_is_ended(void **state)
{
    static const struct {
        const char *what;
        size_t n;
    } answers[] = {
        {"E\0\0\0\x0c"
         "SERROR\0\0" READY("I"),
         19}, /* it could not be cleaned */
        {"S\0\0\0\x0d"
         "a_b_c\0xx\0" READY("I"),
         20}, /* a parameter is another one */
        {"S\0\0\0\x0d"
         "z_b_c\0de\0" READY("I"),
         20}, /* ... or a new one */
        {READY("T"), 6},
    };

    (void)state;
    for (size_t i = 0; i < HS_COUNT(answers); i++) {
        struct pair p = begin(START("doubt"), false, i > 0);

        end(&p);
        hear_query(p.session, "DISCARD ALL");
        say(p.session, answers[i].what, answers[i].n);
        HEAR(p.session, TERMINATE);
        close(p.session);
    }
}

static void test_who_ends_in_the_middle_of_something_ends_the_session(void **state)
{
    static const struct {
        const char *what;
        size_t n, passed;
    } ways[] = {
        {ASKED, 14, 14},                      /* not answered yet */
        {ASKED, 9, 9},                        /* half a message */
        {"P\0\0\0\x0c\0SEL\0\0\0\0", 13, 13}, /* no Sync */
        {"\xff\xff\xff\xff\xff\xff", 6, 6},
        {"F\0\0\0\4", 5, 5},
    };

    (void)state;
    for (size_t i = 0; i < HS_COUNT(ways); i++) {
        struct pair p = begin(START("ends_"), false, i > 0);

        say(p.client, ways[i].what, ways[i].n);
        hear(p.session, ways[i].what, ways[i].passed);
        close(p.client);
        hear_end(p.session);
    }
}

static void test_what_is_said_to_nobody_ends_an_idle_session(void **state)
{
    static const char said[] = READY("I") "A\0\0\0\x0a\0\0\0\1a\0";
    struct pair p = begin(START("idle_"), false, false);

    (void)state;
    end_and_clean(&p);
    say(control, "sidle_", 6);
    HEAR(control, "s"); /* it is idle now */
    SAY(p.session, "A\0\0\0\x0a\0\0\0\1a\0");
    hear_end(p.session);
    p = begin(START("idle_"), false, true);
    end(&p);
    hear_query(p.session, "DISCARD ALL");
    SAY(p.session, said); /* in the moment in which it becomes that */
    HEAR(p.session, TERMINATE);
    close(p.session);
}

static void test_idle_sessions_are_gone_before_a_database_is_dropped(void **state)
{
    static const char drop[] = "Q\0\0\0\x14"
                               "DROP DATABASE x";
    struct pair idle = begin(START("first"), false, false);
    struct pair busy = begin(START("secnd"), false, false);

    (void)state;
    end_and_clean(&idle);
    say(busy.client, drop, sizeof drop);
    HEAR(idle.session, TERMINATE);
    hear(busy.session, drop, 18); /* up to the word's end, and so not all of it */
    close(idle.session);
    hear(busy.session, drop + 18, sizeof drop - 18);
    close(busy.client);
    hear_end(busy.session);
}

static void test_authentication_passes_and_its_session_is_nobody_elses(void **state)
{
    struct pair p = {.client = connect_to(paths_of[2])};

    (void)state;
    SAY(p.client, "\0\0\0\x8\x04\xd2\x16\x2f"); /* TLS? */
    HEAR(p.client, "N");
    SAY(p.client, START("asked"));
    p.session = accept_one();
    HEAR(p.session, START("asked"));
    SAY(p.session, "R\0\0\0\x8\0\0\0\3");
    HEAR(p.client, "R\0\0\0\x8\0\0\0\3");
    SAY(p.client, "p\0\0\0\7me\0");
    HEAR(p.session, "p\0\0\0\7me\0");
    SAY(p.session, GREETING);
    HEAR(p.client, GREETING);
    SAY(p.client, TERMINATE);
    HEAR(p.session, TERMINATE);
    close(p.session);
    hear_end(p.client);
}

static void test_an_error_at_the_start_is_the_clients(void **state)
{
    static const char error[] = "E\0\0\0\x13SFATAL\0C42704\0";
    struct pair p = {.client = connect_to(paths_of[2])};

    (void)state;
    SAY(p.client, START("wrong"));
    p.session = accept_one();
    HEAR(p.session, START("wrong"));
    say(p.session, error, sizeof error);
    close(p.session);
    hear(p.client, error, sizeof error);
    hear_end(p.client);
}

static void test_a_late_cancellation_meets_nobody(void **state)
{
    static const char cancel[] = "\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\7\0\0\0\x8";
    struct pair p = begin(START("cancl"), false, false);
    int other;

    (void)state;
    end_and_clean(&p);
    other = connect_to(paths_of[2]);
    say(other, cancel, 16);
    hear_end(other);
    assert_false(has_something(server, 0));
    other = connect_to(paths_of[2]); /* of a session that it does not know: the server's to say */
    say(other, cancel, 11);
    say(other, "\x9\0\0\0\x8", 5);
    close(p.session);
    p.session = accept_one();
    hear(p.session, cancel, 11);
    close(p.session);
    hear_end(other);
}

/* Both ways: who does not read stops who writes, and nothing is lost. */
static void flow(int from, int to)
{
    enum { SIZE = 8 << 20 };
    char *bytes = hs_alloc(SIZE);
    size_t sent = 0, got = 0;

    memset(bytes, 'd', SIZE);
    memcpy(bytes, "d\0\x80\0\0", 5); /* the largest part of it is one message */
    fcntl(from, F_SETFL, O_NONBLOCK);
    for (struct pollfd p = {.fd = from, .events = POLLOUT}; poll(&p, 1, 300) == 1;) {
        const ssize_t n = send(from, bytes + sent, SIZE - sent, MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
    }
    assert_true(sent > 0 && sent < SIZE / 2);
    while (got < SIZE) {
        static char part[65536];
        ssize_t n = send(from, bytes + sent, SIZE - sent, MSG_NOSIGNAL);

        sent += n > 0 ? (size_t)n : 0;
        assert_true(has_something(to, LIMIT_MS));
        n = recv(to, part, sizeof part, 0);
        assert_true(n > 0);
        got += (size_t)n;
    }
    assert_int_equal(got, SIZE);
    fcntl(from, F_SETFL, 0);
    free(bytes);
}

static void test_who_does_not_read_stops_who_writes(void **state)
{
    struct pair p = begin(START("flows"), false, false);

    (void)state;
    flow(p.session, p.client);
    flow(p.client, p.session);
    close(p.client);
    hear_end(p.session);
}

static void test_the_keeper_hears_when_sessions_are_clean(void **state)
{
    struct pair p = begin(START("clean"), false, false);
    char byte;

    (void)state;
    end(&p);
    say(control, "sclean", 6);
    hear_query(p.session, "DISCARD ALL");
    assert_false(has_something(control, 20));
    SAY(p.session, READY("I"));
    HEAR(control, "s");
    say(control, "sunknown", 8);
    HEAR(control, "s");
    assert_int_equal(recv(control, &byte, 1, MSG_DONTWAIT), -1);
    close(p.session);
}

static void test_after_any_garbage_it_serves(void **state)
{
    unsigned chosen = 20261122;

    (void)state;
    for (int round = 0; round < 200; round++) {
        const int client = connect_to(paths_of[2]);
        unsigned char bytes[64];

        for (size_t i = 0; i < sizeof bytes; i++) {
            chosen = chosen * 1103515245 + 12345;
            bytes[i] = (unsigned char)(chosen >> 16 & (round % 2 ? 0xff : 0x07));
        }
        send(client, bytes, sizeof bytes - (size_t)round % 60, MSG_NOSIGNAL);
        close(client);
        while (has_something(server, 0))
            close(accept_one());
    }
    while (has_something(server, 100))
        close(accept_one());
    {
        struct pair p = begin(START("after"), false, false);

        end_and_clean(&p);
        close(p.session);
    }
}

/* A new session is asked about its settings before its client hears of it: a server that dies just then, or ends the session. */
static void test_a_client_hears_of_a_server_that_dies_before_the_greeting(void **state)
{
    (void)state;
    for (int asked = 0; asked < 2; asked++) {
        struct pair p = {.client = connect_to(paths_of[2])};

        SAY(p.client, START("dying"));
        p.session = accept_one();
        HEAR(p.session, START("dying"));
        SAY(p.session, GREETING);
        if (asked)
            hear_query(p.session, "pg_extension");
        close(p.session);
        hear_end(p.client);
    }
}

/* What it makes is seen by others only once it is committed, after they were looked at. */
static void test_functions_count_when_they_are_committed(void **state)
{
    static const char function[] = "Q\0\0\0\x14"
                                   "CREATE FUNCTION";
    static const char commit[] = "Q\0\0\0\x0b"
                                 "COMMIT";
    struct pair maker = begin(START("maker"), false, false);
    struct pair other;

    (void)state;
    say(maker.client, function, sizeof function);
    hear(maker.session, function, sizeof function);
    SAY(maker.session, READY("T"));
    HEAR(maker.client, READY("T"));
    other = begin(START("maker"), false, false);
    say(maker.client, commit, sizeof commit);
    hear(maker.session, commit, sizeof commit);
    SAY(maker.session, READY("I"));
    HEAR(maker.client, READY("I"));
    end(&other);
    HEAR(other.session, TERMINATE);
    close(other.session);
    end(&maker);
    HEAR(maker.session, TERMINATE);
    close(maker.session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_serves_one_client_after_the_other),
        cmocka_unit_test(test_a_session_with_a_doubt_is_ended),
        cmocka_unit_test(test_who_ends_in_the_middle_of_something_ends_the_session),
        cmocka_unit_test(test_what_is_said_to_nobody_ends_an_idle_session),
        cmocka_unit_test(test_idle_sessions_are_gone_before_a_database_is_dropped),
        cmocka_unit_test(test_authentication_passes_and_its_session_is_nobody_elses),
        cmocka_unit_test(test_an_error_at_the_start_is_the_clients),
        cmocka_unit_test(test_a_late_cancellation_meets_nobody),
        cmocka_unit_test(test_who_does_not_read_stops_who_writes),
        cmocka_unit_test(test_the_keeper_hears_when_sessions_are_clean),
        cmocka_unit_test(test_a_client_hears_of_a_server_that_dies_before_the_greeting),
        cmocka_unit_test(test_functions_count_when_they_are_committed),
        cmocka_unit_test(test_after_any_garbage_it_serves),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
