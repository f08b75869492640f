/* fixture.c - see fixture.h. */
#include "py/fixture.h"

#include "py/finish.h"
#include "py/plan.h"
#include "py/words.h"

/* How deep fixtures may ask for each other here; deeper ones are pytest's. */
enum { MAX_DEPTH = 40 };

static struct {
    PyObject *sub_request, *function_scope, *teardown_yield, *skip, *outcomes, *partial, *group, *notset, *no_yield,
        *call, *next; /* owned */
} py;

/* What one test's set-up needs; everything is borrowed. */
struct filling {
    const struct plan *plan;
    PyObject *item;
    PyObject *request;
    PyObject *active; /* request._fixture_defs */
    PyObject *finalizers;
    PyObject *params;  /* callspec.params or NULL */
    PyObject *indices; /* callspec.indices or NULL */
    PyObject *scopes;  /* callspec._arg2scope or NULL */
    bool *ran;
};

/* A fixture that is being set up, and who asked for it. */
struct asking {
    const struct asking *by;
    const struct fixture *fixture;
    PyObject *sub_request; /* owned, made when somebody needs it */
};

/* ---- setting up */

/* Makes a fixture active; the definition is borrowed from filling->active. NULL with an exception set. */
static PyObject *activate(struct filling *filling, const struct fixture *fixture, const struct asking *by, int depth);

/* pytest's own way, for whatever is not ours. */
static PyObject *activate_really(struct filling *filling, PyObject *name)
{
    PyObject *value = PyObject_CallMethodOneArg(filling->request, S(getfixturevalue), name); /* owned */

    *filling->ran = true;
    if (!value)
        return NULL;
    Py_DECREF(value);
    return PyDict_GetItemWithError(filling->active, name);
}

static PyObject *param_of(struct filling *filling, PyObject *name)
{
    return filling->params ? PyDict_GetItemWithError(filling->params, name) : NULL;
}

/* A fixture parametrized with another scope than the function's is pytest's; so is one that lacks its parameter. */
static bool has_ordinary_param(struct filling *filling, const struct fixture *fixture)
{
    PyObject *param = param_of(filling, fixture->name);
    PyObject *params;
    bool none;

    if (param == py.notset)
        return false;
    if (param)
        return fixture->kind == KIND_WIDER ||
               (filling->scopes && PyDict_GetItemWithError(filling->scopes, fixture->name) == py.function_scope);
    params = PyObject_GetAttr(fixture->def, S(params)); /* owned */
    none = params == Py_None;
    Py_XDECREF(params);
    return none && fixture->kind != KIND_DIRECT;
}

/* 1: cached for this parameter, 0: not, -1: not for us to say. */
static int is_cached(struct filling *filling, const struct fixture *fixture)
{
    PyObject *cached = PyObject_GetAttr(fixture->def, S(cached_result)); /* owned */
    PyObject *param = param_of(filling, fixture->name);
    PyObject *equal;
    int code = 0;

    if (cached && cached != Py_None) {
        code = -1;
        if (PyTuple_CheckExact(cached) && PyTuple_GET_SIZE(cached) == 3 && PyTuple_GET_ITEM(cached, 2) == Py_None) {
            equal = PyObject_RichCompare(param ? param : Py_None, PyTuple_GET_ITEM(cached, 1), Py_EQ); /* owned */
            if (equal && PyObject_IsTrue(equal) == 1)
                code = 1;
            Py_XDECREF(equal);
        }
    }
    PyErr_Clear();
    Py_XDECREF(cached);
    return code;
}

static PyObject *value_of(PyObject *def)
{
    PyObject *cached = PyObject_GetAttr(def, S(cached_result)); /* owned */
    PyObject *value = cached && PyTuple_Check(cached) ? Py_NewRef(PyTuple_GET_ITEM(cached, 0)) : NULL;

    Py_XDECREF(cached);
    if (!value && !PyErr_Occurred())
        PyErr_SetString(PyExc_AssertionError, "The fixture value is not available.");
    return value;
}

static int activate_needs(struct filling *filling, const struct fixture *fixture, struct asking *asking, int depth)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(fixture->argnames); i++) {
        const struct fixture *needed = plan_find(filling->plan, PyTuple_GET_ITEM(fixture->argnames, i));

        if (!needed || needed->kind == KIND_REQUEST)
            continue;
        if (!activate(filling, needed, asking, depth + 1))
            return -1;
    }
    return 0;
}

