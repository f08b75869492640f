#include "py/names.h"

#include "py/item.h"

bool names_has(PyObject *dict, const char *key)
{
    return dict && PyDict_GetItemString(dict, key) != NULL;
}

bool names_is_plain(PyObject *value)
{
    PyTypeObject *const type = Py_TYPE(value);

    return value == Py_None || type == &PyUnicode_Type || type == &PyLong_Type || type == &PyBool_Type ||
           type == &PyFloat_Type || type == &PyBytes_Type || type == &PyTuple_Type || type == &PyList_Type ||
           type == &PyDict_Type || type == &PySet_Type || type == &PyFrozenSet_Type || type == &PyCFunction_Type ||
           type == &PyProperty_Type || item_is_mark_decorator(value);
}

/* fixtures.parsefactories() finds neither a fixture nor a decorator around one in this value. */
static bool holds_no_fixture(PyObject *value)
{
    PyTypeObject *const type = Py_TYPE(value);

    if (PyFunction_Check(value)) {
        PyObject *const dict = ((PyFunctionObject *)value)->func_dict; /* borrowed */

        return !names_has(dict, "__wrapped__") && !names_has(dict, "_mock_name");
    }
    if (PyModule_CheckExact(value)) {
        PyObject *const dict = PyModule_GetDict(value); /* borrowed */

        return !names_has(dict, "__wrapped__") && !names_has(dict, "_mock_name") && !names_has(dict, "__getattr__");
    }
    return names_is_plain(value) || type == &PyWrapperDescr_Type || type == &PyMethodDescr_Type ||
           type == &PyGetSetDescr_Type || type == &PyMemberDescr_Type || type == &PyClassMethodDescr_Type;
}

/* Adds the names of one dictionary that seen has not, and whose values need a look. */
static bool add_candidates(PyObject *dict, PyObject *seen, PyObject *names)
{
    PyObject *key;
    PyObject *value;
    Py_ssize_t at = 0;

    while (PyDict_Next(dict, &at, &key, &value)) {
        const int known = seen ? PySet_Contains(seen, key) : 0;

        if (known < 0 || (seen && !known && PySet_Add(seen, key) < 0))
            return false;
        if (!known && !holds_no_fixture(value) && PyList_Append(names, key) < 0)
            return false;
    }
    return true;
}

/* The dictionary of a class; new reference, never a copy. */
static PyObject *type_dict(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyType_GetDict(type);
#else
    return Py_XNewRef(type->tp_dict);
#endif
}

static bool add_candidates_of_type(PyTypeObject *type, PyObject *names)
{
    PyObject *const seen = PySet_New(NULL); /* owned */
    bool ok = seen != NULL;

    for (Py_ssize_t i = 0; ok && i < PyTuple_GET_SIZE(type->tp_mro); i++) {
        PyObject *const dict = type_dict((PyTypeObject *)PyTuple_GET_ITEM(type->tp_mro, i)); /* owned */

        ok = dict && add_candidates(dict, seen, names);
        Py_XDECREF(dict);
    }
    Py_XDECREF(seen);
    return ok;
}

/* dir() says of instances of this type what lies in its dictionaries. */
static bool has_plain_dir(PyTypeObject *type)
{
    static PyObject *dir_name; /* owned */

    if (!dir_name && !(dir_name = PyUnicode_InternFromString("__dir__")))
        return false;
    return Py_TYPE(type) == &PyType_Type && type->tp_getattro == PyObject_GenericGetAttr &&
           _PyType_Lookup(type, dir_name) == _PyType_Lookup(&PyBaseObject_Type, dir_name);
}

PyObject *names_of_fixtures(PyObject *holder)
{
    const bool module = PyModule_CheckExact(holder) && !names_has(PyModule_GetDict(holder), "__dir__");
    PyObject *names;
    bool ok;

    if (PyType_Check(holder) || (!module && !has_plain_dir(Py_TYPE(holder))))
        return PyObject_Dir(holder);
    names = PyList_New(0);
    if (!names)
        return NULL;
    ok =
        module ? add_candidates(PyModule_GetDict(holder), NULL, names) : add_candidates_of_type(Py_TYPE(holder), names);
    if (ok && PyList_Sort(names) == 0)
        return names;
    Py_DECREF(names);
    PyErr_Clear();
    return PyObject_Dir(holder);
}

/* Text of at most 100 characters that pytest puts into an id as it is. */
static bool is_plain_text(PyObject *value)
{
    const Py_ssize_t n = PyUnicode_GET_LENGTH(value);
    const char *const text = PyUnicode_IS_ASCII(value) && n <= 100 ? (const char *)PyUnicode_1BYTE_DATA(value) : NULL;

    for (Py_ssize_t i = 0; text && i < n; i++)
        if (text[i] < ' ' || text[i] > '~' || text[i] == '\\')
            return false;
    return text != NULL;
}

PyObject *names_plain_id(PyObject *value)
{
    PyObject *text = NULL;

    if (PyUnicode_CheckExact(value))
        return is_plain_text(value) ? Py_NewRef(value) : NULL;
    if (value == Py_None || PyBool_Check(value) || PyLong_CheckExact(value) || PyFloat_CheckExact(value))
        text = PyObject_Str(value);
    if (!text)
        PyErr_Clear();
    return text;
}
