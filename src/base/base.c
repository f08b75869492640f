#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hs_check_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "hasten: internal check failed: %s (%s:%d); please report it\n", what, file, line);
    abort();
}

static HS_NORETURN void out_of_memory(size_t size)
{
    fprintf(stderr, "hasten: out of memory (%zu bytes wanted)\n", size);
    abort();
}

void *hs_alloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);

    if (!p)
        out_of_memory(size);
    return p;
}

void *hs_realloc(void *old, size_t size)
{
    void *p = realloc(old, size ? size : 1);

    if (!p)
        out_of_memory(size);
    return p;
}

char *hs_strdup(const char *text)
{
    const size_t n = strlen(text) + 1;

    return memcpy(hs_alloc(n), text, n);
}
