/* pg_find.h - the installed PostgreSQL servers. */
#ifndef HASTEN_DB_PG_FIND_H
#define HASTEN_DB_PG_FIND_H

#include "base/err.h"

enum { PG_OLDEST = 12 };

struct pg_program {
    char bin[256];     /* folder of initdb and postgres */
    char version[128]; /* what `postgres --version` prints */
    int major;
};

/*
 * The server to start: HASTEN_PG_BIN, else the first of PATH, pg_config and the folders that packages use, the newest
 * version first there. major 0: any from PG_OLDEST on. -1: there is none; err says what was found instead.
 */
int pg_find(int major, struct pg_program *program, struct err *err);

#endif
