/*
 * table.h - rows of text in columns as wide as their longest cell. On a narrow terminal one column gives way, and columns
 * that one can do without are left out.
 *
 *     static const struct table_column columns[] = {{"time", TABLE_RIGHT}, {"test", TABLE_ELIDED}};
 *
 *     table_init(&table, columns, HS_COUNT(columns));
 *     table_add(&table, "1.2 s", strlen("1.2 s"));
 *     table_add(&table, id, id_len);
 *     table_render(&out, &table, &options);
 */
#ifndef HASTEN_TABLE_H
#define HASTEN_TABLE_H

#include "base/str.h"

#define TABLE_MAX_COLUMNS 12

enum table_kind {
    TABLE_LEFT,
    TABLE_RIGHT,
    TABLE_ELIDED, /* left; loses its middle where a row would be too long: one column at most */
};

struct table_column {
    const char *title; /* ASCII; borrowed */
    enum table_kind kind;
    unsigned spare; /* 0: never left out; else the column with the highest number goes first */
};

struct table {
    const struct table_column *columns; /* borrowed */
    size_t n_columns;
    struct str bytes; /* owned: every cell, one after another */
    size_t *ends;     /* owned: where each cell ends in bytes */
    size_t n_cells;
    size_t cap;
};

struct table_options {
    uint32_t columns; /* of the terminal; 0: no limit */
    bool colour;
    bool utf8;
};

void table_init(struct table *table, const struct table_column *columns, size_t n_columns);
void table_release(struct table *table);

/* The next cell, row after row. Any bytes: what cannot be printed is shown as text_add_visible does. */
void table_add(struct table *table, const char *text, size_t n);
void table_addf(struct table *table, const char *fmt, ...) HS_PRINTF(2, 3);

/* Adds the titles and the rows, each with its newline. Columns whose cells are all empty are left out. */
void table_render(struct str *out, const struct table *table, const struct table_options *options);

#endif
