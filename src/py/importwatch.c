/* importwatch.c - the functions that stand in the import system's place, and their coming and going. */
#include "py/importwatch.h"

#include "base/clock.h"
#include "py/importlog.h"
#include "py/native.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

/* What was replaced, to be put back. */
struct replaced {
    PyObject *holder;   /* owned: a module or class */
    PyObject *original; /* owned; NULL: a name that was not there */
    const char *name;
};

enum { MOST_REPLACED = 16 };

static struct {
    bool on;
    PyObject *find_and_load; /* owned: the original */
    PyObject *import;        /* owned: builtins.__import__ as it was */
    bool import_is_builtin;
    PyObject *collector; /* owned: our function in gc.callbacks */
    struct replaced replaced[MOST_REPLACED];
    int n_replaced;
} watch;

/* ---- what was loaded */

static bool ends_in_shared(PyObject *file)
{
    const char *text = PyUnicode_Check(file) ? PyUnicode_AsUTF8(file) : NULL;
    const size_t n = text ? strlen(text) : 0;

    PyErr_Clear();
    return n > 3 && (strcmp(text + n - 3, ".so") == 0 || (n > 4 && strcmp(text + n - 4, ".pyd") == 0));
}

static void describe(PyObject *module, struct log_load *load)
{
    PyObject *file = edge_attribute(module, "__file__"); /* borrowed */

    load->origin = importlog_text(file);
    if (edge_attribute(module, "__path__"))
        load->flags |= LOG_PACKAGE;
    if (file && ends_in_shared(file))
        load->flags |= LOG_EXTENSION;
}

/* PEP 810: sys.lazy_modules has the names that were declared and are not real yet. */
static bool was_lazy(PyObject *name)
{
    PyObject *names = PySys_GetObject("lazy_modules"); /* borrowed */
    const int truth = names && PyAnySet_Check(names) ? PySet_Contains(names, name) : 0;

    PyErr_Clear();
    return truth > 0;
}

/* ---- statements */

struct import_args {
    PyObject *name;
    PyObject *globals;
    PyObject *locals;
    PyObject *fromlist;
    int level;
};

static bool plain_args(PyObject *const *args, Py_ssize_t n, PyObject *names, struct import_args *a)
{
    *a = (struct import_args){0};
    if (names || n < 1 || n > 5 || !PyUnicode_Check(args[0]))
        return false;
    a->name = args[0];
    a->globals = n > 1 ? args[1] : NULL;
    a->locals = n > 2 ? args[2] : NULL;
    a->fromlist = n > 3 ? args[3] : NULL;
    if (n > 4) {
        a->level = PyLong_Check(args[4]) ? (int)PyLong_AsLong(args[4]) : -1;
        if (PyErr_Occurred()) {
            PyErr_Clear();
            return false;
        }
    }
    return a->level >= 0;
}

static PyObject *call_import(const struct import_args *a, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    if (watch.import_is_builtin && a->name)
        return PyImport_ImportModuleLevelObject(a->name, a->globals, a->locals, a->fromlist, a->level);
    return PyObject_Vectorcall(watch.import, args, (size_t)n, names);
}

static PyObject *hook_import(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    uint64_t since_ns = watch.on ? clock_now_ns() : 0;
    struct import_args a;
    struct place place;
    PyObject *failure; /* owned: the statement's own, if it failed */
    PyObject *module;  /* owned */

    (void)self;
    if (!plain_args(args, n, names, &a))
        a.name = NULL;
    place_find(&place);
    /* The machinery itself asks for io when it reads a file. */
    if (!watch.on || !a.name || (place.within && !place.extension) || !place_is_new(&place, a.name)) {
        place_release(&place);
        if (watch.on)
            span_leave_out(since_ns);
        return call_import(&a, args, n, names);
    }
    span_leave_out(since_ns);
    module = call_import(&a, args, n, names);
    since_ns = clock_now_ns();
    if (watch.on) {
        failure = module ? NULL : compat_take_exception();
        edge_note(&place, a.name, a.level, a.fromlist);
        if (failure)
            compat_put_exception(failure);
    }
    place_release(&place);
    span_leave_out(since_ns);
    return module;
}

/* ---- compiled code */

static void note_from_code(PyObject *name, int level, PyObject *fromlist)
{
    PyObject *failure = compat_take_exception(); /* owned */
    struct place place;

    place_find(&place);
    if (place.extension && PyUnicode_Check(name))
        edge_note(&place, name, level, fromlist);
    place_release(&place);
    if (failure)
        compat_put_exception(failure);
}

