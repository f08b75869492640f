/*
 * collect.c - what collection needs from C.
 *
 * through() puts a cache around one of pytest's functions. In Python that would be a frame more in every traceback that
 * goes through the function, and pytest shows its own frames for a test file that does not compile.
 */
#include "py/item.h"
#include "py/names.h"
#include "py/native.h"

enum { THROUGH_FIND, THROUGH_ORIGINAL, THROUGH_KEEP, N_THROUGH, MAX_THROUGH_ARGS = 8 };

/* Calls keep(*args, result); what keep raises does not count, as the result is there already. */
static void call_keep(PyObject *keep, PyObject *const *args, Py_ssize_t n, PyObject *result)
{
    PyObject *all[MAX_THROUGH_ARGS + 1]; /* borrowed */
    PyObject *done;                      /* owned */

    for (Py_ssize_t i = 0; i < n; i++)
        all[i] = args[i];
    all[n] = result;
    done = PyObject_Vectorcall(keep, all, (size_t)n + 1, NULL);
    if (!done)
        PyErr_WriteUnraisable(keep);
    Py_XDECREF(done);
}

static PyObject *call_through(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames)
{
    PyObject *found; /* owned */
    PyObject *result;
    PyObject *type;
    PyObject *value;
    PyObject *traceback;

    if (n > MAX_THROUGH_ARGS || kwnames)
        return PyObject_Vectorcall(PyTuple_GET_ITEM(self, THROUGH_ORIGINAL), args, (size_t)n, kwnames);
    found = PyObject_Vectorcall(PyTuple_GET_ITEM(self, THROUGH_FIND), args, (size_t)n, NULL);
    if (found != Py_None)
        return found;
    Py_DECREF(found);
    result = PyObject_Vectorcall(PyTuple_GET_ITEM(self, THROUGH_ORIGINAL), args, (size_t)n, NULL);
    PyErr_Fetch(&type, &value, &traceback);
    call_keep(PyTuple_GET_ITEM(self, THROUGH_KEEP), args, n, result ? result : Py_None);
    PyErr_Restore(type, value, traceback);
    return result;
}

static PyMethodDef through_def = {"through", (PyCFunction)(void (*)(void))call_through, METH_FASTCALL | METH_KEYWORDS,
                                  NULL};

static PyObject *collect_through(PyObject *self, PyObject *args)
{
    (void)self;
    if (PyTuple_GET_SIZE(args) != N_THROUGH) {
        PyErr_SetString(PyExc_TypeError, "through() takes three functions");
        return NULL;
    }
    return PyCFunction_New(&through_def, args);
}

/* ---- items */

/* What collect.py hands over; owned. */
#define ASKED(X)                                                                    \
    X(from_parent)    /* pytest's Function.from_parent, without its class */        \
    X(collect)        /* pytest's PyCollector.collect */                            \
    X(genitems)       /* pytest's Session.genitems */                               \
    X(context)        /* context(collector) of collect.py */                        \
    X(resolve)        /* resolve(collector, argnames, usefixtures) of collect.py */ \
    X(ignored)        /* names that pytest does not look at */                      \
    X(config)         /* whose session this is about */                             \
    X(parametrize_id) /* the caller of pytest_make_parametrize_id */                \
    X(idval)          /* pytest's IdMaker._idval */                                 \
    X(itemcollected)  /* that hook's caller */

#define ASKED_MEMBER(name) PyObject *name;
#define ASKED_TEXT(name) #name,
#define ASKED_AT(name) &fuse.name,

static struct {
    ASKED(ASKED_MEMBER)
    PyObject *function;   /* owned: the type of items */
    PyObject *hook_names; /* owned: names of makeitem's arguments */
    bool active;          /* nothing of what is done here has been replaced, and nobody watches hooks */
} fuse;

static const char *const asked_texts[] = {ASKED(ASKED_TEXT)};
static PyObject **const asked_at[] = {ASKED(ASKED_AT)};

enum { ARG_NAME, ARG_CALLOBJ, ARG_CALLSPEC, ARG_KEYWORDS, ARG_FIXTUREINFO, ARG_ORIGINALNAME, N_ARGS };

static const char *const arg_names[] = {"name", "callobj", "callspec", "keywords", "fixtureinfo", "originalname"};

