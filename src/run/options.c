#include "run/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool number(const char *text, uint64_t *value)
{
    char *end;

    errno = 0;
    *value = strtoull(text, &end, 10);
    return !errno && end != text && !*end && text[0] != '-';
}

static int set_text(char *into, size_t size, const char *key, const char *value, struct err *err)
{
    if (strlen(value) >= size)
        return err_set(err, "the value of '%s' is too long (%zu bytes)", key, strlen(value));
    memcpy(into, value, strlen(value) + 1);
    return 0;
}

static int set_pair(struct run_config *c, const char *key, const char *value, struct err *err)
{
    const struct {
        const char *key;
        char *into;
        size_t size;
    } texts[] = {
        {"dist", c->dist, sizeof c->dist},       {"rootdir", c->rootdir, sizeof c->rootdir},
        {"start", c->start, sizeof c->start},    {"python", c->python, sizeof c->python},
        {"pytest", c->pytest, sizeof c->pytest}, {"key", c->key, sizeof c->key},
    };
    uint64_t n;

    for (size_t i = 0; i < HS_COUNT(texts); i++)
        if (!strcmp(key, texts[i].key))
            return set_text(texts[i].into, texts[i].size, key, value, err);
    if (!number(value, &n))
        return err_set(err, "'%s' is not a number for '%s'", value, key);
    if (!strcmp(key, "workers"))
        c->workers = (uint32_t)n;
    else if (!strcmp(key, "max_fail"))
        c->max_fail = (uint32_t)n;
    else if (!strcmp(key, "max_restarts"))
        c->max_restarts = (uint32_t)n;
    else if (!strcmp(key, "timeout_ms"))
        c->timeout_ms = n;
    else if (!strcmp(key, "worker_memory"))
        c->worker_memory = n;
    else if (!strcmp(key, "in_order"))
        c->in_order = n != 0;
    else if (!strcmp(key, "quiet"))
        c->quiet = n != 0;
    else if (!strcmp(key, "own_screen"))
        c->own_screen = n != 0;
    else if (!strcmp(key, "auto"))
        c->auto_workers = n != 0;
    else if (!strcmp(key, "pid"))
        c->pid = (int)n;
    return 0;
}

int run_config_parse(struct run_config *config, const char *text, size_t n, struct err *err)
{
    char line[4200];

    *config = (struct run_config){0};
    while (n) {
        const char *end = memchr(text, '\n', n);
        const size_t len = end ? (size_t)(end - text) : n;
        char *value;

        if (len >= sizeof line)
            return err_set(err, "a setting of the run is too long (%zu bytes)", len);
        memcpy(line, text, len);
        line[len] = '\0';
        value = strchr(line, '=');
        if (value) {
            *value++ = '\0';
            if (set_pair(config, line, value, err) < 0)
                return -1;
        }
        text += len + (end ? 1 : 0);
        n -= len + (end ? 1 : 0);
    }
    if (config->workers == 0 || config->workers > 1000)
        return err_set(err, "%u workers asked for: 1 to 1000 are possible", config->workers);
    return 0;
}
