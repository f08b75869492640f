/* monitor.c - the callbacks of sys.monitoring, and which code objects they are for. */
#include "py/monitor.h"

#include "py/native.h"
#include "py/words.h"

#if PY_VERSION_HEX >= 0x030C0000

#include "base/base.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MOST_EVENTS 80 /* of one code object in one context before they are switched off */

static struct {
    struct monitor_sink sink;
    bool on;
    bool paused; /* nothing is recorded, and no event switched off */
    bool branch;
    enum hits_contexts contexts;
    uint32_t session;  /* how often monitor_open() was called */
    PyObject *paths;   /* owned: dict, path -> address of its struct monitor_file */
    Py_ssize_t extra;  /* our place in co_extra; -1: none yet */
    PyObject *decide;  /* owned: (file name, frame) -> path or None */
    PyObject *files;   /* owned: dict, co_filename -> int, a struct monitor_file's address; 0: does not count */
    PyObject *disable; /* owned: sys.monitoring.DISABLE */
    PyObject *set_local_events; /* owned */
    PyObject *tool;             /* owned */
    PyObject *local_events;     /* owned: for code that counts */
    PyObject *start_tool;       /* owned: a second one, as a global PY_START cannot be switched on again for one code */
    PyObject *start_events;     /* owned: for announced code */
    PyObject *no_events;        /* owned */
    PyCodeObject **asleep;      /* borrowed: to be switched on in the next context; NULL: has died since */
    uint32_t n_asleep;
    uint32_t asleep_room;
    uint32_t switches; /* of contexts, so far */
} st = {.extra = -1};

static PyObject *disabled(void)
{
    return Py_NewRef(st.paused ? Py_None : st.disable);
}

static struct monitor_code *code_of(PyObject *object)
{
    void *extra = NULL;
    const struct monitor_code *known;

    if (PyUnstable_Code_GetExtra(object, st.extra, &extra) < 0)
        PyErr_Clear();
    known = extra;
    return known && known->session == st.session ? extra : NULL;
}

static void forget_code(void *extra)
{
    struct monitor_code *known = extra;

    if (!known)
        return;
    if (known->session == st.session && known->asleep != HITS_NONE)
        st.asleep[known->asleep] = NULL;
    flow_free(known->flow);
    free(known->numbers);
    free(known);
}

/* ---- which code counts */

static int32_t last_line_below(PyCodeObject *code, int depth)
{
    int32_t last = flow_last_line(code);

    for (Py_ssize_t i = 0; depth < 50 && i < PyTuple_GET_SIZE(code->co_consts); i++) {
        PyObject *object = PyTuple_GET_ITEM(code->co_consts, i);

        if (PyCode_Check(object)) {
            const int32_t inner = last_line_below((PyCodeObject *)object, depth + 1);

            last = inner > last ? inner : last;
        }
    }
    return last;
}

static struct monitor_file *open_file(PyObject *path, PyCodeObject *code)
{
    Py_ssize_t size = 0;
    const char *text = PyUnicode_AsUTF8AndSize(path, &size);

    return text ? record_file(&st.sink, text, (size_t)size, last_line_below(code, 0), st.branch) : NULL;
}

/* Two file names of code objects may lead to one path. */
static struct monitor_file *file_of_path(PyObject *path, PyCodeObject *code)
{
    PyObject *known = PyDict_GetItemWithError(st.paths, path);
    struct monitor_file *file;

    if (known)
        return PyLong_AsVoidPtr(known);
    file = PyErr_Occurred() ? NULL : open_file(path, code);
    known = file ? PyLong_FromVoidPtr(file) : NULL;
    if (known)
        PyDict_SetItem(st.paths, path, known);
    Py_XDECREF(known);
    return file;
}

static PyObject *ask(PyCodeObject *code)
{
    PyFrameObject *frame = PyEval_GetFrame(); /* borrowed */
    PyObject *args[] = {code->co_filename, frame ? (PyObject *)frame : Py_None};

    return PyObject_Vectorcall(st.decide, args, 2, NULL);
}

/* The file of a code object whose file name is new. NULL: it does not count, or an exception is set. */
static struct monitor_file *decide(PyCodeObject *code)
{
    PyObject *path = ask(code); /* owned */
    struct monitor_file *file = NULL;
    PyObject *address;

