/*
 * scan.h - follows what printed bytes do to the cursor of a terminal, just enough to know two things: may something
 * of ours be drawn below the cursor now, and has the cursor left the line where it was.
 *
 * It is no terminal emulator: it keeps no cells. Where it is not sure (emoji whose width terminals disagree on,
 * absolute positions, another screen) it says "not quiet", and nothing is drawn until the next plain line.
 */
#ifndef HASTEN_SCAN_H
#define HASTEN_SCAN_H

#include "base/base.h"

#define SCAN_MAX_PARAMS 8

enum scan_state {
    SCAN_GROUND,
    SCAN_CHAR,    /* inside a UTF-8 character */
    SCAN_ESCAPE,  /* after ESC */
    SCAN_CHARSET, /* after ESC and some of space to '/': one more byte ends it */
    SCAN_CSI,     /* after ESC [ */
    SCAN_STRING,  /* OSC, DCS, APC, PM, SOS: until ST, CAN or SUB; OSC also until BEL */
};

struct scan {
    enum scan_state state;
    bool utf8;
    uint32_t columns;
    uint32_t rows;

    uint32_t column; /* of the cursor; == columns: a character stands in the last column, the next one wraps */
    bool certain;    /* column is what every terminal has */
    bool wrapped;    /* this line takes more than one row */
    bool blank;      /* the cursor is at the start of a row with nothing in it */
    uint32_t below;  /* rows below the cursor that may hold output (after cursor movements upwards) */

    bool other_screen;    /* the program has switched to the alternate screen */
    bool no_wrap;         /* it has switched automatic wrapping off */
    bool margins;         /* it has set a scroll region */
    bool saved;           /* it has saved the cursor on this line and will come back ... */
    uint32_t since_saved; /* ... up over this many rows at most */
    bool shifted;         /* line drawing characters are switched on */

    bool touched;   /* since scan_mark: anything but colours and the like was printed */
    bool left_line; /* since scan_mark: the cursor was moved to another row, or rows below were changed */

    uint32_t code;        /* SCAN_CHAR: bits so far */
    uint32_t char_left;   /* SCAN_CHAR: bytes missing */
    unsigned char marker; /* SCAN_CSI: '?', '>' ... or 0; else the first byte after ESC */
    uint32_t params[SCAN_MAX_PARAMS];
    uint32_t n_params;
};

/* The cursor is taken to be at the start of an empty row. columns, rows > 0. */
void scan_init(struct scan *scan, uint32_t columns, uint32_t rows, bool utf8);
void scan_resize(struct scan *scan, uint32_t columns, uint32_t rows);

void scan_mark(struct scan *scan); /* touched and left_line start anew */
void scan_feed(struct scan *scan, const char *bytes, size_t n);

/* True: rows below the cursor are free, and the cursor can be left and found again exactly. */
bool scan_is_quiet(const struct scan *scan);

#endif
