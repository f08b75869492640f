#include "base/map.h"

#include <stdlib.h>
#include <string.h>

struct map_entry {
    const char *key; /* borrowed; NULL: free slot */
    size_t len;
    uint32_t hash;
    uint32_t value;
};

/* FNV-1a with a last mix: node ids differ mostly at their end, and the slot is taken from the low bits. */
static uint32_t hash_of(const char *key, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)key[i]) * 0x100000001b3u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return (uint32_t)(h >> 32);
}

/* The slot that holds key, or the free one where it belongs. There is always a free one: the map is never full. */
static struct map_entry *find(const struct map *map, const char *key, size_t len, uint32_t hash)
{
    const size_t mask = map->n_slots - 1;
    size_t at = hash & mask;

    for (;; at = (at + 1) & mask) {
        struct map_entry *e = &map->entries[at];

        if (!e->key || (e->hash == hash && e->len == len && memcmp(e->key, key, len) == 0))
            return e;
    }
}

static void grow(struct map *map)
{
    struct map_entry *old = map->entries;
    const size_t n_old = map->n_slots;

    map->n_slots = n_old ? n_old * 2 : 16;
    map->entries = hs_alloc(map->n_slots * sizeof *map->entries);
    for (size_t i = 0; i < n_old; i++)
        if (old[i].key)
            *find(map, old[i].key, old[i].len, old[i].hash) = old[i];
    free(old);
}

void map_release(struct map *map)
{
    free(map->entries);
    *map = (struct map)MAP_INIT;
}

void map_put(struct map *map, const char *key, size_t len, uint32_t value)
{
    const uint32_t hash = hash_of(key, len);
    struct map_entry *e;

    if ((map->n_used + 1) * 4 > map->n_slots * 3)
        grow(map);
    e = find(map, key, len, hash);
    if (!e->key)
        map->n_used++;
    *e = (struct map_entry){.key = key, .len = len, .hash = hash, .value = value};
}

bool map_get(const struct map *map, const char *key, size_t len, uint32_t *value)
{
    const struct map_entry *e;

    if (map->n_used == 0)
        return false;
    e = find(map, key, len, hash_of(key, len));
    if (!e->key)
        return false;
    *value = e->value;
    return true;
}
