#include "base/json.h"

/* Bytes of the UTF-8 character at `at`, 0 when it is not one (overlong, surrogate, above U+10FFFF, cut off). */
static size_t character(const unsigned char *at, size_t left)
{
    static const struct {
        unsigned char from, to, second_from, second_to, size;
    } forms[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3}, {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t f = 0; f < HS_COUNT(forms); f++) {
        if (at[0] < forms[f].from || at[0] > forms[f].to)
            continue;
        if (left < forms[f].size)
            return 0;
        if (forms[f].size > 1 && (at[1] < forms[f].second_from || at[1] > forms[f].second_to))
            return 0;
        for (size_t i = 2; i < forms[f].size; i++)
            if ((at[i] & 0xc0) != 0x80)
                return 0;
        return forms[f].size;
    }
    return 0;
}

static void add_ascii(struct str *out, unsigned char c)
{
    switch (c) {
    case '"':
        str_puts(out, "\\\"");
        break;
    case '\\':
        str_puts(out, "\\\\");
        break;
    case '\n':
        str_puts(out, "\\n");
        break;
    case '\t':
        str_puts(out, "\\t");
        break;
    default:
        if (c < 0x20 || c == 0x7f)
            str_addf(out, "\\u%04x", c);
        else
            str_add(out, &c, 1);
    }
}

static bool breaks_lines(const unsigned char *at, size_t size)
{
    return size == 3 && at[0] == 0xe2 && at[1] == 0x80 && (at[2] == 0xa8 || at[2] == 0xa9);
}

void json_string(struct str *out, const char *bytes, size_t n)
{
    const unsigned char *at = (const unsigned char *)bytes;

    str_add(out, "\"", 1);
    while (n > 0) {
        const size_t size = character(at, n);
        const size_t step = size ? size : 1;

        if (size == 0)
            str_puts(out, "\\ufffd");
        else if (size == 1)
            add_ascii(out, at[0]);
        else if (breaks_lines(at, size))
            str_addf(out, "\\u20%02x", at[2] - 0x80u);
        else
            str_add(out, at, size);
        at += step;
        n -= step;
    }
    str_add(out, "\"", 1);
}
