/* parent.h - what the tests of one module or class share, found out at its first test. */
#ifndef HASTEN_PARENT_H
#define HASTEN_PARENT_H

#include "py/hooks.h"

/* What is known of all tests of one module or class. */
struct parent {
    PyObject *node;         /* owned */
    struct hooks *hooks;    /* shared, never freed; NULL: why says why its tests are not fused */
    PyObject *why;          /* owned, str */
    PyObject *chain;        /* owned, tuple: session ... node */
    PyObject *marks;        /* owned, tuple of the own_markers of the chain */
    Py_ssize_t n_marks;     /* in them, when they were looked at */
    unsigned special;       /* of those */
    PyObject *keywords;     /* owned, tuple: what a report of its tests has beside the test's own */
    PyObject *payload_end;  /* owned: the same, marshalled; None when that is not simple (payload.h) */
    PyObject *marker_dicts; /* owned, tuple: where the keywords of the chain come from */
    Py_ssize_t n_keywords;  /* in them, when they were looked at */
    PyObject *prefix;       /* owned, str: "TestClass." or "" */
};

/* Marks that change how a test is run. */
enum { MARK_SKIPPING = 1u, MARK_FILTERWARNINGS = 2u };

/* The parent's entry, made at its first test. Borrowed; NULL with an exception set. */
struct parent *parent_of(PyObject *item, PyObject *owner);

/* The special marks of a list of marks. */
unsigned parent_marks_in(PyObject *marks);

/* How many marks the parents have now. */
Py_ssize_t parent_count_marks(const struct parent *parent);

/* How many keywords the parents have now. */
Py_ssize_t parent_count_keywords(const struct parent *parent);

/* item.location, without the search for its line. New, NULL with an exception set. */
PyObject *parent_location(const struct parent *parent, PyObject *item);

/*
 * dict.fromkeys(item.keywords, 1) as it was when the parents were looked at and the item had n_own keywords of its own.
 * New, NULL with an exception set.
 */
PyObject *parent_keywords(const struct parent *parent, PyObject *item, Py_ssize_t n_own);

/* The path of a code's file in a location; None where pytest has to be asked for every test, NULL where it has to be
 * asked once (parent_location). Borrowed; no exception. */
PyObject *parent_relpath(PyObject *code);

/* The code that a report's location is read from; NULL where that is not simple. Borrowed from the function. */
PyObject *parent_code_of(PyObject *obj);

#endif
