/* spawn.h - start a program: arguments, additions to the environment, descriptors that stay open, a terminal. */
#ifndef HASTEN_SPAWN_H
#define HASTEN_SPAWN_H

#include "base/base.h"

struct spawn_options {
    char *const *argv;      /* NULL-terminated; argv[0] is looked up in PATH when it has no slash */
    const char *const *env; /* "NAME=value" additions, NULL-terminated; NULL: none */
    const int *keep;        /* descriptors that the program inherits under the same number; -1 entries are skipped */
    size_t n_keep;
    int terminal;          /* slave of a pseudo-terminal: new session, becomes 0, 1, 2; -1: ours are inherited */
    bool own_group;        /* a process group of its own, so that the terminal's signals reach us alone */
    const char *log;       /* file that becomes 1 and 2, added to; 0 is /dev/null then; NULL: ours are inherited */
    int out;               /* becomes 1 and 2, 0 is /dev/null then; 0: not wanted (a log is the other way) */
    const char *folder;    /* where it runs; NULL: here */
    uint32_t user, group;  /* who it is; user 0: who we are */
    bool ends_with_parent; /* SIGQUIT when this process ends, where the kernel can do that */
};

/* 0 and *pid, or -errno: also when the program could not be executed (-ENOENT, -EACCES ...). */
int spawn(const struct spawn_options *options, int *pid);

#endif
