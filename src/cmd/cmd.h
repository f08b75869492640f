/* cmd.h - the verbs of the hasten program: one file each, one table. Only these print and choose an exit status. */
#ifndef HASTEN_CMD_H
#define HASTEN_CMD_H

#include "base/err.h"
#include "base/opt.h"

enum cmd_status { CMD_OK = 0, CMD_FAILED = 1, CMD_INTERRUPTED = 2, CMD_INTERNAL = 3, CMD_USAGE = 4 };

struct cmd {
    const char *name;
    const char *summary;                /* one line of `hasten --help` */
    int (*main)(int argc, char **argv); /* argv[0] is the first argument after the verb */
    bool hidden;
};

int cmd_dispatch(int argc, char **argv);                        /* argv[0] is the program */
int cmd_fail(int status, const char *text);                     /* "hasten: text" to stderr; returns status */
int cmd_help(const char *usage, const struct opt_table *table); /* both to stdout; CMD_OK */

int cmd_run(int argc, char **argv);
int cmd_cov(int argc, char **argv);
int cmd_history(int argc, char **argv);
int cmd_slow(int argc, char **argv);
int cmd_flaky(int argc, char **argv);
int cmd_db(int argc, char **argv);
int cmd_imports(int argc, char **argv);
int cmd_isolate(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_engine(int argc, char **argv); /* the supervisor of `pytest --hasten` */

#endif
