/*
 * payload.h - what a plain report of a test has as its location and keywords, as the reporter reads it: a marshalled
 * pair of a tuple and a dictionary. Written by hand; what is out of the ordinary by Python's own marshal.
 */
#ifndef HASTEN_PAYLOAD_H
#define HASTEN_PAYLOAD_H

#include "py/parent.h"

struct payload {
    const char *data; /* borrowed, until the next call */
    size_t size;
    PyObject *bytes; /* owned by the caller, NULL when data is in a buffer of this file's */
};

/* obj: item.obj; location: borrowed, or NULL for parent_location; n_own: as in parent_keywords. 0 or -1. */
int payload_of(const struct parent *parent, PyObject *item, PyObject *obj, PyObject *location, Py_ssize_t n_own,
               struct payload *payload);

/* The end of a payload: the keywords that all tests of a parent have. bytes, new; None when it has to be Python's. */
PyObject *payload_end(PyObject *keywords);

#endif
