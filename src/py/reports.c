/* reports.c - what is reported of a fused test: nothing more than a record as long as it passes plainly (fuse.h). */
#include "py/fuse.h"

#include "py/effects.h"
#include "py/multicall.h"
#include "py/words.h"
#include "py/plain.h"

static PyObject *seconds(uint64_t ns)
{
    return PyFloat_FromDouble((double)ns / 1e9);
}

/* ---- reports */

static PyObject *span_tuple(const struct pass *pass, enum phase phase)
{
    const struct span *span = &pass->spans[phase];

    return Py_BuildValue("(sNNNN)", fuse_phases[phase], seconds(span->start_ns), seconds(span->stop_ns),
                         seconds(span->duration_ns), parent_keywords(pass->parent, pass->item, pass->n_keywords));
}

/* The phases that were plain so far, as a list of spans; they are not held any more. */
PyObject *reports_held(struct pass *pass)
{
    PyObject *held = PyList_New(0); /* owned */

    for (int i = 0; held && i < pass->n_held; i++) {
        PyObject *span = span_tuple(pass, (enum phase)i); /* owned */

        if (!span || PyList_Append(held, span) < 0)
            Py_CLEAR(held);
        Py_XDECREF(span);
    }
    pass->n_held = 0;
    pass->reported = true;
    return held;
}

/* Has nothing that a report of a passed phase would show? */
bool reports_plain(const struct pass *pass)
{
    if (pass->marked || pass->reported || !pass->ran)
        return !pass->marked && !pass->reported;
    return fuse_size_of(pass, S(_report_sections)) == 0 && fuse_size_of(pass, S(user_properties)) == 0 &&
           fuse_own(pass, S(keywords)) == pass->keywords && PyDict_GET_SIZE(pass->markers) == pass->n_keywords &&
           parent_count_keywords(pass->parent) == pass->parent->n_keywords;
}

/* Has pytest make the report of this phase, and of those before it that were plain. */
int reports_make(struct pass *pass, enum phase phase)
{
    PyObject *held = reports_held(pass);                                                          /* owned */
    PyObject *span = held && fuse_go_outside(OUTSIDE_BOTH) == 0 ? span_tuple(pass, phase) : NULL; /* owned */
    PyObject *done = span ? fuse_ask("report", pass->item, held, span) : NULL;
    int code = done ? 0 : -1;

    if (done)
        code = fuse_outside(pass, OUTSIDE_BOTH);
    fuse.loggers_stale = true;
    Py_XDECREF(done);
    Py_XDECREF(held);
    Py_XDECREF(span);
    return code;
}

int reports_note(struct pass *pass, enum phase phase)
{
    PyObject *results;
    int code;

    if (fuse.tmppath == Py_None)
        return 0;
    results = PyDict_GetItemWithError(pass->storage, fuse.tmppath);
    if (results)
        return PyDict_SetItem(results, fuse.phase_texts[phase], Py_True);
    results = PyDict_New(); /* owned */
    code = results && PyDict_SetItem(pass->storage, fuse.tmppath, results) == 0
               ? PyDict_SetItem(results, fuse.phase_texts[phase], Py_True)
               : -1;
    Py_XDECREF(results);
    return code;
}

/* ---- reports of plain phases, for those who listen */

static PyObject *new_call_info(const struct pass *pass, enum phase phase)
{
    static PyObject *names; /* owned, for ever */
    const struct span *span = &pass->spans[phase];
    PyObject *args[7] = {
        PyList_New(0),           Py_None, seconds(span->start_ns), seconds(span->stop_ns), seconds(span->duration_ns),
        fuse.phase_texts[phase], Py_True};
    PyObject *call = NULL;

    if (!names)
        names = PyTuple_Pack(5, S(start), S(stop), S(duration), S(when), S(_ispytest));
    if (names && args[0] && args[2] && args[3] && args[4])
        call = PyObject_Vectorcall(fuse.call_info, args, 2, names);
    Py_XDECREF(args[0]);
    for (int i = 2; i < 5; i++)
        Py_XDECREF(args[i]);
    return call;
}

/* What a new report of this phase has in it; owned by the caller (release_values). 0 or -1. */
static int make_values(struct pass *pass, enum phase phase, struct plain_values *values)
{
    const struct span *span = &pass->spans[phase];

    *values = (struct plain_values){
        .when = Py_NewRef(fuse.phase_texts[phase]),
        .id = PyObject_GetAttr(pass->item, fuse.id_name),
        .location = pass->location ? Py_NewRef(pass->location) : parent_location(pass->parent, pass->item),
        .keywords = parent_keywords(pass->parent, pass->item, pass->n_keywords),
        .duration = seconds(span->duration_ns),
        .start = seconds(span->start_ns),
        .stop = seconds(span->stop_ns),
    };
    return values->id && values->location && values->keywords && values->duration && values->start && values->stop ? 0
                                                                                                                   : -1;
}

static void release_values(struct plain_values *values)
{
    Py_XDECREF(values->when);
    Py_XDECREF(values->id);
    Py_XDECREF(values->location);
    Py_XDECREF(values->keywords);
    Py_XDECREF(values->duration);
    Py_XDECREF(values->start);
    Py_XDECREF(values->stop);
}