/* The SubRequest of a fixture being set up, with those of who asked for it. Borrowed; NULL with an exception set. */
static PyObject *sub_request_of(struct filling *filling, struct asking *asking)
{
    static PyObject *names; /* owned, for ever */
    PyObject *param = param_of(filling, asking->fixture->name);
    PyObject *index =
        param && filling->indices ? PyDict_GetItemWithError(filling->indices, asking->fixture->name) : NULL;
    PyObject *by;
    PyObject *zero;

    if (asking->sub_request)
        return asking->sub_request;
    by = asking->by ? sub_request_of(filling, (struct asking *)asking->by) : filling->request;
    if (!names)
        names = PyTuple_Pack(1, S(_ispytest));
    zero = PyLong_FromLong(0); /* owned */
    if (by && names && zero) {
        PyObject *args[] = {
            by, py.function_scope, param ? param : py.notset, index ? index : zero, asking->fixture->def, Py_True};

        asking->sub_request = PyObject_Vectorcall(py.sub_request, args, 5, names);
    }
    Py_XDECREF(zero);
    return asking->sub_request;
}

/* What resolve_fixture_function answers for a function-scoped fixture: bound to the test's own instance. New. */
static PyObject *resolve(struct filling *filling, PyObject *func)
{
    PyObject *instance;
    PyObject *bound;
    int is;

    if (!PyMethod_Check(func))
        return Py_NewRef(func);
    instance = PyObject_GetAttr(filling->item, S(instance)); /* owned */
    if (!instance)
        return NULL;
    is = instance == Py_None ? 0 : PyObject_IsInstance(instance, (PyObject *)Py_TYPE(PyMethod_GET_SELF(func)));
    bound = is < 0 ? NULL : is ? PyMethod_New(PyMethod_GET_FUNCTION(func), instance) : Py_NewRef(func);
    Py_DECREF(instance);
    return bound;
}

