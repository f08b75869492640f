/* phase.c - setup, call and teardown of one test: the steps of its compiled lists (fuse.h). */
#include "py/fuse.h"

#include "py/effects.h"
#include "py/fixture.h"
#include "py/loop.h"
#include "py/words.h"

static const enum hooks_list lists[N_PHASES] = {HOOKS_SETUP, HOOKS_CALL, HOOKS_TEARDOWN};

/* ---- steps of a phase */

int phase_before_code(struct pass *pass)
{
    pass->ran = true;
    if (!pass->unsure)
        return 0;
    pass->unsure = false;
    return fuse_outside(OUTSIDE_BOTH);
}

static int log_begin(struct pass *pass, enum phase phase)
{
    PyObject *records;
    int code;

    if (fuse.loggers_stale && !effects_loggers_intact() && fuse_renew("reattach", pass->item, NULL) < 0)
        return -1;
    fuse.loggers_stale = false;
    if (effects_begin_logs() < 0)
        return -1;
    if (phase == PHASE_SETUP) {
        Py_XSETREF(pass->records, PyDict_New());
        if (!pass->records || PyDict_SetItem(pass->storage, fuse.caplog_records, pass->records) < 0)
            return -1;
    }
    records = effects_new_records(); /* owned */
    code = records && pass->records ? PyDict_SetItem(pass->records, fuse.phase_texts[phase], records) : -1;
    Py_XDECREF(records);
    return code < 0 ? -1 : PyDict_SetItem(pass->storage, fuse.caplog_handler_key, fuse.caplog_handler);
}

static int log_end(struct pass *pass, enum phase phase)
{
    const bool used = pass->ran && effects_logged();

    if (used && fuse_tell("logged", pass->item, fuse.phase_texts[phase]) < 0)
        return -1;
    effects_end_logs(used);
    if (phase != PHASE_TEARDOWN)
        return 0;
    if (PyDict_DelItem(pass->storage, fuse.caplog_records) < 0 ||
        PyDict_DelItem(pass->storage, fuse.caplog_handler_key) < 0)
        return -1;
    return 0;
}

static bool has_capture_fixture(void)
{
    PyObject *fixture = fuse.capman == Py_None ? NULL : PyObject_GetAttr(fuse.capman, S(_capture_fixture)); /* owned */
    const bool has = fixture && fixture != Py_None;

    Py_XDECREF(fixture);
    PyErr_Clear();
    return has;
}

/* capsys and its like open and close around each phase. 0 or -1. */
static int capture_fixture(PyObject *method)
{
    PyObject *fixture = PyObject_GetAttr(fuse.capman, S(_capture_fixture)); /* owned */
    PyObject *done = NULL;
    int code = fixture ? 0 : -1;

    if (fixture && fixture != Py_None) {
        done = PyObject_CallMethodNoArgs(fuse.capman, method);
        code = done ? 0 : -1;
    }
    Py_XDECREF(done);
    Py_XDECREF(fixture);
    return code;
}

static int capture_end(struct pass *pass, enum phase phase)
{
    if (capture_fixture(S(deactivate_fixture)) < 0)
        return -1;
    if (!pass->ran || !effects_written())
        return 0;
    if (effects_streams_intact())
        return fuse_tell("output_here", pass->item, fuse.phase_texts[phase]);
    return fuse_renew("output", pass->item, fuse.phase_texts[phase]);
}

static bool marks_changed(const struct pass *pass)
{
    return fuse_size_of(pass, S(own_markers)) != pass->n_marks ||
           parent_count_marks(pass->parent) != pass->parent->n_marks;
}

