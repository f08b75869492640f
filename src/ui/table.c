#include "ui/table.h"

#include "ui/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GAP 2u
#define GOOD_ELIDED 24u /* cells of the elided column for which others are left out */
#define LEAST_ELIDED 8u /* cells that it keeps however narrow the terminal is */

struct layout {
    uint32_t width[TABLE_MAX_COLUMNS]; /* 0: left out */
    size_t last;                       /* the last column that is shown: nothing stands behind its text */
    bool utf8;
};

void table_init(struct table *table, const struct table_column *columns, size_t n_columns)
{
    HS_CHECK(n_columns > 0 && n_columns <= TABLE_MAX_COLUMNS);
    *table = (struct table){.columns = columns, .n_columns = n_columns};
}

void table_release(struct table *table)
{
    str_release(&table->bytes);
    free(table->ends);
    table->ends = NULL;
    table->n_cells = table->cap = 0;
}

void table_add(struct table *table, const char *text, size_t n)
{
    if (table->n_cells == table->cap) {
        table->cap = table->cap ? table->cap * 2 : 64;
        table->ends = hs_realloc(table->ends, table->cap * sizeof *table->ends);
    }
    text_add_visible(&table->bytes, text, n, true);
    table->ends[table->n_cells++] = table->bytes.len;
}

void table_addf(struct table *table, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    table_add(table, text, strlen(text));
}

static const char *cell(const struct table *table, size_t i, size_t *n)
{
    const size_t from = i ? table->ends[i - 1] : 0;

    *n = table->ends[i] - from;
    return str_text(&table->bytes) + from;
}

static void measure(const struct table *table, struct layout *layout)
{
    *layout = (struct layout){.last = 0};
    for (size_t i = 0; i < table->n_cells; i++) {
        const size_t column = i % table->n_columns;
        size_t n;
        const char *text = cell(table, i, &n);
        const uint32_t cells = text_cells(text, n);

        if (cells > layout->width[column])
            layout->width[column] = cells;
    }
    for (size_t c = 0; c < table->n_columns; c++) {
        const uint32_t title = (uint32_t)strlen(table->columns[c].title);

        if (!layout->width[c])
            continue;
        layout->last = c;
        if (layout->width[c] < title)
            layout->width[c] = title;
    }
}

/* Of a row; with least: the elided column as narrow as it gets while columns can still be left out. */
static uint32_t row_cells(const struct table *table, const struct layout *layout, bool least)
{
    uint32_t all = 0;

    for (size_t c = 0; c < table->n_columns; c++) {
        const bool elided = table->columns[c].kind == TABLE_ELIDED;
        const uint32_t width = layout->width[c];

        all += least && elided && width > GOOD_ELIDED ? GOOD_ELIDED : width;
        all += width && c != layout->last ? GAP : 0;
    }
    return all;
}

/* False when there is none left to leave out. */
static bool leave_out_one(const struct table *table, struct layout *layout)
{
    size_t worst = table->n_columns;

    for (size_t c = 0; c < table->n_columns; c++)
        if (layout->width[c] && table->columns[c].spare &&
            (worst == table->n_columns || table->columns[c].spare > table->columns[worst].spare))
            worst = c;
    if (worst == table->n_columns)
        return false;
    layout->width[worst] = 0;
    return true;
}

static void fit(const struct table *table, struct layout *layout, uint32_t columns)
{
    uint32_t all;

    while (row_cells(table, layout, true) > columns && leave_out_one(table, layout))
        ;
    all = row_cells(table, layout, false);
    for (size_t c = 0; c < table->n_columns && all > columns; c++) {
        uint32_t *width = &layout->width[c];

        if (table->columns[c].kind == TABLE_ELIDED && *width)
            *width = *width - LEAST_ELIDED > all - columns && *width > LEAST_ELIDED ? *width - (all - columns)
                                                                                    : LEAST_ELIDED;
    }
}

static void pad(struct str *out, uint32_t n)
{
    while (n--)
        str_puts(out, " ");
}

static void add_cell(struct str *out, const struct layout *layout, size_t c, enum table_kind kind, const char *text,
                     size_t n)
{
    const uint32_t width = layout->width[c];
    struct str shown = STR_INIT;
    uint32_t cells;

    text_add_elided(&shown, text, n, width, layout->utf8);
    cells = text_cells(str_text(&shown), shown.len);
    if (kind == TABLE_RIGHT)
        pad(out, width - cells);
    str_add(out, str_text(&shown), shown.len);
    if (c != layout->last)
        pad(out, (kind == TABLE_RIGHT ? 0 : width - cells) + GAP);
    str_release(&shown);
}

static void add_titles(struct str *out, const struct table *table, const struct layout *layout,
                       const struct table_options *options)
{
    if (options->colour)
        str_puts(out, "\x1b[2m");
    for (size_t c = 0; c < table->n_columns; c++)
        if (layout->width[c])
            add_cell(out, layout, c, table->columns[c].kind, table->columns[c].title, strlen(table->columns[c].title));
    str_puts(out, options->colour ? "\x1b[m\n" : "\n");
}

void table_render(struct str *out, const struct table *table, const struct table_options *options)
{
    struct layout layout;

    if (!table->n_cells)
        return;
    measure(table, &layout);
    layout.utf8 = options->utf8;
    if (options->columns)
        fit(table, &layout, options->columns);
    add_titles(out, table, &layout, options);
    for (size_t i = 0; i < table->n_cells; i++) {
        const size_t c = i % table->n_columns;
        size_t n;
        const char *text = cell(table, i, &n);

        if (layout.width[c])
            add_cell(out, &layout, c, table->columns[c].kind, text, n);
        if (c + 1 == table->n_columns)
            str_puts(out, "\n");
    }
}
