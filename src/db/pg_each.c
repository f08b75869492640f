#include "db/pg_each.h"

#include "base/trace.h"
#include "db/pg_copy.h"
#include "db/pg_own.h"
#include "db/pq.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { RESTARTS_MOST = 3 };

/* ABSENT -> COPYING -> CLONING -> CLONED -> READY, each step by a child or after one; any failure: ABSENT again. */
enum state { ABSENT, COPYING, CLONING, CLONED, READY };

struct pg_each_one {
    char name[DB_NAME_SIZE]; /* of its worker's database */
    struct pg pg;
    enum state state;
    int child; /* pid; 0: none */
    int n_restarts;
    bool sealed;
    bool broken;    /* it died too often */
    struct err err; /* how, then */
};

static struct pg_each *each_of(struct db *db)
{
    return (struct pg_each *)db; /* db is its first member */
}

/* "gw0" of hasten_<run>_gw0 */
static const char *worker_of(const char *name)
{
    return name + strlen("hasten_") + DB_RUN_DIGITS + 1;
}

static struct pg_each_one *find(const struct pg_each *each, const char *name)
{
    for (size_t i = 0; i < each->n; i++)
        if (!strcmp(each->ones[i]->name, name))
            return each->ones[i];
    return NULL;
}

static struct pg_each_one *add(struct pg_each *each, const char *name, struct err *err)
{
    struct pg_options options = each->options;
    struct pg_each_one *one = find(each, name);

    if (one)
        return one;
    one = hs_alloc(sizeof *one);
    *one = (struct pg_each_one){.state = ABSENT};
    snprintf(one->name, sizeof one->name, "%s", name);
    options.known = &each->known;
    options.server.copied = &each->base.server;
    options.server.name = worker_of(one->name);
    if (pg_init(&one->pg, &options, each->place, each->db.run, err) < 0) {
        free(one);
        return NULL;
    }
    each->ones = hs_realloc(each->ones, (each->n + 1) * sizeof(struct pg_each_one *));
    return each->ones[each->n++] = one;
}

/* ---- all at once */

static int copy_in_child(struct pg_each_one *one)
{
    struct err err;
    bool has;

    return pg_server_provide(&one->pg.server, &one->pg.options.server, &has, &err) < 0;
}

static int clone_in_child(struct pg_each_one *one, const char *key)
{
    struct err err;

    pq_watch(NULL, NULL);
    if (pg_server_await(&one->pg.server, &err) == 0) {
        pg_copy_warm(&one->pg.server, one->pg.options.server.copied->folder);
        /* Without the run's lock: the keeper, which comes next, would not get it before this session has ended. */
        if (pg_join(&one->pg, &err) == 0 && pg_clone_plainly(&one->pg, key, one->name, &err) == 0)
            return 0;
    }
    trace_event("db_clone_failed", TRACE_TEXT("name", one->name), TRACE_TEXT("why", err.text));
    return 1;
}

/* True in the child. */
static bool fork_for(struct pg_each_one *one, enum state state)
{
    const int pid = fork();

    if (pid == 0) {
#ifdef __linux__
        prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
        return true;
    }
    one->child = pid > 0 ? pid : 0;
    one->state = pid > 0 ? state : ABSENT;
    return false;
}

/* What was begun is undone: whoever needs the server begins from nothing, and hears what is wrong. */
static void give_up(struct pg_each_one *one)
{
    if (one->child) {
        kill(one->child, SIGKILL);
        waitpid(one->child, NULL, 0);
    }
    one->child = 0;
    one->state = ABSENT;
    one->pg.db.provider->forget(&one->pg.db);
}

static void launch(struct pg_each_one *one, const char *key)
{
    struct err err;

    one->pg.server.has_data = true;
    if (pg_server_launch(&one->pg.server, &err) < 0)
        give_up(one);
    else if (fork_for(one, CLONING))
        _exit(clone_in_child(one, key));
}

/* The next step of one, when it is due. */
static void advance(struct pg_each_one *one, const char *key)
{
    struct err err;
    int status;

    if (!one->child)
        return;
    if (waitpid(one->child, &status, WNOHANG) == 0) {
        if (one->state == CLONING && pg_server_check(&one->pg.server, &err) < 0)
            give_up(one);
        return;
    }
    one->child = 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        give_up(one);
    else if (one->state == COPYING)
        launch(one, key);
    else
        one->state = CLONED;
}

