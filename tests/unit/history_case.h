/* history_case.h - a folder and a database for each test of the history; shared by its two test programs. */
#ifndef HASTEN_HISTORY_CASE_H
#define HASTEN_HISTORY_CASE_H

#include "harness.h"

#include "base/clock.h"
#include "base/str.h"
#include "store/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *folder; /* owned; new for each test */
static char dir[600];
static char db[700];

HS_UNUSED static int setup(void **state)
{
    (void)state;
    folder = scratch_make();
    snprintf(dir, sizeof dir, "%s/.hasten", folder);
    snprintf(db, sizeof db, "%s/hasten.db", dir);
    return 0;
}

HS_UNUSED static int teardown(void **state)
{
    (void)state;
    scratch_remove(folder);
    return 0;
}

HS_UNUSED static const struct history_run a_run = {.key = "cpython 3.13, pytest 9.2",
                                                   .args = "-n 4",
                                                   .started_ns = 1000,
                                                   .wall_ns = 77,
                                                   .n_workers = 4,
                                                   .n_passed = 3};

HS_UNUSED static int add(struct history *h, const char *id, enum record_outcome outcome, uint64_t call_ns,
                         struct err *err)
{
    return history_run_add(h,
                           &(struct history_result){.id = id,
                                                    .id_len = strlen(id),
                                                    .outcome = outcome,
                                                    .setup_ns = call_ns / 10,
                                                    .call_ns = call_ns,
                                                    .teardown_ns = call_ns / 100},
                           err);
}

/* A whole run with one test. */
HS_UNUSED static void run_of_one(struct history *h, const char *key, const char *id, enum record_outcome outcome,
                                 uint64_t call_ns)
{
    struct history_run run = a_run;
    struct err err = {0};

    run.key = key;
    assert_int_equal(history_run_begin(h, &run, &err), 0);
    assert_int_equal(add(h, id, outcome, call_ns, &err), 0);
    assert_int_equal(history_run_end(h, &err), 0);
}

struct found {
    uint32_t n;
    struct history_test test[8];
    char id[8][100];
};

HS_UNUSED static void collect(void *arg, const struct history_test *test)
{
    struct found *f = arg;

    if (f->n < 8) {
        f->test[f->n] = *test;
        memcpy(f->id[f->n], test->id, test->id_len);
        f->id[f->n][test->id_len] = '\0';
    }
    f->n++;
}

HS_UNUSED static struct found load(struct history *h, const char *key)
{
    struct found f = {0};
    struct err err = {0};

    assert_int_equal(history_load(h, key, collect, &f, &err), 0);
    return f;
}

HS_UNUSED static void open_history(struct history *h)
{
    struct err err = {0};

    if (history_open(h, dir, &err) < 0)
        fail_msg("%s", err.text);
}

#define HISTORY_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
