/* ask.h - the other side of keep.h: starts a keeper, asks it, ends it. */
#ifndef HASTEN_DB_ASK_H
#define HASTEN_DB_ASK_H

#include "base/err.h"
#include "base/str.h"

/* Runs argv, a keeper, in a session of its own. 0 with its pid and its facts (keep.h); -1: err is what it said. */
int ask_start(char *const *argv, int *pid, struct str *facts, struct err *err);

/* One request, a line without its end; waits for the answer. -1: nobody answers. */
int ask(const char *control, const char *request, struct str *answer, struct err *err);

/* Tells our child `pid` to end and waits for that, for limit_ms at most. True when it has ended. */
bool ask_end(int pid, int limit_ms);

#endif