static void begin(struct pg_each *each, const char *name)
{
    struct err err;
    struct pg_each_one *one = add(each, name, &err);

    if (one && one->state == ABSENT && !one->child && fork_for(one, COPYING))
        _exit(copy_in_child(one));
}

/* The worker's that asks is first; others follow, as they will ask too. */
static void begin_all(struct pg_each *each, const char *name)
{
    const bool is_first = each->n == 0;
    char other[DB_NAME_SIZE], worker[16];
    struct err unused;

    if (is_first)
        pg_copy_shut(&each->base.server);
    begin(each, name);
    for (uint32_t i = 0; is_first && each->n_workers > 1 && i < each->n_workers; i++) {
        snprintf(worker, sizeof worker, "gw%u", i);
        db_name(each->db.run, worker, other);
        if (!find(each, other))
            begin(each, other);
    }
    pq_load(&unused); /* while they copy: the children that clone have it from here */
}

static void advance_all(struct pg_each *each, const char *key)
{
    for (size_t i = 0; i < each->n; i++)
        advance(each->ones[i], key);
}

/* ---- one */

static int from_nothing(struct pg_each_one *one, const char *key, struct err *err)
{
    struct db *db = &one->pg.db;

    one->state = ABSENT;
    if (db->provider->start(db, err) < 0 || db->provider->clone(db, key, one->name, err) < 0)
        return -1;
    one->state = READY;
    return 0;
}

static int clone(struct db *db, const char *key, const char *name, struct err *err)
{
    const struct timespec nap = {.tv_nsec = 1000000};
    struct pg_each *each = each_of(db);
    struct pg_each_one *one;

    each->key = key;
    begin_all(each, name);
    one = add(each, name, err);
    if (!one)
        return -1;
    while (one->child) {
        advance_all(each, key);
        nanosleep(&nap, NULL);
    }
    pg_attend(&one->pg);
    one->sealed = false;
    if (one->state == READY)
        return one->pg.db.provider->clone(&one->pg.db, key, name, err);
    if (one->state == CLONED && pg_connect(&one->pg, err) == 0 && pg_begin(&one->pg, key, name, err) == 0) {
        trace_event("db_clone", TRACE_TEXT("name", name));
        one->state = READY;
        return 0;
    }
    give_up(one);
    return from_nothing(one, key, err);
}

static struct pg_each_one *use(struct db *db, const char *name, struct err *err)
{
    struct pg_each_one *one = find(each_of(db), name);

    if (!one)
        err_set(err, "there is no database '%s'", name);
    else if (one->broken)
        *err = one->err;
    else
        pg_attend(&one->pg);
    return one && !one->broken ? one : NULL;
}

static int reset(struct db *db, const char *key, const char *name, struct err *err)
{
    struct pg_each_one *one = use(db, name, err);

    return one ? one->pg.db.provider->reset(&one->pg.db, key, name, err) : -1;
}

static int clean(struct db *db, const char *key, const char *name, struct str *what, struct err *err)
{
    struct pg_each_one *one = use(db, name, err);

    return one ? one->pg.db.provider->clean(&one->pg.db, key, name, what, err) : -1;
}

static int drop(struct db *db, const char *name, struct err *err)
{
    struct pg_each_one *one = use(db, name, err);

    return one ? one->pg.db.provider->drop(&one->pg.db, name, err) : 0;
}

/* The server lives on, and says in its log who asks for that database. One that was never there is not made for this. */
static int seal(struct db *db, const char *key, const char *name, struct str *what, struct err *err)
{
    struct pg_each_one *one = find(each_of(db), name);

    if (!one || (one->state == ABSENT && !one->child))
        return 0;
    if (one->state != READY && clone(db, key, name, err) < 0)
        return -1;
    one = use(db, name, err);
    if (!one || one->pg.db.provider->seal(&one->pg.db, key, name, what, err) < 0)
        return -1;
    one->sealed = true;
    return 0;
}

static void hand_out(struct db *db, const char *name, char url[DB_URL_SIZE])
{
    const struct pg_each *each = each_of(db);

    pg_own_url(&each->base, name, worker_of(name), false, url);
}

/* ---- the template, by the first server */

static int start(struct db *db, struct err *err)
{
    struct pg *base = &each_of(db)->base;

    return base->db.provider->start(&base->db, err);
}

