#include "harness.h"

#include "db/request.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { EACH_US = 2000, SAID_AT = 3 };

static int asker = -1;
static volatile sig_atomic_t n_signals;

/* As children of the keeper end while somebody is about to ask: the line comes only after some of these signals. */
static void on_signal(int number)
{
    static const char line[] = "ready postgres\n";

    (void)number;
    if (++n_signals == SAID_AT && write(asker, line, sizeof line - 1) < 0)
        _exit(1);
}

static void test_a_signal_does_not_send_away_who_asks(void **state)
{
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    const struct itimerval on = {{0, EACH_US}, {0, EACH_US}}, off = {{0, 0}, {0, 0}};
    char request[REQUEST_MAX];
    int ends[2];
    bool got;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    asker = ends[1];
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &on, NULL), 0);
    got = request_read(ends[0], request);
    setitimer(ITIMER_REAL, &off, NULL);
    assert_true(got);
    assert_string_equal(request, "ready postgres\n");
    assert_true(n_signals >= SAID_AT);
    close(ends[0]);
    close(ends[1]);
}

static void test_a_line_without_an_end_is_no_request(void **state)
{
    char request[REQUEST_MAX];
    char many[REQUEST_MAX];
    int ends[2];

    (void)state;
    memset(many, 'x', sizeof many);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(write(ends[1], many, sizeof many), sizeof many);
    assert_false(request_read(ends[0], request));
    close(ends[1]);
    assert_false(request_read(ends[0], request)); /* who is gone says nothing more */
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_signal_does_not_send_away_who_asks),
        cmocka_unit_test(test_a_line_without_an_end_is_no_request),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
