#include "run/hitrows.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

struct hitrows_part {
    uint32_t file; /* row, from hitrows_sort() on; its number before */
    uint32_t context;
    uint32_t number;     /* of the file */
    uint32_t first;      /* line or number of an arc that the first bit stands for */
    const uint8_t *bits; /* borrowed; NULL: all arcs of the file */
    size_t n_bytes;
    bool is_arcs;
};

struct hitrows_arc {
    uint32_t file; /* row */
    int32_t from, to;
    uint32_t number;     /* of the file in the memory ... */
    uint32_t arc_number; /* ... and there of the arc */
};

#define OWN UINT32_MAX /* context of a part that belongs to none */

/* ---- what there is */

static void add_part(struct hitrows *rows, const struct hitrows_part *part)
{
    if (rows->n_parts == rows->parts_room) {
        rows->parts_room = rows->parts_room ? 2 * rows->parts_room : 1024;
        rows->parts = hs_realloc(rows->parts, rows->parts_room * sizeof *rows->parts);
    }
    rows->parts[rows->n_parts++] = *part;
    rows->file_ran[part->number] = true;
    if (part->context == OWN)
        rows->own_ran = true;
    else
        rows->context_ran[part->context] = true;
}

static bool is_zero(const uint8_t *bits, size_t n_bytes)
{
    while (n_bytes && !bits[n_bytes - 1])
        n_bytes--;
    return !n_bytes;
}

static bool has_arcs(const struct hitrows *rows, const struct hits_file *file)
{
    struct hits_pair pair;

    for (uint32_t i = 0; i < file->arcs_room; i++)
        if (hits_arc_at(rows->hits, file, i, &pair))
            return true;
    return false;
}

static int note_file(const struct hits_file *file, void *data)
{
    struct hitrows *rows = data;
    const struct hitrows_part lines = {.file = file->id,
                                       .context = OWN,
                                       .number = file->id,
                                       .bits = hits_lines(rows->hits, file),
                                       .n_bytes = file->n_lines / 8};
    const struct hitrows_part arcs = {.file = file->id, .context = OWN, .number = file->id, .is_arcs = true};

    if (file->id >= rows->n_files)
        return 0;
    rows->files[file->id] = file;
    if (atomic_load(&rows->hits->head->by_context) == HITS_LINES_BY_CONTEXT)
        return 0; /* its arcs are what their numbers mean, and it has no lines */
    if (!is_zero(lines.bits, lines.n_bytes))
        add_part(rows, &lines);
    if (rows->branch && has_arcs(rows, file))
        add_part(rows, &arcs);
    return 0;
}

static int note_context(const struct hits_context *context, void *data)
{
    struct hitrows *rows = data;

    if (context->id < rows->n_contexts)
        rows->contexts[context->id] = context;
    return 0;
}

static int note_piece(const struct hits_piece *piece, void *data)
{
    struct hitrows *rows = data;
    const struct hitrows_part part = {.file = piece->file,
                                      .context = piece->context,
                                      .number = piece->file,
                                      .first = piece->index * HITS_PIECE_BITS,
                                      .bits = piece->bits,
                                      .n_bytes = sizeof piece->bits,
                                      .is_arcs = piece->is_arcs};

    if ((!piece->is_arcs || rows->branch) && piece->file < rows->n_files && rows->files[piece->file] &&
        piece->context < rows->n_contexts && rows->contexts[piece->context] && !is_zero(part.bits, part.n_bytes))
        add_part(rows, &part);
    return 0;
}

