/*
 * pq.h - the functions of libpq that are used, opened at run time (docs/decisions/0001-no-libpq-no-ncurses.md). Their
 * types stand here and not in libpq-fe.h, which need not be installed.
 */
#ifndef HASTEN_DB_PQ_H
#define HASTEN_DB_PQ_H

#include "base/err.h"
#include "base/str.h"

struct pg_conn;
struct pg_result;

/* Opens the library, which pq_open does by itself: a process that forks has it once for all. 0, or -1. */
int pq_load(struct err *err);

/* A connection: owned, closed by pq_close. conninfo: a URL or "name=value ..."; database NULL: the one it names. */
struct pg_conn *pq_open(const char *conninfo, const char *database, struct err *err);
void pq_close(struct pg_conn *conn); /* NULL is allowed */

/* Runs statements; their rows, of the last of them, one line for each with tabs between the columns. rows NULL: not wanted. */
int pq_run(struct pg_conn *conn, const char *sql, struct str *rows, struct err *err);
int pq_runf(struct pg_conn *conn, struct err *err, const char *fmt, ...) HS_PRINTF(3, 4);

/* While an answer is awaited, give_up is asked again and again; true: the statement fails, the connection is lost. */
void pq_watch(bool (*give_up)(void *arg), void *arg);

/* SQLSTATE of the last failure of pq_run or pq_open; "" when the server said none. Borrowed until the next. */
const char *pq_state(void);

bool pq_is_lost(const struct pg_conn *conn); /* the server has ended it */
int pq_version(struct pg_conn *conn);        /* 150018 */

/* A value of a conninfo string ("host", "dbname"), "" when it names none. False: it cannot be read. */
bool pq_part(const char *conninfo, const char *keyword, char *value, size_t size);

/* Text as a literal of SQL, with its quotes, added to out. For names that we made no quoting is needed. */
void pq_literal(struct str *out, const char *text);

#endif