/* False when there is an argument that pytest itself never gives. */
static bool read_args(PyObject *const *values, PyObject *kwnames, PyObject *given[N_ARGS])
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
        int at = 0;

        while (at < N_ARGS && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, i), arg_names[at]) != 0)
            at++;
        if (at == N_ARGS)
            return false;
        given[at] = values[i] == Py_None ? NULL : values[i];
    }
    return given[ARG_NAME] && PyUnicode_CheckExact(given[ARG_NAME]) &&
           (!given[ARG_ORIGINALNAME] || PyUnicode_CheckExact(given[ARG_ORIGINALNAME])) &&
           (!given[ARG_CALLOBJ] || PyFunction_Check(given[ARG_CALLOBJ])) &&
           (!given[ARG_KEYWORDS] || PyDict_CheckExact(given[ARG_KEYWORDS]));
}

/* Function.from_parent(cls, parent, **kw). */
static PyObject *from_parent(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames)
{
    PyObject *given[N_ARGS] = {NULL};
    PyObject *item = NULL;

    (void)self;
    if (fuse.active && n == 2 && kwnames && item_is_function_type(args[0]) && read_args(args + n, kwnames, given)) {
        const struct item_args known = {given[ARG_NAME],     given[ARG_CALLOBJ],     given[ARG_CALLSPEC],
                                        given[ARG_KEYWORDS], given[ARG_FIXTUREINFO], given[ARG_ORIGINALNAME]};

        item = item_new(args[0], args[1], &known);
    }
    if (item || PyErr_Occurred())
        return item;
    return PyObject_Vectorcall(fuse.from_parent, args, (size_t)n, kwnames);
}

/* What holds for all names of one collector (collect.py's context()). All borrowed from `parts`, except for cache. */
struct context {
    PyObject *parts; /* owned tuple */
    PyObject *collector;
    PyObject *makeitem;       /* the hook's caller */
    PyObject *prefixes;       /* of test functions; NULL: every name goes to the hook */
    PyObject *class_prefixes; /* of test classes; NULL: every class goes to the hook */
    PyObject *usefixtures;    /* names, of the collector and those above it */
    PyObject *test_case;      /* unittest.TestCase, or NULL */
    PyObject *owner;          /* the module or class */
    PyObject *cache;          /* owned: (argnames, usefixtures) -> resolve()'s answer */
};

static PyObject *part(PyObject *parts, int at)
{
    PyObject *const value = PyTuple_GET_ITEM(parts, at);

    return value == Py_None ? NULL : value;
}

static bool open_context(struct context *c, PyObject *collector, PyObject *parts)
{
    *c = (struct context){
        .parts = parts,
        .collector = collector,
        .makeitem = PyTuple_GET_ITEM(parts, 0),
        .prefixes = part(parts, 1),
        .class_prefixes = part(parts, 2),
        .usefixtures = PyTuple_GET_ITEM(parts, 3),
        .test_case = part(parts, 4),
        .owner = PyTuple_GET_ITEM(parts, 5),
        .cache = PyDict_New(),
    };
    return c->cache != NULL;
}

static void close_context(struct context *c)
{
    Py_CLEAR(c->cache);
    Py_CLEAR(c->parts);
}

static bool starts_with_any(PyObject *name, PyObject *prefixes)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(prefixes); i++)
        if (PyUnicode_Tailmatch(name, PyTuple_GET_ITEM(prefixes, i), 0, PY_SSIZE_T_MAX, -1) == 1)
            return true;
    return false;
}

/* Nothing that says how the function is to be called or whether it is a test: __wrapped__, __signature__, __test__. */
static bool has_plain_attributes(PyObject *function)
{
    PyObject *const dict = ((PyFunctionObject *)function)->func_dict; /* borrowed */
    PyObject *key;
    PyObject *value;
    Py_ssize_t at = 0;

    while (dict && PyDict_Next(dict, &at, &key, &value))
        if (!PyUnicode_CheckExact(key) || PyUnicode_GET_LENGTH(key) == 0 || PyUnicode_READ_CHAR(key, 0) == '_')
            return false;
    return true;
}

enum verdict { SKIP, MAKE, ASK };

static enum verdict judge_class(const struct context *c, PyObject *name, PyObject *cls)
{
    static PyObject *test_name; /* owned */

