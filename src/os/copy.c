#include "os/copy.h"

#include "os/cpu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/fs.h>
#endif

enum { BUFFER_BYTES = 1 << 17, THREADS_MOST = 4, MANY_FILES = 64 };

/* ---- one file */

static int share_blocks(int from, int to)
{
#ifdef FICLONE
    return ioctl(to, FICLONE, from);
#else
    (void)from;
    (void)to;
    errno = ENOTSUP;
    return -1;
#endif
}

static int write_all(int to, const char *bytes, ssize_t n)
{
    for (ssize_t at = 0, done; at < n; at += done)
        if ((done = write(to, bytes + at, (size_t)(n - at))) < 0)
            return -errno;
    return 0;
}

/* Up to the end, or to `size` bytes: of a file that fits into the buffer nobody asks whether there is more. */
static int by_hand(int from, int to, off_t size)
{
    static _Thread_local char buffer[BUFFER_BYTES];
    int code = 0;

    for (off_t got = 0; code == 0 && got < size;) {
        const ssize_t n = read(from, buffer, sizeof buffer);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        code = write_all(to, buffer, n);
        got += n;
    }
    return code;
}

/* A small one is through with one read and one write, whatever the file systems are. */
static int content(int from, int to, off_t size)
{
    if (size <= BUFFER_BYTES)
        return by_hand(from, to, size);
    if (share_blocks(from, to) == 0)
        return 0;
#ifdef __linux__
    for (off_t left = size; left > 0;) {
        const ssize_t n = copy_file_range(from, NULL, to, NULL, (size_t)left, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == ENOSPC)
            return -errno;
        if (n <= 0)
            break; /* other file systems, old kernels, a file that shrank: the rest by hand, from where both stand */
        left -= n;
    }
#endif
    return by_hand(from, to, (off_t)INT64_MAX);
}

static bool is_given(const struct copy_owner *owner)
{
    return owner && owner->user != (uid_t)-1;
}

