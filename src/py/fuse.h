/*
 * fuse.h - the state of the fused path and one test on its way through it; for fuse.c, phase.c and reports.c only.
 */
#ifndef HASTEN_FUSE_H
#define HASTEN_FUSE_H

#include "py/hooks.h"
#include "py/parent.h"

enum phase { PHASE_SETUP, PHASE_CALL, PHASE_TEARDOWN, N_PHASES };

extern const char *const fuse_phases[N_PHASES];

struct pass;

struct fused {
    PyObject *owner; /* owned: python/hasten/fuse.py's Fuse */
    PyObject *session, *setupstate, *function_type, *testcase_type, *request_type, *outcomes; /* owned */
    PyObject *caplog_records, *caplog_handler_key, *xfailed, *tmppath; /* owned stash keys; tmppath may be None */
    PyObject *caplog_handler;                                          /* owned, None without the logging plugin */
    PyObject *capman;                                                  /* owned, None without capture */
    PyObject *call_test;                                               /* owned: python/hasten/frames.py */
    PyObject *call_info;                                               /* owned: pytest's CallInfo */
    PyObject *id_name;                                                 /* owned: the attribute that a report's id is */
    PyObject *worker;                                                  /* owned: python/hasten/worker.py's Worker */
    PyObject *text;                  /* owned: what the worker's terminal reporter writes to */
    PyObject *events;                /* owned: what the worker has to send of the running test */
    PyObject *phase_texts[N_PHASES]; /* owned: fuse_phases as interned strings */
    bool loggers_stale;              /* somebody's code ran since the loggers were looked at */
    struct pass *current;            /* the test that is running here, NULL between two */
    const struct hooks *entered; /* the state is that of a phase of tests with these hooks; NULL: it is pytest's own */
    PyObject *reasons;           /* owned: why a test was not fused -> how often */
    bool id_is_object;           /* item._id is one that keeps its text (pytest 9.2), else item._nodeid is a text */
    unsigned long n_published;   /* tests that were over without Python's having to do anything */
};

extern struct fused fuse;

struct span {
    uint64_t start_ns; /* since the epoch */
    uint64_t stop_ns;
    uint64_t duration_ns; /* of the monotonic clock */
};

/* One test on its way through. */
struct pass {
    struct parent *parent;
    struct hooks *hooks;
    PyObject *item;           /* borrowed */
    PyObject *dict;           /* owned: the item's attributes */
    PyObject *nodeid;         /* owned */
    PyObject *keywords;       /* borrowed from dict */
    PyObject *markers;        /* owned: the dictionary behind the item's keywords */
    PyObject *storage;        /* owned: item.stash's dictionary */
    PyObject *request;        /* owned */
    PyObject *funcargs;       /* owned */
    PyObject *records;        /* owned: caplog's lists by phase, NULL without logging */
    PyObject *filters;        /* owned: arguments of the filterwarnings marks; NULL without such marks */
    PyObject *location;       /* owned; NULL until a report needs it, but of a testcase it is there from the start */
    PyObject *shown_keywords; /* owned: of its reports; NULL until one is made */
    PyObject *values[N_STEP_ARGS]; /* borrowed */
    struct span spans[N_PHASES];
    uint64_t start_ns;     /* of the set-up, monotonic */
    Py_ssize_t n_marks;    /* of the item */
    Py_ssize_t n_keywords; /* of the item */
    int n_held;            /* phases that passed plainly and are not reported yet, from setup on */
    bool testcase;         /* of unittest */
    bool ran;              /* somebody's code ran in this phase */
    bool touched;          /* somebody's code ran since the set-up began */
    bool unsure;           /* somebody's code ran outside of the phases: what it wrote is still to be looked for */
    bool marked;           /* skipping's functions do their work for this test */
    bool reported;         /* reports were made */
    bool changed;          /* plugins came or went */
};

/* Calls a method of python/hasten/fuse.py with up to three arguments, the rest NULL. New, NULL with an exception set. */
PyObject *fuse_ask(const char *method, PyObject *a, PyObject *b, PyObject *c);

/* The same for methods that answer nothing: 0 or -1. */
int fuse_tell(const char *method, PyObject *a, PyObject *b);

/* The same for methods that answer a new state to look at (effects_entered). */
int fuse_renew(const char *method, PyObject *a, PyObject *b);

/* An attribute that the item itself has. Borrowed; NULL without an exception when it is not there. */
static inline PyObject *fuse_own(const struct pass *pass, PyObject *name)
{
    return PyDict_GetItemWithError(pass->dict, name);
}

/* len(item.name) of an attribute that the item itself has; -1 when there is no such list. No exception. */
Py_ssize_t fuse_size_of(const struct pass *pass, PyObject *name);

/* item.obj, new; NULL with an exception set. */
PyObject *fuse_obj(const struct pass *pass);

/* owner.name is there and true; leaves no exception. */
bool fuse_is_true(PyObject *owner, PyObject *name);

/* Before somebody else's code that runs where the effects of outside are not on. 0 or -1. */
int fuse_go_outside(unsigned outside);

/* After it: what was written or logged since, where pytest would not have caught it, goes where it would have gone. 0 or -1. */
int fuse_outside(unsigned outside);

/* ---- admit.c */

/* Fills pass from pass->item. False: the test is for pytest's hooks; why is counted. Leaves no exception. */
bool admit(struct pass *pass);

/* Counts why a test is for pytest's hooks; false. */
bool admit_not(const char *why);

/* ---- phase.c */

/* Runs setup, call or teardown. 0: passed, -1: the exception is set and everything that was opened is closed. */
int phase_run(struct pass *pass, enum phase phase);

/* Somebody's code is about to run in this phase. 0 or -1. */
int phase_before_code(struct pass *pass);

/* Calls somebody else's function. 0 or -1. */
int phase_call(struct pass *pass, const struct step *step);

/* Opens somebody else's wrapper. 0 or -1. */
int phase_open(struct pass *pass, const struct step *step, struct hooks_open *open);

/* Closes what a step has opened. *exception: owned, what it gets and what comes out. */
void phase_close(struct pass *pass, enum phase phase, struct hooks_open *open, PyObject **exception);

/* ---- reports.c */

/* Has the test nothing so far that the report of a passed phase would show? */
bool reports_plain(const struct pass *pass);

/* Has pytest make the report of a phase that has something to show, and of those before it. 0 or -1. */
int reports_make(struct pass *pass, enum phase phase);

/* The report of a plain phase for those who listen. 0 or -1. */
int reports_show(struct pass *pass, enum phase phase);

/* Runs somebody else's steps of a hook whose answers nobody wants. 0 or -1. */
int reports_call(struct pass *pass, enum hooks_list which);

/*
 * The phase has passed, but plugins came or went while it ran, or a testcase keeps exceptions for its report: the report
 * and the rest of the test are pytest's. 0 or -1.
 */
int reports_rest(struct pass *pass, enum phase phase);

/* What tmp_path wants to know of a phase that has passed. 0 or -1. */
int reports_note(struct pass *pass, enum phase phase);

/* The phases that were plain so far, a new list of spans; they are not held any more. NULL with an exception set. */
PyObject *reports_held(struct pass *pass);

/*
 * The phase raised: pytest makes the report, and runs what is left of the test. 0, or -1 when the exception is one that
 * ends the session.
 */
int reports_hand_over(struct pass *pass, enum phase phase);

#endif
