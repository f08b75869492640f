/*
 * needs.h - which tests need which exclusive things ([tool.hasten.resources]): how it is written into a catalog, and the
 * check that what is written there makes sense. Pure. Native byte order, everything aligned to 4 bytes:
 *
 *      0  u32 n_resources, n_sets, n_items, reserved
 *     16  struct needs_resource[n_resources]
 *      .  struct needs_set[n_sets]        different combinations of needs
 *      .  struct needs_item[n_items]      one for each test of the catalog
 */
#ifndef HASTEN_NEEDS_H
#define HASTEN_NEEDS_H

#include "base/err.h"

enum { NEEDS_MOST_RESOURCES = 64, NEEDS_MOST_UNITS = 1024, NEEDS_MOST_SETS = 256, NEEDS_MOST = 8 };

enum needs_resource_flags {
    NEEDS_MACHINE = 1, /* counts for all runs of this user on the machine */
    NEEDS_READERS = 2, /* some test needs it shared */
};

enum needs_flags { NEEDS_SHARED = 1 }; /* beside others that need it shared */

/* For how long a unit is held: as long as the fixtures that use it live. */
enum needs_level { NEEDS_TEST, NEEDS_CLASS, NEEDS_MODULE, NEEDS_PACKAGE, NEEDS_SESSION };

struct needs_resource {
    char name[48];        /* NUL-terminated */
    uint32_t n_units;     /* 0: a rate alone */
    uint32_t flags;       /* enum needs_resource_flags */
    uint32_t interval_us; /* between two tokens; 0: no rate */
    uint32_t burst;       /* tokens that may be taken at once after a pause; at least 1 */
};

struct needs_one {
    uint16_t resource;
    uint16_t count; /* units */
    uint16_t calls; /* tokens of the rate, for each test */
    uint8_t flags;  /* enum needs_flags */
    uint8_t level;  /* enum needs_level */
};

struct needs_set {
    uint32_t n;
    uint32_t reserved;
    struct needs_one of[NEEDS_MOST]; /* resources ascend */
};

struct needs_item {
    uint32_t set; /* 1 + index of its set; 0: needs nothing */
    uint32_t
        block; /* tests of one block stay on one worker, which holds the units from the first to the last; 0: alone */
};

struct needs {
    uint32_t n_resources;
    uint32_t n_sets;
    uint32_t n_items;
    const struct needs_resource *resources; /* borrowed, as all of them */
    const struct needs_set *sets;
    const struct needs_item *items;
};

/* blob: borrowed, aligned to 4. size 0: nobody needs anything. On -1 *needs is empty. */
int needs_open(struct needs *needs, const void *blob, size_t size, struct err *err);

/* One set that covers both. False when it would have more than NEEDS_MOST entries or needs more units than there are. */
bool needs_join(struct needs_set *set, const struct needs_set *other, const struct needs_resource *resources);

bool needs_equal(const struct needs_set *a, const struct needs_set *b);

#endif
