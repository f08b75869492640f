/* units.h - numbers as people read them. Every function fills and returns the caller's buffer. */
#ifndef HASTEN_UNITS_H
#define HASTEN_UNITS_H

#include "base/base.h"

#define UNITS_SIZE 32

/* "<1 ms", "850 ms", "4.2 s", "1 min 05 s", "1 h 02 min". Never "60.0 s" or "1000 ms". */
const char *units_duration(char text[UNITS_SIZE], uint64_t ns);

/* The same for estimates, without false precision: "1 s" at least, "12 s", "1 min 05 s", "12 min", "1 h 02 min". */
const char *units_about(char text[UNITS_SIZE], uint64_t ns);

/* "1,234,567" */
const char *units_count(char text[UNITS_SIZE], uint64_t n);

#endif
