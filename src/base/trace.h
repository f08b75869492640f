/*
 * trace.h - what hasten did and when, for tests and for people who look for lost time: HASTEN_TRACE=file.
 *
 * The file holds one JSON object a line, in every process of a run the same file:
 *     {"t":81234567890,"pid":4711,"ev":"test_start","slot":3,"item":17}
 * t is clock_now_ns(), the same clock in every process. A line is one write() to a file opened with O_APPEND, so lines
 * of several processes do not mix. A line that cannot be written is lost: tracing never makes a run fail.
 *
 *     trace_event("test_start", TRACE_U64("slot", slot), TRACE_TEXT("id", id));
 *
 * costs one load and one branch while tracing is off; the fields are not evaluated then.
 */
#ifndef HASTEN_TRACE_H
#define HASTEN_TRACE_H

#include "base/base.h"

enum trace_kind { TRACE_IS_NAME, TRACE_IS_U64, TRACE_IS_I64, TRACE_IS_BOOL, TRACE_IS_TEXT };

struct trace_field {
    const char *name; /* borrowed, plain ASCII */
    enum trace_kind kind;
    uint64_t number;
    const char *text; /* borrowed; NULL is written as null */
    size_t len;       /* of text; SIZE_MAX: it ends with NUL */
};

#define TRACE_U64(key, value) ((struct trace_field){.name = (key), .kind = TRACE_IS_U64, .number = (uint64_t)(value)})
#define TRACE_I64(key, value) ((struct trace_field){.name = (key), .kind = TRACE_IS_I64, .number = (uint64_t)(value)})
#define TRACE_BOOL(key, value) ((struct trace_field){.name = (key), .kind = TRACE_IS_BOOL, .number = (value) ? 1 : 0})
#define TRACE_TEXT(key, value) TRACE_BYTES(key, value, SIZE_MAX)
#define TRACE_BYTES(key, value, n) \
    ((struct trace_field){.name = (key), .kind = TRACE_IS_TEXT, .text = (value), .len = (n)})

extern int trace_fd; /* -1: off. Only trace.c writes it */

/* Starts tracing into path (made if it is not there, added to if it is). NULL or "": off. 0, or -errno and off. */
int trace_open(const char *path);
void trace_close(void);

static inline bool trace_on(void)
{
    return trace_fd >= 0;
}

/* fields[0] is the event's name; n counts it. */
void trace_write(const struct trace_field *fields, size_t n);

#define trace_event(event, ...)                                                                        \
    (trace_on() ? trace_write((const struct trace_field[]){{.name = (event)}, ##__VA_ARGS__},          \
                              sizeof((const struct trace_field[]){{.name = (event)}, ##__VA_ARGS__}) / \
                                  sizeof(struct trace_field))                                          \
                : (void)0)

#endif
