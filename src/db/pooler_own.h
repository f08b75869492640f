/*
 * pooler_own.h - what the files of the pooler share: clients, and the server's sessions.
 *
 *   client     STARTING   its start-up message is being read
 *              WAITING    for a session
 *              SERVED     what it sends goes to its session, and back
 *   session    STARTING   the server's first answers
 *              CHECKING   a question of ours, before it is given to a client
 *              BUSY       a client has it
 *              PASSED     a client has it, and nothing is known of what passes (authentication, replication)
 *              CLEANING   ROLLBACK, DISCARD ALL
 *              IDLE       ready for the next
 *              ENDING     it was told to end; its end of file is awaited
 *
 * Only a session is made idle whose client ended between two messages, all answered; in which no word (pgwire.h) said that
 * it keeps something; which answered the cleaning without an error, has the parameters that it began with, and says nothing while it
 * is idle. It is given on to a client whose start-up message is the same to the byte, if the database, the role and their
 * settings are still those that it began with, which it is asked then.
 */
#ifndef HASTEN_DB_POOLER_OWN_H
#define HASTEN_DB_POOLER_OWN_H

#include "db/pgwire.h"
#include "db/pooler.h"

enum { POOLER_ROOM = 32 << 10, POOLER_IDLE_MOST = 32, POOLER_PARAMETERS = 48, POOLER_HOLD_MS = 5000 };

struct pooler_buffer {
    unsigned char *data; /* owned; POOLER_ROOM; NULL before it is used */
    size_t from, to;     /* what is in it */
};

struct pooler_base { /* a database, by name */
    char *name;      /* owned */
    bool audited;    /* its functions and extensions were looked at ... */
    bool unsafe;     /* ... and may leave something in a session */
    unsigned code;   /* changes with them */
};

enum session_state {
    SESSION_STARTING,
    SESSION_CHECKING,
    SESSION_BUSY,
    SESSION_PASSED,
    SESSION_CLEANING,
    SESSION_IDLE,
    SESSION_ENDING,
    SESSION_DEAD,
};

struct client;

struct session {
    enum session_state state;
    int fd; /* owned */
    struct wire_back in;
    struct str key;           /* owned: the start-up message */
    struct pooler_base *base; /* borrowed; NULL: nothing is known of it */
    struct client *client;    /* borrowed; NULL: nobody's */
    struct str greeting;      /* owned: the server's first answers, to be said again */
    struct str parameters;    /* owned: of the greeting: name, NUL, value, NUL */
    bool differs[POOLER_PARAMETERS];
    struct str settings; /* owned: what it answered when it was new */
    struct str answer;   /* owned: to our question */
    unsigned code;       /* of its database's functions, when it was new */
    uint32_t pid;        /* for those who cancel */
    char transaction;    /* 'I', 'T', 'E' */
    unsigned n_awaited;  /* ReadyForQuery of ours */
    bool auditing;       /* the first of these answers the audit */
    bool fresh;          /* no client had it before */
    bool kept;           /* it is not given on */
    bool failed;         /* an error answered us */
    char state_code[8];  /* SQLSTATE of an error at its start */
    uint64_t since_ns;
};

enum client_state { CLIENT_STARTING, CLIENT_WAITING, CLIENT_SERVED, CLIENT_DEAD };

struct client {
    enum client_state state;
    int fd;                        /* owned */
    struct pooler_buffer up, down; /* to the server, from it */
    size_t checked;                /* of up: so much may go on */
    struct str start;              /* owned: the start-up message */
    struct wire_front in;
    struct session *session;
    struct pooler_base *base;
    bool plain;            /* its session is never pooled */
    bool again;            /* it has been told once that there are too many connections */
    bool retry;            /* its session is to be opened once nothing is ending */
    bool patient;          /* one that is being cleaned will do */
    bool lost;             /* its session has ended */
    bool held;             /* what it sends waits until nothing is ending */
    bool codes;            /* functions are made or changed, and others may not see that yet */
    bool statement, looks; /* bars others from the pool: until it is answered, for as long as it lives */
    bool eof, gone;        /* it sends nothing more; it takes nothing more */
    bool shut;             /* the server knows of that */
    uint64_t held_ns;
};

struct pool {
    const struct pooler_paths *paths; /* borrowed */
    struct client **clients;          /* owned, as the rest */
    struct session **sessions;
    struct pooler_base **bases;
    size_t n_clients, n_sessions, n_bases;
    bool off;                    /* nothing is given on any more; the link was set back */
    uint64_t n_reused, n_passed; /* sessions; pieces of data */
    uint64_t loss_most_us;       /* of CPU, before it is turned off */
};

/* ---- pooler_session.c */

struct pooler_base *pool_base(struct pool *pool, const char *name);
void base_changed(struct pooler_base *base); /* its functions: it is looked at again, and sessions that are older end */

/* A session for a client that waits: an idle one, which is asked first, or a new one. */
void session_provide(struct pool *pool, struct client *client);
void session_readable(struct pool *pool, struct session *session);
/* Its client has ended between two messages: it is cleaned, or ended. */
void session_give_back(struct pool *pool, struct session *session);
void session_kill(struct session *session); /* at once */
/* All that are idle end. */
void pool_flush(struct pool *pool);
/* A database of this name will be another one: its sessions are ended, now or when their clients have gone. */
void pool_forget(struct pool *pool, const struct pooler_base *base);
/* Nothing is being cleaned or is ending: of that database, NULL: of any. */
bool pool_is_settled(const struct pool *pool, const struct pooler_base *base);
bool pool_is_barred(const struct pool *pool); /* nothing may become idle now */

/* ---- pooler_client.c */

void client_readable(struct pool *pool, struct client *client);
/* Sends on what can be sent, either way, and ends what has ended. Called after anything has happened to it or its session. */
void client_step(struct pool *pool, struct client *client);
void client_greet(struct pool *pool, struct client *client); /* its session is ready */
void client_kill(struct client *client);
/* Nothing is given on any more, and new connections go straight to the server. */
void pool_turn_off(struct pool *pool);

/* ---- buffers */

size_t buffer_room(const struct pooler_buffer *buffer); /* after what is in it was moved to the front */
unsigned char *buffer_end(struct pooler_buffer *buffer);
void buffer_add(struct pooler_buffer *buffer, const void *bytes, size_t n);
/* Sends [from, up_to). False: the other side takes nothing more. */
bool buffer_send(struct pooler_buffer *buffer, size_t up_to, int fd);

#endif
