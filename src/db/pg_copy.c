#include "db/pg_copy.h"

#include "base/trace.h"
#include "os/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTE "hasten.closed" /* in the cluster; the server looks at no file of that name */
#define FIRST "pg_internal.init"

enum { SEGMENT_NAME = 24, CONTROL_REDO = 40, CLOSED_MOST = 64 };

struct plan {
    unsigned closed[CLOSED_MOST]; /* databases */
    bool shut[CLOSED_MOST];       /* their folders cannot be written to: pg_copy_shut */
    size_t n_closed;
    char first[SEGMENT_NAME + 1]; /* segment of the log; "": all are copied */
};

static void read_note(struct plan *plan, const char *data)
{
    char path[PLACE_SIZE + 32];
    struct stat st;
    FILE *f;

    snprintf(path, sizeof path, "%s/" NOTE, data);
    f = fopen(path, "re");
    while (f && plan->n_closed < CLOSED_MOST && fscanf(f, "%u", &plan->closed[plan->n_closed]) == 1)
        plan->n_closed++;
    if (f)
        fclose(f);
    for (size_t i = 0; i < plan->n_closed; i++) {
        snprintf(path, sizeof path, "%s/base/%u", data, plan->closed[i]);
        plan->shut[i] = lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && !(st.st_mode & S_IWUSR);
    }
}

int pg_copy_note(const struct pg_server *server, const char *numbers, struct err *err)
{
    char path[PLACE_SIZE + 32];
    FILE *f;
    bool written;

    snprintf(path, sizeof path, "%s/data/" NOTE, server->folder);
    f = fopen(path, "we");
    written = f && fputs(numbers, f) >= 0;
    written = f && fclose(f) == 0 && written;
    if (written && server->user && chown(path, server->user, server->group) < 0)
        written = false;
    return written ? 0 : err_sys(err, errno, "cannot write '%s'", path);
}

/* After a crash of a backend a server begins unlogged tables anew: it has to replace their files then. */
static bool has_unlogged(const char *folder)
{
    struct dirent *e;
    DIR *dir = opendir(folder);
    bool has = !dir;

    while (!has && (e = readdir(dir)))
        has = strstr(e->d_name, "_init") != NULL && e->d_name[0] >= '0' && e->d_name[0] <= '9';
    if (dir)
        closedir(dir);
    return has;
}

void pg_copy_shut(const struct pg_server *server)
{
    char data[PLACE_SIZE + 8], path[PLACE_SIZE + 64];
    struct plan plan = {.n_closed = 0};

    snprintf(data, sizeof data, "%s/data", server->folder);
    read_note(&plan, data);
    for (size_t i = 0; i < plan.n_closed; i++) {
        snprintf(path, sizeof path, "%s/base/%u", data, plan.closed[i]);
        if (!plan.shut[i] && !has_unlogged(path) && (!server->user || chown(path, 0, 0) == 0) && chmod(path, 0555) < 0)
            return; /* its files will be linked one by one */
    }
}

static void warm(const char *from, const char *to, const char *below, const struct copy_owner *owner)
{
    char source[PLACE_SIZE + 300], target[PLACE_SIZE + 300], half[PLACE_SIZE + 300];
    bool is_first;

    snprintf(source, sizeof source, "%s/data/%s/" FIRST, from, below);
    snprintf(target, sizeof target, "%s/data/%s/" FIRST, to, below);
    snprintf(half, sizeof half, "%s/data/%s/" FIRST ".hasten", to, below);
    if (access(source, R_OK) < 0 || copy_file(source, half, owner) < 0)
        return;
    is_first = link(half, target) == 0; /* else a session was there before us */
    trace_event("db_warm", TRACE_TEXT("file", target), TRACE_BOOL("first", is_first));
    unlink(half);
}

void pg_copy_warm(const struct pg_server *server, const char *from)
{
    const struct copy_owner owner = {server->user ? server->user : (uid_t)-1, server->group};
    char path[PLACE_SIZE + 16], below[280];
    struct stat st;
    struct dirent *e;
    DIR *dir;

    warm(from, server->folder, "global", &owner);
    snprintf(path, sizeof path, "%s/data/base", server->folder);
    dir = opendir(path);
    while (dir && (e = readdir(dir)))
        if (e->d_name[0] >= '0' && e->d_name[0] <= '9' &&
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
            snprintf(below, sizeof below, "base/%s", e->d_name);
            warm(from, server->folder, below, &owner);
        }
    if (dir)
        closedir(dir);
}

/* A server that was stopped begins at its last checkpoint: pg_control says where that is, since version 11 at this place. */
static void find_first_segment(struct plan *plan, const char *data, uint32_t segment_bytes)
{
    char path[PLACE_SIZE + 32];
    uint64_t redo = 0;
    uint32_t timeline = 0;
    FILE *f;
    bool read;

    snprintf(path, sizeof path, "%s/global/pg_control", data);
    f = fopen(path, "re");
    read = f && fseek(f, CONTROL_REDO, SEEK_SET) == 0 && fread(&redo, sizeof redo, 1, f) == 1 &&
           fread(&timeline, sizeof timeline, 1, f) == 1;
    if (f)
        fclose(f);
    if (!read || !segment_bytes)
        return;
    snprintf(plan->first, sizeof plan->first, "%08X%08X%08X", timeline,
             (unsigned)(redo / segment_bytes / (UINT64_C(0x100000000) / segment_bytes)),
             (unsigned)(redo / segment_bytes % (UINT64_C(0x100000000) / segment_bytes)));
}