    if (!path)
        return NULL;
    if (PyUnicode_Check(path))
        file = file_of_path(path, code);
    Py_DECREF(path);
    if (PyErr_Occurred())
        return NULL;
    address = PyLong_FromVoidPtr(file);
    if (!address || PyDict_SetItem(st.files, code->co_filename, address) < 0)
        file = NULL;
    Py_XDECREF(address);
    return file;
}

static struct monitor_file *file_for(PyCodeObject *code)
{
    PyObject *known = PyDict_GetItemWithError(st.files, code->co_filename);

    if (known)
        return PyLong_AsVoidPtr(known);
    return PyErr_Occurred() ? NULL : decide(code);
}

static int set_events(PyObject *tool, PyCodeObject *code, PyObject *events)
{
    PyObject *args[] = {tool, (PyObject *)code, events};
    PyObject *result = PyObject_Vectorcall(st.set_local_events, args, 3, NULL);

    Py_XDECREF(result);
    return result ? 0 : -1;
}

static int arm(const struct monitor_code *known, PyCodeObject *code)
{
    return set_events(st.tool, code, st.local_events) < 0 ||
                   (known->announced && set_events(st.start_tool, code, st.start_events) < 0)
               ? -1
               : 0;
}

/*
 * A function of nothing but its def line has no LINE event once its RESUME is specialized (3.13.0). Its start stands for
 * it; without contexts that line ran already, as the statement that made the function.
 */
static bool is_announced(PyCodeObject *code)
{
    return st.contexts == HITS_FUNCTIONS_BY_CONTEXT ||
           (st.contexts == HITS_LINES_BY_CONTEXT && flow_last_line(code) == code->co_firstlineno);
}

static struct monitor_code *adopt(PyCodeObject *code, struct monitor_file *file)
{
    struct monitor_code *known = hs_alloc(sizeof *known);

    known->session = st.session;
    known->file = file;
    known->first_line = code->co_firstlineno;
    known->asleep = HITS_NONE;
    known->announced = is_announced(code);
    if ((st.branch && !(known->flow = flow_new(code))) ||
        PyUnstable_Code_SetExtra((PyObject *)code, st.extra, known) < 0) {
        flow_free(known->flow);
        free(known);
        return NULL;
    }
    return arm(known, code) < 0 ? NULL : known;
}

/* Before an event is looked at: whether it is the first one of its code in this context is kept with the code. */
static void begin(struct monitor_code *known)
{
    if (known->switches == st.switches)
        return;
    known->switches = st.switches;
    known->n_events = 0;
    if (known->flow && st.contexts == HITS_LINES_BY_CONTEXT)
        monitor_forget(known);
}

static void sleep_until_switch(struct monitor_code *known, PyCodeObject *code)
{
    if (known->asleep != HITS_NONE)
        return;
    if (st.n_asleep == st.asleep_room) {
        st.asleep_room = st.asleep_room ? 2 * st.asleep_room : 256;
        st.asleep = hs_realloc(st.asleep, st.asleep_room * sizeof *st.asleep);
    }
    known->asleep = st.n_asleep;
    st.asleep[st.n_asleep++] = code;
}

/* The answer to an event that need not come again in this context. */
static PyObject *rest(struct monitor_code *known, PyObject *code)
{
    if (++known->n_events < MOST_EVENTS)
        return Py_NewRef(Py_None);
    sleep_until_switch(known, (PyCodeObject *)code);
    return Py_NewRef(st.disable);
}

static PyObject *done_with(struct monitor_code *known, PyObject *code)
{
    return st.contexts == HITS_LINES_BY_CONTEXT ? rest(known, code) : Py_NewRef(st.disable);
}

static void prove(int32_t from, int32_t to, void *file)
{
    record_arc(&st.sink, file, from, to, st.contexts == HITS_LINES_BY_CONTEXT);
}

/* ---- events; args as sys.monitoring documents them */

static void enter(struct monitor_code *known)
{
    begin(known);
    if (known->n_events)
        return;
    record_line(&st.sink, known->file, known->first_line, true);
}

/* (code, offset): once for each code object */
static PyObject *on_start(PyObject *const *args)
{
    PyCodeObject *code = (PyCodeObject *)args[0];
    struct monitor_code *known;
    struct monitor_file *file;

    if (st.paused)
        return Py_NewRef(Py_None);
    if (monitor_test_starts(code) < 0)
        return NULL;
    known = code_of(args[0]);
    if (!known) {
        file = file_for(code);
        if (file)
            known = adopt(code, file);
        if (PyErr_Occurred())
            return NULL;
    }
    if (known && known->announced)
        enter(known);
    return disabled();
}

