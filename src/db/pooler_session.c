#include "db/pooler_own.h"

#include "base/clock.h"
#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* What a server looks at when a session begins, as far as it may change: a session that was asked before is asked again. */
static const char settings_sql[] =
    "SELECT d.oid, d.xmin, d.ctid, r.oid, r.rolname, r.rolcanlogin, r.rolsuper, r.rolconnlimit, r.rolvaliduntil, "
    "(SELECT pg_catalog.string_agg(s::text, ' ') FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase IN (0, "
    "d.oid) "
    "AND s.setrole IN (0, r.oid)) FROM pg_catalog.pg_database d, pg_catalog.pg_roles r "
    "WHERE d.datname = pg_catalog.current_database() AND r.rolname = session_user";

/*
 * Whether code in a database may leave in a session what DISCARD ALL does not take away, out of sight of the words that pass
 * here: C code of extensions (connections of dblink and postgres_fdw), languages with variables of their own, functions
 * that make settings with a dot in their name.
 */
static const char audit_sql[] =
    "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname <> ALL "
    "('{plpgsql,btree_gin,btree_gist,citext,"
    "cube,earthdistance,fuzzystrmatch,hstore,intarray,isn,lo,ltree,moddatetime,pg_trgm,pgcrypto,tablefunc,unaccent,"
    "uuid-ossp,vector}')) AND NOT EXISTS (SELECT FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = "
    "p.prolang WHERE p.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = "
    "'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = p.oid AND e.deptype = 'e') AND (l.lanname NOT IN ('sql', "
    "'plpgsql') OR p.prosrc = '' OR p.prosrc ~* "
    "'set_config|setseed|pg_stat_|pg_backend_|dblink|pg_temp|\\m(load|temp|temporary)\\M|\\m(re)?set\\s[^=;]*\\.' "
    "OR p.proconfig::text ~ '[A-Za-z_]\\.[A-Za-z0-9_.]*='))";

/* ---- parameters that the server reports */

static const char *parameter_at(const char *at, const char **value, const char **next)
{
    *value = at + strlen(at) + 1;
    *next = *value + strlen(*value) + 1;
    return at;
}

/* Of a ParameterStatus after the greeting. */
static void note_parameter(struct session *s, const unsigned char *body, size_t n)
{
    const char *name = (const char *)body;
    const char *said = name + strnlen(name, n) + 1;
    const char *at = str_text(&s->parameters);
    const char *end = at + s->parameters.len;

    if (n < 2 || body[n - 1] || said >= name + n) {
        s->kept = true;
        return;
    }
    for (size_t i = 0; at < end; i++) {
        const char *value, *next;

        if (!strcmp(parameter_at(at, &value, &next), name)) {
            if (i < POOLER_PARAMETERS)
                s->differs[i] = strcmp(value, said) != 0;
            else
                s->kept = true;
            return;
        }
        at = next;
    }
    s->kept = true; /* it did not say so in the beginning */
}

static bool has_its_parameters(const struct session *s)
{
    for (size_t i = 0; i < POOLER_PARAMETERS; i++)
        if (s->differs[i])
            return false;
    return true;
}

/* ---- beginning and end */

static struct session *new_session(struct pool *pool)
{
    struct session *s = hs_alloc(sizeof *s);

    pool->sessions = hs_realloc(pool->sessions, (pool->n_sessions + 1) * sizeof(struct session *));
    pool->sessions[pool->n_sessions++] = s;
    s->fd = -1;
    s->state = SESSION_DEAD;
    return s;
}

void session_kill(struct session *session)
{
    if (session->fd >= 0)
        close(session->fd);
    session->fd = -1;
    session->state = SESSION_DEAD;
    session->client = NULL;
}

/* What is ours fits into the socket's buffer, which is empty then. */
static void say(struct session *s, const struct str *text)
{
    if (send(s->fd, text->data, text->len, MSG_NOSIGNAL) != (ssize_t)text->len)
        s->failed = true;
}

static void end_politely(struct session *s)
{
    struct str text = STR_INIT;

    wire_add_terminate(&text);
    say(s, &text);
    str_release(&text);
    s->state = SESSION_ENDING;
    s->client = NULL;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int code;

    if (fd < 0)
        return -errno;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    code = -errno;
    close(fd);
    return code;
}

