#include "imports/view.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void text(struct str *out, const char *key, const char *value)
{
    str_addf(out, "\"%s\":", key);
    json_string(out, value, strlen(value));
}

/* Seconds, as everywhere in hasten's JSON. */
static void seconds(struct str *out, const char *key, uint64_t ns)
{
    str_addf(out, ",\"%s\":%" PRIu64 ".%09" PRIu64, key, ns / 1000000000, ns % 1000000000);
}

static void saving(struct str *out, const char *key, const struct saving *s)
{
    str_addf(out, ",\"%s\":{\"modules\":%" PRIu32, key, s->n_modules);
    seconds(out, "cpu", s->cpu_ns);
    seconds(out, "wall", s->wall_ns);
    str_addf(out, ",\"bytes\":%" PRId64 "}", s->bytes);
}

static void place(struct str *out, const struct profile *p, const struct statement *s)
{
    text(out, "importer", p->modules[s->importer].name);
    str_puts(out, ",");
    text(out, "file", s->file);
    str_addf(out, ",\"line\":%" PRIu32, s->line);
    if (s->function[0]) {
        str_puts(out, ",");
        text(out, "function", s->function);
    }
}

static void flag(struct str *out, const char *key, bool truth)
{
    if (truth)
        str_addf(out, ",\"%s\":true", key);
}

static void add_module(struct str *out, const struct imports_view *view, uint32_t at)
{
    static const char *const phases[LOG_N_PHASES] = {"finding", "reading", "unmarshalling", "compiling",
                                                     "loading_extension"};
    const struct profile *p = view->profile;
    const struct module *m = &p->modules[at];
    const struct saving saved = whatif_module(view->whatif, at);

    str_puts(out, "{");
    text(out, "name", m->name);
    str_puts(out, ",");
    text(out, "file", m->file);
    str_addf(out, ",\"loads\":%" PRIu32, m->n_loads);
    seconds(out, "cpu", m->median.cpu_ns);
    seconds(out, "cpu_least", m->least.cpu_ns);
    seconds(out, "wall", m->median.wall_ns);
    seconds(out, "gc", m->median.gc_ns);
    str_addf(out, ",\"bytes\":%" PRId64, m->median.bytes);
    for (int i = 0; i < LOG_N_PHASES; i++)
        if (m->median.phase_ns[i])
            seconds(out, phases[i], m->median.phase_ns[i]);
    saving(out, "saved", &saved);
    flag(out, "own", m->own);
    flag(out, "package", m->flags & LOG_PACKAGE);
    flag(out, "extension", m->flags & LOG_EXTENSION);
    flag(out, "failed", m->flags & LOG_FAILED);
    flag(out, "lazy", m->flags & LOG_LAZY);
    if (m->within != PROFILE_NONE) {
        str_puts(out, ",");
        text(out, "within", p->modules[m->within].name);
    }
    if (m->statement != PROFILE_NONE) {
        str_puts(out, ",\"at\":{");
        place(out, p, &p->statements[m->statement]);
        str_puts(out, "}");
    }
    str_puts(out, "}");
}

static void add_statement(struct str *out, const struct imports_view *view, uint32_t at)
{
    const struct profile *p = view->profile;
    const struct statement *s = &p->statements[at];
    const struct saving saved = whatif_statement(view->whatif, at);

    str_puts(out, "{");
    place(out, p, s);
    str_puts(out, ",\"imports\":[");
    for (uint32_t i = 0; i < s->n_targets; i++) {
        if (i)
            str_puts(out, ",");
        json_string(out, p->modules[s->targets[i]].name, strlen(p->modules[s->targets[i]].name));
    }
    str_puts(out, "]");
    saving(out, "saved", &saved);
    flag(out, "own", s->own);
    flag(out, "call", s->flags & LOG_DYNAMIC_CALL);
    if (view->reasons[at]) {
        str_puts(out, ",");
        text(out, "reason", view->reasons[at]);
    }
    str_puts(out, "}");
}

static void add_groups(struct str *out, const struct imports_view *view)
{
    uint32_t n;
    struct group *groups = whatif_groups(view->whatif, &n);

    for (uint32_t i = 0; i < n; i++) {
        str_puts(out, i ? ",\n{\"package\":" : "\n{\"package\":");
        json_string(out, groups[i].name, groups[i].name_len);
        saving(out, "saved", &groups[i].saving);
        str_puts(out, ",\"statements\":[");
        for (uint32_t k = 0; k < groups[i].n_statements; k++) {
            str_puts(out, k ? ",{" : "{");
            place(out, view->profile, &view->profile->statements[groups[i].statements[k]]);
            str_puts(out, "}");
        }
        str_puts(out, "]}");
    }
    groups_free(groups, n);
}

static void add_works(struct str *out, const struct profile *p)
{
    for (uint32_t i = 0; i < p->n_works; i++) {
        const struct work_line *w = &p->works[i];

        str_puts(out, i ? ",\n{" : "\n{");
        text(out, "module", p->modules[w->module].name);
        str_puts(out, ",");
        text(out, "file", w->file);
        str_addf(out, ",\"line\":%" PRIu32 ",\"times\":%" PRIu32, w->line, w->n);
        seconds(out, "wall", w->wall_ns);
        seconds(out, "cpu", w->cpu_ns);
        flag(out, "waits", work_waits(w));
        str_puts(out, "}");
    }
}

