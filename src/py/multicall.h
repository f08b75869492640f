/* multicall.h - one wrapper of a hook, opened and closed as pluggy does it. Only after multicall_of. */
#ifndef HASTEN_MULTICALL_H
#define HASTEN_MULTICALL_H

#include "py/compat.h"

/* Runs a new-style wrapper up to its yield. generator: borrowed. 0, or -1 with an exception set. */
int multicall_open(PyObject *generator);

/*
 * Runs its second half. *result and *exception: owned, replaced by what comes out of it; one of them is NULL.
 * -1 with an exception set when it yields again: then no outer wrapper is run.
 */
int multicall_close(PyObject *generator, PyObject **result, PyObject **exception);

/* Raises what pluggy raises about a wrapper that does not yield as it should. */
void multicall_fail(PyObject *generator, const char *how);

#endif
