/*
 * flow.h - what a code object's bytecode says about the order of its lines: which arcs an event proves.
 *
 * A unit is two bytes of bytecode; unit i lies at offset 2i. Events of sys.monitoring come with units. They prove arcs
 * (line, next line) as follows, where "line" is that of the instruction, as written in the line table:
 *
 *  - a branch taken: the arc from its line to the first other line that follows without another decision, if nothing
 *    between can raise (flow_trail); else together with the LINE event there (struct flow_pair);
 *  - a LINE event at a unit that is entered from one other line only: the arc from that line (unit.from);
 *  - a LINE event at a unit from where another line follows without a decision, and nothing between can raise: the arc
 *    to that line (flow_trail);
 *  - a LINE event at a unit where several ways meet, after one at the begin of a line that leads there without a
 *    decision, in the same frame and with no exception between: the arc between them (struct flow_pair);
 *  - an exception raised and handled, or not: the arc from the line that raised.
 *
 * What is proven by LINE events needs no branch events: unit.state says which ways of a branch are (FLOW_FALL_PROVEN,
 * FLOW_JUMP_PROVEN). CPython 3.12 and 3.13 switch both ways of a branch off at once, so it is what keeps loops quick.
 *
 * A line with one way out only is no branch to coverage.py, which takes it for gone when the line ran. So pairs are
 * looked for where a line has several (copies of a `finally`, the end of a `with`, a line that holds another code
 * object, or goes on with what an earlier one has begun), and their events go on until they are proven.
 */
#ifndef HASTEN_FLOW_H
#define HASTEN_FLOW_H

#include "py/compat.h"

enum flow_kind {
    FLOW_PLAIN,
    FLOW_CACHE, /* no instruction */
    FLOW_JUMP,
    FLOW_BRANCH,
    FLOW_RETURN,
    FLOW_RAISE,
    FLOW_YIELD,
    FLOW_RESUME,
    FLOW_START,         /* the RESUME of a call: what comes before is another code object's */
    FLOW_END_ASYNC_FOR, /* raises again what does not end the loop */
    FLOW_CLEANUP_THROW, /* raises again what does not end an await or yield from */
    FLOW_NOT_TAKEN,     /* of 3.14: where a branch falls to; its event tells the unit after it */
    FLOW_EXTENDED
};

enum flow_state {
    FLOW_FALL_SEEN = 1,
    FLOW_JUMP_SEEN = 2,
    FLOW_LEFT = FLOW_JUMP_SEEN, /* of a return: its event came */
    FLOW_FALL_PROVEN = 4,
    FLOW_JUMP_PROVEN = 8,
    FLOW_PAIRED = 16, /* in a pair */
    FLOW_SEEN = 64,   /* its LINE event came */
    FLOW_QUIET = 32   /* cannot raise */
};

struct flow_unit {
    int32_t line;  /* 0: none */
    int32_t from;  /* the only other line that this unit is entered from; not above 0: none known, or several */
    uint32_t next; /* unit after this instruction and its caches */
    uint32_t jump; /* of a jump or branch: its target */
    uint8_t kind;  /* enum flow_kind */
    uint8_t state; /* enum flow_state */
};

struct flow_pair {
    uint32_t begin; /* unit of a LINE event, or where a branch leads */
    uint32_t end;   /* unit of a LINE event, or without a line and leaving */
    int32_t line;   /* of the begin */
    bool by_branch;
    bool proven;
    const void *frame; /* that was at the begin and has not raised since; to compare only */
};

struct flow {
    uint32_t n;
    uint32_t n_pairs;
    struct flow_pair *pairs; /* owned */
    struct flow_unit units[];
};

/* opmap: dict of names and numbers, as opcode.opmap. -1 with an exception set. */
int flow_init(PyObject *opmap);

/* flow_read.c: the units alone, nothing analysed. Owned by the caller; NULL with an exception set. */
struct flow *flow_read(PyCodeObject *code);

/* The lines of each expression over more than one: first and last. What only marks a place (`try:`) is passed over. */
void flow_each_span(const struct flow *flow, PyCodeObject *code, void (*visit)(int32_t first, int32_t last, void *data),
                    void *data);

/* Owned by the caller; NULL with an exception set. */
struct flow *flow_new(PyCodeObject *code);
void flow_free(struct flow *flow);

/* The LINE event of unit `at`. prove: called for each arc that it proves. False: the event is not needed any more. */
bool flow_reached(struct flow *flow, uint32_t at, const void *frame,
                  void (*prove)(int32_t from, int32_t to, void *data), void *data);

/* Which way the branch at unit `at` has taken, by the destination that its event tells: FLOW_FALL_SEEN, FLOW_JUMP_SEEN. */
enum flow_state flow_way(const struct flow *flow, uint32_t at, uint32_t to);

/* A branch has led to unit `to`. False: no LINE event has to follow for a proof. */
bool flow_branched(struct flow *flow, uint32_t to, const void *frame);

/* An exception has come from the frame, or into it. */
void flow_raised(struct flow *flow, const void *frame);

/* The line that has run last when the frame is at unit `at`. 0: not known. raised: in it when the last exception came. */
int32_t flow_line_before(const struct flow *flow, uint32_t at, const void *frame, int32_t raised);

/* A new context begins: nothing has been seen. */
void flow_forget(struct flow *flow);

/* The instruction that begins at unit `at`, behind its EXTENDED_ARGs. */
static inline const struct flow_unit *flow_instruction(const struct flow *flow, uint32_t at)
{
    while (flow->units[at].kind == FLOW_EXTENDED && flow->units[at].next < flow->n)
        at = flow->units[at].next;
    return &flow->units[at];
}

enum { FLOW_NO_LINE = 0 };

/* The first line other than `line` that is surely reached from unit `at`; FLOW_NO_LINE. */
int32_t flow_trail(const struct flow *flow, int32_t line, uint32_t at);

/* The largest line number in a code object's line table; 0: it has no lines. */
int32_t flow_last_line(PyCodeObject *code);

/* Where flow_line_at stands in a line table. Zeroed at first; keeps one code object. */
struct flow_cursor {
    PyObject *code; /* owned */
    const uint8_t *next;
    int32_t line;        /* of the entry before next, whether it has one or not */
    uint32_t first, end; /* units of the entry before next */
    int32_t found;       /* its line; 0: none */
};

/* The line of an instruction, 0: none. Quick for units that come in ascending order; PyCode_Addr2Line begins anew each time. */
int32_t flow_line_at(struct flow_cursor *cursor, PyCodeObject *code, uint32_t unit);

#endif
