/* flow_read.c - a code object's line table and instructions as units. */
#include "py/flow.h"

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

static uint8_t kinds[256];
static bool backward[256];
static bool quiet[256];

struct named {
    const char *name;
    uint8_t kind;
};

/* Names that this CPython does not have are passed over. */
static const struct named named[] = {
    {"CACHE", FLOW_CACHE},
    {"EXTENDED_ARG", FLOW_EXTENDED},
    {"JUMP_FORWARD", FLOW_JUMP},
    {"JUMP_BACKWARD", FLOW_JUMP},
    {"JUMP_BACKWARD_NO_INTERRUPT", FLOW_JUMP},
    {"POP_JUMP_IF_FALSE", FLOW_BRANCH},
    {"POP_JUMP_IF_TRUE", FLOW_BRANCH},
    {"POP_JUMP_IF_NONE", FLOW_BRANCH},
    {"POP_JUMP_IF_NOT_NONE", FLOW_BRANCH},
    {"FOR_ITER", FLOW_BRANCH},
    {"SEND", FLOW_BRANCH},
    {"RETURN_VALUE", FLOW_RETURN},
    {"RETURN_CONST", FLOW_RETURN},
    {"INTERPRETER_EXIT", FLOW_RETURN},
    {"RAISE_VARARGS", FLOW_RAISE},
    {"RERAISE", FLOW_RAISE},
    {"YIELD_VALUE", FLOW_YIELD},
    {"RESUME", FLOW_RESUME},
    {"END_ASYNC_FOR", FLOW_END_ASYNC_FOR},
    {"CLEANUP_THROW", FLOW_CLEANUP_THROW},
    {"NOT_TAKEN", FLOW_NOT_TAKEN},
};

/* Instructions that cannot raise. */
static const char *const quiet_names[] = {
    "NOP",
    "CACHE",
    "NOT_TAKEN",
    "EXTENDED_ARG",
    "RESUME",
    "JUMP_FORWARD",
    "JUMP_BACKWARD",
    "JUMP_BACKWARD_NO_INTERRUPT",
    "POP_TOP",
    "POP_ITER",
    "POP_EXCEPT",
    "PUSH_EXC_INFO",
    "PUSH_NULL",
    "COPY",
    "SWAP",
    "END_FOR",
    "END_SEND",
    "LOAD_CONST",
    "LOAD_SMALL_INT",
    "LOAD_COMMON_CONSTANT",
    "LOAD_FAST",
    "LOAD_FAST_BORROW",
    "LOAD_FAST_LOAD_FAST",
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW",
    "LOAD_FAST_AND_CLEAR",
    "STORE_FAST",
    "STORE_FAST_LOAD_FAST",
    "STORE_FAST_STORE_FAST",
    "STORE_FAST_MAYBE_NULL",
};

int flow_init(PyObject *opmap)
{
    memset(kinds, FLOW_PLAIN, sizeof kinds);
    memset(backward, 0, sizeof backward);
    memset(quiet, 0, sizeof quiet);
    for (size_t i = 0; i < HS_COUNT(quiet_names); i++) {
        PyObject *number = PyDict_GetItemString(opmap, quiet_names[i]); /* borrowed */
        const long op = number ? PyLong_AsLong(number) : -1;

        if (op >= 0 && op <= 255)
            quiet[op] = true;
    }
    for (size_t i = 0; i < HS_COUNT(named); i++) {
        PyObject *number = PyDict_GetItemString(opmap, named[i].name); /* borrowed */
        const long op = number ? PyLong_AsLong(number) : -1;

        if (op < 0 && PyErr_Occurred())
            return -1;
        if (op < 0 || op > 255)
            continue;
        kinds[op] = named[i].kind;
        backward[op] = strncmp(named[i].name, "JUMP_BACKWARD", 13) == 0;
    }
    return 0;
}

/* ---- the line table (Objects/locations.md of CPython: unchanged from 3.11 to 3.15) */

static uint32_t read_varint(const uint8_t **p)
{
    uint32_t value = **p & 63;
    int shift = 6;

    while (*(*p)++ & 64) {
        value |= (uint32_t)(**p & 63) << shift;
        shift += 6;
    }
    return value;
}

static int32_t read_signed(const uint8_t **p)
{
    const uint32_t value = read_varint(p);

    return value & 1 ? -(int32_t)(value >> 1) : (int32_t)(value >> 1);
}

struct line_run {
    uint32_t n;   /* units */
    int32_t line; /* 0: none */
    int32_t end;  /* the last line of what they were compiled from */
};

/* The next entry. line: of the entry before. */
static struct line_run next_run(const uint8_t **p, int32_t *line)
{
    const uint8_t first = *(*p)++;
    const int code = first >> 3 & 15;
    struct line_run run = {.n = (first & 7u) + 1};

