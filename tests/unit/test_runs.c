#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char root[64];
static char folder[256];

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/hasten-runs-XXXXXX");
    return mkdtemp(root) && runs_make_folder(root, folder, sizeof folder) ? 0 : -1;
}

static int remove_root(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void touch(const char *name)
{
    char path[512];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
}

static bool exists(const char *name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void test_the_folder_ignores_itself_in_git(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof path, "%s/.hasten/.gitignore", root);
    assert_int_equal(access(path, R_OK), 0);
}

static void test_newest_is_by_time_and_never_the_own_one(void **state)
{
    char path[512] = "";

    (void)state;
    assert_false(runs_newest(folder, "", path, sizeof path));
    touch("100-2147483001.journal");
    touch("900-2147483002.journal");
    touch("1000-2147483003.journal"); /* later than 900, though not by name */
    touch("notes.txt");
    touch("5000-x.journal");
    assert_true(runs_newest(folder, "", path, sizeof path));
    assert_string_equal(strrchr(path, '/') + 1, "1000-2147483003.journal");
    assert_true(runs_newest(folder, "/else/where/1000-2147483003.journal", path, sizeof path));
    assert_string_equal(strrchr(path, '/') + 1, "900-2147483002.journal");
}

static void test_prune_keeps_the_newest_and_those_still_written(void **state)
{
    char name[64];
    char own[64];

    (void)state;
    snprintf(own, sizeof own, "1-%d.journal", (int)getpid());
    touch(own); /* the oldest, of a process that lives */
    for (int i = 10; i < 10 + RUNS_KEPT + 3; i++) {
        snprintf(name, sizeof name, "%d-2147483000.journal", i); /* above any pid */
        touch(name);
    }
    touch("notes.txt");
    runs_prune(folder);
    assert_true(exists(own));
    assert_true(exists("notes.txt"));
    assert_false(exists("10-2147483000.journal"));
    assert_false(exists("12-2147483000.journal"));
    assert_true(exists("13-2147483000.journal"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_folder_ignores_itself_in_git, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_newest_is_by_time_and_never_the_own_one, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_prune_keeps_the_newest_and_those_still_written, make_root, remove_root),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
