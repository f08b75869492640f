#include "db/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PAGE_BYTES = 8192,
    SHORT_HEADER = 24,
    LONG_HEADER = 40,
    RECORD_HEADER = 24,
    RECORD_USUAL = 1024,
    RECORD_MOST = 1 << 30
};

/* Kinds of records (rmgrlist.h); the others change no table, or come with one of these. */
enum { RM_XLOG = 0, RM_XACT = 1, RM_RELMAP = 7, RM_HEAP2 = 9, RM_HEAP = 10, RM_SEQ = 15, RM_GENERIC = 20 };
enum { RM_CUSTOM = 128 };

enum { XLOG_SWITCH = 0x40, XLOG_FPI = 0xb0 };
enum {
    XACT_COMMIT = 0,
    XACT_COMMIT_PREPARED = 0x30,
    XACT_ABORT = 0x20,
    XACT_ABORT_PREPARED = 0x40,
    XACT_HAS_INFO = 0x80,
    XINFO_DBINFO = 1,
    XINFO_SUBXACTS = 2
};
enum { HEAP2_MULTI_INSERT = 0x50, HEAP_LOCK = 0x60, HEAP_INPLACE = 0x70, OPERATION = 0x70 };

enum { BLOCK_MOST = 32, BLOCK_XID = 252, BLOCK_ORIGIN = 253, DATA_LONG = 254, DATA_SHORT = 255 };
enum { FORK_IMAGE = 0x10, FORK_SAME = 0x80, IMAGE_HOLE = 0x01 };

struct reader {
    const struct wal_source *source;
    uint64_t at;
    uint64_t segment;         /* that is mapped */
    const unsigned char *map; /* NULL: none */
    unsigned char *record;    /* owned: what follows its header */
    size_t cap;
    uint64_t previous; /* where the last record began; 0: not known */
    struct err *err;
};

struct record {
    uint32_t bytes, xid;
    uint8_t info, kind;
    const unsigned char *data; /* after the header; bytes - RECORD_HEADER */
};

/* Transactions that have ended, each with its subtransactions behind it and a zero behind them. */
struct list {
    uint32_t *xids; /* owned, n */
    size_t n;
};

/* ---- bytes */

static uint32_t u32(const unsigned char *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof value);
    return value;
}

static uint64_t u64(const unsigned char *p)
{
    uint64_t value;

    memcpy(&value, p, sizeof value);
    return value;
}

static uint16_t u16(const unsigned char *p)
{
    uint16_t value;

    memcpy(&value, p, sizeof value);
    return value;
}

static void unmap(struct reader *r)
{
    if (r->map)
        munmap((void *)(uintptr_t)r->map, r->source->segment_bytes);
    r->map = NULL;
}

static int map_segment(struct reader *r, uint64_t number)
{
    const uint64_t per_id = UINT64_C(0x100000000) / r->source->segment_bytes;
    char path[400];
    void *map;
    int fd;

    if (r->map && r->segment == number)
        return 0;
    unmap(r);
    snprintf(path, sizeof path, "%.300s/%08X%08X%08X", r->source->folder, r->source->timeline,
             (unsigned)(number / per_id), (unsigned)(number % per_id));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(r->err, errno, "cannot read the write-ahead log '%s'", path);
    map = lseek(fd, 0, SEEK_END) == (off_t)r->source->segment_bytes
              ? mmap(NULL, r->source->segment_bytes, PROT_READ, MAP_SHARED, fd, 0)
              : MAP_FAILED;
    close(fd);
    if (map == MAP_FAILED)
        return err_set(r->err, "the write-ahead log '%s' has another size", path);
    r->map = map;
    r->segment = number;
    return 0;
}