    if (!test_name && !(test_name = PyUnicode_InternFromString("__test__")))
        return ASK;
    if (!c->class_prefixes || starts_with_any(name, c->class_prefixes) ||
        (c->test_case && PyType_IsSubtype((PyTypeObject *)cls, (PyTypeObject *)c->test_case)) ||
        _PyType_Lookup((PyTypeObject *)cls, test_name))
        return ASK;
    return SKIP;
}

/* A fixture is no test, whatever it is called, unless somebody has put __test__ on its function. */
static bool is_plain_fixture(PyObject *value)
{
    PyObject *const dict = item_is_fixture_definition(value) ? PyObject_GenericGetDict(value, NULL) : NULL; /* owned */
    const bool plain = dict && !names_has(dict, "__test__");

    Py_XDECREF(dict);
    return plain;
}

/* What the known implementations of makeitem do with this name; ASK: call the hook. */
static enum verdict judge(const struct context *c, PyObject *name, PyObject *value)
{
    bool named;

    if (!c->prefixes || !PyUnicode_CheckExact(name))
        return ASK;
    named = starts_with_any(name, c->prefixes);
    if (PyFunction_Check(value)) {
        if (named)
            return has_plain_attributes(value) ? MAKE : ASK;
        return names_has(((PyFunctionObject *)value)->func_dict, "__test__") ? ASK : SKIP;
    }
    if (is_plain_fixture(value))
        return SKIP;
    if (named)
        return ASK;
    if (names_is_plain(value))
        return SKIP;
    if (PyModule_CheckExact(value))
        return names_has(PyModule_GetDict(value), "__test__") || names_has(PyModule_GetDict(value), "__getattr__")
                   ? ASK
                   : SKIP;
    return Py_TYPE(value) == &PyType_Type ? judge_class(c, name, value) : ASK;
}

/* The names of a function's arguments that have no default, without the first of a method. NULL: leave it to pytest. */
static PyObject *argument_names(PyObject *function, bool is_method)
{
    const PyFunctionObject *const f = (PyFunctionObject *)function;
    const PyCodeObject *const code = (PyCodeObject *)f->func_code;
    const Py_ssize_t n_defaults = f->func_defaults ? PyTuple_GET_SIZE(f->func_defaults) : 0;
    const Py_ssize_t n_plain = code->co_argcount - n_defaults;
    PyObject *names;
    PyObject *list;

    if (code->co_posonlyargcount || (code->co_flags & CO_GENERATOR) || n_plain < 0)
        return NULL;
    names = PyCode_GetVarnames((PyCodeObject *)f->func_code);
    list = names ? PyList_New(0) : NULL;
    for (Py_ssize_t i = 0; list && i < code->co_argcount + code->co_kwonlyargcount; i++) {
        PyObject *const name = PyTuple_GET_ITEM(names, i);
        const bool wanted = i < code->co_argcount
                                ? i < n_plain
                                : !f->func_kwdefaults || !PyDict_GetItemWithError(f->func_kwdefaults, name);

        if (wanted && PyList_Append(list, name) < 0)
            Py_CLEAR(list);
    }
    Py_XDECREF(names);
    if (list && is_method && PyList_GET_SIZE(list) && PyList_SetSlice(list, 0, 1, NULL) < 0)
        Py_CLEAR(list);
    names = list ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    return names;
}

/* Adds the names of one usefixtures mark. 1, or 0: leave it to pytest. */
static int add_used(PyObject *list, PyObject *mark)
{
    PyObject *const names = PyObject_GetAttrString(mark, "args"); /* owned */
    const bool ok = names && PyTuple_CheckExact(names) && PyTuple_GET_SIZE(names) &&
                    PyList_SetSlice(list, PyList_GET_SIZE(list), PyList_GET_SIZE(list), names) == 0;

    Py_XDECREF(names);
    return ok;
}

/* Looks at one mark of a function. 1, or 0: leave it to pytest. */
static int look_at_mark(PyObject *list, PyObject *mark)
{
    PyObject *const name = PyObject_GetAttrString(mark, "name"); /* owned */
    int ok = name && PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "parametrize") != 0;

    if (ok && PyUnicode_CompareWithASCIIString(name, "usefixtures") == 0)
        ok = add_used(list, mark);
    Py_XDECREF(name);
    return ok;
}