static int template_begin(struct db *db, const char *key, char url[DB_URL_SIZE], struct err *err)
{
    struct pg *base = &each_of(db)->base;

    return base->db.provider->template_begin(&base->db, key, url, err);
}

static int fill(struct db *db, const char *url, const char *file, struct str *command, struct err *err)
{
    struct pg *base = &each_of(db)->base;

    return base->db.provider->fill(&base->db, url, file, command, err);
}

static int template_end(struct db *db, const char *key, bool filled, struct err *err)
{
    struct pg *base = &each_of(db)->base;

    return base->db.provider->template_end(&base->db, key, filled, err);
}

/* ---- the course of a run */

/* With its database as the template; who asks hears how often that was (keep.h: starts). */
static void restart(struct pg_each_one *one, const char *key, const struct err *why)
{
    one->err = *why;
    one->pg.db.provider->forget(&one->pg.db);
    one->broken = ++one->n_restarts > RESTARTS_MOST || from_nothing(one, key, &one->err) < 0;
    trace_event("db_restart", TRACE_TEXT("name", one->name), TRACE_BOOL("ok", !one->broken));
}

static int check(struct db *db, struct err *err)
{
    struct pg_each *each = each_of(db);
    int code = 0;

    for (size_t i = 0; i < each->n; i++) {
        struct pg_each_one *one = each->ones[i];
        struct err why;

        if (one->state != READY || one->broken || one->sealed || one->pg.db.provider->check(&one->pg.db, &why) == 0)
            continue;
        *err = why;
        code = -1;
        restart(one, each->key, &why);
    }
    return code;
}

static void idle(struct db *db)
{
    struct pg_each *each = each_of(db);

    advance_all(each, each->key);
    for (size_t i = 0; i < each->n; i++)
        if (each->ones[i]->state == READY && !each->ones[i]->broken) {
            pg_attend(&each->ones[i]->pg);
            each->ones[i]->pg.db.provider->idle(&each->ones[i]->pg.db);
        }
}

/* Told to end all at once, they are waited for one by one. */
static void release(struct db *db)
{
    struct pg_each *each = each_of(db);

    for (size_t i = 0; i < each->n; i++) {
        struct pg_each_one *one = each->ones[i];

        if (one->child) {
            kill(one->child, SIGKILL);
            waitpid(one->child, NULL, 0);
        }
        if (one->pg.server.pid > 0)
            kill(one->pg.server.pid, SIGQUIT);
    }
    for (size_t i = 0; i < each->n; i++) {
        each->ones[i]->pg.db.provider->release(&each->ones[i]->pg.db);
        free(each->ones[i]);
    }
    free(each->ones);
    each->ones = NULL;
    each->n = 0;
    pg_known_release(&each->known);
    each->base.db.provider->release(&each->base.db);
}

/* They end with the run, whatever becomes of it: nobody looks for databases there. */
static int list(struct db *db, db_entry_fn *entry, void *arg, struct err *err)
{
    (void)db;
    (void)entry;
    (void)arg;
    (void)err;
    return 0;
}

static int prune(struct db *db, bool all, struct err *err)
{
    (void)db;
    (void)all;
    (void)err;
    return 0;
}

int pg_each_init(struct pg_each *each, const struct pg_options *options, const struct place *place, const char *run,
                 struct err *err)
{
    struct pg_options base = *options;

    *each = (struct pg_each){.options = *options, .place = place, .n_workers = options->server.n_workers};
    each->db.provider = &pg_each_provider;
    snprintf(each->db.run, sizeof each->db.run, "%s", run);
    snprintf(each->db.folder, sizeof each->db.folder, "%s", place->folder);
    each->options.alone = true;
    each->options.server.n_workers = 1;
    each->options.server.key = NULL; /* it comes with the copy */
    base.watched = base.in_place = false;
    base.server.n_copies = each->n_workers + 1; /* and the process that reports */
    return pg_init(&each->base, &base, place, run, err);
}

const struct db_provider pg_each_provider = {
    .name = "postgres",
    .start = start,
    .template_begin = template_begin,
    .template_end = template_end,
    .clone = clone,
    .hand_out = hand_out,
    .fill = fill,
    .reset = reset,
    .clean = clean,
    .idle = idle,
    .drop = drop,
    .seal = seal,
    .list = list,
    .prune = prune,
    .check = check,
    .release = release,
};
