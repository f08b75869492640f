#include "db/pq.h"

#include <dlfcn.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As in libpq-fe.h, since 8.0. */
enum { CONNECTION_OK = 0 };
enum { PGRES_EMPTY_QUERY = 0, PGRES_COMMAND_OK = 1, PGRES_TUPLES_OK = 2 };
enum { DIAG_SQLSTATE = 'C', DIAG_MESSAGE = 'M', DIAG_DETAIL = 'D' };

struct conninfo_option { /* PQconninfoOption */
    char *keyword, *envvar, *compiled, *val, *label, *dispchar;
    int dispsize;
};

static struct {
    struct pg_conn *(*connect)(const char *const *keywords, const char *const *values, int expand);
    int (*status)(const struct pg_conn *);
    char *(*error)(const struct pg_conn *);
    void (*finish)(struct pg_conn *);
    int (*version)(const struct pg_conn *);
    int (*send)(struct pg_conn *, const char *);
    int (*consume)(struct pg_conn *);
    int (*busy)(struct pg_conn *);
    struct pg_result *(*next)(struct pg_conn *);
    int (*socket)(const struct pg_conn *);
    int (*result_status)(const struct pg_result *);
    char *(*field)(const struct pg_result *, int);
    int (*n_rows)(const struct pg_result *);
    int (*n_columns)(const struct pg_result *);
    char *(*value)(const struct pg_result *, int, int);
    void (*clear)(struct pg_result *);
    struct conninfo_option *(*parse)(const char *, char **);
    void (*parsed_free)(struct conninfo_option *);
    void (*free)(void *);
    void *(*on_notice)(struct pg_conn *, void (*)(void *, const char *), void *);
} pq;

static const struct {
    const char *name;
    void *at;
} wanted[] = {
    {"PQconnectdbParams", &pq.connect},
    {"PQstatus", &pq.status},
    {"PQerrorMessage", &pq.error},
    {"PQfinish", &pq.finish},
    {"PQserverVersion", &pq.version},
    {"PQsendQuery", &pq.send},
    {"PQconsumeInput", &pq.consume},
    {"PQisBusy", &pq.busy},
    {"PQgetResult", &pq.next},
    {"PQsocket", &pq.socket},
    {"PQresultStatus", &pq.result_status},
    {"PQresultErrorField", &pq.field},
    {"PQntuples", &pq.n_rows},
    {"PQnfields", &pq.n_columns},
    {"PQgetvalue", &pq.value},
    {"PQclear", &pq.clear},
    {"PQconninfoParse", &pq.parse},
    {"PQconninfoFree", &pq.parsed_free},
    {"PQfreemem", &pq.free},
    {"PQsetNoticeProcessor", &pq.on_notice},
};

static char last_state[8];
static struct {
    bool (*give_up)(void *arg);
    void *arg;
} watch;

/* Where libpq may be; HASTEN_LIBPQ names one that is elsewhere. */
static void *find_library(void)
{
    const char *const places[] = {
        getenv("HASTEN_LIBPQ"),
        "libpq.so.5",
        "libpq.5.dylib",
        "/opt/homebrew/opt/libpq/lib/libpq.5.dylib",
        "/usr/local/opt/libpq/lib/libpq.5.dylib",
        "/usr/local/pgsql/lib/libpq.so.5",
    };

    for (size_t i = 0; i < HS_COUNT(places); i++) {
        void *library = places[i] && places[i][0] ? dlopen(places[i], RTLD_NOW | RTLD_LOCAL) : NULL;

        if (library)
            return library;
    }
    return NULL;
}

int pq_load(struct err *err)
{
    static bool loaded;
    void *library = loaded ? NULL : find_library();

    if (loaded)
        return 0;
    if (!library)
        return err_set(err, "no libpq found; install it (Debian: libpq5) or name the file in HASTEN_LIBPQ");
    for (size_t i = 0; i < HS_COUNT(wanted); i++) {
        void *function = dlsym(library, wanted[i].name);

        if (!function) {
            dlclose(library);
            return err_set(err, "the libpq found here has no %s; it is too old", wanted[i].name);
        }
        memcpy(wanted[i].at, &function, sizeof function);
    }
    loaded = true;
    return 0;
}

static void ignore_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

/* The first line of libpq's text, without the full stops and the words that say nothing. */
static int say(struct err *err, const char *what, const char *text)
{
    const int n = (int)strcspn(text ? text : "", "\n");

    return err_set(err, "%s: %.*s", what, n > 380 ? 380 : n, text ? text : "");
}

struct pg_conn *pq_open(const char *conninfo, const char *database, struct err *err)
{
    const char *const keywords[] = {"dbname", database ? "dbname" : NULL, NULL};
    const char *const values[] = {conninfo, database, NULL};
    struct pg_conn *conn;

