#include "run/hits.h"

#include "os/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* An arc in its place: 1 | from:21 | to:21, signed | number:21. */
#define FIELD 21
#define MASK ((1u << FIELD) - 1)

#define BACKED_AT_ONCE (1u << 20)

static void *at(const struct hits *hits, uint64_t offset)
{
    return (char *)hits->head + offset;
}

/* A file without a name; -errno where the disk has no such thing, or no room. */
static int make_file_on_disk(void)
{
    const int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    int code = fd < 0 ? -errno : ftruncate(fd, (off_t)HITS_CORE) != 0 ? -errno : shm_extend(fd, 0, BACKED_AT_ONCE);

    if (code < 0 && fd >= 0)
        close(fd);
    return code < 0 ? code : fd;
}

int hits_create(struct err *err)
{
    const int on_disk = make_file_on_disk();
    const int fd = on_disk >= 0 ? on_disk : shm_create("hasten-hits", HITS_CORE);
    struct hits hits = {0};

    if (fd < 0)
        return err_sys(err, -fd, "cannot make memory for coverage");
    void *head = mmap(NULL, sizeof(struct hits_head), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (head == MAP_FAILED) {
        close(fd);
        return err_set(err, "cannot map memory for coverage");
    }
    hits.head = head;
    memcpy(hits.head->magic, HITS_MAGIC, sizeof hits.head->magic);
    atomic_store(&hits.head->used, (sizeof(struct hits_head) + 63) & ~63ull);
    if (on_disk >= 0) {
        atomic_store(&hits.head->on_disk, 1);
        atomic_store(&hits.head->backed, BACKED_AT_ONCE);
    }
    munmap(head, sizeof(struct hits_head));
    return fd;
}

int hits_attach(struct hits *hits, int fd, struct err *err)
{
    void *memory;

    *hits = (struct hits){.fd = fcntl(fd, F_DUPFD_CLOEXEC, 10)};
    if (hits->fd < 0)
        return err_set(err, "cannot duplicate the descriptor of coverage's memory");
    memory = mmap(NULL, HITS_CORE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, hits->fd, 0);
    if (memory == MAP_FAILED) {
        close(hits->fd);
        return err_set(err, "cannot map coverage's memory (%llu bytes of addresses)", HITS_CORE);
    }
    hits->head = memory;
    if (memcmp(hits->head->magic, HITS_MAGIC, sizeof hits->head->magic) == 0)
        return 0;
    hits_detach(hits);
    return err_set(err, "that is not coverage's memory");
}

bool hits_is_used(int fd)
{
    uint32_t user;

    return pread(fd, &user, sizeof user, offsetof(struct hits_head, user)) == sizeof user && user == HITS_USED;
}

static void unmap_blocks(struct hits *hits)
{
    if (hits->blocks)
        munmap(hits->blocks, hits->blocks_size);
    hits->blocks = NULL;
}

void hits_detach(struct hits *hits)
{
    if (!hits->head)
        return;
    hits_forked(hits);
    unmap_blocks(hits);
    munmap(hits->head, HITS_CORE);
    close(hits->fd);
    *hits = (struct hits){.fd = -1};
}

void hits_forked(struct hits *hits)
{
    hits_settle(hits);
    if (hits->block)
        munmap(hits->block, HITS_BLOCK);
    hits->block = NULL;
}

void hits_settle(struct hits *hits)
{
    for (uint32_t i = 0; i < hits->n_full; i++)
        munmap(hits->full[i], HITS_BLOCK);
    free(hits->full);
    hits->full = NULL;
    hits->n_full = 0;
}

void hits_lose(struct hits *hits)
{
    atomic_fetch_add_explicit(&hits->head->n_lost, 1, memory_order_relaxed);
}

/* Writing where a disk is full would end the process. */
static bool back(struct hits *hits, uint64_t end)
{
    uint64_t backed = atomic_load(&hits->head->backed);

    if (!atomic_load(&hits->head->on_disk) || end <= backed)
        return true;
    end = (end + BACKED_AT_ONCE - 1) & ~(uint64_t)(BACKED_AT_ONCE - 1);
    if (shm_extend(hits->fd, backed, end - backed) < 0)
        return false;
    while (backed < end && !atomic_compare_exchange_weak(&hits->head->backed, &backed, end))
        ;
    return true;
}

/* Zero bytes of the core, 0: no room. What is never published is lost with its owner, a few bytes. */
static uint64_t take(struct hits *hits, size_t size)
{
    const uint64_t offset = atomic_fetch_add(&hits->head->used, (size + 7) & ~7ull);

    if (offset + size <= HITS_CORE && back(hits, offset + size))
        return offset;
    hits_lose(hits);
    return 0;
}

/* ---- files */

static uint64_t hash_of(const char *text, size_t size)
{
    uint64_t hash = 14695981039346656037ull; /* FNV-1a */

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (uint8_t)text[i]) * 1099511628211ull;
    return hash ^ hash >> 29;
}

