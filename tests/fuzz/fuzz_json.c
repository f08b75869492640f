/* Any bytes: one quoted line of valid UTF-8 without control characters or a bare quote. */
#include "base/json.h"

#include <string.h>

static void check_line(const char *at, size_t n)
{
    HS_CHECK(n >= 2 && at[0] == '"' && at[n - 1] == '"');
    for (size_t i = 1; i + 1 < n; i++) {
        HS_CHECK((unsigned char)at[i] >= 0x20 && at[i] != '"');
        if (at[i] == '\\') {
            i++;
            HS_CHECK(i + 1 < n && strchr("\"\\ntu", at[i]));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct str once = STR_INIT;
    struct str twice = STR_INIT;

    json_string(&once, (const char *)bytes, n);
    check_line(once.data, once.len);
    json_string(&twice, once.data, once.len);
    HS_CHECK(!strstr(twice.data, "\\ufffd") || strstr(once.data, "\\ufffd")); /* what we write is UTF-8 */
    str_release(&once);
    str_release(&twice);
    return 0;
}
