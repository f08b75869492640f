/* clock.h - time, in nanoseconds. clock_now_ns is CLOCK_MONOTONIC and the same in every process of the machine. */
#ifndef HASTEN_CLOCK_H
#define HASTEN_CLOCK_H

#include "base/base.h"

uint64_t clock_now_ns(void);  /* monotonic; the clock that tests may replace */
uint64_t clock_wall_ns(void); /* since 1970 */
uint64_t clock_cpu_ns(void);  /* user and system time of this process */

/* Tests only: from now on clock_now_ns answers *fake. NULL goes back to the kernel's clock. Borrowed. */
void clock_fake(const uint64_t *fake);

#endif