/* Is the stack of the set-up state the chain of the item's parents, all of them set up well? */
static bool stack_is_chain(PyObject *stack, PyObject *chain)
{
    PyObject *node;
    PyObject *entry;
    Py_ssize_t at = 0;
    Py_ssize_t i = 0;

    if (!PyDict_CheckExact(stack) || PyDict_GET_SIZE(stack) != PyTuple_GET_SIZE(chain))
        return false;
    while (PyDict_Next(stack, &at, &node, &entry)) {
        if (node != PyTuple_GET_ITEM(chain, i++) || !PyTuple_Check(entry) || PyTuple_GET_SIZE(entry) != 2 ||
            PyTuple_GET_ITEM(entry, 1) != Py_None)
            return false;
    }
    return true;
}

static int push_item(struct pass *pass, PyObject *stack, PyObject **finalizers)
{
    PyObject *teardown = PyObject_GetAttr(pass->item, S(teardown)); /* owned */
    PyObject *entry;
    int code;

    *finalizers = PyList_New(0); /* owned by the caller */
    if (!teardown || !*finalizers || PyList_Append(*finalizers, teardown) < 0) {
        Py_XDECREF(teardown);
        return -1;
    }
    Py_DECREF(teardown);
    entry = PyTuple_Pack(2, *finalizers, Py_None); /* owned */
    code = entry ? PyDict_SetItem(stack, pass->item, entry) : -1;
    Py_XDECREF(entry);
    return code;
}

/* An exception of a set-up stays in the stack with its traceback. */
static void note_setup_failure(struct pass *pass, PyObject *stack, PyObject *finalizers)
{
    PyObject *exception = compat_take_exception(); /* owned, put back */

    if (PyErr_GivenExceptionMatches(exception, fuse.outcomes)) {
        PyObject *traceback = PyException_GetTraceback(exception);                                          /* owned */
        PyObject *entry = Py_BuildValue("(O(OO))", finalizers, exception, traceback ? traceback : Py_None); /* owned */

        if (entry)
            PyDict_SetItem(stack, pass->item, entry);
        PyErr_Clear();
        Py_XDECREF(entry);
        Py_XDECREF(traceback);
    }
    compat_put_exception(exception);
}

