/*
 * multicall.c - pluggy's inner hook call, for calls without old-style wrappers.
 *
 * Same order, first results, wrappers and exception chaining as pluggy's own function (1.6 and 1.7), without a Python
 * frame of its own: a call with three wrappers takes 1.5 us instead of 3.1 (CPython 3.13, 2026-11). Calls that need
 * anything else - an old-style hookwrapper, whose warning counts frames, a missing argument, optional arguments - go
 * whole to pluggy's function, which is also what is reached when tracing replaces PluginManager._inner_hookexec.
 */
#include "py/multicall.h"

#include "py/native.h"

#include <string.h>

enum { MAX_IMPLS = 64, MAX_ARGS = 256 };
enum { A_FUNCTION, A_ARGNAMES, A_KWARGNAMES, A_WRAPPER, A_HOOKWRAPPER, N_ATTRIBUTES };

static PyObject *attributes[N_ATTRIBUTES]; /* owned, interned names of a HookImpl's slots */
static PyObject *python_multicall;         /* owned: pluggy's own function */
static PyObject *raise_wrapfail;           /* owned: pluggy's _raise_wrapfail */
static PyObject *throw_name;               /* owned */
static PyObject *close_name;               /* owned */
static bool takes_kwargs;                  /* this pluggy passes optional arguments too (1.7) */

struct step {
    PyObject *function; /* owned */
    bool wrapper;
    int first; /* of its arguments in call.args */
    int n;
};

struct call {
    struct step steps[MAX_IMPLS];
    PyObject *args[MAX_ARGS];       /* borrowed from the caller's keyword arguments */
    PyObject *teardowns[MAX_IMPLS]; /* owned generators */
    int n_steps;
    int n_args;
    int n_teardowns;
};

/* 1, 0 or -1 with an exception set. */
static int flag_of(PyObject *impl, int attribute)
{
    PyObject *value = PyObject_GetAttr(impl, attributes[attribute]); /* owned */
    const int answer = value ? PyObject_IsTrue(value) : -1;

    Py_XDECREF(value);
    return answer;
}

static bool has_kwargs(PyObject *impl)
{
    PyObject *names = takes_kwargs ? PyObject_GetAttr(impl, attributes[A_KWARGNAMES]) : NULL; /* owned */
    const bool some = takes_kwargs && (!names || PyObject_Size(names) != 0);

    Py_XDECREF(names);
    return some;
}

/* False (an exception may be set) when pluggy's function has to take this call. */
static bool add_step(struct call *call, PyObject *impl, PyObject *kwargs)
{
    struct step *step = &call->steps[call->n_steps];
    const int wrapper = flag_of(impl, A_WRAPPER);
    PyObject *names; /* owned */
    bool ok = true;

    if (wrapper < 0 || flag_of(impl, A_HOOKWRAPPER) != 0 || has_kwargs(impl))
        return false;
    names = PyObject_GetAttr(impl, attributes[A_ARGNAMES]);
    if (!names || !PyTuple_CheckExact(names) || call->n_args + PyTuple_GET_SIZE(names) > MAX_ARGS) {
        Py_XDECREF(names);
        return false;
    }
    *step = (struct step){.wrapper = wrapper != 0, .first = call->n_args, .n = (int)PyTuple_GET_SIZE(names)};
    for (int i = 0; i < step->n && ok; i++) {
        PyObject *value = PyDict_GetItemWithError(kwargs, PyTuple_GET_ITEM(names, i));

        call->args[call->n_args++] = value;
        ok = value != NULL;
    }
    Py_DECREF(names);
    step->function = ok ? PyObject_GetAttr(impl, attributes[A_FUNCTION]) : NULL;
    call->n_steps += step->function != NULL;
    return step->function != NULL;
}

