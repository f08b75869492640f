/*
 * term.h - terminals: what this one can do, raw input that is always undone, and pseudo-terminals for children.
 *
 * Functions that can fail return 0 or -errno. Nothing is printed here.
 */
#ifndef HASTEN_TERM_H
#define HASTEN_TERM_H

#include "base/base.h"

struct term_size {
    uint32_t columns;
    uint32_t rows;
};

bool term_is_tty(int fd);

/* This process may change fd's terminal: it is not in the background of a shell. True for what is no terminal of ours. */
bool term_is_foreground(int fd);

/* TERM is unset, empty or "dumb": no cursor movement, so no live region. */
bool term_is_dumb(void);

/*
 * Colours on fd: PY_COLORS=1 or 0 decides (pytest's own switch), then NO_COLOR (not empty: no), then FORCE_COLOR (not
 * empty) or CLICOLOR_FORCE (not "0"): yes; otherwise a terminal that is not dumb. The order is pytest's, so that one
 * run does not mix coloured and plain parts.
 */
bool term_has_colour(int fd);

/* The locale's characters are UTF-8: first of LC_ALL, LC_CTYPE, LANG that is set. Does not call setlocale(). */
bool term_is_utf8(void);

/*
 * Size now; to be asked again after each SIGWINCH. What the kernel does not know (0) comes from COLUMNS and LINES,
 * else 80x24; never 0. -errno (then 80x24 or the variables, too) when fd is no terminal.
 */
int term_size(int fd, struct term_size *size);
int term_set_size(int fd, struct term_size size); /* either side of a pseudo-terminal; its programs get SIGWINCH */

/*
 * Keys one by one, not echoed; with keys_signal, Ctrl-C and the like still send signals. Output processing is left as
 * it is. One terminal at a time. Undone by term_restore, at exit, and by signals that end the process if they had
 * their default action (SIGHUP INT QUIT TERM SEGV BUS ILL FPE ABRT SYS XCPU XFSZ); SIGTSTP and SIGCONT undo and redo
 * it. A forked child leaves its parent's terminal alone. SIGKILL cannot be helped.
 */
int term_raw(int fd, bool keys_signal);
void term_restore(void); /* no-op when nothing is to be undone; safe in a signal handler */

/*
 * A pseudo-terminal, both ends close-on-exec. Its slave becomes 0, 1 and 2 of a child that calls term_adopt first.
 * The master reads EIO after the last holder of the slave has closed it: that is its end of file.
 */
int term_open_pty(int *master, int *slave, struct term_size size);

/* In a child, before exec: a new session whose controlling terminal is slave. Only async-signal-safe calls. */
int term_adopt(int slave);

/* Writes all of it, waiting when the terminal is stopped or fd is non-blocking. */
int term_write(int fd, const void *bytes, size_t n);

#endif
