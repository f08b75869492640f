/*
 * provider.h - a kind of database, as one table of functions: PostgreSQL (pg.h), SQLite (sqlite.h), Redis (redis.h).
 *
 * A run has one `struct db` of each kind that it uses, in the one process that keeps them (keep.h). A template is what
 * every worker's database is a copy of; it is named by a key, a hash of everything that its content comes from, so that
 * two runs with the same key may share it. Databases are named hasten_<run>_<worker>: run is 8 hexadecimal digits.
 *
 * Whatever a function makes, it makes under a name from which a later run can tell whether its maker still lives; and
 * nothing is ever changed or dropped that has no such name.
 */
#ifndef HASTEN_DB_PROVIDER_H
#define HASTEN_DB_PROVIDER_H

#include "base/err.h"
#include "base/str.h"

#define DB_RUN_DIGITS 8
#define DB_NAME_SIZE 64 /* of names, with the NUL: PostgreSQL's limit */
#define DB_URL_SIZE 1024

struct db;

/* One database that hasten has made, for `hasten db list`. */
struct db_entry {
    const char *provider; /* borrowed until the function returns, as the rest */
    const char *name;     /* of the database, or the path of the file */
    const char *what;     /* "template", "half a template", "of a run that lives", "left behind", "cached server" */
    uint64_t bytes;
    bool dead; /* prune takes it */
};

typedef void db_entry_fn(void *arg, const struct db_entry *entry);

struct db_provider {
    const char *name; /* "postgres": what messages, settings and requests call it */

    /* Finds a server that runs, or starts one. Afterwards the others may be called, and release in any case. */
    int (*start)(struct db *db, struct err *err);

    /*
     * 1: the template of this key is there. 0: it is not, and `url` is an empty database that is to become it; the caller
     * fills it and calls template_end. -1: err. Waits while another process builds the same template.
     */
    int (*template_begin)(struct db *db, const char *key, char url[DB_URL_SIZE], struct err *err);
    /*
     * Fills the database at url by a file of SQL: 0 done, -1 err, or 1 with the command line (of a shell) that does it in
     * *command.
     */
    int (*fill)(struct db *db, const char *url, const char *file, struct str *command, struct err *err);
    /* filled: seals it and gives it its name; else what is there of it goes away. */
    int (*template_end)(struct db *db, const char *key, bool filled, struct err *err);

    /* A new database `name` with the template's content, in place of one of that name. */
    int (*clone)(struct db *db, const char *key, const char *name, struct err *err);
    /* How a test connects to it. */
    void (*hand_out)(struct db *db, const char *name, char url[DB_URL_SIZE]);
    /* The template's content again, whatever happened to it; connections to it are ended. */
    int (*reset)(struct db *db, const char *key, const char *name, struct err *err);
    /*
     * The same between two tests, by what is cheapest; connections may stay. What had been changed is added to *what, ""
     * for nothing.
     */
    int (*clean)(struct db *db, const char *key, const char *name, struct str *what, struct err *err);
    int (*drop)(struct db *db, const char *name, struct err *err);
    /*
     * Nobody gets into this database any more, and nobody can make another one of its name. What keeps it from having been as
     * its template until then is added to *what: a connection that is open, changes. Called again: a database that was made
     * since under a name from which no worker's can be told. NULL: there is nothing to do.
     */
    int (*seal)(struct db *db, const char *key, const char *name, struct str *what, struct err *err);

    int (*list)(struct db *db, db_entry_fn *each, void *arg, struct err *err);
    /* Drops what dead runs left; with `all`, templates too. Returns how many, or -1. */
    int (*prune)(struct db *db, bool all, struct err *err);

    /* 0 while the server is as it should be; -1 with what became of it (Redis: and is put right again, or is said to who asks). */
    int (*check)(struct db *db, struct err *err);
    /*
     * After check has failed: what is left of the server goes, so that start can be called again; nothing is there then, no
     * template and no clone. NULL: it cannot be started again.
     */
    void (*forget)(struct db *db);
    /* Called when nobody asks for anything; NULL: nothing to do then. */
    void (*idle)(struct db *db);
    /* Drops this run's databases, stops the server when it is ours. Safe after a failed start, and twice. */
    void (*release)(struct db *db);
};

/* What every kind's own struct begins with. */
struct db {
    const struct db_provider *provider; /* borrowed */
    char run[DB_RUN_DIGITS + 1];
    char folder[256]; /* of the run (place.h): logs, sockets, copies */
};

/* hasten_<run>_<worker>; worker's other characters than letters and digits become '_'. */
void db_name(const char *run, const char *worker, char name[DB_NAME_SIZE]);

/* True when name is hasten_<run>_<something>, with *run set. */
bool db_name_run(const char *name, char run[DB_RUN_DIGITS + 1]);

/* Text as one word of a shell, added to out. */
void db_shell_word(struct str *out, const char *text);

#endif
