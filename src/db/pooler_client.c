#include "db/pooler_own.h"

#include "base/clock.h"
#include "base/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CANCEL_SIZE = 16, NO_TLS_SIZE = 8 };

/* ---- buffers */

size_t buffer_room(const struct pooler_buffer *buffer)
{
    return POOLER_ROOM - (buffer->to - buffer->from);
}

unsigned char *buffer_end(struct pooler_buffer *buffer)
{
    if (!buffer->data)
        buffer->data = hs_alloc(POOLER_ROOM);
    if (buffer->from) {
        memmove(buffer->data, buffer->data + buffer->from, buffer->to - buffer->from);
        buffer->to -= buffer->from;
        buffer->from = 0;
    }
    return buffer->data + buffer->to;
}

void buffer_add(struct pooler_buffer *buffer, const void *bytes, size_t n)
{
    if (!n)
        return;
    HS_CHECK(n <= buffer_room(buffer));
    memcpy(buffer_end(buffer), bytes, n);
    buffer->to += n;
}

bool buffer_send(struct pooler_buffer *buffer, size_t up_to, int fd)
{
    while (buffer->from < up_to) {
        const ssize_t n = send(fd, buffer->data + buffer->from, up_to - buffer->from, MSG_NOSIGNAL);

        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        buffer->from += (size_t)n;
    }
    return true;
}

/* ---- its beginning */

void client_kill(struct client *client)
{
    struct session *s = client->session;

    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->state = CLIENT_DEAD;
    client->session = NULL;
    if (s && s->client == client)
        session_kill(s);
}

/* Whatever it is, it is the server's to say. */
static void begin_plain(struct pool *pool, struct client *client, size_t n)
{
    client->plain = true;
    str_add(&client->start, client->up.data + client->up.from, n);
    client->up.from += n;
    client->checked = client->up.from;
    session_provide(pool, client);
}

/* A cancellation that comes when its client has gone must not meet the next one. */
static void begin_cancel(struct pool *pool, struct client *client)
{
    const uint32_t pid = wire_u32(client->up.data + client->up.from + 8);

    for (size_t i = 0; i < pool->n_sessions; i++) {
        struct session *s = pool->sessions[i];

        if (s->pid != pid || s->state == SESSION_DEAD)
            continue;
        s->kept = true;
        if (s->state != SESSION_BUSY) {
            client_kill(client);
            return;
        }
    }
    begin_plain(pool, client, CANCEL_SIZE);
}

static void begin(struct pool *pool, struct client *client, uint32_t n, uint32_t code)
{
    const unsigned char *message = client->up.data + client->up.from;
    bool sound;
    const char *user = wire_start_value(message, n, "user", &sound);
    const char *name = wire_start_value(message, n, "database", &sound);

    if (code >> 16 != WIRE_PROTOCOL || !sound || !user || wire_start_value(message, n, "replication", &sound)) {
        begin_plain(pool, client, n);
        return;
    }
    client->base = pool_base(pool, name ? name : user);
    str_add(&client->start, message, n);
    client->up.from += n;
    client->checked = client->up.from;
    session_provide(pool, client);
}

/* False: no more can be read of it now. */
static bool read_start(struct pool *pool, struct client *client)
{
    const size_t n = client->up.to - client->up.from;
    const unsigned char *message = client->up.data + client->up.from;
    const uint32_t length = n >= WIRE_START_LEAST ? wire_u32(message) : 0;
    const uint32_t code = n >= WIRE_START_LEAST ? wire_u32(message + 4) : 0;

    if (n < WIRE_START_LEAST)
        return false;
    if (length < WIRE_START_LEAST || length > WIRE_START_MOST) {
        begin_plain(pool, client, n);
        return false;
    }
    if (n < length)
        return false;
    if ((code == WIRE_TLS || code == WIRE_GSS) && length == NO_TLS_SIZE) {
        client->up.from += length;
        if (send(client->fd, "N", 1, MSG_NOSIGNAL) != 1) /* as the server behind, which has neither */
            client_kill(client);
        return client->state == CLIENT_STARTING;
    }
    if (code == WIRE_CANCEL && length == CANCEL_SIZE)
        begin_cancel(pool, client);
    else
        begin(pool, client, length, code);
    return false;
}