static int call_setup_of(PyObject *node)
{
    PyObject *done = PyObject_CallMethodOneArg(fuse.setupstate, S(setup), node);

    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int run_setup(struct pass *pass)
{
    PyObject *stack = PyObject_GetAttr(fuse.setupstate, S(stack)); /* owned */
    PyObject *finalizers = NULL;                                   /* owned */
    int code = -1;

    if (!stack)
        return -1;
    if (!stack_is_chain(stack, pass->parent->chain)) {
        pass->ran = true;
        if (call_setup_of(pass->parent->node) < 0)
            goto out;
    }
    if (push_item(pass, stack, &finalizers) < 0)
        goto out;
    if (!pass->testcase || PyObject_SetAttr(pass->item, S(_explicit_tearDown), Py_None) == 0)
        code =
            fixture_fill(pass->item, pass->request, pass->funcargs, finalizers, pass->hooks->fixtures_own, &pass->ran);
    if (code < 0)
        note_setup_failure(pass, stack, finalizers);
out:
    Py_DECREF(stack);
    Py_XDECREF(finalizers);
    return code;
}

static void forget_last_exception(void)
{
    static const char *const names[] = {"last_type", "last_value", "last_traceback", "last_exc"};

    if (!effects_has_last_exception())
        return;
    for (size_t i = 0; i < HS_COUNT(names); i++)
        if (PySys_GetObject(names[i]))
            PySys_SetObject(names[i], NULL);
}

static void note_last_exception(void)
{
    PyObject *exception = compat_take_exception(); /* owned, put back */

    if (PyErr_GivenExceptionMatches(exception, PyExc_Exception)) {
        PyObject *traceback = PyException_GetTraceback(exception); /* owned */

        PySys_SetObject("last_type", (PyObject *)Py_TYPE(exception));
        PySys_SetObject("last_value", exception);
#if PY_VERSION_HEX >= 0x030C0000
        PySys_SetObject("last_exc", exception);
#endif
        PySys_SetObject("last_traceback", traceback ? traceback : Py_None);
        Py_XDECREF(traceback);
    }
    compat_put_exception(exception);
}

/* The values of the test's arguments, a new dictionary. */
static PyObject *arguments_of(struct pass *pass)
{
    PyObject *info = fuse_own(pass, S(_fixtureinfo));
    PyObject *argnames = info ? PyObject_GetAttr(info, S(argnames)) : NULL;          /* owned */
    PyObject *arguments = argnames && PyTuple_Check(argnames) ? PyDict_New() : NULL; /* owned */

    for (Py_ssize_t i = 0; arguments && i < PyTuple_GET_SIZE(argnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(argnames, i);
        PyObject *value = PyDict_GetItemWithError(pass->funcargs, name);

        if (!value && !PyErr_Occurred())
            PyErr_SetObject(PyExc_KeyError, name);
        if (!value || PyDict_SetItem(arguments, name, value) < 0)
            Py_CLEAR(arguments);
    }
    Py_XDECREF(argnames);
    if (!arguments && !PyErr_Occurred())
        PyErr_SetString(PyExc_AttributeError, "_fixtureinfo");
    return arguments;
}

/* testfunction(**arguments), from the place from which pytest does it. */
static PyObject *call_test(struct pass *pass)
{
    PyObject *arguments = arguments_of(pass);                           /* owned */
    PyObject *args[2] = {arguments ? fuse_obj(pass) : NULL, arguments}; /* owned */
    PyObject *answer = NULL;

    if (args[0])
        answer = PyObject_Vectorcall(fuse.call_test, args, 2, NULL);
    Py_XDECREF(args[0]);
    Py_XDECREF(args[1]);
    return answer;
}

static int run_call(struct pass *pass)
{
    PyObject *answer;
    int code = 0;

    forget_last_exception();
    if (phase_before_code(pass) < 0)
        return -1;
    if (pass->testcase) {
        answer = PyObject_CallMethodNoArgs(pass->item, S(runtest)); /* owned; plugins replace it (pytest-django) */
    } else if (pass->hooks->pyfunc == Py_None) {
        answer = call_test(pass); /* owned */
        if (answer && answer != Py_None)
            code = fuse_tell("returned", pass->item, answer);
    } else {
        PyObject *args[] = {pass->item};
        static PyObject *names; /* owned, for ever */

        if (!names)
            names = PyTuple_Pack(1, S(pyfuncitem));
        answer = names ? PyObject_Vectorcall(pass->hooks->pyfunc, args, 0, names) : NULL;
    }
    Py_XDECREF(answer);
    if (!answer || code < 0) {
        note_last_exception();
        return -1;
    }
    return 0;
}

static bool shares_parent(struct pass *pass, PyObject *nextitem)
{
    PyObject *parent = nextitem == Py_None ? NULL : PyObject_GetAttr(nextitem, S(parent)); /* owned */
    const bool shares = parent && parent == pass->parent->node;

    Py_XDECREF(parent);
    PyErr_Clear();
    return shares;
}

/* The item is the last of the stack and its parents are below it: its finalizers, owned; else NULL, and no exception. */
static PyObject *pop_item(struct pass *pass)
{
    PyObject *stack = PyObject_GetAttr(fuse.setupstate, S(stack)); /* owned */
    PyObject *entry = NULL;
    PyObject *finalizers = NULL;
    PyObject *node;
    PyObject *value;
    Py_ssize_t at = 0;
    Py_ssize_t i = 0;

    if (stack && PyDict_CheckExact(stack) && PyDict_GET_SIZE(stack) == PyTuple_GET_SIZE(pass->parent->chain) + 1)
        while (PyDict_Next(stack, &at, &node, &value)) {
            if (i < PyTuple_GET_SIZE(pass->parent->chain) ? node != PyTuple_GET_ITEM(pass->parent->chain, i)
                                                          : node != pass->item)
                break;
            if (i++ == PyTuple_GET_SIZE(pass->parent->chain))
                entry = value;
        }
    if (entry && PyTuple_Check(entry) && PyTuple_GET_SIZE(entry) == 2 && PyList_Check(PyTuple_GET_ITEM(entry, 0))) {
        finalizers = Py_NewRef(PyTuple_GET_ITEM(entry, 0));
        if (PyDict_DelItem(stack, pass->item) < 0)
            Py_CLEAR(finalizers);
    }
    PyErr_Clear();
    Py_XDECREF(stack);
    return finalizers;
}

static int run_finalizers(struct pass *pass, PyObject *finalizers)
{
    PyObject *raised = NULL; /* owned, list */

    if ((PyList_GET_SIZE(finalizers) > 1 || pass->testcase) && phase_before_code(pass) < 0)
        return -1;
    while (PyList_GET_SIZE(finalizers)) {
        const Py_ssize_t last = PyList_GET_SIZE(finalizers) - 1;
        PyObject *one = Py_NewRef(PyList_GET_ITEM(finalizers, last)); /* owned */
        PyObject *done = PyList_SetSlice(finalizers, last, last + 1, NULL) < 0 ? NULL : PyObject_CallNoArgs(one);

        Py_DECREF(one);
        Py_XDECREF(done);
        if (done)
            continue;
        if (!PyErr_ExceptionMatches(fuse.outcomes)) {
            Py_XDECREF(raised);
            return -1;
        }
        PyObject *exception = compat_take_exception(); /* owned */

        raised = raised ? raised : PyList_New(0);
        if (raised)
            PyList_Append(raised, exception);
        Py_DECREF(exception);
    }
    if (!raised)
        return 0;
    if (PyList_GET_SIZE(raised) == 1)
        compat_put_exception(Py_NewRef(PyList_GET_ITEM(raised, 0)));
    else
        fuse_tell("raise_group", pass->item, raised);
    Py_DECREF(raised);
    return -1;
}

static int teardown_really(struct pass *pass, PyObject *nextitem)
{
    PyObject *done = phase_before_code(pass) < 0 ? NULL : PyObject_CallOneArg(loop_original(), nextitem);

    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int run_teardown(struct pass *pass)
{
    PyObject *nextitem = loop_nextitem(pass->values[ARG_NEXTITEM]);
    PyObject *finalizers;
    int code;

    if (!nextitem)
        return -1;
    finalizers = shares_parent(pass, nextitem) ? pop_item(pass) : NULL; /* owned */
    if (finalizers)
        code = run_finalizers(pass, finalizers);
    else
        code = teardown_really(pass, nextitem);
    Py_XDECREF(finalizers);
    return code;
}

static int run_own(struct pass *pass, enum phase phase)
{
    if (effects_env_set(pass->nodeid, fuse_phases[phase]) < 0)
        return -1;
    switch (phase) {
    case PHASE_SETUP:
        return run_setup(pass);
    case PHASE_CALL:
        return run_call(pass);
    case PHASE_TEARDOWN:
    case N_PHASES:
        break;
    }
    return run_teardown(pass) < 0 ? -1 : effects_env_pop(!pass->hooks->foreign);
}

/* ---- a phase */

int phase_call(struct pass *pass, const struct step *step)
{
    PyObject *done = phase_before_code(pass) < 0 ? NULL : hooks_call(step, pass->values);

    Py_XDECREF(done);
    return done ? 0 : -1;
}

int phase_open(struct pass *pass, const struct step *step, struct hooks_open *open)
{
    if (phase_before_code(pass) < 0 || fuse_go_outside(step->outside) < 0)
        return -1;
    open->generator = hooks_open(step, pass->values);
    if (!open->generator)
        return -1;
    return fuse_outside(step->outside);
}

static int skip_step(struct pass *pass, enum phase phase, const struct step *step, struct hooks_open *open)
{
    if (phase == PHASE_CALL && (pass->marked || (pass->touched && marks_changed(pass)))) {
        pass->marked = true;
        return phase_open(pass, step, open);
    }
    if (pass->marked)
        return phase_call(pass, step);
    return PyDict_SetItem(pass->storage, fuse.xfailed, Py_None);
}

/* 0 or -1; *opened tells whether open has to be closed. */
static int begin_step(struct pass *pass, enum phase phase, const struct step *step, struct hooks_open *open,
                      bool *opened)
{
    *open = (struct hooks_open){.step = step};
    *opened = false;
    switch (step->kind) {
    case STEP_CALL:
        return phase_call(pass, step);
    case STEP_DEQUE:
        return PyObject_Size(step->extra) ? phase_call(pass, step) : 0;
    case STEP_RUN:
        return run_own(pass, phase);
    case STEP_LOG:
        *opened = true;
        return log_begin(pass, phase);
    case STEP_CAPTURE:
        *opened = true;
        return capture_fixture(S(activate_fixture));
    case STEP_SKIP:
        *opened = phase == PHASE_CALL;
        return skip_step(pass, phase, step, open);
    case STEP_WRAPPER:
    case STEP_OLD:
        *opened = true;
        return phase_open(pass, step, open);
    }
    return 0;
}

/* The wrapper's second half. *exception: owned, what it gets and what comes out. */
static void end_wrapper(struct hooks_open *open, PyObject **exception)
{
    PyObject *result = *exception ? NULL : PyList_New(0); /* owned */

    hooks_close(open, &result, exception);
    Py_XDECREF(result);
}

static int end_own(struct pass *pass, enum phase phase, const struct step *step)
{
    if (step->kind == STEP_LOG)
        return log_end(pass, phase);
    if (step->kind == STEP_CAPTURE)
        return capture_end(pass, phase);
    if (step->kind == STEP_SKIP && marks_changed(pass)) {
        pass->marked = true;
        return fuse_tell("look_at_xfail", pass->item, NULL);
    }
    return 0;
}

void phase_close(struct pass *pass, enum phase phase, struct hooks_open *open, PyObject **exception)
{
    if (open->generator) {
        if (fuse_go_outside(open->step->outside) < 0)
            Py_XSETREF(*exception, compat_take_exception());
        end_wrapper(open, exception);
        if (fuse_outside(open->step->outside) < 0)
            Py_XSETREF(*exception, compat_take_exception());
        return;
    }
    if (open->step->kind == STEP_WRAPPER || open->step->kind == STEP_OLD)
        return; /* it failed to open */
    if (end_own(pass, phase, open->step) < 0)
        Py_XSETREF(*exception, compat_take_exception());
}

/* Is what was written outside to be looked for before this phase begins, and not only before code runs in it? */
static bool has_to_be_sure(struct pass *pass, enum phase phase)
{
    if (!pass->unsure)
        return false;
    return phase == PHASE_CALL || PyDict_GET_SIZE(pass->funcargs) || effects_logged_outside() || has_capture_fixture();
}

/* 0: passed, -1: the exception is set and everything that was opened is closed. */
int phase_run(struct pass *pass, enum phase phase)
{
    const struct hooks_steps *list = &pass->hooks->lists[lists[phase]];
    struct hooks_open open[HOOKS_MAX_OPEN];
    PyObject *exception = NULL; /* owned */
    int n = 0;
    int code = has_to_be_sure(pass, phase) ? phase_before_code(pass) : 0;

    for (int i = 0; i < list->n && code == 0; i++) {
        bool opened;

        code = begin_step(pass, phase, &list->steps[i], &open[n], &opened);
        n += opened;
    }
    HS_CHECK(code == 0 || PyErr_Occurred());
    if (code < 0)
        exception = compat_take_exception();
    while (n > 0)
        phase_close(pass, phase, &open[--n], &exception);
    if (!exception)
        return 0;
    compat_put_exception(exception);
    return -1;
}