static struct hits_file *find(const struct hits *hits, uint64_t from, uint64_t until, const char *path, size_t size,
                              uint32_t n_lines, uint32_t n_arcs)
{
    for (uint64_t offset = from; offset != until;) {
        struct hits_file *file = at(hits, offset);

        if (file->path_size == size && file->n_lines >= n_lines && file->arcs_room >= n_arcs &&
            memcmp(at(hits, file->path_at), path, size) == 0)
            return file;
        offset = file->next;
    }
    return NULL;
}

static uint32_t power_of_two(uint32_t least)
{
    uint32_t n = 64;

    while (n < least)
        n *= 2;
    return n;
}

static struct hits_file *make_file(struct hits *hits, const char *path, size_t size, uint32_t n_lines, uint32_t n_arcs)
{
    const size_t lines = (n_lines + 7) / 8;
    const uint32_t room = n_arcs ? power_of_two(n_arcs) : 0;
    const uint64_t offset = take(hits, sizeof(struct hits_file));
    struct hits_file *file;

    if (!offset)
        return NULL;
    file = at(hits, offset);
    file->path_at = take(hits, size + 1);
    file->lines_at = take(hits, lines);
    file->arcs_at = room ? take(hits, room * sizeof(uint64_t)) : 0;
    if (!file->path_at || !file->lines_at || (room && !file->arcs_at))
        return NULL;
    memcpy(at(hits, file->path_at), path, size);
    file->path_size = (uint32_t)size;
    file->n_lines = (uint32_t)lines * 8;
    file->arcs_room = room;
    file->id = atomic_fetch_add(&hits->head->n_files, 1);
    return file;
}

struct hits_file *hits_file(struct hits *hits, const char *path, size_t size, uint32_t n_lines, uint32_t n_arcs)
{
    _Atomic uint64_t *chain = &hits->head->chains[hash_of(path, size) % HITS_CHAINS];
    uint64_t newest = atomic_load_explicit(chain, memory_order_acquire);
    struct hits_file *file = find(hits, newest, 0, path, size, n_lines, n_arcs);
    struct hits_file *other = NULL;

    if (file)
        return file;
    file = make_file(hits, path, size, n_lines, n_arcs);
    if (!file)
        return NULL;
    do {
        file->next = newest;
        if (atomic_compare_exchange_strong_explicit(chain, &newest, (uint64_t)((char *)file - (char *)hits->head),
                                                    memory_order_acq_rel, memory_order_acquire))
            return file;
        other = find(hits, newest, file->next, path, size, n_lines, n_arcs);
    } while (!other);
    return other;
}

uint8_t *hits_lines(const struct hits *hits, const struct hits_file *file)
{
    return at(hits, file->lines_at);
}

const char *hits_path(const struct hits *hits, const struct hits_file *file)
{
    return at(hits, file->path_at);
}

/* ---- arcs */

static uint64_t pack(int32_t from, int32_t to)
{
    return 1ull << 63 | (uint64_t)((uint32_t)from & MASK) << (2 * FIELD) | (uint64_t)((uint32_t)to & MASK) << FIELD;
}

static int32_t signed_field(uint64_t value)
{
    const uint32_t field = (uint32_t)value & MASK;

    return field & 1u << (FIELD - 1) ? (int32_t)(field | ~MASK) : (int32_t)field;
}

uint32_t hits_arc(const struct hits *hits, struct hits_file *file, int32_t from, int32_t to)
{
    _Atomic uint64_t *places = at(hits, file->arcs_at);
    const uint64_t key = pack(from, to);
    const uint64_t only_key = ~(uint64_t)MASK;
    uint32_t number = HITS_NONE;
    uint32_t place = (uint32_t)((key ^ key >> 23) * 0x9E3779B97F4A7C15ull >> 40);

    for (uint32_t tries = 0; tries < file->arcs_room; tries++, place++) {
        _Atomic uint64_t *p = &places[place & (file->arcs_room - 1)];
        uint64_t found = atomic_load_explicit(p, memory_order_acquire);

        if (!found) {
            if (number == HITS_NONE)
                number = atomic_fetch_add(&file->n_arcs, 1);
            if (number >= file->arcs_room / 4 * 3)
                return HITS_NONE;
            if (atomic_compare_exchange_strong_explicit(p, &found, key | number, memory_order_acq_rel,
                                                        memory_order_acquire))
                return number;
        }
        if ((found & only_key) == key)
            return (uint32_t)found & MASK;
    }
    return HITS_NONE;
}

bool hits_arc_at(const struct hits *hits, const struct hits_file *file, uint32_t i, struct hits_pair *pair)
{
    const _Atomic uint64_t *places = at(hits, file->arcs_at);
    const uint64_t value = atomic_load_explicit(&places[i], memory_order_acquire);

    if (!value)
        return false;
    pair->from = signed_field(value >> (2 * FIELD));
    pair->to = signed_field(value >> FIELD);
    pair->number = (uint32_t)value & MASK;
    return true;
}