int hitrows_open(struct hitrows *rows, struct hits *hits, bool branch, struct err *err)
{
    *rows = (struct hitrows){.hits = hits, .branch = branch};
    rows->n_files = atomic_load(&hits->head->n_files);
    rows->n_contexts = atomic_load(&hits->head->n_contexts);
    rows->files = hs_alloc((rows->n_files + 1) * sizeof *rows->files);
    rows->contexts = hs_alloc((rows->n_contexts + 1) * sizeof *rows->contexts);
    rows->file_ran = hs_alloc(rows->n_files + 1);
    rows->context_ran = hs_alloc(rows->n_contexts + 1);
    hits_each_file(hits, note_file, rows);
    hits_each_context(hits, note_context, rows);
    if (hits_each_piece(hits, note_piece, rows) < 0)
        return err_set(err, "coverage's memory cannot be read");
    return 0;
}

void hitrows_close(struct hitrows *rows)
{
    for (uint32_t i = 0; rows->places && i < rows->n_files; i++)
        free(rows->places[i]);
    free(rows->places);
    free(rows->arcs);
    free(rows->first_arc);
    free(rows->bits);
    free(rows->lines);
    free(rows->parts);
    free(rows->files);
    free(rows->contexts);
    free(rows->file_ran);
    free(rows->context_ran);
    *rows = (struct hitrows){0};
}

/* ---- order */

static uint32_t file_of(const struct hitrows_part *part)
{
    return part->file;
}

static uint32_t context_of(const struct hitrows_part *part)
{
    return part->context;
}

/* By counting; keeps the order of equals. keys: 0 to n_keys - 1. */
static void sort_parts(struct hitrows *rows, uint32_t n_keys, uint32_t (*key_of)(const struct hitrows_part *part))
{
    struct hitrows_part *sorted = hs_alloc(rows->n_parts * sizeof *sorted);
    size_t *next = hs_alloc(((size_t)n_keys + 1) * sizeof *next);

    for (size_t i = 0; i < rows->n_parts; i++)
        next[key_of(&rows->parts[i]) + 1]++;
    for (uint32_t key = 0; key < n_keys; key++)
        next[key + 1] += next[key];
    for (size_t i = 0; i < rows->n_parts; i++)
        sorted[next[key_of(&rows->parts[i])]++] = rows->parts[i];
    free(next);
    free(rows->parts);
    rows->parts = sorted;
    rows->parts_room = rows->n_parts;
}

static void give_rows(struct hitrows *rows, const struct hitrows_ids *ids, uint32_t *n_contexts)
{
    for (size_t i = 0; i < rows->n_parts; i++) {
        struct hitrows_part *part = &rows->parts[i];

        part->file = ids->files[part->number];
        part->context = part->context == OWN ? ids->own : ids->contexts[part->context];
        rows->n_rows = part->file > rows->n_rows ? part->file : rows->n_rows;
        *n_contexts = part->context > *n_contexts ? part->context : *n_contexts;
    }
}

static int by_row(const void *left, const void *right)
{
    const struct hitrows_arc *a = left;
    const struct hitrows_arc *b = right;

    if (a->file != b->file)
        return a->file < b->file ? -1 : 1;
    if (a->from != b->from)
        return a->from < b->from ? -1 : 1;
    return a->to < b->to ? -1 : a->to > b->to;
}

/* All arcs of the files that have rows; one that several records of a path have is there several times. */
static size_t gather_arcs(struct hitrows *rows, const struct hitrows_ids *ids)
{
    size_t room = 0;
    size_t n = 0;

    for (uint32_t number = 0; number < rows->n_files; number++)
        room += rows->file_ran[number] ? rows->files[number]->arcs_room : 0;
    rows->arcs = hs_alloc((room + 1) * sizeof *rows->arcs);
    for (uint32_t number = 0; number < rows->n_files; number++) {
        const struct hits_file *file = rows->file_ran[number] ? rows->files[number] : NULL;

        for (uint32_t i = 0; file && i < file->arcs_room; i++) {
            struct hits_pair pair;

            if (hits_arc_at(rows->hits, file, i, &pair))
                rows->arcs[n++] = (struct hitrows_arc){ids->files[number], pair.from, pair.to, number, pair.number};
        }
    }
    qsort(rows->arcs, n, sizeof *rows->arcs, by_row);
    return n;
}

