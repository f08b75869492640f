/*
 * fuse.c - one test's setup, call and teardown without pytest's hook calls, with the same effects.
 *
 * Walks the compiled lists of hooks.h: pytest's own implementations are steps here that look (effects.h) before they
 * act, everybody else's are called at their place. Whatever is out of the ordinary - a test that raises, output, log
 * records, warnings, reports that somebody wants - is handed to python/hasten/fuse.py, which does it with pytest's own
 * functions. A test that has something not known here is an ordinary test and run by the hook.
 */
#include "py/fuse.h"

#include "py/channel.h"
#include "py/effects.h"
#include "py/filters.h"
#include "py/fixture.h"
#include "py/leased.h"
#include "py/link.h"
#include "py/loop.h"
#include "py/native.h"
#include "py/oldstyle.h"
#include "py/payload.h"
#include "py/words.h"

#include "base/clock.h"
#include "os/borrow.h"
#include "store/record.h"

#include <time.h>

const char *const fuse_phases[N_PHASES] = {"setup", "call", "teardown"};

struct fused fuse;

/* What native_fuse_loop returns; the values are part of python/hasten/worker.py. */
enum { RUN_ORDINARY = 0, RUN_PUBLISHED = 1, RUN_EVENTS = 2, RUN_STOPPED = 3 };

/* ---- small things */

static uint64_t wall_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

PyObject *fuse_ask(const char *method, PyObject *a, PyObject *b, PyObject *c)
{
    PyObject *name = PyUnicode_InternFromString(method); /* owned */
    PyObject *answer = name ? PyObject_CallMethodObjArgs(fuse.owner, name, a, b, c, NULL) : NULL;

    Py_XDECREF(name);
    return answer;
}

int fuse_tell(const char *method, PyObject *a, PyObject *b)
{
    PyObject *answer = fuse_ask(method, a, b, NULL);

    Py_XDECREF(answer);
    return answer ? 0 : -1;
}

int fuse_renew(const char *method, PyObject *a, PyObject *b)
{
    PyObject *state = fuse_ask(method, a, b, NULL); /* owned */
    const int code = state ? effects_entered(state) : -1;

    Py_XDECREF(state);
    return code;
}

Py_ssize_t fuse_size_of(const struct pass *pass, PyObject *name)
{
    PyObject *list = fuse_own(pass, name);

    return list && PyList_Check(list) ? PyList_GET_SIZE(list) : -1;
}

PyObject *fuse_obj(const struct pass *pass)
{
    PyObject *obj = fuse_own(pass, S(_obj));

    return obj && obj != Py_None ? Py_NewRef(obj) : PyObject_GetAttr(pass->item, S(obj));
}

bool fuse_is_true(PyObject *owner, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(owner, name); /* owned */
    const bool is = value && PyObject_IsTrue(value) == 1;

    Py_XDECREF(value);
    PyErr_Clear();
    return is;
}

int fuse_go_outside(unsigned outside)
{
    return outside & OUTSIDE_LOG && effects_sets_level() ? fuse_tell("level_out", NULL, NULL) : 0;
}

int fuse_outside(unsigned outside)
{
    if (outside & OUTSIDE_LOG && effects_sets_level() && fuse_renew("level_in", NULL, NULL) < 0)
        return -1;
    if (outside & OUTSIDE_LOG && effects_logged_outside() && effects_drop_logged_outside() < 0)
        return -1;
    return outside & OUTSIDE_CAPTURE && effects_written_outside() ? fuse_renew("outside", NULL, NULL) : 0;
}

/* ---- phases */

