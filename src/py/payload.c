/* payload.c - see payload.h. */
#include "py/payload.h"

#include "py/words.h"

#include <marshal.h>
#include <string.h>

static struct {
    char *data; /* owned */
    size_t size;
    size_t room;
} out;

/* Room for so much more; false when there is none. */
static bool reserve(size_t more)
{
    if (out.size + more > out.room) {
        const size_t room = 2 * (out.size + more);
        char *data = PyMem_Realloc(out.data, room);

        if (!data)
            return false;
        out.data = data;
        out.room = room;
    }
    return true;
}

static void put_number(long number)
{
    const uint32_t bits = (uint32_t)number;

    for (int i = 0; i < 4; i++)
        out.data[out.size++] = (char)(bits >> (8 * i) & 0xff);
}

static bool put_head(char type, long number)
{
    if (!reserve(5))
        return false;
    out.data[out.size++] = type;
    put_number(number);
    return true;
}

/* 'u': a text; 't': one that is interned when it is read. Both parts are one text; b may be NULL. */
static bool put_text(char type, PyObject *a, PyObject *b)
{
    Py_ssize_t sizes[2] = {0, 0};
    const char *texts[2] = {NULL, NULL};

    texts[0] = PyUnicode_CheckExact(a) ? PyUnicode_AsUTF8AndSize(a, &sizes[0]) : NULL;
    if (texts[0] && b)
        texts[1] = PyUnicode_CheckExact(b) ? PyUnicode_AsUTF8AndSize(b, &sizes[1]) : NULL;
    if (!texts[0] || (b && !texts[1]) || sizes[0] + sizes[1] > INT32_MAX || !put_head(type, sizes[0] + sizes[1]) ||
        !reserve((size_t)(sizes[0] + sizes[1])))
        return false;
    for (int i = 0; i < 2; i++)
        if (sizes[i]) {
            memcpy(out.data + out.size, texts[i], (size_t)sizes[i]);
            out.size += (size_t)sizes[i];
        }
    return true;
}

static bool put_known_location(PyObject *location)
{
    int overflow = 1;
    long line = 0;

    if (!PyTuple_CheckExact(location) || PyTuple_GET_SIZE(location) != 3)
        return false;
    if (PyLong_CheckExact(PyTuple_GET_ITEM(location, 1)))
        line = PyLong_AsLongAndOverflow(PyTuple_GET_ITEM(location, 1), &overflow);
    return !overflow && line >= INT32_MIN && line <= INT32_MAX && put_head('(', 3) &&
           put_text('t', PyTuple_GET_ITEM(location, 0), NULL) && put_head('i', line) &&
           put_text('u', PyTuple_GET_ITEM(location, 2), NULL);
}

static bool put_location(const struct parent *parent, PyObject *item, PyObject *obj)
{
    PyObject *code = parent_code_of(obj);
    PyObject *path = code ? parent_relpath(code) : NULL;
    PyObject *name = path ? PyObject_GetAttr(item, S(name)) : NULL; /* owned */
    const bool done = name && put_head('(', 3) && put_text('t', path, NULL) &&
                      put_head('i', ((PyCodeObject *)code)->co_firstlineno - 1) && put_text('u', parent->prefix, name);

    Py_XDECREF(name);
    return done;
}

static bool put_keywords(const struct parent *parent, PyObject *item, Py_ssize_t n_own)
{
    PyObject *keywords = PyObject_GetAttr(item, S(keywords));                  /* owned */
    PyObject *own = keywords ? PyObject_GetAttr(keywords, S(_markers)) : NULL; /* owned */
    bool done = own && PyDict_CheckExact(own) && PyBytes_CheckExact(parent->payload_end) && reserve(1);
    PyObject *key;
    PyObject *value;
    Py_ssize_t at = 0;

    if (done)
        out.data[out.size++] = '{';
    while (done && n_own-- > 0 && PyDict_Next(own, &at, &key, &value))
        done = put_text('u', key, NULL) && put_head('i', 1);
    if (done && (done = reserve((size_t)PyBytes_GET_SIZE(parent->payload_end)))) {
        memcpy(out.data + out.size, PyBytes_AS_STRING(parent->payload_end),
               (size_t)PyBytes_GET_SIZE(parent->payload_end));
        out.size += (size_t)PyBytes_GET_SIZE(parent->payload_end);
    }
    Py_XDECREF(keywords);
    Py_XDECREF(own);
    return done;
}

static int marshal(const struct parent *parent, PyObject *item, PyObject *location, Py_ssize_t n_own,
                   struct payload *payload)
{
    PyObject *place = location ? Py_NewRef(location) : parent_location(parent, item); /* owned */
    PyObject *keywords = place ? parent_keywords(parent, item, n_own) : NULL;         /* owned */
    PyObject *both = keywords ? PyTuple_Pack(2, place, keywords) : NULL;              /* owned */

    payload->bytes = both ? PyMarshal_WriteObjectToString(both, 4) : NULL;
    Py_XDECREF(place);
    Py_XDECREF(keywords);
    Py_XDECREF(both);
    if (!payload->bytes)
        return -1;
    payload->data = PyBytes_AS_STRING(payload->bytes);
    payload->size = (size_t)PyBytes_GET_SIZE(payload->bytes);
    return 0;
}

int payload_of(const struct parent *parent, PyObject *item, PyObject *obj, PyObject *location, Py_ssize_t n_own,
               struct payload *payload)
{
    *payload = (struct payload){0};
    out.size = 0;
    if (put_head('(', 2) && (location ? put_known_location(location) : put_location(parent, item, obj)) &&
        put_keywords(parent, item, n_own)) {
        payload->data = out.data;
        payload->size = out.size;
        return 0;
    }
    PyErr_Clear(); /* lone surrogates, a subclass of str, no memory, a file that is met for the first time */
    return marshal(parent, item, location, n_own, payload);
}

PyObject *payload_end(PyObject *keywords)
{
    bool done = true;

    out.size = 0;
    for (Py_ssize_t i = 0; done && i < PyTuple_GET_SIZE(keywords); i++)
        done = put_text('t', PyTuple_GET_ITEM(keywords, i), NULL) && put_head('i', 1);
    PyErr_Clear();
    if (!done || !reserve(1))
        return Py_NewRef(Py_None);
    out.data[out.size++] = '0';
    return PyBytes_FromStringAndSize(out.data, (Py_ssize_t)out.size);
}
