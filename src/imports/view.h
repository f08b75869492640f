/* view.h - what was found out about a program's imports, as it is shown and exported. */
#ifndef HASTEN_IMPORTS_VIEW_H
#define HASTEN_IMPORTS_VIEW_H

#include "base/str.h"

#include "imports/whatif.h"

struct imports_view {
    const struct profile *profile; /* all borrowed */
    const struct whatif *whatif;
    const struct log *log; /* of one process, for what is shown over time */
    const char *target;    /* what was measured, as it was written */
    /*
     * For each statement why it cannot simply be made lazy; "": nothing stands against it; NULL: it was not looked at
     * (not the user's).
     */
    char *const *reasons;
    const uint32_t *without; /* statements whose joint saving was asked for; NULL: none were */
    uint32_t n_without;
    const char *run; /* JSON about a whole run of the tests, "" or NULL: there was none */
};

/* All of the user's statements, then the others that save something; each part by what it saves. Owned array of *n. */
uint32_t *view_statements(const struct imports_view *view, uint32_t *n);

/* Modules by the order of their loading. Owned array of *n. */
uint32_t *view_modules(const struct profile *p, uint32_t *n);

/*
 * The statements at FILE:LINE, where FILE is a whole path or the end of one: owned array of *n; NULL with err when none was
 * executed there.
 */
uint32_t *view_at(const struct profile *p, const char *place, uint32_t *n, struct err *err);

/* One of pytest's plugins that was named in the log (LOG_NOTE_PLUGIN). */
struct plugin_cost {
    const char *name; /* borrowed, as all texts */
    const char *module;
    const char *distribution; /* "": pytest's own, or a conftest */
    struct saving saving;     /* without the module and what nobody else asks for */
};

/* The dearest first. Owned array of *n. */
struct plugin_cost *view_plugins(const struct imports_view *view, uint32_t *n);

/*
 * graph.c: `,"graph":{...}`, whose nodes are the root (0), the modules as export_json lists them, its statements, and what it
 * does not list. cpu_ns and bytes are of the modules; leads_to lists for each node those that it leads to.
 */
void export_graph(struct str *out, const struct imports_view *view);

/* export.c: whole files */
void export_json(struct str *out, const struct imports_view *view);       /* hasten's own, see docs/guide/imports.md */
void export_speedscope(struct str *out, const struct imports_view *view); /* speedscope.app */
void export_perfetto(struct str *out, const struct imports_view *view);   /* ui.perfetto.dev, chrome://tracing */

#endif
