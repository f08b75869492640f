/*
 * wire.h - the messages between the supervisor (S), the reporter (R), the template (Z) and workers (W).
 *
 * Few per run and none per test: results go through the rings (ring.h). R and Z each have a channel (os/chan.h) to S;
 * every worker gets one with its WIRE_FORK, whose other end only S holds: its end of file is how a worker learns that S
 * is gone. Blobs travel as descriptors of memory files.
 */
#ifndef HASTEN_WIRE_H
#define HASTEN_WIRE_H

enum wire_type {
    /* R -> S */
    WIRE_CONFIG = 1, /* data: "key=value\n" lines, see run/options.h */
    WIRE_INPUTS,     /* fd: pickled list of workerinput, one for each slot. S passes it on to Z */
    WIRE_STOP,       /* start no more tests; data: why */
    WIRE_PLAIN,      /* this process runs everything itself; data: why */
    WIRE_ASKS,       /* a: enum wire_asks, before WIRE_INPUTS: what this side answers when the run has come so far */
    WIRE_GROUPS,     /* fd: u32 for each test of the catalog: its group; a: 0 when there are none after all */
    WIRE_CRASH_SEEN, /* a: item whose crash was reported; b: enum wire_crash */
    WIRE_BYE,        /* pytest has come to its end and this process leaves with the status that it gave */
    /* Z or W -> S */
    WIRE_CATALOG, /* fd: catalog (store/catalog.h); a: 1 when no test may run (collection errors, nothing to do);
                        b: 1 when the template has something to tear down before the run ends */
    WIRE_EXTRA,   /* fd: payload of a RECORD_EXTRA: what was collected before WIRE_ABORT, a failed last teardown */
    WIRE_ABORT,   /* fd: payload of a RECORD_INTERRUPT: collection could not end */
    WIRE_EARLY,   /* this suite needs the early start; data: why, one line */
    WIRE_FORKED,  /* slot, a: pid */
    WIRE_EXITED,  /* slot, a: pid, b: wait status */
    WIRE_MISSING, /* W not forked from the first template: a: tests of the catalog that it does not have */
    WIRE_HELLO,   /* Z: waits for WIRE_SEGMENT and WIRE_INPUTS; a: pid */
    WIRE_COLLECT, /* Z: how tests are collected, a: enum wire_collect, b: 1 when the next runs
                     shall know; data: why, one line */
    WIRE_PARTS,   /* Z, before WIRE_CATALOG: several processes have collected it. fd: u32 for each test, its part: the
                     process that can fork workers for it; a: how many parts. WIRE_FORK's a names one of them */
    /* S -> Z or W */
    WIRE_SEGMENT, /* fd: segment.h */
    WIRE_PLAN,    /* fd: plan table, see segment.h */
    WIRE_FORK,    /* slot, a: part, fd: the worker's channel */
    WIRE_QUIT,    /* nothing more to do; a: 1 when a worker has ended the session properly */
    /* S -> R */
    WIRE_JOURNAL, /* fd: the journal; replaces an earlier one at the same offsets */
    WIRE_ADVANCE, /* a: valid bytes of the journal */
};

enum wire_asks {
    WIRE_ASKS_GROUPS = 1,  /* WIRE_GROUPS follows the catalog: a plugin's scheduler decides what stays together */
    WIRE_ASKS_CRASHES = 2, /* WIRE_CRASH_SEEN follows every crash; --maxfail counts crashes there */
};

enum wire_collect {
    WIRE_COLLECT_ONCE,     /* by one process */
    WIRE_COLLECT_PARALLEL, /* by several */
    WIRE_COLLECT_ANEW,     /* several have begun and cannot be as one: this template ends, another one collects alone */
};

enum wire_crash { WIRE_CRASH_STANDS, WIRE_CRASH_AGAIN };

#endif