/* Names of the function's own usefixtures marks and of those above it; new reference. NULL: leave it to pytest. */
static PyObject *used_fixtures(const struct context *c, PyObject *function)
{
    PyObject *const marks = item_marks(function);        /* owned */
    PyObject *const list = marks ? PyList_New(0) : NULL; /* owned */
    PyObject *used = NULL;
    bool ok = list != NULL;

    for (Py_ssize_t i = 0; ok && i < PyList_GET_SIZE(marks); i++)
        ok = look_at_mark(list, PyList_GET_ITEM(marks, i));
    if (ok && PyList_GET_SIZE(list) == 0)
        used = Py_NewRef(c->usefixtures);
    else if (ok && PyList_SetSlice(list, PyList_GET_SIZE(list), PyList_GET_SIZE(list), c->usefixtures) == 0)
        used = PyList_AsTuple(list);
    Py_XDECREF(list);
    Py_XDECREF(marks);
    return used;
}

/* (initialnames, closure, name2fixturedefs), borrowed from the cache. NULL: leave it to pytest. */
static PyObject *resolve(const struct context *c, PyObject *argnames, PyObject *used)
{
    PyObject *const key = used == c->usefixtures ? Py_NewRef(argnames) : PyTuple_Pack(2, argnames, used); /* owned */
    PyObject *answer = key ? PyDict_GetItemWithError(c->cache, key) : NULL;                               /* borrowed */

    if (!answer && !PyErr_Occurred()) {
        answer = PyObject_CallFunctionObjArgs(fuse.resolve, c->collector, argnames, used, NULL); /* owned */
        if (answer && PyDict_SetItem(c->cache, key, answer) == 0)
            Py_DECREF(answer); /* the cache holds it */
        else
            Py_CLEAR(answer);
    }
    Py_XDECREF(key);
    return answer && PyTuple_CheckExact(answer) ? answer : NULL;
}

/* The item of a function that is not parametrized. NULL: call the hook. */
static PyObject *make(const struct context *c, PyObject *name, PyObject *function)
{
    PyObject *const argnames = argument_names(function, PyType_Check(c->owner)); /* owned */
    PyObject *const used = argnames ? used_fixtures(c, function) : NULL;         /* owned */
    PyObject *const found = used ? resolve(c, argnames, used) : NULL;
    PyObject *const info = found ? item_fixture_info(argnames, PyTuple_GET_ITEM(found, 0), PyTuple_GET_ITEM(found, 1),
                                                     PyTuple_GET_ITEM(found, 2))
                                 : NULL; /* owned */
    const struct item_args args = {.name = name, .fixtureinfo = info};
    PyObject *const item = info ? item_new(fuse.function, c->collector, &args) : NULL;

    Py_XDECREF(info);
    Py_XDECREF(used);
    Py_XDECREF(argnames);
    if (!item && PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception))
        PyErr_Clear();
    return item;
}

/* Calls the hook, whose implementations may do anything: what was found out about fixtures holds no longer. */
static PyObject *ask(struct context *c, PyObject *name, PyObject *value)
{
    PyObject *const args[] = {c->collector, name, value};

    if (!PyType_Check(value))
        PyDict_Clear(c->cache);
    return PyObject_Vectorcall(c->makeitem, args, 0, fuse.hook_names);
}

/* Adds what one name gives to values. 0 or -1 with an exception. */
static int add_name(struct context *c, PyObject *name, PyObject *value, PyObject *values)
{
    const enum verdict verdict = judge(c, name, value);
    PyObject *made; /* owned */
    int code;

    if (verdict == SKIP)
        return 0;
    made = verdict == MAKE ? make(c, name, value) : NULL;
    if (!made && !PyErr_Occurred())
        made = ask(c, name, value);
    if (!made)
        return -1;
    if (made == Py_None)
        code = 0;
    else if (PyList_Check(made))
        code = PyList_SetSlice(values, PyList_GET_SIZE(values), PyList_GET_SIZE(values), made);
    else
        code = PyList_Append(values, made);
    Py_DECREF(made);
    return code;
}

