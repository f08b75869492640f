#include "db/pooler_own.h"

#include "base/clock.h"
#include "base/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 5, SETTLE_MS = 1000, NAME_MAX_BYTES = 128 };

/* Microseconds of CPU: what a warm session saves, and what a piece of data costs that passes through (bench/databases.py pooler). */
enum { SAVED_US = 2500, PASSED_US = 10, LOSS_MOST_US = 1000000 };

/* Somebody waits until a database's sessions are clean. */
struct settling {
    bool wanted;
    bool seen; /* one look at everybody after the request came: who had gone by then is known to have */
    uint64_t limit_ns;
    const struct pooler_base *base;
};

struct polls {
    struct pollfd *items; /* owned, as the rest */
    struct client **clients;
    struct session **sessions;
    size_t n, cap;
};

/* ---- what is waited for */

static void add(struct polls *polls, int fd, bool in, bool out, struct client *client, struct session *session)
{
    if (fd < 0 || (!in && !out))
        return;
    if (polls->n == polls->cap) {
        polls->cap = polls->cap ? 2 * polls->cap : 64;
        polls->items = hs_realloc(polls->items, polls->cap * sizeof *polls->items);
        polls->clients = hs_realloc(polls->clients, polls->cap * sizeof(struct client *));
        polls->sessions = hs_realloc(polls->sessions, polls->cap * sizeof(struct session *));
    }
    polls->items[polls->n] = (struct pollfd){.fd = fd, .events = (short)((in ? POLLIN : 0) | (out ? POLLOUT : 0))};
    polls->clients[polls->n] = client;
    polls->sessions[polls->n++] = session;
}

static void add_client(struct polls *polls, struct client *c)
{
    add(polls, c->fd, !c->eof && buffer_room(&c->up) > 0, !c->gone && c->down.from < c->down.to, c, NULL);
}

static void add_session(struct polls *polls, struct session *s)
{
    const struct client *c = s->client;
    const bool served = s->state == SESSION_BUSY || s->state == SESSION_PASSED;

    add(polls, s->fd, !served || c->gone || buffer_room(&c->down) > 0, served && c->up.from < c->checked, NULL, s);
}

static void gather(const struct pool *pool, struct polls *polls)
{
    polls->n = 0;
    add(polls, pool->paths->control, true, false, NULL, NULL);
    add(polls, pool->paths->listener, true, false, NULL, NULL);
    for (size_t i = 0; i < pool->n_clients; i++)
        add_client(polls, pool->clients[i]);
    for (size_t i = 0; i < pool->n_sessions; i++)
        add_session(polls, pool->sessions[i]);
}

/* ---- what has happened */