static void open_session(struct pool *pool, struct client *client)
{
    const int fd = connect_to(pool->paths->server);
    struct session *s;

    client->retry = fd == -EAGAIN; /* the server's backlog is full */
    if (fd < 0) {
        if (!client->retry)
            client_kill(client);
        return;
    }
    s = new_session(pool);
    s->fd = fd;
    s->fresh = true;
    s->client = client;
    s->since_ns = clock_now_ns();
    client->session = s;
    say(s, &client->start);
    if (s->failed) {
        session_kill(s);
        client_kill(client);
        return;
    }
    if (client->plain) {
        s->state = SESSION_PASSED;
        client->state = CLIENT_SERVED;
        return;
    }
    s->state = SESSION_STARTING;
    s->base = client->base;
    s->code = client->base->code;
    str_add(&s->key, client->start.data, client->start.len);
}

/* ---- our question */

static void ask(struct session *s)
{
    struct str text = STR_INIT;

    s->state = SESSION_CHECKING;
    s->in.rows = true;
    s->failed = false;
    s->auditing = !s->base->audited;
    s->n_awaited = s->auditing ? 2 : 1;
    str_reset(&s->answer);
    if (s->auditing)
        wire_add_query(&text, audit_sql);
    wire_add_query(&text, settings_sql);
    say(s, &text);
    str_release(&text);
}

/* The answer is one row of one column, 't' or 'f'. */
static void end_audit(struct pool *pool, struct session *s)
{
    s->auditing = false;
    s->base->audited = true;
    s->base->unsafe = s->failed || s->answer.len != 7 || s->answer.data[6] != 't';
    str_reset(&s->answer);
    trace_event("db_pooler_audit", TRACE_TEXT("name", s->base->name), TRACE_BOOL("safe", !s->base->unsafe));
    for (size_t i = 0; i < pool->n_sessions && s->base->unsafe; i++)
        if (pool->sessions[i]->state == SESSION_IDLE && pool->sessions[i]->base == s->base)
            end_politely(pool->sessions[i]);
}

static void end_check(struct pool *pool, struct session *s)
{
    const bool sound = !s->failed && s->transaction == 'I' && s->answer.len && has_its_parameters(s) && !s->kept;
    const bool same = s->answer.len == s->settings.len && !memcmp(s->answer.data, s->settings.data, s->answer.len);
    struct client *client = s->client;

    s->in.rows = false;
    if (s->fresh) {
        s->kept = s->kept || !sound;
        str_reset(&s->settings);
        str_add(&s->settings, str_text(&s->answer), s->answer.len);
    } else if (!sound || !same || s->base->unsafe || s->code != s->base->code) {
        trace_event("db_pooler_stale", TRACE_TEXT("name", s->base->name));
        end_politely(s);
        client->session = NULL;
        open_session(pool, client);
        return;
    } else {
        pool->n_reused++;
        trace_event("db_pooler_reuse", TRACE_TEXT("name", s->base->name));
    }
    client_greet(pool, client);
}

/* ---- cleaning */

static struct session *oldest_idle(struct pool *pool, size_t *n)
{
    struct session *oldest = NULL;

    *n = 0;
    for (size_t i = 0; i < pool->n_sessions; i++) {
        struct session *s = pool->sessions[i];

        if (s->state != SESSION_IDLE)
            continue;
        ++*n;
        if (!oldest || s->since_ns < oldest->since_ns)
            oldest = s;
    }
    return oldest;
}

static bool may_be_given_on(const struct pool *pool, const struct session *s)
{
    return !pool->off && !s->kept && !s->in.broken && !s->in.n_head && s->base && s->base->audited &&
           !s->base->unsafe && s->code == s->base->code && !pool_is_barred(pool);
}

void session_give_back(struct pool *pool, struct session *session)
{
    struct str text = STR_INIT;

    session->client = NULL;
    session->fresh = false;
    if (!may_be_given_on(pool, session)) {
        end_politely(session);
        return;
    }
    session->state = SESSION_CLEANING;
    session->failed = false;
    session->n_awaited = session->transaction == 'I' ? 1 : 2;
    if (session->transaction != 'I')
        wire_add_query(&text, "ROLLBACK");
    wire_add_query(&text, "DISCARD ALL");
    say(session, &text);
    str_release(&text);
}

static void end_cleaning(struct pool *pool, struct session *s)
{
    size_t n;
    struct session *oldest = oldest_idle(pool, &n);

    if (s->failed || s->transaction != 'I' || !has_its_parameters(s) || !may_be_given_on(pool, s)) {
        end_politely(s);
        return;
    }
    s->state = SESSION_IDLE;
    s->since_ns = clock_now_ns();
    if (n >= POOLER_IDLE_MOST)
        end_politely(oldest);
}

