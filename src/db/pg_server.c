#include "db/pg_server.h"

#include "base/clock.h"
#include "base/trace.h"
#include "db/pg_copy.h"
#include "os/child.h"
#include "os/copy.h"
#include "os/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLUSTER_FORMAT "1" /* changes when the arguments of initdb do */
#define ROOM_OF_DATABASE (UINT64_C(16) << 20)
#define ROOM_OF_LOG (UINT64_C(320) << 20) /* write-ahead log, by max_wal_size below, and what is temporary */
#define CLUSTER_BYTES (UINT64_C(40) << 20)
#define ROOM_OF_COPY (UINT64_C(100) << 20) /* a worker's own server: cluster, log, database */

enum { START_LIMIT_S = 60, STOP_LIMIT_S = 60, QUIT_LIMIT_S = 5, SAVE_LIMIT_S = 30, SAVER_NICE = 10, ARGS_MAX = 64 };

static void nap_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static uint64_t limit_ns(int seconds)
{
    return clock_now_ns() + (uint64_t)seconds * 1000000000;
}

/* ---- who and where */

static int choose_user(struct pg_server *server, struct err *err)
{
    static const char *const names[] = {"postgres", "nobody"};
    const struct passwd *person = NULL;

    if (geteuid() != 0)
        return 0;
    for (size_t i = 0; i < HS_COUNT(names) && !person; i++)
        person = getpwnam(names[i]);
    if (!person || person->pw_uid == 0)
        return err_set(err, "PostgreSQL does not run as root, and there is no user 'postgres' or 'nobody' for it here");
    server->user = person->pw_uid;
    server->group = person->pw_gid;
    return 0;
}

static const char *choose_locale(const struct pg_server_options *options)
{
    static const char *const names[] = {"LC_ALL", "LC_COLLATE", "LANG"};
    const char *value = options->locale;

    for (size_t i = 0; i < HS_COUNT(names) && !value; i++) {
        value = getenv(names[i]);
        if (value && !value[0])
            value = NULL;
    }
    return options->locale || (value && (strcasestr(value, "utf-8") || strcasestr(value, "utf8"))) ? value : "C.UTF-8";
}

static uint64_t fnv(uint64_t hash, const char *text)
{
    for (; *text; text++)
        hash = (hash ^ (uint8_t)*text) * UINT64_C(1099511628211);
    return (hash ^ 0xff) * UINT64_C(1099511628211); /* where one text ends */
}

static void name_cluster(struct pg_server *server, const char *locale)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    hash = fnv(fnv(fnv(fnv(hash, CLUSTER_FORMAT), server->program.version), server->program.bin), locale);
    snprintf(server->cluster, sizeof server->cluster, "pg%d-%016llx", server->program.major, (unsigned long long)hash);
}

static void with_template(const struct pg_server *server, const char *key, char name[128])
{
    snprintf(name, 128, "%s-%.40s", server->cluster, key);
}

static int choose_program(struct pg_server *server, const struct pg_server_options *options, struct err *err)
{
    const struct pg_server *copied = options->copied;

    if (copied) {
        server->user = copied->user;
        server->group = copied->group;
        server->program = copied->program;
        return 0;
    }
    if (choose_user(server, err) < 0 || pg_find(options->major, &server->program, err) < 0)
        return -1;
    name_cluster(server, choose_locale(options));
    return 0;
}

static int make_folder(struct pg_server *server, const struct pg_server_options *options, const struct place *place,
                       const char *run, struct err *err)
{
    const uint64_t bytes =
        ROOM_OF_LOG + CLUSTER_BYTES + options->n_workers * ROOM_OF_DATABASE + options->n_copies * ROOM_OF_COPY;

    if (!server->is_copy) {
        snprintf(server->folder, sizeof server->folder, "%.190s/hasten-%u-%d-%.8s", place_for_data(bytes),
                 (unsigned)geteuid(), (int)getpid(), run);
        return place_make_data(place, server->folder, &server->lock_fd, err);
    }
    snprintf(server->folder, sizeof server->folder, "%.200s/" PLACE_COPY "%.40s", options->copied->folder,
             options->name);
    return mkdir(server->folder, 0700) < 0 ? err_sys(err, errno, "cannot make the folder '%s'", server->folder) : 0;
}