/* Over the header of a page, when that is where the reader stands. */
static int enter_page(struct reader *r)
{
    const uint32_t segment_bytes = r->source->segment_bytes;

    if (map_segment(r, r->at / segment_bytes) < 0)
        return -1;
    if (r->at % PAGE_BYTES)
        return 0;
    if (u64(r->map + r->at % segment_bytes + 8) != r->at)
        return err_set(r->err, "the write-ahead log has no page at %llx", (unsigned long long)r->at);
    r->at += r->at % segment_bytes ? SHORT_HEADER : LONG_HEADER;
    return 0;
}

static int take(struct reader *r, unsigned char *to, size_t n)
{
    while (n > 0) {
        size_t part;

        if (enter_page(r) < 0)
            return -1;
        part = PAGE_BYTES - r->at % PAGE_BYTES;
        part = part < n ? part : n;
        memcpy(to, r->map + r->at % r->source->segment_bytes, part);
        to += part;
        n -= part;
        r->at += part;
    }
    return 0;
}

/* 1: a record. 0: the end. Each record names the one before it, so that a wrong turn is seen. */
static int next_record(struct reader *r, uint64_t to, struct record *record)
{
    unsigned char header[RECORD_HEADER];
    uint64_t start;

    r->at = (r->at + 7) & ~UINT64_C(7);
    if (r->at >= to)
        return 0;
    if (enter_page(r) < 0)
        return -1;
    start = r->at;
    if (start >= to)
        return 0;
    if (take(r, header, sizeof header) < 0)
        return -1;
    *record = (struct record){u32(header), u32(header + 4), header[16], header[17], NULL};
    if (record->bytes < RECORD_HEADER || record->bytes > RECORD_MOST || (r->previous && u64(header + 8) != r->previous))
        return err_set(r->err, "the write-ahead log has no record at %llx", (unsigned long long)start);
    r->previous = start;
    if (record->bytes > r->cap)
        r->record = hs_realloc(r->record, r->cap = (size_t)record->bytes * 2);
    if (take(r, r->record, record->bytes - RECORD_HEADER) < 0)
        return -1;
    HS_CHECK(r->record); /* there is room from the beginning on */
    record->data = r->record;
    if (record->kind == RM_XLOG && (record->info & 0xf0) == XLOG_SWITCH) /* the rest of the segment is empty */
        r->at = (r->at + r->source->segment_bytes - 1) / r->source->segment_bytes * r->source->segment_bytes;
    return 1;
}

/* ---- what a record says */

static bool changes_content(const struct record *record)
{
    switch (record->kind) {
    case RM_XLOG:
        return (record->info & 0xf0) == XLOG_FPI;
    case RM_HEAP2:
        return (record->info & OPERATION) == HEAP2_MULTI_INSERT;
    case RM_HEAP:
        return (record->info & OPERATION) != HEAP_LOCK;
    default:
        return record->kind == RM_SEQ || record->kind == RM_GENERIC || record->kind >= RM_CUSTOM;
    }
}

static bool is_for_good(const struct record *record)
{
    return record->kind != RM_HEAP2 && (record->kind != RM_HEAP || (record->info & OPERATION) == HEAP_INPLACE);
}

static void add_touch(struct wal_touches *touches, const struct wal_touch *touch)
{
    for (size_t i = touches->n; i > 0 && i + 16 > touches->n; i--) {
        struct wal_touch *known = &touches->items[i - 1];

        if (known->filenode == touch->filenode && known->xid == touch->xid && known->database == touch->database) {
            known->block = touch->block > known->block ? touch->block : known->block;
            return;
        }
    }
    if ((touches->n & (touches->n - 1)) == 0)
        touches->items = hs_realloc(touches->items, (touches->n ? touches->n * 2 : 1) * sizeof *touches->items);
    touches->items[touches->n++] = *touch;
}

static bool is_compressed(int major, uint8_t info)
{
    return major >= 15 ? (info & 0x1c) != 0 : (info & 0x02) != 0;
}

