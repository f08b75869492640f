#include "db/redis_own.h"

#include "base/clock.h"
#include "db/resp.h"
#include "os/child.h"
#include "os/copy.h"
#include "os/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { START_LIMIT_S = 60, CLEAN_LIMIT_S = 5, SAVE_LIMIT_S = 60, WORDS_MAX = 40, PATH_ROOM = PLACE_SIZE + 80 };

#define IMAGE "dump.rdb"

static void path_of(const struct redis *r, const struct redis_instance *instance, const char *end, char *path)
{
    snprintf(path, PATH_ROOM, "%s/r/%s%s", r->db.folder, instance->name, end);
}

/* resp_call with the words as arguments, the last NULL. */
static int call(int fd, struct str *values, struct err *err, ...)
{
    const char *words[WORDS_MAX + 1];
    size_t n = 0;
    va_list args;

    va_start(args, err);
    while (n < WORDS_MAX && (words[n] = va_arg(args, const char *)))
        n++;
    va_end(args);
    words[n] = NULL;
    return resp_call(fd, words, values, err);
}

/* ---- its process */

static void last_words(const struct redis *r, const struct redis_instance *instance, char *line, size_t size)
{
    char path[PATH_ROOM];
    char next[280];
    FILE *f;

    snprintf(line, size, "its log is empty");
    path_of(r, instance, ".log", path);
    f = fopen(path, "re");
    while (f && fgets(next, sizeof next, f)) {
        next[strcspn(next, "\n")] = '\0';
        if (strlen(next) > 2)
            snprintf(line, size, "%s", next);
    }
    if (f)
        fclose(f);
}

int redis_instance_check(struct redis_instance *instance, struct err *err)
{
    int status;

    if (instance->pid > 0 && waitpid(instance->pid, &status, WNOHANG) != instance->pid)
        return 0;
    if (instance->pid <= 0)
        return err_set(err, "the Redis server of %s does not run", instance->name);
    instance->pid = 0;
    if (WIFSIGNALED(status))
        return err_set(err, "the Redis server of %s was killed by %s", instance->name,
                       child_signal_name(WTERMSIG(status)));
    return err_set(err, "the Redis server of %s ended with status %d", instance->name, WEXITSTATUS(status));
}

/* Whether it takes commands: it listens before it has read its image. */
static bool answers(const char *socket)
{
    struct err err;
    const int fd = resp_open(socket, START_LIMIT_S, &err);
    const bool does = fd >= 0 && call(fd, NULL, &err, "PING", NULL) == 0;

    if (fd >= 0)
        close(fd);
    return does;
}