static PyObject *import_level(PyObject *name, PyObject *globals, PyObject *locals, PyObject *fromlist, int level)
{
    PyObject *module = PyImport_ImportModuleLevelObject(name, globals, locals, fromlist, level); /* owned */

    if (watch.on && name && level >= 0)
        note_from_code(name, level, fromlist);
    return module;
}

static PyObject *get_module(PyObject *name)
{
    PyObject *module = PyImport_GetModule(name); /* owned */

    if (watch.on && module)
        note_from_code(name, 0, NULL);
    return module;
}

/* An extension module that is about to be loaded, or executed. */
static void watch_code(PyObject *spec)
{
    const struct binding bindings[] = {
        {"PyImport_ImportModuleLevelObject", (void *)(uintptr_t)PyImport_ImportModuleLevelObject,
         (void *)(uintptr_t)import_level},
        {"PyImport_GetModule", (void *)(uintptr_t)PyImport_GetModule, (void *)(uintptr_t)get_module},
    };

    bind_extension(spec, bindings, HS_COUNT(bindings));
}

/* ---- loads */

static bool inside(PyObject *package, PyObject *name)
{
    const Py_ssize_t n = PyUnicode_GET_LENGTH(package);

    return PyUnicode_GET_LENGTH(name) > n && PyUnicode_ReadChar(name, n) == '.' &&
           PyUnicode_Tailmatch(name, package, 0, n, -1) == 1;
}

static void watch_new_module(PyObject *name, PyObject *module);

static void finish_load(struct span *span, const struct place *place, PyObject *module, struct log_load *load)
{
    PyObject *failure = compat_take_exception(); /* owned */
    PyObject *name = span->name;                 /* borrowed */
    uint64_t since_ns;

    load->flags |= span->found ? 0 : LOG_WAITED;
    work_end(span);
    span_close_load(span, load);
    since_ns = clock_now_ns();
    if (module) {
        describe(module, load);
        watch_new_module(name, module);
    } else {
        load->flags |= LOG_FAILED;
    }
    place_write(place, &load->place, &load->flags);
    load->name = importlog_text(name);
    if (load->name)
        importlog_add(load, sizeof *load);
    PyErr_Clear();
    if (failure)
        compat_put_exception(failure);
    span_leave_out(since_ns);
}

static PyObject *load_it(PyObject *const *args, Py_ssize_t n, PyObject *names, const struct place *place)
{
    const struct span *outer = span_load();
    struct log_load load = {
        .head.type = LOG_LOAD,
        .parent = outer ? outer->seq : LOG_NONE,
        .thread = span_thread(),
        .flags = was_lazy(args[0]) ? LOG_LAZY : 0,
    };
    struct span *span;
    PyObject *module; /* owned */

    if (outer && place->within && inside(args[0], outer->name))
        load.flags |= LOG_PARENT;
    span = span_open(args[0]);
    load.seq = span->seq;
    module = PyObject_Vectorcall(watch.find_and_load, args, (size_t)n, names);
    if (watch.on) {
        finish_load(span, place, module, &load);
    } else {
        work_end(span);
        span_close_load(span, &load);
    }
    return module;
}

static PyObject *hook_find_and_load(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    const uint64_t since_ns = clock_now_ns();
    PyObject *module; /* owned */
    struct place place;
    bool there;

    (void)self;
    if (!watch.on || n < 1 || !PyUnicode_Check(args[0]))
        return PyObject_Vectorcall(watch.find_and_load, args, (size_t)n, names);
    there = edge_loaded(args[0]) != NULL;
    place_find(&place);
    span_leave_out(since_ns);
    if (!there) {
        module = load_it(args, n, names, &place);
    } else {
        module = PyObject_Vectorcall(watch.find_and_load, args, (size_t)n, names);
        /* Statements are noted by hook_import. */
        if (watch.on && module && !place.by_statement && place_is_new(&place, args[0]))
            edge_note(&place, args[0], 0, NULL);
    }
    place_release(&place);
    return module;
}

/* ---- phases */

/* self: (original, number of the phase). */
static PyObject *hook_phase(PyObject *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *original = PyTuple_GET_ITEM(self, 0); /* borrowed */
    const int phase = (int)PyLong_AsLong(PyTuple_GET_ITEM(self, 1));
    struct span *span;
    PyObject *result; /* owned */

    if (!watch.on || !span_load())
        return PyObject_Vectorcall(original, args, (size_t)n, names);
    span = span_open(NULL);
    span->dynamic = phase == LOG_DYNAMIC;
    if (span->dynamic && n > 0)
        watch_code(args[0]);
    result = PyObject_Vectorcall(original, args, (size_t)n, names);
    span_close_phase(span, phase);
    if (result && (phase == LOG_UNMARSHAL || phase == LOG_COMPILE))
        work_watch(result);
    return result;
}