int pg_server_place(struct pg_server *server, const struct pg_server_options *options, const struct place *place,
                    const char *run, struct err *err)
{
    char sockets[PLACE_SIZE + 8];
    int code;

    *server = (struct pg_server){.n_workers = options->n_workers, .is_copy = options->copied, .lock_fd = -1};
    err_set(&server->death, "the PostgreSQL server does not run");
    if (choose_program(server, options, err) < 0)
        return -1;
    if (make_folder(server, options, place, run, err) < 0)
        return -1;
    snprintf(sockets, sizeof sockets, "%s/s", server->folder);
    code = mkdir(sockets, 0700) < 0 ? -errno : 0;
    if (code == 0 && server->user &&
        (chown(server->folder, server->user, server->group) < 0 || chown(sockets, server->user, server->group) < 0))
        code = -errno;
    return code < 0 ? err_sys(err, -code, "cannot make the server's folder '%s'", server->folder) : 0;
}

/* ---- running its programs */

/* The last line of the server's log that says something, for messages. */
static void last_words(const struct pg_server *server, char *line, size_t size)
{
    char path[PLACE_SIZE + 8];
    char next[280];
    FILE *f;

    snprintf(line, size, "its log is empty");
    snprintf(path, sizeof path, "%s/log", server->folder);
    f = fopen(path, "re");
    while (f && fgets(next, sizeof next, f)) {
        next[strcspn(next, "\n")] = '\0';
        if (strlen(next) > 2)
            snprintf(line, size, "%s", next);
    }
    if (f)
        fclose(f);
}

static int spawn_as_server(const struct pg_server *server, char *const *argv, bool stays, int *pid)
{
    char log[PLACE_SIZE + 8];
    const char *const env[] = {"LC_MESSAGES=C", NULL};
    struct spawn_options options = {
        .argv = argv,
        .env = env,
        .terminal = -1,
        .own_group = true,
        .log = log,
        .folder = "/",
        .user = (uint32_t)server->user,
        .group = (uint32_t)server->group,
        .ends_with_parent = stays,
    };

    snprintf(log, sizeof log, "%s/log", server->folder);
    return spawn(&options, pid);
}

static int make_cluster(const struct pg_server *server, const char *locale, const char *data, struct err *err)
{
    char path[PLACE_SIZE + 32];
    char place[PLACE_SIZE + 8];
    char where[128];
    char words[300];
    char *argv[ARGS_MAX] = {path,        "-D", place,  "-U",  "postgres",        "--auth=trust",
                            "--no-sync", "-E", "UTF8", where, "--wal-segsize=1", NULL};
    int pid;
    int status = 0;
    int code;

    snprintf(path, sizeof path, "%s/initdb", server->program.bin);
    snprintf(place, sizeof place, "%s", data);
    snprintf(where, sizeof where, "--locale=%.100s", locale);
    if (server->program.major >= 18)
        argv[11] = "--no-data-checksums"; /* the default there; they cost what a throw-away copy has no use for */
    code = spawn_as_server(server, argv, false, &pid);
    if (code < 0)
        return err_sys(err, -code, "cannot run '%s'", path);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    last_words(server, words, sizeof words);
    copy_remove(data);
    return err_set(err, "initdb failed: %s", words);
}

/* ---- clusters in the cache */

/* False when the cache has none of that name, or loses it meanwhile. */
static bool take_cluster(const struct pg_server *server, const char *name, const char *data)
{
    const struct copy_owner owner = {server->user ? server->user : (uid_t)-1, server->group};
    char cache[PLACE_SIZE];
    char path[PLACE_SIZE + 136];
    struct err err;

    if (place_cache("", cache, &err) < 0)
        return false;
    snprintf(path, sizeof path, "%s/%.128s", cache, name);
    if (access(path, F_OK) < 0)
        return false;
    if (copy_tree_at_once(path, data, &owner) == 0) {
        place_used(path);
        return true;
    }
    copy_remove(data);
    return false;
}

