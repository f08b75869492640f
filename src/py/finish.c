/* finish.c - see finish.h. */
#include "py/finish.h"

#include "py/words.h"

static PyObject *group; /* owned: raises several exceptions together (fixture.h) */

struct finish {
    PyObject_HEAD PyObject *def; /* owned */
    PyObject *item;              /* owned */
    vectorcallfunc vectorcall;
};

static void keep_exception(PyObject **exceptions)
{
    PyObject *exception = compat_take_exception(); /* owned */

    if (!*exceptions)
        *exceptions = PyList_New(0);
    if (!*exceptions || PyList_Append(*exceptions, exception) < 0)
        PyErr_Clear();
    Py_XDECREF(exception);
}

static void raise_one_or_group(PyObject *exceptions, PyObject *def, PyObject *item)
{
    if (PyList_GET_SIZE(exceptions) == 1) {
        compat_put_exception(Py_NewRef(PyList_GET_ITEM(exceptions, 0)));
        return;
    }
    Py_XDECREF(PyObject_CallFunctionObjArgs(group, def, item, exceptions, NULL)); /* always raises */
}

static PyObject *finish_def(PyObject *def, PyObject *item)
{
    PyObject *cached = PyObject_GetAttr(def, S(cached_result));   /* owned */
    PyObject *finalizers = PyObject_GetAttr(def, S(_finalizers)); /* owned */
    PyObject *exceptions = NULL;                                  /* owned */

    if (!cached || !finalizers || !PyList_Check(finalizers) || cached == Py_None)
        goto out;
    while (PyList_GET_SIZE(finalizers)) {
        const Py_ssize_t last = PyList_GET_SIZE(finalizers) - 1;
        PyObject *one = Py_NewRef(PyList_GET_ITEM(finalizers, last)); /* owned */
        PyObject *done = PyList_SetSlice(finalizers, last, last + 1, NULL) < 0 ? NULL : PyObject_CallNoArgs(one);

        Py_DECREF(one);
        if (!done)
            keep_exception(&exceptions);
        Py_XDECREF(done);
    }
    PyObject_SetAttr(def, S(cached_result), Py_None);
    if (exceptions)
        raise_one_or_group(exceptions, def, item);
out:
    Py_XDECREF(cached);
    Py_XDECREF(finalizers);
    Py_XDECREF(exceptions);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

static PyObject *finish_call(PyObject *self, PyObject *const *args, size_t n, PyObject *names)
{
    struct finish *finish = (struct finish *)self;

    (void)args;
    (void)n;
    (void)names;
    return finish_def(finish->def, finish->item);
}

static int finish_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((struct finish *)self)->def);
    Py_VISIT(((struct finish *)self)->item);
    return 0;
}

static int finish_clear(PyObject *self)
{
    Py_CLEAR(((struct finish *)self)->def);
    Py_CLEAR(((struct finish *)self)->item);
    return 0;
}

static void finish_free(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    finish_clear(self);
    PyObject_GC_Del(self);
}

static PyTypeObject finish_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "hasten._native.FixtureFinish",
    .tp_basicsize = sizeof(struct finish),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(struct finish, vectorcall),
    .tp_call = PyVectorcall_Call,
    .tp_traverse = finish_traverse,
    .tp_clear = finish_clear,
    .tp_dealloc = finish_free,
    .tp_doc = "Ends a fixture.",
};

PyObject *finish_new(PyObject *def, PyObject *item)
{
    struct finish *finish = PyObject_GC_New(struct finish, &finish_type);

    if (!finish)
        return NULL;
    finish->def = Py_NewRef(def);
    finish->item = Py_NewRef(item);
    finish->vectorcall = finish_call;
    PyObject_GC_Track(finish);
    return (PyObject *)finish;
}

int finish_init(PyObject *raise_group)
{
    Py_XSETREF(group, Py_NewRef(raise_group));
    return PyType_Ready(&finish_type);
}