static PyObject *hook_collector(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    (void)self;
    if (watch.on && n > 0 && PyUnicode_Check(args[0]))
        span_collector(PyUnicode_CompareWithASCIIString(args[0], "start") == 0);
    Py_RETURN_NONE;
}

/* ---- coming and going */

static int replace(PyObject *holder, const char *name, PyObject *function)
{
    struct replaced *r = &watch.replaced[watch.n_replaced];

    HS_CHECK(watch.n_replaced < MOST_REPLACED);
    r->original = PyObject_GetAttrString(holder, name);
    if (!r->original)
        return -1;
    if (PyObject_SetAttrString(holder, name, function) < 0) {
        Py_CLEAR(r->original);
        return -1;
    }
    r->holder = Py_NewRef(holder);
    r->name = name;
    watch.n_replaced++;
    return 0;
}

#define AS_FUNCTION(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef phase_def = {"phase", AS_FUNCTION(hook_phase), METH_FASTCALL | METH_KEYWORDS, NULL};
static PyMethodDef import_def = {"__import__", AS_FUNCTION(hook_import), METH_FASTCALL | METH_KEYWORDS, NULL};
static PyMethodDef load_def = {"_find_and_load", AS_FUNCTION(hook_find_and_load), METH_FASTCALL | METH_KEYWORDS, NULL};
static PyMethodDef collector_def = {"collector", AS_FUNCTION(hook_collector), METH_FASTCALL, NULL};

/* Puts a span around holder.name; a method of a class gets its object as the first argument. */
static int time_phase(PyObject *holder, const char *name, int phase)
{
    PyObject *original = PyObject_GetAttrString(holder, name); /* owned */
    PyObject *self = NULL;                                     /* owned */
    PyObject *function = NULL;                                 /* owned */
    int code = -1;

    if (original)
        self = Py_BuildValue("(Oi)", original, phase);
    if (self)
        function = PyCFunction_New(&phase_def, self);
    if (function && PyType_Check(holder))
        Py_SETREF(function, PyInstanceMethod_New(function));
    if (function)
        code = replace(holder, name, function);
    Py_XDECREF(original);
    Py_XDECREF(self);
    Py_XDECREF(function);
    return code;
}

/* A class or module below a module of sys.modules: owned. */
static PyObject *named(const char *module_name, const char *class_name)
{
    PyObject *module = PyImport_ImportModule(module_name); /* owned */
    PyObject *class;                                       /* owned */

    if (!module || !class_name)
        return module;
    class = PyObject_GetAttrString(module, class_name);
    Py_DECREF(module);
    return class;
}

struct phase_at {
    const char *module;
    const char *class;
    const char *name;
    enum log_phase phase;
};

static int time_phases(const struct phase_at *phases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        PyObject *holder = named(phases[i].module, phases[i].class); /* owned */
        const int code = holder ? time_phase(holder, phases[i].name, (int)phases[i].phase) : -1;

        Py_XDECREF(holder);
        if (code < 0)
            return -1;
    }
    return 0;
}

/* pytest reads, compiles and rewrites test modules itself. */
static void watch_new_module(PyObject *name, PyObject *module)
{
    static const struct phase_at phases[] = {
        {"_pytest.assertion.rewrite", NULL, "_read_pyc", LOG_UNMARSHAL},
        {"_pytest.assertion.rewrite", NULL, "_rewrite_test", LOG_COMPILE},
    };

    (void)module;
    if (PyUnicode_CompareWithASCIIString(name, phases[0].module) == 0 && watch.n_replaced + 2 <= MOST_REPLACED &&
        time_phases(phases, HS_COUNT(phases)) < 0)
        PyErr_Clear(); /* a pytest that has them not: their time is the module's own */
}

static int replace_import(void)
{
    PyObject *builtins = PyImport_ImportModule("builtins");  /* owned */
    PyObject *function = PyCFunction_New(&import_def, NULL); /* owned */
    int code = -1;

    if (builtins && function)
        watch.import = PyObject_GetAttrString(builtins, "__import__");
    if (watch.import) {
        watch.import_is_builtin = PyCFunction_Check(watch.import);
        code = replace(builtins, "__import__", function);
    }
    Py_XDECREF(builtins);
    Py_XDECREF(function);
    return code;
}

static int replace_load(void)
{
    PyObject *machinery = PyImport_ImportModule("_frozen_importlib"); /* owned */
    PyObject *function = PyCFunction_New(&load_def, NULL);            /* owned */
    int code = -1;

    if (machinery && function)
        watch.find_and_load = PyObject_GetAttrString(machinery, "_find_and_load");
    if (watch.find_and_load)
        code = replace(machinery, "_find_and_load", function);
    Py_XDECREF(machinery);
    Py_XDECREF(function);
    return code;
}

