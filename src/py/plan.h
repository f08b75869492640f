/* plan.h - how each fixture of a test function is set up; made once for each FuncFixtureInfo (fixture.h). */
#ifndef HASTEN_PY_PLAN_H
#define HASTEN_PY_PLAN_H

#include "py/compat.h"

/* REAL: by pytest; DIRECT: a direct parameter; WIDER: of a wider scope than function's, taken when it is cached. */
enum kind { KIND_REAL, KIND_REQUEST, KIND_DIRECT, KIND_FUNCTION, KIND_GENERATOR, KIND_WIDER };

struct fixture {
    PyObject *name;     /* owned */
    PyObject *def;      /* owned, FixtureDef; NULL for KIND_REQUEST and where there is none */
    PyObject *func;     /* owned, def.func */
    PyObject *argnames; /* owned, tuple */
    enum kind kind;
    bool settled; /* kind is final */
};

struct plan {
    PyObject *info;           /* owned: keeps the address its own */
    struct fixture *fixtures; /* owned */
    Py_ssize_t n;
};

/* The dictionary of fixture_init. -1 with an exception set. */
int plan_init(PyObject *pytest);

/* Borrowed; NULL with an exception set. */
struct plan *plan_of(PyObject *info);

/* NULL when the plan has none of this name. */
struct fixture *plan_find(const struct plan *plan, PyObject *name);

#endif