/* 0: go on, 1: the test is over (handed over), -1: the session is. */
static int run_phase(struct pass *pass, enum phase phase)
{
    struct span *span = &pass->spans[phase];
    const uint64_t before = clock_now_ns();
    int code;

    /* One look at the wall clock for a test: its phases are apart by what the monotonic clock says. */
    if (phase == PHASE_SETUP) {
        pass->start_ns = before;
        span->start_ns = wall_ns();
    } else {
        span->start_ns = pass->spans[PHASE_SETUP].start_ns + (before - pass->start_ns);
    }
    pass->ran = false;
    code = phase_run(pass, phase);
    fuse.loggers_stale = fuse.loggers_stale || pass->ran;
    pass->touched = pass->touched || pass->ran;
    span->duration_ns = clock_now_ns() - before;
    span->stop_ns = span->start_ns + span->duration_ns;
    if (code < 0)
        return reports_hand_over(pass, phase) < 0 ? -1 : 1;
    if (pass->ran && !hooks_valid(pass->hooks)) {
        pass->changed = true;
        return reports_rest(pass, phase) < 0 ? -1 : 1;
    }
    if (pass->testcase && phase != PHASE_SETUP && fuse_is_true(pass->item, S(_excinfo)))
        return reports_rest(pass, phase) < 0 ? -1 : 1;
    if (!reports_plain(pass))
        return reports_make(pass, phase);
    if (pass->hooks->reports)
        return reports_show(pass, phase);
    pass->n_held++;
    return reports_note(pass, phase);
}

/* ---- a test */

/* The session is about to stop: everything is torn down. */
static int last_nextitem(struct pass *pass)
{
    const int stopping = loop_stopping();

    if (stopping > 0)
        pass->values[ARG_NEXTITEM] = Py_None;
    return stopping < 0 ? -1 : 0;
}

static int run_phases(struct pass *pass)
{
    int code = run_phase(pass, PHASE_SETUP);

    if (code == 0)
        code = run_phase(pass, PHASE_CALL);
    if (code == 0 && last_nextitem(pass) < 0)
        code = -1;
    if (code == 0)
        code = run_phase(pass, PHASE_TEARDOWN);
    return code;
}

/* item._request and item.funcargs go away, whatever happened. */
static int forget_request(struct pass *pass)
{
    PyObject *exception = compat_take_exception(); /* owned, put back */
    const int code = PyObject_SetAttr(pass->item, S(_request), Py_False) < 0 ||
                             PyObject_SetAttr(pass->item, S(funcargs), Py_None) < 0
                         ? -1
                         : 0;

    if (exception) {
        PyErr_Clear();
        compat_put_exception(exception);
        return -1;
    }
    return code;
}

static int call_list(struct pass *pass, enum hooks_list which)
{
    const struct hooks_steps *list = &pass->hooks->lists[which];

    if (!list->n)
        return 0;
    PyObject *location = PyObject_GetAttr(pass->item, S(location)); /* owned */
    int code = location ? 0 : -1;

    pass->values[ARG_NODEID] = pass->nodeid;
    pass->values[ARG_LOCATION] = location;
    if (code == 0)
        code = fuse_go_outside(OUTSIDE_BOTH);
    if (code == 0)
        code = reports_call(pass, which);
    pass->values[ARG_LOCATION] = NULL;
    Py_XDECREF(location);
    if (code == 0)
        code = fuse_outside(OUTSIDE_BOTH);
    return code;
}

static int run_test(struct pass *pass)
{
    int code = call_list(pass, HOOKS_LOGSTART);

    if (code == 0)
        code = run_phases(pass);
    if (forget_request(pass) < 0)
        return -1;
    if (code < 0)
        return -1;
    if (pass->changed || !hooks_valid(pass->hooks))
        return fuse_tell("end", pass->item, NULL);
    return call_list(pass, HOOKS_LOGFINISH);
}

static int run_protocol(struct pass *pass)
{
    const struct hooks_steps *list = &pass->hooks->lists[HOOKS_PROTOCOL];
    struct hooks_open open[HOOKS_MAX_OPEN];
    PyObject *exception = NULL; /* owned */
    int n = 0;
    int code = 0;

    for (int i = 0; i < list->n && code == 0; i++) {
        open[n] = (struct hooks_open){.step = &list->steps[i]};
        code = phase_open(pass, &list->steps[i], &open[n]);
        n += code == 0;
    }
    if (code == 0)
        code = run_test(pass);
    if (code < 0)
        exception = compat_take_exception();
    while (n > 0)
        phase_close(pass, PHASE_SETUP, &open[--n], &exception);
    if (!exception)
        return 0;
    compat_put_exception(exception);
    return -1;
}

