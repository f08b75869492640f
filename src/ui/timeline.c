#include "ui/timeline.h"

#include "base/clock.h"
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRACK_RUN = 0, TRACK_REPORTER = 1, TRACK_TEMPLATE = 2, TRACK_WORKERS = 10 };

/* Where a worker's track has got to; times since 1970. */
struct track {
    uint64_t first_ns;
    uint64_t last_ns;
};

struct timeline {
    FILE *file;           /* owned */
    char *path;           /* owned */
    uint64_t zero_ns;     /* since 1970 */
    struct track *tracks; /* owned */
    uint32_t n_tracks;
    bool any;        /* an event has been written */
    struct str text; /* owned: scratch */
};

struct event {
    const char *name;
    size_t name_len;
    const char *cat;
    uint32_t track;
    uint64_t start_ns; /* since zero */
    uint64_t ns;
    const char *args; /* JSON object, or NULL */
};

static void begin(struct timeline *t)
{
    str_reset(&t->text);
    str_puts(&t->text, t->any ? ",\n" : "[\n");
    t->any = true;
}

static void put(struct timeline *t)
{
    fwrite(t->text.data, 1, t->text.len, t->file);
}

static void add_us(struct str *out, const char *key, uint64_t ns)
{
    str_addf(out, ",\"%s\":%" PRIu64 ".%03" PRIu64, key, ns / 1000, ns % 1000);
}

static void add_event(struct timeline *t, const struct event *e)
{
    begin(t);
    str_puts(&t->text, "{\"ph\":\"X\",\"pid\":1,\"name\":");
    json_string(&t->text, e->name, e->name_len);
    str_addf(&t->text, ",\"cat\":\"%s\",\"tid\":%u", e->cat, e->track);
    add_us(&t->text, "ts", e->start_ns);
    add_us(&t->text, "dur", e->ns);
    if (e->args)
        str_addf(&t->text, ",\"args\":%s", e->args);
    str_puts(&t->text, "}");
    put(t);
}

static void add_span(struct timeline *t, uint32_t track, const char *cat, const char *name, uint64_t from_ns,
                     uint64_t to_ns)
{
    if (to_ns > from_ns)
        add_event(t, &(struct event){name, strlen(name), cat, track, from_ns, to_ns - from_ns, NULL});
}

static void add_name(struct timeline *t, const char *kind, uint32_t track, const char *name)
{
    begin(t);
    str_addf(&t->text, "{\"ph\":\"M\",\"pid\":1,\"tid\":%u,\"name\":\"%s\",\"args\":{\"name\":\"%s\"}}", track, kind,
             name);
    put(t);
}

struct timeline *timeline_new(const char *path, struct err *err)
{
    FILE *file = fopen(path, "we");
    struct timeline *t;

    if (!file) {
        err_sys(err, errno, "cannot write '%.300s'", path);
        return NULL;
    }
    t = hs_alloc(sizeof *t);
    *t = (struct timeline){.file = file, .path = strdup(path), .zero_ns = clock_wall_ns()};
    HS_CHECK(t->path);
    add_name(t, "process_name", TRACK_RUN, "hasten run");
    add_name(t, "thread_name", TRACK_RUN, "run");
    add_name(t, "thread_name", TRACK_REPORTER, "reporter");
    add_name(t, "thread_name", TRACK_TEMPLATE, "template");
    return t;
}

static struct track *track_of(struct timeline *t, uint32_t slot)
{
    char name[32];

    if (slot >= t->n_tracks) {
        const uint32_t n = slot + 1;

        t->tracks = hs_realloc(t->tracks, n * sizeof *t->tracks);
        memset(t->tracks + t->n_tracks, 0, (n - t->n_tracks) * sizeof *t->tracks);
        for (uint32_t i = t->n_tracks; i < n; i++) {
            snprintf(name, sizeof name, "gw%u", i);
            add_name(t, "thread_name", TRACK_WORKERS + i, name);
        }
        t->n_tracks = n;
    }
    return &t->tracks[slot];
}

