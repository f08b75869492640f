/* log_build.h - logs of imports made by hand, as a measured process writes them. */
#ifndef HASTEN_TEST_LOG_BUILD_H
#define HASTEN_TEST_LOG_BUILD_H

#include "base/str.h"
#include "imports/log.h"

#include <string.h>

struct log_build {
    struct str bytes;
    uint32_t n_texts;
    uint32_t n_loads;
    char texts[400][40];
};

static inline void build_begin(struct log_build *b)
{
    struct log_header header = {.magic = LOG_MAGIC, .pid = 1};

    *b = (struct log_build){0};
    str_add(&b->bytes, &header, sizeof header);
}

static inline uint32_t build_text(struct log_build *b, const char *text)
{
    const size_t n = strlen(text);
    const size_t size = (sizeof(struct log_text) + n + 1 + 7) & ~(size_t)7;
    struct log_text record = {.head = {(uint32_t)size, LOG_TEXT}, .n = (uint32_t)n};
    static const char zeros[8];

    if (!n)
        return 0;
    for (uint32_t i = 0; i < b->n_texts; i++)
        if (!strcmp(b->texts[i], text))
            return i + 1;
    str_add(&b->bytes, &record, sizeof record);
    str_add(&b->bytes, text, n);
    str_add(&b->bytes, zeros, size - sizeof record - n);
    HS_CHECK(b->n_texts < HS_COUNT(b->texts) && n < sizeof b->texts[0]);
    memcpy(b->texts[b->n_texts++], text, n + 1);
    return b->n_texts;
}

static inline struct log_place build_place(struct log_build *b, const char *importer, uint32_t line)
{
    char file[64];

    if (!importer)
        return (struct log_place){0};
    snprintf(file, sizeof file, "/p/%.40s.py", importer);
    return (struct log_place){build_text(b, importer), build_text(b, file), line, 0};
}

/* A load that took ms milliseconds; its file is /p/NAME.py. */
static inline void build_load(struct log_build *b, const char *importer, uint32_t line, const char *name, uint64_t ms,
                              uint32_t flags)
{
    char file[64];
    struct log_load load = {
        .head = {sizeof load, LOG_LOAD},
        .place = build_place(b, importer, line),
        .seq = b->n_loads++,
        .parent = LOG_NONE,
        .flags = flags,
        .cpu_ns = ms * 1000000,
        .self_cpu_ns = ms * 1000000,
        .self_wall_ns = ms * 1000000,
        .self_bytes = (int64_t)ms * 1000,
    };

    snprintf(file, sizeof file, "/p/%.40s.py", name);
    load.name = build_text(b, name);
    load.origin = build_text(b, file);
    str_add(&b->bytes, &load, sizeof load);
}

/* `import target`, or with names (one is enough here) `from target import name`, in the load with that seq. */
static inline void build_edge(struct log_build *b, const char *importer, uint32_t line, const char *target,
                              const char *name, uint32_t loading)
{
    struct log_edge edge = {
        .head = {sizeof edge + 8, LOG_EDGE},
        .place = build_place(b, importer, line),
        .loading = loading,
        .n_names = name != NULL,
    };
    uint32_t names[2] = {name ? build_text(b, name) : 0, 0};

    edge.name = build_text(b, target);
    str_add(&b->bytes, &edge, sizeof edge);
    str_add(&b->bytes, names, sizeof names);
}

/* What was built, read. The builder is empty then. */
static inline int build_end(struct log_build *b, struct log *log, struct err *err)
{
    char *data = hs_alloc(b->bytes.len);
    const uint64_t used = b->bytes.len;

    memcpy(data, b->bytes.data, b->bytes.len);
    memcpy(data + offsetof(struct log_header, used), &used, sizeof used);
    str_release(&b->bytes);
    return log_parse(log, data, used, err);
}

#endif
