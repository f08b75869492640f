/* imports.h - the parts of `hasten imports`: processes that are measured, what their source says, and what is printed. */
#ifndef HASTEN_CMD_IMPORTS_H
#define HASTEN_CMD_IMPORTS_H

#include "base/opt.h"
#include "base/str.h"

#include "imports/log.h"
#include "imports/view.h"

struct measuring {
    char folder[256]; /* our scratch folder; "": none yet */
    const char *python;
    const char *root; /* files below it are the user's; NULL: none are */
    struct opt_list command; /* owned; its strings are borrowed */
    uint32_t n_runs;
    struct log *logs; /* owned: n_logs, one for each run */
    uint32_t n_logs;
    uint32_t n_others; /* other Python processes of the last run */
    int status;        /* of the first run: exit status, 128 + signal */
    bool interrupted;  /* by SIGINT */
    char *path_before; /* owned: PYTHONPATH without ours; NULL: none */
};

/* imports_run.c */
/*
 * Makes the folder, runs the command once unmeasured (with its output on our stderr) and n_runs times. What is started
 * afterwards is not watched.
 */
int measuring_run(struct measuring *m, struct err *err);
void measuring_end(struct measuring *m); /* removes the folder, frees the logs */

/* imports_static.c */
/* Fills reasons (n_statements entries, as in struct imports_view) for the user's statements: owned texts. */
int imports_reasons(const struct measuring *m, const struct profile *p, char **reasons, struct err *err);

/* imports_python.c: what the package does with a measurement that lies in a file (export_json) */
/* Runs argv to its end; in and out: files, or NULL for nothing and for our own. 0 and its status, or -1. */
int imports_start(const char *const *argv, const char *in, const char *out, int *status, struct err *err);
int imports_write(const char *path, const struct str *text, struct err *err);
int imports_page(const struct measuring *m, const char *profile, const char *path, const char *root, struct err *err);

struct imports_tests_options {
    uint32_t workers;
    const char *program; /* this one; borrowed, as all here */
    const char *root;
    const struct opt_list *rest; /* pytest's arguments */
};

/* Runs the tests and says which imports they need: as JSON, and as text for people. */
int imports_tests(const struct measuring *m, const char *profile, const struct imports_tests_options *options,
                  struct str *json, struct str *text, struct err *err);

#endif
