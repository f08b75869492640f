/*
 * screen.h - a terminal in memory, for tests: what a person would see after the bytes that were written.
 *
 * A grid of cells, the rows scrolled off it, the cursor with its waiting wrap, save and restore, erasing, automatic
 * wrapping on and off, colours as one number for each cell. "\n" is also a carriage return, as the kernel's terminal
 * driver makes it. Written for the tests and the fuzz target; header only, so that both build without a list.
 */
#ifndef HASTEN_TEST_SCREEN_H
#define HASTEN_TEST_SCREEN_H

#include "base/str.h"
#include "ui/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCREEN_WIDE_REST 0xFFFFFFFFu /* the second cell of a wide character */

struct cell {
    uint32_t code; /* 0: empty */
    uint32_t attr; /* 0: plain */
};

struct cursor {
    uint32_t row;
    uint32_t column;
    uint32_t attr;
    bool waiting; /* the next character wraps */
};

struct screen {
    uint32_t columns;
    uint32_t rows;
    struct cell *cells; /* owned, rows * columns */
    struct str history; /* owned: rows scrolled off, as text */
    struct cursor at;
    struct cursor saved;
    bool no_wrap;
    uint32_t n_cut;     /* characters lost at the right edge while no_wrap */
    uint32_t n_sync;    /* depth of synchronized updates: 0 or 1 */
    uint32_t n_unknown; /* sequences this terminal does not know */
    char escape[256];   /* the sequence being read, without ESC */
    uint32_t n_escape;
    bool in_escape;
    char character[4]; /* the UTF-8 character being read */
    uint32_t n_character;
};

static inline void screen_init(struct screen *s, uint32_t columns, uint32_t rows)
{
    *s = (struct screen){.columns = columns, .rows = rows, .cells = hs_alloc(sizeof(struct cell) * columns * rows)};
}

static inline void screen_release(struct screen *s)
{
    free(s->cells);
    str_release(&s->history);
}

static inline struct cell *screen_cell(struct screen *s, uint32_t row, uint32_t column)
{
    HS_CHECK(row < s->rows && column < s->columns);
    return &s->cells[row * s->columns + column];
}

static inline void screen_add_char(struct str *out, uint32_t code)
{
    if (code < 0x80) {
        str_addf(out, "%c", (char)code);
    } else if (code < 0x800) {
        str_addf(out, "%c%c", (char)(0xC0 | code >> 6), (char)(0x80 | (code & 0x3F)));
    } else if (code < 0x10000) {
        str_addf(out, "%c%c%c", (char)(0xE0 | code >> 12), (char)(0x80 | (code >> 6 & 0x3F)),
                 (char)(0x80 | (code & 0x3F)));
    } else {
        str_addf(out, "%c%c%c%c", (char)(0xF0 | code >> 18), (char)(0x80 | (code >> 12 & 0x3F)),
                 (char)(0x80 | (code >> 6 & 0x3F)), (char)(0x80 | (code & 0x3F)));
    }
}

/* Adds one row as text without the blanks at its end; with_attr marks changes of colour as {n}. */
static inline void screen_add_row(struct str *out, struct screen *s, uint32_t row, bool with_attr)
{
    uint32_t end = s->columns;
    uint32_t attr = 0;

    while (end > 0 && (screen_cell(s, row, end - 1)->code == 0 || screen_cell(s, row, end - 1)->code == ' '))
        end--;
    for (uint32_t column = 0; column < end; column++) {
        const struct cell *cell = screen_cell(s, row, column);

        if (cell->code == SCREEN_WIDE_REST)
            continue;
        if (with_attr && cell->attr != attr)
            str_addf(out, "{%u}", cell->attr);
        attr = cell->attr;
        screen_add_char(out, cell->code ? cell->code : ' ');
    }
}

/* What stands in one row, owned by the caller. */
static inline char *screen_row(struct screen *s, uint32_t row)
{
    struct str text = STR_INIT;

    str_puts(&text, "");
    screen_add_row(&text, s, row, false);
    return text.data;
}

/* History and screen, a line for each row, without the empty ones at the end. Owned by the caller. */
static inline char *screen_text(struct screen *s, bool with_attr)
{
    struct str text = STR_INIT;

    str_add(&text, str_text(&s->history), s->history.len);
    for (uint32_t row = 0; row < s->rows; row++) {
        screen_add_row(&text, s, row, with_attr);
        str_puts(&text, "\n");
    }
    while (text.len > 0 && text.data[text.len - 1] == '\n')
        text.data[--text.len] = '\0';
    return text.data;
}

