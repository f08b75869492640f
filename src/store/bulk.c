#include "store/bulk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RUN = 64, /* pages in one write */
    LEAF_HEADER = 8,
    INTERIOR_HEADER = 12,
    HEADER_SIZE = 100,
    MOST_VARINT = 9,
    MOST_INDEX_RECORD = 100 /* of ours; what is below a quarter of the smallest page needs no overflow */
};

static const uint8_t leaf_type[] = {[BULK_TABLE] = 0x0d, [BULK_INDEX] = 0x0a};
static const uint8_t interior_type[] = {[BULK_TABLE] = 0x05, [BULK_INDEX] = 0x02};

/* ---- numbers, big-endian */

static uint32_t get16(const uint8_t *p)
{
    return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
    put16(p, value >> 16);
    put16(p + 2, value);
}

/* 7 bits a byte, the highest first, the top bit set in all but the last. Values here are below 2^56. */
static size_t put_varint(uint8_t *p, uint64_t value)
{
    size_t n = 1;

    while (value >> (7 * n))
        n++;
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)((value >> (7 * (n - 1 - i)) & 0x7f) | (i + 1 < n ? 0x80 : 0));
    return n;
}

/* The serial type of an integer, and how many bytes it takes in the body. */
static uint8_t integer_type(int64_t value, uint32_t *size)
{
    static const uint8_t sizes[] = {0, 1, 2, 3, 4, 6, 8};
    const uint64_t bits = (uint64_t)(value < 0 ? ~value : value);
    uint8_t type = 1;

    *size = 0;
    if (value == 0 || value == 1)
        return value ? 9 : 8;
    while (type < 6 && bits >> (8 * sizes[type] - 1))
        type++;
    *size = sizes[type];
    return type;
}

/* types: n of them. Answers the end of the body, which begins at `to`. */
static uint8_t *put_integers(uint8_t *types, uint8_t *to, const int64_t *values, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t size;

        types[i] = integer_type(values[i], &size);
        for (uint32_t k = size; k-- > 0;)
            *to++ = (uint8_t)((uint64_t)values[i] >> (8 * k));
    }
    return to;
}

size_t bulk_integers(uint8_t *out, const int64_t *values, uint32_t n)
{
    HS_CHECK(n <= BULK_MOST_INTEGERS);
    out[0] = (uint8_t)(1 + n);
    return (size_t)(put_integers(out + 1, out + 1 + n, values, n) - out);
}

size_t bulk_integers_and_blob(uint8_t *out, const int64_t *values, uint32_t n, const void *blob, size_t size)
{
    uint8_t type[MOST_VARINT];
    const size_t n_type = put_varint(type, 2 * (uint64_t)size + 12);
    uint8_t *to = out + 1 + n + n_type;

    HS_CHECK(n <= BULK_MOST_INTEGERS);
    out[0] = (uint8_t)(to - out);
    memcpy(out + 1 + n, type, n_type);
    to = put_integers(out + 1, to, values, n);
    if (size)
        memcpy(to, blob, size);
    return (size_t)(to - out) + size;
}

/* ---- pages */

static int system_failed(struct err *err)
{
    return err_sys(err, errno ? errno : EIO, "cannot write the data file");
}

static int read_all(const struct bulk *b, void *to, size_t size, uint64_t offset, struct err *err)
{
    const ssize_t n = pread(b->fd, to, size, (off_t)offset);

    if (n < 0)
        return err_sys(err, errno, "cannot read the data file");
    return (size_t)n == size ? 0 : err_set(err, "the data file is too short");
}

