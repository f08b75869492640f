/* oldstyle.h - an old-style hookwrapper, which is sent pluggy's Result: as run_old_style_hookwrapper of pluggy runs it. */
#ifndef HASTEN_OLDSTYLE_H
#define HASTEN_OLDSTYLE_H

#include "py/compat.h"

/* pluggy's Result class and its _warn_teardown_exception, both borrowed. -1 with an exception set. */
int oldstyle_init(PyObject *result_type, PyObject *warn);

/*
 * Runs the second half of a wrapper that multicall_open has opened. impl: its HookImpl. *result and *exception: as for
 * multicall_close.
 */
void oldstyle_close(PyObject *generator, PyObject *impl, PyObject *hook_name, PyObject **result, PyObject **exception);

#endif
