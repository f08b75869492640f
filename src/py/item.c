#include "py/item.h"

#include "base/base.h"

#define TYPES(X)                                       \
    X(FUNCTION, "Function")                            \
    X(DEFINITION, "FunctionDefinition")                \
    X(MODULE, "Module")                                \
    X(CLASS, "Class")                                  \
    X(KEYWORDS, "NodeKeywords")                        \
    X(STASH, "Stash")                                  \
    X(REQUEST, "TopRequest")                           \
    X(FIXTURE_INFO, "FuncFixtureInfo")                 \
    X(FIXTURE_DEFINITION, "FixtureFunctionDefinition") \
    X(MARK, "Mark")                                    \
    X(MARK_DECORATOR, "MarkDecorator")                 \
    X(NODE_ID, "NodeId") /* None before 9.2 */

#define NAMES(X)             \
    X(name)                  \
    X(parent)                \
    X(config)                \
    X(session)               \
    X(path)                  \
    X(keywords)              \
    X(own_markers)           \
    X(extra_keyword_matches) \
    X(_id)                   \
    X(_nodeid)               \
    X(stash)                 \
    X(_store)                \
    X(_storage)              \
    X(_report_sections)      \
    X(user_properties)       \
    X(_obj)                  \
    X(_instance)             \
    X(originalname)          \
    X(callspec)              \
    X(_fixtureinfo)          \
    X(fixturenames)          \
    X(funcargs)              \
    X(_request)              \
    X(node)                  \
    X(_markers)              \
    X(names)                 \
    X(params)                \
    X(_str_cache)            \
    X(_idlist)               \
    X(marks)                 \
    X(mark)                  \
    X(pytestmark)            \
    X(fixturename)           \
    X(_pyfuncitem)           \
    X(_arg2fixturedefs)      \
    X(_fixture_defs)         \
    X(argnames)              \
    X(initialnames)          \
    X(names_closure)         \
    X(name2fixturedefs)      \
    X(_fixturemanager)       \
    X(getfixtureinfo)        \
    X(cls)                   \
    X(__self__)              \
    X(_pytest_diamond_inheritance_warning_shown)

#define TYPE_INDEX(index, text) T_##index,
#define TYPE_TEXT(index, text) text,
#define NAME_INDEX(text) N_##text,
#define NAME_TEXT(text) #text,

enum { TYPES(TYPE_INDEX) N_TYPES };
enum { NAMES(NAME_INDEX) N_NAMES };

static const char *const type_texts[] = {TYPES(TYPE_TEXT)};
static const char *const name_texts[] = {NAMES(NAME_TEXT)};

static PyObject *types[N_TYPES]; /* owned */
static PyObject *names[N_NAMES]; /* owned, interned */
unsigned long item_n_made;       /* by item_new in this process */
static bool copies;              /* before 9.1 a request has a copy of the item's definitions */

int item_setup(PyObject *given, bool copies_definitions)
{
    copies = copies_definitions;
    for (int i = 0; i < N_NAMES; i++)
        if (!names[i] && !(names[i] = PyUnicode_InternFromString(name_texts[i])))
            return -1;
    for (int i = 0; i < N_TYPES; i++) {
        PyObject *type = PyDict_GetItemString(given, type_texts[i]); /* borrowed */

        if (!type || (!PyType_Check(type) && type != Py_None)) {
            PyErr_Format(PyExc_KeyError, "%s", type_texts[i]);
            return -1;
        }
        Py_XSETREF(types[i], Py_NewRef(type));
    }
    return 0;
}

bool item_is_function_type(PyObject *type)
{
    return type == types[T_FUNCTION] || type == types[T_DEFINITION];
}

static bool is_exactly(PyObject *value, int type)
{
    return (PyObject *)Py_TYPE(value) == types[type];
}

bool item_is_module(PyObject *node)
{
    return is_exactly(node, T_MODULE);
}

bool item_is_class(PyObject *node)
{
    return is_exactly(node, T_CLASS);
}

