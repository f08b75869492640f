/* database.c - hasten._native's side of the process that keeps databases (db/ask.h). */
#include "py/native.h"

#include "base/trace.h"
#include "db/ask.h"
#include "db/place.h"

#include <stdlib.h>

static PyObject *as_text(const struct str *text)
{
    return PyUnicode_DecodeUTF8(str_text(text), (Py_ssize_t)text->len, "replace");
}

/* Borrowed texts in an owned array that ends with NULL; NULL with an exception set. */
static char **arguments(PyObject *list)
{
    const Py_ssize_t n = PyList_Check(list) ? PyList_GET_SIZE(list) : -1;
    char **argv;

    if (n < 1) {
        PyErr_SetString(PyExc_TypeError, "a list of arguments is wanted");
        return NULL;
    }
    argv = hs_alloc(((size_t)n + 1) * sizeof *argv);
    for (Py_ssize_t i = 0; i < n; i++)
        if (!(argv[i] = (char *)(uintptr_t)PyUnicode_AsUTF8(PyList_GET_ITEM(list, i)))) {
            free(argv);
            return NULL;
        }
    return argv;
}

static PyObject *native_database_start(PyObject *self, PyObject *list)
{
    char **argv = arguments(list);
    struct str facts = STR_INIT;
    struct err err = {0};
    PyObject *result = NULL;
    int pid = 0;
    int code;

    (void)self;
    if (!argv)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    code = ask_start(argv, &pid, &facts, &err);
    Py_END_ALLOW_THREADS
    if (code < 0)
        compat_raise(PyExc_OSError, &err);
    else
        result = Py_BuildValue("(iN)", pid, as_text(&facts));
    free(argv);
    str_release(&facts);
    return result;
}

static PyObject *native_database_ask(PyObject *self, PyObject *args)
{
    const char *control, *request;
    struct str answer = STR_INIT;
    struct err err = {0};
    PyObject *result;
    int code;

    (void)self;
    if (!PyArg_ParseTuple(args, "ss", &control, &request))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    code = ask(control, request, &answer, &err);
    Py_END_ALLOW_THREADS
    result = code < 0 ? compat_raise(PyExc_OSError, &err) : as_text(&answer);
    str_release(&answer);
    return result;
}

static PyObject *native_database_end(PyObject *self, PyObject *args)
{
    int pid, limit_ms;
    bool ended;

    (void)self;
    if (!PyArg_ParseTuple(args, "ii", &pid, &limit_ms))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    ended = ask_end(pid, limit_ms);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(ended);
}

static PyObject *native_database_place(PyObject *self, PyObject *arg)
{
    const long pid = PyLong_AsLong(arg);
    char folder[PLACE_SIZE];
    struct err err = {0};

    (void)self;
    if (pid == -1 && PyErr_Occurred())
        return NULL;
    if (place_of((int)pid, folder, &err) < 0)
        return compat_raise(PyExc_OSError, &err);
    return PyUnicode_DecodeFSDefault(folder);
}

static PyObject *native_database_note(PyObject *self, PyObject *args)
{
    const char *event, *text;

    (void)self;
    if (!PyArg_ParseTuple(args, "ss", &event, &text))
        return NULL;
    if (!trace_on())
        trace_open(getenv("HASTEN_TRACE")); /* the program has its own */
    trace_event(event, TRACE_TEXT("text", text));
    Py_RETURN_NONE;
}

PyMethodDef database_methods[] = {
    {"database_place", native_database_place, METH_O,
     "database_place(pid) -> folder\n\nOf the databases that are kept for that process, whether they are or not. "
     "OSError."},
    {"database_start", native_database_start, METH_O,
     "database_start(argv) -> (pid, facts)\n\nStarts the process that keeps databases; facts: lines of text. OSError."},
    {"database_ask", native_database_ask, METH_VARARGS,
     "database_ask(control, request) -> answer\n\nWaits for it, without the GIL. OSError when nobody answers."},
    {"database_end", native_database_end, METH_VARARGS,
     "database_end(pid, limit_ms) -> bool\n\nTells this child to end and waits for that; whether it has ended."},
    {"database_note", native_database_note, METH_VARARGS,
     "database_note(event, text)\n\nA line of the trace (HASTEN_TRACE)."},
    {NULL, NULL, 0, NULL},
};
