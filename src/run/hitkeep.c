/* hitkeep.c - see hitkeep.h. */
#include "run/hitkeep.h"

#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool hitkeep_path(const char *journal, char *path, size_t size)
{
    const char *dot = strrchr(journal, '.');
    const int n = dot ? snprintf(path, size, "%.*s.hits", (int)(dot - journal), journal) : -1;

    return n > 0 && (size_t)n < size;
}

int hitkeep_link(int fd, const char *path)
{
    char name[40];

    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, name, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
}

/* A file of the old memory, and where it is in the new one. */
struct moved {
    uint32_t id;       /* there */
    bool taken;        /* it has not changed since */
    uint32_t *numbers; /* owned: old number of an arc -> new one */
    uint32_t n_numbers;
};

struct taking {
    struct hits old;
    struct hits now;
    struct timespec ended; /* of the journal's last record */
    struct moved *files;   /* owned: by old id */
    uint32_t n_files;
    uint32_t *contexts; /* owned: old id -> new one */
    uint32_t n_contexts;
    struct hitkeep_merge *merge;
};

static bool has_changed(const struct taking *t, const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return false;
    return st.st_mtim.tv_sec > t->ended.tv_sec ||
           (st.st_mtim.tv_sec == t->ended.tv_sec && st.st_mtim.tv_nsec > t->ended.tv_nsec);
}

static void note_changed(struct hitkeep_merge *merge, const char *path)
{
    if (strcmp(merge->changed, path) == 0)
        return; /* a second record of the same file */
    merge->n_changed++;
    snprintf(merge->changed, sizeof merge->changed, "%s", path);
}

static void take_lines(struct taking *t, const struct hits_file *file, const struct hits_file *own)
{
    const uint8_t *from = hits_lines(&t->old, file);
    uint8_t *to = hits_lines(&t->now, own);

    for (uint32_t i = 0; i < file->n_lines; i++)
        if (from[i / 8] & 1u << i % 8)
            hits_set(to, i);
}

/* True when all arcs have found room. */
static bool take_arcs(struct taking *t, const struct hits_file *file, struct hits_file *own, struct moved *moved)
{
    struct hits_pair pair;

    for (uint32_t i = 0; i < file->arcs_room; i++) {
        if (!hits_arc_at(&t->old, file, i, &pair) || pair.number >= moved->n_numbers)
            continue;
        moved->numbers[pair.number] = hits_arc(&t->now, own, pair.from, pair.to);
        if (moved->numbers[pair.number] == HITS_NONE)
            return false;
    }
    return true;
}

static int take_file(const struct hits_file *file, void *data)
{
    struct taking *t = data;
    const char *path = hits_path(&t->old, file);
    struct moved *moved = file->id < t->n_files ? &t->files[file->id] : NULL;
    uint32_t room = file->arcs_room;

    if (!moved || moved->numbers)
        return 0;
    if (has_changed(t, path)) {
        note_changed(t->merge, path);
        return 0;
    }
    moved->n_numbers = file->arcs_room;
    moved->numbers = hs_alloc(((size_t)file->arcs_room + 1) * sizeof *moved->numbers);
    memset(moved->numbers, 0xff, ((size_t)file->arcs_room + 1) * sizeof *moved->numbers);
    for (;; room *= 2) {
        struct hits_file *own = hits_file(&t->now, path, file->path_size, file->n_lines, room);

        if (!own)
            return 0; /* counted as lost */
        moved->id = own->id;
        take_lines(t, file, own);
        if (!room || take_arcs(t, file, own, moved))
            break;
    }
    moved->taken = true;
    return 0;
}

static int take_context(const struct hits_context *context, void *data)
{
    struct taking *t = data;

    if (context->id < t->n_contexts)
        t->contexts[context->id] = hits_context(&t->now, context->name, context->size);
    return 0;
}

static void set_bit(struct taking *t, uint32_t context, uint32_t file, uint32_t bit, uint8_t **piece, uint32_t *index)
{
    if (!*piece || *index != bit / HITS_PIECE_BITS) {
        *index = bit / HITS_PIECE_BITS;
        *piece = hits_piece(&t->now, context, file, true, *index);
    }
    if (*piece)
        (*piece)[bit % HITS_PIECE_BITS / 8] |= (uint8_t)(1u << bit % 8);
}