bool item_is_fixture_definition(PyObject *value)
{
    return is_exactly(value, T_FIXTURE_DEFINITION);
}

bool item_is_mark_decorator(PyObject *value)
{
    return is_exactly(value, T_MARK_DECORATOR);
}

/* An instance as object.__new__ gives it. */
static PyObject *bare(int type)
{
    PyTypeObject *const t = (PyTypeObject *)types[type];

    return t->tp_alloc(t, 0);
}

static PyObject *get(PyObject *object, int name)
{
    return PyObject_GetAttr(object, names[name]);
}

/* Takes value over, also when it fails; a NULL value has failed before. */
static bool put(PyObject *object, int name, PyObject *value)
{
    const bool ok = value && PyObject_GenericSetAttr(object, names[name], value) == 0;

    Py_XDECREF(value);
    return ok;
}

static bool copy(PyObject *to, PyObject *from, int name)
{
    return put(to, name, get(from, name));
}

/* ---- what it is made from */

/* The function behind a function or bound method of the usual kinds, borrowed; else NULL. */
static PyObject *function_of(PyObject *object)
{
    if (PyMethod_Check(object))
        object = PyMethod_GET_FUNCTION(object);
    return PyFunction_Check(object) ? object : NULL;
}

/* Making an instance runs none of the suite's code, and neither does getting this attribute of it. */
static bool is_plain_member(PyObject *cls, PyObject *name)
{
    PyTypeObject *const type = (PyTypeObject *)cls;
    PyObject *raw;

    if (!PyType_Check(cls) || Py_TYPE(cls)->tp_call != PyType_Type.tp_call ||
        type->tp_new != PyBaseObject_Type.tp_new || type->tp_init != PyBaseObject_Type.tp_init ||
        type->tp_getattro != PyObject_GenericGetAttr || PyType_HasFeature(type, Py_TPFLAGS_IS_ABSTRACT))
        return false;
    raw = _PyType_Lookup(type, name); /* borrowed */
    return raw &&
           (PyFunction_Check(raw) || Py_TYPE(raw) == &PyStaticMethod_Type || Py_TYPE(raw) == &PyClassMethod_Type);
}

/* The test's function bound to a new instance of its class, or the module's function. NULL: leave it to pytest. */
static PyObject *find_object(PyObject *parent, PyObject *name, PyObject **instance)
{
    PyObject *const owner = get(parent, N__obj); /* owned */
    PyObject *object = NULL;

    *instance = NULL;
    if (owner && item_is_class(parent) && is_plain_member(owner, name)) {
        *instance = PyObject_CallNoArgs(owner);
        object = *instance ? PyObject_GetAttr(*instance, name) : NULL;
    } else if (owner && item_is_module(parent) && PyModule_CheckExact(owner)) {
        object = Py_XNewRef(PyDict_GetItemWithError(PyModule_GetDict(owner), name));
        *instance = Py_NewRef(Py_None);
    }
    Py_XDECREF(owner);
    if (object && !function_of(object))
        Py_CLEAR(object);
    return object;
}

/* A decorator's mark is taken out of it. False: not of the usual kinds. */
static bool add_mark(PyObject *list, PyObject *mark)
{
    PyObject *inner;
    bool ok;

    if (is_exactly(mark, T_MARK))
        return PyList_Append(list, mark) == 0;
    inner = is_exactly(mark, T_MARK_DECORATOR) ? get(mark, N_mark) : NULL;
    ok = inner && is_exactly(inner, T_MARK) && PyList_Append(list, inner) == 0;
    Py_XDECREF(inner);
    return ok;
}

static bool add_marks(PyObject *list, PyObject *marks)
{
    if (!PyList_CheckExact(marks))
        return false;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(marks); i++)
        if (!add_mark(list, PyList_GET_ITEM(marks, i)))
            return false;
    return true;
}

