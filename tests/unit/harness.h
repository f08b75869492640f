/*
 * harness.h - what every unit test includes: cmocka in its right order, children by fork, a clock that stands still.
 *
 * A cmocka assertion that fails in a forked child jumps into the parent's runner inside the child, which then runs the
 * remaining tests there while the parent reports success. So a child never asserts: it is a function that answers a
 * status, it ends with _exit(status), and the parent asserts on that.
 */
#ifndef HASTEN_HARNESS_H
#define HASTEN_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"

#include <sys/types.h>

/* In a child: leaves its function with status (1..125) when the condition does not hold, and says so on stderr. */
#define CHILD_CHECK(condition)                                   \
    do {                                                         \
        if (!(condition))                                        \
            return child_failed(#condition, __FILE__, __LINE__); \
    } while (0)

int child_failed(const char *what, const char *file, int line); /* prints, answers 99 */

/* Runs body(arg) in a forked child that ends with _exit(its answer). Returns the child's pid; never -1. */
pid_t child_start(int (*body)(void *arg), void *arg);

/* Waits for the child: its exit status, or 128 + the signal that ended it. A child that takes 30 s is killed: 137. */
int child_wait(pid_t pid);

/* child_wait(child_start(body, arg)) */
int child_run(int (*body)(void *arg), void *arg);

/* From here to clock_resume(), clock_now_ns() answers the time set here. */
void clock_stop_at(uint64_t now_ns);
void clock_advance(uint64_t by_ns);
void clock_resume(void);

/* A new empty folder under $TMPDIR; removed, with all in it, by scratch_remove. Owned; never NULL. */
char *scratch_make(void);
void scratch_remove(char *path);

/* How many times slower this process is than by itself (HASTEN_TEST_SLOWER, set by `make memcheck`); for limits of time. */
uint64_t harness_slower(void);

#endif