void client_readable(struct pool *pool, struct client *client)
{
    const size_t room = buffer_room(&client->up);
    const size_t moved = client->up.from;
    unsigned char *at;
    ssize_t n;

    if (!room || client->eof)
        return;
    at = buffer_end(&client->up);
    client->checked -= client->checked >= moved ? moved : client->checked;
    n = recv(client->fd, at, room, 0);
    if (n > 0)
        client->up.to += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        client->eof = true;
    while (client->state == CLIENT_STARTING && read_start(pool, client))
        ;
}

void client_greet(struct pool *pool, struct client *client)
{
    struct session *s = client->session;

    (void)pool;
    client->state = CLIENT_SERVED;
    s->state = SESSION_BUSY;
    buffer_add(&client->down, s->greeting.data, s->greeting.len);
}

/* ---- what it says */

void pool_turn_off(struct pool *pool)
{
    if (!pool->off && pooler_link(pool->paths->target, pool->paths->link) == 0)
        trace_event("db_pooler_straight", TRACE_U64("reused", pool->n_reused), TRACE_U64("passed", pool->n_passed));
    pool->off = true;
    pool_flush(pool);
}

/* Before it goes on, nobody is connected but who is by itself; others do not come into the pool meanwhile. */
static void hold(struct pool *pool, struct client *client, unsigned hints)
{
    client->held = true;
    client->held_ns = clock_now_ns();
    client->statement = client->statement || (hints & WIRE_DATABASES);
    client->looks = client->looks || (hints & (WIRE_SESSIONS | WIRE_SERVER));
    if (hints & WIRE_DATABASES)
        pool_forget(pool, NULL);
    pool_flush(pool);
    if (hints & WIRE_SERVER)
        pool_turn_off(pool);
}

static void look_at(struct pool *pool, struct client *client)
{
    struct session *s = client->session;

    while (!client->held && client->checked < client->up.to && !client->in.ended) {
        unsigned hints = 0;

        client->checked +=
            wire_front_feed(&client->in, client->up.data + client->checked, client->up.to - client->checked, &hints);
        if (hints & WIRE_KEEPS)
            s->kept = true;
        if (client->in.named && (hints & (WIRE_DATABASES | WIRE_CODE)))
            client->looks = true; /* it can do so again, and no word of it would be seen */
        if (hints & WIRE_CODE) {
            s->kept = client->codes = true;
            base_changed(s->base);
        }
        if (hints & WIRE_STOPS)
            hold(pool, client, hints);
    }
}

/* ---- its end */

static void leave(struct pool *pool, struct client *client)
{
    struct session *s = client->session;

    client->session = NULL;
    client_kill(client);
    session_give_back(pool, s);
}

/* Everything that it has sent is the server's, in the middle of something: the server sees the end as it would without us. */
static void shut(struct client *client)
{
    struct str text = STR_INIT;

    client->shut = true;
    client->session->kept = true;
    if (client->in.ended) {
        wire_add_terminate(&text);
        send(client->session->fd, text.data, text.len, MSG_NOSIGNAL);
        str_release(&text);
    }
    shutdown(client->session->fd, SHUT_WR);
}

static void look_for_end(struct pool *pool, struct client *client)
{
    const bool told = !client->down.data || client->down.from == client->down.to || client->gone;
    const bool all = (client->in.ended || (client->eof && client->checked == client->up.to)) && !client->held &&
                     client->up.from == client->checked;

    if (client->lost || !client->session) {
        if (told)
            client_kill(client);
        return;
    }
    if (!all)
        return;
    if (client->session->state == SESSION_BUSY && wire_front_is_quiet(&client->in) && !client->shut) {
        if (told)
            leave(pool, client);
    } else if (client->gone)
        client_kill(client);
    else if (!client->shut)
        shut(client);
}

void client_step(struct pool *pool, struct client *client)
{
    struct session *s = client->session;

    if (client->state == CLIENT_DEAD)
        return;
    if (client->state != CLIENT_SERVED) {
        if (client->eof || client->lost)
            client_kill(client);
        return;
    }
    if (s && s->state == SESSION_PASSED)
        client->checked = client->up.to;
    else if (s)
        look_at(pool, client);
    if (s && client->up.from < client->checked) {
        pool->n_passed++;
        if (!buffer_send(&client->up, client->checked, s->fd))
            client->up.from = client->checked; /* it has ended; what it has still said is read */
    }
    if (client->gone)
        client->down.from = client->down.to;
    else if (!buffer_send(&client->down, client->down.to, client->fd)) {
        client->gone = true;
        client->down.from = client->down.to;
    }
    look_for_end(pool, client);
}
