/* plan.c - see py/plan.h. */
#include "py/plan.h"

#include "py/words.h"

enum { MAX_ARGS = 32, MAX_DEPTH = 40 };

static PyObject *fixture_def, *direct_param, *function_scope, *direct; /* owned, see fixture.h */
static PyObject *plans;                                                /* owned: id(info) -> capsule of a plan */

static bool is_async(PyObject *code)
{
    return (((PyCodeObject *)code)->co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR | CO_ITERABLE_COROUTINE)) != 0;
}

/* KIND_FUNCTION, KIND_GENERATOR or KIND_REAL, by what def.func is. */
static enum kind kind_of_function(PyObject *func)
{
    PyObject *function = PyMethod_Check(func) ? PyMethod_GET_FUNCTION(func) : func;
    PyObject *code;
    PyObject *dict;

    if (!PyFunction_Check(function))
        return KIND_REAL;
    dict = ((PyFunctionObject *)function)->func_dict;
    if (dict && PyDict_GET_SIZE(dict)) /* wrapped, marked as a coroutine function, ... */
        return KIND_REAL;
    code = PyFunction_GET_CODE(function);
    if (is_async(code))
        return KIND_REAL;
    return ((PyCodeObject *)code)->co_flags & CO_GENERATOR ? KIND_GENERATOR : KIND_FUNCTION;
}

/* The definition that the test sees: the last one. Borrowed; NULL when there is none. */
static PyObject *last_def(PyObject *info, PyObject *name)
{
    PyObject *map = PyObject_GetAttr(info, S(name2fixturedefs)); /* owned */
    PyObject *defs = map && PyDict_Check(map) ? PyDict_GetItemWithError(map, name) : NULL;
    PyObject *def = NULL;

    if (defs && PyTuple_Check(defs) && PyTuple_GET_SIZE(defs))
        def = PyTuple_GET_ITEM(defs, PyTuple_GET_SIZE(defs) - 1);
    else if (defs && PyList_Check(defs) && PyList_GET_SIZE(defs))
        def = PyList_GET_ITEM(defs, PyList_GET_SIZE(defs) - 1);
    Py_XDECREF(map);
    return def;
}

static bool asks_for(PyObject *argnames, PyObject *name)
{
    return PySequence_Contains(argnames, name) == 1;
}

static enum kind kind_of_def(const struct fixture *fixture)
{
    PyObject *scope = PyObject_GetAttr(fixture->def, S(_scope)); /* owned */
    const bool is_function_scope = scope == function_scope;

    Py_XDECREF(scope);
    if (PyTuple_GET_SIZE(fixture->argnames) > MAX_ARGS || asks_for(fixture->argnames, fixture->name))
        return KIND_REAL; /* it asks for the one that it overrides */
    if (!is_function_scope)
        return KIND_WIDER;
    if (fixture->func == direct)
        return KIND_DIRECT;
    return kind_of_function(fixture->func);
}

static int read_fixture(struct fixture *fixture, PyObject *info, PyObject *name)
{
    PyObject *def = last_def(info, name);

    fixture->name = Py_NewRef(name);
    fixture->kind = KIND_REAL;
    if (PyUnicode_CompareWithASCIIString(name, "request") == 0) {
        fixture->kind = KIND_REQUEST;
        return 0;
    }
    if (!def || ((PyObject *)Py_TYPE(def) != fixture_def && (PyObject *)Py_TYPE(def) != direct_param))
        return 0;
    fixture->def = Py_NewRef(def);
    fixture->func = PyObject_GetAttr(def, S(func));
    fixture->argnames = PyObject_GetAttr(def, S(argnames));
    if (!fixture->func || !fixture->argnames)
        return -1;
    if (PyTuple_CheckExact(fixture->argnames))
        fixture->kind = kind_of_def(fixture);
    return 0;
}

