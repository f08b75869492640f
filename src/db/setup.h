/* setup.h - fills a template: a file of SQL, or a command of the project. */
#ifndef HASTEN_DB_SETUP_H
#define HASTEN_DB_SETUP_H

#include "db/keep.h"

struct setup {
    const struct keep_template *what; /* borrowed, as the rest */
    const char *root;
    const char *log;     /* file for what it prints */
    bool (*ended)(void); /* true: it is killed */
};

/* 0, or -1 with how it ended and the last line that it printed. */
int setup_run(const struct setup *setup, struct db *db, const char *url, struct err *err);

#endif
