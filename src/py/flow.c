#include "py/flow.h"

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

static bool falls(const struct flow_unit *unit)
{
    return unit->kind != FLOW_JUMP && unit->kind != FLOW_RETURN && unit->kind != FLOW_RAISE;
}

static bool jumps(const struct flow_unit *unit)
{
    return unit->kind == FLOW_JUMP || unit->kind == FLOW_BRANCH;
}

/* ---- who leads where */

enum {
    SEVERAL = -1,
    HANDLER = -2, /* an exception came, wherever from */
    MIXED = -3    /* that, or a line */
};

/* Of each unit: from which line control comes, seen through instructions without a line. */
struct entry {
    int32_t from;    /* the one other line; 0: none yet, SEVERAL */
    int32_t carried; /* an instruction without a line: the line before it; 0: none yet, SEVERAL */
};

static void meet(int32_t *known, int32_t line)
{
    if (*known == 0 || *known == line)
        *known = line;
    else
        *known = *known <= HANDLER || line <= HANDLER ? MIXED : SEVERAL;
}

static void lead(const struct flow *flow, struct entry *entries, uint32_t source, uint32_t to)
{
    const struct flow_unit *unit = &flow->units[source];
    const struct flow_unit *target = &flow->units[to];
    const int32_t before = unit->line ? unit->line : entries[source].carried;
    const int32_t line = unit->kind == FLOW_START ? SEVERAL : before;
    struct entry *entry = &entries[to];

    if (line == 0)
        return;
    if (!target->line) {
        meet(&entry->carried, line);
    } else if (line != target->line) {
        meet(&entry->from, line);
    } else if (to <= source) {
        entry->from = SEVERAL; /* the line begins again without another one between */
    }
}

static void read_entries(const struct flow *flow, struct entry *entries)
{
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
            entries[target].carried = HANDLER;
        }
    }
}

int32_t flow_trail(const struct flow *flow, int32_t line, uint32_t at)
{
    for (uint32_t steps = 0; at < flow->n && steps < flow->n; steps++) {
        const struct flow_unit *unit = &flow->units[at];

        if (unit->line && unit->line != line)
            return unit->line;
        if (!(unit->state & FLOW_QUIET))
            return FLOW_NO_LINE;
        at = unit->kind == FLOW_JUMP ? unit->jump : unit->next;
    }
    return FLOW_NO_LINE;
}

enum flow_state flow_way(const struct flow *flow, uint32_t at, uint32_t to)
{
    const uint32_t next = flow->units[at].next;
    const bool marked = next < flow->n && flow->units[next].kind == FLOW_NOT_TAKEN;

    return to == next || (marked && to == flow->units[next].next) ? FLOW_FALL_SEEN : FLOW_JUMP_SEEN;
}

static bool decides(const struct flow_unit *unit)
{
    return unit->kind == FLOW_BRANCH || unit->kind == FLOW_END_ASYNC_FOR || unit->kind == FLOW_CLEANUP_THROW;
}

/* The unit where a way without decisions first comes to another line; n: none. */
static uint32_t arrival(const struct flow *flow, int32_t line, uint32_t at)
{
    for (uint32_t steps = 0; at < flow->n && steps < flow->n; steps++) {
        const struct flow_unit *unit = &flow->units[at];

        if (unit->line && unit->line != line)
            return at;
        if ((!falls(unit) && unit->kind != FLOW_JUMP) || decides(unit))
            return flow->n;
        at = unit->kind == FLOW_JUMP ? unit->jump : unit->next;
    }
    return flow->n;
}

/* Ways into units: those of unit i come from list[first[i]] to list[first[i + 1] - 1]. */
struct ways {
    uint32_t *first; /* owned: this and all below are one allocation */
    uint32_t *list;
    uint32_t *stack; /* units that a search has still to look at */
    uint32_t *seen;  /* the number of the last search that came to a unit */
    uint32_t *ends;  /* what find_ends found */
    uint32_t search;
};

