#include "db/redis.h"

#include "base/clock.h"
#include "base/trace.h"
#include "db/redis_own.h"
#include "db/resp.h"
#include "os/copy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const programs[] = {"redis-server", "valkey-server"};

static struct redis *redis_of(struct db *db)
{
    return (struct redis *)db; /* db is its first member */
}

/* The part of a database's name that is its worker's: a socket's path has no room for more. */
static const char *worker_of(const char *name)
{
    return name + strlen("hasten_") + DB_RUN_DIGITS + 1;
}

static void hand_out(struct db *db, const char *name, char url[DB_URL_SIZE])
{
    const char *scheme = redis_of(db)->options.scheme;

    snprintf(url, DB_URL_SIZE, "%s://%s/r/%s", scheme ? scheme : "unix", db->folder, worker_of(name));
}

/* ---- the program */

static bool version_of(const char *program, int *major)
{
    struct str command = STR_INIT;
    char line[256] = "";
    const char *number;
    FILE *f;

    db_shell_word(&command, program);
    str_puts(&command, " --version 2>/dev/null </dev/null");
    f = popen(str_text(&command), "re");
    str_release(&command);
    number = f && fgets(line, sizeof line, f) ? strstr(line, " v=") : NULL;
    *major = number ? atoi(number + 3) : 0;
    return f && pclose(f) == 0 && *major > 0;
}

static int find_program(struct redis *r, struct err *err)
{
    const char *given = getenv("HASTEN_REDIS");

    if (given && given[0]) {
        snprintf(r->program, sizeof r->program, "%s", given);
        if (version_of(given, &r->major))
            return 0;
        return err_set(err, "no Redis server in HASTEN_REDIS ('%.200s')", given);
    }
    for (size_t i = 0; i < HS_COUNT(programs); i++) {
        snprintf(r->program, sizeof r->program, "%s", programs[i]);
        if (version_of(r->program, &r->major))
            return 0;
    }
    return err_set(err, "no Redis server found in PATH; install one (Debian: redis-server) or name its program in "
                        "HASTEN_REDIS");
}

int redis_init(struct redis *redis, const struct redis_options *options, const struct place *place, const char *run,
               struct err *err)
{
    char folder[PLACE_SIZE + 16];

    *redis = (struct redis){.options = *options, .build_lock = -1};
    redis->db.provider = &redis_provider;
    snprintf(redis->db.run, sizeof redis->db.run, "%s", run);
    snprintf(redis->db.folder, sizeof redis->db.folder, "%s", place->folder);
    snprintf(folder, sizeof folder, "%s/r", place->folder);
    if (mkdir(folder, 0700) < 0)
        return err_sys(err, errno, "cannot make the folder '%s'", folder);
    return 0;
}

static int start(struct db *db, struct err *err)
{
    struct redis *r = redis_of(db);
    int code;

    if (find_program(r, err) < 0)
        return -1;
    if (!r->options.file)
        return 0;
    snprintf(r->source, sizeof r->source, "%.240s/source.rdb", db->folder);
    code = copy_file(r->options.file, r->source, NULL);
    return code < 0 ? err_sys(err, -code, "cannot read '%.200s'", r->options.file) : 0;
}

/* ---- instances */

static struct redis_instance *find(struct redis *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++)
        if (!strcmp(r->instances[i].name, name))
            return &r->instances[i];
    return NULL;
}

static int drop(struct db *db, const char *name, struct err *err)
{
    struct redis *r = redis_of(db);
    struct redis_instance *instance = find(r, worker_of(name));

    (void)err;
    if (!instance)
        return 0;
    redis_instance_end(r, instance);
    *instance = r->instances[--r->n];
    return 0;
}

static int clone(struct db *db, const char *key, const char *name, struct err *err)
{
    struct redis *r = redis_of(db);
    struct redis_instance instance = {.pid = 0};

    (void)key;
    drop(db, name, err);
    snprintf(instance.name, sizeof instance.name, "%s", worker_of(name));
    if (redis_instance_start(r, &instance, err) < 0)
        return -1;
    r->instances = hs_realloc(r->instances, (r->n + 1) * sizeof *r->instances);
    r->instances[r->n++] = instance;
    trace_event("db_clone", TRACE_TEXT("name", name));
    return 0;
}

/* In the server that runs, so that connections stay; by a new one where that cannot be all. */
static int reset(struct db *db, const char *key, const char *name, struct err *err)
{
    struct redis *r = redis_of(db);
    struct redis_instance *instance = find(r, worker_of(name));
    struct err why;

    if (!instance)
        return clone(db, key, name, err);
    if (redis_instance_check(instance, &why) == 0 && redis_instance_clean(r, instance, &why) == 0) {
        trace_event("db_clean", TRACE_TEXT("name", name));
        return 0;
    }
    trace_event("db_restart", TRACE_TEXT("name", name), TRACE_TEXT("why", why.text));
    redis_instance_end(r, instance);
    return redis_instance_start(r, instance, err);
}

