/*
 * line.h - the live region at the bottom of a terminal, and everything printed above it.
 *
 * Whoever shares the terminal writes through line_output, so that this file alone decides where the cursor is. For the
 * same reason keys must not be echoed while a region may be shown (os/term.h, term_raw): an echoed Enter moves the cursor
 * and would leave a row of the region behind.
 *
 * Promises:
 * - Every byte given to line_output is written, at once, in order and unchanged; only sequences of ours come between.
 * - After line_clear the screen and what was scrolled off it hold what they would hold if the region had never been.
 * - The region is drawn only when the output is at a place that can be left and found again: not in the middle of an
 *   escape sequence or a character, not above output of its own (ui/scan.h). A partial line does not hinder: the
 *   region stands below it, and the cursor rests at its end. Otherwise the drawing waits for the next output.
 * - One write(2) for each call that has something to write.
 *
 * How: the cursor always rests where the output goes on, and the region lies below (at it, when its row is empty). So
 * erasing needs no memory of the region's size and survives a resize: clear from there to the end of the screen.
 */
#ifndef HASTEN_LINE_H
#define HASTEN_LINE_H

#include "base/str.h"
#include "run/view.h"
#include "ui/scan.h"

struct line_options {
    int fd;    /* borrowed */
    bool live; /* false: no terminal, or a dumb one; then output passes through and nothing is drawn */
    bool colour;
    bool utf8;
    uint32_t columns;
    uint32_t rows; /* 0: 24 */
};

struct line {
    struct line_options options;
    struct scan scan;
    struct str wanted; /* owned: the rows to show, separated by '\n', from the last line_draw */
    uint32_t n_wanted;
    bool shown;         /* the region is on the screen ... */
    bool shown_at_row;  /* ... and begins at the cursor's row, not at the next */
    struct str render;  /* owned: scratch */
    struct str pending; /* owned: the bytes of one update */
    int trouble;        /* -errno of the first failed write; after it nothing is written any more */
};

/* The cursor is taken to be at the start of an empty row at the end of the output. */
void line_init(struct line *line, const struct line_options *options);
void line_release(struct line *line); /* memory only: line_clear comes first */

void line_output(struct line *line, const char *bytes, size_t n);

/* Shows view from now on; the caller limits the rate (10 a second are pleasant). Unchanged text is not written again. */
void line_draw(struct line *line, const struct run_view *view);

/* Takes the region off the screen until the next line_draw. */
void line_clear(struct line *line);

/* The terminal has this size now. Takes the region off the screen: line_draw comes next. */
void line_resize(struct line *line, uint32_t columns, uint32_t rows);

#endif