    if (code == 15)
        return run;
    if (code >= 13) {
        *line += read_signed(p);
        if (code == 14) {
            run.end = (int32_t)read_varint(p);
            read_varint(p); /* columns */
            read_varint(p);
        }
    } else if (code >= 10) {
        *line += code - 10;
        *p += 2;
    } else {
        *p += 1;
    }
    run.line = *line;
    run.end += *line;
    return run;
}

int32_t flow_last_line(PyCodeObject *code)
{
    const uint8_t *p = (const uint8_t *)PyBytes_AS_STRING(code->co_linetable);
    const uint8_t *end = p + PyBytes_GET_SIZE(code->co_linetable);
    int32_t line = code->co_firstlineno;
    int32_t last = line;

    while (p < end) {
        const struct line_run run = next_run(&p, &line);

        if (run.line > last)
            last = run.line;
    }
    return last;
}

int32_t flow_line_at(struct flow_cursor *c, PyCodeObject *code, uint32_t unit)
{
    const uint8_t *end;

    if (c->code != (PyObject *)code || unit < c->first) {
        Py_XSETREF(c->code, Py_NewRef((PyObject *)code));
        c->next = (const uint8_t *)PyBytes_AS_STRING(code->co_linetable);
        c->line = code->co_firstlineno;
        c->first = c->end = 0;
        c->found = 0;
    }
    end = (const uint8_t *)PyBytes_AS_STRING(code->co_linetable) + PyBytes_GET_SIZE(code->co_linetable);
    while (c->end <= unit && c->next < end) {
        const struct line_run run = next_run(&c->next, &c->line);

        c->first = c->end;
        c->end += run.n;
        c->found = run.line;
    }
    return c->end > unit && c->found > 0 ? c->found : 0;
}

void flow_each_span(const struct flow *flow, PyCodeObject *code, void (*visit)(int32_t first, int32_t last, void *data),
                    void *data)
{
    const uint8_t *p = (const uint8_t *)PyBytes_AS_STRING(code->co_linetable);
    const uint8_t *end = p + PyBytes_GET_SIZE(code->co_linetable);
    int32_t line = code->co_firstlineno;

    for (uint32_t at = 0; p < end && at < flow->n;) {
        const struct line_run run = next_run(&p, &line);

        if (run.line > 0 && run.end > run.line && !(flow->units[at].state & FLOW_QUIET))
            visit(run.line, run.end, data);
        at += run.n;
    }
}

static void read_lines(struct flow *flow, PyCodeObject *code)
{
    const uint8_t *p = (const uint8_t *)PyBytes_AS_STRING(code->co_linetable);
    const uint8_t *end = p + PyBytes_GET_SIZE(code->co_linetable);
    int32_t line = code->co_firstlineno;

    for (uint32_t at = 0; p < end && at < flow->n;) {
        const struct line_run run = next_run(&p, &line);

        for (uint32_t i = 0; i < run.n && at < flow->n; i++, at++)
            flow->units[at].line = run.line > 0 ? run.line : 0;
    }
}

/* ---- instructions */

static void read_units(struct flow *flow, const uint8_t *bytes)
{
    uint32_t argument = 0;

    for (uint32_t i = 0; i < flow->n;) {
        struct flow_unit *unit = &flow->units[i];
        const uint8_t op = bytes[2 * i];
        uint32_t next = i + 1;

        argument = argument << 8 | bytes[2 * i + 1];
        unit->kind = kinds[op];
        unit->state = quiet[op] ? FLOW_QUIET : 0;
        while (next < flow->n && kinds[bytes[2 * next]] == FLOW_CACHE)
            flow->units[next++].kind = FLOW_CACHE;
        unit->next = next;
        if (unit->kind == FLOW_JUMP || unit->kind == FLOW_BRANCH) {
            const uint32_t target = backward[op] ? next - argument : next + argument;

            unit->jump = target < flow->n ? target : i;
        }
        if (unit->kind == FLOW_RESUME && (argument & 3) == 0)
            unit->kind = FLOW_START;
        if (unit->kind != FLOW_EXTENDED)
            argument = 0;
        i = next;
    }
}

struct flow *flow_read(PyCodeObject *code)
{
    PyObject *bytes = PyCode_GetCode(code); /* owned; without instrumentation and specialization */
    struct flow *flow;
    uint32_t n;

    if (!bytes)
        return NULL;
    n = (uint32_t)(PyBytes_GET_SIZE(bytes) / 2);
    flow = calloc(1, sizeof *flow + n * sizeof *flow->units);
    if (flow) {
        flow->n = n;
        read_lines(flow, code);
        read_units(flow, (const uint8_t *)PyBytes_AS_STRING(bytes));
    } else {
        PyErr_NoMemory();
    }
    Py_DECREF(bytes);
    return flow;
}