/* From one open folder into another. is_new: there is none of that name yet, so that it gets its mode by being made. */
static int copy_between(int in_folder, const char *from, int out_folder, const char *to, bool is_new,
                        const struct copy_owner *owner)
{
    struct stat st;
    const int in = openat(in_folder, from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int out = -1;
    int code;

    if (in < 0 || fstat(in, &st) < 0 ||
        (out = openat(out_folder, to, O_WRONLY | O_CREAT | O_CLOEXEC | (is_new ? O_EXCL : O_TRUNC), 0600)) < 0)
        code = -errno;
    else
        code = content(in, out, st.st_size);
    if (code == 0 && ((!is_new || (st.st_mode & 07777) != 0600) && fchmod(out, st.st_mode & 07777) < 0))
        code = -errno;
    if (code == 0 && is_given(owner) && fchown(out, owner->user, owner->group) < 0)
        code = -errno;
    if (in >= 0)
        close(in);
    if (out >= 0 && close(out) < 0 && code == 0)
        code = -errno;
    if (code < 0 && out >= 0)
        unlinkat(out_folder, to, 0);
    return code;
}

int copy_file(const char *from, const char *to, const struct copy_owner *owner)
{
    return copy_between(AT_FDCWD, from, AT_FDCWD, to, false, owner);
}

/* ---- many files of one folder */

struct batch {
    const struct copy_owner *owner;
    int in, out;  /* the folders */
    char **names; /* owned, as each of them */
    size_t n;
    atomic_size_t next; /* who copies takes the next one */
    atomic_int code;
};

static void add_name(struct batch *batch, const char *name)
{
    if ((batch->n & (batch->n - 1)) == 0)
        batch->names = hs_realloc(batch->names, (batch->n ? batch->n * 2 : 1) * sizeof *batch->names);
    batch->names[batch->n++] = hs_strdup(name);
}

static void *copy_some(void *arg)
{
    struct batch *batch = arg;
    size_t i;

    while (atomic_load(&batch->code) == 0 && (i = atomic_fetch_add(&batch->next, 1)) < batch->n) {
        const char *name = batch->names[i];
        const int code = copy_between(batch->in, name, batch->out, name, true, batch->owner);

        if (code < 0)
            atomic_store(&batch->code, code);
    }
    return NULL;
}

static int copy_batch(struct batch *batch, unsigned n_threads)
{
    pthread_t helpers[THREADS_MOST];
    unsigned n = 0;

    while (batch->n >= MANY_FILES && n + 1 < n_threads && pthread_create(&helpers[n], NULL, copy_some, batch) == 0)
        n++;
    copy_some(batch);
    while (n > 0)
        pthread_join(helpers[--n], NULL);
    return atomic_load(&batch->code);
}

static void release_batch(struct batch *batch)
{
    for (size_t i = 0; i < batch->n; i++)
        free(batch->names[i]);
    free(batch->names);
}

/* ---- folders */

/* What is copied, and how. */
struct copying {
    const struct copy_owner *owner;
    enum copy_choice (*choose)(void *arg, const char *path); /* NULL: copies of all */
    void *arg;
    unsigned n_threads;
    char path[PATH_MAX]; /* of what it is at */
    size_t root;         /* length of the path at which it began */
};

static int copy_folder(struct copying *c, int in_parent, const char *from, int out_parent, const char *to, bool linked);

static mode_t kind_of(int folder, const struct dirent *e)
{
    struct stat st;

#ifdef DT_UNKNOWN
    if (e->d_type != DT_UNKNOWN)
        return DTTOIF(e->d_type);
#endif
    return fstatat(folder, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mode & S_IFMT : 0;
}

static int copy_link(int in, int out, const char *name)
{
    char target[PATH_MAX];
    const ssize_t n = readlinkat(in, name, target, sizeof target - 1);

    if (n < 0)
        return -errno;
    target[n] = '\0';
    return symlinkat(target, out, name) < 0 ? -errno : 0;
}

/* c->path is that of the entry; files that are to be copied wait in the batch. */
static int copy_any(struct copying *c, struct batch *batch, const struct dirent *e, bool linked)
{
    const enum copy_choice choice = linked ? COPY_LINK : c->choose ? c->choose(c->arg, c->path + c->root + 1) : COPY_IT;
    const mode_t kind = choice == COPY_LEAVE ? 0 : kind_of(batch->in, e);

    if (S_ISDIR(kind) && choice == COPY_POINT)
        return symlinkat(c->path, batch->out, e->d_name) < 0 ? -errno : 0;
    if (S_ISDIR(kind))
        return copy_folder(c, batch->in, e->d_name, batch->out, e->d_name, choice == COPY_LINK);
    if (S_ISLNK(kind))
        return copy_link(batch->in, batch->out, e->d_name);
    if (S_ISREG(kind) && (choice != COPY_LINK || linkat(batch->in, e->d_name, batch->out, e->d_name, 0) < 0))
        add_name(batch, e->d_name);
    return 0; /* sockets and pipes belong to who made them */
}

static int copy_entries(struct copying *c, DIR *dir, int out, bool linked)
{
    const size_t n = strlen(c->path);
    struct batch batch = {.owner = c->owner, .in = dirfd(dir), .out = out};
    struct dirent *e;
    int code = 0;

    while (code == 0 && (e = readdir(dir))) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if ((size_t)snprintf(c->path + n, sizeof c->path - n, "/%s", e->d_name) >= sizeof c->path - n)
            code = -ENAMETOOLONG;
        else
            code = copy_any(c, &batch, e, linked);
    }
    c->path[n] = '\0';
    if (code == 0)
        code = copy_batch(&batch, c->n_threads);
    release_batch(&batch);
    return code;
}

static int copy_folder(struct copying *c, int in_parent, const char *from, int out_parent, const char *to, bool linked)
{
    const int in = openat(in_parent, from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = in >= 0 ? fdopendir(in) : NULL;
    struct stat st;
    int out = -1;
    int code = 0;

    if (!dir || fstat(in, &st) < 0 || mkdirat(out_parent, to, 0700) < 0 ||
        (out = openat(out_parent, to, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        code = -errno;
    if (code == 0)
        code = copy_entries(c, dir, out, linked);
    if (code == 0 && (fchmod(out, (st.st_mode & 07777) | S_IRWXU) < 0 ||
                      (is_given(c->owner) && fchown(out, c->owner->user, c->owner->group) < 0)))
        code = -errno;
    if (dir)
        closedir(dir);
    else if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return code;
}

static int copy_all(struct copying *c, const char *from, const char *to)
{
    if ((size_t)snprintf(c->path, sizeof c->path, "%s", from) >= sizeof c->path)
        return -ENAMETOOLONG;
    c->root = strlen(from);
    return copy_folder(c, AT_FDCWD, from, AT_FDCWD, to, false);
}

int copy_tree(const char *from, const char *to, const struct copy_owner *owner)
{
    struct copying c = {.owner = owner, .n_threads = 1};

    return copy_all(&c, from, to);
}

int copy_tree_at_once(const char *from, const char *to, const struct copy_owner *owner)
{
    struct copying c = {.owner = owner};
    struct cpu_limits limits;

    cpu_limits(&limits);
    c.n_threads = limits.quota && limits.quota < limits.logical ? limits.quota : limits.logical;
    c.n_threads = c.n_threads < THREADS_MOST ? c.n_threads : THREADS_MOST;
    return copy_all(&c, from, to);
}

int copy_tree_chosen(const char *from, const char *to, const struct copy_owner *owner,
                     enum copy_choice (*choose)(void *arg, const char *path), void *arg)
{
    struct copying c = {.owner = owner, .choose = choose, .arg = arg, .n_threads = 1};

    return copy_all(&c, from, to);
}

/* ---- removal */

static void note(int *first, int code)
{
    if (*first == 0 && code != -ENOENT)
        *first = code;
}

/* A folder that was made read-only is its owner's to open again. */
static int unlink_from(int folder, const char *name, int flags)
{
    if (unlinkat(folder, name, flags) == 0)
        return 0;
    return errno == EACCES && folder != AT_FDCWD && fchmod(folder, 0700) == 0 && unlinkat(folder, name, flags) == 0
               ? 0
               : -errno;
}

static int remove_folder(int parent, const char *name);

/* One pass; true when it has removed something. What is removed while a folder is read may hide others on some systems. */
static bool remove_entries(DIR *dir, int *first)
{
    struct dirent *e;
    bool some = false;

    while ((e = readdir(dir))) {
        int code;

        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        code = S_ISDIR(kind_of(dirfd(dir), e)) ? remove_folder(dirfd(dir), e->d_name)
                                               : unlink_from(dirfd(dir), e->d_name, 0);
        some = some || code == 0;
        note(first, code);
    }
    return some;
}

static int remove_folder(int parent, const char *name)
{
    int first = 0, gone = -1;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (!dir) {
        first = -errno;
        if (fd >= 0)
            close(fd);
        return first;
    }
    while (remove_entries(dir, &first) && first == 0 && (gone = unlink_from(parent, name, AT_REMOVEDIR)) == -ENOTEMPTY)
        rewinddir(dir);
    closedir(dir);
    note(&first, gone == 0 ? 0 : unlink_from(parent, name, AT_REMOVEDIR));
    return first;
}

int copy_remove(const char *path)
{
    const int code = remove_folder(AT_FDCWD, path);
    int first = 0;

    if (code == -ENOTDIR || code == -ELOOP)
        note(&first, unlink(path) < 0 ? -errno : 0);
    else
        note(&first, code);
    return first;
}

static _Thread_local uint64_t n_bytes;

static int add_size(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)path;
    (void)at;
    if (kind == FTW_F)
        n_bytes += (uint64_t)st->st_size;
    return 0;
}

uint64_t copy_size(const char *path)
{
    n_bytes = 0;
    nftw(path, add_size, 32, FTW_PHYS);
    return n_bytes;
}

bool copy_shares_blocks(const char *folder)
{
    char a[PATH_MAX];
    char b[PATH_MAX];
    bool shares = false;
    int from, to;

    snprintf(a, sizeof a, "%.4000s/.hasten-probe-a", folder);
    snprintf(b, sizeof b, "%.4000s/.hasten-probe-b", folder);
    from = open(a, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    to = open(b, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (from >= 0 && to >= 0 && write(from, a, 64) == 64)
        shares = share_blocks(from, to) == 0;
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    unlink(a);
    unlink(b);
    return shares;
}

int copy_make_folders(const char *path, mode_t mode)
{
    char part[PATH_MAX];

    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part)
        return -ENAMETOOLONG;
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST)
            return -errno;
        *slash = '/';
    }
    return mkdir(part, mode) < 0 && errno != EEXIST ? -errno : 0;
}
