/*
 * hooks.h - the implementations of the hooks around a test, compiled once for each set of conftests.
 *
 * A list holds its steps in calling order. pytest's own implementations that fuse.c stands in for have a kind of their
 * own, or are left out where they do nothing; everybody else's is called at its place. A set is valid as long as
 * pluggy's own lists hold what they held when it was made.
 */
#ifndef HASTEN_HOOKS_H
#define HASTEN_HOOKS_H

#include "py/compat.h"

enum hooks_list {
    HOOKS_PROTOCOL,
    HOOKS_LOGSTART,
    HOOKS_SETUP,
    HOOKS_CALL,
    HOOKS_TEARDOWN,
    HOOKS_MAKEREPORT,
    HOOKS_LOGREPORT,
    HOOKS_LOGFINISH,
    N_HOOKS_LISTS
};

/* The values are part of python/hasten/fuse.py. */
enum step_kind {
    STEP_CALL = 1,    /* somebody else's, a plain function */
    STEP_WRAPPER = 2, /* somebody else's, a new-style wrapper */
    STEP_OLD = 3,     /* somebody else's, an old-style wrapper; Python describes it by its HookImpl */
    STEP_RUN = 4,     /* what the hook is for: runner's */
    STEP_LOG = 5,
    STEP_CAPTURE = 6,
    STEP_SKIP = 7, /* skipping's; function is used when the test has marks that it looks at */
    STEP_DEQUE = 8 /* unraisable and thread exceptions; function is used when the deque has some */
};

enum { OUTSIDE_CAPTURE = 1u, OUTSIDE_LOG = 2u, OUTSIDE_BOTH = 3u };

enum step_arg { ARG_ITEM, ARG_NEXTITEM, ARG_CALL, ARG_REPORT, ARG_NODEID, ARG_LOCATION, N_STEP_ARGS };

struct step {
    enum step_kind kind;
    unsigned outside;   /* which of OUTSIDE_ are not on yet for the phase when it runs */
    PyObject *function; /* owned; what is called */
    PyObject *impl;     /* owned; STEP_OLD: its HookImpl, else NULL */
    PyObject *extra;    /* owned or NULL; STEP_OLD: the hook's name; STEP_DEQUE: the deque */
    int n_args;
    int args[N_STEP_ARGS];
};

struct hooks_steps {
    struct step *steps; /* owned */
    int n;
};

struct hooks {
    PyObject *ihook; /* owned */
    struct hooks_steps lists[N_HOOKS_LISTS];
    PyObject *watched; /* owned, tuple of pluggy's lists */
    PyObject *copies;  /* owned, tuple of tuples: what they held */
    PyObject *pyfunc;  /* owned; None: pytest's own alone, else the hook to call */
    bool fixtures_own; /* nobody else sets up fixtures or listens to their end */
    bool reports;      /* somebody else wants the reports */
    bool foreign;      /* somebody else's code runs around a test */
};

/* How many wrappers of one call can be open. */
enum { HOOKS_MAX_OPEN = 32 };

struct hooks_open {
    const struct step *step;
    PyObject *generator; /* owned, NULL for pytest's own */
};

/* From Python's description (fuse.py); NULL with an exception set. */
struct hooks *hooks_new(PyObject *description);

/* False: an implementation was registered or removed since. */
bool hooks_valid(const struct hooks *hooks);

/* The arguments a plain function or a wrapper asked for, out of values. New reference or NULL. */
PyObject *hooks_call(const struct step *step, PyObject *const values[N_STEP_ARGS]);

/* Opens somebody else's wrapper. The generator (owned), or NULL with an exception set. */
PyObject *hooks_open(const struct step *step, PyObject *const values[N_STEP_ARGS]);

/* Its second half. *result and *exception: owned, one of them NULL, what it gets and what comes out. */
void hooks_close(struct hooks_open *open, PyObject **result, PyObject **exception);

#endif