/* ---- what the server says */

static void on_start(struct session *s, char type, const unsigned char *body, size_t n)
{
    if (s->n_awaited) /* something after ReadyForQuery */
        s->kept = true;
    if (type == 'Z' && n == 1) {
        s->transaction = (char)body[0];
        s->n_awaited = 1;
    } else if (type == 'R' && n >= 4 && wire_u32(body) == 0) {
        return;
    } else if (type == 'S' && n > 2 && !body[n - 1])
        str_add(&s->parameters, body, n);
    else if (type == 'K' && n >= 8)
        s->pid = wire_u32(body);
    else if (type == 'E')
        snprintf(s->state_code, sizeof s->state_code, "%s", wire_error_field(body, n, 'C'));
    else if (type != 'N' && type != 'v')
        s->base = NULL; /* it asks who we are: that is between it and the client */
}

static void on_busy(struct session *s, char type, const unsigned char *body, size_t n)
{
    struct client *client = s->client;

    if (type == 'S')
        note_parameter(s, body, n);
    if (type != 'Z' || n != 1)
        return;
    s->transaction = (char)body[0];
    if (client->in.n_asked)
        client->in.n_asked--;
    else
        client->in.broken = true;
    if (!client->in.n_asked && !client->held)
        client->statement = false;
    if (client->codes && s->transaction == 'I' && wire_front_is_quiet(&client->in)) {
        client->codes = false;
        base_changed(s->base); /* who was looked at meanwhile did not see what is committed now */
    }
}

static void on_message(void *arg, char type, const unsigned char *body, size_t n)
{
    struct session *s = arg;

    if (s->state == SESSION_STARTING)
        on_start(s, type, body, n);
    else if (s->state == SESSION_BUSY)
        on_busy(s, type, body, n);
    else if (!s->n_awaited) /* all was answered, and it was not asked for more */
        s->kept = true;
    else if (type == 'S')
        note_parameter(s, body, n);
    else if (type == 'E')
        s->failed = true;
    else if (type == 'D')
        str_add(&s->answer, body, n);
    else if (type == 'Z') {
        s->transaction = n == 1 ? (char)body[0] : '?';
        s->n_awaited -= s->n_awaited > 0;
    }
}

/* The two answers are told apart by where ReadyForQuery stands: so one message at a time while an audit is awaited. */
static void feed(struct pool *pool, struct session *s, const unsigned char *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        const size_t part = s->auditing ? 1 : n - at;

        wire_back_feed(&s->in, bytes + at, part, on_message, s);
        at += part;
        if (s->auditing && s->n_awaited == 1)
            end_audit(pool, s);
    }
}

static void pass_on(struct session *s)
{
    struct client *client = s->client;

    s->state = SESSION_PASSED;
    client->plain = true;
    client->state = CLIENT_SERVED;
    buffer_add(&client->down, s->greeting.data, s->greeting.len);
}

static void starting(struct pool *pool, struct session *s, const unsigned char *bytes, size_t n)
{
    str_add(&s->greeting, bytes, n);
    feed(pool, s, bytes, n);
    if (s->in.broken || !s->base || s->greeting.len > POOLER_ROOM / 2)
        pass_on(s);
    else if (s->n_awaited && !pool->off && !(s->base->audited && s->base->unsafe))
        ask(s);
    else if (s->n_awaited)
        client_greet(pool, s->client);
}

/* The server has ended it. */
static void lose(struct pool *pool, struct session *s)
{
    struct client *client = s->client;
    const enum session_state state = s->state;
    const bool fresh = s->fresh;
    const bool full = !strcmp(s->state_code, "53300") && client && !client->again;

    if (client && state == SESSION_STARTING && !full)
        pass_on(s);
    session_kill(s);
    if (!client)
        return;
    client->session = NULL;
    if (state == SESSION_STARTING && full) { /* sessions that nobody uses should not be why */
        client->again = client->retry = true;
        client->held_ns = clock_now_ns();
        pool_flush(pool);
    } else if (state == SESSION_CHECKING && !fresh)
        open_session(pool, client);
    else
        client->lost = true;
}

/* Where what comes is to be read to; NULL: there is no room. */
static unsigned char *room_for(struct session *s, unsigned char *scratch, size_t *room)
{
    struct client *client = s->client;

    *room = POOLER_ROOM / 4; /* so that a greeting fits into a client's buffer */
    if ((s->state != SESSION_BUSY && s->state != SESSION_PASSED) || client->gone)
        return scratch;
    *room = buffer_room(&client->down);
    return *room ? buffer_end(&client->down) : NULL;
}

