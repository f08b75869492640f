/* package.h - verbs whose work the Python package does: the program parses and documents their options. */
#ifndef HASTEN_CMD_PACKAGE_H
#define HASTEN_CMD_PACKAGE_H

#include "base/opt.h"

struct package_verb {
    const char *module; /* of the package: `python -m module` */
    const char *usage;
    const struct opt_table *table;
    void *args; /* what the table fills */
    /* Two of its members: */
    const bool *help;
    const char *const *python; /* *python NULL: the one beside this program */
    /* What is wrong with what was given, one line, or NULL. */
    const char *(*check)(const void *args, const struct opt_list *rest);
};

/* Parses, helps or complains, or else does not return: package_exec. The exit status. */
int package_main(const struct package_verb *verb, int argc, char **argv);

/*
 * Becomes `python -P -m module PROGRAM --option=value ... -- rest`: options are those of the table that `from` holds, as
 * opt_parse has put them there (seconds in nanoseconds), PROGRAM is this program. Returns only when python cannot be
 * started: the exit status, after saying so.
 */
int package_exec(const char *python, const char *module, const struct opt_table *table, const void *from,
                 const struct opt_list *rest);

#endif