static bool wrote_to_terminal(void)
{
    PyObject *at = PyObject_CallMethodNoArgs(fuse.text, S(tell)); /* owned */
    const bool wrote = !at || PyLong_AsLong(at) != 0;

    Py_XDECREF(at);
    PyErr_Clear();
    return wrote;
}

static int publish_plain(struct pass *pass, uint32_t index)
{
    struct payload payload;
    struct record record = {.type = RECORD_TEST,
                            .outcome = OUTCOME_PASSED,
                            .flags = RECORD_PLAIN,
                            .item = index,
                            .start_ns = pass->spans[PHASE_SETUP].start_ns,
                            .setup_ns = pass->spans[PHASE_SETUP].duration_ns,
                            .call_ns = pass->spans[PHASE_CALL].duration_ns,
                            .teardown_ns = pass->spans[PHASE_TEARDOWN].duration_ns};
    PyObject *obj = pass->location ? NULL : fuse_obj(pass); /* owned */
    int code = -1;

    if ((pass->location || obj) &&
        payload_of(pass->parent, pass->item, obj, pass->location, pass->n_keywords, &payload) == 0) {
        link_publish(&record, payload.data, payload.size);
        Py_XDECREF(payload.bytes);
        code = 0;
    }
    Py_XDECREF(obj);
    return code;
}

/* For python/hasten/filters.py. Borrowed. */
static PyObject *marks_of(const struct pass *pass)
{
    return pass->filters ? pass->filters : Py_None;
}

static int take_warnings(struct pass *pass)
{
    if (filters_only_warned())
        return fuse_tell("tell_warnings", pass->item, NULL) < 0 ? -1 : filters_again();
    return fuse_renew("warned", pass->item, marks_of(pass));
}

/* The worker's events hold what is to be sent, or nothing has to be. */
static int conclude(struct pass *pass, uint32_t index)
{
    PyObject *held;
    int code = RUN_EVENTS;

    if (fuse.entered && pass->unsure && phase_before_code(pass) < 0)
        return -1;
    if (!pass->reported && !PyList_GET_SIZE(fuse.events) && !filters_warned() && !wrote_to_terminal() &&
        channel_intact())
        return publish_plain(pass, index) < 0 ? -1 : RUN_PUBLISHED;
    if (fuse_go_outside(OUTSIDE_LOG) < 0)
        return -1;
    held = reports_held(pass); /* owned */
    if (!held || fuse_tell("finish", pass->item, held) < 0)
        code = -1;
    Py_XDECREF(held);
    if (code > 0 && filters_warned() && take_warnings(pass) < 0)
        code = -1;
    if (code > 0 && fuse.entered && fuse_outside(OUTSIDE_LOG) < 0)
        code = -1;
    return code;
}

/* 0: the state is that of a phase, 1: pytest itself has to show why it cannot be, -1: an exception is set. */
static int enter(struct pass *pass)
{
    PyObject *state;
    int code;

    if (fuse.entered == pass->hooks && filters_suit(pass->filters))
        return 0;
    if (fuse.entered)
        effects_env_flush();
    fuse.entered = NULL;
    state = fuse_ask("enter", pass->item, marks_of(pass), NULL); /* owned */
    code = !state ? -1 : state == Py_None ? 1 : effects_entered(state);
    Py_XDECREF(state);
    if (code)
        return code;
    filters_belong_to(pass->filters);
    fuse.entered = pass->hooks;
    fuse.loggers_stale = true;
    return 0;
}

/* A testcase makes a new object whenever somebody asks for it after its teardown; so pytest, too, has asked before. */
static int keep_location(struct pass *pass)
{
    if (!pass->testcase)
        return 0;
    pass->location = parent_location(pass->parent, pass->item);
    return pass->location ? PyObject_SetAttr(pass->item, S(location), pass->location) : -1;
}

static void release(struct pass *pass)
{
    Py_XDECREF(pass->dict);
    Py_XDECREF(pass->nodeid);
    Py_XDECREF(pass->markers);
    Py_XDECREF(pass->storage);
    Py_XDECREF(pass->request);
    Py_XDECREF(pass->funcargs);
    Py_XDECREF(pass->records);
    Py_XDECREF(pass->filters);
    Py_XDECREF(pass->location);
    Py_XDECREF(pass->shown_keywords);
}