/* Runs a hook's steps; *result: owned, what the first of them to answer has answered. 0 or -1. */
static int run_reporting(struct pass *pass, enum hooks_list which, const struct plain_values *values, PyObject **result)
{
    const struct hooks_steps *list = &pass->hooks->lists[which];
    struct hooks_open open[HOOKS_MAX_OPEN];
    PyObject *exception = NULL; /* owned */
    const bool first = which == HOOKS_MAKEREPORT;
    int n = 0;
    int code = 0;

    for (int i = 0; i < list->n && code == 0 && !(first && *result); i++) {
        const struct step *step = &list->steps[i];

        if (step->kind == STEP_WRAPPER || step->kind == STEP_OLD) {
            open[n] = (struct hooks_open){.step = step, .generator = hooks_open(step, pass->values)};
            code = open[n].generator ? 0 : -1;
            n += code == 0;
            continue;
        }
        PyObject *answer = step->kind == STEP_RUN ? plain_new(values) : hooks_call(step, pass->values);

        code = answer ? 0 : -1;
        if (first && answer && answer != Py_None)
            *result = Py_NewRef(answer);
        Py_XDECREF(answer);
    }
    if (code < 0)
        exception = compat_take_exception();
    else if (!*result)
        *result = first ? Py_NewRef(Py_None) : PyList_New(0);
    while (n > 0) {
        if (exception)
            Py_CLEAR(*result);
        if (multicall_close(open[--n].generator, result, &exception) < 0)
            Py_XSETREF(exception, compat_take_exception());
        Py_DECREF(open[n].generator);
    }
    if (!exception)
        return 0;
    compat_put_exception(exception);
    return -1;
}

int reports_call(struct pass *pass, enum hooks_list which)
{
    PyObject *results = NULL; /* owned */
    const int code = run_reporting(pass, which, NULL, &results);

    pass->ran = true;
    Py_XDECREF(results);
    return code;
}

/* Somebody else changed the report: it goes as it is, after those of the phases before it. */
static int send_report(struct pass *pass, PyObject *report)
{
    PyObject *held = reports_held(pass); /* owned */
    PyObject *done = held ? fuse_ask("log_report", pass->item, held, report) : NULL;

    Py_XDECREF(held);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

int reports_show(struct pass *pass, enum phase phase)
{
    PyObject *call = new_call_info(pass, phase); /* owned */
    struct plain_values values = {0};
    PyObject *report = NULL;  /* owned */
    PyObject *results = NULL; /* owned */
    int code = -1;

    pass->values[ARG_CALL] = call;
    if (call && fuse_go_outside(OUTSIDE_BOTH) == 0 && reports_note(pass, phase) == 0 &&
        make_values(pass, phase, &values) == 0 && run_reporting(pass, HOOKS_MAKEREPORT, &values, &report) == 0) {
        pass->values[ARG_REPORT] = report;
        code = run_reporting(pass, HOOKS_LOGREPORT, &values, &results);
    }
    if (code == 0 && plain_is(report, &values))
        pass->n_held++;
    else if (code == 0)
        code = send_report(pass, report);
    if (code == 0)
        code = fuse_outside(pass, OUTSIDE_BOTH);
    fuse.loggers_stale = true;
    Py_XDECREF(call);
    release_values(&values);
    Py_XDECREF(report);
    Py_XDECREF(results);
    return code;
}

/*
 * The phase raised: pytest makes the report, and runs what is left of the test. 0, or -1 when the exception is one that
 * ends the session.
 */
int reports_hand_over(struct pass *pass, enum phase phase)
{
    PyObject *exception = compat_take_exception();          /* owned */
    PyObject *held = reports_held(pass);                    /* owned */
    PyObject *span = held ? span_tuple(pass, phase) : NULL; /* owned */
    PyObject *name = PyUnicode_InternFromString("failed");  /* owned */
    PyObject *done = NULL;

    fuse.entered = NULL;
    if (exception && span && name)
        done = PyObject_CallMethodObjArgs(fuse.owner, name, pass->item, exception, held, span,
                                          pass->values[ARG_NEXTITEM], NULL);
    Py_XDECREF(exception);
    Py_XDECREF(held);
    Py_XDECREF(span);
    Py_XDECREF(name);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

int reports_rest(struct pass *pass, enum phase phase)
{
    PyObject *held = reports_held(pass);                    /* owned */
    PyObject *span = held ? span_tuple(pass, phase) : NULL; /* owned */
    PyObject *name = PyUnicode_InternFromString("rest");    /* owned */
    PyObject *done = NULL;

    fuse.entered = NULL;
    if (span && name)
        done = PyObject_CallMethodObjArgs(fuse.owner, name, pass->item, held, span, pass->values[ARG_NEXTITEM], NULL);
    Py_XDECREF(held);
    Py_XDECREF(span);
    Py_XDECREF(name);
    Py_XDECREF(done);
    return done ? 0 : -1;
}
