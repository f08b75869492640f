/* base.h, err.h, str.h, clock.h: small promises that everything else leans on. */
#include "harness.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int break_a_promise(void *arg)
{
    (void)arg;
    HS_CHECK(1 + 1 == 2);
    close(2); /* the message is for people, not for the log of a passing test */
    HS_CHECK(1 + 1 == 3);
    return 0;
}

static int ask_for_too_much(void *arg)
{
    (void)arg;
    close(2);
    return hs_alloc(SIZE_MAX / 2) == NULL;
}

static void test_a_broken_promise_ends_by_a_signal(void **state)
{
    (void)state;
    assert_int_equal(child_run(break_a_promise, NULL), 128 + SIGABRT);
    assert_int_equal(child_run(ask_for_too_much, NULL), 128 + SIGABRT);
}

static int fail_a_check(void *arg)
{
    close(2);
    CHILD_CHECK(arg != NULL);
    return 0;
}

static void test_the_harness_sees_a_childs_failure(void **state)
{
    (void)state;
    assert_int_equal(child_run(fail_a_check, NULL), 99);
    assert_int_equal(child_run(fail_a_check, "x"), 0);
}

static void test_err_set_answers_minus_one(void **state)
{
    struct err err = {.sys = 1};

    (void)state;
    assert_int_equal(err_set(&err, "cannot find '%s'", "x"), -1);
    assert_string_equal(err.text, "cannot find 'x'");
    assert_int_equal(err.sys, 0);
    assert_int_equal(err_sys(&err, ENOENT, "cannot open '%s'", "y"), -1);
    assert_string_equal(err.text, "cannot open 'y': No such file or directory");
    assert_int_equal(err.sys, ENOENT);
}

static void test_a_long_message_is_cut_not_overrun(void **state)
{
    struct {
        struct err err;
        char after[8];
    } s = {.after = "intact"};
    char text[2000];

    (void)state;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_sys(&s.err, EIO, "%s", text);
    assert_int_equal(strlen(s.err.text), sizeof s.err.text - 1);
    assert_string_equal(s.after, "intact");
}

static void test_str_grows_and_stays_terminated(void **state)
{
    struct str s = STR_INIT;

    (void)state;
    assert_string_equal(str_text(&s), "");
    str_add(&s, "", 0);
    assert_string_equal(s.data, "");
    for (int i = 0; i < 1000; i++)
        str_addf(&s, "%d,", i % 10);
    assert_int_equal(s.len, 2000);
    assert_int_equal(strlen(s.data), 2000);
    assert_memory_equal(s.data, "0,1,2,", 6);
    str_reset(&s);
    assert_int_equal(s.len, 0);
    assert_string_equal(str_text(&s), "");
    str_puts(&s, "again");
    str_add(&s, "\0x", 2);
    assert_int_equal(s.len, 7);
    assert_memory_equal(s.data, "again\0x", 8);
    str_release(&s);
    assert_null(s.data);
}

static void test_the_clock_can_be_stopped(void **state)
{
    const uint64_t before = clock_now_ns();

    (void)state;
    clock_stop_at(500);
    assert_int_equal(clock_now_ns(), 500);
    clock_advance(7);
    assert_int_equal(clock_now_ns(), 507);
    clock_resume();
    assert_true(clock_now_ns() >= before);
    assert_true(clock_wall_ns() > UINT64_C(1700000000000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_broken_promise_ends_by_a_signal),
        cmocka_unit_test(test_the_harness_sees_a_childs_failure),
        cmocka_unit_test(test_err_set_answers_minus_one),
        cmocka_unit_test(test_a_long_message_is_cut_not_overrun),
        cmocka_unit_test(test_str_grows_and_stays_terminated),
        cmocka_unit_test(test_the_clock_can_be_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
