#include "os/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __linux__
#include <linux/fs.h>
#endif

enum { BUFFER_BYTES = 1 << 17 };

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

static int by_hand(int from, int to)
{
    static _Thread_local char buffer[BUFFER_BYTES];
    ssize_t n;

    while ((n = read(from, buffer, sizeof buffer)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        for (ssize_t at = 0, done; at < n; at += done)
            if ((done = write(to, buffer + at, (size_t)(n - at))) < 0)
                return -errno;
    }
    return 0;
}

static int content(int from, int to, off_t size)
{
    if (size == 0 || share_blocks(from, to) == 0)
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
    return by_hand(from, to);
}

int copy_file(const char *from, const char *to, const struct copy_owner *owner)
{
    struct stat st;
    const int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int out = -1;
    int code;

    if (in < 0 || fstat(in, &st) < 0 || (out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0)
        code = -errno;
    else
        code = content(in, out, st.st_size);
    if (code == 0 && (fchmod(out, st.st_mode & 07777) < 0 ||
                      (owner && owner->user != (uid_t)-1 && fchown(out, owner->user, owner->group) < 0)))
        code = -errno;
    if (in >= 0)
        close(in);
    if (out >= 0 && close(out) < 0 && code == 0)
        code = -errno;
    if (code < 0 && out >= 0)
        unlink(to);
    return code;
}

static int copy_link(const char *from, const char *to)
{
    char target[PATH_MAX];
    const ssize_t n = readlink(from, target, sizeof target - 1);

    if (n < 0)
        return -errno;
    target[n] = '\0';
    return symlink(target, to) < 0 ? -errno : 0;
}

/* What is copied, and how. */
struct copying {
    const struct copy_owner *owner;
    enum copy_choice (*choose)(void *arg, const char *path); /* NULL: copies of all */
    void *arg;
    size_t root; /* length of the path at which it began */
};

static int copy_folder(const struct copying *c, const char *from, const char *to, bool linked);

static int copy_any(const struct copying *c, const char *from, const char *to, bool linked)
{
    const enum copy_choice choice = linked ? COPY_LINK : c->choose ? c->choose(c->arg, from + c->root + 1) : COPY_IT;
    struct stat st;

    if (choice == COPY_LEAVE)
        return 0;
    if (lstat(from, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return copy_folder(c, from, to, choice == COPY_LINK);
    if (S_ISLNK(st.st_mode))
        return copy_link(from, to);
    if (!S_ISREG(st.st_mode))
        return 0; /* sockets and pipes belong to who made them */
    return choice == COPY_LINK && link(from, to) == 0 ? 0 : copy_file(from, to, c->owner);
}

static int copy_entries(const struct copying *c, DIR *dir, const char *from, const char *to, bool linked)
{
    struct dirent *e;

    while ((e = readdir(dir))) {
        char source[PATH_MAX];
        char target[PATH_MAX];
        int code;

        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if ((size_t)snprintf(source, sizeof source, "%s/%s", from, e->d_name) >= sizeof source ||
            (size_t)snprintf(target, sizeof target, "%s/%s", to, e->d_name) >= sizeof target)
            return -ENAMETOOLONG;
        if ((code = copy_any(c, source, target, linked)) < 0)
            return code;
    }
    return 0;
}

static int copy_folder(const struct copying *c, const char *from, const char *to, bool linked)
{
    const struct copy_owner *owner = c->owner;
    struct stat st;
    DIR *dir = opendir(from);
    int code = 0;

    if (!dir)
        return -errno;
    if (fstat(dirfd(dir), &st) < 0 || mkdir(to, 0700) < 0)
        code = -errno;
    if (code == 0)
        code = copy_entries(c, dir, from, to, linked);
    closedir(dir);
    if (code == 0 && (chmod(to, st.st_mode & 07777) < 0 ||
                      (owner && owner->user != (uid_t)-1 && chown(to, owner->user, owner->group) < 0)))
        code = -errno;
    return code;
}

int copy_tree(const char *from, const char *to, const struct copy_owner *owner)
{
    return copy_tree_chosen(from, to, owner, NULL, NULL);
}

int copy_tree_chosen(const char *from, const char *to, const struct copy_owner *owner,
                     enum copy_choice (*choose)(void *arg, const char *path), void *arg)
{
    const struct copying c = {.owner = owner, .choose = choose, .arg = arg, .root = strlen(from)};

    return copy_folder(&c, from, to, false);
}

static _Thread_local int first_failure;
static _Thread_local uint64_t n_bytes;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    if (remove(path) < 0 && errno != ENOENT && first_failure == 0)
        first_failure = -errno;
    return 0;
}

int copy_remove(const char *path)
{
    first_failure = 0;
    if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT && first_failure == 0)
        first_failure = -errno;
    return first_failure;
}

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
