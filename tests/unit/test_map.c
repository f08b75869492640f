#include "harness.h"

#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_empty_map_has_nothing(void **state)
{
    struct map map = MAP_INIT;
    uint32_t value = 7;

    (void)state;
    assert_false(map_get(&map, "a", 1, &value));
    assert_int_equal(value, 7);
    map_release(&map);
}

static void test_put_replaces(void **state)
{
    struct map map = MAP_INIT;
    uint32_t value = 0;

    (void)state;
    map_put(&map, "one", 3, 1);
    map_put(&map, "one", 3, 2);
    assert_int_equal(map.n_used, 1);
    assert_true(map_get(&map, "one", 3, &value));
    assert_int_equal(value, 2);
    map_release(&map);
    assert_null(map.entries);
}

static void test_keys_may_hold_any_bytes_and_be_empty(void **state)
{
    struct map map = MAP_INIT;
    uint32_t value = 0;

    (void)state;
    map_put(&map, "a\0b", 3, 1);
    map_put(&map, "a\0c", 3, 2);
    map_put(&map, "a", 1, 3);
    map_put(&map, "", 0, 4);
    assert_true(map_get(&map, "a\0b", 3, &value) && value == 1);
    assert_true(map_get(&map, "a\0c", 3, &value) && value == 2);
    assert_true(map_get(&map, "a", 1, &value) && value == 3);
    assert_true(map_get(&map, "", 0, &value) && value == 4);
    map_release(&map);
}

enum { N_IDS = 100000, ID_SIZE = 64 };

static void test_hundred_thousand_node_ids_are_all_found(void **state)
{
    char (*ids)[ID_SIZE] = hs_alloc((size_t)N_IDS * ID_SIZE);
    struct map map = MAP_INIT;

    (void)state;
    for (uint32_t i = 0; i < N_IDS; i++) {
        snprintf(ids[i], ID_SIZE, "tests/test_module.py::test_name[%u-value]", (unsigned)i);
        map_put(&map, ids[i], strlen(ids[i]), i);
    }
    assert_int_equal(map.n_used, N_IDS);
    for (uint32_t i = 0; i < N_IDS; i++) {
        uint32_t value = UINT32_MAX;

        assert_true(map_get(&map, ids[i], strlen(ids[i]), &value));
        assert_int_equal(value, i);
    }
    assert_false(map_get(&map, "tests/test_module.py::test_name[x]", 34, &(uint32_t){0}));
    map_release(&map);
    free(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_map_has_nothing),
        cmocka_unit_test(test_put_replaces),
        cmocka_unit_test(test_keys_may_hold_any_bytes_and_be_empty),
        cmocka_unit_test(test_hundred_thousand_node_ids_are_all_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