static void accept_clients(struct pool *pool)
{
    for (;;) {
        const int fd = accept4(pool->paths->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        struct client *client;

        if (fd < 0)
            return;
        client = hs_alloc(sizeof *client);
        client->fd = fd;
        pool->clients = hs_realloc(pool->clients, (pool->n_clients + 1) * sizeof(struct client *));
        pool->clients[pool->n_clients++] = client;
    }
}

/* A handler may have ended what a later event is of: that has no descriptor then, and is freed afterwards. */
static void handle(struct pool *pool, const struct polls *polls)
{
    for (size_t i = 2; i < polls->n; i++) {
        struct client *client = polls->clients[i];
        struct session *session = polls->sessions[i];
        const short events = polls->items[i].revents;

        if (!events)
            continue;
        if (client && client->state != CLIENT_DEAD) {
            if (events & (POLLIN | POLLHUP | POLLERR))
                client_readable(pool, client);
            if (events & (POLLHUP | POLLERR))
                client->gone = true;
        } else if (session && session->state != SESSION_DEAD) {
            client = session->client;
            if (events & (POLLIN | POLLHUP | POLLERR))
                session_readable(pool, session);
        }
        if (client)
            client_step(pool, client);
    }
}

static void release_client(struct client *client)
{
    free(client->up.data);
    free(client->down.data);
    str_release(&client->start);
    free(client);
}

static void release_session(struct session *s)
{
    str_release(&s->in.body);
    str_release(&s->key);
    str_release(&s->greeting);
    str_release(&s->parameters);
    str_release(&s->settings);
    str_release(&s->answer);
    free(s);
}

static void sweep(struct pool *pool)
{
    size_t n = 0;

    for (size_t i = 0; i < pool->n_clients; i++)
        if (pool->clients[i]->state == CLIENT_DEAD)
            release_client(pool->clients[i]);
        else
            pool->clients[n++] = pool->clients[i];
    pool->n_clients = n;
    n = 0;
    for (size_t i = 0; i < pool->n_sessions; i++)
        if (pool->sessions[i]->state == SESSION_DEAD)
            release_session(pool->sessions[i]);
        else
            pool->sessions[n++] = pool->sessions[i];
    pool->n_sessions = n;
}

/* ---- who waits for others */

static bool is_late(uint64_t since_ns, uint64_t now_ns)
{
    return now_ns - since_ns > (uint64_t)POOLER_HOLD_MS * 1000000;
}

static void release_held(struct pool *pool)
{
    const bool settled = pool_is_settled(pool, NULL);
    const size_t n = pool->n_clients;

    for (size_t i = 0; i < n; i++) {
        struct client *c = pool->clients[i];

        if (c->state == CLIENT_WAITING && c->patient)
            session_provide(pool, c);
        else if (c->state == CLIENT_WAITING && c->retry &&
                 (settled || !c->again || is_late(c->held_ns, clock_now_ns())))
            session_provide(pool, c);
        if (c->state != CLIENT_SERVED || !c->held || (!settled && !is_late(c->held_ns, clock_now_ns())))
            continue;
        c->held = false;
        client_step(pool, c);
    }
}

static bool somebody_waits(const struct pool *pool)
{
    for (size_t i = 0; i < pool->n_clients; i++)
        if (pool->clients[i]->state != CLIENT_DEAD && (pool->clients[i]->held || pool->clients[i]->retry))
            return true;
    return false;
}

/* ---- the keeper */

/* False: it has ended. */
static bool hear(struct pool *pool, struct settling *settling)
{
    char name[NAME_MAX_BYTES];
    const ssize_t n = recv(pool->paths->control, name, sizeof name - 1, MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    name[n] = '\0';
    *settling = (struct settling){.wanted = true, .base = pool_base(pool, name + 1)};
    if (name[0] == 'f')
        pool_forget(pool, settling->base);
    settling->limit_ns = clock_now_ns() + (uint64_t)SETTLE_MS * 1000000;
    return true;
}

static void tell(struct pool *pool, struct settling *settling)
{
    if (!settling->wanted)
        return;
    if (settling->seen && (pool_is_settled(pool, settling->base) || clock_now_ns() > settling->limit_ns)) {
        if (send(pool->paths->control, "s", 1, MSG_NOSIGNAL) == 1)
            settling->wanted = false;
    }
    settling->seen = true;
}

/* ---- whether it pays */

static uint64_t loss_most_us(void)
{
    const char *said = getenv("HASTEN_TEST_POOLER_LOSS");

    return said ? strtoull(said, NULL, 10) : LOSS_MOST_US;
}

static void weigh(struct pool *pool)
{
    if (!pool->paths->stays && !pool->off &&
        pool->n_passed * PASSED_US > pool->n_reused * SAVED_US + pool->loss_most_us)
        pool_turn_off(pool);
}

int pooler_serve(const struct pooler_paths *paths)
{
    struct pool pool = {.paths = paths, .loss_most_us = loss_most_us()};
    struct polls polls = {.n = 0};
    struct settling settling = {.wanted = false};
    bool goes_on = true;

    while (goes_on) {
        int n;

        gather(&pool, &polls);
        n = poll(polls.items, (nfds_t)polls.n,
                 settling.wanted && !settling.seen          ? 0
                 : settling.wanted || somebody_waits(&pool) ? WAIT_MS
                                                            : -1);
        if (n < 0 && errno != EINTR)
            break;
        if (n < 0)
            continue;
        handle(&pool, &polls);
        release_held(&pool);
        if (polls.items[1].revents)
            accept_clients(&pool);
        tell(&pool, &settling);
        if (polls.items[0].revents)
            goes_on = hear(&pool, &settling);
        weigh(&pool);
        sweep(&pool);
    }
    for (size_t i = 0; i < pool.n_clients; i++)
        client_kill(pool.clients[i]);
    for (size_t i = 0; i < pool.n_sessions; i++)
        session_kill(pool.sessions[i]);
    sweep(&pool);
    for (size_t i = 0; i < pool.n_bases; i++) {
        free(pool.bases[i]->name);
        free(pool.bases[i]);
    }
    free(pool.bases);
    free(pool.clients);
    free(pool.sessions);
    free(polls.items);
    free(polls.clients);
    free(polls.sessions);
    return 0;
}
