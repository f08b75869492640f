/* importplace.c - where an import stands, and which places were seen. */
#include "py/importwatch.h"

#include "py/flow.h"
#include "py/importlog.h"

#include <opcode.h>
#include <stdlib.h>
#include <string.h>

/* Places that were seen: open addressing. A code object is kept, so that no other one gets its address. */
struct seen {
    PyObject *code; /* owned; NULL: free */
    Py_hash_t name;
    int lasti;
};

static struct {
    struct seen *slots; /* owned */
    size_t n_slots;     /* 0 or a power of two */
    size_t n_used;
} places;

enum kind { OF_PROGRAM, OF_MACHINERY, OF_PACKAGE };

/* The __name__ of a namespace: borrowed, NULL without an exception when there is none. */
static PyObject *name_of(PyObject *globals)
{
    static PyObject *key; /* owned for good */
    PyObject *name = NULL;

    if (!key)
        key = PyUnicode_InternFromString("__name__");
    if (key)
        name = PyDict_GetItemWithError(globals, key);
    PyErr_Clear();
    return name;
}

/* The namespace of the import system's own modules, which live as long as the interpreter. */
static bool is_machinery(PyObject *globals)
{
    static const char *const names[] = {"_frozen_importlib", "_frozen_importlib_external"};
    static PyObject *known[HS_COUNT(names)]; /* borrowed */

    for (size_t i = 0; i < HS_COUNT(names); i++) {
        if (!known[i]) {
            PyObject *module = PyImport_AddModule(names[i]); /* borrowed; always there, nothing is imported */

            known[i] = module ? PyModule_GetDict(module) : NULL;
            PyErr_Clear();
        }
        if (globals == known[i])
            return true;
    }
    return false;
}

static enum kind kind_of(PyObject *globals)
{
    PyObject *name; /* borrowed */

    if (is_machinery(globals))
        return OF_MACHINERY;
    name = name_of(globals);
    if (!name || !PyUnicode_Check(name) || PyUnicode_GET_LENGTH(name) != (Py_ssize_t)strlen("importlib"))
        return OF_PROGRAM;
    return PyUnicode_CompareWithASCIIString(name, "importlib") == 0 ? OF_PACKAGE : OF_PROGRAM;
}

void place_find(struct place *place)
{
    PyFrameObject *frame = PyEval_GetFrame(); /* borrowed at first, then owned */
    bool top = true;

    *place = (struct place){.by_statement = true};
    Py_XINCREF(frame);
    while (frame) {
        PyObject *globals = PyFrame_GetGlobals(frame); /* owned */
        const enum kind kind = kind_of(globals);
        PyFrameObject *back; /* owned */

        if (kind == OF_PROGRAM) {
            place->globals = globals;
            place->code = (PyObject *)PyFrame_GetCode(frame);
            place->lasti = PyFrame_GetLasti(frame);
            place->frame = frame;
            place->extension = place->within ? Py_XNewRef(span_extension()) : NULL;
            return;
        }
        place->within |= top && kind == OF_MACHINERY;
        place->by_statement &= kind != OF_PACKAGE;
        top = false;
        back = PyFrame_GetBack(frame);
        Py_DECREF(globals);
        Py_DECREF(frame);
        frame = back;
    }
    place->by_statement = false;
}

void place_release(struct place *place)
{
    Py_CLEAR(place->extension);
    Py_CLEAR(place->frame);
    Py_CLEAR(place->code);
    Py_CLEAR(place->globals);
}

/* The instruction is an import, and not a call of __import__. False only when it is known. */
static bool is_import(PyCodeObject *code, int lasti)
{
    PyObject *bytes = PyCode_GetCode(code); /* owned: a copy, so only for functions */
    bool truth = true;

    if (bytes && lasti >= 0 && lasti < PyBytes_GET_SIZE(bytes))
        truth = (unsigned char)PyBytes_AS_STRING(bytes)[lasti] == IMPORT_NAME;
    PyErr_Clear();
    Py_XDECREF(bytes);
    return truth;
}

