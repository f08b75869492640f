/*
 * map.h - string -> uint32_t, open addressing, for node ids (100,000 entries and more).
 *
 * Keys are borrowed: they must live as long as the map. Not thread-safe.
 */
#ifndef HASTEN_MAP_H
#define HASTEN_MAP_H

#include "base/base.h"

struct map_entry;

struct map {
    struct map_entry *entries; /* owned */
    size_t n_slots;            /* 0 or a power of two */
    size_t n_used;
};

#define MAP_INIT {0}

void map_release(struct map *map);
/* Sets key to value; an existing key's value is replaced. */
void map_put(struct map *map, const char *key, size_t len, uint32_t value);
/* True and *value set when key is there; *value untouched when not. */
bool map_get(const struct map *map, const char *key, size_t len, uint32_t *value);

#endif
