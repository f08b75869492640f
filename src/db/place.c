#include "db/place.h"

#include "os/copy.h"
#include "os/cpu.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

enum { SOCKET_NAME_ROOM = 24, SOCKET_PATH_MAX = 104 /* the least of the systems */, JUST_MADE_S = 60 };

static const char *temporary(void)
{
    const char *tmp = getenv("TMPDIR");

    return tmp && tmp[0] == '/' ? tmp : "/tmp";
}

/* Where the folders of runs are: ours alone, whoever else may write to the folder above it. */
static int base_folder(char base[PLACE_SIZE], bool make, struct err *err)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    struct stat st;
    int n;

    if (runtime && runtime[0] == '/' && access(runtime, W_OK) == 0 && geteuid() != 0)
        n = snprintf(base, PLACE_SIZE, "%s/hasten-db", runtime);
    else
        n = snprintf(base, PLACE_SIZE, "%s/hasten-db-%u", temporary(), (unsigned)geteuid());
    if (n + SOCKET_NAME_ROOM > SOCKET_PATH_MAX)
        return err_set(err,
                       "the temporary folder's path is too long for a socket: '%.200s'; set TMPDIR to a shorter one",
                       temporary());
    /* Another user's server has to come through (never in: the folders below are 0700 or the server's own). */
    if (make && mkdir(base, geteuid() == 0 ? 0711 : 0700) < 0 && errno != EEXIST)
        return err_sys(err, errno, "cannot make the folder '%s'", base);
    if (lstat(base, &st) < 0)
        return make ? err_sys(err, errno, "cannot look at '%s'", base) : 0;
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
        return err_set(err, "'%s' is not a folder of this user alone; remove it", base);
    return 0;
}

int place_of(int pid, char folder[PLACE_SIZE], struct err *err)
{
    char base[PLACE_SIZE];

    if (base_folder(base, false, err) < 0)
        return -1;
    snprintf(folder, PLACE_SIZE, "%.230s/%d", base, pid);
    return 0;
}

static int lock_folder(const char *folder)
{
    char path[PLACE_SIZE + 8];
    int fd;

    snprintf(path, sizeof path, "%s/lock", folder);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* ---- leftovers */

/* Sends signal to every process that stands in data: a server's processes all do. Returns how many there are. */
static int signal_all_in(const char *data, int signal)
{
    struct dirent *e;
    DIR *dir = opendir("/proc");
    int n = 0;

    while (dir && (e = readdir(dir))) {
        char path[64];
        char where[PLACE_SIZE + 320];
        const int pid = atoi(e->d_name);
        ssize_t size;

        snprintf(path, sizeof path, "/proc/%d/cwd", pid);
        if (pid <= 1 || (size = readlink(path, where, sizeof where - 1)) < 0)
            continue;
        where[size] = '\0';
        if (!strcmp(where, data)) {
            n++;
            kill(pid, signal);
        }
    }
    if (dir)
        closedir(dir);
    return n;
}

/* A server that was stopped has removed its pid file; where there is one, it or some of its processes may live. */
void place_end_server(const char *data)
{
    const struct timespec nap = {.tv_nsec = 5000000};
    char path[PLACE_SIZE + 320];

    snprintf(path, sizeof path, "%s/postmaster.pid", data);
    if (access(path, F_OK) < 0)
        return;
    for (int round = 0; round < 400 && signal_all_in(data, SIGKILL) > 0; round++)
        nanosleep(&nap, NULL);
}

/* The server of a folder, and those of their own in folders of it. */
static void end_servers(const char *path)
{
    char data[PLACE_SIZE + 280];
    struct dirent *e;
    DIR *dir = opendir(path);

    snprintf(data, sizeof data, "%.250s/data", path);
    place_end_server(data);
    while (dir && (e = readdir(dir)))
        if (!strncmp(e->d_name, PLACE_COPY, strlen(PLACE_COPY))) {
            snprintf(data, sizeof data, "%.250s/%s/data", path, e->d_name);
            place_end_server(data);
        }
    if (dir)
        closedir(dir);
}

static void clear_place(char *path)
{
    path[strcspn(path, "\n")] = '\0';
    if (path[0] != '/' || !strstr(path, "/hasten-"))
        return;
    end_servers(path);
    copy_remove(path);
}

/* Data in memory whose run's folder is gone: nobody else would find them. */
static size_t clear_memory(void (*each)(void *arg, const char *path), void *arg)
{
    char pattern[64];
    struct stat st;
    glob_t found;
    size_t n = 0;

    snprintf(pattern, sizeof pattern, "/dev/shm/hasten-%u-*-????????", (unsigned)geteuid());
    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char *path = found.gl_pathv[i];
        int fd;

        if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || time(NULL) - st.st_mtime < JUST_MADE_S ||
            (fd = lock_folder(path)) < 0)
            continue;
        n++;
        if (each)
            each(arg, path);
        else
            clear_place(path);
        close(fd);
    }
    globfree(&found);
    return n;
}

static void clear_folder(const char *folder)
{
    char path[PLACE_SIZE + 16];
    char line[PLACE_SIZE];
    FILE *f;

    snprintf(path, sizeof path, "%s/places", folder);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        clear_place(line);
    if (f)
        fclose(f);
    copy_remove(folder);
}