PyObject *item_marks(PyObject *function)
{
    PyObject *const dict = ((PyFunctionObject *)function)->func_dict; /* borrowed */
    PyObject *const marks = dict ? PyDict_GetItemWithError(dict, names[N_pytestmark]) : NULL;
    PyObject *const list = PyList_New(0);

    if (list && marks && !add_marks(list, marks)) {
        Py_DECREF(list);
        return NULL;
    }
    return list;
}

/* ---- its parts */

static PyObject *join_names(PyObject *parent_names, PyObject *name)
{
    const Py_ssize_t n = PyTuple_CheckExact(parent_names) ? PyTuple_GET_SIZE(parent_names) : -1;
    PyObject *const all = n >= 0 ? PyTuple_New(n + 1) : NULL;

    if (!all)
        return NULL;
    for (Py_ssize_t i = 0; i < n; i++)
        PyTuple_SET_ITEM(all, i, Py_NewRef(PyTuple_GET_ITEM(parent_names, i)));
    PyTuple_SET_ITEM(all, n, Py_NewRef(name));
    return all;
}

/* None, or the parts of a callspec's id joined. */
static PyObject *params_of(PyObject *callspec)
{
    PyObject *const parts = callspec ? get(callspec, N__idlist) : NULL; /* owned */
    PyObject *dash;
    PyObject *joined;

    if (!parts)
        return callspec ? NULL : Py_NewRef(Py_None);
    if (PyObject_Length(parts) <= 0) {
        Py_DECREF(parts);
        return Py_NewRef(Py_None);
    }
    dash = PyUnicode_FromString("-");
    joined = dash ? PyUnicode_Join(dash, parts) : NULL;
    Py_XDECREF(dash);
    Py_DECREF(parts);
    return joined;
}

/* From 9.2: a NodeId of its own. */
static PyObject *new_node_id(PyObject *parent, PyObject *base_name, PyObject *callspec)
{
    PyObject *const above = get(parent, N__id); /* owned */
    PyObject *const id = above && is_exactly(above, T_NODE_ID) ? bare(T_NODE_ID) : NULL;
    PyObject *const above_params = id ? get(above, N_params) : NULL; /* owned */
    PyObject *const above_names = id ? get(above, N_names) : NULL;   /* owned */
    bool ok = above_params == Py_None && above_names && copy(id, above, N_path) &&
              put(id, N_names, join_names(above_names, base_name)) && put(id, N_params, params_of(callspec)) &&
              put(id, N__str_cache, Py_NewRef(Py_None));

    Py_XDECREF(above_params);
    Py_XDECREF(above_names);
    Py_XDECREF(above);
    if (ok)
        return id;
    Py_XDECREF(id);
    return NULL;
}

static bool put_id(PyObject *item, PyObject *parent, const struct item_args *args)
{
    PyObject *above;
    PyObject *id;

    if (types[T_NODE_ID] != Py_None)
        return put(item, N__id,
                   new_node_id(parent, args->originalname ? args->originalname : args->name, args->callspec));
    above = get(parent, N__nodeid); /* owned */
    id = above && PyUnicode_CheckExact(above) ? PyUnicode_FromFormat("%U::%U", above, args->name) : NULL;
    Py_XDECREF(above);
    return put(item, N__nodeid, id);
}

static bool put_keywords(PyObject *item, PyObject *parent, PyObject *name)
{
    PyObject *const keywords = bare(T_KEYWORDS);
    PyObject *const markers = PyDict_New();

    if (!keywords || !markers || PyDict_SetItem(markers, name, Py_True) < 0) {
        Py_XDECREF(markers);
        Py_XDECREF(keywords);
        return false;
    }
    if (!put(keywords, N_node, Py_NewRef(item)) || !put(keywords, N_parent, Py_NewRef(parent)) ||
        !put(keywords, N__markers, Py_NewRef(markers))) {
        Py_DECREF(markers);
        Py_DECREF(keywords);
        return false;
    }
    Py_DECREF(markers);
    return put(item, N_keywords, keywords);
}

static bool put_stash(PyObject *item)
{
    PyObject *const stash = bare(T_STASH);

    if (!stash || !put(stash, N__storage, PyDict_New()) || !put(item, N_stash, Py_NewRef(stash))) {
        Py_XDECREF(stash);
        return false;
    }
    return put(item, N__store, stash);
}

