#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void str_release(struct str *s)
{
    free(s->data);
    *s = (struct str)STR_INIT;
}

void str_reset(struct str *s)
{
    s->len = 0;
    if (s->data)
        s->data[0] = '\0';
}

void str_reserve(struct str *s, size_t extra)
{
    size_t cap = s->cap ? s->cap : 64;

    if (s->len + extra + 1 <= s->cap)
        return;
    while (cap < s->len + extra + 1)
        cap *= 2;
    s->data = hs_realloc(s->data, cap);
    s->data[s->len] = '\0';
    s->cap = cap;
}

void str_add(struct str *s, const void *bytes, size_t n)
{
    str_reserve(s, n);
    if (n)
        memcpy(s->data + s->len, bytes, n);
    s->len += n;
    s->data[s->len] = '\0';
}

void str_puts(struct str *s, const char *text)
{
    str_add(s, text, strlen(text));
}

void str_addf(struct str *s, const char *fmt, ...)
{
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    HS_CHECK(n >= 0);
    str_reserve(s, (size_t)n);
    va_start(args, fmt);
    vsnprintf(s->data + s->len, (size_t)n + 1, fmt, args);
    va_end(args);
    s->len += (size_t)n;
}

const char *str_text(const struct str *s)
{
    return s->data ? s->data : "";
}
