/*
 * native.h - the functions of hasten._native, one table per source file.
 *
 * State is per process, not per interpreter: a process plays one role of one run. Everything is called from the main
 * thread with the GIL held, and gives the GIL up while it waits.
 */
#ifndef HASTEN_NATIVE_H
#define HASTEN_NATIVE_H

#include "py/compat.h"

extern PyMethodDef channel_methods[];       /* channel.c: messages and memory files */
extern PyMethodDef worker_methods[];        /* link.c: take tests, publish results */
extern PyMethodDef loop_methods[];          /* loop.c: which test runs, which comes next */
extern PyMethodDef fuse_methods[];          /* fuse.c: a test's three phases */
extern PyMethodDef multicall_methods[];     /* multicall.c: pluggy's inner hook call */
extern PyMethodDef plain_methods[];         /* plain.c: the usual result */
extern PyMethodDef template_methods[];      /* fork.c: the template's loop */
extern PyMethodDef journal_methods[];       /* tail.c: the reporter reads the journal */
extern PyMethodDef terminal_methods[];      /* terminal.c: a worker borrows the terminal */
extern PyMethodDef passed_methods[];        /* passed.c: tests that passed and have nothing to say */
extern PyMethodDef collector_methods[];     /* collector.c: what was there before the fork stays out of gc */
extern PyMethodDef memory_methods[];        /* memory.c: the memory of a run's coverage */
extern PyMethodDef monitor_methods[];       /* monitor.c: coverage by events of sys.monitoring */
extern PyMethodDef monitor_tests_methods[]; /* monitor_tests.c: its contexts by test functions */
extern PyMethodDef covered_methods[];       /* covered.c: what it collected, for coverage.py */
extern PyMethodDef covered_write_methods[]; /* covered_write.c: and into its data file */
extern PyMethodDef collect_methods[];       /* collect.c: caches and items of collection */
extern PyMethodDef importwatch_methods[];   /* importwatch.c: what imports cost */
extern PyMethodDef database_methods[];      /* database.c: workers' databases */
extern PyMethodDef lease_methods[];         /* leased.c: exclusive things */

#endif
