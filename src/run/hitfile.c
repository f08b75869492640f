#include "run/hitfile.h"

#include "store/bulk.h"

#include <stdlib.h>

struct writing {
    struct bulk bulk;
    bool index;
    int64_t rowid;
    uint8_t *record; /* owned; of lines */
    size_t record_room;
    struct err *err; /* borrowed */
};

static int write_arc(uint32_t file, uint32_t context, int32_t from, int32_t to, void *data)
{
    struct writing *w = data;
    const int64_t values[] = {file, context, from, to, ++w->rowid};
    uint8_t record[BULK_RECORD];

    if (w->index)
        return bulk_entry(&w->bulk, record, bulk_integers(record, values, 5), w->err);
    return bulk_row(&w->bulk, w->rowid, record, bulk_integers(record, values, 4), w->err);
}

static int write_lines(uint32_t file, uint32_t context, const uint8_t *bits, size_t n_bytes, void *data)
{
    struct writing *w = data;
    const int64_t values[] = {file, context, ++w->rowid};

    if (BULK_RECORD + n_bytes > w->record_room) {
        w->record_room = BULK_RECORD + 2 * n_bytes;
        w->record = hs_realloc(w->record, w->record_room);
    }
    if (w->index)
        return bulk_entry(&w->bulk, w->record, bulk_integers(w->record, values, 3), w->err);
    return bulk_row(&w->bulk, w->rowid, w->record, bulk_integers_and_blob(w->record, values, 2, bits, n_bytes), w->err);
}

static int write_tree(struct writing *w, struct hitrows *rows, enum bulk_kind kind, uint32_t root)
{
    w->index = kind == BULK_INDEX;
    w->rowid = 0;
    if (bulk_begin(&w->bulk, kind, root, w->err) < 0)
        return -1;
    if ((rows->branch ? hitrows_each_arc(rows, write_arc, w) : hitrows_each_lines(rows, write_lines, w)) < 0)
        return -1;
    return bulk_end(&w->bulk, w->err);
}

int hitfile_write(struct hitrows *rows, const struct hitfile_target *target, uint64_t hash[2], struct err *err)
{
    struct writing w = {.err = err};
    int code = bulk_open(&w.bulk, target->path, err);

    if (code == 0)
        code = bulk_check(&w.bulk, BULK_INDEX, target->index_root, err);
    if (code == 0)
        code = write_tree(&w, rows, BULK_TABLE, target->table_root);
    if (code == 0)
        code = write_tree(&w, rows, BULK_INDEX, target->index_root);
    if (code == 0)
        code = bulk_finish(&w.bulk, err);
    hash[0] = w.bulk.hash[0];
    hash[1] = w.bulk.hash[1];
    bulk_close(&w.bulk);
    free(w.record);
    return code;
}
