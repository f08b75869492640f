/*
 * pooler.h - sessions of PostgreSQL that are ready for the next connection with the same start-up message.
 *
 * A process of its own between the tests and a server of the run's own, so that nobody waits while the keeper makes a clone.
 * Tests connect to p/.s.PGSQL.5432 in the server's folder. That is a symbolic link: to the server's socket, or to the
 * pooler's; so connections go straight to the server as long as that is better.
 *
 *   POOLER_AUTO   straight at first; through the pooler once connections turn out to be short
 *   POOLER_ON     through the pooler from the beginning
 *   POOLER_OFF    there is none
 *
 * With POOLER_AUTO the pooler sets the link back when what passes through it costs more than warm sessions save.
 *
 * The promise: a client sees what it would see of a new session. A session is given on only when nothing says that it is
 * different (pooler_own.h), and thrown away otherwise. docs/decisions/0024-a-pooler-of-our-own.md.
 */
#ifndef HASTEN_DB_POOLER_H
#define HASTEN_DB_POOLER_H

#include "base/err.h"

enum pooler_mode { POOLER_AUTO, POOLER_ON, POOLER_OFF };

struct pooler {
    enum pooler_mode mode;
    char folder[256]; /* of the server; "": it does not run */
    int pid;          /* of the process; 0: there is none */
    int control;      /* owned: 's' or 'f' and a name there, one byte back; -1 */
    bool routed;      /* connections have been sent through it */
    uint64_t looked_ns, sessions;
    unsigned n_windows;
};

/* HASTEN_DB_POOLER, when it is set, decides for the mode. */
enum pooler_mode pooler_mode_of(const char *setting);

/*
 * Makes the folder p and the link, and with POOLER_ON the process. user 0: who we are. A second call does nothing.
 */
int pooler_start(struct pooler *pooler, const char *folder, unsigned user, unsigned group, struct err *err);
void pooler_end(struct pooler *pooler);

/* Waits, for a moment at most, until sessions of this database whose client has gone are clean or have ended. */
void pooler_settle(struct pooler *pooler, const char *database);
/* The same, with those that are idle ended, before another database takes the name. */
void pooler_forget(struct pooler *pooler, const char *database);

/* Where new connections go from now on. */
void pooler_route(struct pooler *pooler, bool through);

/* False: its process has ended. New connections go straight to the server then. */
bool pooler_check(struct pooler *pooler);

/* sessions: how many there have been on the server. Sends connections through the pooler when they are short (POOLER_AUTO). */
void pooler_consider(struct pooler *pooler, uint64_t sessions);
bool pooler_wants_to_know(struct pooler *pooler); /* now, how many there have been */

/* The process itself. control: ends it at its end of file. */
struct pooler_paths {
    const char *server; /* the server's socket */
    const char *link;   /* what is set back to it ... */
    const char *target; /* ... as this */
    int listener;
    int control;
    bool stays; /* however little is saved */
};
int pooler_serve(const struct pooler_paths *paths);

/* A symbolic link in place of what is there, at once. 0 or -errno. */
int pooler_link(const char *target, const char *link);

#endif
