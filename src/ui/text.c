#include "ui/text.h"

#include "ui/text_table.h"

static uint32_t sequence_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first < 0xE0)
        return 2;
    if (first >= 0xE0 && first < 0xF0)
        return 3;
    return first >= 0xF0 && first < 0xF5 ? 4 : 0;
}

size_t text_decode(const char *s, size_t n, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint32_t length = sequence_length((unsigned char)s[0]);
    uint32_t value = (unsigned char)s[0];

    *code = TEXT_INVALID;
    if (length == 0 || length > n)
        return 1;
    if (length > 1)
        value &= 0x7Fu >> length;
    for (uint32_t i = 1; i < length; i++) {
        if (((unsigned char)s[i] & 0xC0) != 0x80)
            return 1;
        value = value << 6 | ((unsigned char)s[i] & 0x3F);
    }
    if (value < least[length] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
        return 1;
    *code = value;
    return length;
}

static bool in_table(const struct text_range *table, size_t n, uint32_t code)
{
    size_t lo = 0;

    while (lo < n) {
        const size_t middle = lo + (n - lo) / 2;

        if (code < table[middle].first)
            n = middle;
        else if (code > table[middle].last)
            lo = middle + 1;
        else
            return true;
    }
    return false;
}

uint32_t text_char_cells(uint32_t code)
{
    if (code < 0x20 || (code >= 0x7F && code < 0xA0))
        return 0;
    if (code < 0x300)
        return 1;
    if (in_table(no_cell, HS_COUNT(no_cell), code))
        return 0;
    return in_table(two_cells, HS_COUNT(two_cells), code) ? 2 : 1;
}

uint32_t text_cells(const char *s, size_t n)
{
    uint32_t cells = 0;
    uint32_t code;

    for (size_t i = 0; i < n;) {
        i += text_decode(s + i, n - i, &code);
        cells += text_char_cells(code);
    }
    return cells;
}

/*
 * Terminals disagree on the width of joined and variant emoji, and direction marks reorder the rest of the line:
 * without the invisible characters every terminal shows the same. Combining marks stay.
 */
static bool is_invisible(uint32_t code)
{
    return (code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
           (code >= 0x2060 && code <= 0x206F) || (code >= 0xFE00 && code <= 0xFE0F) || code == 0xFEFF ||
           code == 0x61C || code == 0x180E || (code >= 0xE0000 && code <= 0xE0FFF);
}

static void add_visible_char(struct str *out, const char *bytes, size_t n, uint32_t code, bool utf8)
{
    if (code < 0x20 || code == 0x7F)
        str_addf(out, "^%c", (char)(code ^ 0x40));
    else if (code >= 0x80 && code < 0xA0)
        str_addf(out, "\\x%02x", code);
    else if (code < 0x80)
        str_add(out, bytes, n);
    else if (is_invisible(code))
        return;
    else if (!utf8)
        str_add(out, "??", text_char_cells(code));
    else if (code == TEXT_INVALID)
        str_puts(out, "\xEF\xBF\xBD");
    else
        str_add(out, bytes, n);
}

void text_add_visible(struct str *out, const char *s, size_t n, bool utf8)
{
    uint32_t code;

    for (size_t i = 0; i < n;) {
        const size_t used = text_decode(s + i, n - i, &code);

        add_visible_char(out, s + i, used, code, utf8);
        i += used;
    }
}

/* Bytes of the longest start of s that takes at most `cells`; *got is what it takes. */
static size_t start_within(const char *s, size_t n, uint32_t cells, uint32_t *got)
{
    size_t at = 0;

    *got = 0;
    while (at < n) {
        uint32_t code;
        const size_t used = text_decode(s + at, n - at, &code);

        if (*got + text_char_cells(code) > cells)
            break;
        *got += text_char_cells(code);
        at += used;
    }
    return at;
}

/* Offset of the longest end of s that takes at most `cells` and does not begin with a combining character. */
static size_t end_within(const char *s, size_t n, uint32_t cells)
{
    const uint32_t all = text_cells(s, n);
    uint32_t got;
    uint32_t code;
    size_t at = start_within(s, n, all - cells, &got);

    if (got < all - cells) /* a character of two cells is cut in half */
        at += text_decode(s + at, n - at, &code);
    while (at < n) {
        const size_t used = text_decode(s + at, n - at, &code);

        if (text_char_cells(code) > 0)
            break;
        at += used;
    }
    return at;
}

void text_add_elided(struct str *out, const char *s, size_t n, uint32_t cells, bool utf8)
{
    const char *dots = utf8 ? "\xE2\x80\xA6" : "..";
    const uint32_t dots_cells = utf8 ? 1 : 2;
    struct str all = STR_INIT;
    uint32_t got;

    text_add_visible(&all, s, n, utf8);
    if (text_cells(str_text(&all), all.len) <= cells) {
        str_add(out, str_text(&all), all.len);
    } else if (cells < dots_cells + 2) {
        str_add(out, all.data, start_within(all.data, all.len, cells, &got));
    } else {
        const size_t head = start_within(all.data, all.len, (cells - dots_cells) / 3, &got);
        const size_t tail = end_within(all.data, all.len, cells - dots_cells - got);

        str_add(out, all.data, head);
        str_puts(out, dots);
        str_add(out, all.data + tail, all.len - tail);
    }
    str_release(&all);
}
