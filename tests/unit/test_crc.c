#include "harness.h"

#include "base/crc.c" /* not the header: both ways of counting are tested, whichever this machine would choose */

#include <string.h>

static void test_crc32c_of_known_texts(void **state)
{
    unsigned char ones[32];

    (void)state;
    memset(ones, 0xff, sizeof ones);
    assert_int_equal(crc32c("123456789", 9, 0), 0xE3069283u);
    assert_int_equal(crc32c(ones, sizeof ones, 0), 0x62A8AB43u); /* RFC 3720, B.4 */
    assert_int_equal(crc32c("", 0, 0), 0);
}

/* Bit by bit, from the definition. */
static uint32_t slow_crc(const unsigned char *at, size_t n)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

static void test_every_length_and_alignment_equals_the_definition(void **state)
{
    unsigned char bytes[96];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 37 + 11);
    for (size_t at = 0; at < 9; at++)
        for (size_t n = 0; at + n <= sizeof bytes; n++)
            assert_int_equal(crc32c(bytes + at, n, 0), slow_crc(bytes + at, n));
    for (size_t at = 0; at < 9; at++)
        for (size_t n = 0; at + n <= sizeof bytes; n++)
            assert_int_equal(~step_tables(bytes + at, n, UINT32_MAX), slow_crc(bytes + at, n));
}

static void test_crc_of_two_parts_is_that_of_the_whole(void **state)
{
    const char *text = "a record's header, and its payload";
    const size_t n = strlen(text);

    (void)state;
    for (size_t cut = 0; cut <= n; cut++)
        assert_int_equal(crc32c(text + cut, n - cut, crc32c(text, cut, 0)), crc32c(text, n, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_of_known_texts),
        cmocka_unit_test(test_every_length_and_alignment_equals_the_definition),
        cmocka_unit_test(test_crc_of_two_parts_is_that_of_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