static void visit(struct ways *ways, uint32_t *n, uint32_t at)
{
    if (ways->seen[at] != ways->search)
        ways->stack[(*n)++] = at;
    ways->seen[at] = ways->search;
}

/*
 * Where a line may end that goes on at unit `at`: units of other lines, and instructions without a line that leave. What
 * is decided between is decided by instructions without a line.
 */
static uint32_t find_ends(const struct flow *flow, struct ways *ways, int32_t line, uint32_t at)
{
    uint32_t n_ends = 0;
    uint32_t n = 0;

    ways->search++;
    visit(ways, &n, at);
    while (n > 0) {
        const uint32_t here = ways->stack[--n];
        const struct flow_unit *unit = &flow->units[here];

        if ((unit->line && unit->line != line) ||
            (!unit->line && (unit->kind == FLOW_RETURN || unit->kind == FLOW_RAISE))) {
            ways->ends[n_ends++] = here;
            continue;
        }
        if (unit->line && decides(unit))
            continue;
        if (jumps(unit))
            visit(ways, &n, unit->jump);
        if (falls(unit) && unit->next < flow->n)
            visit(ways, &n, unit->next);
    }
    return n_ends;
}

/* A way of a branch needs no event: wherever it leads, it is known without that the line has ended there. */
static bool proven(const struct flow *flow, struct ways *ways, int32_t line, uint32_t at)
{
    const uint32_t n = find_ends(flow, ways, line, at);

    for (uint32_t i = 0; i < n; i++)
        if (flow->units[ways->ends[i]].from != line)
            return false;
    return true;
}

static void prove_branches(struct flow *flow, struct ways *ways)
{
    for (uint32_t i = 0; i < flow->n; i = flow->units[i].next) {
        struct flow_unit *unit = &flow->units[i];

        if (unit->kind != FLOW_BRANCH || !unit->line)
            continue;
        if (proven(flow, ways, unit->line, unit->next))
            unit->state |= FLOW_FALL_PROVEN;
        if (proven(flow, ways, unit->line, unit->jump))
            unit->state |= FLOW_JUMP_PROVEN;
    }
}

/* ---- pairs */

struct pairs {
    struct flow_pair *list; /* owned */
    uint32_t n;
    uint32_t room;
};

static void add_pair(struct flow *flow, struct pairs *pairs, struct flow_pair pair)
{
    for (uint32_t i = 0; i < pairs->n; i++)
        if (pairs->list[i].begin == pair.begin && pairs->list[i].end == pair.end &&
            pairs->list[i].by_branch == pair.by_branch)
            return;
    if (pairs->n == pairs->room) {
        pairs->room = pairs->room ? 2 * pairs->room : 8;
        pairs->list = hs_realloc(pairs->list, pairs->room * sizeof *pairs->list);
    }
    pairs->list[pairs->n++] = pair;
    flow->units[pair.begin].state |= FLOW_PAIRED;
    flow->units[pair.end].state |= FLOW_PAIRED;
}

/*
 * Pairs from all places where the line of unit `at` may have begun with no decision since. What comes after a decision
 * has pairs of its own (pair_from_branch).
 */
static void pair_begins(struct flow *flow, struct ways *ways, struct pairs *pairs, uint32_t at, uint32_t end)
{
    const int32_t line = flow->units[at].line;
    uint32_t n = 0;

    ways->search++;
    visit(ways, &n, at);
    while (n > 0) {
        const uint32_t here = ways->stack[--n];
        bool begins = ways->first[here] == ways->first[here + 1]; /* a handler, the first one */

        for (uint32_t i = ways->first[here]; i < ways->first[here + 1]; i++) {
            const uint32_t before = ways->list[i];
            const struct flow_unit *unit = &flow->units[before];

            if (before >= here || unit->line != line)
                begins = true;
            if ((!unit->line || unit->line == line) && before < here && !decides(unit))
                visit(ways, &n, before);
        }
        if (begins && flow->units[here].line == line)
            add_pair(flow, pairs, (struct flow_pair){.begin = here, .end = end, .line = line});
    }
}

