#include "harness.h"

#include "os/term.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static const char *const variables[] = {"PY_COLORS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TERM",
                                        "LC_ALL",    "LC_CTYPE", "LANG",        "COLUMNS",        "LINES"};

static int forget_environment(void **state)
{
    (void)state;
    for (size_t i = 0; i < HS_COUNT(variables); i++)
        unsetenv(variables[i]);
    return 0;
}

static void test_term_colour_follows_pytests_order(void **state)
{
    int master;
    int slave;

    (void)state;
    assert_int_equal(term_open_pty(&master, &slave, (struct term_size){80, 24}), 0);
    assert_false(term_has_colour(slave)); /* TERM is not set */
    setenv("TERM", "dumb", 1);
    assert_true(term_is_dumb());
    assert_false(term_has_colour(slave));
    setenv("TERM", "xterm", 1);
    assert_false(term_is_dumb());
    assert_true(term_has_colour(slave));
    setenv("NO_COLOR", "", 1); /* empty: not set */
    assert_true(term_has_colour(slave));
    setenv("NO_COLOR", "1", 1);
    assert_false(term_has_colour(slave));
    setenv("FORCE_COLOR", "1", 1);
    assert_false(term_has_colour(slave)); /* NO_COLOR goes first */
    setenv("PY_COLORS", "1", 1);
    assert_true(term_has_colour(slave));
    setenv("PY_COLORS", "0", 1);
    unsetenv("NO_COLOR");
    assert_false(term_has_colour(slave));
    close(master);
    close(slave);
}

static void test_term_colour_can_be_forced_without_a_terminal(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    setenv("TERM", "xterm", 1);
    assert_false(term_is_tty(fds[1]));
    assert_false(term_has_colour(fds[1]));
    setenv("CLICOLOR_FORCE", "0", 1);
    assert_false(term_has_colour(fds[1]));
    setenv("CLICOLOR_FORCE", "1", 1);
    assert_true(term_has_colour(fds[1]));
    unsetenv("CLICOLOR_FORCE");
    setenv("FORCE_COLOR", "1", 1);
    assert_true(term_has_colour(fds[1]));
    close(fds[0]);
    close(fds[1]);
}

static void test_term_utf8_is_told_by_the_first_variable_that_is_set(void **state)
{
    (void)state;
    assert_false(term_is_utf8());
    setenv("LANG", "de_DE.UTF-8", 1);
    assert_true(term_is_utf8());
    setenv("LC_CTYPE", "C.utf8", 1);
    assert_true(term_is_utf8());
    setenv("LC_ALL", "C", 1);
    assert_false(term_is_utf8());
    setenv("LC_ALL", "", 1);
    assert_true(term_is_utf8());
}

static void test_term_size_is_never_zero(void **state)
{
    struct term_size size;
    int master;
    int slave;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    (void)state;
    assert_int_equal(term_size(null, &size), -ENOTTY);
    assert_int_equal(size.columns, 80);
    assert_int_equal(size.rows, 24);
    setenv("COLUMNS", "132", 1);
    setenv("LINES", "-5", 1);
    assert_int_equal(term_size(null, &size), -ENOTTY);
    assert_int_equal(size.columns, 132);
    assert_int_equal(size.rows, 24);
    assert_int_equal(term_open_pty(&master, &slave, (struct term_size){0, 0}), 0);
    assert_int_equal(term_size(slave, &size), 0);
    assert_int_equal(size.columns, 132);
    assert_int_equal(term_set_size(master, (struct term_size){100, 50}), 0);
    assert_int_equal(term_size(slave, &size), 0);
    assert_int_equal(size.columns, 100);
    assert_int_equal(size.rows, 50);
    assert_int_equal(term_set_size(null, size), -ENOTTY);
    close(null);
    close(master);
    close(slave);
}

static int is_raw(int fd)
{
    struct termios mode;

    return tcgetattr(fd, &mode) == 0 && !(mode.c_lflag & (ICANON | ECHO));
}

/* A child on a pseudo-terminal of its own, as its session's leader; it ends by the signal `how`, or by exit. */
enum { END_EXIT = 0, END_BY_FORKED_CHILD = -1, END_RESTORE = -2 };

struct raw_case {
    int slave;
    int how;
};

static int go_raw_and_end(void *arg)
{
    const struct raw_case *c = arg;
    const int how = c->how;

    if (how > 0)
        signal(how, SIG_DFL); /* cmocka has handlers of its own */
    CHILD_CHECK(term_adopt(c->slave) == 0);
    CHILD_CHECK(term_raw(c->slave, false) == 0);
    CHILD_CHECK(is_raw(c->slave));
    if (how > 0)
        raise(how);
    if (how == END_BY_FORKED_CHILD) {
        const pid_t pid = fork();

        if (pid == 0)
            exit(0); /* runs the handlers of exit: not its terminal */
        CHILD_CHECK(waitpid(pid, NULL, 0) == pid);
        CHILD_CHECK(is_raw(c->slave));
    }
    if (how == END_RESTORE) {
        term_restore();
        CHILD_CHECK(!is_raw(c->slave));
        term_restore();
        CHILD_CHECK(term_raw(c->slave, true) == 0); /* and again */
    }
    exit(7);
}

