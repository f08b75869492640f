#include "lease_case.h"

#include <stdlib.h>

/* ---- units */

struct table {
    struct needs_resource resources[3]; /* a has two units, b one, c none */
    struct lease_table table;
    void *memory; /* owned */
};

static void open_table(struct table *t)
{
    t->resources[0] = resource("a", 2);
    t->resources[1] = resource("b", 1);
    t->resources[2] = resource("c", 0);
    t->memory = aligned_alloc(64, lease_bytes(t->resources, 3, SLOTS));
    memset(t->memory, 0, lease_bytes(t->resources, 3, SLOTS));
    lease_view(&t->table, t->memory, t->resources, 3, SLOTS);
}

static bool take(struct table *t, uint32_t slot, struct needs_set set, struct lease_held *held)
{
    const struct lease_held old = *held;

    return lease_take(&t->table, (struct lease_who){slot, slot + 100}, &set, &old, held, NULL);
}

static void leave(struct table *t, uint32_t slot, struct lease_held *held)
{
    lease_leave(&t->table, (struct lease_who){slot, slot + 100}, held, &nothing, NULL);
    held->n = 0;
}

static void test_a_unit_is_held_by_one_worker(void **state)
{
    struct lease_held held[4] = {0};
    struct table t;

    (void)state;
    open_table(&t);
    assert_true(take(&t, 0, set_of(1, &one_a), &held[0]));
    assert_true(take(&t, 1, set_of(1, &one_a), &held[1]));
    assert_int_not_equal(held[0].of[0].unit, held[1].of[0].unit);
    assert_false(take(&t, 2, set_of(1, &one_a), &held[2]));
    leave(&t, 0, &held[0]);
    assert_true(take(&t, 2, set_of(1, &one_a), &held[2]));
    free(t.memory);
}

static void test_all_or_nothing(void **state)
{
    const struct needs_one two[] = {one_a, one_b};
    struct lease_held held[4] = {0};
    uint32_t turns;
    struct table t;

    (void)state;
    open_table(&t);
    assert_true(take(&t, 0, set_of(1, &one_b), &held[0]));
    turns = atomic_load(t.table.turns);
    assert_false(take(&t, 1, set_of(2, two), &held[1]));
    assert_int_equal(held[1].n, 0);
    assert_int_equal(atomic_load(t.table.turns), turns); /* a try in vain wakes nobody */
    assert_true(take(&t, 2, set_of(1, &both_a), &held[2]));
    leave(&t, 0, &held[0]);
    assert_int_not_equal(atomic_load(t.table.turns), turns);
    leave(&t, 2, &held[2]);
    assert_true(take(&t, 1, set_of(2, two), &held[1]));
    free(t.memory);
}

static void test_readers_share_and_keep_writers_away(void **state)
{
    struct lease_held held[4] = {0};
    struct table t;

    (void)state;
    open_table(&t);
    assert_true(take(&t, 0, set_of(1, &read_b), &held[0]));
    assert_true(take(&t, 1, set_of(1, &read_b), &held[1]));
    assert_false(take(&t, 2, set_of(1, &one_b), &held[2]));
    leave(&t, 0, &held[0]);
    assert_false(take(&t, 2, set_of(1, &one_b), &held[2]));
    leave(&t, 1, &held[1]);
    assert_true(take(&t, 2, set_of(1, &one_b), &held[2]));
    assert_false(take(&t, 0, set_of(1, &read_b), &held[0]));
    free(t.memory);
}

/* The same worker goes on with what it has, also from reading to writing. */
static void test_a_worker_goes_on_with_its_own_unit(void **state)
{
    const struct lease_who who = {3, 103};
    struct lease_held first = {0}, second = {0};
    struct needs_set writes = set_of(1, &one_b), reads = set_of(1, &read_b);
    struct table t;

    (void)state;
    open_table(&t);
    assert_true(take(&t, 3, reads, &first));
    assert_true(lease_take(&t.table, who, &writes, &first, &second, NULL));
    lease_leave(&t.table, who, &first, &second, NULL);
    first.n = 0;
    assert_false(take(&t, 4, reads, &first));
    assert_true(lease_take(&t.table, who, &reads, &second, &first, NULL)); /* what writes may read */
    lease_leave(&t.table, who, &second, &first, NULL);
    lease_leave(&t.table, who, &first, &nothing, NULL);
    second.n = 0;
    assert_true(take(&t, 4, writes, &second));
    free(t.memory);
}

static void test_what_a_dead_worker_held_is_free(void **state)
{
    const struct needs_one all[] = {both_a, read_b};
    struct lease_held held[2] = {0};
    struct table t;

    (void)state;
    open_table(&t);
    assert_true(take(&t, 5, set_of(2, all), &held[0]));
    assert_int_equal(lease_bury(&t.table, 6), 0);
    assert_int_equal(lease_bury(&t.table, 5), 3);
    assert_true(take(&t, 6, set_of(1, &both_a), &held[1]));
    held[0].n = 0;
    assert_true(take(&t, 7, set_of(1, &one_b), &held[0]));
    free(t.memory);
}

static bool refuse_unit_0(void *self, const struct lease_hold *hold)
{
    (*(int *)self)++;
    return hold->unit != 0;
}

static void put_nothing(void *self, const struct lease_hold *hold)
{
    (void)hold;
    (*(int *)self) += 100;
}

