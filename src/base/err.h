/*
 * err.h - one printable line that says what went wrong and what to do next.
 *
 * A fallible function returns 0 or -1 and takes `struct err *err` last. On -1 *err holds one line: lower-case first
 * word, no full stop. On 0 it is untouched. Only cmd/ and ui/ print it.
 */
#ifndef HASTEN_ERR_H
#define HASTEN_ERR_H

#include "base/base.h"

struct err {
    int sys; /* errno at the failure, 0 when no system call was involved */
    char text[480];
};

int err_set(struct err *err, const char *fmt, ...) HS_PRINTF(2, 3); /* always returns -1 */
/* same; appends strerror(code), code > 0 */
int err_sys(struct err *err, int code, const char *fmt, ...) HS_PRINTF(3, 4);

#endif