/* The values of a fixture's arguments by name, a new dictionary. */
static PyObject *needs_of(struct filling *filling, struct asking *asking)
{
    PyObject *argnames = asking->fixture->argnames;
    PyObject *needs = PyDict_New(); /* owned */
    int code = needs ? 0 : -1;

    for (Py_ssize_t i = 0; code == 0 && i < PyTuple_GET_SIZE(argnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(argnames, i);
        PyObject *def = PyDict_GetItemWithError(filling->active, name);
        PyObject *value = NULL; /* owned */

        if (def)
            value = value_of(def);
        else if (PyUnicode_CompareWithASCIIString(name, "request") == 0)
            value = Py_XNewRef(sub_request_of(filling, asking));
        else
            PyErr_SetString(PyExc_AssertionError, "a fixture is not active");
        code = value ? PyDict_SetItem(needs, name, value) : -1;
        Py_XDECREF(value);
    }
    if (code < 0)
        Py_CLEAR(needs);
    return needs;
}

/* Calls func from the place from which pytest does it. */
static PyObject *call_with_needs(struct filling *filling, struct asking *asking, PyObject *func)
{
    PyObject *args[2] = {func, needs_of(filling, asking)};
    PyObject *answer;

    if (!args[1])
        return NULL;
    /* A generator function only makes its generator. */
    answer = asking->fixture->kind == KIND_GENERATOR ? PyObject_VectorcallDict(func, NULL, 0, args[1])
                                                     : PyObject_Vectorcall(py.call, args, 2, NULL);
    Py_DECREF(args[1]);
    return answer;
}

/* The generator's first value; how it ends is put among the fixture's finalizers. */
static PyObject *start_generator(const struct fixture *fixture, PyObject *func, PyObject *generator,
                                 PyObject *own_finalizers)
{
    PyObject *value = PyObject_CallOneArg(py.next, generator); /* owned */
    PyObject *end;
    int code;

    if (!value) {
        if (PyErr_ExceptionMatches(PyExc_StopIteration)) {
            PyErr_Clear();
            Py_XDECREF(PyObject_CallOneArg(py.no_yield, fixture->name)); /* always raises */
        }
        return NULL;
    }
    end = PyObject_CallFunctionObjArgs(py.partial, py.teardown_yield, func, generator, NULL); /* owned */
    code = end ? PyList_Append(own_finalizers, end) : -1;
    Py_XDECREF(end);
    if (code < 0)
        Py_CLEAR(value);
    return value;
}

static PyObject *run(struct filling *filling, struct asking *asking, PyObject *own_finalizers)
{
    const struct fixture *fixture = asking->fixture;
    PyObject *func;
    PyObject *answer;

    if (fixture->kind == KIND_DIRECT)
        return Py_NewRef(param_of(filling, fixture->name));
    *filling->ran = true;
    func = resolve(filling, fixture->func); /* owned */
    answer = func ? call_with_needs(filling, asking, func) : NULL;
    if (answer && fixture->kind == KIND_GENERATOR)
        Py_SETREF(answer, start_generator(fixture, func, answer, own_finalizers));
    Py_XDECREF(func);
    return answer;
}

/* Notes how the set-up ended. value: borrowed, NULL when an exception is set, which stays set. */
static int note(const struct fixture *fixture, PyObject *param, PyObject *value)
{
    PyObject *exception;
    PyObject *traceback;
    PyObject *cached;
    int code;

    if (value) {
        cached = PyTuple_Pack(3, value, param ? param : Py_None, Py_None); /* owned */
        code = cached ? PyObject_SetAttr(fixture->def, S(cached_result), cached) : -1;
        Py_XDECREF(cached);
        return code;
    }
    exception = compat_take_exception(); /* owned */
    if (PyErr_GivenExceptionMatches(exception, py.outcomes)) {
        if (PyErr_GivenExceptionMatches(exception, py.skip))
            PyObject_SetAttr(exception, S(_use_item_location), Py_True);
        traceback = PyException_GetTraceback(exception); /* owned */
        cached =
            Py_BuildValue("(OO(OO))", Py_None, param ? param : Py_None, exception, traceback ? traceback : Py_None);
        if (cached)
            PyObject_SetAttr(fixture->def, S(cached_result), cached);
        Py_XDECREF(cached);
        Py_XDECREF(traceback);
    }
    compat_put_exception(exception);
    return -1;
}

static int append_to_needs(struct filling *filling, const struct fixture *fixture, PyObject *finish)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(fixture->argnames); i++) {
        PyObject *def = PyDict_GetItemWithError(filling->active, PyTuple_GET_ITEM(fixture->argnames, i));
        PyObject *list = def ? PyObject_GetAttr(def, S(_finalizers)) : NULL; /* owned */
        const int code = !def ? 0 : list && PyList_Check(list) ? PyList_Append(list, finish) : -1;

        Py_XDECREF(list);
        if (code < 0)
            return -1;
    }
    return 0;
}

static PyObject *set_up(struct filling *filling, struct asking *asking)
{
    const struct fixture *fixture = asking->fixture;
    PyObject *finish = finish_new(fixture->def, filling->item);                /* owned */
    PyObject *own_finalizers = PyObject_GetAttr(fixture->def, S(_finalizers)); /* owned */
    PyObject *value = NULL;                                                    /* owned */
    int code = -1;

    if (!finish || !own_finalizers || !PyList_Check(own_finalizers) || append_to_needs(filling, fixture, finish) < 0)
        goto out;
    value = run(filling, asking, own_finalizers);
    code = note(fixture, param_of(filling, fixture->name), value);
    if (code < 0) {
        PyObject *exception = compat_take_exception();

        PyList_Append(filling->finalizers, finish);
        compat_put_exception(exception);
    } else if (PyList_Append(filling->finalizers, finish) < 0 ||
               PyDict_SetItem(filling->active, fixture->name, fixture->def) < 0) {
        code = -1;
    }
out:
    Py_XDECREF(finish);
    Py_XDECREF(own_finalizers);
    Py_XDECREF(value);
    return code < 0 ? NULL : fixture->def;
}