static bool put_node(PyObject *item, PyObject *parent, const struct item_args *args)
{
    return put(item, N_name, Py_NewRef(args->name)) && put(item, N_parent, Py_NewRef(parent)) &&
           copy(item, parent, N_config) && copy(item, parent, N_session) && copy(item, parent, N_path) &&
           put_keywords(item, parent, args->name) && put(item, N_own_markers, PyList_New(0)) &&
           put(item, N_extra_keyword_matches, PySet_New(NULL)) && put_id(item, parent, args) && put_stash(item) &&
           put(item, N__report_sections, PyList_New(0)) && put(item, N_user_properties, PyList_New(0));
}

/* Answers the object that the item stands for, borrowed from the item. */
static PyObject *put_object(PyObject *item, PyObject *parent, const struct item_args *args)
{
    PyObject *const original = args->originalname ? args->originalname : args->name;
    PyObject *instance = NULL;
    PyObject *object = args->callobj ? Py_NewRef(args->callobj) : find_object(parent, original, &instance); /* owned */
    bool ok;

    if (args->callobj)
        instance = PyFunction_Check(object) ? Py_NewRef(Py_None) : NULL;
    if (!object || !instance)
        ok = false;
    else if (args->callobj)
        ok = put(item, N__obj, Py_NewRef(object)) && put(item, N__instance, Py_NewRef(instance)) &&
             put(item, N_originalname, Py_NewRef(original));
    else
        ok = put(item, N_originalname, Py_NewRef(original)) && put(item, N__instance, Py_NewRef(instance)) &&
             put(item, N__obj, Py_NewRef(object));
    Py_XDECREF(instance);
    Py_XDECREF(object); /* the item holds it */
    return ok ? object : NULL;
}

static bool update_keywords(PyObject *item, PyObject *marks, PyObject *function, PyObject *given)
{
    PyObject *const keywords = get(item, N_keywords);                      /* owned */
    PyObject *const markers = keywords ? get(keywords, N__markers) : NULL; /* owned */
    PyObject *const dict = ((PyFunctionObject *)function)->func_dict;      /* borrowed */
    bool ok = markers != NULL;

    for (Py_ssize_t i = 0; ok && i < PyList_GET_SIZE(marks); i++) {
        PyObject *const mark = PyList_GET_ITEM(marks, i);
        PyObject *const name = get(mark, N_name); /* owned */

        ok = name && PyDict_SetItem(markers, name, mark) == 0;
        Py_XDECREF(name);
    }
    ok = ok && (!dict || PyDict_Update(markers, dict) == 0) && (!given || PyDict_Update(markers, given) == 0);
    Py_XDECREF(markers);
    Py_XDECREF(keywords);
    return ok;
}

/* own_markers, callspec and keywords. */
static bool put_marks(PyObject *item, PyObject *function, const struct item_args *args)
{
    PyObject *const own = item_marks(function);                                          /* owned */
    PyObject *const list = own ? get(item, N_own_markers) : NULL;                        /* owned */
    PyObject *const more = list && args->callspec ? get(args->callspec, N_marks) : NULL; /* owned */
    const Py_ssize_t n = own ? PyList_GET_SIZE(own) : 0;
    bool ok = list && PyList_SetSlice(list, 0, 0, own) == 0;

    if (ok && args->callspec)
        ok = more && PyList_CheckExact(more) && PyList_SetSlice(list, n, n, more) == 0 &&
             put(item, N_callspec, Py_NewRef(args->callspec));
    ok = ok && update_keywords(item, list, function, args->keywords);
    Py_XDECREF(more);
    Py_XDECREF(list);
    Py_XDECREF(own);
    return ok;
}