static bool make_steps(struct call *call, PyObject *impls, PyObject *kwargs)
{
    const Py_ssize_t n = PyList_CheckExact(impls) ? PyList_GET_SIZE(impls) : MAX_IMPLS + 1;

    call->n_steps = call->n_args = call->n_teardowns = 0;
    if (n > MAX_IMPLS || !PyDict_CheckExact(kwargs))
        return false;
    for (Py_ssize_t i = n - 1; i >= 0; i--)
        if (!add_step(call, PyList_GET_ITEM(impls, i), kwargs))
            return false;
    return true;
}

void multicall_fail(PyObject *generator, const char *how)
{
    PyObject *done = PyObject_CallFunction(raise_wrapfail, "Os", generator, how);

    Py_XDECREF(done); /* it always raises */
}

int multicall_open(PyObject *generator)
{
    PyObject *yielded = NULL; /* owned */
    PySendResult sent;

    if (!PyGen_CheckExact(generator)) {
        PyErr_Format(PyExc_TypeError, "'%.100s' object is not an iterator", Py_TYPE(generator)->tp_name);
        return -1;
    }
    sent = PyIter_Send(generator, Py_None, &yielded);
    if (sent == PYGEN_ERROR)
        return -1;
    Py_XDECREF(yielded);
    if (sent == PYGEN_RETURN) {
        multicall_fail(generator, "did not yield");
        return -1;
    }
    return 0;
}

/* Takes generator over. 0 or -1. */
static int open_wrapper(struct call *call, PyObject *generator)
{
    if (multicall_open(generator) < 0) {
        Py_DECREF(generator);
        return -1;
    }
    call->teardowns[call->n_teardowns++] = generator;
    return 0;
}

/* 0 (more to come), 1 (first result is there) or -1. */
static int run_step(struct call *call, const struct step *step, bool firstresult, PyObject *results)
{
    PyObject *answer = PyObject_Vectorcall(step->function, call->args + step->first, (size_t)step->n, NULL); /* owned */
    int code;

    if (!answer)
        return -1;
    if (step->wrapper)
        return open_wrapper(call, answer);
    if (answer == Py_None) {
        Py_DECREF(answer);
        return 0;
    }
    code = PyList_Append(results, answer);
    Py_DECREF(answer);
    return code < 0 ? -1 : firstresult;
}

/* A StopIteration thrown into a generator comes back as the cause of a RuntimeError: then it is passed on as it was. */
static bool is_own_stop(PyObject *raised, PyObject *thrown)
{
    PyObject *cause;
    bool same;

    if (!PyErr_GivenExceptionMatches(thrown, PyExc_StopIteration) ||
        !PyErr_GivenExceptionMatches(raised, PyExc_RuntimeError))
        return false;
    cause = PyException_GetCause(raised); /* owned */
    same = cause == thrown;
    Py_XDECREF(cause);
    return same;
}

/* throw() with a value that is the generator's return value when it ends. */
static PySendResult throw_into(PyObject *generator, PyObject *exception, PyObject **value)
{
    PyObject *raised;

    *value = PyObject_CallMethodOneArg(generator, throw_name, exception);
    if (*value)
        return PYGEN_NEXT;
    raised = compat_take_exception();
    if (PyErr_GivenExceptionMatches(raised, PyExc_StopIteration)) {
        *value =
            Py_NewRef(((PyStopIterationObject *)raised)->value ? ((PyStopIterationObject *)raised)->value : Py_None);
        Py_DECREF(raised);
        return PYGEN_RETURN;
    }
    compat_put_exception(raised);
    return PYGEN_ERROR;
}

int multicall_close(PyObject *generator, PyObject **result, PyObject **exception)
{
    PyObject *value = NULL; /* owned */
    const PySendResult sent =
        *exception ? throw_into(generator, *exception, &value) : PyIter_Send(generator, *result, &value);
    PyObject *closed;

    if (sent == PYGEN_RETURN) {
        Py_XSETREF(*result, value);
        Py_CLEAR(*exception);
        return 0;
    }
    if (sent == PYGEN_ERROR) {
        PyObject *raised = compat_take_exception();

        if (*exception && is_own_stop(raised, *exception)) {
            Py_DECREF(raised);
            closed = PyObject_CallMethodNoArgs(generator, close_name);
            if (closed) {
                Py_DECREF(closed);
                return 0;
            }
            raised = compat_take_exception();
        }
        Py_XSETREF(*exception, raised);
        return 0;
    }
    Py_DECREF(value);
    closed = PyObject_CallMethodNoArgs(generator, close_name);
    if (!closed) {
        Py_XSETREF(*exception, compat_take_exception());
        return 0;
    }
    Py_DECREF(closed);
    multicall_fail(generator, "has second yield");
    return -1;
}

