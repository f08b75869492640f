/* test_origin.c - os/origin.h: who is the process that said so. */
#include "harness.h"

#include "os/descriptor.h"
#include "os/origin.h"

#include <stdio.h>
#include <unistd.h>

static int is_here(void *arg)
{
    (void)arg;
    CHILD_CHECK(!origin_is_here());
    origin_mark();
    CHILD_CHECK(origin_is_here());
    return 0;
}

static void test_a_forked_child_is_not_the_origin_until_it_says_so(void **state)
{
    (void)state;
    assert_false(origin_is_here());
    origin_mark();
    assert_true(origin_is_here());
    assert_int_equal(child_run(is_here, NULL), 0);
    assert_true(origin_is_here());
}

static void test_descriptor_stat_says_what_fstat_says(void **state)
{
    FILE *file = tmpfile();
    struct stat ours;
    struct stat theirs;

    (void)state;
    assert_non_null(file);
    assert_true(fputs("text", file) >= 0 && fflush(file) == 0);
    assert_int_equal(descriptor_stat(fileno(file), &ours), 0);
    assert_int_equal(fstat(fileno(file), &theirs), 0);
    assert_int_equal(ours.st_size, 4);
    assert_true(ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev);
    fclose(file);
    assert_int_equal(descriptor_stat(-1, &ours), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_forked_child_is_not_the_origin_until_it_says_so),
        cmocka_unit_test(test_descriptor_stat_says_what_fstat_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