static void note_use(const char *cluster)
{
    char cache[PLACE_SIZE];
    char path[PLACE_SIZE + 136];
    struct err err;

    if (place_cache("", cache, &err) < 0)
        return;
    snprintf(path, sizeof path, "%s/%.128s", cache, cluster);
    place_used(path);
}

bool pg_server_has(const struct pg_server *server, const char *key)
{
    char cache[PLACE_SIZE];
    char name[128];
    char path[PLACE_SIZE + 136];
    struct err err;

    with_template(server, key, name);
    if (place_cache("", cache, &err) < 0)
        return false;
    snprintf(path, sizeof path, "%s/%.128s", cache, name);
    return access(path, F_OK) == 0;
}

/* It stays out of the cache when the disk is full or another run was first: that costs time and nothing else. */
static void keep_cluster(const struct pg_server *server, const char *name, const char *data)
{
    const struct copy_owner owner = {geteuid(), getegid()};
    char cache[PLACE_SIZE];
    char half[PLACE_SIZE + 64];
    char path[PLACE_SIZE + 136];
    struct err err;

    if (place_cache("", cache, &err) < 0)
        return;
    snprintf(half, sizeof half, "%s/half-%d", cache, (int)getpid());
    snprintf(path, sizeof path, "%s/%.128s", cache, name);
    copy_remove(half);
    if (copy_tree(data, half, &owner) < 0 || rename(half, path) < 0)
        copy_remove(half);
    else
        trace_event("db_cached", TRACE_TEXT("cluster", name), TRACE_I64("user", server->user));
}

static int provide_cluster(struct pg_server *server, const struct pg_server_options *options, const char *data,
                           bool *has, struct err *err)
{
    char name[128];

    if (options->copied)
        return pg_copy_cluster(server, options->copied->folder, err);
    if (options->key && options->key[0]) {
        with_template(server, options->key, name);
        if (take_cluster(server, name, data)) {
            note_use(server->cluster); /* the next change of the template begins with it */
            *has = true;
            return 0;
        }
    }
    if (take_cluster(server, server->cluster, data))
        return 0;
    if (make_cluster(server, choose_locale(options), data, err) < 0)
        return -1;
    keep_cluster(server, server->cluster, data);
    return 0;
}

int pg_server_provide(struct pg_server *server, const struct pg_server_options *options, bool *has, struct err *err)
{
    char data[PLACE_SIZE + 8];

    *has = false;
    if (server->has_data)
        return 0;
    snprintf(data, sizeof data, "%s/data", server->folder);
    if (provide_cluster(server, options, data, has, err) < 0)
        return -1;
    server->has_data = true;
    trace_event(server->is_copy ? "db_copy" : "db_cluster", TRACE_TEXT("data", data));
    return 0;
}

/* ---- the postmaster */

static void add_setting(char **argv, size_t *n, const char *setting)
{
    HS_CHECK(*n + 3 < ARGS_MAX);
    argv[(*n)++] = (char *)(uintptr_t)"-c";
    argv[(*n)++] = (char *)(uintptr_t)setting;
}

/* Line 8 of its pid file: it writes "ready" there when it takes connections. */
static bool is_ready(const char *data, int pid)
{
    char path[PLACE_SIZE + 32];
    char line[256] = "";
    int number = 0;
    int said = 0;
    FILE *f;

    snprintf(path, sizeof path, "%s/postmaster.pid", data);
    f = fopen(path, "re");
    while (f && number < 8 && fgets(line, sizeof line, f))
        if (++number == 1)
            said = atoi(line);
    if (f)
        fclose(f);
    return number == 8 && said == pid && !strncmp(line, "ready", 5);
}