static void test_term_raw_is_undone_however_the_process_ends(void **state)
{
    static const int ends[] = {
        END_EXIT, END_BY_FORKED_CHILD, END_RESTORE, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGSEGV, SIGABRT, SIGXCPU,
        SIGBUS};

    (void)state;
    for (size_t i = 0; i < HS_COUNT(ends); i++) {
        struct raw_case c = {.how = ends[i]};
        int master;

        assert_int_equal(term_open_pty(&master, &c.slave, (struct term_size){80, 24}), 0);
        assert_int_equal(child_run(go_raw_and_end, &c), ends[i] > 0 ? 128 + ends[i] : 7);
        assert_false(is_raw(c.slave));
        close(master);
        close(c.slave);
    }
}

static int stop_while_raw(void *arg)
{
    const struct raw_case *c = arg;

    CHILD_CHECK(term_adopt(c->slave) == 0);
    CHILD_CHECK(term_raw(c->slave, false) == 0);
    raise(SIGTSTP);
    CHILD_CHECK(is_raw(c->slave));
    return 0;
}

static void test_term_raw_is_undone_while_stopped(void **state)
{
    struct raw_case c = {0};
    int master;
    int status;
    pid_t pid;

    (void)state;
    assert_int_equal(term_open_pty(&master, &c.slave, (struct term_size){80, 24}), 0);
    pid = child_start(stop_while_raw, &c);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    assert_false(is_raw(c.slave));
    kill(pid, SIGCONT);
    assert_int_equal(child_wait(pid), 0);
    close(master);
    close(c.slave);
}

static int keep_own_handler(void *arg)
{
    const struct raw_case *c = arg;
    struct sigaction action;

    CHILD_CHECK(signal(SIGTERM, SIG_IGN) != SIG_ERR);
    CHILD_CHECK(term_adopt(c->slave) == 0 && term_raw(c->slave, false) == 0);
    CHILD_CHECK(sigaction(SIGTERM, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
    return 0;
}

static void test_term_raw_leaves_other_handlers_alone(void **state)
{
    struct raw_case c = {0};
    int master;

    (void)state;
    assert_int_equal(term_raw(-1, false), -EBADF);
    assert_int_equal(term_open_pty(&master, &c.slave, (struct term_size){80, 24}), 0);
    assert_int_equal(child_run(keep_own_handler, &c), 0);
    close(master);
    close(c.slave);
}

static int speak_on_terminal(void *arg)
{
    const struct raw_case *c = arg;

    CHILD_CHECK(term_adopt(c->slave) == 0);
    for (int fd = 0; fd < 3; fd++)
        CHILD_CHECK(dup2(c->slave, fd) == fd);
    CHILD_CHECK(open("/dev/tty", O_RDWR | O_CLOEXEC) >= 0); /* it is the controlling terminal */
    CHILD_CHECK(term_write(1, "hello\n", 6) == 0);
    return 0;
}

static void test_term_pty_relays_until_the_last_holder_is_gone(void **state)
{
    struct raw_case c = {0};
    char text[64];
    size_t len = 0;
    ssize_t n;
    int master;
    pid_t pid;

    (void)state;
    assert_int_equal(term_open_pty(&master, &c.slave, (struct term_size){80, 24}), 0);
    assert_true(fcntl(master, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(c.slave, F_GETFD) & FD_CLOEXEC);
    pid = child_start(speak_on_terminal, &c);
    close(c.slave);
    while ((n = read(master, text + len, sizeof text - len)) > 0)
        len += (size_t)n;
    assert_int_equal(n < 0 ? errno : 0, EIO);
    assert_memory_equal(text, "hello\r\n", 7);
    assert_int_equal(child_wait(pid), 0);
    close(master);
}

static int read_all_slowly(void *arg)
{
    const int fd = *(int *)arg;
    char bytes[1000];
    size_t sum = 0;
    ssize_t n;

    while (sum < 1000000 && (n = read(fd, bytes, sizeof bytes)) > 0)
        for (ssize_t i = 0; i < n; i++, sum++)
            CHILD_CHECK(bytes[i] == (char)('a' + sum % 26));
    return sum == 1000000 ? 0 : 1;
}

static void test_term_write_waits_when_the_descriptor_does_not(void **state)
{
    static char bytes[1000000];
    int fds[2];
    pid_t pid;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)('a' + i % 26);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0);
    pid = child_start(read_all_slowly, &fds[0]);
    assert_int_equal(term_write(fds[1], bytes, sizeof bytes), 0);
    assert_int_equal(child_wait(pid), 0);
    signal(SIGPIPE, SIG_IGN);
    close(fds[0]);
    assert_int_equal(term_write(fds[1], bytes, 1), -EPIPE);
    close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_term_colour_follows_pytests_order, forget_environment),
        cmocka_unit_test_setup(test_term_colour_can_be_forced_without_a_terminal, forget_environment),
        cmocka_unit_test_setup(test_term_utf8_is_told_by_the_first_variable_that_is_set, forget_environment),
        cmocka_unit_test_setup(test_term_size_is_never_zero, forget_environment),
        cmocka_unit_test(test_term_raw_is_undone_however_the_process_ends),
        cmocka_unit_test(test_term_raw_is_undone_while_stopped),
        cmocka_unit_test(test_term_raw_leaves_other_handlers_alone),
        cmocka_unit_test(test_term_pty_relays_until_the_last_holder_is_gone),
        cmocka_unit_test(test_term_write_waits_when_the_descriptor_does_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
