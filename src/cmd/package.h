/* package.h - verbs whose work the Python package does: the program parses and documents their options. */
#ifndef HASTEN_CMD_PACKAGE_H
#define HASTEN_CMD_PACKAGE_H

#include "base/opt.h"

/*
 * Becomes `python -P -m module PROGRAM --option=value ... -- rest`: options are those of the table that `from` holds, as
 * opt_parse has put them there (seconds in nanoseconds), PROGRAM is this program. Returns only when python cannot be
 * started: the exit status, after saying so.
 */
int package_exec(const char *python, const char *module, const struct opt_table *table, const void *from,
                 const struct opt_list *rest);

#endif