/* The name that a module's __getattr__ was asked for. 0: it is no such function. */
static uint32_t attribute_of(const struct place *place)
{
    PyCodeObject *code = (PyCodeObject *)place->code; /* borrowed */
    PyObject *names, *locals;                         /* owned */
    uint32_t text = 0;

    if (code->co_argcount != 1 || PyUnicode_CompareWithASCIIString(code->co_qualname, "__getattr__") != 0)
        return 0;
    names = PyCode_GetVarnames(code);
    locals = names ? PyFrame_GetLocals(place->frame) : NULL;
    if (locals) {
        PyObject *value = PyObject_GetItem(locals, PyTuple_GET_ITEM(names, 0)); /* owned */

        text = value && PyUnicode_Check(value) ? importlog_text(value) : 0;
        Py_XDECREF(value);
    }
    PyErr_Clear();
    Py_XDECREF(names);
    Py_XDECREF(locals);
    return text;
}

void place_write(const struct place *place, struct log_place *into, uint32_t *flags)
{
    PyCodeObject *code = (PyCodeObject *)place->code; /* borrowed */
    static struct flow_cursor cursor; /* statements of a module's body are executed from its top to its end */
    int32_t line;

    *into = (struct log_place){0};
    if (!code)
        return;
    if (place->extension) {
        into->importer = importlog_text(place->extension);
        *flags |= LOG_DYNAMIC_CALL;
        return;
    }
    line = flow_line_at(&cursor, code, (uint32_t)place->lasti / 2);
    into->importer = importlog_text(name_of(place->globals));
    into->file = importlog_text(code->co_filename);
    into->line = line > 0 ? (uint32_t)line : 0;
    if (code->co_flags & CO_OPTIMIZED) { /* bodies of modules and classes are not */
        *flags |= LOG_IN_FUNCTION;
        into->function = importlog_text(code->co_qualname);
        into->attribute = attribute_of(place);
        if (!is_import(code, place->lasti))
            *flags |= LOG_DYNAMIC_CALL;
    }
    if (!place->by_statement)
        *flags |= LOG_DYNAMIC_CALL;
}

static size_t slot_of(const struct seen *slots, size_t n_slots, const struct seen *wanted)
{
    size_t at = ((uintptr_t)wanted->code >> 4) ^ ((size_t)wanted->lasti * 0x9E3779B97F4A7C15u) ^ (size_t)wanted->name;

    for (at ^= at >> 29;; at++) {
        const struct seen *slot = &slots[at & (n_slots - 1)];

        if (!slot->code || (slot->code == wanted->code && slot->lasti == wanted->lasti && slot->name == wanted->name))
            return at & (n_slots - 1);
    }
}

static void grow(void)
{
    const size_t n_slots = places.n_slots ? places.n_slots * 2 : 4096;
    struct seen *slots = hs_alloc(n_slots * sizeof *slots);

    for (size_t i = 0; i < places.n_slots; i++)
        if (places.slots[i].code)
            slots[slot_of(slots, n_slots, &places.slots[i])] = places.slots[i];
    free(places.slots);
    places.slots = slots;
    places.n_slots = n_slots;
}

bool place_is_new(const struct place *place, PyObject *name)
{
    struct seen wanted = {.code = place->code, .lasti = place->lasti, .name = PyObject_Hash(name)};
    const struct span *load = span_load();
    struct seen *slot;

    if (!wanted.code)
        return false;
    if (place->extension)
        return true; /* its code runs once */
    if (!(((PyCodeObject *)place->code)->co_flags & CO_OPTIMIZED))
        return true; /* the body of a module or class runs once, loops aside: nothing to look up */
    if (load)        /* what else calls the function while it is loaded needs the import, too */
        wanted.name ^= (Py_hash_t)((load->seq + 1) * 0x9E3779B97F4A7C15u);
    if (places.n_used * 2 >= places.n_slots)
        grow();
    slot = &places.slots[slot_of(places.slots, places.n_slots, &wanted)];
    if (slot->code)
        return false;
    wanted.code = Py_NewRef(wanted.code);
    *slot = wanted;
    places.n_used++;
    return true;
}

void place_forget(void)
{
    struct seen *slots = places.slots;
    const size_t n_slots = places.n_slots;

    places.slots = NULL;
    places.n_slots = places.n_used = 0;
    for (size_t i = 0; i < n_slots; i++)
        Py_XDECREF(slots[i].code);
    free(slots);
}