static int await_ready(struct redis *r, struct redis_instance *instance, const char *socket, struct err *err)
{
    const uint64_t limit = clock_now_ns() + (uint64_t)START_LIMIT_S * 1000000000;
    char words[300];

    while (!answers(socket)) {
        if (redis_instance_check(instance, err) < 0) {
            last_words(r, instance, words, sizeof words);
            return err_set(err, "the Redis server did not start: %s", words);
        }
        if (clock_now_ns() > limit || (r->options.ended && r->options.ended()))
            return err_set(err, "the Redis server was not ready within %d s", START_LIMIT_S);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return 0;
}

/* A new folder for it, with its own copy of the image: SAVE is a test's right. */
static int make_folder(const struct redis *r, const char *folder, struct err *err)
{
    char image[PATH_ROOM + 16];
    int code;

    copy_remove(folder);
    if (mkdir(folder, 0700) < 0)
        return err_sys(err, errno, "cannot make the folder '%s'", folder);
    if (!r->source[0])
        return 0;
    snprintf(image, sizeof image, "%s/" IMAGE, folder);
    code = copy_file(r->source, image, NULL);
    return code < 0 ? err_sys(err, -code, "cannot copy the template '%.150s' to '%.150s'", r->source, image) : 0;
}

static int run(struct redis *r, struct redis_instance *instance, char *socket, char *folder, struct err *err)
{
    char *argv[WORDS_MAX] = {
        r->program, "--port",       "0",       "--unixsocket", socket, "--unixsocketperm", "600", "--dir",
        folder,     "--dbfilename", IMAGE,     "--save",       "",     "--appendonly",     "no",  "--daemonize",
        "no",       "--loglevel",   "warning", "--logfile",    "",
    };
    size_t n = 21;
    char log[PATH_ROOM];
    const struct spawn_options options = {
        .argv = argv, .terminal = -1, .own_group = true, .log = log, .folder = "/", .ends_with_parent = true};
    int code;

    if (r->major >= 7) { /* before, this is how it is; `redis_instance_clean` needs it */
        argv[n++] = (char *)(uintptr_t)"--enable-debug-command";
        argv[n++] = (char *)(uintptr_t)"local";
    }
    path_of(r, instance, ".log", log);
    code = spawn(&options, &instance->pid);
    if (code < 0) {
        instance->pid = 0;
        return err_sys(err, -code, "cannot run '%s'", r->program);
    }
    return 0;
}

/* What a test may change and no FLUSHALL brings back. */
static int look_at(const struct redis *r, int fd, struct str *settings, struct str *rest, struct err *err)
{
    if (call(fd, settings, err, "CONFIG", "GET", "*", NULL) < 0 || call(fd, rest, err, "MODULE", "LIST", NULL) < 0)
        return -1;
    return r->major < 6 ? 0 : call(fd, rest, err, "ACL", "LIST", NULL);
}

int redis_instance_start(struct redis *r, struct redis_instance *instance, struct err *err)
{
    char socket[PATH_ROOM], folder[PATH_ROOM];
    int fd = -1;
    int code = -1;

    path_of(r, instance, "", socket);
    path_of(r, instance, ".d", folder);
    unlink(socket);
    str_reset(&instance->settings);
    str_reset(&instance->rest);
    if (make_folder(r, folder, err) == 0 && run(r, instance, socket, folder, err) == 0 &&
        await_ready(r, instance, socket, err) == 0 && (fd = resp_open(socket, START_LIMIT_S, err)) >= 0)
        code = look_at(r, fd, &instance->settings, &instance->rest, err);
    if (fd >= 0)
        close(fd);
    if (code < 0)
        redis_instance_end(r, instance);
    return code;
}

void redis_instance_end(struct redis *r, struct redis_instance *instance)
{
    char path[PATH_ROOM];

    if (instance->pid > 0) {
        kill(instance->pid, SIGKILL);
        while (waitpid(instance->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    instance->pid = 0;
    path_of(r, instance, "", path);
    unlink(path);
    path_of(r, instance, ".d", path);
    copy_remove(path);
    str_release(&instance->settings);
    str_release(&instance->rest);
}

int redis_instance_save(struct redis *r, const struct redis_instance *instance, char *path, size_t size,
                        struct err *err)
{
    char socket[PATH_ROOM], folder[PATH_ROOM];
    int fd;
    int code;

    path_of(r, instance, "", socket);
    path_of(r, instance, ".d", folder);
    snprintf(path, size, "%s/" IMAGE, folder);
    fd = resp_open(socket, SAVE_LIMIT_S, err);
    code = fd < 0 ? -1 : call(fd, NULL, err, "SAVE", NULL);
    if (fd >= 0)
        close(fd);
    return code;
}

/* ---- the way back */

static const char *next_text(const char *text)
{
    return text + strlen(text) + 1;
}

/* Sets what differs from the beginning. Both lists have the same names in the same order, as the server makes them. */
static int set_back(int fd, const struct str *before, const struct str *now, struct err *err)
{
    const char *b = str_text(before);
    const char *n = str_text(now);

    while (b < before->data + before->len && n < now->data + now->len) {
        const char *value = next_text(b);

        if (strcmp(b, n) != 0)
            return err_set(err, "Redis: the settings '%.60s' and '%.60s' stand at one place", b, n);
        if (strcmp(value, next_text(n)) != 0 && call(fd, NULL, err, "CONFIG", "SET", b, value, NULL) < 0)
            return -1;
        b = next_text(value);
        n = next_text(next_text(n));
    }
    return 0;
}

static bool same(const struct str *a, const struct str *b)
{
    return a->len == b->len && (!a->len || !memcmp(a->data, b->data, a->len));
}

/* Redis lists its settings in the order of a hash table whose seed is its own: the same for one process. */
static int restore_settings(const struct redis *r, const struct redis_instance *instance, int fd, struct err *err)
{
    struct str settings = STR_INIT;
    struct str rest = STR_INIT;
    int code = look_at(r, fd, &settings, &rest, err);

    if (code == 0 && !same(&rest, &instance->rest))
        code = err_set(err, "Redis: users or modules have changed");
    if (code == 0 && !same(&settings, &instance->settings))
        code = set_back(fd, &instance->settings, &settings, err);
    str_release(&settings);
    str_release(&rest);
    return code;
}

/* DEBUG RELOAD reads the image under connections that stay; a copy of it, as SAVE may have written another one. */
static int reload(const struct redis *r, const struct redis_instance *instance, int fd, struct err *err)
{
    char image[PATH_ROOM];
    int code;

    if (!r->source[0])
        return 0;
    path_of(r, instance, ".d/" IMAGE, image);
    code = copy_file(r->source, image, NULL);
    if (code < 0)
        return err_sys(err, -code, "cannot copy the template to '%.200s'", image);
    return call(fd, NULL, err, "DEBUG", "RELOAD", "NOSAVE", NULL);
}

int redis_instance_clean(struct redis *r, struct redis_instance *instance, struct err *err)
{
    char socket[PATH_ROOM];
    int fd;
    int code = -1;

    path_of(r, instance, "", socket);
    fd = resp_open(socket, CLEAN_LIMIT_S, err);
    if (fd < 0)
        return -1;
    if (restore_settings(r, instance, fd, err) == 0 && call(fd, NULL, err, "FLUSHALL", NULL) == 0 &&
        call(fd, NULL, err, "SCRIPT", "FLUSH", NULL) == 0 &&
        (r->major < 7 || call(fd, NULL, err, "FUNCTION", "FLUSH", NULL) == 0) && reload(r, instance, fd, err) == 0 &&
        call(fd, NULL, err, "SLOWLOG", "RESET", NULL) == 0)
        code = call(fd, NULL, err, "CONFIG", "RESETSTAT", NULL);
    close(fd);
    return code;
}
