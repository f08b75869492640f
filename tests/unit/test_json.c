#include "harness.h"

#include "base/json.h"

#include <string.h>

static void assert_quoted(const char *bytes, size_t n, const char *expected)
{
    struct str out = STR_INIT;

    json_string(&out, bytes, n);
    assert_string_equal(str_text(&out), expected);
    str_release(&out);
}

static void test_plain_text_and_escapes(void **state)
{
    (void)state;
    assert_quoted("", 0, "\"\"");
    assert_quoted("a b", 3, "\"a b\"");
    assert_quoted("\"\\\n\t\r\x7f", 6, "\"\\\"\\\\\\n\\t\\u000d\\u007f\"");
    assert_quoted("a\0b", 3, "\"a\\u0000b\"");
}

static void test_utf8_is_kept(void **state)
{
    (void)state;
    assert_quoted("\xc3\xa4", 2, "\"\xc3\xa4\"");
    assert_quoted("\xe2\x82\xac", 3, "\"\xe2\x82\xac\"");
    assert_quoted("\xf0\x9f\x98\x80", 4, "\"\xf0\x9f\x98\x80\"");
    assert_quoted("\xe2\x80\xa8", 3, "\"\\u2028\"");
}

static void test_what_is_not_utf8_becomes_a_replacement(void **state)
{
    (void)state;
    assert_quoted("\xff", 1, "\"\\ufffd\"");
    assert_quoted("\xc0\xaf", 2, "\"\\ufffd\\ufffd\"");                       /* overlong */
    assert_quoted("\xed\xa0\x80", 3, "\"\\ufffd\\ufffd\\ufffd\"");            /* surrogate */
    assert_quoted("\xf4\x90\x80\x80", 4, "\"\\ufffd\\ufffd\\ufffd\\ufffd\""); /* above U+10FFFF */
    assert_quoted("\xe2\x82", 2, "\"\\ufffd\\ufffd\"");                       /* cut off */
    assert_quoted("\xc3(", 2, "\"\\ufffd(\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_text_and_escapes),
        cmocka_unit_test(test_utf8_is_kept),
        cmocka_unit_test(test_what_is_not_utf8_becomes_a_replacement),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