static void test_a_unit_that_another_run_has_is_passed_over(void **state)
{
    int calls = 0;
    const struct lease_outside outside = {.take = refuse_unit_0, .put = put_nothing, .self = &calls};
    const struct needs_set set = set_of(1, &one_a), two = set_of(1, &both_a);
    const struct lease_who who = {1, 101};
    struct lease_held held = {0};
    struct table t;

    (void)state;
    open_table(&t);
    t.resources[0].flags |= NEEDS_MACHINE;
    assert_true(lease_take(&t.table, who, &set, &nothing, &held, &outside));
    assert_int_equal(held.of[0].unit, 1);
    assert_int_equal(calls, 2);
    lease_leave(&t.table, who, &held, &nothing, &outside);
    assert_int_equal(calls, 102);
    assert_false(lease_take(&t.table, who, &two, &nothing, &held, &outside));
    assert_int_equal(atomic_load(&t.table.owner[0]) | atomic_load(&t.table.owner[1]), 0);
    free(t.memory);
}

/* ---- rates */

static void test_tokens_come_evenly(void **state)
{
    _Atomic uint64_t next = 0;
    uint64_t now = 1000, when = 0;

    (void)state;
    assert_true(lease_pace(&next, 200, 1, 1, now, &when));
    assert_false(lease_pace(&next, 200, 1, 1, now + 199, &when));
    assert_int_equal(when, 1200);
    assert_int_equal(lease_pace_when(&next, 200, 1), 1200);
    assert_true(lease_pace(&next, 200, 1, 3, when, &when));
    assert_int_equal(lease_pace_when(&next, 200, 1), 1800);
    lease_unpace(&next, 200, 3);
    assert_true(lease_pace(&next, 200, 1, 1, 1200, &when));
    /* A pause saves nothing up, but for a burst. */
    now = 100000;
    assert_true(lease_pace(&next, 200, 1, 1, now, &when));
    assert_false(lease_pace(&next, 200, 1, 1, now, &when));
    for (int i = 0; i < 3; i++)
        assert_true(lease_pace(&next, 200, 4, 1, now, &when));
    assert_false(lease_pace(&next, 200, 4, 1, now, &when));
}

static void test_no_window_has_more_tokens_than_its_rate(void **state)
{
    uint64_t random = 7, times[2000];
    _Atomic uint64_t next = 0;
    uint64_t now = 5000, when;
    int n = 0;

    (void)state;
    while (n < 2000) {
        now += next_random(&random) % 300;
        if (lease_pace(&next, 200, 3, 1, now, &when))
            times[n++] = now;
    }
    for (int i = 8; i < n; i++) /* in less than 5 intervals at most 5 and the burst */
        assert_true(times[i] - times[i - 8] >= 1000);
}

/* ---- what a catalog says */

static void test_needs_are_checked(void **state)
{
    struct {
        uint32_t head[4];
        struct needs_resource resources[1];
        struct needs_set sets[1];
        struct needs_item items[2];
    } blob = {.head = {1, 1, 2}, .resources = {resource("a", 2)}, .items = {{1, 0}, {0, 0}}};
    struct needs needs;
    struct err err;

    (void)state;
    blob.sets[0] = set_of(1, &both_a);
    assert_int_equal(needs_open(&needs, &blob, sizeof blob, &err), 0);
    assert_int_equal(needs.n_items, 2);
    assert_int_equal(needs_open(&needs, NULL, 0, &err), 0);
    assert_int_equal(needs.n_items, 0);
    assert_int_equal(needs_open(&needs, &blob, sizeof blob - 4, &err), -1);
    blob.items[1].set = 2;
    assert_int_equal(needs_open(&needs, &blob, sizeof blob, &err), -1);
    blob.items[1].set = 0;
    blob.sets[0].of[0].count = 3;
    assert_int_equal(needs_open(&needs, &blob, sizeof blob, &err), -1);
    assert_non_null(strstr(err.text, "needs 3 of 'a'"));
    blob.sets[0].of[0] = (struct needs_one){.resource = 1, .count = 1};
    assert_int_equal(needs_open(&needs, &blob, sizeof blob, &err), -1);
    memset(blob.resources[0].name, 'x', sizeof blob.resources[0].name);
    assert_int_equal(needs_open(&needs, &blob, sizeof blob, &err), -1);
}

static void test_joined_needs_cover_both(void **state)
{
    const struct needs_resource resources[] = {resource("a", 2), resource("b", 1)};
    struct needs_set set = set_of(1, &read_b), other = set_of(1, &both_a), writes = set_of(1, &one_b);

    (void)state;
    assert_true(needs_join(&set, &other, resources));
    assert_int_equal(set.n, 2);
    assert_int_equal(set.of[0].resource, 0);
    assert_int_equal(set.of[1].flags, NEEDS_SHARED);
    assert_true(needs_join(&set, &writes, resources));
    assert_int_equal(set.n, 2);
    assert_int_equal(set.of[1].flags, 0);
    assert_false(needs_equal(&set, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_unit_is_held_by_one_worker),
        cmocka_unit_test(test_all_or_nothing),
        cmocka_unit_test(test_readers_share_and_keep_writers_away),
        cmocka_unit_test(test_a_worker_goes_on_with_its_own_unit),
        cmocka_unit_test(test_what_a_dead_worker_held_is_free),
        cmocka_unit_test(test_a_unit_that_another_run_has_is_passed_over),
        cmocka_unit_test(test_tokens_come_evenly),
        cmocka_unit_test(test_no_window_has_more_tokens_than_its_rate),
        cmocka_unit_test(test_needs_are_checked),
        cmocka_unit_test(test_joined_needs_cover_both),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
