/*
 * names.h - which names of a module or class are worth a look, and what stands for a value in an id: found
 * without running any code of the suite.
 */
#ifndef HASTEN_NAMES_H
#define HASTEN_NAMES_H

#include <stdbool.h>

#include "py/compat.h"

bool names_has(PyObject *dict, const char *key); /* dict may be NULL */

/* A value of a built-in type (or one of pytest's) without attributes of its own: no test, whatever it is called. */
bool names_is_plain(PyObject *value);

/*
 * dir(holder), a new list, without the names at which pytest's FixtureManager.parsefactories() would look for nothing:
 * those of plain values, of functions that wrap nothing, and of what every object has.
 */
PyObject *names_of_fixtures(PyObject *holder);

/*
 * What stands for this value in a parametrized test's id where neither an ids function nor a hook has a say. NULL
 * without an exception: pytest has to say.
 */
PyObject *names_plain_id(PyObject *value);

#endif
