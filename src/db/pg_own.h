/* pg_own.h - what the files pg_*.c share. */
#ifndef HASTEN_DB_PG_OWN_H
#define HASTEN_DB_PG_OWN_H

#include "db/pg.h"

/* First halves of our advisory locks' keys: "hsR", "hsT". */
enum { LOCK_RUN = 0x687352, LOCK_TEMPLATE = 0x687354 };

/* The first column of the first row; *found false when there is none. */
int pg_ask(struct pg *pg, const char *sql, char *value, size_t size, bool *found, struct err *err);
int pg_try_lock(struct pg *pg, int kind, const char *number, bool *got, struct err *err);
void pg_unlock(struct pg *pg, int kind, const char *number);
int pg_exists(struct pg *pg, const char *name, bool *found, struct err *err);

/* ---- pg_clone.c */

int pg_create(struct pg *pg, const char *name, const char *from, struct err *err);
/* CREATE DATABASE and what belongs to it, nothing watched; key as in provider.h. */
int pg_clone_plainly(struct pg *pg, const char *key, const char *name, struct err *err);
int pg_drop(struct db *db, const char *name, struct err *err);     /* provider.h; who is connected is ended */
int pg_drop_any(struct pg *pg, const char *name, struct err *err); /* a template, too; 0 when it is not there */

/* ---- pg_names.c */

/* Of the template with that key; NULL: template1. */
void pg_template_name(const struct db *db, const char *key, char name[DB_NAME_SIZE]);
/* On our own server, straight: past a pooler; copy: the name of the one that is a copy of it (pg_server.h), "" for itself. */
void pg_own_url(const struct pg *pg, const char *name, const char *copy, bool straight, char url[DB_URL_SIZE]);
void pg_hand_out(struct db *db, const char *name, char url[DB_URL_SIZE]); /* provider.h */
int pg_command_for_sql(struct db *db, const char *url, const char *file, struct str *command, struct err *err);
/* Of a given server, from its URL. -1: it is none that we could connect to. */
int pg_set_conninfo(struct pg *pg, struct err *err);

/* ---- others */

int pg_list(struct db *db, db_entry_fn *each, void *arg, struct err *err);
int pg_prune(struct db *db, bool all_templates, struct err *err);
void pg_drop_own(struct pg *pg);        /* this run's */
void pg_consider_pooler(struct pg *pg); /* now and then: whether connections are short */

int pg_end_connections(struct pg *pg, const char *name, struct err *err); /* to a database; waits until they are gone */
int pg_connect(struct pg *pg, struct err *err);                           /* and takes the run's lock */
int pg_begin(struct pg *pg, const char *key, const char *name, struct err *err); /* it is there, as its template */

void pg_attend(struct pg *pg); /* statements that are waited for from here on are of this server */
bool pg_has_ended(const struct pg *pg);
void pg_unlock_build(struct pg *pg);

int pg_template_begin(struct db *db, const char *key, char url[DB_URL_SIZE], struct err *err);
int pg_template_end(struct db *db, const char *key, bool filled, struct err *err);
int pg_seal(struct db *db, const char *key, const char *name, struct str *what, struct err *err); /* provider.h */

struct pg_known *pg_known(struct pg *pg); /* its own, or the one that it shares */

/* Where the log of our own server is; folder: room for its path, which source borrows. */
struct wal_source;
int pg_log_source(struct pg *pg, struct pg_conn *conn, struct wal_source *source, char folder[PLACE_SIZE + 16],
                  struct err *err);

/* Of the database that conn is connected to, which is as its template. */
int pg_relations_read(struct pg_conn *conn, struct pg_relations *all, struct err *err);
void pg_relations_release(struct pg_relations *all, size_t n); /* an array of n, freed */
const struct pg_relation *pg_relations_find(const struct pg_relations *all, uint32_t filenode); /* or NULL */

#endif