static void add_circles(struct str *out, const struct profile *p)
{
    uint32_t n;
    struct circle *circles = whatif_circles(p, &n);

    for (uint32_t i = 0; i < n; i++) {
        str_puts(out, i ? ",\n{\"modules\":[" : "\n{\"modules\":[");
        for (uint32_t k = 0; k < circles[i].n_modules; k++) {
            const char *name = p->modules[circles[i].modules[k]].name;

            str_puts(out, k ? "," : "");
            json_string(out, name, strlen(name));
        }
        str_puts(out, "],\"closed\":[");
        for (uint32_t k = 0; k < circles[i].n_closings; k++) {
            const struct closing *c = &p->closings[circles[i].closings[k]];

            str_puts(out, k ? ",{" : "{");
            place(out, p, &p->statements[c->statement]);
            str_puts(out, ",");
            text(out, "partial", p->modules[c->target].name);
            str_puts(out, "}");
        }
        str_puts(out, "]}");
    }
    circles_free(circles, n);
}

static void add_heavy(struct str *out, const struct imports_view *view)
{
    uint32_t n;
    struct heavy *list = whatif_heavy(view->whatif, &n);

    for (uint32_t i = 0; i < n; i++) {
        str_puts(out, i ? ",\n{" : "\n{");
        text(out, "name", view->profile->modules[list[i].module].name);
        saving(out, "saved", &list[i].saving);
        str_puts(out, "}");
    }
    free(list);
}

static void add_notes(struct str *out, const struct imports_view *view)
{
    uint32_t n;
    struct plugin_cost *plugins = view_plugins(view, &n);
    bool first = true;

    str_puts(out, "],\n\"plugins\":[");
    for (uint32_t i = 0; i < n; i++) {
        str_puts(out, i ? ",\n{" : "\n{");
        text(out, "name", plugins[i].name);
        str_puts(out, ",");
        text(out, "module", plugins[i].module);
        str_puts(out, ",");
        text(out, "distribution", plugins[i].distribution);
        saving(out, "saved", &plugins[i].saving);
        str_puts(out, "}");
    }
    free(plugins);
    str_puts(out, "],\n\"lazy_not_loaded\":[");
    for (uint32_t i = 0; i < view->log->n_notes; i++) {
        const char *name = view->log->texts[view->log->notes[i]->text[0]];

        if (view->log->notes[i]->kind != LOG_NOTE_LAZY)
            continue;
        str_puts(out, first ? "" : ",");
        json_string(out, name, strlen(name));
        first = false;
    }
}

static void add_without(struct str *out, const struct imports_view *view)
{
    const struct profile *p = view->profile;
    bool *gone = hs_alloc((p->n_modules + 1) * sizeof *gone);
    const struct saving saved = whatif_set(view->whatif, view->without, view->n_without, gone);
    const char *comma = "";

    str_puts(out, ",\n\"without\":{\"statements\":[");
    for (uint32_t i = 0; i < view->n_without; i++) {
        str_puts(out, i ? ",{" : "{");
        place(out, p, &p->statements[view->without[i]]);
        str_puts(out, "}");
    }
    str_puts(out, "]");
    saving(out, "saved", &saved);
    str_puts(out, ",\"gone\":[");
    for (uint32_t i = 0; i < p->n_modules; i++)
        if (gone[i] && !(p->modules[i].flags & LOG_FAILED)) {
            str_puts(out, comma);
            json_string(out, p->modules[i].name, strlen(p->modules[i].name));
            comma = ",";
        }
    str_puts(out, "]}");
    free(gone);
}

void export_json(struct str *out, const struct imports_view *view)
{
    const struct profile *p = view->profile;
    uint32_t n;
    uint32_t *list = view_modules(p, &n);

    str_puts(out, "{\"format\":1,");
    text(out, "target", view->target);
    str_addf(out, ",\"processes\":%" PRIu32, p->n_runs);
    seconds(out, "cpu", p->cpu_ns);
    seconds(out, "cpu_least", p->least_cpu_ns);
    seconds(out, "wall", p->wall_ns);
    seconds(out, "gc", p->gc_ns);
    seconds(out, "before", p->before_ns);
    str_addf(out, ",\"bytes\":%" PRId64, p->bytes);
    flag(out, "incomplete", p->full);
    str_puts(out, ",\n\"modules\":[");
    for (uint32_t i = 0; i < n; i++) {
        str_puts(out, i ? ",\n" : "\n");
        add_module(out, view, list[i]);
    }
    free(list);
    list = view_statements(view, &n);
    str_puts(out, "],\n\"statements\":[");
    for (uint32_t i = 0; i < n; i++) {
        str_puts(out, i ? ",\n" : "\n");
        add_statement(out, view, list[i]);
    }
    free(list);
    str_puts(out, "],\n\"groups\":[");
    add_groups(out, view);
    str_puts(out, "],\n\"packages\":[");
    add_heavy(out, view);
    str_puts(out, "],\n\"work\":[");
    add_works(out, p);
    str_puts(out, "],\n\"circles\":[");
    add_circles(out, p);
    add_notes(out, view);
    str_puts(out, "]");
    if (view->without)
        add_without(out, view);
    if (view->run && view->run[0])
        str_addf(out, ",\n\"run\":%s", view->run);
    export_graph(out, view);
    str_puts(out, "}\n");
}
