#include "harness.h"

#include "db/cache.h"
#include "db/place.h"
#include "os/copy.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *folder;
static struct err err;

static int make_folder(void **state)
{
    (void)state;
    folder = scratch_make();
    setenv("XDG_CACHE_HOME", folder, 1);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    scratch_remove(folder);
    return 0;
}

static void path_of(const char *name, char path[PLACE_SIZE + 64])
{
    char cache[PLACE_SIZE];

    assert_int_equal(place_cache("", cache, &err), 0);
    snprintf(path, PLACE_SIZE + 64, "%s/%s", cache, name);
}

/* A thing of that size in the cache, last used so many days ago. */
static void put(const char *name, int days, int megabytes)
{
    const struct timespec times[2] = {{.tv_sec = time(NULL) - days * 86400}, {.tv_sec = time(NULL) - days * 86400}};
    const bool is_folder = !strncmp(name, "pg", 2);
    char path[PLACE_SIZE + 64], file[PLACE_SIZE + 80];
    int fd;

    path_of(name, path);
    if (is_folder)
        assert_int_equal(mkdir(path, 0700), 0);
    snprintf(file, sizeof file, "%s%s", path, is_folder ? "/data" : "");
    fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, (off_t)megabytes << 20), 0);
    close(fd);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static bool has(const char *name)
{
    char path[PLACE_SIZE + 64];

    path_of(name, path);
    return access(path, F_OK) == 0;
}

static void add_name(void *arg, const struct db_entry *entry)
{
    str_addf(arg, "%s %s;", entry->provider, entry->what);
}

static void test_what_nobody_has_used_for_long_goes(void **state)
{
    const struct cache_limits limits = {.days = 7, .megabytes = UINT64_MAX};
    struct str names = STR_INIT;

    (void)state;
    put("pg15-0123", 3, 1);
    put("pg15-0123-aa", 8, 1);
    put("sqlite-bb.db", 9, 1);
    put("redis-7-cc.rdb", 1, 1);
    put("half-77.db", 1, 1);
    put("aa.lock", 9, 0);
    assert_int_equal(cache_prune(&limits), 2);
    assert_false(has("pg15-0123-aa") || has("sqlite-bb.db") || has("half-77.db"));
    assert_true(has("aa.lock"));
    assert_int_equal(cache_each(add_name, &names), 2);
    assert_string_equal(str_text(&names), "postgres cached server;redis template;");
    str_release(&names);
}

static void test_the_least_recently_used_goes_first(void **state)
{
    const struct cache_limits limits = {.days = 30, .megabytes = 10};

    (void)state;
    put("pg15-0123-aa", 1, 4);
    put("pg15-0123-bb", 5, 4);
    put("pg15-0123-cc", 3, 4);
    assert_int_equal(cache_prune(&limits), 1);
    assert_false(has("pg15-0123-bb"));
    assert_int_equal(cache_prune(&limits), 0);
}

static void test_what_is_in_use_stays(void **state)
{
    const struct cache_limits limits = {.days = 1, .megabytes = 0};

    (void)state;
    put("sqlite-now.db", 0, 4);
    assert_int_equal(cache_prune(&limits), 0);
    assert_true(has("sqlite-now.db"));
    assert_int_equal(cache_prune(&(struct cache_limits){.all = true}), 1);
    assert_false(has("sqlite-now.db"));
}

static void test_a_run_looks_after_it_once_a_day(void **state)
{
    const struct cache_limits limits = {.days = 7, .megabytes = UINT64_MAX};
    int status;
    int pid;

    (void)state;
    put("sqlite-old.db", 8, 1);
    pid = cache_prune_beside(&limits);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_false(has("sqlite-old.db"));
    assert_int_equal(cache_prune_beside(&limits), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_nobody_has_used_for_long_goes, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_the_least_recently_used_goes_first, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_what_is_in_use_stays, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_a_run_looks_after_it_once_a_day, make_folder, remove_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
