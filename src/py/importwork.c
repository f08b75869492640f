/* importwork.c - what the lines of the user's modules take while these are loaded: all that is no import. */
#include "py/importwatch.h"

#include "imports/profile.h"
#include "py/importlog.h"

#include <stdlib.h>
#include <string.h>

/*
 * sys.monitoring tells the lines of a module's body, and of the bodies of its classes, as they begin; what a line took is known
 * when the next one begins. Its functions are not watched: what they take is taken by the line that calls them.
 */
enum { TOOL = 4, LINES_MOST = 1 << 20, OFTEN = 20000, WORTH_NS = 500000 };

struct line {
    uint64_t wall_ns;
    uint64_t cpu_ns;
    uint32_t n;
};

struct work {
    PyObject *file;     /* owned: whose lines these are */
    struct line *lines; /* owned */
    uint32_t n_lines;
    uint32_t at;              /* the line under way */
    uint64_t wall_ns, cpu_ns; /* of the load, without what is not its own, when that line began */
};

static struct {
    bool on;
    PyObject *monitoring; /* owned; NULL: off */
    PyObject *events;     /* owned: those of a body */
    PyObject *disable;    /* owned */
    char *root;           /* owned */
} user;

/* ---- one load */

/* Adds what the line under way has taken up to now, and begins to count anew. */
static void settle(struct work *work, const struct span *span)
{
    uint64_t wall_ns, cpu_ns;
    struct line *line = work->at < work->n_lines ? &work->lines[work->at] : NULL;

    span_own_times(span, &wall_ns, &cpu_ns);
    if (line && wall_ns > work->wall_ns)
        line->wall_ns += wall_ns - work->wall_ns;
    if (line && cpu_ns > work->cpu_ns)
        line->cpu_ns += cpu_ns - work->cpu_ns;
    work->wall_ns = wall_ns;
    work->cpu_ns = cpu_ns;
}

static bool make_room(struct work *work, uint32_t number)
{
    uint32_t n = work->n_lines ? work->n_lines : 64;

    if (number < work->n_lines)
        return true;
    if (number >= LINES_MOST)
        return false;
    while (n <= number)
        n *= 2;
    work->lines = hs_realloc(work->lines, n * sizeof *work->lines);
    memset(work->lines + work->n_lines, 0, (n - work->n_lines) * sizeof *work->lines);
    work->n_lines = n;
    return true;
}

static struct work *work_of(struct span *span, PyObject *file)
{
    struct work *work = span->work;

    if (!work) {
        work = span->work = hs_alloc(sizeof *work);
        *work = (struct work){.file = Py_NewRef(file), .at = UINT32_MAX};
    }
    return work->file == file || PyUnicode_Compare(work->file, file) == 0 ? work : NULL;
}

/* A line in a long loop is not told for ever: what it takes goes then to one of those before it. */
static PyObject *hook_line(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct span *span = span_load();
    const long number = n == 2 && PyCode_Check(args[0]) ? PyLong_AsLong(args[1]) : -1;
    struct work *work;

    (void)self;
    work = span && span_is_innermost(span) && number > 0 ? work_of(span, ((PyCodeObject *)args[0])->co_filename) : NULL;
    PyErr_Clear();
    if (!work)
        Py_RETURN_NONE;
    settle(work, span);
    work->at = make_room(work, (uint32_t)number) ? (uint32_t)number : UINT32_MAX;
    if (work->at != UINT32_MAX && ++work->lines[work->at].n >= OFTEN)
        return Py_NewRef(user.disable);
    Py_RETURN_NONE;
}

void work_end(struct span *span)
{
    struct work *work = span->work;

    if (!work)
        return;
    settle(work, span);
    for (uint32_t i = 0; i < work->n_lines; i++) {
        const struct line *line = &work->lines[i];
        struct log_work record = {.head.type = LOG_WORK, .line = i, .n = line->n};

        if (line->wall_ns < WORTH_NS)
            continue;
        record.module = importlog_text(span->name);
        record.file = importlog_text(work->file);
        record.wall_ns = line->wall_ns;
        record.cpu_ns = line->cpu_ns;
        importlog_add(&record, sizeof record);
    }
    span->work = NULL;
    Py_DECREF(work->file);
    free(work->lines);
    free(work);
}

