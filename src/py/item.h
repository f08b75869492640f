/*
 * item.h - pytest's items (Function, FunctionDefinition) made without pytest's constructors.
 *
 * The same type, slots and attributes, in the same order of __dict__, as the constructors of pytest 8.4 to 9.2 give them;
 * whoever calls has made sure that they are pytest's own (python/hasten/collect.py). An item is made only where none of
 * the suite's code could notice: the function is found by looking into dictionaries, and a class is instantiated only if
 * that is object's own work.
 */
#ifndef HASTEN_ITEM_H
#define HASTEN_ITEM_H

#include <stdbool.h>

#include "py/compat.h"

/* What Function.from_parent was given beside the parent; borrowed, NULL for what was not. */
struct item_args {
    PyObject *name;
    PyObject *callobj;
    PyObject *callspec;
    PyObject *keywords;
    PyObject *fixtureinfo;
    PyObject *originalname;
};

/*
 * Takes pytest's types from a dictionary: {"Function": ..., ...}; -1 with an exception when one is missing.
 * copies_definitions: requests have a copy of the item's fixture definitions (before 9.1).
 */
int item_setup(PyObject *types, bool copies_definitions);

bool item_is_function_type(PyObject *type);       /* exactly Function or FunctionDefinition */
bool item_is_module(PyObject *node);              /* exactly a Module */
bool item_is_class(PyObject *node);               /* exactly a Class */
bool item_is_fixture_definition(PyObject *value); /* exactly what @pytest.fixture gives (a FixtureFunctionDefinition) */
bool item_is_mark_decorator(PyObject *value);

/*
 * New reference, or NULL: pytest's own constructor has to make this one, and nothing has happened yet that it would not
 * do again unseen. An exception is set only when it has to be passed on (KeyboardInterrupt and the like).
 */
PyObject *item_new(PyObject *type, PyObject *parent, const struct item_args *args);

extern unsigned long item_n_made; /* Functions made by item_new in this process */

/* A list of Mark objects, as pytest unpacks a function's `pytestmark`; NULL (no exception): leave it to pytest. */
PyObject *item_marks(PyObject *function);

/* A FuncFixtureInfo with a list and a dictionary of its own. NULL with an exception. */
PyObject *item_fixture_info(PyObject *argnames, PyObject *initialnames, PyObject *closure, PyObject *name2fixturedefs);

#endif
