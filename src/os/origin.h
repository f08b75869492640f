/* origin.h - is this still the process that said so, or a child that it has forked? Asked without a system call. */
#ifndef HASTEN_ORIGIN_H
#define HASTEN_ORIGIN_H

#include "base/base.h"

/* This process is it, from now on. */
void origin_mark(void);

/* False in a forked child of the process that called origin_mark, and before that. */
bool origin_is_here(void);

#endif