static void release_call(struct call *call)
{
    for (int i = 0; i < call->n_steps; i++)
        Py_DECREF(call->steps[i].function);
    for (int i = 0; i < call->n_teardowns; i++)
        Py_XDECREF(call->teardowns[i]);
}

static PyObject *first_of(PyObject *results, bool firstresult)
{
    if (!firstresult)
        return results; /* taken over */
    PyObject *first = PyList_GET_SIZE(results) ? Py_NewRef(PyList_GET_ITEM(results, 0)) : Py_NewRef(Py_None);

    Py_DECREF(results);
    return first;
}

static PyObject *run_call(struct call *call, bool firstresult)
{
    PyObject *exception = NULL;       /* owned */
    PyObject *result = PyList_New(0); /* owned */
    int code = result ? 0 : -1;

    for (int i = 0; i < call->n_steps && code == 0; i++)
        code = run_step(call, &call->steps[i], firstresult, result);
    if (code < 0)
        exception = compat_take_exception();
    if (result)
        result = first_of(result, firstresult);
    for (int i = call->n_teardowns - 1; i >= 0; i--) {
        if (multicall_close(call->teardowns[i], &result, &exception) < 0) {
            Py_XDECREF(result);
            Py_XDECREF(exception);
            return NULL;
        }
    }
    if (exception) {
        Py_XDECREF(result);
        compat_put_exception(exception);
        return NULL;
    }
    return result;
}

static PyObject *native_multicall(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct call call;
    PyObject *result;
    int firstresult;

    (void)self;
    if (n != 4)
        return PyObject_Vectorcall(python_multicall, args, (size_t)n, NULL);
    if (!make_steps(&call, args[1], args[2])) {
        PyErr_Clear();
        release_call(&call);
        return PyObject_Vectorcall(python_multicall, args, 4, NULL);
    }
    firstresult = PyObject_IsTrue(args[3]);
    result = firstresult < 0 ? NULL : run_call(&call, firstresult != 0);
    release_call(&call);
    return result;
}

static PyObject *native_multicall_of(PyObject *self, PyObject *args)
{
    static const char *const names[N_ATTRIBUTES] = {"function", "argnames", "kwargnames", "wrapper", "hookwrapper"};
    PyObject *multicall;
    PyObject *wrapfail;
    int kwargs;

    (void)self;
    if (!PyArg_ParseTuple(args, "OOp", &multicall, &wrapfail, &kwargs))
        return NULL;
    for (int i = 0; i < N_ATTRIBUTES; i++)
        Py_XSETREF(attributes[i], PyUnicode_InternFromString(names[i]));
    Py_XSETREF(throw_name, PyUnicode_InternFromString("throw"));
    Py_XSETREF(close_name, PyUnicode_InternFromString("close"));
    Py_XSETREF(python_multicall, Py_NewRef(multicall));
    Py_XSETREF(raise_wrapfail, Py_NewRef(wrapfail));
    takes_kwargs = kwargs != 0;
    Py_RETURN_NONE;
}

PyMethodDef multicall_methods[] = {
    {"multicall_of", native_multicall_of, METH_VARARGS,
     "multicall_of(multicall, raise_wrapfail, takes_kwargs)\n\nWhich pluggy this is; before the first multicall."},
    {"multicall", (PyCFunction)(void (*)(void))native_multicall, METH_FASTCALL,
     "multicall(hook_name, hook_impls, caller_kwargs, firstresult)\n\npluggy's _multicall."},
    {NULL, NULL, 0, NULL},
};
