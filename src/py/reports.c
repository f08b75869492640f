/* reports.c - what is reported of a fused test: nothing more than a record as long as it passes plainly (fuse.h). */
#include "py/fuse.h"

#include "py/effects.h"
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

/* The item's own location, as pytest keeps it when it is first asked for, without the search for it. 0 or -1. */
static int keep_location(struct pass *pass)
{
    if (pass->location)
        return 0;
    pass->location = parent_location(pass->parent, pass->item);
    return pass->location ? PyObject_SetAttr(pass->item, S(location), pass->location) : -1;
}

/* The phases that were plain so far, as a list of spans; they are not held any more. */
PyObject *reports_held(struct pass *pass)
{
    PyObject *held = keep_location(pass) == 0 ? PyList_New(0) : NULL; /* owned */

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

static bool has_its_keywords(const struct pass *pass)
{
    return fuse_own(pass, S(keywords)) == pass->keywords && PyDict_GET_SIZE(pass->markers) == pass->n_keywords &&
           parent_count_keywords(pass->parent) == pass->parent->n_keywords;
}

/* Has nothing that a report of a passed phase would show? */
bool reports_plain(const struct pass *pass)
{
    if (pass->marked || pass->reported || !pass->ran)
        return !pass->marked && !pass->reported;
    return fuse_size_of(pass, S(_report_sections)) == 0 && fuse_size_of(pass, S(user_properties)) == 0 &&
           has_its_keywords(pass);
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

/* CallInfo([], None, ...) without its __init__, which only puts these away. */
static PyObject *new_call_info(const struct plain_values *values)
{
    PyTypeObject *type = (PyTypeObject *)fuse.call_info;
    PyObject *none = PyList_New(0); /* owned */
    PyObject *const names[] = {S(_result), S(excinfo), S(start), S(stop), S(duration), S(when)};
    PyObject *const parts[] = {none, Py_None, values->start, values->stop, values->duration, values->when};
    PyObject *call = none ? type->tp_alloc(type, 0) : NULL;

    for (size_t i = 0; call && i < HS_COUNT(names); i++)
        if (PyObject_SetAttr(call, names[i], parts[i]) < 0)
            Py_CLEAR(call);
    Py_XDECREF(none);
    return call;
}

/* What all reports of the test have in common. 0 or -1. */
static int make_common(struct pass *pass)
{
    if (!pass->location)
        pass->location = parent_location(pass->parent, pass->item);
    if (!pass->shown_keywords)
        pass->shown_keywords = parent_keywords(pass->parent, pass->item, pass->n_keywords);
    return pass->location && pass->shown_keywords ? 0 : -1;
}

/* What a new report of this phase has in it; owned by the caller (release_values). 0 or -1. */
static int make_values(struct pass *pass, enum phase phase, struct plain_values *values)
{
    const struct span *span = &pass->spans[phase];

    if (make_common(pass) < 0)
        return -1;
    *values = (struct plain_values){
        .when = Py_NewRef(fuse.phase_texts[phase]),
        .id = PyObject_GetAttr(pass->item, fuse.id_name),
        .location = Py_NewRef(pass->location),
        .keywords = Py_NewRef(pass->shown_keywords),
        .duration = seconds(span->duration_ns),
        .start = seconds(span->start_ns),
        .stop = seconds(span->stop_ns),
    };
    return values->id && values->duration && values->start && values->stop ? 0 : -1;
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

/* The report's own, where a CallInfo has those before. */
static int make_values_again(struct pass *pass, enum phase phase, struct plain_values *values)
{
    release_values(values);
    *values = (struct plain_values){0};
    return make_values(pass, phase, values);
}

/* Has pytest make the report of this phase, and of those before it that were plain. */
static int make_really(struct pass *pass, enum phase phase)
{
    PyObject *held = reports_held(pass);                                                          /* owned */
    PyObject *span = held && fuse_go_outside(OUTSIDE_BOTH) == 0 ? span_tuple(pass, phase) : NULL; /* owned */
    PyObject *done = span ? fuse_ask("report", pass->item, held, span) : NULL;
    int code = done ? 0 : -1;

    if (done)
        code = fuse_outside(OUTSIDE_BOTH);
    fuse.loggers_stale = true;
    Py_XDECREF(done);
    Py_XDECREF(held);
    Py_XDECREF(span);
    return code;
}

/* ---- reports that differ from plain ones in their sections and properties alone */

/* What TestReport.from_item_and_call makes of item._report_sections. New. */
static PyObject *sections_of(const struct pass *pass)
{
    PyObject *own = fuse_own(pass, S(_report_sections));
    PyObject *sections = own && PyList_Check(own) ? PyList_New(0) : NULL; /* owned */

    for (Py_ssize_t i = 0; sections && i < PyList_GET_SIZE(own); i++) {
        PyObject *when;
        PyObject *key;
        PyObject *content;
        PyObject *name = NULL; /* owned */
        PyObject *pair = NULL; /* owned */

        if (PyTuple_Check(PyList_GET_ITEM(own, i)) &&
            PyArg_ParseTuple(PyList_GET_ITEM(own, i), "UUO", &when, &key, &content))
            name = PyUnicode_FromFormat("Captured %U %U", key, when);
        pair = name ? PyTuple_Pack(2, name, content) : NULL;
        if (!pair || PyList_Append(sections, pair) < 0)
            Py_CLEAR(sections);
        Py_XDECREF(name);
        Py_XDECREF(pair);
    }
    return sections;
}

static int add_sections(const struct pass *pass, PyObject *report)
{
    PyObject *sections = sections_of(pass);                                                       /* owned */
    PyObject *properties = sections ? PySequence_List(fuse_own(pass, S(user_properties))) : NULL; /* owned */
    const int code = properties && PyObject_SetAttr(report, S(sections), sections) == 0
                         ? PyObject_SetAttr(report, S(user_properties), properties)
                         : -1;

    Py_XDECREF(sections);
    Py_XDECREF(properties);
    return code;
}

static int log_one(struct pass *pass, enum phase phase, bool with_sections)
{
    struct plain_values values = {0};
    PyObject *report = make_values(pass, phase, &values) == 0 ? plain_new(&values) : NULL; /* owned */
    PyObject *done = NULL;                                                                 /* owned */

    if (report && (!with_sections || add_sections(pass, report) == 0))
        done = PyObject_CallMethodOneArg(fuse.worker, S(pytest_runtest_logreport), report);
    release_values(&values);
    Py_XDECREF(report);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* pytest's own functions alone would make the report, of a phase that has passed, and only the worker would get it. */
static bool is_ours(const struct pass *pass)
{
    PyObject *properties = fuse_own(pass, S(user_properties));

    return !pass->hooks->reports && !pass->marked && has_its_keywords(pass) && properties && PyList_Check(properties) &&
           fuse_size_of(pass, S(_report_sections)) >= 0;
}

static int make_ours(struct pass *pass, enum phase phase)
{
    const int n_held = pass->n_held;
    int code = reports_note(pass, phase);

    if (code == 0 && !pass->reported)
        code = fuse_tell("start", NULL, NULL);
    pass->n_held = 0;
    pass->reported = true;
    for (int i = 0; code == 0 && i < n_held; i++)
        code = log_one(pass, (enum phase)i, false);
    return code < 0 ? -1 : log_one(pass, phase, true);
}

int reports_make(struct pass *pass, enum phase phase)
{
    return is_ours(pass) ? make_ours(pass, phase) : make_really(pass, phase);
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
        hooks_close(&open[--n], result, &exception);
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
    struct plain_values values = {0};
    PyObject *call = make_values(pass, phase, &values) == 0 ? new_call_info(&values) : NULL; /* owned */
    PyObject *report = NULL;                                                                 /* owned */
    PyObject *results = NULL;                                                                /* owned */
    int code = -1;

    pass->values[ARG_CALL] = call;
    if (call && fuse_go_outside(OUTSIDE_BOTH) == 0 && reports_note(pass, phase) == 0 &&
        make_values_again(pass, phase, &values) == 0 && run_reporting(pass, HOOKS_MAKEREPORT, &values, &report) == 0) {
        pass->values[ARG_REPORT] = report;
        code = run_reporting(pass, HOOKS_LOGREPORT, &values, &results);
    }
    if (code == 0 && plain_is(report, &values))
        pass->n_held++;
    else if (code == 0)
        code = send_report(pass, report);
    pass->unsure = true;
    if (code == 0 && effects_sets_level())
        code = phase_before_code(pass);
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
