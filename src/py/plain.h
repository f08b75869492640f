/* plain.h - reports of phases that passed with nothing in them. Only after worker_plain_is. */
#ifndef HASTEN_PLAIN_H
#define HASTEN_PLAIN_H

#include "py/compat.h"

/* What differs between two such reports; all borrowed. id is pytest's NodeId, or the text before pytest 9.2. */
struct plain_values {
    PyObject *when;
    PyObject *id;
    PyObject *location;
    PyObject *keywords;
    PyObject *duration;
    PyObject *start;
    PyObject *stop;
};

/* A TestReport as pytest's from_item_and_call makes it. New, NULL with an exception set. */
PyObject *plain_new(const struct plain_values *values);

/* It is as plain_new has made it with these values: nobody has changed it or added anything to it. */
bool plain_is(PyObject *report, const struct plain_values *values);

#endif