static void take(struct pool *pool, struct session *s, const unsigned char *bytes, size_t n)
{
    switch (s->state) {
    case SESSION_STARTING:
        starting(pool, s, bytes, n);
        break;
    case SESSION_BUSY:
    case SESSION_PASSED:
        pool->n_passed++;
        if (s->state == SESSION_BUSY)
            feed(pool, s, bytes, n);
        if (!s->client->gone)
            s->client->down.to += n;
        break;
    case SESSION_CHECKING:
    case SESSION_CLEANING:
        feed(pool, s, bytes, n);
        if (s->in.broken)
            lose(pool, s);
        else if (!s->n_awaited && s->state == SESSION_CHECKING)
            end_check(pool, s);
        else if (!s->n_awaited)
            end_cleaning(pool, s);
        break;
    case SESSION_IDLE: /* it was not asked */
        session_kill(s);
        break;
    case SESSION_ENDING:
    case SESSION_DEAD:
        break;
    }
}

void session_readable(struct pool *pool, struct session *session)
{
    static unsigned char scratch[POOLER_ROOM];
    size_t room;
    unsigned char *at = room_for(session, scratch, &room);
    ssize_t n;

    if (!at)
        return;
    n = recv(session->fd, at, room, 0);
    if (n > 0)
        take(pool, session, at, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        lose(pool, session);
}

/* ---- the pool */

struct pooler_base *pool_base(struct pool *pool, const char *name)
{
    struct pooler_base *base;

    for (size_t i = 0; i < pool->n_bases; i++)
        if (!strcmp(pool->bases[i]->name, name))
            return pool->bases[i];
    base = hs_alloc(sizeof *base);
    base->name = hs_strdup(name);
    pool->bases = hs_realloc(pool->bases, (pool->n_bases + 1) * sizeof(struct pooler_base *));
    pool->bases[pool->n_bases++] = base;
    return base;
}

void base_changed(struct pooler_base *base)
{
    base->audited = base->unsafe = false;
    base->code++;
}

/* The one that was used last: it is the warmest. */
static struct session *find(struct pool *pool, const struct client *client, enum session_state state)
{
    struct session *found = NULL;

    if (client->plain || pool->off || pool_is_barred(pool))
        return NULL;
    for (size_t i = 0; i < pool->n_sessions; i++) {
        struct session *s = pool->sessions[i];

        if (s->state == state && s->key.len == client->start.len &&
            !memcmp(s->key.data, client->start.data, s->key.len) && (!found || s->since_ns > found->since_ns))
            found = s;
    }
    return found;
}

void session_provide(struct pool *pool, struct client *client)
{
    struct session *s = find(pool, client, SESSION_IDLE);

    client->state = CLIENT_WAITING;
    client->retry = false;
    client->patient = !s && find(pool, client, SESSION_CLEANING);
    if (client->patient)
        return;
    if (!s) {
        open_session(pool, client);
        return;
    }
    s->client = client;
    client->session = s;
    ask(s);
}

void pool_flush(struct pool *pool)
{
    for (size_t i = 0; i < pool->n_sessions; i++)
        if (pool->sessions[i]->state == SESSION_IDLE)
            end_politely(pool->sessions[i]);
}

void pool_forget(struct pool *pool, const struct pooler_base *base)
{
    for (size_t i = 0; i < pool->n_bases; i++)
        if (!base || pool->bases[i] == base)
            base_changed(pool->bases[i]);
    for (size_t i = 0; i < pool->n_sessions; i++)
        if (pool->sessions[i]->state == SESSION_IDLE && (!base || pool->sessions[i]->base == base))
            end_politely(pool->sessions[i]);
}

bool pool_is_settled(const struct pool *pool, const struct pooler_base *base)
{
    for (size_t i = 0; i < pool->n_sessions; i++) {
        const struct session *s = pool->sessions[i];

        if ((s->state == SESSION_CLEANING || s->state == SESSION_ENDING) && (!base || s->base == base))
            return false;
    }
    return true;
}

bool pool_is_barred(const struct pool *pool)
{
    for (size_t i = 0; i < pool->n_clients; i++) {
        const struct client *c = pool->clients[i];

        if (c->state != CLIENT_DEAD && (c->statement || c->looks || (c->again && c->state == CLIENT_WAITING)))
            return true;
    }
    return false;
}
