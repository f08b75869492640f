/*
 * report.h - what hasten says after pytest's own summary: how long the run took, what one worker would have needed, and
 * where the rest of the time went.
 *
 *     hasten: 4.2 s; one worker would take about 12.9 s (3.1x); 4 workers, 6% idle; slowest: 1.2 s tests/test_x.py::test_y
 *
 * The comparison is left out where the run was not faster. One line; the slowest tests go to a second one where they do not fit. On a narrow terminal parts are left out.
 */
#ifndef HASTEN_REPORT_H
#define HASTEN_REPORT_H

#include "base/str.h"

#define REPORT_SLOWEST 3

struct report_test {
    const char *node_id; /* borrowed, not NUL-terminated, any bytes */
    size_t node_id_len;
    uint64_t ns; /* all phases */
};

struct report_totals {
    uint64_t wall_ns;     /* of the whole run, as the user felt it */
    uint64_t tests_ns;    /* all phases of all tests, summed over workers */
    uint64_t start_up_ns; /* loading and collecting: one worker needs it too */
    uint64_t idle_ns;     /* summed over workers: time between the first and the last test without one */
    uint64_t worker_ns;   /* summed over workers: from their first test to the end of the last; > 0 when idle_ns is */
    uint32_t n_workers;
    uint32_t n_tests;                           /* that have run */
    struct report_test slowest[REPORT_SLOWEST]; /* longest first */
    uint32_t n_slowest;
};

struct report_options {
    uint32_t columns; /* 0: no limit (not a terminal) */
    bool colour;
    bool utf8;
};

/* Puts a test among the slowest where it belongs there. node_id stays borrowed. */
void report_add_test(struct report_totals *totals, const struct report_test *test);

/* Adds the lines, each with its newline; nothing when no test has run. */
void report_render(struct str *out, const struct report_totals *totals, const struct report_options *options);

#endif
