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
    struct opt_list command; /* owned; its strings are borrowed */
    uint32_t n_runs;
    struct log *logs; /* owned: n_logs, one for each run */
    uint32_t n_logs;
    uint32_t n_others; /* other Python processes of the last run */
    int status;        /* of the first run: exit status, 128 + signal */
    bool interrupted;  /* by SIGINT */
};

/* imports_run.c */
/* Makes the folder, runs the command once unmeasured (with its output on our stderr) and n_runs times. */
int measuring_run(struct measuring *m, struct err *err);
void measuring_end(struct measuring *m); /* removes the folder, frees the logs */

/* imports_static.c */
/* Fills reasons (n_statements entries, as in struct imports_view) for the user's statements: owned texts. */
int imports_reasons(const struct measuring *m, const struct profile *p, char **reasons, struct err *err);

#endif
