/*
 * borrow.h - one terminal, several process groups in its background: who has the lock is in the foreground.
 *
 * A process in the background that reads from its terminal, or sets it up, is stopped by the kernel (SIGTTIN, SIGTTOU).
 * borrow_when_read answers these signals by borrowing the terminal, so that the call goes on as if nothing had been.
 */
#ifndef HASTEN_BORROW_H
#define HASTEN_BORROW_H

#include "base/base.h"

/*
 * tty: a descriptor of the terminal, or of something else, which then needs no owner; borrowed for as long as this
 * process lives. lock_path: of a file that all borrowers share; copied. told: hears when this process begins to wait for
 * the terminal (true) and when it has given it back (false); async-signal-safe. Forked children may open it anew.
 */
void borrow_open(int tty, const char *lock_path, void (*told)(bool on));

/* Waits until nobody else has it. No effect when it is borrowed already. 0, or -errno. Async-signal-safe. */
int borrow_take(void);

/* Has this process, or the one that it was forked from, borrowed it? */
bool borrow_is_taken(void);

/* True when it was borrowed. The terminal is again of those who had it before. */
bool borrow_give(void);

/* From here on in this process, until the suite sets handlers of its own. 0, or -errno. */
int borrow_when_read(void);

#endif
