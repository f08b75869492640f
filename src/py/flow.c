#include "py/flow.h"

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

static uint8_t kinds[256];
static bool backward[256];

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
};

int flow_init(PyObject *opmap)
{
    memset(kinds, FLOW_PLAIN, sizeof kinds);
    memset(backward, 0, sizeof backward);
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
        if (code == 14)
            for (int i = 0; i < 3; i++)
                read_varint(p);
    } else if (code >= 10) {
        *line += code - 10;
        *p += 2;
    } else {
        *p += 1;
    }
    run.line = *line;
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

static bool falls(const struct flow_unit *unit)
{
    return unit->kind != FLOW_JUMP && unit->kind != FLOW_RETURN && unit->kind != FLOW_RAISE;
}

static bool jumps(const struct flow_unit *unit)
{
    return unit->kind == FLOW_JUMP || unit->kind == FLOW_BRANCH;
}

/* ---- who leads where */

enum { SEVERAL = -1 };

/* Of each unit: from which line control comes, seen through instructions without a line. */
struct entry {
    int32_t from;       /* the one other line; 0: none yet, SEVERAL */
    int32_t carried;    /* an instruction without a line: the line before it; 0: none yet, SEVERAL */
    uint32_t n;         /* ways in */
    bool from_own_line; /* one of them from an instruction of the same line */
};

static void meet(int32_t *known, int32_t line)
{
    if (*known == 0 || *known == line)
        *known = line;
    else
        *known = SEVERAL;
}

static void lead(const struct flow *flow, struct entry *entries, uint32_t source, uint32_t to)
{
    const struct flow_unit *unit = &flow->units[source];
    const struct flow_unit *target = &flow->units[to];
    const int32_t before = unit->line ? unit->line : entries[source].carried;
    const int32_t line = unit->kind == FLOW_START ? SEVERAL : before;
    struct entry *entry = &entries[to];

    entry->n++;
    if (line == 0)
        return;
    if (!target->line) {
        meet(&entry->carried, line);
    } else if (line != target->line) {
        meet(&entry->from, line);
    } else {
        entry->from_own_line = true;
        if (to <= source)
            entry->from = SEVERAL; /* the line begins again without another one between */
    }
}

static void read_entries(const struct flow *flow, struct entry *entries)
{
    for (uint32_t i = 0; i < flow->n; i++) {
        entries[i].n = 0;
        entries[i].from_own_line = false;
    }
    for (uint32_t i = 0; i < flow->n; i = flow->units[i].next) {
        const struct flow_unit *unit = &flow->units[i];

        if (jumps(unit))
            lead(flow, entries, i, unit->jump);
        if (falls(unit) && unit->next < flow->n)
            lead(flow, entries, i, unit->next);
    }
}

/* The exception table: varints of 6 bits, most significant first; bit 6: more follow, bit 7: an entry begins. */
static uint32_t read_handler_number(const uint8_t **p)
{
    uint32_t value = **p & 63;

    while (*(*p)++ & 64)
        value = value << 6 | (**p & 63);
    return value;
}

static void mark_handlers(const struct flow *flow, PyCodeObject *code, struct entry *entries)
{
    const uint8_t *p = (const uint8_t *)PyBytes_AS_STRING(code->co_exceptiontable);
    const uint8_t *end = p + PyBytes_GET_SIZE(code->co_exceptiontable);

    while (p < end) {
        uint32_t target;

        read_handler_number(&p); /* start */
        read_handler_number(&p); /* size */
        target = read_handler_number(&p);
        read_handler_number(&p); /* depth and lasti */
        if (target < flow->n) {
            entries[target].from = SEVERAL;
            entries[target].carried = SEVERAL;
        }
    }
}

int32_t flow_trail(const struct flow *flow, int32_t line, uint32_t at)
{
    for (uint32_t steps = 0; at < flow->n && steps < flow->n; steps++) {
        const struct flow_unit *unit = &flow->units[at];

        if (unit->line && unit->line != line)
            return unit->line;
        if (unit->kind == FLOW_RETURN)
            return FLOW_LEAVES;
        if (unit->kind == FLOW_BRANCH || unit->kind == FLOW_RAISE)
            return FLOW_NO_LINE;
        at = unit->kind == FLOW_JUMP ? unit->jump : unit->next;
    }
    return FLOW_NO_LINE;
}

/* The unit where a way without decisions first comes to another line; n: none. */
static uint32_t arrival(const struct flow *flow, int32_t line, uint32_t at)
{
    for (uint32_t steps = 0; at < flow->n && steps < flow->n; steps++) {
        const struct flow_unit *unit = &flow->units[at];

        if (unit->line && unit->line != line)
            return at;
        if (!falls(unit) && unit->kind != FLOW_JUMP)
            return flow->n;
        if (unit->kind == FLOW_BRANCH)
            return flow->n;
        at = unit->kind == FLOW_JUMP ? unit->jump : unit->next;
    }
    return flow->n;
}