static int write_all(const struct bulk *b, const uint8_t *from, size_t size, uint64_t offset, struct err *err)
{
    while (size) {
        const ssize_t n = pwrite(b->fd, from, size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return system_failed(err);
        from += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

static uint64_t offset_of(const struct bulk *b, uint32_t page)
{
    return (uint64_t)(page - 1) * b->page_size;
}

static int flush(struct bulk *b, struct err *err)
{
    const uint32_t n = b->n_run;

    b->n_run = 0;
    return write_all(b, b->run, (size_t)n * b->page_size, offset_of(b, b->n_pages - n + 1), err);
}

/* SQLite locks bytes from 1 GiB on and never uses the page that they lie in. */
static bool is_lock_page(const struct bulk *b, uint32_t page)
{
    return page == (1u << 30) / b->page_size + 1;
}

/* Room for the next page of the file, zeroed. Its number is b->n_pages then. NULL: err is set. */
static uint8_t *next_page(struct bulk *b, struct err *err)
{
    uint8_t *page;

    if ((b->n_run == RUN || (b->n_run && is_lock_page(b, b->n_pages + 1))) && flush(b, err) < 0)
        return NULL;
    if (is_lock_page(b, b->n_pages + 1))
        b->n_pages++;
    if (b->n_pages >= UINT32_MAX - 2) {
        err_set(err, "the data file is too large");
        return NULL;
    }
    page = b->run + (size_t)b->n_run++ * b->page_size;
    b->n_pages++;
    memset(page, 0, b->page_size);
    return page;
}

static void mix(struct bulk *b, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;

        memcpy(&word, bytes + i, size - i < 8 ? size - i : 8);
        b->hash[0] = (b->hash[0] ^ word) * 0x9E3779B97F4A7C15ull;
        b->hash[0] ^= b->hash[0] >> 29;
        b->hash[1] = ((b->hash[1] << 23 | b->hash[1] >> 41) + word) * 0xD6E8FEB86659FD93ull;
    }
}

/* ---- levels */

static void add_child(struct bulk_level *level, uint32_t page, const void *separator, uint32_t size)
{
    uint32_t end;

    str_add(&level->pages, &page, sizeof page);
    str_add(&level->separators, separator, size);
    end = (uint32_t)level->separators.len;
    str_add(&level->ends, &end, sizeof end);
    if (size > level->longest)
        level->longest = size;
}

static void release_level(struct bulk_level *level)
{
    str_release(&level->pages);
    str_release(&level->separators);
    str_release(&level->ends);
    *level = (struct bulk_level){0};
}

static uint32_t number_at(const struct str *numbers, size_t i)
{
    uint32_t number;

    memcpy(&number, numbers->data + i * sizeof number, sizeof number);
    return number;
}

static const char *separator_at(const struct bulk_level *level, size_t i, uint32_t *size)
{
    const uint32_t from = i ? number_at(&level->ends, i - 1) : 0;

    *size = number_at(&level->ends, i) - from;
    return level->separators.data + from;
}

/* An interior page over children first to last: all but the last are cells. */
static void fill_interior(const struct bulk *b, uint8_t *page, const struct bulk_level *level, size_t first,
                          size_t last)
{
    uint32_t start = b->page_size;

    page[0] = interior_type[b->kind];
    put16(page + 3, (uint32_t)(last - first));
    put32(page + 8, number_at(&level->pages, last));
    for (size_t i = first; i < last; i++) {
        uint32_t size;
        const char *separator = separator_at(level, i, &size);

        start -= size + 4;
        put32(page + start, number_at(&level->pages, i));
        memcpy(page + start + 4, separator, size);
        put16(page + INTERIOR_HEADER + 2 * (i - first), start);
    }
    put16(page + 5, start);
}

static int write_root(struct bulk *b, struct err *err)
{
    return write_all(b, b->page, b->page_size, offset_of(b, b->root), err);
}

/* The pages over b->level; they are b->level then. */
static int climb(struct bulk *b, size_t n, size_t n_above, struct err *err)
{
    struct bulk_level above = {0};

    for (size_t i = 0; i < n_above; i++) {
        const size_t first = i * n / n_above;
        const size_t last = (i + 1) * n / n_above - 1;
        uint8_t *page = next_page(b, err);
        uint32_t size;
        const char *separator = separator_at(&b->level, last, &size);

        if (!page) {
            release_level(&above);
            return -1;
        }
        fill_interior(b, page, &b->level, first, last);
        add_child(&above, b->n_pages, separator, size);
    }
    release_level(&b->level);
    b->level = above;
    return 0;
}

static int write_interior(struct bulk *b, struct err *err)
{
    for (;;) {
        const size_t n = b->level.pages.len / sizeof(uint32_t);
        const size_t fits = (b->page_size - INTERIOR_HEADER) / (b->level.longest + 4 + 2) + 1;

        if (n <= fits) {
            memset(b->page, 0, b->page_size);
            fill_interior(b, b->page, &b->level, 0, n - 1);
            return write_root(b, err);
        }
        if (climb(b, n, (n + fits - 1) / fits, err) < 0)
            return -1;
    }
}

/* ---- leaves */

static void clear_leaf(struct bulk *b)
{
    memset(b->page, 0, b->page_size);
    b->n_cells = 0;
    b->start = b->page_size;
}

static void end_leaf(struct bulk *b)
{
    b->page[0] = leaf_type[b->kind];
    put16(b->page + 3, b->n_cells);
    put16(b->page + 5, b->start);
}

static int write_leaf(struct bulk *b, const void *separator, uint32_t size, struct err *err)
{
    uint8_t *page = next_page(b, err);

    if (!page)
        return -1;
    end_leaf(b);
    memcpy(page, b->page, b->page_size);
    add_child(&b->level, b->n_pages, separator, size);
    clear_leaf(b);
    return 0;
}

static bool has_room(const struct bulk *b, size_t size)
{
    return LEAF_HEADER + 2 * (b->n_cells + 1) + size <= b->start;
}

/* Where a cell of that size goes in the leaf. */
static uint8_t *add_cell(struct bulk *b, size_t size)
{
    b->start -= (uint32_t)size;
    put16(b->page + LEAF_HEADER + 2 * b->n_cells++, b->start);
    return b->page + b->start;
}

/* The rest of a record in pages of its own, each with the number of the next. Answers the first one, 0 with err. */
static uint32_t write_overflow(struct bulk *b, const uint8_t *rest, size_t size, struct err *err)
{
    const size_t each = b->page_size - 4;
    uint32_t first = 0;

    while (size) {
        const size_t n = size < each ? size : each;
        uint8_t *page = next_page(b, err);

        if (!page)
            return 0;
        first = first ? first : b->n_pages;
        memcpy(page + 4, rest, n);
        rest += n;
        size -= n;
        if (size)
            put32(page, b->n_pages + 1 + is_lock_page(b, b->n_pages + 1));
    }
    return first;
}

/* How much of a row's record lies in its leaf. */
static size_t local_size(const struct bulk *b, size_t size)
{
    const size_t least = (b->page_size - 12) * 32 / 255 - 23;
    const size_t some = least + (size - least) % (b->page_size - 4);

    if (size <= b->page_size - 35)
        return size;
    return some <= b->page_size - 35 ? some : least;
}

int bulk_row(struct bulk *b, int64_t rowid, const void *record, size_t size, struct err *err)
{
    const size_t local = local_size(b, size);
    uint8_t head[2 * MOST_VARINT];
    size_t n_head = put_varint(head, size);
    uint32_t overflow = 0;
    uint8_t *cell;

    n_head += put_varint(head + n_head, (uint64_t)rowid);
    mix(b, record, size);
    if (!has_room(b, n_head + local + (local < size ? 4 : 0))) {
        uint8_t last[MOST_VARINT];

        if (write_leaf(b, last, (uint32_t)put_varint(last, (uint64_t)b->rowid), err) < 0)
            return -1;
    }
    if (local < size) {
        overflow = write_overflow(b, (const uint8_t *)record + local, size - local, err);
        if (!overflow)
            return -1;
    }
    cell = add_cell(b, n_head + local + (overflow ? 4 : 0));
    memcpy(cell, head, n_head);
    memcpy(cell + n_head, record, local);
    if (overflow)
        put32(cell + n_head + local, overflow);
    b->rowid = rowid;
    return 0;
}

int bulk_entry(struct bulk *b, const void *record, size_t size, struct err *err)
{
    uint8_t *cell;

    HS_CHECK(size <= MOST_INDEX_RECORD);
    mix(b, record, size);
    if (!has_room(b, 1 + size)) {
        uint8_t between[1 + MOST_INDEX_RECORD]; /* the last entry goes up, so that no leaf stays empty */
        const uint32_t n = 1u + b->page[b->start];

        memcpy(between, b->page + b->start, n);
        memset(b->page + b->start, 0, n);
        b->start += n;
        b->n_cells--;
        put16(b->page + LEAF_HEADER + 2 * b->n_cells, 0);
        if (write_leaf(b, between, n, err) < 0)
            return -1;
    }
    cell = add_cell(b, 1 + size);
    cell[0] = (uint8_t)size;
    memcpy(cell + 1, record, size);
    return 0;
}

/* ---- the file */

int bulk_check(struct bulk *b, enum bulk_kind kind, uint32_t root, struct err *err)
{
    if (root < 2 || root > b->n_pages)
        return err_set(err, "the data file has no page %u", root);
    if (read_all(b, b->page, b->page_size, offset_of(b, root), err) < 0)
        return -1;
    if (b->page[0] != leaf_type[kind] || get16(b->page + 3) != 0)
        return err_set(err, "a table of the data file is not empty");
    return 0;
}

int bulk_begin(struct bulk *b, enum bulk_kind kind, uint32_t root, struct err *err)
{
    if (bulk_check(b, kind, root, err) < 0)
        return -1;
    b->kind = kind;
    b->root = root;
    b->rowid = 0;
    release_level(&b->level);
    clear_leaf(b);
    return 0;
}

int bulk_end(struct bulk *b, struct err *err)
{
    uint8_t last[MOST_VARINT];

    if (!b->level.pages.len) {
        end_leaf(b);
        return write_root(b, err);
    }
    if (write_leaf(b, last, b->kind == BULK_TABLE ? (uint32_t)put_varint(last, (uint64_t)b->rowid) : 0, err) < 0)
        return -1;
    return write_interior(b, err);
}

/* Rollback journal, no reserved bytes, format 4, no free pages, no vacuum by itself, UTF-8, and its size in the header. */
static int check_header(struct bulk *b, const uint8_t *header, struct err *err)
{
    struct stat stat;

    b->page_size = get16(header + 16) == 1 ? 65536 : get16(header + 16);
    b->n_pages = get32(header + 28);
    if (fstat(b->fd, &stat) < 0)
        return system_failed(err);
    if (memcmp(header, "SQLite format 3", 16) || header[18] != 1 || header[19] != 1 || header[20] != 0 ||
        get32(header + 36) != 0 || get32(header + 44) != 4 || get32(header + 52) != 0 || get32(header + 56) != 1 ||
        get32(header + 24) != get32(header + 92) || b->page_size < 512 ||
        stat.st_size != (off_t)((uint64_t)b->n_pages * b->page_size))
        return err_set(err, "the data file is of another form");
    return 0;
}

int bulk_open(struct bulk *b, const char *path, struct err *err)
{
    uint8_t header[HEADER_SIZE];

    *b = (struct bulk){.fd = open(path, O_RDWR | O_CLOEXEC)};
    if (b->fd < 0)
        return err_sys(err, errno, "cannot open the data file");
    if (read_all(b, header, sizeof header, 0, err) < 0 || check_header(b, header, err) < 0)
        return -1;
    b->run = hs_alloc((size_t)RUN * b->page_size);
    b->page = hs_alloc(b->page_size);
    return 0;
}

int bulk_finish(struct bulk *b, struct err *err)
{
    uint8_t header[HEADER_SIZE];
    uint32_t change;

    if (flush(b, err) < 0 || read_all(b, header, sizeof header, 0, err) < 0)
        return -1;
    change = get32(header + 24) + 1;
    put32(header + 24, change);
    put32(header + 28, b->n_pages);
    put32(header + 92, change);
    return write_all(b, header, sizeof header, 0, err);
}

void bulk_close(struct bulk *b)
{
    if (b->fd >= 0)
        close(b->fd);
    free(b->run);
    free(b->page);
    release_level(&b->level);
    *b = (struct bulk){.fd = -1};
}