static void add_phases(struct timeline *t, const struct record *r, uint32_t track, uint64_t at_ns)
{
    const struct {
        const char *name;
        uint64_t ns;
    } phases[] = {{"setup", r->setup_ns}, {"call", r->call_ns}, {"teardown", r->teardown_ns}};

    for (size_t i = 0; i < HS_COUNT(phases); i++) {
        add_span(t, track, "phase", phases[i].name, at_ns, at_ns + phases[i].ns);
        at_ns += phases[i].ns;
    }
}

/*
 * The start comes from the clock of day and the durations from a steady one: where the first was set back meanwhile, or
 * rounded, a test begins at the end of the one before it.
 */
void timeline_test(struct timeline *t, const struct record *record, const char *id, size_t id_len)
{
    struct track *track;
    char args[96];
    uint64_t start = record->start_ns > t->zero_ns ? record->start_ns : t->zero_ns;

    if ((record->flags & RECORD_RESUMED) || record->slot == RECORD_NO_SLOT)
        return;
    track = track_of(t, record->slot);
    if (start < track->last_ns)
        start = track->last_ns;
    if (!track->first_ns)
        track->first_ns = start;
    track->last_ns = start + record->setup_ns + record->call_ns + record->teardown_ns;
    snprintf(args, sizeof args, "{\"outcome\":\"%s\"}",
             outcome_name(record->outcome ? (enum record_outcome)record->outcome : OUTCOME_PASSED));
    add_event(t, &(struct event){id, id_len, "test", TRACK_WORKERS + record->slot, start - t->zero_ns,
                                 track->last_ns - start, args});
    add_phases(t, record, TRACK_WORKERS + record->slot, start - t->zero_ns);
}

void timeline_worker(struct timeline *t, uint32_t slot, uint64_t up_ns, uint64_t down_ns)
{
    const struct track *track = track_of(t, slot);
    const uint64_t offset = clock_wall_ns() - clock_now_ns() - t->zero_ns;
    const uint64_t up = up_ns + offset;
    const uint64_t down = down_ns + offset;
    const uint32_t tid = TRACK_WORKERS + slot;

    if (!track->first_ns) {
        add_span(t, tid, "worker", "no test", up, down);
        return;
    }
    add_span(t, tid, "worker", "start", up, track->first_ns - t->zero_ns);
    add_span(t, tid, "worker", "end", track->last_ns - t->zero_ns, down);
}

/* One after another, those that were reached. */
static void add_course(struct timeline *t, const struct run_marks *m)
{
    const struct {
        uint32_t track;
        const char *name;
        uint64_t from;
        uint64_t to;
    } spans[] = {
        {TRACK_RUN, "start", m->started_ns, m->configured_ns},
        {TRACK_RUN, "collect", m->configured_ns, m->collected_ns},
        {TRACK_RUN, "first fork", m->collected_ns, m->first_up_ns},
        {TRACK_RUN, "tests", m->first_up_ns, m->ended_ns},
        {TRACK_RUN, "end", m->ended_ns, m->over_ns},
        {TRACK_REPORTER, "load pytest, plugins, conftests", m->started_ns, m->configured_ns},
        {TRACK_REPORTER, "report tests", m->collected_ns, m->ended_ns},
        {TRACK_REPORTER, "summary", m->ended_ns, m->over_ns},
        {TRACK_TEMPLATE, "configure, import, collect", m->configured_ns, m->collected_ns},
        {TRACK_TEMPLATE, "fork workers", m->collected_ns, m->ended_ns},
    };

    for (size_t i = 0; i < HS_COUNT(spans); i++)
        if (spans[i].from && spans[i].to)
            add_span(t, spans[i].track, "run", spans[i].name, spans[i].from - m->started_ns,
                     spans[i].to - m->started_ns);
}

int timeline_end(struct timeline *t, const struct run_totals *totals, struct err *err)
{
    int code = 0;

    add_course(t, &totals->marks);
    fputs("\n]\n", t->file);
    if (ferror(t->file))
        code = err_set(err, "'%.300s' is not complete: it could not be written", t->path);
    if (fclose(t->file) != 0 && code == 0)
        code = err_sys(err, errno, "'%.300s' is not complete", t->path);
    free(t->tracks);
    free(t->path);
    str_release(&t->text);
    free(t);
    return code;
}