/* A way of a branch needs no event: the arc is proven by the LINE event where it leads, or there is none to prove. */
static bool proven(const struct flow *flow, int32_t line, uint32_t at)
{
    const uint32_t to = arrival(flow, line, at);

    return to == flow->n || flow->units[to].from == line;
}

static void prove_branches(struct flow *flow)
{
    for (uint32_t i = 0; i < flow->n; i = flow->units[i].next) {
        struct flow_unit *unit = &flow->units[i];

        if (unit->kind != FLOW_BRANCH || !unit->line)
            continue;
        if (proven(flow, unit->line, unit->next))
            unit->state |= FLOW_FALL_PROVEN;
        if (proven(flow, unit->line, unit->jump))
            unit->state |= FLOW_JUMP_PROVEN;
    }
}

/* ---- pairs */

struct pairs {
    struct flow_pair *list; /* owned */
    uint32_t n;
    uint32_t room;
};

static void add_pair(struct flow *flow, struct pairs *pairs, uint32_t begin, uint32_t end)
{
    for (uint32_t i = 0; i < pairs->n; i++)
        if (pairs->list[i].begin == begin && pairs->list[i].end == end)
            return;
    if (pairs->n == pairs->room) {
        pairs->room = pairs->room ? 2 * pairs->room : 8;
        pairs->list = hs_realloc(pairs->list, pairs->room * sizeof *pairs->list);
    }
    pairs->list[pairs->n++] = (struct flow_pair){.begin = begin, .end = end};
    flow->units[begin].state |= FLOW_PAIRED;
    flow->units[end].state |= FLOW_PAIRED;
}

/* Where the line of unit `at` began, if nothing was decided since; n: decided, or it began in several places. */
static uint32_t begin_of(const struct flow *flow, const struct entry *entries, const uint32_t *before, uint32_t at)
{
    const int32_t line = flow->units[at].line;

    while (entries[at].from_own_line || (entries[at].n == 1 && before[at] < flow->n && !flow->units[before[at]].line)) {
        const uint32_t last = before[at];

        if (entries[at].n != 1 || last >= flow->n || flow->units[last].kind == FLOW_BRANCH)
            return flow->n;
        if (flow->units[last].line && flow->units[last].line != line)
            break;
        at = last;
    }
    return at;
}

static void pair_from(struct flow *flow, const struct entry *entries, const uint32_t *before, struct pairs *pairs,
                      uint32_t i, uint32_t to)
{
    const int32_t line = flow->units[i].line;
    const uint32_t end = arrival(flow, line, to);
    uint32_t begin;

    if (end == flow->n || flow->units[end].from == line)
        return;
    begin = begin_of(flow, entries, before, i);
    if (begin < flow->n && flow->units[begin].line == line)
        add_pair(flow, pairs, begin, end);
}

/* Of each line, counted from the first: how many ways it has out, up to two. */
struct exits {
    int32_t first;
    int32_t n;
    int32_t *to; /* owned: the one line; 0: none yet, SEVERAL */
};

static void note_exit(const struct flow *flow, struct exits *exits, int32_t line, uint32_t at)
{
    const uint32_t to = arrival(flow, line, at);

    if (line - exits->first < exits->n && line >= exits->first)
        meet(&exits->to[line - exits->first], to < flow->n ? flow->units[to].line : SEVERAL);
}

/* A line that holds another code object leaves that, too. */
static void note_inner(PyCodeObject *code, struct exits *exits)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(code->co_consts); i++) {
        PyObject *inner = PyTuple_GET_ITEM(code->co_consts, i);
        const int32_t line = PyCode_Check(inner) ? ((PyCodeObject *)inner)->co_firstlineno - exits->first : -1;

        if (line >= 0 && line < exits->n)
            exits->to[line] = SEVERAL;
    }
}

static int read_exits(const struct flow *flow, PyCodeObject *code, struct exits *exits)
{
    exits->first = INT32_MAX;
    exits->n = flow_last_line(code) + 1;
    for (uint32_t i = 0; i < flow->n; i++)
        if (flow->units[i].line && flow->units[i].line < exits->first)
            exits->first = flow->units[i].line;
    exits->n = exits->n > exits->first ? exits->n - exits->first : 0;
    exits->to = calloc((size_t)exits->n + 1, sizeof *exits->to);
    if (!exits->to) {
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t i = 0; i < flow->n; i = flow->units[i].next) {
        const struct flow_unit *unit = &flow->units[i];

        if (unit->line && jumps(unit))
            note_exit(flow, exits, unit->line, unit->jump);
        if (unit->line && falls(unit) && unit->next < flow->n && flow->units[unit->next].line != unit->line)
            note_exit(flow, exits, unit->line, unit->next);
        if (unit->line && unit->kind == FLOW_RETURN && unit->line - exits->first < exits->n)
            meet(&exits->to[unit->line - exits->first], SEVERAL);
    }
    note_inner(code, exits);
    return 0;
}

