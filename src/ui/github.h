/*
 * github.h - annotations of GitHub Actions: a line on stdout that the runner shows at a file's line in the review.
 *
 * GitHub shows ten errors of a step and drops the rest: the caller need not write more.
 */
#ifndef HASTEN_GITHUB_H
#define HASTEN_GITHUB_H

#include "base/str.h"

struct github_annotation {
    const char *path;  /* from the top of the repository; NULL: none */
    uint32_t line;     /* from 1; 0: none */
    const char *title; /* NULL: none */
    const char *message; /* any text; its lines are kept */
};

bool github_is_on(void); /* GITHUB_ACTIONS=true */

/* "::error file=...,line=...,title=...::message" and a newline, with everything escaped that would end a part early. */
void github_add_error(struct str *out, const struct github_annotation *annotation);

#endif
