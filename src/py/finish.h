/* finish.h - what runs when a fixture of function scope ends: pytest's FixtureDef.finish without its request. */
#ifndef HASTEN_FINISH_H
#define HASTEN_FINISH_H

#include "py/compat.h"

/* raise_group(def, item, exceptions) raises them together. -1 with an exception set. */
int finish_init(PyObject *raise_group);

/* A callable that ends the fixture: runs its finalizers, last first, and forgets its value. New, NULL with an exception. */
PyObject *finish_new(PyObject *def, PyObject *item);

#endif