int pg_server_await(struct pg_server *server, struct err *err)
{
    const uint64_t limit = limit_ns(START_LIMIT_S);
    char data[PLACE_SIZE + 8];

    snprintf(data, sizeof data, "%s/data", server->folder);
    while (!is_ready(data, server->pid)) {
        if (pg_server_check(server, err) < 0)
            return -1;
        if (clock_now_ns() > limit) {
            pg_server_stop(server);
            return err_set(err, "the PostgreSQL server was not ready within %d s", START_LIMIT_S);
        }
        nap_ms(1);
    }
    return 0;
}

int pg_server_launch(struct pg_server *server, struct err *err)
{
    /* shared_buffers and the rest: bench/databases.py settings. */
    static const char *const settings[] = {
        "listen_addresses=",
        "synchronous_commit=off",
        "full_page_writes=off",
        "wal_level=minimal",
        "max_wal_senders=0",
        "autovacuum=off",
        "checkpoint_timeout=1h",
        "wal_init_zero=off",
        "wal_recycle=off",
        "dynamic_shared_memory_type=mmap",
        "logging_collector=off",
        "log_destination=stderr",
        "unix_socket_permissions=0700",
        "lc_messages=C",
        "bgwriter_lru_maxpages=0",
        "max_logical_replication_workers=0",
    };
    char program[PLACE_SIZE + 32], data[PLACE_SIZE + 8], sockets[PLACE_SIZE + 8], connections[64], kept[64];
    char *argv[ARGS_MAX] = {program, "-D", data, "-k", sockets, "-F", "-p", "5432"};
    size_t n = 8;
    int code;

    snprintf(program, sizeof program, "%s/postgres", server->program.bin);
    snprintf(data, sizeof data, "%s/data", server->folder);
    snprintf(sockets, sizeof sockets, "%s/s", server->folder);
    snprintf(connections, sizeof connections, "max_connections=%u", 100 + 20 * server->n_workers);
    for (size_t i = 0; i < HS_COUNT(settings); i++)
        add_setting(argv, &n, settings[i]);
    add_setting(argv, &n, connections);
    add_setting(argv, &n, server->is_copy ? "shared_buffers=16MB" : "shared_buffers=32MB");
    add_setting(argv, &n, server->is_copy ? "max_wal_size=32MB" : "max_wal_size=256MB");
    /* What a worker's reset reads (pg_watch.h) outlives a checkpoint, of which each new clone makes two. */
    snprintf(kept, sizeof kept, server->program.major >= 13 ? "wal_keep_size=%dMB" : "wal_keep_segments=%d",
             server->is_copy ? 32 : 128);
    add_setting(argv, &n, kept);
    if (server->program.major >= 18)
        add_setting(argv, &n, "io_method=sync"); /* no worker processes that read ahead in what is in memory */
    if (server->program.major >= 18 && copy_shares_blocks(server->folder))
        add_setting(argv, &n, "file_copy_method=clone");
    code = spawn_as_server(server, argv, true, &server->pid);
    if (code < 0) {
        server->pid = 0;
        return err_sys(err, -code, "cannot run '%s'", program);
    }
    trace_event("db_server", TRACE_I64("server_pid", server->pid), TRACE_I64("major", server->program.major));
    return 0;
}

int pg_server_start(struct pg_server *server, const struct pg_server_options *options, struct err *err)
{
    bool has;

    return pg_server_provide(server, options, &has, err) < 0 || pg_server_launch(server, err) < 0
               ? -1
               : pg_server_await(server, err);
}

int pg_server_check(struct pg_server *server, struct err *err)
{
    struct err *death = &server->death;
    char words[300];
    int status;

    if (server->pid > 0 && waitpid(server->pid, &status, WNOHANG) == server->pid) {
        server->pid = 0;
        last_words(server, words, sizeof words);
        if (WIFSIGNALED(status))
            err_set(death, "the PostgreSQL server was killed by %s; the end of its log: %s",
                    child_signal_name(WTERMSIG(status)), words);
        else
            err_set(death, "the PostgreSQL server ended with status %d: %s", WEXITSTATUS(status), words);
    }
    if (server->pid > 0)
        return 0;
    *err = *death;
    return -1;
}

