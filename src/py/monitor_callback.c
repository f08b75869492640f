/* monitor_callback.c - the callables that sys.monitoring is given: C functions without a frame or an argument tuple. */
#include "py/monitor.h"

#if PY_VERSION_HEX >= 0x030C0000

struct callback {
    PyObject_HEAD vectorcallfunc vectorcall;
    PyObject *(*handle)(PyObject *const *args);
    Py_ssize_t n_args;
    const bool *on; /* borrowed */
};

static PyObject *call(PyObject *self, PyObject *const *args, size_t nargsf, PyObject *names)
{
    struct callback *callback = (struct callback *)self;

    (void)names;
    if (PyVectorcall_NARGS(nargsf) != callback->n_args || !PyCode_Check(args[0]) || !*callback->on)
        return Py_NewRef(Py_None);
    return callback->handle(args);
}

static PyMemberDef callback_members[] = {
    {"__vectorcalloffset__", Py_T_PYSSIZET, offsetof(struct callback, vectorcall), Py_READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyObject *callback_type(void)
{
    static PyObject *type; /* owned */
    static PyType_Slot slots[] = {
        {Py_tp_members, callback_members}, {Py_tp_call, (void *)PyVectorcall_Call}, {0, NULL}};
    static PyType_Spec spec = {.name = "hasten._native.monitor_callback",
                               .basicsize = sizeof(struct callback),
                               .flags =
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                               .slots = slots};

    if (!type)
        type = PyType_FromSpec(&spec);
    return type;
}

PyObject *monitor_callback(const bool *on, PyObject *(*handle)(PyObject *const *args), Py_ssize_t n_args)
{
    PyObject *type = callback_type();
    struct callback *callback = type ? (struct callback *)PyType_GenericAlloc((PyTypeObject *)type, 0) : NULL;

    if (!callback)
        return NULL;
    callback->vectorcall = call;
    callback->handle = handle;
    callback->n_args = n_args;
    callback->on = on;
    return (PyObject *)callback;
}

#endif