static void take_arcs_of_piece(struct taking *t, const struct hits_piece *piece, uint32_t context)
{
    const struct moved *moved = &t->files[piece->file];
    uint8_t *own = NULL;
    uint32_t index = 0;

    for (uint32_t i = 0; i < HITS_PIECE_BITS; i++) {
        const uint32_t number = piece->index * HITS_PIECE_BITS + i;

        if (piece->bits[i / 8] & 1u << i % 8 && number < moved->n_numbers && moved->numbers[number] != HITS_NONE)
            set_bit(t, context, moved->id, moved->numbers[number], &own, &index);
    }
    hits_settle(&t->now);
}

static int take_piece(const struct hits_piece *piece, void *data)
{
    struct taking *t = data;
    uint8_t *bits;

    if (piece->file >= t->n_files || piece->context >= t->n_contexts || !t->files[piece->file].taken ||
        t->contexts[piece->context] == HITS_NONE)
        return 0;
    if (piece->is_arcs) {
        take_arcs_of_piece(t, piece, t->contexts[piece->context]);
        return 0;
    }
    bits = hits_piece(&t->now, t->contexts[piece->context], t->files[piece->file].id, false, piece->index);
    if (bits)
        memcpy(bits, piece->bits, sizeof piece->bits);
    hits_settle(&t->now);
    return 0;
}

static void take_all(struct taking *t)
{
    t->n_files = atomic_load(&t->old.head->n_files);
    t->n_contexts = atomic_load(&t->old.head->n_contexts);
    t->files = hs_alloc(((size_t)t->n_files + 1) * sizeof *t->files);
    t->contexts = hs_alloc(((size_t)t->n_contexts + 1) * sizeof *t->contexts);
    memset(t->contexts, 0xff, ((size_t)t->n_contexts + 1) * sizeof *t->contexts);
    hits_each_file(&t->old, take_file, t);
    hits_each_context(&t->old, take_context, t);
    hits_each_piece(&t->old, take_piece, t);
    for (uint32_t i = 0; i < t->n_files; i++)
        free(t->files[i].numbers);
    free(t->files);
    free(t->contexts);
}

static bool attach_old(struct taking *t, const char *journal)
{
    char path[4600];
    const int fd = hitkeep_path(journal, path, sizeof path) ? open(path, O_RDWR | O_CLOEXEC) : -1;
    struct stat st = {0};
    struct err err;
    bool good = fd >= 0 && fstat(fd, &st) == 0 && st.st_size >= (off_t)HITS_CORE;

    good = good && hits_attach(&t->old, fd, &err) == 0 && stat(journal, &st) == 0;
    t->ended = st.st_mtim;
    if (fd >= 0)
        close(fd);
    return good;
}

static bool are_alike(const struct hits_head *a, const struct hits_head *b)
{
    return atomic_load(&a->key) == atomic_load(&b->key) && atomic_load(&a->branch) == atomic_load(&b->branch) &&
           atomic_load(&a->by_context) == atomic_load(&b->by_context);
}

enum hitkeep_result hitkeep_take_up(int fd, const char *journal, struct hitkeep_merge *merge)
{
    struct taking t = {.merge = merge};
    enum hitkeep_result result = HITKEEP_NOT_KEPT;
    struct err err;
    uint32_t user;

    *merge = (struct hitkeep_merge){0};
    if (fd < 0 || hits_attach(&t.now, fd, &err) < 0)
        return HITKEEP_NOT_MEASURED;
    user = atomic_load(&t.now.head->user);
    if (user == HITS_UNUSED)
        result = HITKEEP_NOT_MEASURED;
    else if (user == HITS_USED && attach_old(&t, journal)) {
        result = are_alike(t.now.head, t.old.head) ? HITKEEP_MERGED : HITKEEP_OTHER;
        if (result == HITKEEP_MERGED)
            take_all(&t);
        hits_detach(&t.old);
    }
    hits_detach(&t.now);
    return result;
}
