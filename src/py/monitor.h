/*
 * monitor.h - collects what runs, by events of sys.monitoring (CPython 3.12 and later), into shared memory (run/hits.h).
 *
 * One global event, PY_START, finds the code objects: once each, with the frame that coverage.py wants to see when it
 * decides whether their file counts. Code that counts gets local events, which switch themselves off where they have
 * said what there is to say; all other code runs as if nobody measured. With contexts, what is off has to be switched on
 * again for the next one, which costs as much as some 80 events (2.6 us beside 30 ns on CPython 3.13): so they are
 * switched off after that many in one context, and stay on else.
 *
 * What is known of a code object lies in its co_extra and dies with it; no code object is kept alive.
 */
#ifndef HASTEN_MONITOR_H
#define HASTEN_MONITOR_H

#include "py/flow.h"
#include "run/hits.h"

/* A file that counts, as this process sees it. Owned by the table of files, never freed. */
struct monitor_file {
    struct hits_file *shared;
    uint8_t *lines;        /* shared: its bits, without contexts */
    uint8_t **line_pieces; /* owned: with contexts, the pieces of the current one; NULL: not touched */
    uint8_t **arc_pieces;  /* owned */
    uint32_t n_line_pieces;
    uint32_t n_arc_pieces;
    char *path; /* owned */
    size_t path_size;
};

#define MONITOR_TOUCHED 24

/* A code object that counts. In its co_extra. */
struct monitor_code {
    struct monitor_file *file;
    struct flow *flow;   /* owned; NULL without arcs */
    int32_t first_line;  /* co_firstlineno */
    int32_t raised_line; /* that ran last when the last exception came from this code, or through it; 0: not known */
    bool announced;      /* its starts are events of their own, in each context */
    uint32_t session;    /* the monitor_open() that it belongs to; of an earlier one it means nothing */
    uint32_t switches;   /* contexts before the one in which it ran last, ... */
    uint32_t n_events;   /* ... and its events there */
    uint32_t asleep;     /* place in the list of those whose events are switched off; HITS_NONE: not there */

    uint32_t n_touched;                  /* units that have seen something in this context, ... */
    uint32_t touched[MONITOR_TOUCHED];   /* ... the first of them */
    const struct hits_file *numbered_in; /* whose numbers of arcs these are; NULL: none are known */
    uint32_t
        *numbers; /* owned: by place, see record_again(): 1 + that of the arc; 0: not known, HITS_NONE: there is none */
};

/* Unit `at` of its flow has seen that in this context; monitor_record.c: nothing has been seen, in the next one. */
static inline void monitor_touch(struct monitor_code *known, uint32_t at, uint8_t state)
{
    known->flow->units[at].state |= state;
    if (known->n_touched < MONITOR_TOUCHED)
        known->touched[known->n_touched] = at;
    known->n_touched++;
}

void monitor_forget(struct monitor_code *known);

/*
 * monitor_callback.c: an object that calls handle with an event's n_args arguments, the first of them a code object, while
 * *on (borrowed). Owned by the caller; NULL with an exception set.
 */
PyObject *monitor_callback(const bool *on, PyObject *(*handle)(PyObject *const *args), Py_ssize_t n_args);

/* monitor_tests.c: a code object's first start, which may be that of a test function. 0; -1 with an exception set. */
int monitor_test_starts(PyCodeObject *code);

/* monitor_record.c: writes what is proven. Nothing is answered: what finds no room is counted in the shared memory. */
struct monitor_sink {
    struct hits hits;
    uint32_t context; /* that is now; HITS_NONE: without contexts */
    uint8_t ***touched;
    uint32_t n_touched;
    uint32_t touched_room;
};

/* in_context: for the present context, else for the run as a whole. */
void record_line(struct monitor_sink *sink, struct monitor_file *file, int32_t line, bool in_context);
void record_arc(struct monitor_sink *sink, struct monitor_file *file, int32_t from, int32_t to, bool in_context);
void record_context(struct monitor_sink *sink, uint32_t context);

/*
 * The same for the two arcs that a unit's LINE event proves (2 * unit: to its line, 2 * unit + 1: from it), as their
 * numbers stay with the code object. again: false when it is not known yet what to record; first: when it is. 0 is no
 * line.
 */
bool record_again(struct monitor_sink *sink, struct monitor_code *known, uint32_t place);
void record_first(struct monitor_sink *sink, struct monitor_code *known, uint32_t place, int32_t from, int32_t to);

/* The file of that path, new or known to the shared memory; NULL: no room. last_line: the largest that is expected. */
struct monitor_file *record_file(struct monitor_sink *sink, const char *path, size_t size, int32_t last_line,
                                 bool arcs);

#endif