static int clean(struct db *db, const char *key, const char *name, struct str *what, struct err *err)
{
    (void)what;
    return reset(db, key, name, err);
}

/* ---- templates */

static int name_template(struct redis *r, const char *key, struct err *err)
{
    char cache[PLACE_SIZE];

    if (!key[0]) {
        snprintf(r->image, sizeof r->image, "%.240s/template.rdb", r->db.folder);
        return 0;
    }
    if (place_cache("", cache, err) < 0)
        return -1;
    snprintf(r->image, sizeof r->image, "%.180s/redis-%d-%.40s.rdb", cache, r->major, key);
    return 0;
}

static void unlock(struct redis *r)
{
    if (r->build_lock >= 0)
        close(r->build_lock);
    r->build_lock = -1;
}

static bool take_image(struct redis *r)
{
    if (access(r->image, R_OK) < 0)
        return false;
    place_used(r->image);
    snprintf(r->source, sizeof r->source, "%s", r->image);
    unlock(r);
    return true;
}

static int template_begin(struct db *db, const char *key, char url[DB_URL_SIZE], struct err *err)
{
    struct redis *r = redis_of(db);
    char name[DB_NAME_SIZE];

    if (name_template(r, key, err) < 0)
        return -1;
    if (take_image(r))
        return 1;
    if (key[0] && place_cache_lock(key, r->options.ended, &r->build_lock, err) < 0)
        return -1;
    if (take_image(r))
        return 1;
    db_name(db->run, "build", name);
    if (clone(db, NULL, name, err) < 0) {
        unlock(r);
        return -1;
    }
    hand_out(db, name, url);
    trace_event("db_template_build", TRACE_TEXT("key", key));
    return 0;
}

/* The image lies beside its place first, and gets its name when it is whole. */
static int keep_image(struct redis *r, const struct redis_instance *build, struct err *err)
{
    char written[PLACE_SIZE + DB_NAME_SIZE + 32];
    char half[PLACE_SIZE + 32];
    int code = redis_instance_save(r, build, written, sizeof written, err);

    if (code < 0)
        return -1;
    snprintf(half, sizeof half, "%.*shalf-%d.rdb", (int)(strrchr(r->image, '/') + 1 - r->image), r->image,
             (int)getpid());
    code = copy_file(written, half, NULL);
    if (code == 0 && rename(half, r->image) < 0)
        code = -errno;
    if (code < 0)
        unlink(half);
    return code < 0 ? err_sys(err, -code, "cannot keep the template '%.200s'", r->image) : 0;
}

static int template_end(struct db *db, const char *key, bool filled, struct err *err)
{
    struct redis *r = redis_of(db);
    char name[DB_NAME_SIZE];
    int code = 0;

    db_name(db->run, "build", name);
    if (filled)
        code = keep_image(r, find(r, worker_of(name)), err);
    drop(db, name, err);
    if (filled && code == 0)
        snprintf(r->source, sizeof r->source, "%s", r->image);
    unlock(r);
    trace_event("db_template_end", TRACE_TEXT("key", key), TRACE_BOOL("filled", filled && code == 0));
    return code;
}

static int fill(struct db *db, const char *url, const char *file, struct str *command, struct err *err)
{
    (void)db;
    (void)url;
    (void)command;
    return err_set(err, "'%.200s' cannot fill a Redis template: a command or a callable can", file);
}

/* ---- the rest */

static int list(struct db *db, db_entry_fn *each, void *arg, struct err *err)
{
    (void)db;
    (void)each;
    (void)arg;
    (void)err;
    return 0; /* images lie in the cache and in run folders, which place.h lists */
}

static int prune(struct db *db, bool all, struct err *err)
{
    (void)db;
    (void)all;
    (void)err;
    return 0;
}

/* One that has died is there again at once, as it was in the beginning; -1 says so, once. */
static int check(struct db *db, struct err *err)
{
    struct redis *r = redis_of(db);
    int code = 0;

    for (size_t i = 0; i < r->n; i++) {
        struct redis_instance *instance = &r->instances[i];
        struct err unused;

        if (instance->pid <= 0 || redis_instance_check(instance, err) == 0)
            continue;
        code = -1;
        trace_event("db_restart", TRACE_TEXT("name", instance->name), TRACE_TEXT("why", err->text));
        redis_instance_start(r, instance, &unused); /* said to the one who asks */
    }
    return code;
}

static void release(struct db *db)
{
    struct redis *r = redis_of(db);

    for (size_t i = 0; i < r->n; i++)
        redis_instance_end(r, &r->instances[i]);
    free(r->instances);
    r->instances = NULL;
    r->n = 0;
    unlock(r);
}

const struct db_provider redis_provider = {
    .name = "redis",
    .start = start,
    .template_begin = template_begin,
    .fill = fill,
    .template_end = template_end,
    .clone = clone,
    .hand_out = hand_out,
    .reset = reset,
    .clean = clean,
    .drop = drop,
    .list = list,
    .prune = prune,
    .check = check,
    .release = release,
};
