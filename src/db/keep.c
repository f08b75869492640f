#include "db/keep_own.h"

#include "base/trace.h"
#include "db/request.h"
#include "db/setup.h"
#include "os/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUTPUT_MAX = 64 << 10, LAST_CALL_S = 40, RESTARTS_MOST = 3 };

/* ---- when to end */

static volatile sig_atomic_t told_to_end;
static int watched_pid;

static void on_signal(int signal)
{
    (void)signal;
    if (!told_to_end)
        alarm(LAST_CALL_S); /* its action is the default one: nothing can keep this process for longer */
    told_to_end = 1;
}

static bool has_ended(void)
{
    return told_to_end || (kill(watched_pid, 0) < 0 && errno == ESRCH);
}

/* A child has ended: poll is interrupted, and the loop looks at the server. */
static void on_child(int signal)
{
    (void)signal;
}

static void take_signals(void)
{
    const struct sigaction action = {.sa_handler = on_signal};
    const struct sigaction child = {.sa_handler = on_child, .sa_flags = SA_RESTART}; /* poll is not restarted */
    static const int ending[] = {SIGTERM, SIGINT, SIGHUP};

    sigaction(SIGCHLD, &child, NULL);

    for (size_t i = 0; i < HS_COUNT(ending); i++)
        sigaction(ending[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- the beginning: names and addresses, at once */

static int choose_run(char run[DB_RUN_DIGITS + 1], struct err *err)
{
    uint32_t number;
    const int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    const bool got = fd >= 0 && read(fd, &number, sizeof number) == (ssize_t)sizeof number;

    if (fd >= 0)
        close(fd);
    if (!got)
        return err_sys(err, errno, "cannot read /dev/urandom");
    snprintf(run, DB_RUN_DIGITS + 1, "%08x", number);
    return 0;
}

static int listen_at(struct keeper *k, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int n = snprintf(address.sun_path, sizeof address.sun_path, "%.90s/control", k->place.folder);

    k->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (k->listener < 0 || bind(k->listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        chmod(address.sun_path, 0600) < 0 || listen(k->listener, 1024) < 0)
        return err_sys(err, errno, "cannot listen at '%.*s'", n, address.sun_path);
    return 0;
}

static void add_kind(struct keeper *k, size_t at, struct db *db, const struct keep_template *template)
{
    k->kinds[at].db = db;
    k->kinds[at].template = template;
}

/* What cannot be had is told to those who ask for it; the rest of the run goes on. */
static void init_kinds(struct keeper *k)
{
    const struct keep_options *o = k->options;

    if (o->postgres.used) {
        struct pg_options pg = o->pg;

        pg.ended = has_ended;
        pg.server.n_workers = o->n_workers;
        pg.watched = o->postgres.reset != NULL;
        pg.in_place = pg.watched && strcmp(o->postgres.reset, "clone") != 0;
        pg.server.key = o->postgres.sql || o->postgres.command ? o->postgres.key : NULL;
        add_kind(k, 0, o->pg_each ? &k->each.db : &k->pg.db, &o->postgres);
        if ((o->pg_each ? pg_each_init(&k->each, &pg, &k->place, k->run, &k->kinds[0].err)
                        : pg_init(&k->pg, &pg, &k->place, k->run, &k->kinds[0].err)) < 0)
            k->kinds[0].db = NULL;
    }
    if (o->sqlite.used) {
        struct sqlite_options files = o->files;

        files.ended = has_ended;
        add_kind(k, 1, &k->sqlite.db, &o->sqlite);
        if (sqlite_init(&k->sqlite, &files, &k->place, k->run, &k->kinds[1].err) < 0)
            k->kinds[1].db = NULL;
    }
    if (o->redis.used) {
        struct redis_options redis = o->cache;

        redis.ended = has_ended;
        add_kind(k, 2, &k->redis.db, &o->redis);
        if (redis_init(&k->redis, &redis, &k->place, k->run, &k->kinds[2].err) < 0)
            k->kinds[2].db = NULL;
    }
}

static void add_facts(struct keeper *k, struct str *out)
{
    str_addf(out, "control %s/control\nrun %s\n", k->place.folder, k->run);
    for (size_t i = 0; i < KEEP_KINDS; i++) {
        char name[DB_NAME_SIZE], url[DB_URL_SIZE];
        const char *from = url;

        if (!k->kinds[i].db)
            continue;
        db_name(k->run, "WORKER", name);
        k->kinds[i].db->provider->hand_out(k->kinds[i].db, name, url);
        str_addf(out, "%s ", k->kinds[i].db->provider->name);
        for (const char *at; (at = strstr(from, "WORKER")); from = at + strlen("WORKER"))
            str_addf(out, "%.*s%%s", (int)(at - from), from);
        str_addf(out, "%s\n", from);
    }
    str_puts(out, "\n");
}

/* Written under another name first: who finds it finds all of it. */
static int tell(struct keeper *k, struct err *err)
{
    char half[PLACE_SIZE + 16], path[PLACE_SIZE + 16];
    struct str facts = STR_INIT;
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    FILE *f;
    bool told;

    add_facts(k, &facts);
    snprintf(half, sizeof half, "%s/info.new", k->place.folder);
    snprintf(path, sizeof path, "%s/info", k->place.folder);
    f = fopen(half, "we");
    told = f && fputs(str_text(&facts), f) >= 0;
    told = f && fclose(f) == 0 && told && rename(half, path) == 0;
    if (!told)
        err_sys(err, errno, "cannot write '%s'", path);
    else if (write(1, str_text(&facts), facts.len) < 0)
        trace_event("db_untold"); /* whoever started us is gone; the file remains */
    if (null >= 0) {
        dup2(null, 1); /* who reads it waits for its end */
        dup2(null, 2);
        close(null);
    }
    str_release(&facts);
    return told ? 0 : -1;
}

/* ---- templates */

static void read_output(const char *path, struct str *out)
{
    FILE *f = fopen(path, "re");
    char part[4096];
    size_t n;

    while (f && (n = fread(part, 1, sizeof part, f)) > 0 && out->len < OUTPUT_MAX)
        str_add(out, part, n);
    if (f)
        fclose(f);
}

static int build(struct keeper *k, struct keep_kind *kind, const char *url, struct err *err)
{
    char log[PLACE_SIZE + 16];
    const struct setup setup = {.what = kind->template, .root = k->options->root, .log = log, .ended = has_ended};
    struct db *db = kind->db;
    struct err unused;

    snprintf(log, sizeof log, "%s/setup.log", k->place.folder);
    unlink(log);
    if (setup_run(&setup, db, url, err) == 0)
        return db->provider->template_end(db, kind->template->key, true, err);
    read_output(log, &kind->output);
    db->provider->template_end(db, kind->template->key, false, &unused);
    return -1;
}

const char *keep_key_of(const struct keep_kind *kind)
{
    return kind->template->sql || kind->template->command ? kind->template->key : NULL;
}

/* For the run's summary, which must not have to wait for us. */
static void note_trouble(struct keeper *k, const struct keep_kind *kind)
{
    char path[PLACE_SIZE + 16];
    FILE *f;

    snprintf(path, sizeof path, "%s/trouble", k->place.folder);
    f = fopen(path, "ae");
    if (f) {
        fprintf(f, "%s\n%s", kind->err.text, str_text(&kind->output));
        fclose(f);
    }
    trace_event("db_trouble", TRACE_TEXT("text", kind->err.text));
}

static void prepare(struct keeper *k, struct keep_kind *kind)
{
    char url[DB_URL_SIZE];
    int code;

    if (!kind->template || has_ended())
        return;
    if (!kind->db) { /* it could not even be named */
        note_trouble(k, kind);
        return;
    }
    code = kind->db->provider->start(kind->db, &kind->err);
    if (code == 0 && keep_key_of(kind))
        code = kind->db->provider->template_begin(kind->db, keep_key_of(kind), url, &kind->err);
    if (code == 0 && keep_key_of(kind))
        code = build(k, kind, url, &kind->err);
    kind->ready = code >= 0;
    if (!kind->ready && !has_ended())
        note_trouble(k, kind);
    trace_event("db_ready", TRACE_TEXT("kind", kind->db->provider->name), TRACE_BOOL("ok", kind->ready));
}

/* ---- servers that died */

/* Everything as it was in the beginning, under the same names and addresses. */
static void start_again(struct keeper *k, struct keep_kind *kind)
{
    const struct db_provider *provider = kind->db->provider;

    kind->n_restarts++;
    provider->forget(kind->db);
    prepare(k, kind);
    for (size_t i = 0; i < kind->n && kind->ready; i++) {
        const struct keep_lease *l = &kind->leases[i];
        struct str what = STR_INIT;

        kind->ready = provider->clone(kind->db, keep_key_of(kind), l->name, &kind->err) == 0;
        if (kind->ready && l->sealed)
            kind->ready = provider->seal(kind->db, keep_key_of(kind), l->name, &what, &kind->err) == 0;
        str_release(&what);
    }
    trace_event("db_restart", TRACE_TEXT("kind", provider->name), TRACE_BOOL("ok", kind->ready));
}

/* A server that has died takes its databases with it; the provider has put that right where nothing is to be forgotten. */
static void look_at(struct keeper *k, struct keep_kind *kind)
{
    if (!kind->ready || kind->db->provider->check(kind->db, &kind->err) == 0)
        return;
    if (!kind->db->provider->forget) {
        kind->n_restarts++;
        note_trouble(k, kind);
        return;
    }
    kind->ready = false;
    note_trouble(k, kind);
    if (kind->n_restarts < RESTARTS_MOST && !has_ended())
        start_again(k, kind);
}

void keep_look(struct keeper *k)
{
    look_at(k, &k->kinds[2]);
    if (!k->options->pg.url)
        look_at(k, &k->kinds[0]);
}

static void be_idle(struct keeper *k)
{
    for (size_t i = 0; i < KEEP_KINDS; i++)
        if (k->kinds[i].ready && k->kinds[i].db->provider->idle)
            k->kinds[i].db->provider->idle(k->kinds[i].db);
}

static void serve_one(struct keeper *k)
{
    const int fd = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC);
    char request[REQUEST_MAX];
    struct str answer = STR_INIT;

    if (fd < 0)
        return;
    if (request_read(fd, request)) {
        keep_answer(k, request, &answer);
        request_answer(fd, &answer);
    }
    str_release(&answer);
    close(fd);
}

static void serve(struct keeper *k)
{
    uint32_t ahead = 0;
    bool more = true;

    while (!has_ended()) {
        struct pollfd polls[] = {{.fd = k->listener, .events = POLLIN}, {.fd = k->watched, .events = POLLIN}};
        const int n = poll(polls, HS_COUNT(polls), more ? 0 : 500);

        if (n > 0 && polls[1].revents)
            return;
        keep_look(k);
        if (n > 0 && polls[0].revents)
            serve_one(k);
        else if (more)
            more = keep_make_ahead(k, ahead++);
        be_idle(k);
    }
}

/* ---- from the beginning to the end */

static void release(struct keeper *k)
{
    trace_event("db_ending");
    if (k->pruner) {
        kill(k->pruner, SIGKILL); /* another day */
        waitpid(k->pruner, NULL, 0);
    }
    for (size_t i = 0; i < KEEP_KINDS; i++) {
        if (k->kinds[i].db)
            k->kinds[i].db->provider->release(k->kinds[i].db);
        str_release(&k->kinds[i].output);
        free(k->kinds[i].leases);
    }
    trace_event("db_released");
    if (k->listener >= 0)
        close(k->listener);
    if (k->watched >= 0)
        close(k->watched);
    place_close(&k->place);
    trace_event("db_end");
}

int keep_run(const struct keep_options *options, struct err *err)
{
    struct keeper k = {.options = options, .listener = -1, .watched = -1, .place = {.lock_fd = -1}};
    int code = -1;

    watched_pid = options->pid;
    take_signals();
    umask(077);
    if (choose_run(k.run, err) == 0 && place_open(&k.place, options->pid, err) == 0) {
        k.watched = child_handle(options->pid);
        init_kinds(&k);
        if (listen_at(&k, err) == 0 && tell(&k, err) == 0)
            code = 0;
    }
    if (code == 0) {
        place_clear(NULL, NULL);
        for (size_t i = 0; i < KEEP_KINDS; i++)
            prepare(&k, &k.kinds[i]);
        k.pruner = cache_prune_beside(&options->kept);
        serve(&k);
    }
    release(&k);
    return code;
}
