#include "db/cache.h"

#include "db/place.h"
#include "os/copy.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { DAY_S = 86400, IN_USE_S = 3600 };

struct entry {
    char name[160];
    bool half; /* what a run left that was killed while it wrote */
    time_t used;
    uint64_t bytes;
};

struct entries {
    char folder[PLACE_SIZE];
    struct entry *items; /* owned, n */
    size_t n;
};

static const char *kind_of(const char *name)
{
    static const char *const heads[][2] = {{"pg", "postgres"}, {"sqlite-", "sqlite"}, {"redis-", "redis"}};

    for (size_t i = 0; i < HS_COUNT(heads); i++)
        if (!strncmp(name, heads[i][0], strlen(heads[i][0])) && !strstr(name, ".lock"))
            return heads[i][1];
    return NULL;
}

static void path_of(const struct entries *all, const struct entry *entry, char path[PLACE_SIZE + 164])
{
    snprintf(path, PLACE_SIZE + 164, "%s/%s", all->folder, entry->name);
}

static void add(struct entries *all, const char *name)
{
    struct entry entry = {.half = !strncmp(name, "half-", 5)};
    char path[PLACE_SIZE + 164];
    struct stat st;

    if ((!entry.half && !kind_of(name)) || strlen(name) >= sizeof entry.name)
        return;
    snprintf(entry.name, sizeof entry.name, "%s", name);
    path_of(all, &entry, path);
    if (lstat(path, &st) < 0)
        return;
    entry.used = st.st_mtime;
    entry.bytes = copy_size(path);
    all->items = hs_realloc(all->items, (all->n + 1) * sizeof entry);
    all->items[all->n++] = entry;
}

static int oldest_first(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;

    return (x->used > y->used) - (x->used < y->used);
}

static void find_all(struct entries *all)
{
    struct dirent *e;
    struct err err;
    DIR *dir;

    *all = (struct entries){.n = 0};
    dir = place_cache("", all->folder, &err) == 0 ? opendir(all->folder) : NULL;
    while (dir && (e = readdir(dir)))
        add(all, e->d_name);
    if (dir)
        closedir(dir);
    if (all->n)
        qsort(all->items, all->n, sizeof *all->items, oldest_first);
}

size_t cache_each(db_entry_fn *each, void *arg)
{
    struct entries all;
    size_t n = 0;

    find_all(&all);
    for (size_t i = 0; i < all.n; i++) {
        char path[PLACE_SIZE + 164];
        const char *kind = kind_of(all.items[i].name);
        struct db_entry entry = {.provider = kind, .name = path, .bytes = all.items[i].bytes};

        if (all.items[i].half)
            continue;
        path_of(&all, &all.items[i], path);
        entry.what = strcmp(kind, "postgres") != 0 || strchr(strchr(all.items[i].name, '-') + 1, '-') ? "template"
                                                                                                      : "cached server";
        each(arg, &entry);
        n++;
    }
    free(all.items);
    return n;
}

/* Out of everybody's sight first: who is about to copy it finds all of it or nothing. */
static bool take_away(const struct entries *all, const struct entry *entry)
{
    char path[PLACE_SIZE + 164], half[PLACE_SIZE + 64];

    path_of(all, entry, path);
    if (entry->half)
        return copy_remove(path) == 0;
    snprintf(half, sizeof half, "%s/half-gone-%d", all->folder, (int)getpid());
    copy_remove(half);
    return rename(path, half) == 0 && copy_remove(half) == 0;
}

size_t cache_prune(const struct cache_limits *limits)
{
    const time_t now = time(NULL);
    struct entries all;
    uint64_t total = 0;
    size_t n = 0;

    find_all(&all);
    for (size_t i = 0; i < all.n; i++)
        total += all.items[i].bytes;
    for (size_t i = 0; i < all.n; i++) {
        const struct entry *entry = &all.items[i];
        const bool in_use = now - entry->used < IN_USE_S;
        const bool old = limits->days && now - entry->used > (time_t)limits->days * DAY_S;
        const bool too_much = total >> 20 > limits->megabytes;

        if (!limits->all && (in_use || (!entry->half && !old && !too_much)))
            continue;
        if (take_away(&all, entry)) {
            total -= entry->bytes;
            n += !entry->half;
        }
    }
    free(all.items);
    return n;
}

/* True for the first one that asks within a day. */
static bool is_due(void)
{
    char folder[PLACE_SIZE], stamp[PLACE_SIZE + 16];
    struct stat st;
    struct err err;
    int fd;

    if (place_cache("", folder, &err) < 0)
        return false;
    snprintf(stamp, sizeof stamp, "%s/pruned", folder);
    if (stat(stamp, &st) == 0 && time(NULL) - st.st_mtime < DAY_S)
        return false;
    fd = open(stamp, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    futimens(fd, NULL);
    close(fd);
    return true;
}

int cache_prune_beside(const struct cache_limits *limits)
{
    int pid;

    if (!is_due())
        return 0;
    pid = fork();
    if (pid != 0)
        return pid > 0 ? pid : 0;
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    setpriority(PRIO_PROCESS, 0, 19);
    cache_prune(limits);
    _exit(0);
}