/* ---- which code */

static int watch_body(PyCodeObject *code)
{
    PyObject *done =
        PyObject_CallMethod(user.monitoring, "set_local_events", "iOO", TOOL, code, user.events); /* owned */
    int result = done ? 0 : -1;

    Py_XDECREF(done);
    for (Py_ssize_t i = 0; result == 0 && i < PyTuple_GET_SIZE(code->co_consts); i++) {
        PyObject *one = PyTuple_GET_ITEM(code->co_consts, i); /* borrowed */

        if (PyCode_Check(one) && !(((PyCodeObject *)one)->co_flags & CO_OPTIMIZED))
            result = watch_body((PyCodeObject *)one);
    }
    return result;
}

void work_watch(PyObject *loaded)
{
    PyObject *code =
        loaded && PyTuple_Check(loaded) && PyTuple_GET_SIZE(loaded) == 2 ? PyTuple_GET_ITEM(loaded, 1) : loaded;
    const char *file =
        code && PyCode_Check(code) && user.monitoring ? PyUnicode_AsUTF8(((PyCodeObject *)code)->co_filename) : NULL;

    if (file && profile_is_own(file, user.root))
        watch_body((PyCodeObject *)code);
    PyErr_Clear(); /* then its lines are not told */
}

/* ---- coming and going */

static PyMethodDef line_def = {"line", (PyCFunction)(void (*)(void))hook_line, METH_FASTCALL, NULL};

/* Calls sys.monitoring.NAME(TOOL, ...); false without an exception when that failed. */
static bool tell(const char *name, PyObject *first, PyObject *second)
{
    PyObject *number = PyLong_FromLong(TOOL);                                                           /* owned */
    PyObject *method = number ? PyObject_GetAttrString(user.monitoring, name) : NULL;                   /* owned */
    PyObject *done = method ? PyObject_CallFunctionObjArgs(method, number, first, second, NULL) : NULL; /* owned */

    PyErr_Clear();
    Py_XDECREF(number);
    Py_XDECREF(method);
    Py_XDECREF(done);
    return done != NULL;
}

/* When somebody else has the tool, it stays theirs. */
static bool take_tool(void)
{
    PyObject *name = PyUnicode_FromString("hasten imports");              /* owned */
    PyObject *function = PyCFunction_New(&line_def, NULL);                /* owned */
    PyObject *events = PyObject_GetAttrString(user.monitoring, "events"); /* owned */
    bool taken = false;

    user.disable = PyObject_GetAttrString(user.monitoring, "DISABLE");
    user.events = events ? PyObject_GetAttrString(events, "LINE") : NULL;
    if (name && function && user.events && user.disable && tell("use_tool_id", name, NULL)) {
        taken = tell("register_callback", user.events, function);
        if (!taken)
            tell("free_tool_id", NULL, NULL);
    }
    PyErr_Clear();
    Py_XDECREF(name);
    Py_XDECREF(function);
    Py_XDECREF(events);
    return taken;
}

void work_start(const char *root)
{
    PyObject *monitoring = PySys_GetObject("monitoring"); /* borrowed; CPython 3.12 */

    if (!root[0] || !monitoring)
        return;
    user.monitoring = Py_NewRef(monitoring);
    user.root = hs_strdup(root);
    user.on = take_tool();
    if (!user.on)
        work_stop();
}

void work_stop(void)
{
    if (user.on) {
        tell("register_callback", user.events, Py_None);
        tell("free_tool_id", NULL, NULL);
    }
    user.on = false;
    Py_CLEAR(user.monitoring);
    Py_CLEAR(user.events);
    Py_CLEAR(user.disable);
    free(user.root);
    user.root = NULL;
}
