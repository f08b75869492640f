/*
 * resp.h - asks a Redis server: one command and its reply, over a Unix socket, in the protocol that all versions speak
 * (RESP2).
 */
#ifndef HASTEN_DB_RESP_H
#define HASTEN_DB_RESP_H

#include "base/err.h"
#include "base/str.h"

/* A descriptor, or -1. A server that is silent for limit_s later on has failed. */
int resp_open(const char *path, int limit_s, struct err *err);

/*
 * Sends words (NULL-terminated) and waits for the reply: each of its texts and numbers, of nested lists too, is added to
 * values with a NUL after it. values NULL: not wanted. -1: the server said an error, or nothing more.
 */
int resp_call(int fd, const char *const *words, struct str *values, struct err *err);

#endif
