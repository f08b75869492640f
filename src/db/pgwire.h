/*
 * pgwire.h - PostgreSQL's protocol (version 3), as far as a pooler has to understand it: where messages end, what a client's
 * text may do to its session, and when the server has answered everything. Streams come in pieces of any size.
 */
#ifndef HASTEN_DB_PGWIRE_H
#define HASTEN_DB_PGWIRE_H

#include "base/str.h"

enum {
    WIRE_START_LEAST = 8,
    WIRE_START_MOST = 10000, /* the server's own limit */
    WIRE_PROTOCOL = 3,
    WIRE_CANCEL = 80877102,
    WIRE_TLS = 80877103,
    WIRE_GSS = 80877104,
};

/*
 * What words in a client's statements may mean for a pool of sessions. Found by word, wherever it stands: a name or a text that
 * has such a word costs a new session and nothing else.
 */
enum wire_hint {
    WIRE_KEEPS = 1,     /* the session may keep something that DISCARD ALL leaves */
    WIRE_CODE = 2,      /* functions or extensions are made or changed */
    WIRE_DATABASES = 4, /* databases are made, dropped or renamed: nobody may be connected then */
    WIRE_SESSIONS = 8,  /* it looks at the server's sessions */
    WIRE_SERVER = 16,   /* the server's settings are changed */
    WIRE_STOPS = WIRE_DATABASES | WIRE_SESSIONS | WIRE_SERVER,
};

struct wire_words {
    char word[24];
    uint8_t n;
    bool longer;    /* the word has more than that */
    bool in_set;    /* between SET and what it is set to */
    bool in_config; /* before the comma of set_config( */
    bool quoted;
    bool altered; /* ALTER stood in this statement */
};

/* From a client, after its start-up message. */
struct wire_front {
    unsigned char head[5];
    uint8_t n_head;
    uint32_t left;    /* of the body */
    uint32_t n_asked; /* messages that the server answers with ReadyForQuery, and has not yet */
    bool begun;       /* something of the body was seen */
    bool named;       /* it is a statement to be prepared under a name: it may run again without its text */
    bool unsynced;    /* extended messages without a Sync yet */
    bool ended;       /* Terminate: nothing after it counts */
    bool broken;      /* what came is no message that we know: nothing is known any more */
    struct wire_words words;
};

/*
 * Looks at [bytes, n). Returns how much of it may go to the server: all, or less when the client has ended, or when one of
 * WIRE_STOPS was found: the server has no whole message then, and the next call goes on. *hints: those found are added.
 */
size_t wire_front_feed(struct wire_front *front, const unsigned char *bytes, size_t n, unsigned *hints);

/* All that was asked is answered, and nothing is half sent. */
bool wire_front_is_quiet(const struct wire_front *front);

/* From a server. */
struct wire_back {
    unsigned char head[5];
    uint8_t n_head;
    uint32_t left;
    bool rows; /* bodies of rows are wanted, too */
    bool broken;
    struct str body; /* owned: of Z, S, K, R, E (and D), while it is collected */
};

typedef void wire_message_fn(void *arg, char type, const unsigned char *body, size_t n);

/* Calls each at the end of every message; bodies of types that are not collected are NULL. */
void wire_back_feed(struct wire_back *back, const unsigned char *bytes, size_t n, wire_message_fn *each, void *arg);

/* A field of an ErrorResponse's body ('C': SQLSTATE), or "". Borrowed from body. */
const char *wire_error_field(const unsigned char *body, size_t n, char field);

uint32_t wire_u32(const unsigned char *bytes);

/* A parameter of a start-up message (the whole of it), NULL when it has none of that name. False in *sound: it cannot be read. */
const char *wire_start_value(const unsigned char *message, size_t n, const char *name, bool *sound);

/* Adds a simple query, or Terminate. */
void wire_add_query(struct str *out, const char *sql);
void wire_add_terminate(struct str *out);

#endif