/* One dictionary of the module or class, in the order of definition. New list. */
static PyObject *collect_dict(struct context *c, PyObject *dict, PyObject *seen)
{
    PyObject *const items = PyMapping_Items(dict); /* owned: names may come while it is gone through */
    PyObject *values = items ? PyList_New(0) : NULL;

    for (Py_ssize_t i = 0; values && i < PyList_GET_SIZE(items); i++) {
        PyObject *const pair = PyList_GET_ITEM(items, i);
        PyObject *const name = PyTuple_GET_ITEM(pair, 0);
        const int known = PySet_Contains(fuse.ignored, name) || PySet_Contains(seen, name);

        if (PyErr_Occurred() ||
            (!known && (PySet_Add(seen, name) < 0 || add_name(c, name, PyTuple_GET_ITEM(pair, 1), values) < 0)))
            Py_CLEAR(values);
    }
    Py_XDECREF(items);
    return values;
}

static PyObject *dictionaries(PyObject *owner)
{
    PyObject *const mro = PyType_Check(owner) ? ((PyTypeObject *)owner)->tp_mro : NULL;
    const Py_ssize_t n = mro ? PyTuple_GET_SIZE(mro) : 0;
    PyObject *const all = PyList_New(n + 1);

    for (Py_ssize_t i = 0; all && i <= n; i++) {
        PyObject *const one = PyObject_GetAttrString(i ? PyTuple_GET_ITEM(mro, i - 1) : owner, "__dict__");

        if (!one) {
            Py_DECREF(all);
            return NULL;
        }
        PyList_SET_ITEM(all, i, one);
    }
    return all;
}

/* Names of base classes come before those of the classes that are derived from them. */
static PyObject *collect_owner(struct context *c)
{
    PyObject *const dicts = dictionaries(c->owner);        /* owned */
    PyObject *const seen = dicts ? PySet_New(NULL) : NULL; /* owned */
    PyObject *result = seen ? PyList_New(0) : NULL;

    for (Py_ssize_t i = 0; result && i < PyList_GET_SIZE(dicts); i++) {
        PyObject *const values = collect_dict(c, PyList_GET_ITEM(dicts, i), seen); /* owned */

        if (!values || PyList_SetSlice(result, 0, 0, values) < 0)
            Py_CLEAR(result);
        Py_XDECREF(values);
    }
    Py_XDECREF(seen);
    Py_XDECREF(dicts);
    return result;
}

/* PyCollector.collect(self). */
static PyObject *collect(PyObject *self, PyObject *collector)
{
    const bool known = item_is_module(collector) || item_is_class(collector);
    PyObject *const parts = known ? PyObject_CallOneArg(fuse.context, collector) : NULL; /* owned */
    struct context c;
    PyObject *result;

    (void)self;
    if (known && !parts)
        return NULL;
    if (!parts || parts == Py_None) {
        Py_XDECREF(parts);
        return PyObject_CallOneArg(fuse.collect, collector);
    }
    result = open_context(&c, collector, parts) ? collect_owner(&c) : NULL;
    close_context(&c);
    return result;
}

/* Nobody implements this hook. */
static bool is_silent(PyObject *caller)
{
    PyObject *const impls = PyObject_GetAttrString(caller, "_hookimpls"); /* owned */
    const bool silent = impls && PyList_CheckExact(impls) && PyList_GET_SIZE(impls) == 0;

    Py_XDECREF(impls);
    if (!impls)
        PyErr_Clear();
    return silent;
}

/* Session.genitems(self, node): an iterator. A plain item has no hooks to call and nothing below it. */
static PyObject *genitems(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    if (fuse.active && n == 2 && (PyObject *)Py_TYPE(args[1]) == fuse.function) {
        PyObject *const config = PyObject_GetAttrString(args[0], "config"); /* owned */
        const bool own = config == fuse.config;

        Py_XDECREF(config);
        if (!config)
            return NULL;
        if (own && is_silent(fuse.itemcollected)) {
            PyObject *const one = PyTuple_Pack(1, args[1]); /* owned */
            PyObject *const iterator = one ? PyObject_GetIter(one) : NULL;

            Py_XDECREF(one);
            return iterator;
        }
    }
    return PyObject_Vectorcall(fuse.genitems, args, (size_t)n, NULL);
}

/* This maker has no ids function, and belongs to our run. */
static bool has_plain_ids(PyObject *maker)
{
    PyObject *const function = PyObject_GetAttrString(maker, "idfn");                   /* owned */
    PyObject *const config = function ? PyObject_GetAttrString(maker, "config") : NULL; /* owned */
    const bool plain = function == Py_None && config == fuse.config;

    Py_XDECREF(config);
    Py_XDECREF(function);
    PyErr_Clear();
    return plain;
}

