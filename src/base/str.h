/* str.h - a growable byte string, always NUL-terminated after the first add. Memory that cannot be had aborts (base.h). */
#ifndef HASTEN_STR_H
#define HASTEN_STR_H

#include "base/base.h"

struct str {
    char *data; /* owned; NULL while nothing was added */
    size_t len;
    size_t cap;
};

#define STR_INIT {0}

void str_release(struct str *s);               /* frees; s is as STR_INIT again */
void str_reset(struct str *s);                 /* length 0, memory kept */
void str_reserve(struct str *s, size_t extra); /* room for extra more bytes and the NUL */
void str_add(struct str *s, const void *bytes, size_t n);
void str_puts(struct str *s, const char *text);
void str_addf(struct str *s, const char *fmt, ...) HS_PRINTF(2, 3);
const char *str_text(const struct str *s); /* never NULL; borrowed until the next change */

#endif