/* One reference to a block at *at, which moves on; -1: there is none. fork 0 is the table itself. */
static int read_block(const struct record *record, int major, size_t *at, size_t *following, uint32_t relation[3],
                      uint32_t *block)
{
    const unsigned char *p = record->data + *at;
    const size_t left = record->bytes - RECORD_HEADER - *at;
    size_t n = 4;
    uint8_t flags;

    if (left < 4)
        return -1;
    flags = p[1];
    *following += u16(p + 2);
    if (flags & FORK_IMAGE) {
        if (left < n + 5)
            return -1;
        *following += u16(p + n);
        n += is_compressed(major, p[n + 4]) && (p[n + 4] & IMAGE_HOLE) ? 7 : 5;
    }
    if (!(flags & FORK_SAME)) {
        if (left < n + 12)
            return -1;
        memcpy(relation, p + n, 12);
        n += 12;
    }
    if (left < n + 4)
        return -1;
    *block = u32(p + n);
    *at += n + 4;
    return flags & 0x0f;
}

/* The references to blocks come first; "following" is what they announce. */
static int read_blocks(const struct record *record, const struct wal_source *source, uint32_t database,
                       struct wal_touches *touches)
{
    const size_t n = record->bytes - RECORD_HEADER;
    const uint32_t xid = is_for_good(record) ? 0 : record->xid;
    uint32_t relation[3] = {0};
    size_t following = 0;

    for (size_t at = 0; at + following < n;) {
        const uint8_t id = record->data[at];
        uint32_t block;
        int fork;

        if (id == DATA_SHORT || id == DATA_LONG)
            return 0;
        if (id == BLOCK_XID || id == BLOCK_ORIGIN) {
            at += id == BLOCK_XID ? 5 : 3;
            continue;
        }
        if (id > BLOCK_MOST || (fork = read_block(record, source->major, &at, &following, relation, &block)) < 0)
            return -1;
        if (fork == 0 && (relation[1] == database || relation[1] == 0 || source->everywhere))
            add_touch(touches, &(struct wal_touch){relation[1], relation[2], xid, block});
    }
    return 0;
}

/* A record's own data, when it refers to no block. */
static const unsigned char *own_data(const struct record *record, size_t *n)
{
    const size_t left = record->bytes - RECORD_HEADER;
    size_t at = 0;

    while (at < left && (record->data[at] == BLOCK_XID || record->data[at] == BLOCK_ORIGIN))
        at += record->data[at] == BLOCK_XID ? 5 : 3;
    at += at < left && record->data[at] == DATA_LONG ? 5 : 2;
    *n = at < left ? left - at : 0;
    return record->data + at;
}

static void add_xid(struct list *list, uint32_t xid)
{
    if ((list->n & (list->n - 1)) == 0)
        list->xids = hs_realloc(list->xids, (list->n ? list->n * 2 : 1) * sizeof *list->xids);
    list->xids[list->n++] = xid;
}

/* xl_xact_commit, xl_xact_abort: time, which of the following there are, database, subtransactions. */
static void read_end(const struct record *record, struct list *ended)
{
    size_t n;
    const unsigned char *data = own_data(record, &n);
    size_t at = 8;
    uint32_t what = record->info & XACT_HAS_INFO && n >= at + 4 ? u32(data + at) : 0;

    if (!record->xid)
        return;
    add_xid(ended, record->xid);
    at += what & XINFO_DBINFO ? 12 : 4;
    if (what & XINFO_SUBXACTS && n >= at + 4)
        for (uint32_t i = 0, count = u32(data + at); i < count && at + 8 + 4 * (size_t)i <= n; i++)
            add_xid(ended, u32(data + at + 4 + 4 * (size_t)i));
    add_xid(ended, 0);
}

static int read_record(const struct record *record, const struct wal_source *source, uint32_t database,
                       struct wal_touches *touches, struct list *aborted, struct list *committed)
{
    const uint8_t operation = record->info & OPERATION;
    size_t n;