/* (code, offset): of announced code, once in each context */
static PyObject *on_enter(PyObject *const *args)
{
    struct monitor_code *known = code_of(args[0]);

    if (!known || st.paused)
        return disabled();
    enter(known);
    return rest(known, args[0]);
}

static void prove_trail(const struct monitor_code *known, int32_t line, uint32_t at)
{
    const int32_t to = line ? flow_trail(known->flow, line, at) : FLOW_NO_LINE;

    if (to != FLOW_NO_LINE)
        prove(line, to, known->file);
}

/* What the first LINE event of a unit proves in a context. */
static void prove_line(struct monitor_code *known, uint32_t at, int32_t line)
{
    const int32_t from = known->flow->units[at].from;

    if (st.contexts != HITS_LINES_BY_CONTEXT) {
        if (from)
            prove(from, line, known->file);
        prove_trail(known, line, at);
        return;
    }
    if (!record_again(&st.sink, known, 2 * at))
        record_first(&st.sink, known, 2 * at, from, line);
    if (!record_again(&st.sink, known, 2 * at + 1))
        record_first(&st.sink, known, 2 * at + 1, line, flow_trail(known->flow, line, at));
}

/* Whether this LINE event is needed again. */
static bool reach(struct monitor_code *known, uint32_t at, int32_t line)
{
    struct flow_unit *unit = &known->flow->units[at];

    if (!(unit->state & FLOW_SEEN)) {
        prove_line(known, at, line);
        monitor_touch(known, at, FLOW_SEEN);
    }
    return unit->state & FLOW_PAIRED && flow_reached(known->flow, at, compat_frame(), prove, known->file);
}

/* (code, line) */
static PyObject *on_line(PyObject *const *args)
{
    struct monitor_code *known = code_of(args[0]);
    const int32_t line = (int32_t)PyLong_AsLong(args[1]);

    if (!known || st.paused)
        return disabled();
    begin(known);
    record_line(&st.sink, known->file, line, st.contexts == HITS_LINES_BY_CONTEXT);
    if (known->flow) {
        const uint32_t at = (uint32_t)compat_lasti() / 2;

        if (at < known->flow->n && reach(known, at, line))
            return Py_NewRef(Py_None);
    }
    return done_with(known, args[0]);
}

/* (code, offset, destination): BRANCH of 3.12 and 3.13, BRANCH_LEFT and BRANCH_RIGHT of later ones */
static PyObject *on_branch(PyObject *const *args)
{
    struct monitor_code *known = code_of(args[0]);
    const uint32_t at = (uint32_t)PyLong_AsLong(args[1]) / 2;
    const uint32_t to = (uint32_t)PyLong_AsLong(args[2]) / 2;
    struct flow_unit *unit;
    uint32_t start;
    uint8_t way;
    bool needed;

    if (!known || !known->flow || st.paused || at >= known->flow->n)
        return disabled();
    begin(known);
    unit = &known->flow->units[at];
    way = (uint8_t)flow_way(known->flow, at, to);
    if (way == FLOW_JUMP_SEEN && unit->kind != FLOW_BRANCH)
        return done_with(known, args[0]); /* END_ASYNC_FOR (3.14) says so before it knows: see on_handled */
    start = way == FLOW_FALL_SEEN ? unit->next : unit->jump;
    needed = known->flow->units[start].state & FLOW_PAIRED && flow_branched(known->flow, start, compat_frame());
    if (!(unit->state & way)) {
        prove_trail(known, unit->line, start);
        monitor_touch(known, at, way);
    }
    if (needed)
        return Py_NewRef(Py_None);
#if PY_VERSION_HEX < 0x030E0000
    if (!(unit->state & (FLOW_FALL_SEEN | FLOW_FALL_PROVEN)) || !(unit->state & (FLOW_JUMP_SEEN | FLOW_JUMP_PROVEN)))
        return Py_NewRef(Py_None); /* the other way would be switched off with this one */
#endif
    return done_with(known, args[0]);
}

/*
 * The frame is left at an instruction of that line; 0: it has none. From CPython 3.14 on coverage.py goes from the last
 * line to that line, or to -1, before it leaves.
 */