static int find_pairs(struct flow *flow, PyCodeObject *code, const struct entry *entries, const uint32_t *before)
{
    const bool once = !(code->co_flags & CO_OPTIMIZED); /* bodies of modules and classes */
    struct pairs pairs = {0};
    struct exits exits;

    if (read_exits(flow, code, &exits) < 0)
        return -1;
    for (uint32_t i = 0; i < flow->n; i = flow->units[i].next) {
        const struct flow_unit *unit = &flow->units[i];

        if (!unit->line || unit->kind == FLOW_BRANCH || (!once && exits.to[unit->line - exits.first] != SEVERAL))
            continue;
        if (unit->kind == FLOW_JUMP)
            pair_from(flow, entries, before, &pairs, i, unit->jump);
        else if (falls(unit) && unit->next < flow->n && flow->units[unit->next].line != unit->line)
            pair_from(flow, entries, before, &pairs, i, unit->next);
    }
    free(exits.to);
    flow->pairs = pairs.list;
    flow->n_pairs = pairs.n;
    return 0;
}

/* ---- */

/* The instruction that lies or jumps before each unit: meaningful where there is one way in. */
static void read_before(const struct flow *flow, uint32_t *before)
{
    for (uint32_t i = 0; i < flow->n; i++)
        before[i] = flow->n;
    for (uint32_t i = 0; i < flow->n; i = flow->units[i].next) {
        const struct flow_unit *unit = &flow->units[i];

        if (jumps(unit))
            before[unit->jump] = i;
        if (falls(unit) && unit->next < flow->n)
            before[unit->next] = i;
    }
}

static int analyse(struct flow *flow, PyCodeObject *code)
{
    int result;
    struct entry *entries = calloc(flow->n + 1, sizeof *entries);
    uint32_t *before = calloc(flow->n + 1, sizeof *before);

    if (!entries || !before) {
        free(entries);
        free(before);
        PyErr_NoMemory();
        return -1;
    }
    mark_handlers(flow, code, entries);
    entries[0].from = SEVERAL;
    for (int round = 0; round < 3; round++) /* lines are carried backwards through instructions without one */
        read_entries(flow, entries);
    read_before(flow, before);
    for (uint32_t i = 0; i < flow->n; i++)
        flow->units[i].from = entries[i].from > 0 ? entries[i].from : 0;
    prove_branches(flow);
    result = find_pairs(flow, code, entries, before);
    free(entries);
    free(before);
    return result;
}

struct flow *flow_new(PyCodeObject *code)
{
    PyObject *bytes = PyCode_GetCode(code); /* owned; without instrumentation and specialization */
    struct flow *flow;
    uint32_t n;

    if (!bytes)
        return NULL;
    n = (uint32_t)(PyBytes_GET_SIZE(bytes) / 2);
    flow = calloc(1, sizeof *flow + n * sizeof *flow->units);
    if (!flow) {
        Py_DECREF(bytes);
        PyErr_NoMemory();
        return NULL;
    }
    flow->n = n;
    read_lines(flow, code);
    read_units(flow, (const uint8_t *)PyBytes_AS_STRING(bytes));
    Py_DECREF(bytes);
    if (analyse(flow, code) == 0)
        return flow;
    flow_free(flow);
    return NULL;
}

void flow_free(struct flow *flow)
{
    if (flow)
        free(flow->pairs);
    free(flow);
}

bool flow_reached(struct flow *flow, uint32_t at, void (*prove)(int32_t from, int32_t to, void *data), void *data)
{
    bool needed = false;

    flow->units[at].state |= FLOW_RAN;
    for (uint32_t i = 0; i < flow->n_pairs; i++) {
        struct flow_pair *pair = &flow->pairs[i];

        if (pair->proven || (pair->begin != at && pair->end != at))
            continue;
        if (pair->end == at && pair->begin != at && flow->units[pair->begin].state & FLOW_RAN) {
            prove(flow->units[pair->begin].line, flow->units[at].line, data);
            pair->proven = true;
        } else {
            needed = true;
        }
    }
    return needed;
}

void flow_raised(struct flow *flow, uint32_t at)
{
    for (uint32_t i = 0; i < flow->n_pairs; i++) {
        struct flow_unit *begin = &flow->units[flow->pairs[i].begin];

        if (begin->line == flow->units[at].line)
            begin->state &= (uint8_t)~FLOW_RAN;
    }
}

void flow_forget(struct flow *flow)
{
    for (uint32_t i = 0; i < flow->n; i++)
        flow->units[i].state &= (uint8_t)~(FLOW_FALL_SEEN | FLOW_JUMP_SEEN | FLOW_SEEN | FLOW_RAN);
    for (uint32_t i = 0; i < flow->n_pairs; i++)
        flow->pairs[i].proven = false;
}
