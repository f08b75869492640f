/*
 * region.h - the text of the live region: a view of the run as at most 8 rows. Pure: no clock, no terminal.
 *
 * Row 1: bar, done/total, percent, failed, skipped, time, time left; on a narrow terminal on two rows. Then one row for
 * each worker whose test has been running for more than a second, longest first, as far as they fit.
 */
#ifndef HASTEN_REGION_H
#define HASTEN_REGION_H

#include "base/str.h"
#include "run/view.h"

#define REGION_MAX_ROWS 8

struct region_options {
    uint32_t columns; /* > 0; a row takes one cell less, so that the cursor never waits to wrap */
    uint32_t rows;    /* of the terminal; half of them at most are used */
    bool colour;
    bool utf8;
};

/* Adds the rows to out, separated by '\n'. Returns their number; 0 where there is no room for any. */
uint32_t region_render(struct str *out, const struct run_view *view, const struct region_options *options);

#endif