static PyObject *native_fuse_leave(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    effects_env_flush();
    fuse.entered = NULL;
    return fuse_ask("leave", NULL, NULL, NULL);
}

static PyObject *native_fuse_take_held(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    if (!fuse.current || (fuse.current->reported && !fuse.current->n_held))
        Py_RETURN_NONE;
    return Py_BuildValue("(ON)", fuse.current->item, reports_held(fuse.current));
}

static PyObject *native_fuse_env_flush(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    effects_env_flush();
    Py_RETURN_NONE;
}

/* Who hears of the test in Python knows it by these (python/hasten/worker.py). */
static int note_running(struct pass *pass, uint32_t index)
{
    PyObject *number = PyLong_FromUnsignedLong(index); /* owned */
    const int code = number && PyObject_SetAttr(fuse.worker, S(item_index), number) == 0
                         ? PyObject_SetAttr(fuse.worker, S(nodeid), pass->nodeid)
                         : -1;

    Py_XDECREF(number);
    return code;
}

/* One test: what is left of it (RUN_), or -1 with an exception set. */
static int run_one(PyObject *item, uint32_t index, PyObject *nextitem)
{
    struct pass pass = {.item = item};
    int code = RUN_ORDINARY;

    if (admit(&pass)) {
        pass.values[ARG_ITEM] = pass.item;
        pass.values[ARG_NEXTITEM] = nextitem;
        code = note_running(&pass, index) < 0 ? -1 : enter(&pass);
        fuse.current = &pass;
        if (code == 0 && (code = keep_location(&pass)) == 0)
            code = run_protocol(&pass);
        fuse.current = NULL;
        if (code == 0)
            code = conclude(&pass, index);
        else if (code > 0)
            code = admit_not("its warning filters cannot be set up");
        if (code < 0) {
            PyObject *exception = compat_take_exception();

            if (fuse_tell("tell_warnings", pass.item, NULL) < 0)
                PyErr_Clear();
            compat_put_exception(exception);
        }
    }
    release(&pass);
    return code;
}

/* The next test's index; -1: there is none or *code says why not, with an exception set where that is -1. */
static long after_one(int *code)
{
    long next;
    int stop;

    fuse.n_published++;
    if (borrow_is_taken() && fuse_tell("after_test", NULL, NULL) < 0)
        return *code = -1;
    stop = loop_end();
    if (stop) {
        *code = stop < 0 ? -1 : RUN_STOPPED;
        return -1;
    }
    next = loop_next();
    if (next == LEASED_ERROR)
        *code = -1;
    return next;
}

static PyObject *native_fuse_loop(PyObject *self, PyObject *args)
{
    PyObject *limits;
    PyObject *next = Py_None;
    long index;
    int at_once;
    int code = RUN_PUBLISHED;

    (void)self;
    if (!PyArg_ParseTuple(args, "lO!p", &index, &PyDict_Type, &limits, &at_once))
        return NULL;
    while (index >= 0) {
        PyObject *item = loop_begin(index, limits, at_once != 0, &next); /* owned */

        if (!item)
            return NULL;
        code = run_one(item, (uint32_t)index, next);
        Py_DECREF(item);
        if (code != RUN_PUBLISHED)
            break;
        index = after_one(&code);
    }
    return code < 0 ? NULL : Py_BuildValue("(ilO)", code, index, next);
}

static PyObject *native_fuse_count(PyObject *self, PyObject *args)
{
    (void)self;
    (void)args;
    return PyLong_FromUnsignedLong(fuse.n_published);
}

/* ---- what Python sets up */

static PyObject *native_fuse_hooks(PyObject *self, PyObject *description)
{
    struct hooks *hooks = PyTuple_Check(description) ? hooks_new(description) : NULL;

    (void)self;
    if (!hooks && !PyErr_Occurred())
        PyErr_SetString(PyExc_TypeError, "a description of hooks is a tuple");
    return hooks ? PyCapsule_New(hooks, "hasten.hooks", NULL) : NULL;
}

