/*
 * leased.h - this worker and tests that need exclusive things (run/leases.h): for loop.c, which asks for the next test.
 * In a run without such tests nothing here is called but leased_on.
 */
#ifndef HASTEN_LEASED_H
#define HASTEN_LEASED_H

#include "py/compat.h"

/* A test comes, but not now: the present one is torn down as leased_rest says, and leased_wait finds it. */
#define LEASED_LATER (-3L)
#define LEASED_ERROR (-2L) /* an exception is set */

/* Some test of this run has needs. */
bool leased_on(void);

/* After worker_attach. */
void leased_attach(void);

/* link_take of such a run: an index in the catalog, -1 or LEASED_LATER. Never waits. */
long leased_claim(void);
long leased_peek(void); /* a guess, or -1 */

/*
 * What pytest's teardown is told to come next, so that no fixture outlives the unit that it uses: `next` itself, or a
 * node whose children are all torn down, or None. next: -1, LEASED_LATER or an index, with its item in nextitem, NULL
 * otherwise. Borrowed; NULL with an exception set.
 */
PyObject *leased_stand_in(PyObject *item, long next, PyObject *nextitem);

/* The claim was made when the teardown was over: nothing of it could be told. */
void leased_claimed_late(long next);

/* The running test is over (or the claimed one begins): gives back what it does not need. */
void leased_turn(void);

/* Tells Python which units its worker has for the test that begins now, if any. -1 with an exception set. */
int leased_begin(PyObject *item);

/* Waits for what leased_claim has left for later, and for tokens of the claimed test: its index, -1, LEASED_ERROR. */
long leased_wait(long claimed);

#endif