static uint32_t *places_of(struct hitrows *rows, uint32_t number)
{
    if (!rows->places[number]) {
        rows->places[number] = hs_alloc(rows->files[number]->arcs_room * sizeof *rows->places[number]);
        memset(rows->places[number], 0xff, rows->files[number]->arcs_room * sizeof *rows->places[number]);
    }
    return rows->places[number];
}

/* Numbers of arcs become places in the order of their file's arcs. Answers the largest number of arcs of a file. */
static uint32_t sort_arcs(struct hitrows *rows, const struct hitrows_ids *ids)
{
    const size_t n = gather_arcs(rows, ids);
    uint32_t n_kept = 0;
    uint32_t most = 0;

    rows->places = hs_alloc((rows->n_files + 1) * sizeof *rows->places);
    rows->first_arc = hs_alloc(((size_t)rows->n_rows + 2) * sizeof *rows->first_arc);
    for (size_t i = 0; i < n; i++) {
        const struct hitrows_arc arc = rows->arcs[i];

        if (!n_kept || by_row(&arc, &rows->arcs[n_kept - 1]) != 0)
            rows->arcs[n_kept++] = arc;
        rows->first_arc[arc.file + 1] = n_kept;
        places_of(rows, arc.number)[arc.arc_number] = n_kept - 1;
    }
    for (uint32_t row = 1; row <= rows->n_rows + 1; row++)
        if (rows->first_arc[row] < rows->first_arc[row - 1])
            rows->first_arc[row] = rows->first_arc[row - 1];
    for (uint32_t row = 0; row <= rows->n_rows; row++)
        if (rows->first_arc[row + 1] - rows->first_arc[row] > most)
            most = rows->first_arc[row + 1] - rows->first_arc[row];
    return most;
}

void hitrows_sort(struct hitrows *rows, const struct hitrows_ids *ids)
{
    uint32_t n_contexts = 0;
    uint32_t most_arcs = 0;
    size_t most_lines = 0;

    give_rows(rows, ids, &n_contexts);
    sort_parts(rows, n_contexts + 1, context_of);
    sort_parts(rows, rows->n_rows + 1, file_of);
    if (rows->branch)
        most_arcs = sort_arcs(rows, ids);
    for (size_t i = 0; i < rows->n_parts; i++) {
        const struct hitrows_part *part = &rows->parts[i];
        const size_t end = part->is_arcs ? 0 : part->first + 8 * part->n_bytes;

        most_lines = end > most_lines ? end : most_lines;
    }
    rows->bits = hs_alloc((most_arcs / 64 + 1) * sizeof *rows->bits);
    rows->lines = hs_alloc(most_lines / 8 + 1);
}

/* ---- visits */

/* One part after the last one of the row that begins at i. */
static size_t end_of_row(const struct hitrows *rows, size_t i)
{
    const struct hitrows_part *first = &rows->parts[i];

    while (i < rows->n_parts && rows->parts[i].file == first->file && rows->parts[i].context == first->context)
        i++;
    return i;
}

static void set_bit(uint64_t *bits, uint32_t i)
{
    bits[i / 64] |= 1ull << i % 64;
}

/* Its arcs, as bits for places from `base` on. */
static void add_arcs(const struct hitrows *rows, const struct hitrows_part *part, uint32_t base)
{
    const uint32_t *places = rows->places[part->number];
    const uint32_t room = rows->files[part->number]->arcs_room;

    for (uint32_t i = 0; !part->bits && i < room; i++)
        if (places[i] != UINT32_MAX)
            set_bit(rows->bits, places[i] - base);
    for (size_t at = 0; part->bits && at < part->n_bytes; at += 8) {
        uint64_t word;

        memcpy(&word, part->bits + at, sizeof word);
        for (word = le64toh(word); word; word &= word - 1) {
            const uint32_t number = part->first + 8 * (uint32_t)at + (uint32_t)__builtin_ctzll(word);

            if (number < room && places[number] != UINT32_MAX)
                set_bit(rows->bits, places[number] - base);
        }
    }
}