static PyObject *activate(struct filling *filling, const struct fixture *fixture, const struct asking *by, int depth)
{
    PyObject *def = PyDict_GetItemWithError(filling->active, fixture->name);
    struct asking asking = {.by = by, .fixture = fixture};
    int cached;

    if (def)
        return def;
    if (fixture->kind == KIND_REAL || depth > MAX_DEPTH || !has_ordinary_param(filling, fixture))
        return activate_really(filling, fixture->name);
    cached = is_cached(filling, fixture);
    if (cached < 0 || (fixture->kind == KIND_WIDER) != (cached == 1))
        return activate_really(filling, fixture->name);
    if (activate_needs(filling, fixture, &asking, depth) < 0)
        def = NULL;
    else if (fixture->kind != KIND_WIDER)
        def = set_up(filling, &asking);
    else if (is_cached(filling, fixture) != 1) /* a need was made anew, and ended this one */
        def = activate_really(filling, fixture->name);
    else
        def = PyDict_SetItem(filling->active, fixture->name, fixture->def) < 0 ? NULL : fixture->def;
    Py_XDECREF(asking.sub_request);
    return def;
}

static int fill_one(struct filling *filling, PyObject *funcargs, PyObject *name, bool own)
{
    const struct fixture *fixture = own ? plan_find(filling->plan, name) : NULL;
    PyObject *value;
    PyObject *def;
    int code;

    if (fixture && fixture->kind == KIND_REQUEST)
        return PyDict_SetItem(funcargs, name, filling->request);
    if (fixture) {
        def = activate(filling, fixture, NULL, 0);
        value = def ? value_of(def) : NULL;
    } else {
        *filling->ran = true;
        value = PyObject_CallMethodOneArg(filling->request, S(getfixturevalue), name);
    }
    code = value ? PyDict_SetItem(funcargs, name, value) : -1;
    Py_XDECREF(value);
    return code;
}

/* Borrowed from the callspec, which the item keeps; NULL for a test without parameters. */
static void read_callspec(struct filling *filling)
{
    PyObject *callspec = PyObject_GetAttr(filling->item, S(callspec)); /* owned */
    PyObject **const parts[] = {&filling->params, &filling->indices, &filling->scopes};
    PyObject *const names[] = {S(params), S(indices), S(_arg2scope)};

    for (int i = 0; callspec && i < 3; i++) {
        PyObject *part = PyObject_GetAttr(callspec, names[i]); /* owned */

        *parts[i] = part && PyDict_Check(part) ? part : NULL;
        Py_XDECREF(part);
    }
    PyErr_Clear();
    Py_XDECREF(callspec);
}

static int fill_all(struct filling *filling, PyObject *names, PyObject *funcargs, bool own)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(names); i++) {
        PyObject *name = PyList_GET_ITEM(names, i);
        const int has = PyDict_Contains(funcargs, name);

        if (has < 0 || (!has && fill_one(filling, funcargs, name, own) < 0))
            return -1;
    }
    return 0;
}

int fixture_fill(PyObject *item, PyObject *request, PyObject *funcargs, PyObject *finalizers, bool own, bool *ran)
{
    struct filling filling = {.item = item, .request = request, .finalizers = finalizers, .ran = ran};
    PyObject *names = PyObject_GetAttr(item, S(fixturenames)); /* owned */
    PyObject *info = PyObject_GetAttr(item, S(_fixtureinfo));  /* owned */
    int code = -1;

    filling.active = PyObject_GetAttr(request, S(_fixture_defs)); /* owned */
    if (!names || !info || !filling.active)
        goto out;
    code = 0;
    if (!PyList_Check(names) || PyList_GET_SIZE(names) == 0)
        goto out;
    code = -1;
    read_callspec(&filling);
    filling.plan = plan_of(info);
    if (filling.plan)
        code = fill_all(&filling, names, funcargs, own && PyDict_CheckExact(filling.active));
out:
    Py_XDECREF(names);
    Py_XDECREF(info);
    Py_XDECREF(filling.active);
    return code;
}

int fixture_init(PyObject *pytest)
{
    static const char *const names[] = {"SubRequest", "function_scope", "teardown_yield", "skip", "outcomes", "partial",
                                        "group",      "notset",         "no_yield",       "call", "next"};
    PyObject **const places[] = {&py.sub_request, &py.function_scope, &py.teardown_yield, &py.skip,     &py.outcomes,
                                 &py.partial,     &py.group,          &py.notset,         &py.no_yield, &py.call,
                                 &py.next};

    if (words_take(pytest, names, places, HS_COUNT(names)) < 0)
        return -1;
    return plan_init(pytest) < 0 ? -1 : finish_init(py.group);
}
