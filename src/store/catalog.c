#include "store/catalog.h"

#include <inttypes.h>
#include <string.h>

struct catalog_header {
    char magic[8];
    uint32_t n_items;
    uint32_t n_groups;
    uint64_t python_at;
    uint64_t python_size;
    uint64_t strings_at;
    uint64_t strings_size;
    uint64_t needs_at;
    uint64_t needs_size;
};

_Static_assert(sizeof(struct catalog_header) == 64, "catalog.h says 64 bytes");
_Static_assert(sizeof(struct catalog_item) == 24, "catalog.h says six 32-bit numbers");

static bool lies_inside(uint64_t at, uint64_t size, uint64_t low, uint64_t high)
{
    return at >= low && at <= high && size <= high - at;
}

static int check_header(const struct catalog_header *h, size_t size, struct err *err)
{
    const uint64_t items_end = sizeof *h + (uint64_t)h->n_items * sizeof(struct catalog_item);

    if (memcmp(h->magic, CATALOG_MAGIC, sizeof h->magic) != 0)
        return err_set(err, "not a catalog of this version of hasten (magic is not '" CATALOG_MAGIC "')");
    if (items_end > size)
        return err_set(err, "catalog of %zu bytes is too short for its %" PRIu32 " items", size, h->n_items);
    if (!lies_inside(h->strings_at, h->strings_size, items_end, size))
        return err_set(err, "catalog has its string area outside of its %zu bytes", size);
    if (!lies_inside(h->python_at, h->python_size, items_end, size))
        return err_set(err, "catalog has its python part outside of its %zu bytes", size);
    if (h->needs_size && (!lies_inside(h->needs_at, h->needs_size, items_end, size) || h->needs_at % 4))
        return err_set(err, "catalog has its needs outside of its %zu bytes", size);
    return 0;
}

static int check_items(const struct catalog *c, uint64_t strings_size, struct err *err)
{
    for (uint32_t i = 0; i < c->n_items; i++) {
        const struct catalog_item *item = &c->items[i];

        if (!lies_inside(item->id_at, item->id_len, 0, strings_size))
            return err_set(err, "catalog item %" PRIu32 " has its node id outside of the string area", i);
        if (item->group >= c->n_groups)
            return err_set(err, "catalog item %" PRIu32 " is of group %" PRIu32 ", but there are only %" PRIu32, i,
                           item->group, c->n_groups);
    }
    return 0;
}

int catalog_open(struct catalog *c, const void *blob, size_t size, struct err *err)
{
    struct catalog_header header;

    *c = (struct catalog){0};
    HS_CHECK((uintptr_t)blob % _Alignof(struct catalog_item) == 0);
    if (size < sizeof header)
        return err_set(err, "catalog of %zu bytes is shorter than its header", size);
    memcpy(&header, blob, sizeof header); /* a copy: the blob need not be aligned for 64-bit numbers */
    if (check_header(&header, size, err) < 0)
        return -1;
    *c = (struct catalog){
        .blob = blob,
        .size = size,
        .n_items = header.n_items,
        .n_groups = header.n_groups,
        .items = (const void *)((const char *)blob + sizeof header),
        .strings = (const char *)blob + header.strings_at,
        .python = (const char *)blob + header.python_at,
        .python_size = (size_t)header.python_size,
        .needs = header.needs_size ? (const char *)blob + header.needs_at : NULL,
        .needs_size = (size_t)header.needs_size,
    };
    if (check_items(c, header.strings_size, err) < 0) {
        *c = (struct catalog){0};
        return -1;
    }
    return 0;
}

const char *catalog_id(const struct catalog *c, uint32_t item, size_t *len)
{
    HS_CHECK(item < c->n_items);
    *len = c->items[item].id_len;
    return c->strings + c->items[item].id_at;
}