struct fixture *plan_find(const struct plan *plan, PyObject *name)
{
    for (Py_ssize_t i = 0; i < plan->n; i++)
        if (plan->fixtures[i].name == name || PyObject_RichCompareBool(plan->fixtures[i].name, name, Py_EQ) == 1)
            return &plan->fixtures[i];
    return NULL;
}

/* A fixture whose own needs are pytest's business is pytest's as a whole: then who asks for whom is as ever. */
static enum kind settle(const struct plan *plan, struct fixture *fixture, int depth)
{
    if (fixture->settled || fixture->kind == KIND_REAL || fixture->kind == KIND_REQUEST)
        return fixture->kind;
    if (depth > MAX_DEPTH)
        return fixture->kind = KIND_REAL;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(fixture->argnames); i++) {
        struct fixture *needed = plan_find(plan, PyTuple_GET_ITEM(fixture->argnames, i));

        if (!needed && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(fixture->argnames, i), "request") == 0)
            continue;
        if (!needed || settle(plan, needed, depth + 1) == KIND_REAL)
            fixture->kind = KIND_REAL;
    }
    fixture->settled = true;
    return fixture->kind;
}

static void free_plan(PyObject *capsule)
{
    struct plan *plan = PyCapsule_GetPointer(capsule, NULL);

    for (Py_ssize_t i = 0; plan && i < plan->n; i++) {
        Py_XDECREF(plan->fixtures[i].name);
        Py_XDECREF(plan->fixtures[i].def);
        Py_XDECREF(plan->fixtures[i].func);
        Py_XDECREF(plan->fixtures[i].argnames);
    }
    if (plan) {
        Py_XDECREF(plan->info);
        PyMem_Free(plan->fixtures);
        PyMem_Free(plan);
    }
}

static int fill_plan(struct plan *plan, PyObject *info)
{
    PyObject *closure = PyObject_GetAttr(info, S(names_closure)); /* owned */
    PyObject *names = closure ? PySequence_Tuple(closure) : NULL; /* owned */
    int code = names ? 0 : -1;

    Py_XDECREF(closure);
    plan->info = Py_NewRef(info);
    plan->fixtures = names ? PyMem_Calloc((size_t)PyTuple_GET_SIZE(names) + 1, sizeof *plan->fixtures) : NULL;
    for (Py_ssize_t i = 0; code == 0 && plan->fixtures && i < PyTuple_GET_SIZE(names); i++) {
        plan->n = i + 1;
        code = read_fixture(&plan->fixtures[i], info, PyTuple_GET_ITEM(names, i));
    }
    for (Py_ssize_t i = 0; code == 0 && i < plan->n; i++)
        settle(plan, &plan->fixtures[i], 0);
    Py_XDECREF(names);
    return code;
}

/* Borrowed from plans; NULL with an exception set. */
struct plan *plan_of(PyObject *info)
{
    PyObject *key = PyLong_FromVoidPtr(info); /* owned */
    PyObject *capsule = key ? PyDict_GetItemWithError(plans, key) : NULL;
    struct plan *plan = capsule ? PyCapsule_GetPointer(capsule, NULL) : NULL;

    if (!capsule && key && !PyErr_Occurred()) {
        plan = PyMem_Calloc(1, sizeof *plan);
        capsule = plan ? PyCapsule_New(plan, NULL, free_plan) : NULL; /* owned */
        if (!capsule || fill_plan(plan, info) < 0 || PyDict_SetItem(plans, key, capsule) < 0)
            plan = NULL;
        Py_XDECREF(capsule);
    }
    Py_XDECREF(key);
    return plan;
}

int plan_init(PyObject *pytest)
{
    static const char *const names[] = {"FixtureDef", "DirectParam", "function_scope", "direct"};
    PyObject **const places[] = {&fixture_def, &direct_param, &function_scope, &direct};

    Py_XSETREF(plans, PyDict_New());
    return plans ? words_take(pytest, names, places, HS_COUNT(names)) : -1;
}