/* gc.callbacks.append(ours) or .remove(ours) */
static int collector_callback(const char *method)
{
    PyObject *callbacks = named("gc", "callbacks"); /* owned */
    PyObject *done = NULL;                          /* owned */

    if (!watch.collector)
        watch.collector = PyCFunction_New(&collector_def, NULL);
    if (callbacks && watch.collector)
        done = PyObject_CallMethod(callbacks, method, "O", watch.collector);
    Py_XDECREF(callbacks);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static void put_back(void)
{
    watch.on = false;
    while (watch.n_replaced > 0) {
        struct replaced *r = &watch.replaced[--watch.n_replaced];

        if (PyObject_SetAttrString(r->holder, r->name, r->original) < 0)
            PyErr_Clear();
        Py_CLEAR(r->holder);
        Py_CLEAR(r->original);
    }
    if (watch.collector && collector_callback("remove") < 0)
        PyErr_Clear();
    place_forget();
    work_stop();
}

static int put_in(void)
{
    static const struct phase_at phases[] = {
        {"_frozen_importlib", NULL, "_find_spec", LOG_FIND},
        {"_frozen_importlib_external", "FileLoader", "get_data", LOG_READ},
        {"_frozen_importlib_external", NULL, "_compile_bytecode", LOG_UNMARSHAL},
        {"_frozen_importlib_external", "SourceLoader", "source_to_code", LOG_COMPILE},
        {"_imp", NULL, "create_dynamic", LOG_DYNAMIC},
        {"_imp", NULL, "exec_dynamic", LOG_DYNAMIC},
    };

    if (time_phases(phases, HS_COUNT(phases)) < 0 || collector_callback("append") < 0 || replace_load() < 0)
        return -1;
    return replace_import();
}

/* The child of a fork would write into its parent's file. */
static void in_child(void)
{
    watch.on = false;
    importlog_forget();
}

static PyObject *native_imports_start(PyObject *self, PyObject *args)
{
    static bool told_fork;
    const char *path, *root = "";
    int code;

    (void)self;
    if (!PyArg_ParseTuple(args, "s|s", &path, &root))
        return NULL;
#ifdef Py_GIL_DISABLED
    PyErr_SetString(PyExc_RuntimeError, "imports cannot be watched in a build without the GIL");
    return NULL;
#endif
    if (watch.on) {
        PyErr_SetString(PyExc_RuntimeError, "imports are watched already");
        return NULL;
    }
    code = importlog_open(path);
    if (code < 0) {
        errno = -code;
        return PyErr_SetFromErrnoWithFilename(PyExc_OSError, path);
    }
    if (!told_fork)
        pthread_atfork(NULL, NULL, in_child);
    told_fork = true;
    span_reset();
    if (put_in() < 0) {
        PyObject *failure = compat_take_exception(); /* owned, given back */

        put_back();
        importlog_close();
        compat_put_exception(failure);
        return NULL;
    }
    work_start(root);
    watch.on = true;
    Py_RETURN_NONE;
}

static PyObject *native_imports_note(PyObject *self, PyObject *args)
{
    struct log_noted note = {.head.type = LOG_NOTE};
    PyObject *texts[3] = {NULL, NULL, NULL}; /* borrowed */
    unsigned int kind;

    (void)self;
    if (!PyArg_ParseTuple(args, "IO|OO", &kind, &texts[0], &texts[1], &texts[2]))
        return NULL;
    note.kind = kind;
    for (size_t i = 0; i < HS_COUNT(texts); i++)
        note.text[i] = importlog_text(texts[i]);
    importlog_add(&note, sizeof note);
    Py_RETURN_NONE;
}

static PyObject *native_imports_stop(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    if (watch.on)
        put_back();
    importlog_close();
    Py_RETURN_NONE;
}

PyMethodDef importwatch_methods[] = {
    {"imports_start", native_imports_start, METH_VARARGS,
     "imports_start(path, root='') -> None\n\nFrom now on every import of this process is timed and written to a new "
     "file "
     "(src/imports/log.h), and what the lines of modules below root take. A forked child is not watched. OSError; "
     "RuntimeError when it is on already."},
    {"imports_note", native_imports_note, METH_VARARGS,
     "imports_note(kind, text, text=None, text=None) -> None\n\nA remark in the file: kind 1, a plugin (name, module, "
     "distribution); kind 2, a name that was declared lazy and is not real yet."},
    {"imports_stop", native_imports_stop, METH_NOARGS,
     "imports_stop() -> None\n\nPuts the import system back as it was and closes the file."},
    {NULL, NULL, 0, NULL},
};