static void pair_from(struct flow *flow, struct ways *ways, struct pairs *pairs, uint32_t i, uint32_t to)
{
    const int32_t line = flow->units[i].line;
    const uint32_t n = find_ends(flow, ways, line, to);

    for (uint32_t k = 0; k < n; k++)
        if (flow->units[ways->ends[k]].from != line)
            pair_begins(flow, ways, pairs, i, ways->ends[k]);
}

/* Where a branch leads when something may raise or be decided before the line ends. */
static void pair_from_branch(struct flow *flow, struct ways *ways, struct pairs *pairs, int32_t line, uint32_t to)
{
    const uint32_t n = flow_trail(flow, line, to) == FLOW_NO_LINE ? find_ends(flow, ways, line, to) : 0;

    for (uint32_t i = 0; i < n; i++)
        if (flow->units[ways->ends[i]].from != line)
            add_pair(flow, pairs,
                     (struct flow_pair){.begin = to, .end = ways->ends[i], .line = line, .by_branch = true});
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

/* Lines that an expression goes on to are that of its begin to coverage.py, which may have other ways out. */
static void note_span(int32_t first, int32_t last, void *data)
{
    const struct exits *exits = data;

    for (int32_t line = first + 1; line <= last; line++)
        if (line >= exits->first && line - exits->first < exits->n)
            exits->to[line - exits->first] = SEVERAL;
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
    flow_each_span(flow, code, note_span, exits);
    return 0;
}

static int find_pairs(struct flow *flow, PyCodeObject *code, struct ways *ways)
{
    const bool once = !(code->co_flags & CO_OPTIMIZED); /* bodies of modules and classes */
    struct pairs pairs = {0};
    struct exits exits;

    if (read_exits(flow, code, &exits) < 0)
        return -1;
    for (uint32_t i = 0; i < flow->n; i = flow->units[i].next) {
        const struct flow_unit *unit = &flow->units[i];

        if (!unit->line || (!once && exits.to[unit->line - exits.first] != SEVERAL))
            continue;
        if (unit->kind == FLOW_BRANCH) {
            pair_from_branch(flow, ways, &pairs, unit->line, unit->next);
            pair_from_branch(flow, ways, &pairs, unit->line, unit->jump);
        } else if (unit->kind == FLOW_JUMP)
            pair_from(flow, ways, &pairs, i, unit->jump);
        else if (falls(unit) && unit->next < flow->n && flow->units[unit->next].line != unit->line)
            pair_from(flow, ways, &pairs, i, unit->next);
    }
    free(exits.to);
    flow->pairs = pairs.list;
    flow->n_pairs = pairs.n;
    return 0;
}

/* ---- */

static void add_way(struct ways *ways, uint32_t from, uint32_t to, bool counting)
{
    if (counting)
        ways->first[to + 1]++;
    else
        ways->list[ways->first[to]++] = from;
}

static void each_way(const struct flow *flow, struct ways *ways, bool counting)
{
    for (uint32_t i = 0; i < flow->n; i = flow->units[i].next) {
        const struct flow_unit *unit = &flow->units[i];

        if (jumps(unit))
            add_way(ways, i, unit->jump, counting);
        if (falls(unit) && unit->next < flow->n)
            add_way(ways, i, unit->next, counting);
    }
}

static int read_ways(const struct flow *flow, struct ways *ways)
{
    const size_t n = flow->n + 2;

    ways->first = calloc(6 * n, sizeof *ways->first);
    if (!ways->first) {
        PyErr_NoMemory();
        return -1;
    }
    ways->list = ways->first + n;
    ways->stack = ways->list + 2 * n;
    ways->seen = ways->stack + n;
    ways->ends = ways->seen + n;
    each_way(flow, ways, true);
    for (uint32_t i = 0; i < flow->n; i++)
        ways->first[i + 1] += ways->first[i];
    each_way(flow, ways, false);
    memmove(ways->first + 1, ways->first, flow->n * sizeof *ways->first); /* filling has moved each to its end */
    ways->first[0] = 0;
    return 0;
}

static int analyse(struct flow *flow, PyCodeObject *code)
{
    int result;
    struct entry *entries = calloc(flow->n + 1, sizeof *entries);
    struct ways ways = {0};

    if (!entries) {
        PyErr_NoMemory();
        return -1;
    }
    mark_handlers(flow, code, entries);
    entries[0].from = SEVERAL;
    for (int round = 0; round < 3; round++) /* lines are carried backwards through instructions without one */
        read_entries(flow, entries);
    for (uint32_t i = 0; i < flow->n; i++)
        flow->units[i].from = flow->units[i].line ? (entries[i].from > 0 ? entries[i].from : 0) : entries[i].carried;
    free(entries);
    if (read_ways(flow, &ways) < 0)
        return -1;
    prove_branches(flow, &ways);
    result = find_pairs(flow, code, &ways);
    free(ways.first);
    return result;
}

struct flow *flow_new(PyCodeObject *code)
{
    struct flow *flow = flow_read(code);

    if (flow && analyse(flow, code) == 0)
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

/* Other ways to the same arc need no proof of their own. */
static void close_pairs(struct flow *flow, int32_t from, int32_t to)
{
    for (uint32_t i = 0; i < flow->n_pairs; i++)
        if (flow->pairs[i].line == from && flow->units[flow->pairs[i].end].line == to)
            flow->pairs[i].proven = true;
}

bool flow_reached(struct flow *flow, uint32_t at, const void *frame,
                  void (*prove)(int32_t from, int32_t to, void *data), void *data)
{
    bool needed = false;

    for (uint32_t i = 0; i < flow->n_pairs; i++) {
        struct flow_pair *pair = &flow->pairs[i];

        if (pair->proven)
            continue;
        if (pair->end == at && pair->frame == frame) {
            prove(pair->line, flow->units[at].line, data);
            close_pairs(flow, pair->line, flow->units[at].line);
            continue;
        }
        if (pair->begin == at && !pair->by_branch)
            pair->frame = frame;
        else if (pair->end != at)
            continue;
        needed = true;
    }
    return needed;
}

bool flow_branched(struct flow *flow, uint32_t to, const void *frame)
{
    bool needed = false;

    for (uint32_t i = 0; i < flow->n_pairs; i++) {
        struct flow_pair *pair = &flow->pairs[i];

        if (pair->proven || !pair->by_branch || pair->begin != to)
            continue;
        pair->frame = frame;
        needed = true;
    }
    return needed;
}

int32_t flow_line_before(const struct flow *flow, uint32_t at, const void *frame, int32_t raised)
{
    const struct flow_unit *unit = &flow->units[at];

    if (unit->line)
        return unit->line;
    for (uint32_t i = 0; i < flow->n_pairs; i++)
        if (flow->pairs[i].end == at && flow->pairs[i].frame == frame)
            return flow->pairs[i].line;
    return unit->from > 0 ? unit->from : unit->from <= HANDLER ? raised : 0;
}

void flow_raised(struct flow *flow, const void *frame)
{
    for (uint32_t i = 0; i < flow->n_pairs; i++)
        if (flow->pairs[i].frame == frame)
            flow->pairs[i].frame = NULL;
}

void flow_forget(struct flow *flow)
{
    for (uint32_t i = 0; i < flow->n; i++)
        flow->units[i].state &= (uint8_t)~(FLOW_FALL_SEEN | FLOW_JUMP_SEEN | FLOW_SEEN);
    for (uint32_t i = 0; i < flow->n_pairs; i++) {
        flow->pairs[i].proven = false;
        flow->pairs[i].frame = NULL;
    }
}