static inline void screen_erase(struct screen *s, uint32_t row, uint32_t from, uint32_t to)
{
    for (uint32_t column = from; column < to; column++)
        *screen_cell(s, row, column) = (struct cell){0};
}

static inline void screen_index(struct screen *s)
{
    s->at.waiting = false;
    if (s->at.row + 1 < s->rows) {
        s->at.row++;
        return;
    }
    screen_add_row(&s->history, s, 0, true);
    str_puts(&s->history, "\n");
    memmove(s->cells, s->cells + s->columns, sizeof(struct cell) * s->columns * (s->rows - 1));
    screen_erase(s, s->rows - 1, 0, s->columns);
}

static inline void screen_put(struct screen *s, uint32_t code)
{
    const uint32_t width = text_char_cells(code);

    if (width == 0)
        return;
    if (s->at.waiting || s->at.column + width > s->columns) {
        if (s->no_wrap) {
            s->n_cut++;
            return;
        }
        screen_index(s);
        s->at.column = 0;
    }
    if (width > s->columns)
        return;
    *screen_cell(s, s->at.row, s->at.column) = (struct cell){code, s->at.attr};
    if (width == 2)
        *screen_cell(s, s->at.row, s->at.column + 1) = (struct cell){SCREEN_WIDE_REST, s->at.attr};
    s->at.column += width;
    s->at.waiting = s->at.column == s->columns;
    s->at.column -= s->at.waiting;
}

static inline void screen_colour(struct screen *s, const uint32_t *params, uint32_t n)
{
    if (n == 0)
        s->at.attr = 0;
    for (uint32_t i = 0; i < n; i++)
        s->at.attr = params[i] ? s->at.attr * 131 + params[i] : 0;
}

/* Clearing all of the screen from the top left keeps it in the history, as tmux does. */
static inline void screen_keep(struct screen *s)
{
    uint32_t used = s->rows;
    struct str row = STR_INIT;

    for (; used > 0 && row.len == 0; used--)
        screen_add_row(&row, s, used - 1, false);
    used += row.len > 0;
    for (uint32_t i = 0; i < used; i++) {
        screen_add_row(&s->history, s, i, true);
        str_puts(&s->history, "\n");
    }
    str_release(&row);
}

static inline void screen_erase_screen(struct screen *s, uint32_t how)
{
    if (how == 0 && s->at.row == 0 && s->at.column == 0)
        screen_keep(s);
    for (uint32_t row = 0; row < s->rows; row++) {
        if (how == 2 || (how == 0 && row > s->at.row) || (how == 1 && row < s->at.row))
            screen_erase(s, row, 0, s->columns);
        else if (row == s->at.row)
            screen_erase(s, row, how == 0 ? s->at.column : 0, how == 0 ? s->columns : s->at.column + 1);
    }
}

static inline void screen_mode(struct screen *s, const uint32_t *params, uint32_t n, bool on)
{
    for (uint32_t i = 0; i < n; i++) {
        if (params[i] == 7)
            s->no_wrap = !on;
        else if (params[i] == 2026)
            s->n_sync = on;
    }
}

static inline void screen_move(struct screen *s, uint32_t row, uint32_t column)
{
    s->at.row = row < s->rows ? row : s->rows - 1;
    s->at.column = column < s->columns ? column : s->columns - 1;
    s->at.waiting = false;
}

static inline void screen_csi(struct screen *s)
{
    const char final = s->escape[s->n_escape - 1];
    const char *from = s->escape + 1 + (s->escape[1] == '?');
    uint32_t params[16] = {0};
    uint32_t n = 0;
    const struct cursor at = s->at;
    uint32_t first;

    for (; from < s->escape + s->n_escape - 1 && n < HS_COUNT(params); from++, n++)
        params[n] = (uint32_t)strtoul(from, (char **)&from, 10);
    first = params[0] ? params[0] : 1;
    first = first < 10000 ? first : 10000;
    /* clang-format off */
    switch (final) {
    case 'A': screen_move(s, at.row > first ? at.row - first : 0, at.column); break;
    case 'B': screen_move(s, at.row + first, at.column); break;
    case 'C': screen_move(s, at.row, at.column + first); break;
    case 'D': screen_move(s, at.row, at.column > first ? at.column - first : 0); break;
    case 'G': screen_move(s, at.row, first - 1); break;
    case 'H': screen_move(s, first - 1, params[1] ? params[1] - 1 : 0); break;
    case 'J': screen_erase_screen(s, params[0]); break;
    case 'K': screen_erase(s, at.row, params[0] ? 0 : at.column, params[0] == 1 ? at.column + 1 : s->columns); break;
    case 'm': screen_colour(s, params, n); break;
    case 'h': case 'l': screen_mode(s, params, n, final == 'h'); break;
    default: s->n_unknown++; break;
    }
    /* clang-format on */
}

