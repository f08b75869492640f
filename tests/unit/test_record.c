#include "harness.h"

#include "store/record.h"

#include <string.h>

static void test_every_outcome_has_a_name_of_its_own(void **state)
{
    (void)state;
    assert_string_equal(outcome_name(OUTCOME_PASSED), "passed");
    assert_string_equal(outcome_name(OUTCOME_XFAILED), "xfailed");
    assert_string_equal(outcome_name(OUTCOME_RERUN), "rerun");
    for (unsigned a = 0; a < OUTCOME_COUNT; a++) {
        assert_string_not_equal(outcome_name((enum record_outcome)a), "unknown");
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(outcome_name((enum record_outcome)a), outcome_name((enum record_outcome)b));
    }
}

static void test_an_outcome_of_a_later_version_is_unknown(void **state)
{
    (void)state;
    assert_string_equal(outcome_name(OUTCOME_COUNT), "unknown");
    assert_string_equal(outcome_name((enum record_outcome)65535), "unknown");
}

static void test_span_is_a_multiple_of_8_and_holds_the_payload(void **state)
{
    (void)state;
    for (uint32_t size = 0; size < 40; size++) {
        const struct record r = {.size = size};

        assert_int_equal(record_span(&r) % 8, 0);
        assert_true(record_span(&r) >= 64 + size && record_span(&r) < 64 + size + 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_outcome_has_a_name_of_its_own),
        cmocka_unit_test(test_an_outcome_of_a_later_version_is_unknown),
        cmocka_unit_test(test_span_is_a_multiple_of_8_and_holds_the_payload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
