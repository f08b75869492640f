/*
 * base.h - what every file of hasten includes first: integer types, attributes, HS_CHECK.
 *
 * HS_CHECK is for promises of our own (never for bad input): it aborts in release builds too, so that a supervisor
 * sees a signal and not a wrong result.
 */
#ifndef HASTEN_BASE_H
#define HASTEN_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define HS_NORETURN __attribute__((noreturn))
#define HS_UNUSED __attribute__((unused))
#define HS_COUNT(array) (sizeof(array) / sizeof((array)[0]))

HS_NORETURN void hs_check_failed(const char *what, const char *file, int line);

#define HS_CHECK(condition) ((condition) ? (void)0 : hs_check_failed(#condition, __FILE__, __LINE__))

/* Memory that cannot be had ends the process with one line: there is no result to protect that the journal lacks. */
void *hs_alloc(size_t size);              /* zeroed, owned by the caller */
void *hs_realloc(void *old, size_t size); /* never NULL for size > 0 */
char *hs_strdup(const char *text);        /* owned by the caller */

#endif
