/* What a supervisor reads of a slot while its worker goes on: of one and the same item, or nothing. */
#include "harness.h"

#include "run/segment.h"

#include <pthread.h>
#include <unistd.h>

enum { ROUNDS = 400000 };

static struct slot *slot;
static atomic_bool over;

/* As a worker does (py/link.c): start and limit tell which item they belong to. */
static void *work(void *arg)
{
    (void)arg;
    for (uint32_t item = 1; item <= ROUNDS; item++) {
        atomic_thread_fence(memory_order_release);
        atomic_store_explicit(&slot->started_ns, item * 10u, memory_order_relaxed);
        atomic_store_explicit(&slot->limit_ns, item * 20u, memory_order_relaxed);
        atomic_store_explicit(&slot->current, item, memory_order_release);
        atomic_store_explicit(&slot->current, SEGMENT_NO_ITEM, memory_order_release);
    }
    atomic_store(&over, true);
    return NULL;
}

static void test_start_and_limit_are_of_the_item_that_is_told(void **state)
{
    struct segment segment;
    struct err err;
    const int fd = segment_create(&segment, 1, &err);
    uint32_t seen = 0;
    pthread_t thread;

    (void)state;
    assert_true(fd >= 0);
    slot = segment_slot(&segment, 0);
    atomic_store(&slot->current, SEGMENT_NO_ITEM);
    assert_int_equal(pthread_create(&thread, NULL, work, NULL), 0);
    while (!atomic_load(&over)) {
        uint64_t started, limit;
        const uint32_t item = slot_current(slot, &started, &limit);

        if (item == SEGMENT_NO_ITEM)
            continue;
        seen++;
        assert_int_equal(started, item * 10u);
        assert_int_equal(limit, item * 20u);
    }
    pthread_join(thread, NULL);
    atomic_store(&slot->current, 7);
    atomic_store(&slot->limit_ns, 5);
    assert_int_equal(slot_current(slot, &(uint64_t){0}, &(uint64_t){0}), 7);
    print_message("seen %u times\n", seen);
    segment_detach(&segment);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_and_limit_are_of_the_item_that_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