static inline void screen_escape_done(struct screen *s)
{
    s->in_escape = false;
    /* clang-format off */
    switch (s->escape[0]) {
    case '[': screen_csi(s); break;
    case ']': break;
    case '7': s->saved = s->at; break;
    case '8': s->at = s->saved; break;
    case 'D': screen_index(s); break;
    default: s->n_unknown++; break;
    }
    /* clang-format on */
}

static inline void screen_control(struct screen *s, unsigned char byte)
{
    if (byte == '\n')
        screen_index(s);
    if (byte == '\n' || byte == '\r')
        screen_move(s, s->at.row, 0);
    else if (byte == '\b')
        screen_move(s, s->at.row, s->at.column ? s->at.column - 1 : 0);
    else if (byte == '\t')
        screen_move(s, s->at.row, (s->at.column / 8 + 1) * 8);
    else if (byte == 0x1B)
        s->in_escape = true, s->n_escape = 0;
}

static inline void screen_escape_byte(struct screen *s, unsigned char byte)
{
    if (byte == 0x1B) {
        s->n_escape = 0;
        return;
    }
    if (byte < 0x20 && (s->n_escape == 0 || !strchr("]P_^X", s->escape[0]))) {
        screen_control(s, byte); /* acts in the middle of a sequence */
        return;
    }
    if (s->n_escape < sizeof s->escape - 1)
        s->escape[s->n_escape++] = (char)byte;
    s->escape[s->n_escape] = '\0';
    if (strchr("P_^X", s->escape[0]))
        return; /* a string: the next ESC ends it */
    if (s->escape[0] == '[' ? s->n_escape > 1 && byte >= 0x40 : s->escape[0] == ']' ? byte == 7 : byte >= 0x30)
        screen_escape_done(s); /* 0x20 to 0x2F come before the last byte of a sequence */
}

static inline void screen_byte(struct screen *s, unsigned char byte)
{
    uint32_t code;

    if (s->in_escape) {
        screen_escape_byte(s, byte);
        return;
    }
    if (s->n_character && (byte & 0xC0) != 0x80) {
        s->n_character = 0;
        screen_put(s, TEXT_INVALID);
    }
    if (byte < 0x20) {
        screen_control(s, byte);
        return;
    }
    s->character[s->n_character++] = (char)byte;
    if (byte >= 0x80 && text_decode(s->character, s->n_character, &code) == 1 && s->n_character < 4 &&
        (unsigned char)s->character[0] >= 0xC2 &&
        s->n_character < ((unsigned char)s->character[0] >= 0xE0 ? 3u : 2u) + ((unsigned char)s->character[0] >= 0xF0))
        return; /* not complete */
    text_decode(s->character, s->n_character, &code);
    s->n_character = 0;
    screen_put(s, code);
}

static inline void screen_write(struct screen *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        screen_byte(s, (unsigned char)bytes[i]);
}

/* Cuts or widens without folding lines anew, as xterm does; rows leave at the top when the cursor would be lost. */
static inline void screen_resize(struct screen *s, uint32_t columns, uint32_t rows)
{
    struct screen old = *s;

    while (old.at.row >= rows) { /* scroll the old grid until the cursor's row fits */
        const uint32_t row = old.at.row;

        old.at.row = old.rows - 1;
        screen_index(&old);
        old.at.row = row - 1;
    }
    s->cells = hs_alloc(sizeof(struct cell) * columns * rows);
    s->columns = columns;
    s->rows = rows;
    s->history = old.history;
    screen_move(s, old.at.row, old.at.column);
    for (uint32_t row = 0; row < rows && row < old.rows; row++)
        for (uint32_t column = 0; column < columns && column < old.columns; column++)
            *screen_cell(s, row, column) = *screen_cell(&old, row, column);
    free(old.cells);
}

#endif