/* ---- contexts and pieces */

uint32_t hits_context(struct hits *hits, const char *name, size_t size)
{
    const uint64_t offset = take(hits, sizeof(struct hits_context) + size);
    struct hits_context *context;

    if (!offset)
        return HITS_NONE;
    context = at(hits, offset);
    context->id = atomic_fetch_add(&hits->head->n_contexts, 1);
    context->size = (uint32_t)size;
    memcpy(context->name, name, size);
    context->next = atomic_load_explicit(&hits->head->contexts, memory_order_acquire);
    while (!atomic_compare_exchange_weak_explicit(&hits->head->contexts, &context->next, offset, memory_order_acq_rel,
                                                  memory_order_acquire))
        ;
    return context->id;
}

static struct hits_piece *pieces_of(const struct hits_block *block)
{
    return (struct hits_piece *)(uintptr_t)(block + 1);
}

#define PIECES_PER_BLOCK ((HITS_BLOCK - sizeof(struct hits_block)) / sizeof(struct hits_piece))

static bool next_block(struct hits *hits)
{
    const uint64_t offset = HITS_CORE + (uint64_t)atomic_fetch_add(&hits->head->n_blocks, 1) * HITS_BLOCK;
    void *memory;

    if (hits->block) {
        hits->full = hs_realloc(hits->full, (hits->n_full + 1) * sizeof *hits->full);
        hits->full[hits->n_full++] = hits->block;
        hits->block = NULL;
    }
    if (shm_extend(hits->fd, offset, HITS_BLOCK) < 0)
        return false;
    memory = mmap(NULL, HITS_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, hits->fd, (off_t)offset);
    if (memory == MAP_FAILED)
        return false;
    hits->block = memory;
    return true;
}

uint8_t *hits_piece(struct hits *hits, uint32_t context, uint32_t file, bool is_arcs, uint32_t index)
{
    struct hits_piece *piece;
    uint32_t n;

    if ((!hits->block || atomic_load(&hits->block->n) == PIECES_PER_BLOCK) && !next_block(hits)) {
        hits_lose(hits);
        return NULL;
    }
    n = atomic_load_explicit(&hits->block->n, memory_order_relaxed);
    piece = &pieces_of(hits->block)[n];
    piece->context = context;
    piece->file = file;
    piece->index = index;
    piece->is_arcs = is_arcs;
    atomic_store_explicit(&hits->block->n, n + 1, memory_order_release);
    return piece->bits;
}

/* ---- reading */

int hits_each_file(const struct hits *hits, int (*visit)(const struct hits_file *file, void *data), void *data)
{
    for (uint32_t i = 0; i < HITS_CHAINS; i++)
        for (uint64_t offset = atomic_load(&hits->head->chains[i]); offset;) {
            const struct hits_file *file = at(hits, offset);

            if (visit(file, data) < 0)
                return -1;
            offset = file->next;
        }
    return 0;
}

int hits_each_context(const struct hits *hits, int (*visit)(const struct hits_context *context, void *data), void *data)
{
    for (uint64_t offset = atomic_load(&hits->head->contexts); offset;) {
        const struct hits_context *context = at(hits, offset);

        if (visit(context, data) < 0)
            return -1;
        offset = context->next;
    }
    return 0;
}

static int each_of_block(const struct hits_block *block, int (*visit)(const struct hits_piece *piece, void *data),
                         void *data)
{
    const uint32_t n = atomic_load_explicit(&block->n, memory_order_acquire);

    for (uint32_t i = 0; i < n && i < PIECES_PER_BLOCK; i++)
        if (visit(&pieces_of(block)[i], data) < 0)
            return -1;
    return 0;
}

/* A block may be missing at the end: its owner was killed, or had no memory, before it wrote anything. */
static int map_blocks(struct hits *hits)
{
    const off_t size = lseek(hits->fd, 0, SEEK_END);
    void *memory;

    unmap_blocks(hits);
    if (size < (off_t)(HITS_CORE + HITS_BLOCK))
        return 0;
    hits->blocks_size = (size_t)(size - (off_t)HITS_CORE) / HITS_BLOCK * HITS_BLOCK;
    memory = mmap(NULL, hits->blocks_size, PROT_READ, MAP_SHARED, hits->fd, (off_t)HITS_CORE);
    if (memory == MAP_FAILED)
        return -1;
    hits->blocks = memory;
    return 0;
}

int hits_each_piece(struct hits *hits, int (*visit)(const struct hits_piece *piece, void *data), void *data)
{
    if (map_blocks(hits) < 0)
        return -1;
    for (size_t at = 0; hits->blocks && at < hits->blocks_size; at += HITS_BLOCK)
        if (each_of_block((const void *)(hits->blocks + at), visit, data) < 0)
            return -1;
    return 0;
}