/* What pytest's fixture manager says of it. */
static PyObject *ask_fixture_info(PyObject *item, PyObject *object)
{
    PyObject *const session = get(item, N_session);                             /* owned */
    PyObject *const manager = session ? get(session, N__fixturemanager) : NULL; /* owned */
    PyObject *const cls = manager ? get(item, N_cls) : NULL;                    /* owned */
    PyObject *const info =
        cls ? PyObject_CallMethodObjArgs(manager, names[N_getfixtureinfo], item, object, cls, NULL) : NULL;

    Py_XDECREF(cls);
    Py_XDECREF(manager);
    Py_XDECREF(session);
    return info;
}

static bool put_request(PyObject *item, PyObject *info)
{
    PyObject *const request = bare(T_REQUEST);
    PyObject *defs = get(info, N_name2fixturedefs); /* owned */

    if (defs && copies)
        Py_SETREF(defs, PyDict_Check(defs) ? PyDict_Copy(defs) : NULL);
    if (!request || !defs || !put(request, N_fixturename, Py_NewRef(Py_None)) ||
        !put(request, N__pyfuncitem, Py_NewRef(item)) || !put(request, N__arg2fixturedefs, Py_NewRef(defs)) ||
        !put(request, N__fixture_defs, PyDict_New())) {
        Py_XDECREF(defs);
        Py_XDECREF(request);
        return false;
    }
    Py_DECREF(defs);
    return put(item, N__request, request);
}

static bool put_fixtures(PyObject *item, PyObject *object, PyObject *given)
{
    PyObject *const info = given ? Py_NewRef(given) : ask_fixture_info(item, object); /* owned */
    const bool ok = info && is_exactly(info, T_FIXTURE_INFO) && put(item, N__fixtureinfo, Py_NewRef(info)) &&
                    put(item, N_fixturenames, get(info, N_names_closure)) && put(item, N_funcargs, PyDict_New()) &&
                    put_request(item, info);

    Py_XDECREF(info);
    return ok;
}

/* pytest looks at a type's bases once, and notes that on the type. */
static bool was_checked(PyObject *type)
{
    PyObject *const shown = _PyType_Lookup((PyTypeObject *)type, names[N__pytest_diamond_inheritance_warning_shown]);

    return shown == Py_True;
}

PyObject *item_new(PyObject *type, PyObject *parent, const struct item_args *args)
{
    PyObject *item;
    PyObject *object;

    if (!(item_is_module(parent) || item_is_class(parent)) || !was_checked(type))
        return NULL;
    item = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
    object = item && put_node(item, parent, args) ? put_object(item, parent, args) : NULL;
    if (object && put_marks(item, function_of(object), args) && put_fixtures(item, object, args->fixtureinfo)) {
        item_n_made += type == types[T_FUNCTION];
        return item;
    }
    Py_XDECREF(item);
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception))
        PyErr_Clear();
    return NULL;
}

/* The definitions of each name are in a list of the item's own, where pytest gives it one. */
static PyObject *copy_definitions(PyObject *given)
{
    PyObject *const all = PyDict_New();
    PyObject *key;
    PyObject *value;
    Py_ssize_t at = 0;

    while (all && PyDict_Next(given, &at, &key, &value)) {
        PyObject *const own =
            PyList_CheckExact(value) ? PyList_GetSlice(value, 0, PyList_GET_SIZE(value)) : Py_NewRef(value); /* owned */
        const bool ok = own && PyDict_SetItem(all, key, own) == 0;

        Py_XDECREF(own);
        if (!ok) {
            Py_DECREF(all);
            return NULL;
        }
    }
    return all;
}

PyObject *item_fixture_info(PyObject *argnames, PyObject *initialnames, PyObject *closure, PyObject *name2fixturedefs)
{
    PyObject *const info = bare(T_FIXTURE_INFO);

    if (info && put(info, N_argnames, Py_NewRef(argnames)) && put(info, N_initialnames, Py_NewRef(initialnames)) &&
        put(info, N_names_closure, PyList_GetSlice(closure, 0, PyList_GET_SIZE(closure))) &&
        put(info, N_name2fixturedefs, copy_definitions(name2fixturedefs)))
        return info;
    Py_XDECREF(info);
    return NULL;
}
