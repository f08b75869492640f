/*
 * record.h - the one record of a run: what a worker publishes in its ring, what the journal keeps, what the reporter
 * reads. Native byte order; 64 bytes, then `size` bytes of payload, then zero bytes up to a multiple of 8.
 *
 *      0  u32 size          payload bytes
 *      4  u32 crc           CRC-32C of bytes 8..63 and the payload; 0 in a ring (memory needs none)
 *      8  u16 type          enum record_type
 *     10  u16 outcome       enum record_outcome
 *     12  u32 flags         enum record_flags
 *     16  u32 item          index in the catalog, RECORD_NO_ITEM when none
 *     20  u32 slot          worker slot, RECORD_NO_SLOT when none
 *     24  u64 start_ns      wall clock at the start of set-up
 *     32  u64 setup_ns      durations of the three phases; sums when a phase was reported more than once
 *     40  u64 call_ns
 *     48  u64 teardown_ns
 *     56  u64 serial        1, 2, 3 ... in the journal; 0 in a ring
 *
 * The payload is opaque to C (python/hasten/wire.py writes and reads it), except for RECORD_HEADER.
 */
#ifndef HASTEN_RECORD_H
#define HASTEN_RECORD_H

#include "base/base.h"

#define RECORD_NO_ITEM UINT32_MAX
#define RECORD_NO_SLOT UINT32_MAX
#define RECORD_MAX_PAYLOAD (1u << 30)

enum record_type {
    RECORD_HEADER = 1, /* journal only, first: payload is text "key=value\n" (hasten, run, args, rootdir, started) */
    RECORD_CATALOG,    /* payload: the catalog (store/catalog.h) */
    RECORD_NODE_UP,    /* a worker starts; payload: empty */
    RECORD_TEST,       /* one finished test: every report of it, or none for RECORD_PLAIN */
    RECORD_CRASH,      /* the worker died while it ran item; payload: text for people */
    RECORD_EXTRA,      /* reports or warnings outside of any test */
    RECORD_NODE_DOWN,  /* a worker has ended; payload: its workeroutput, or empty when it died */
    RECORD_INTERRUPT,  /* the run is stopped; payload: "kind\nexit status or nothing\nmessage" */
    RECORD_NOTE,       /* one line of text of ours for people */
    RECORD_END, /* every item has a result or the run was stopped; nothing follows. call_ns: the supervisor's CPU */
};

enum record_outcome {
    OUTCOME_NONE = 0,
    OUTCOME_PASSED,
    OUTCOME_FAILED,
    OUTCOME_ERROR, /* failed in set-up or teardown */
    OUTCOME_SKIPPED,
    OUTCOME_XFAILED,
    OUTCOME_XPASSED,
    OUTCOME_CRASHED,
    OUTCOME_TIMEOUT,
    OUTCOME_RERUN, /* the last attempt was reported as rerun by a plugin */
    OUTCOME_COUNT
};

enum record_flags {
    RECORD_PLAIN = 1,   /* three passed reports with nothing in them: rebuilt from the catalog and the durations */
    RECORD_RESUMED = 2, /* copied from the journal of an earlier run */
    RECORD_AFTER = 8,   /* a crash when the test had its result: in what follows a worker's last test */
    RECORD_MORE = 4,    /* ring only: the payload goes on in the next record of this ring */
};

struct record {
    uint32_t size;
    uint32_t crc;
    uint16_t type;
    uint16_t outcome;
    uint32_t flags;
    uint32_t item;
    uint32_t slot;
    uint64_t start_ns;
    uint64_t setup_ns;
    uint64_t call_ns;
    uint64_t teardown_ns;
    uint64_t serial;
};

_Static_assert(sizeof(struct record) == 64, "record.h says 64 bytes");

static inline size_t record_span(const struct record *r) /* bytes with payload and padding */
{
    return sizeof *r + (((size_t)r->size + 7) & ~(size_t)7);
}

const char *outcome_name(enum record_outcome outcome); /* "passed", ...; static */

#endif
