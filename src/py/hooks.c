/* hooks.c - see hooks.h. */
#include "py/hooks.h"

#include "py/multicall.h"
#include "py/oldstyle.h"
#include "py/words.h"

#include <string.h>

static int read_args(struct step *step, PyObject *args)
{
    step->n_args = (int)PyTuple_GET_SIZE(args);
    if (step->n_args > N_STEP_ARGS) {
        PyErr_SetString(PyExc_ValueError, "too many arguments of a hook");
        return -1;
    }
    for (int i = 0; i < step->n_args; i++) {
        step->args[i] = (int)PyLong_AsLong(PyTuple_GET_ITEM(args, i));
        if (step->args[i] < 0 || step->args[i] >= N_STEP_ARGS) {
            PyErr_SetString(PyExc_ValueError, "no such argument of a hook");
            return -1;
        }
    }
    return 0;
}

static int read_step(struct step *step, PyObject *entry)
{
    PyObject *args;
    int kind;
    int outside;

    if (!PyArg_ParseTuple(entry, "iOO!iO", &kind, &step->function, &PyTuple_Type, &args, &outside, &step->extra))
        return -1;
    step->kind = (enum step_kind)kind;
    step->outside = (unsigned)outside & OUTSIDE_BOTH;
    Py_INCREF(step->function);
    Py_INCREF(step->extra);
    if (step->kind == STEP_OLD) {
        step->impl = step->function;
        step->function = PyObject_GetAttr(step->impl, S(function));
        if (!step->function)
            return -1;
    }
    return read_args(step, args);
}

static int read_list(struct hooks_steps *list, PyObject *entries)
{
    const Py_ssize_t n = PyList_Size(entries);

    if (n < 0)
        return -1;
    list->steps = PyMem_Calloc((size_t)n + 1, sizeof *list->steps);
    if (!list->steps) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++)
        if (read_step(&list->steps[i], PyList_GET_ITEM(entries, i)) < 0)
            return -1;
    list->n = (int)n;
    return n <= HOOKS_MAX_OPEN ? 0 : (PyErr_SetString(PyExc_ValueError, "too many implementations"), -1);
}

static bool is_foreign(const struct hooks_steps *list)
{
    for (int i = 0; i < list->n; i++)
        if (list->steps[i].kind == STEP_CALL || list->steps[i].kind == STEP_WRAPPER || list->steps[i].kind == STEP_OLD)
            return true;
    return false;
}

static PyObject *copy_of(PyObject *watched)
{
    PyObject *copies = PyTuple_New(PyTuple_GET_SIZE(watched)); /* owned */

    for (Py_ssize_t i = 0; copies && i < PyTuple_GET_SIZE(watched); i++) {
        PyObject *one = PySequence_Tuple(PyTuple_GET_ITEM(watched, i));

        if (!one)
            Py_CLEAR(copies);
        else
            PyTuple_SET_ITEM(copies, i, one);
    }
    return copies;
}

struct hooks *hooks_new(PyObject *description)
{
    struct hooks *hooks = PyMem_Calloc(1, sizeof *hooks);
    PyObject *lists;
    int own;
    int reports;

    if (!hooks) {
        PyErr_NoMemory();
        return NULL;
    }
    if (!PyArg_ParseTuple(description, "OO!O!Opp", &hooks->ihook, &PyList_Type, &lists, &PyTuple_Type, &hooks->watched,
                          &hooks->pyfunc, &own, &reports))
        return NULL; /* a programming error: what was taken stays */
    Py_INCREF(hooks->ihook);
    Py_INCREF(hooks->watched);
    Py_INCREF(hooks->pyfunc);
    hooks->fixtures_own = own != 0;
    hooks->reports = reports != 0;
    hooks->copies = copy_of(hooks->watched);
    for (int i = 0; i < N_HOOKS_LISTS && i < PyList_GET_SIZE(lists); i++) {
        if (!hooks->copies || read_list(&hooks->lists[i], PyList_GET_ITEM(lists, i)) < 0)
            return NULL;
        hooks->foreign = hooks->foreign || is_foreign(&hooks->lists[i]);
    }
    return hooks;
}

static bool same(PyObject *list, PyObject *copy)
{
    if (!PyList_CheckExact(list) || PyList_GET_SIZE(list) != PyTuple_GET_SIZE(copy))
        return false;
    return !PyTuple_GET_SIZE(copy) || memcmp(((PyListObject *)list)->ob_item, ((PyTupleObject *)copy)->ob_item,
                                             (size_t)PyTuple_GET_SIZE(copy) * sizeof(PyObject *)) == 0;
}

bool hooks_valid(const struct hooks *hooks)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(hooks->watched); i++)
        if (!same(PyTuple_GET_ITEM(hooks->watched, i), PyTuple_GET_ITEM(hooks->copies, i)))
            return false;
    return true;
}

PyObject *hooks_call(const struct step *step, PyObject *const values[N_STEP_ARGS])
{
    PyObject *args[N_STEP_ARGS];

    for (int i = 0; i < step->n_args; i++)
        args[i] = values[step->args[i]];
    return PyObject_Vectorcall(step->function, args, (size_t)step->n_args, NULL);
}

PyObject *hooks_open(const struct step *step, PyObject *const values[N_STEP_ARGS])
{
    PyObject *generator = hooks_call(step, values); /* owned */

    if (generator && multicall_open(generator) < 0)
        Py_CLEAR(generator);
    return generator;
}

void hooks_close(struct hooks_open *open, PyObject **result, PyObject **exception)
{
    if (open->step->kind == STEP_OLD)
        oldstyle_close(open->generator, open->step->impl, open->step->extra, result, exception);
    else if (multicall_close(open->generator, result, exception) < 0)
        Py_XSETREF(*exception, compat_take_exception());
    Py_CLEAR(open->generator);
}