/* All segments have the size of any of them. */
static uint32_t segment_size(const char *data, const char *name)
{
    char path[PLACE_SIZE + 64];
    struct stat st;

    snprintf(path, sizeof path, "%s/pg_wal/%.24s", data, name);
    return stat(path, &st) == 0 && st.st_size >= 1 << 20 && st.st_size <= 1 << 30 ? (uint32_t)st.st_size : 0;
}

static bool is_segment(const char *name)
{
    return strlen(name) == SEGMENT_NAME && strspn(name, "0123456789ABCDEF") == SEGMENT_NAME;
}

static void read_log(struct plan *plan, const char *data)
{
    char path[PLACE_SIZE + 64];
    struct dirent *e;
    DIR *dir;

    snprintf(path, sizeof path, "%s/pg_wal", data);
    dir = opendir(path);
    while (dir && !plan->first[0] && (e = readdir(dir)))
        if (is_segment(e->d_name))
            find_first_segment(plan, data, segment_size(data, e->d_name));
    if (dir)
        closedir(dir);
    snprintf(path, sizeof path, "%s/pg_wal/%s", data, plan->first);
    if (plan->first[0] && access(path, F_OK) < 0)
        plan->first[0] = '\0'; /* not what was thought */
}

static enum copy_choice choose(void *arg, const char *path)
{
    const struct plan *plan = arg;

    if (!strncmp(path, "pg_wal/", 7))
        return is_segment(path + 7) && strcmp(path + 7, plan->first) < 0 ? COPY_LEAVE : COPY_IT;
    if (!strncmp(path, "base/", 5) && !strchr(path + 5, '/'))
        for (size_t i = 0; i < plan->n_closed; i++)
            if ((unsigned long)plan->closed[i] == strtoul(path + 5, NULL, 10))
                return plan->shut[i] ? COPY_POINT : COPY_LINK;
    return COPY_IT;
}

/* ---- tablespaces */

bool pg_has_tablespaces(const char *data)
{
    char path[PLACE_SIZE + 32];
    struct dirent *e;
    DIR *dir;
    bool has = false;

    snprintf(path, sizeof path, "%s/pg_tblspc", data);
    dir = opendir(path);
    while (dir && !has && (e = readdir(dir)))
        has = e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return has;
}

static int move_tablespace(const struct pg_server *server, const char *name, const struct copy_owner *owner)
{
    char link_path[PLACE_SIZE + 280], own[PLACE_SIZE + 280], target[PATH_MAX];
    ssize_t n;
    int code;

    snprintf(link_path, sizeof link_path, "%s/data/pg_tblspc/%s", server->folder, name);
    snprintf(own, sizeof own, "%s/tablespace-%s", server->folder, name);
    n = readlink(link_path, target, sizeof target - 1);
    if (n < 0)
        return errno == EINVAL ? 0 : -errno; /* a folder in its place is in the cluster itself */
    target[n] = '\0';
    copy_remove(own);
    code = copy_tree(target, own, owner);
    if (code == 0 && (unlink(link_path) < 0 || symlink(own, link_path) < 0))
        code = -errno;
    return code;
}

static int move_tablespaces(const struct pg_server *server, const struct copy_owner *owner)
{
    char path[PLACE_SIZE + 32];
    struct dirent *e;
    DIR *dir;
    int code = 0;

    snprintf(path, sizeof path, "%s/data/pg_tblspc", server->folder);
    if (!(dir = opendir(path)))
        return -errno;
    while (code == 0 && (e = readdir(dir)))
        if (e->d_name[0] != '.')
            code = move_tablespace(server, e->d_name, owner);
    closedir(dir);
    return code;
}

int pg_copy_cluster(const struct pg_server *server, const char *from, struct err *err)
{
    const struct copy_owner owner = {server->user ? server->user : (uid_t)-1, server->group};
    char source[PLACE_SIZE + 8], data[PLACE_SIZE + 8];
    struct plan plan = {.n_closed = 0};
    int code;

    snprintf(source, sizeof source, "%s/data", from);
    snprintf(data, sizeof data, "%s/data", server->folder);
    read_note(&plan, source);
    read_log(&plan, source);
    code = copy_tree_chosen(source, data, &owner, choose, &plan);
    if (code == 0 && pg_has_tablespaces(data))
        code = move_tablespaces(server, &owner);
    if (code == 0)
        return 0;
    copy_remove(data);
    if (code == -ENOSPC)
        return err_set(err,
                       "the disk of the PostgreSQL server is full (its cluster could not be copied to '%.200s'); "
                       "HASTEN_DB_PLACE=disk or memory chooses where hasten's own lies",
                       data);
    return err_sys(err, -code, "cannot copy the PostgreSQL cluster to '%s'", data);
}