/* IdMaker._idval(self, val, argname, idx). */
static PyObject *idval(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *kwnames)
{
    PyObject *id = NULL;

    (void)self;
    if (fuse.active && n == 4 && !kwnames && has_plain_ids(args[0]) && is_silent(fuse.parametrize_id))
        id = names_plain_id(args[1]);
    return id ? id : PyObject_Vectorcall(fuse.idval, args, (size_t)n, kwnames);
}

/* dir() as parsefactories() has it from here on. */
static PyObject *fixture_names(PyObject *self, PyObject *holder)
{
    (void)self;
    return fuse.active ? names_of_fixtures(holder) : PyObject_Dir(holder);
}

static PyMethodDef from_parent_def = {"from_parent", (PyCFunction)(void (*)(void))from_parent,
                                      METH_FASTCALL | METH_KEYWORDS, NULL};
static PyMethodDef collect_def = {"collect", collect, METH_O, NULL};
static PyMethodDef fixture_names_def = {"dir", fixture_names, METH_O, NULL};
static PyMethodDef idval_def = {"_idval", (PyCFunction)(void (*)(void))idval, METH_FASTCALL | METH_KEYWORDS, NULL};
static PyMethodDef genitems_def = {"genitems", (PyCFunction)(void (*)(void))genitems, METH_FASTCALL, NULL};

/* A function of C that binds to an instance as one of Python does. */
static PyObject *new_method(PyMethodDef *def)
{
    PyObject *const function = PyCFunction_New(def, NULL); /* owned */
    PyObject *const method = function ? PyInstanceMethod_New(function) : NULL;

    Py_XDECREF(function);
    return method;
}

static PyObject *collect_fuse(PyObject *self, PyObject *args)
{
    PyObject *types;
    PyObject *asked;
    int copies;

    (void)self;
    if (!PyArg_ParseTuple(args, "O!pO!:collect_fuse", &PyDict_Type, &types, &copies, &PyDict_Type, &asked) ||
        item_setup(types, copies != 0) < 0)
        return NULL;
    for (size_t i = 0; i < HS_COUNT(asked_texts); i++) {
        PyObject *const value = PyDict_GetItemString(asked, asked_texts[i]); /* borrowed */

        if (!value)
            return PyErr_Format(PyExc_KeyError, "%s", asked_texts[i]);
        Py_XSETREF(*asked_at[i], Py_NewRef(value));
    }
    if (!PyFrozenSet_CheckExact(fuse.ignored))
        return PyErr_Format(PyExc_TypeError, "ignored is no frozenset");
    Py_XSETREF(fuse.function, Py_NewRef(PyDict_GetItemString(types, "Function")));
    if (!fuse.hook_names && !(fuse.hook_names = Py_BuildValue("(sss)", "collector", "name", "obj")))
        return NULL;
    return Py_BuildValue("(NNNNN)", PyCFunction_New(&from_parent_def, NULL), new_method(&collect_def),
                         new_method(&genitems_def), PyCFunction_New(&fixture_names_def, NULL), new_method(&idval_def));
}

static PyObject *collect_active(PyObject *self, PyObject *on)
{
    (void)self;
    fuse.active = on == Py_True;
    Py_RETURN_NONE;
}

static PyObject *collect_made(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    return PyLong_FromUnsignedLong(item_n_made);
}

PyMethodDef collect_methods[] = {
    {"through", collect_through, METH_VARARGS,
     "through(find, original, keep) -> function\n\nf(*args) answers find(*args), or original(*args) when that is None; "
     "keep(*args, result) is called after original, with None as its result when it raised. Leaves no frame."},
    {"collect_fuse", collect_fuse, METH_VARARGS,
     "collect_fuse(types, copies, asked) -> (from_parent, collect, genitems, dir, _idval)\n\nStand-ins for pytest's "
     "Function.from_parent (without its class), PyCollector.collect, Session.genitems, IdMaker._idval, and for the "
     "dir() "
     "of its fixtures."},
    {"collect_active", collect_active, METH_O,
     "collect_active(on)\n\nfrom_parent makes items itself, or pytest's does."},
    {"collect_made", collect_made, METH_NOARGS, "collect_made() -> int\n\nItems that C has made in this process."},
    {NULL, NULL, 0, NULL},
};
