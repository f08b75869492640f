/* redis_own.h - one server of redis.c: its process, and what it is asked. */
#ifndef HASTEN_DB_REDIS_OWN_H
#define HASTEN_DB_REDIS_OWN_H

#include "db/redis.h"

struct redis_instance {
    char name[DB_NAME_SIZE]; /* of its worker */
    int pid;                 /* 0: it does not run */
    struct str settings;     /* owned: CONFIG GET's names and values as they were in the beginning, a NUL after each */
    struct str rest;         /* owned: users and modules, the same */
};

/* With a copy of redis->source; takes commands when this returns 0. */
int redis_instance_start(struct redis *redis, struct redis_instance *instance, struct err *err);
void redis_instance_end(struct redis *redis, struct redis_instance *instance); /* at once; nothing is written */

/* -1 with how it ended, once; its pid is 0 then. */
int redis_instance_check(struct redis_instance *instance, struct err *err);

/* As after its start: data, functions, scripts, settings. -1: only a new process could be that. */
int redis_instance_clean(struct redis *redis, struct redis_instance *instance, struct err *err);

/* Writes its data to an image; path is where. */
int redis_instance_save(struct redis *redis, const struct redis_instance *instance, char *path, size_t size,
                        struct err *err);

#endif