static int read_old_style(PyObject *state)
{
    static const char *const names[] = {"result", "warn_teardown"};
    PyObject *parts[] = {NULL, NULL}; /* owned */
    PyObject **const places[] = {&parts[0], &parts[1]};
    const int code = words_take(state, names, places, 2) < 0 ? -1 : oldstyle_init(parts[0], parts[1]);

    Py_XDECREF(parts[0]);
    Py_XDECREF(parts[1]);
    return code;
}

static PyObject *native_fuse_valid(PyObject *self, PyObject *capsule)
{
    const struct hooks *hooks = PyCapsule_GetPointer(capsule, "hasten.hooks");

    (void)self;
    return hooks ? PyBool_FromLong(hooks_valid(hooks)) : NULL;
}

static PyObject *native_fuse_set(PyObject *self, PyObject *state)
{
    static const char *const names[] = {"owner",        "session",     "setupstate",         "function_type",
                                        "request_type", "outcomes",    "caplog_records_key", "caplog_handler_key",
                                        "xfailed_key",  "tmppath_key", "caplog_handler",     "capman",
                                        "text",         "reasons",     "call_info",          "id_name",
                                        "call_test",    "events",      "testcase_type",      "worker"};
    PyObject **const places[] = {&fuse.owner,        &fuse.session,  &fuse.setupstate,     &fuse.function_type,
                                 &fuse.request_type, &fuse.outcomes, &fuse.caplog_records, &fuse.caplog_handler_key,
                                 &fuse.xfailed,      &fuse.tmppath,  &fuse.caplog_handler, &fuse.capman,
                                 &fuse.text,         &fuse.reasons,  &fuse.call_info,      &fuse.id_name,
                                 &fuse.call_test,    &fuse.events,   &fuse.testcase_type,  &fuse.worker};

    (void)self;
    if (words_init() < 0 || !PyDict_Check(state))
        return NULL;
    if (words_take(state, names, places, HS_COUNT(names)) < 0)
        return NULL;
    for (int i = 0; i < N_PHASES; i++)
        Py_XSETREF(fuse.phase_texts[i], PyUnicode_InternFromString(fuse_phases[i]));
    fuse.entered = NULL;
    fuse.n_published = 0;
    fuse.id_is_object = PyUnicode_CompareWithASCIIString(fuse.id_name, "_id") == 0;
    if (!PyList_CheckExact(fuse.events)) {
        PyErr_SetString(PyExc_TypeError, "events have to be a list");
        return NULL;
    }
    if (fixture_init(PyDict_GetItemString(state, "fixtures")) < 0 || read_old_style(state) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyMethodDef fuse_methods[] = {
    {"fuse_set", native_fuse_set, METH_O, "fuse_set(state)\n\nThe objects of this session (python/hasten/fuse.py)."},
    {"fuse_hooks", native_fuse_hooks, METH_O, "fuse_hooks(description) -> hooks\n\nCompiled lists (py/hooks.h)."},
    {"fuse_valid", native_fuse_valid, METH_O,
     "fuse_valid(hooks) -> bool\n\nFalse: an implementation was registered or removed since they were compiled."},
    {"fuse_loop", native_fuse_loop, METH_VARARGS,
     "fuse_loop(index, limits, at_once) -> (code, index, nextitem)\n\nRuns this test and the following ones "
     "(loop_begin) "
     "until one needs Python. 0: it has to be run by the hook, 1: there are no more, 2: the worker's events hold its "
     "result, 3: the session is to stop."},
    {"fuse_count", native_fuse_count, METH_NOARGS,
     "fuse_count() -> int\n\nHow many tests fuse_loop has published itself."},
    {"fuse_leave", native_fuse_leave, METH_NOARGS,
     "fuse_leave()\n\nThe state is pytest's own again, as between two tests."},
    {"fuse_take_held", native_fuse_take_held, METH_NOARGS,
     "fuse_take_held() -> (item, spans) or None\n\nPhases of the running test that have passed and are not reported: "
     "somebody reports something else. From now on all of them are reported."},
    {"fuse_env_flush", native_fuse_env_flush, METH_NOARGS,
     "fuse_env_flush()\n\nRemoves PYTEST_CURRENT_TEST where the last test has left it."},
    {NULL, NULL, 0, NULL},
};