size_t place_clear(void (*each)(void *arg, const char *path), void *arg)
{
    char base[PLACE_SIZE];
    struct err err;
    struct dirent *e;
    size_t n = 0;
    DIR *dir;

    if (base_folder(base, false, &err) < 0 || !(dir = opendir(base)))
        return clear_memory(each, arg);
    while ((e = readdir(dir))) {
        char folder[PLACE_SIZE];
        int fd;

        if (e->d_name[0] < '0' || e->d_name[0] > '9')
            continue;
        snprintf(folder, sizeof folder, "%.200s/%.50s", base, e->d_name);
        if ((fd = lock_folder(folder)) < 0)
            continue;
        n++;
        if (each)
            each(arg, folder);
        else
            clear_folder(folder);
        close(fd);
    }
    closedir(dir);
    return n + clear_memory(each, arg);
}

/* ---- a run's own */

int place_open(struct place *place, int pid, struct err *err)
{
    char base[PLACE_SIZE];

    place->lock_fd = -1;
    if (base_folder(base, true, err) < 0 || place_of(pid, place->folder, err) < 0)
        return -1;
    if (access(place->folder, F_OK) == 0 && (place->lock_fd = lock_folder(place->folder)) >= 0) {
        clear_folder(place->folder); /* another process of that number, long ago */
        close(place->lock_fd);
        place->lock_fd = -1;
    }
    if (mkdir(place->folder, geteuid() == 0 ? 0711 : 0700) < 0)
        return errno == EEXIST ? err_set(err, "databases are kept for process %d already", pid)
                               : err_sys(err, errno, "cannot make the folder '%s'", place->folder);
    place->lock_fd = lock_folder(place->folder);
    if (place->lock_fd < 0)
        return err_set(err, "cannot lock the folder '%s'", place->folder);
    return 0;
}

void place_close(struct place *place)
{
    if (place->lock_fd < 0)
        return;
    clear_folder(place->folder);
    close(place->lock_fd);
    place->lock_fd = -1;
}

int place_add(const struct place *place, const char *path, struct err *err)
{
    char list[PLACE_SIZE + 16];
    FILE *f;

    snprintf(list, sizeof list, "%s/places", place->folder);
    f = fopen(list, "ae");
    if (!f || fprintf(f, "%s\n", path) < 0 || fclose(f) != 0)
        return err_sys(err, errno, "cannot write '%s'", list);
    return 0;
}

int place_make_data(const struct place *place, const char *path, int *lock_fd, struct err *err)
{
    if (place_add(place, path, err) < 0)
        return -1;
    if (mkdir(path, 0700) < 0)
        return err_sys(err, errno, "cannot make the server's folder '%s'", path);
    *lock_fd = lock_folder(path);
    return *lock_fd < 0 ? err_set(err, "cannot lock the folder '%s'", path) : 0;
}

/* ---- the cache */

int place_cache(const char *name, char path[PLACE_SIZE], struct err *err)
{
    const char *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    int n;
    int code;

    if (cache && cache[0] == '/')
        n = snprintf(path, PLACE_SIZE, "%s/hasten/db%s%s", cache, name[0] ? "/" : "", name);
    else if (home && home[0] == '/')
        n = snprintf(path, PLACE_SIZE, "%s/.cache/hasten/db%s%s", home, name[0] ? "/" : "", name);
    else
        n = snprintf(path, PLACE_SIZE, "%s/hasten-cache-%u/db%s%s", temporary(), (unsigned)geteuid(),
                     name[0] ? "/" : "", name);
    if (n >= PLACE_SIZE)
        return err_set(err, "the cache folder's path is too long; set XDG_CACHE_HOME to a shorter one");
    code = copy_make_folders(path, 0700);
    return code < 0 ? err_sys(err, -code, "cannot make the folder '%s'", path) : 0;
}

void place_used(const char *path)
{
    utimensat(AT_FDCWD, path, NULL, 0);
}

int place_cache_lock(const char *name, bool (*ended)(void), int *fd, struct err *err)
{
    const struct timespec nap = {.tv_nsec = 10000000};
    char path[PLACE_SIZE];
    char lock[PLACE_SIZE + 80];

    if (place_cache("", path, err) < 0)
        return -1;
    snprintf(lock, sizeof lock, "%s/%.70s.lock", path, name);
    *fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return err_sys(err, errno, "cannot open '%s'", lock);
    while (flock(*fd, LOCK_EX | LOCK_NB) < 0) {
        if (ended && ended()) {
            close(*fd);
            *fd = -1;
            return err_set(err, "ended while another run built the same template");
        }
        nanosleep(&nap, NULL);
    }
    return 0;
}

const char *place_for_data(uint64_t bytes)
{
    const char *wanted = getenv("HASTEN_DB_PLACE"); /* "memory", "disk"; else by measure */
    struct cpu_limits limits;
    struct statvfs fs;

    if (wanted && !strcmp(wanted, "disk"))
        return temporary();
    if (access("/dev/shm", W_OK) < 0 || statvfs("/dev/shm", &fs) < 0)
        return temporary();
    if (wanted && !strcmp(wanted, "memory"))
        return "/dev/shm";
    cpu_limits(&limits);
    if (bytes > (uint64_t)fs.f_bavail * fs.f_frsize / 4 || bytes > limits.memory_bytes / 4)
        return temporary();
    return "/dev/shm";
}