/* True when it has ended within the limit. */
static bool end_by(struct pg_server *server, int signal, int seconds)
{
    const uint64_t limit = limit_ns(seconds);

    kill(server->pid, signal);
    while (waitpid(server->pid, NULL, WNOHANG) == 0) {
        if (clock_now_ns() > limit)
            return false;
        nap_ms(1);
    }
    server->pid = 0;
    return true;
}

void pg_server_stop(struct pg_server *server)
{
    if (server->pid > 0 && !end_by(server, SIGQUIT, QUIT_LIMIT_S))
        end_by(server, SIGKILL, QUIT_LIMIT_S);
}

/* Its backends may live on for a moment after their postmaster, in the memory that they share. */
void pg_server_forget(struct pg_server *server)
{
    char data[PLACE_SIZE + 8];

    pg_server_stop(server);
    snprintf(data, sizeof data, "%s/data", server->folder);
    place_end_server(data);
    copy_remove(data);
    server->has_data = false;
}

/* The cache may lie on a slow disk: nobody waits for that, and what workers wait for goes first. */
static void keep_in_background(struct pg_server *server, const char *name, const char *data, bool is_copy)
{
    const int pid = fork();

    if (pid == 0) {
        setpriority(PRIO_PROCESS, 0, SAVER_NICE);
        keep_cluster(server, name, data);
        if (is_copy)
            copy_remove(data);
        _exit(0);
    }
    if (pid < 0 && is_copy)
        copy_remove(data);
    if (pid < 0)
        return;
    server->savers = hs_realloc(server->savers, (server->n_savers + 1) * sizeof *server->savers);
    server->savers[server->n_savers++] = pid;
}

/* Its own copy: an earlier one may still be on its way to the cache. Without room for it the next run builds again. */
static void keep_copy(struct pg_server *server, const char *name, const char *data)
{
    const struct copy_owner owner = {geteuid(), getegid()};
    char copy[PLACE_SIZE + 32];

    snprintf(copy, sizeof copy, "%s/copy-%zu", server->folder, server->n_savers);
    if (copy_tree_at_once(data, copy, &owner) == 0)
        keep_in_background(server, name, copy, true);
    else
        copy_remove(copy);
}

int pg_server_save(struct pg_server *server, const char *key, bool again, struct err *err)
{
    char data[PLACE_SIZE + 8];
    char name[128];

    if (server->pid <= 0 || !end_by(server, SIGINT, STOP_LIMIT_S))
        return err_set(err, "the PostgreSQL server did not stop within %d s", STOP_LIMIT_S);
    snprintf(data, sizeof data, "%s/data", server->folder);
    with_template(server, key, name);
    if (key[0] && !pg_has_tablespaces(data)) {
        if (again)
            keep_copy(server, name, data);
        else
            keep_in_background(server, name, data, false); /* nothing will change there any more */
    }
    return !again ? 0 : pg_server_launch(server, err) < 0 ? -1 : pg_server_await(server, err);
}

void pg_server_close(struct pg_server *server)
{
    if (server->lock_fd >= 0)
        close(server->lock_fd);
    server->lock_fd = -1;
}

static void await_saver(int pid, uint64_t limit)
{
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (clock_now_ns() > limit) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            return;
        }
        nap_ms(2);
    }
}

void pg_server_saved(struct pg_server *server)
{
    const uint64_t limit = limit_ns(SAVE_LIMIT_S);

    for (size_t i = 0; i < server->n_savers; i++)
        await_saver(server->savers[i], limit);
    free(server->savers);
    server->savers = NULL;
    server->n_savers = 0;
}

void pg_server_conninfo(const struct pg_server *server, char *text, size_t size)
{
    snprintf(text, size, "host=%s/s port=5432 user=postgres dbname=postgres", server->folder);
}
