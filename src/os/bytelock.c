#include "os/bytelock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int bytelock_folder(char path[BYTELOCK_PATH])
{
    const char *given = getenv("HASTEN_LOCKS");
    struct stat st;
    int n;

    if (given && given[0])
        n = snprintf(path, BYTELOCK_PATH, "%s", given);
    else
        n = snprintf(path, BYTELOCK_PATH, "/tmp/hasten-locks-%lu", (unsigned long)geteuid());
    if (n < 0 || n >= BYTELOCK_PATH)
        return -ENAMETOOLONG;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return -errno;
    if (lstat(path, &st) != 0)
        return -errno;
    /* Who else could write there could take the files away under us. */
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & 077)
        return -EPERM;
    return 0;
}

int bytelock_open(const char *name)
{
    char folder[BYTELOCK_PATH];
    char path[BYTELOCK_PATH + 80];
    const int code = bytelock_folder(folder);
    int fd;

    if (code < 0)
        return code;
    snprintf(path, sizeof path, "%s/%.70s", folder, name);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    futimens(fd, NULL); /* whoever clears old files away from /tmp leaves it */
    return fd;
}

static struct flock bytes(short type, uint64_t at, uint64_t n)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)at, .l_len = (off_t)n};
}

int bytelock_take(int fd, uint64_t at, uint64_t n, bool shared)
{
    struct flock lock = bytes(shared ? F_RDLCK : F_WRLCK, at, n);

    if (fcntl(fd, F_SETLK, &lock) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

void bytelock_put(int fd, uint64_t at, uint64_t n)
{
    struct flock lock = bytes(F_UNLCK, at, n);

    fcntl(fd, F_SETLK, &lock);
}

int bytelock_owner(int fd, uint64_t at)
{
    struct flock lock = bytes(F_WRLCK, at, 1);

    return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? (int)lock.l_pid : 0;
}
