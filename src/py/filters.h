/*
 * filters.h - the recorder of a test's warnings and its filters, looked at instead of set up anew.
 *
 * pytest's context manager stays open over many tests. The filters of a combination of filterwarnings marks are
 * remembered when pytest has set them up once; they are put back for the next test with the same marks, as long as
 * nothing that they were made of has changed: ini values, classes of warnings that are named by their module.
 */
#ifndef HASTEN_FILTERS_H
#define HASTEN_FILTERS_H

#include "py/compat.h"

/*
 * The recorder was opened. State, a dictionary: log (a list, None when the plugin is off), warnings (the module),
 * mutated (callable: filters were changed), sources (tuple of lists of the filters' texts), categories (tuple of
 * (module's name, attribute, class)). Without log in it nothing has changed. -1 with an exception set.
 */
int filters_entered(PyObject *state);

/* The recorder's filters are those of marks with these arguments from now on. marks: tuple or NULL for none. */
void filters_belong_to(PyObject *marks);

/* The filters are those that a test with these marks has; they are put in place when that is possible. */
bool filters_suit(PyObject *marks);

/* A warning was recorded, or the filters are not as they were set up. */
bool filters_warned(void);

/* Warnings were recorded, and nothing else has changed: filters_again makes the recorder ready for the next test. */
bool filters_only_warned(void);

/* What a recorder that is opened anew tells the interpreter: filters have changed. 0 or -1. */
int filters_again(void);

#endif