static void leave(const struct monitor_code *known, int32_t last, int32_t line)
{
    const bool goes_there = PY_VERSION_HEX >= 0x030E0000;

    if (goes_there && last != line)
        prove(last, line ? line : -1, known->file);
    prove(goes_there ? line : last, -known->first_line, known->file);
}

/* (code, offset, value) */
static PyObject *on_return(PyObject *const *args)
{
    struct monitor_code *known = code_of(args[0]);
    const uint32_t at = (uint32_t)PyLong_AsLong(args[1]) / 2;
    struct flow_unit *unit;

    if (!known || !known->flow || st.paused || at >= known->flow->n)
        return disabled();
    begin(known);
    unit = &known->flow->units[at];
    if (!(unit->state & FLOW_LEFT))
        leave(known, flow_line_before(known->flow, at, compat_frame(), known->raised_line), unit->line);
    if (!unit->line && unit->from < 0)
        return Py_NewRef(Py_None); /* more lines than one may come before */
    monitor_touch(known, at, FLOW_LEFT);
    return done_with(known, args[0]);
}

/* (code, offset, exception): in each frame that an exception passes. Where it came from, if that has a line. */
static PyObject *on_raise(PyObject *const *args)
{
    struct monitor_code *known = code_of(args[0]);
    const uint32_t at = (uint32_t)PyLong_AsLong(args[1]) / 2;

    if (!known || !known->flow || at >= known->flow->n)
        return Py_NewRef(Py_None);
    begin(known);
    known->raised_line = flow_line_before(known->flow, at, compat_frame(), known->raised_line);
    flow_raised(known->flow, compat_frame());
    return Py_NewRef(Py_None);
}

/*
 * (code, offset, exception): leaves the frame. RERAISE has put the frame back to where the exception first came from; one
 * that was thrown into a suspended frame and leaves it at once is no way out of its line (as coverage.py sees it).
 */
static PyObject *on_unwind(PyObject *const *args)
{
    struct monitor_code *known = code_of(args[0]);
    const uint32_t at = (uint32_t)compat_lasti() / 2;

    if (known && known->flow && !st.paused && at < known->flow->n) {
        const struct flow_unit *unit = &known->flow->units[at];

        if (unit->kind != FLOW_YIELD && unit->kind != FLOW_RESUME)
            leave(known, known->raised_line, unit->line);
    }
    return Py_NewRef(Py_None);
}

/* (code, offset of the handler, exception) */
static PyObject *on_handled(PyObject *const *args)
{
    struct monitor_code *known = code_of(args[0]);
    const uint32_t at = (uint32_t)PyLong_AsLong(args[1]) / 2;

    if (known && known->flow && !st.paused && at < known->flow->n) {
        const struct flow_unit *unit = flow_instruction(known->flow, at);

        prove_trail(known, known->raised_line, at);
        if (unit->kind == FLOW_END_ASYNC_FOR && PyErr_GivenExceptionMatches(args[2], PyExc_StopAsyncIteration))
            prove_trail(known, unit->line, unit->next);
    }
    return Py_NewRef(Py_None);
}

/* ---- for python/hasten/monitor.py */

static void after_fork_in_child(void)
{
    if (!st.sink.hits.head)
        return;
    hits_forked(&st.sink.hits);
    record_context(&st.sink, st.sink.context); /* pieces of the parent's block stay the parent's */
}

static int take_names(PyObject *names)
{
    static const char *const keys[] = {"decide",       "disable",    "set_local_events", "tool",
                                       "local_events", "start_tool", "start_events",     "no_events"};
    PyObject **const places[] = {&st.decide,       &st.disable,    &st.set_local_events, &st.tool,
                                 &st.local_events, &st.start_tool, &st.start_events,     &st.no_events};

    return words_take(names, keys, places, HS_COUNT(keys));
}

/*
 * monitor_open(fd, branch, contexts, key, opmap, names): attaches to the memory and makes the callbacks.
 * key: struct hits_head's. names: what take_names wants. Answers a dict of callbacks.
 */