    last_state[0] = '\0';
    if (pq_load(err) < 0)
        return NULL;
    conn = pq.connect(keywords, values, 1); /* only the first dbname is expanded */
    if (conn && pq.status(conn) == CONNECTION_OK) {
        pq.on_notice(conn, ignore_notice, NULL);
        return conn;
    }
    say(err, "no connection to PostgreSQL", conn ? pq.error(conn) : "out of memory");
    if (strstr(err->text, "does not exist")) /* a refused connection carries no SQLSTATE that could be asked for */
        snprintf(last_state, sizeof last_state, "3D000");
    pq_close(conn);
    return NULL;
}

void pq_close(struct pg_conn *conn)
{
    if (conn)
        pq.finish(conn);
}

static void add_rows(const struct pg_result *result, struct str *rows)
{
    for (int row = 0; row < pq.n_rows(result); row++)
        for (int column = 0; column < pq.n_columns(result); column++)
            str_addf(rows, "%s%s", pq.value(result, row, column), column + 1 < pq.n_columns(result) ? "\t" : "\n");
}

static int failed(struct pg_conn *conn, const struct pg_result *result, const char *sql, struct err *err)
{
    const char *state = result ? pq.field(result, DIAG_SQLSTATE) : NULL;
    const char *message = result ? pq.field(result, DIAG_MESSAGE) : NULL;
    const char *detail = result ? pq.field(result, DIAG_DETAIL) : NULL;

    snprintf(last_state, sizeof last_state, "%s", state ? state : "");
    if (!strcmp(last_state, "53100"))
        return err_set(err,
                       "the disk of the PostgreSQL server is full (%.300s); HASTEN_DB_PLACE=disk or memory chooses "
                       "where hasten's own lies",
                       message ? message : "");
    if (!result && !pq.error(conn)[0])
        return err_set(err, "PostgreSQL did not answer any more (to: %.60s)", sql);
    if (!message)
        return say(err, "PostgreSQL", pq.error(conn));
    return err_set(err, "PostgreSQL: %.250s%s%.100s (in: %.60s)", message, detail ? "; " : "", detail ? detail : "",
                   sql);
}

void pq_watch(bool (*give_up)(void *arg), void *arg)
{
    watch.give_up = give_up;
    watch.arg = arg;
}

/*
 * Until the next result can be had. Not PQexec: when the postmaster dies, a backend in the middle of DROP DATABASE may wait
 * for its checkpointer for ever (seen with PostgreSQL 15), and we with it.
 */
static bool await_result(struct pg_conn *conn)
{
    while (pq.busy(conn)) {
        struct pollfd p = {.fd = pq.socket(conn), .events = POLLIN};

        if (poll(&p, 1, 50) == 0 && watch.give_up && watch.give_up(watch.arg))
            return false;
        if (p.revents && !pq.consume(conn))
            return true; /* the next result says what is wrong */
    }
    return true;
}

/* The result of the last statement, or of the one that failed; owned, NULL when the connection is of no use. */
static struct pg_result *exec(struct pg_conn *conn, const char *sql)
{
    struct pg_result *last = NULL;
    struct pg_result *result;

    if (!pq.send(conn, sql))
        return NULL;
    while (await_result(conn)) {
        result = pq.next(conn);
        if (!result)
            return last;
        if (last)
            pq.clear(last);
        last = result;
    }
    if (last)
        pq.clear(last);
    return NULL;
}

int pq_run(struct pg_conn *conn, const char *sql, struct str *rows, struct err *err)
{
    struct pg_result *result = exec(conn, sql);
    const int status = result ? pq.result_status(result) : -1;
    int code = 0;

    last_state[0] = '\0';
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY)
        code = failed(conn, result, sql, err);
    else if (rows)
        add_rows(result, rows);
    if (result)
        pq.clear(result);
    return code;
}

int pq_runf(struct pg_conn *conn, struct err *err, const char *fmt, ...)
{
    va_list args;
    char *sql = NULL;
    int code;

    va_start(args, fmt);
    HS_CHECK(vasprintf(&sql, fmt, args) >= 0);
    va_end(args);
    code = pq_run(conn, sql, NULL, err);
    free(sql);
    return code;
}

const char *pq_state(void)
{
    return last_state;
}

bool pq_is_lost(const struct pg_conn *conn)
{
    return pq.status(conn) != CONNECTION_OK;
}

int pq_version(struct pg_conn *conn)
{
    return pq.version(conn);
}

bool pq_part(const char *conninfo, const char *keyword, char *value, size_t size)
{
    struct conninfo_option *options;
    struct err err;
    char *why = NULL;

    value[0] = '\0';
    if (pq_load(&err) < 0)
        return false;
    options = pq.parse(conninfo, &why);
    if (why)
        pq.free(why);
    for (struct conninfo_option *o = options; o && o->keyword; o++)
        if (!strcmp(o->keyword, keyword) && o->val)
            snprintf(value, size, "%s", o->val);
    if (options)
        pq.parsed_free(options);
    return options != NULL;
}

void pq_literal(struct str *out, const char *text)
{
    str_puts(out, strchr(text, '\\') ? " E'" : "'");
    for (const char *c = text; *c; c++) {
        if (*c == '\'' || *c == '\\')
            str_add(out, c, 1);
        str_add(out, c, 1);
    }
    str_puts(out, "'");
}