/* Answers the number of bytes, without zeros at the end. */
static size_t add_lines(const struct hitrows *rows, const struct hitrows_part *part)
{
    uint8_t *bytes = rows->lines + part->first / 8;
    size_t n = 0;

    for (size_t i = 0; i < part->n_bytes; i++) {
        bytes[i] |= part->bits[i];
        n = bytes[i] ? i + 1 : n;
    }
    return n ? n + part->first / 8 : 0;
}

/* One row's arcs and lines on their way to the visitor. */
struct walk {
    const struct hitrows *rows;
    const struct hitrows_part *row;
    int32_t next; /* lines before it are done */
    int32_t end;  /* no line from here on */
    int (*visit)(uint32_t file, uint32_t context, int32_t from, int32_t to, void *data);
    void *data;
};

/* The lines before that one which ran and which nothing leaves. */
static int pass_lines(struct walk *walk, int32_t until)
{
    while (walk->next < until) {
        const int32_t line = walk->next++;
        const uint8_t byte = walk->rows->lines[line / 8];

        if (!byte)
            walk->next = (line | 7) + 1;
        else if (byte >> line % 8 & 1 && walk->visit(walk->row->file, walk->row->context, line, line, walk->data) < 0)
            return -1;
    }
    return 0;
}

static int pass_arc(struct walk *walk, const struct hitrows_arc *arc)
{
    if (pass_lines(walk, arc->from < walk->end ? arc->from : walk->end) < 0)
        return -1;
    if (walk->next == arc->from)
        walk->next++;
    return walk->visit(walk->row->file, walk->row->context, arc->from, arc->to, walk->data);
}

static int walk_row(struct hitrows *rows, struct walk *walk, uint32_t base, uint32_t n)
{
    for (uint32_t i = 0; i <= n / 64; i++) {
        uint64_t word = rows->bits[i];

        rows->bits[i] = 0;
        for (; word; word &= word - 1)
            if (pass_arc(walk, &rows->arcs[base + i * 64 + (uint32_t)__builtin_ctzll(word)]) < 0)
                return -1;
    }
    return pass_lines(walk, walk->end);
}

int hitrows_each_arc(struct hitrows *rows,
                     int (*visit)(uint32_t file, uint32_t context, int32_t from, int32_t to, void *data), void *data)
{
    for (size_t i = 0; i < rows->n_parts;) {
        const size_t end = end_of_row(rows, i);
        const uint32_t base = rows->first_arc[rows->parts[i].file];
        struct walk walk = {.rows = rows, .row = &rows->parts[i], .visit = visit, .data = data};
        size_t n_bytes = 0;

        for (; i < end; i++) {
            const struct hitrows_part *part = &rows->parts[i];
            const size_t n = part->is_arcs ? 0 : add_lines(rows, part);

            if (part->is_arcs)
                add_arcs(rows, part, base);
            n_bytes = n > n_bytes ? n : n_bytes;
        }
        walk.end = (int32_t)(8 * n_bytes);
        if (walk_row(rows, &walk, base, rows->first_arc[walk.row->file + 1] - base) < 0)
            return -1;
        memset(rows->lines, 0, n_bytes);
    }
    return 0;
}

int hitrows_each_lines(struct hitrows *rows,
                       int (*visit)(uint32_t file, uint32_t context, const uint8_t *bits, size_t n_bytes, void *data),
                       void *data)
{
    for (size_t i = 0; i < rows->n_parts;) {
        const struct hitrows_part *row = &rows->parts[i];
        const size_t end = end_of_row(rows, i);
        size_t most = 0;

        for (; i < end; i++) {
            const size_t n = add_lines(rows, &rows->parts[i]);

            most = n > most ? n : most;
        }
        if (visit(row->file, row->context, rows->lines, most, data) < 0)
            return -1;
        memset(rows->lines, 0, most);
    }
    return 0;
}
