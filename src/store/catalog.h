/*
 * catalog.h - what the template collected: one blob that travels as a memfd from the template to the supervisor, lies
 * in the journal, and is read by the reporter. Written by python/hasten/template.py through _native, read here.
 *
 *      0  char magic[8]     "hscat 01"
 *      8  u32 n_items
 *     12  u32 n_groups      dense ids of groups are below this
 *     16  u64 python_at     offset of the Python part (pickle: locations, keywords, collect reports, warnings ...)
 *     24  u64 python_size
 *     32  u64 strings_at    offset of the string area
 *     40  u64 strings_size
 *     48  u64 needs_at      offset of what tests need (sched/needs.h), a multiple of 4
 *     56  u64 needs_size    0: nobody needs anything
 *     64  struct catalog_item items[n_items]
 *      .  string area: node ids in UTF-8, not NUL-terminated
 *      .  Python part
 *
 * Valid when every offset and length lies inside the blob and every group is below n_groups; catalog_open checks all
 * of it once, so that nobody after it has to.
 */
#ifndef HASTEN_CATALOG_H
#define HASTEN_CATALOG_H

#include "base/err.h"

#define CATALOG_MAGIC "hscat 01"
#define CATALOG_LATE 0x80000000u

struct catalog_item {
    uint32_t id_at; /* node id: offset in the string area */
    uint32_t id_len;
    uint32_t file;       /* dense id of the file */
    uint32_t group;      /* dense id of the --dist group */
    uint32_t affinity;   /* see sched/plan.h; CATALOG_LATE beside it: not before any test without it, on any worker */
    uint32_t timeout_ms; /* own limit of this test; 0: the run's */
};

struct catalog {
    const char *blob; /* borrowed */
    size_t size;
    uint32_t n_items;
    uint32_t n_groups;
    const struct catalog_item *items; /* in blob */
    const char *strings;              /* in blob */
    const char *python;               /* in blob */
    size_t python_size;
    const char *needs; /* in blob; not looked into here */
    size_t needs_size;
};

/* blob: borrowed as long as c is used, aligned to 4 bytes. On -1 c is empty. */
int catalog_open(struct catalog *c, const void *blob, size_t size, struct err *err);
const char *catalog_id(const struct catalog *c, uint32_t item, size_t *len); /* borrowed, not NUL-terminated */

#endif