static PyObject *native_monitor_open(PyObject *self, PyObject *args)
{
    static bool watches_forks;
    struct err err = {0};
    PyObject *opmap;
    PyObject *names;
    unsigned long long key;
    int branch;
    int contexts;
    int fd;

    (void)self;
    if (!PyArg_ParseTuple(args, "ipiKO!O!", &fd, &branch, &contexts, &key, &PyDict_Type, &opmap, &PyDict_Type, &names))
        return NULL;
    if (flow_init(opmap) < 0 || take_names(names) < 0)
        return NULL;
    Py_XSETREF(st.files, PyDict_New());
    Py_XSETREF(st.paths, PyDict_New());
    if (st.extra < 0)
        st.extra = PyUnstable_Eval_RequestCodeExtraIndex(forget_code);
    if (!st.files || !st.paths || st.extra < 0)
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    hits_detach(&st.sink.hits);
    if (hits_attach(&st.sink.hits, fd, &err) < 0)
        return compat_raise(PyExc_OSError, &err);
    if (!watches_forks && pthread_atfork(NULL, NULL, after_fork_in_child) == 0)
        watches_forks = true;
    st.branch = branch;
    st.contexts = (enum hits_contexts)contexts;
    atomic_store(&st.sink.hits.head->branch, (uint32_t)branch);
    atomic_store(&st.sink.hits.head->by_context, (uint32_t)contexts);
    atomic_store(&st.sink.hits.head->key, key);
    atomic_store(&st.sink.hits.head->user, HITS_USED);
    record_context(&st.sink, contexts ? hits_context(&st.sink.hits, "", 0) : HITS_NONE);
    st.session++;
    st.n_asleep = 0;
    st.switches = 1;
    st.paused = false;
    st.on = true;
    return Py_BuildValue("{s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N}", "start", monitor_callback(&st.on, on_start, 2), "line",
                         monitor_callback(&st.on, on_line, 2), "branch", monitor_callback(&st.on, on_branch, 3),
                         "return", monitor_callback(&st.on, on_return, 3), "unwind",
                         monitor_callback(&st.on, on_unwind, 3), "handled", monitor_callback(&st.on, on_handled, 3),
                         "raise", monitor_callback(&st.on, on_raise, 3), "enter",
                         monitor_callback(&st.on, on_enter, 2));
}

static int rearm(PyCodeObject *code)
{
    struct monitor_code *known = code_of((PyObject *)code);

    known->asleep = HITS_NONE;
    if (known->announced && set_events(st.start_tool, code, st.no_events) < 0)
        return -1;
    if (st.contexts == HITS_FUNCTIONS_BY_CONTEXT)
        return set_events(st.start_tool, code, st.start_events);
    return set_events(st.tool, code, st.no_events) < 0 ? -1 : arm(known, code);
}

static PyObject *native_monitor_switch(PyObject *self, PyObject *name)
{
    Py_ssize_t size = 0;
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);

    (void)self;
    if (!text)
        return NULL;
    if (!st.on || !st.contexts)
        Py_RETURN_NONE;
    record_context(&st.sink, hits_context(&st.sink.hits, text, (size_t)size));
    st.switches++;
    for (uint32_t i = 0; i < st.n_asleep; i++)
        if (st.asleep[i] && rearm(st.asleep[i]) < 0)
            return NULL;
    st.n_asleep = 0;
    Py_RETURN_NONE;
}

static PyObject *native_monitor_pause(PyObject *self, PyObject *paused)
{
    const int truth = PyObject_IsTrue(paused);

    (void)self;
    if (truth < 0)
        return NULL;
    st.paused = truth;
    Py_RETURN_NONE;
}

static PyObject *native_monitor_close(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    st.on = false;
    Py_RETURN_NONE;
}

PyMethodDef monitor_methods[] = {
    {"monitor_open", native_monitor_open, METH_VARARGS,
     "monitor_open(fd, branch, contexts, key, opmap, names) -> dict\n\nCallbacks for sys.monitoring. OSError, "
     "KeyError."},
    {"monitor_switch", native_monitor_switch, METH_O,
     "monitor_switch(name)\n\nWhat runs from now on belongs to that context."},
    {"monitor_pause", native_monitor_pause, METH_O, "monitor_pause(truth)\n\nNothing is recorded meanwhile."},
    {"monitor_close", native_monitor_close, METH_NOARGS,
     "monitor_close()\n\nNo callback does anything from now on. The memory stays for reading."},
    {NULL, NULL, 0, NULL},
};

#else

PyMethodDef monitor_methods[] = {{NULL, NULL, 0, NULL}};

#endif