    if (record->kind == RM_XACT && (operation == XACT_ABORT || operation == XACT_ABORT_PREPARED))
        read_end(record, aborted);
    if (record->kind == RM_XACT && (operation == XACT_COMMIT || operation == XACT_COMMIT_PREPARED))
        read_end(record, committed);
    if (record->kind == RM_RELMAP) {
        const unsigned char *data = own_data(record, &n);

        touches->remapped |= n >= 4 && u32(data) == database;
        if (n >= 4 && u32(data) && u32(data) != database && source->everywhere)
            add_touch(touches, &(struct wal_touch){u32(data), 0, 0, 0});
    }
    return changes_content(record) ? read_blocks(record, source, database, touches) : 0;
}

/* ---- the whole */

static int by_number(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a;
    const uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static int by_relation(const void *a, const void *b)
{
    const struct wal_touch *x = a;
    const struct wal_touch *y = b;

    if (x->database != y->database)
        return x->database < y->database ? -1 : 1;
    return (x->filenode > y->filenode) - (x->filenode < y->filenode);
}

static bool has_silent(const struct wal_touches *touches, const struct list *committed)
{
    struct list touching = {0};
    bool touched = false, silent = false;

    for (size_t i = 0; i < touches->n; i++)
        if (touches->items[i].xid)
            add_xid(&touching, touches->items[i].xid);
    if (touching.n)
        qsort(touching.xids, touching.n, sizeof *touching.xids, by_number);
    for (size_t i = 0; i < committed->n && !silent; i++) {
        const uint32_t *xid = &committed->xids[i];

        silent = !*xid && !touched;
        touched = *xid && (touched || (touching.n && bsearch(xid, touching.xids, touching.n, sizeof *xid, by_number)));
    }
    free(touching.xids);
    return silent;
}

/* Without what was rolled back, and once for each relation. */
static void settle(struct wal_touches *touches, struct list *aborted)
{
    size_t n = 0;

    if (aborted->n)
        qsort(aborted->xids, aborted->n, sizeof *aborted->xids, by_number);
    if (touches->n)
        qsort(touches->items, touches->n, sizeof *touches->items, by_relation);
    for (size_t i = 0; i < touches->n; i++) {
        const struct wal_touch *touch = &touches->items[i];

        if (touch->xid && aborted->n &&
            bsearch(&touch->xid, aborted->xids, aborted->n, sizeof *aborted->xids, by_number))
            continue;
        if (n > 0 && by_relation(&touches->items[n - 1], touch) == 0) {
            if (touch->block > touches->items[n - 1].block)
                touches->items[n - 1].block = touch->block;
        } else
            touches->items[n++] = *touch;
    }
    touches->n = n;
}

int wal_read(const struct wal_source *source, uint64_t from, uint64_t to, uint32_t database,
             struct wal_touches *touches, struct err *err)
{
    struct reader r = {.source = source, .at = from, .err = err};
    struct list aborted = {0};
    struct list committed = {0};
    struct record record;
    int code;

    *touches = (struct wal_touches){0};
    r.record = hs_alloc(r.cap = RECORD_USUAL);
    while ((code = next_record(&r, to, &record)) == 1)
        if (read_record(&record, source, database, touches, &aborted, &committed) < 0) {
            code = err_set(err, "the write-ahead log has a record at %llx that is not understood",
                           (unsigned long long)r.previous);
            break;
        }
    touches->silent = source->everywhere && has_silent(touches, &committed);
    settle(touches, &aborted);
    unmap(&r);
    free(r.record);
    free(aborted.xids);
    free(committed.xids);
    if (code < 0)
        wal_touches_release(touches);
    return code;
}

void wal_touches_release(struct wal_touches *touches)
{
    free(touches->items);
    *touches = (struct wal_touches){0};
}

bool wal_position(const char *text, uint64_t *position)
{
    unsigned high, low;

    if (sscanf(text, "%X/%X", &high, &low) != 2)
        return false;
    *position = (uint64_t)high << 32 | low;
    return true;
}
