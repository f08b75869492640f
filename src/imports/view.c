#include "imports/view.h"

#include <stdlib.h>
#include <string.h>

struct ranked {
    uint32_t at;
    bool own;
    uint64_t value;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;

    if (x->own != y->own)
        return x->own ? -1 : 1;
    if (x->value != y->value)
        return x->value > y->value ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static uint32_t *sorted(struct ranked *list, uint32_t n)
{
    uint32_t *result = hs_alloc((n + 1) * sizeof *result);

    qsort(list, n, sizeof *list, by_rank);
    for (uint32_t i = 0; i < n; i++)
        result[i] = list[i].at;
    free(list);
    return result;
}

uint32_t *view_statements(const struct imports_view *view, uint32_t *n)
{
    const struct profile *p = view->profile;
    struct ranked *list = hs_alloc((p->n_statements + 1) * sizeof *list);

    *n = 0;
    for (uint32_t i = 0; i < p->n_statements; i++) {
        const struct saving s = whatif_statement(view->whatif, i);

        if (s.cpu_ns || p->statements[i].own)
            list[(*n)++] = (struct ranked){i, p->statements[i].own, s.cpu_ns};
    }
    return sorted(list, *n);
}

uint32_t *view_modules(const struct profile *p, uint32_t *n)
{
    struct ranked *list = hs_alloc((p->n_modules + 1) * sizeof *list);

    *n = 0;
    for (uint32_t i = 0; i < p->n_modules; i++)
        if (p->modules[i].n_loads && p->modules[i].first != PROFILE_NONE)
            list[(*n)++] = (struct ranked){i, true, UINT32_MAX - p->modules[i].first};
    return sorted(list, *n);
}

/* file ends in the n bytes of name, which begin where a part of the path does. */
static bool ends_in(const char *file, const char *name, size_t n)
{
    const size_t len = strlen(file);

    return n && len >= n && !memcmp(file + len - n, name, n) && (len == n || file[len - n - 1] == '/');
}

uint32_t *view_at(const struct profile *p, const char *place, uint32_t *n, struct err *err)
{
    const char *colon = strrchr(place, ':');
    const unsigned long line = colon ? strtoul(colon + 1, NULL, 10) : 0;
    const char *name = !strncmp(place, "./", 2) ? place + 2 : place;
    uint32_t *list = hs_alloc((p->n_statements + 1) * sizeof *list);

    *n = 0;
    for (uint32_t i = 0; colon && colon > name && i < p->n_statements; i++)
        if (line && p->statements[i].line == line && ends_in(p->statements[i].file, name, (size_t)(colon - name)))
            list[(*n)++] = i;
    if (*n)
        return list;
    free(list);
    err_set(err, "no import was executed at '%.200s' (FILE:LINE, as the tables show it)", place);
    return NULL;
}

static int by_cost(const void *a, const void *b)
{
    const struct plugin_cost *x = a;
    const struct plugin_cost *y = b;

    return x->saving.cpu_ns > y->saving.cpu_ns ? -1 : x->saving.cpu_ns < y->saving.cpu_ns;
}

struct plugin_cost *view_plugins(const struct imports_view *view, uint32_t *n)
{
    const struct log *log = view->log;
    struct plugin_cost *list = hs_alloc((log->n_notes + 1) * sizeof *list);

    *n = 0;
    for (uint32_t i = 0; i < log->n_notes; i++) {
        const struct log_noted *note = log->notes[i];
        const char *module = log->texts[note->text[1]];
        const uint32_t at = profile_find(view->profile, module);

        if (note->kind == LOG_NOTE_PLUGIN && at != PROFILE_NONE && view->profile->modules[at].n_loads)
            list[(*n)++] = (struct plugin_cost){log->texts[note->text[0]], module, log->texts[note->text[2]],
                                                whatif_module(view->whatif, at)};
    }
    qsort(list, *n, sizeof *list, by_cost);
    return list;
}
