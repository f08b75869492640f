/*
 * loop.h - which test is running, and which comes next.
 *
 * The next test is claimed when the teardown of the present one begins: until then another worker may steal it, and
 * nextitem, which pytest hands to the teardown, is exact all the same.
 */
#ifndef HASTEN_LOOP_H
#define HASTEN_LOOP_H

#include "py/compat.h"

/* The item for pytest's teardown_exact in the place of the one that was only peeked at. Borrowed, None for none;
 * NULL with an exception set. Any other item comes back as it is. */
PyObject *loop_nextitem(PyObject *nextitem);

/* 1: the session is about to stop (shouldfail, shouldstop), 0, or -1 with an exception set. */
int loop_stopping(void);

/*
 * The test of this index in the catalog runs now; limits: index -> its time limit in ns, where it has one of its own.
 * *next: borrowed, what comes next, None for nothing; only with at_once it is claimed. The item, new; NULL with an
 * exception set.
 */
PyObject *loop_begin(long index, PyObject *limits, bool at_once, PyObject **next);

/* The test is over and its result published. 1: the session is to stop, 0, or -1 with an exception set. */
int loop_end(void);

/* The next test's index in the catalog, -1, or LEASED_ERROR with an exception set. May wait (leased.h). */
long loop_next(void);

/* pytest's own SetupState.teardown_exact of the session, borrowed. */
PyObject *loop_original(void);

#endif
