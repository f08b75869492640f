/* groups.c - statements that only save together, and the best of such sets. */
#include "imports/whatif.h"

#include <stdlib.h>
#include <string.h>

static bool can_group(const struct statement *s)
{
    return s->own && !(s->flags & (LOG_IN_FUNCTION | LOG_LAZY));
}

static void add_member(struct group *g, uint32_t statement)
{
    for (uint32_t i = 0; i < g->n_statements; i++)
        if (g->statements[i] == statement)
            return;
    g->statements = hs_realloc(g->statements, (g->n_statements + 1) * sizeof *g->statements);
    g->statements[g->n_statements++] = statement;
}

static struct group *group_of(struct group **groups, uint32_t *n, struct map *by_name, const char *name)
{
    const size_t len = strcspn(name, ".");
    uint32_t at;

    if (!map_get(by_name, name, len, &at)) {
        at = *n;
        *groups = hs_realloc(*groups, (at + 1) * sizeof **groups);
        (*groups)[at] = (struct group){.name = name, .name_len = len};
        map_put(by_name, name, len, at);
        ++*n;
    }
    return &(*groups)[at];
}

static int dearest(const struct saving *a, const struct saving *b)
{
    return a->cpu_ns > b->cpu_ns ? -1 : a->cpu_ns < b->cpu_ns;
}

static int by_saving(const void *a, const void *b)
{
    const struct group *x = a;
    const struct group *y = b;

    return dearest(&x->saving, &y->saving);
}

struct group *whatif_groups(const struct whatif *w, uint32_t *n)
{
    const struct profile *p = w->profile;
    struct map by_name = MAP_INIT;
    struct group *groups = NULL;

    *n = 0;
    for (uint32_t i = 0; i < p->n_statements; i++) {
        const struct statement *s = &p->statements[i];

        for (uint32_t k = 0; can_group(s) && k < s->n_targets; k++)
            if (!p->modules[s->targets[k]].own && p->modules[s->targets[k]].n_loads)
                add_member(group_of(&groups, n, &by_name, p->modules[s->targets[k]].name), i);
    }
    map_release(&by_name);
    for (uint32_t i = 0; i < *n; i++)
        groups[i].saving = whatif_set(w, groups[i].statements, groups[i].n_statements, NULL);
    if (*n)
        qsort(groups, *n, sizeof *groups, by_saving);
    return groups;
}

void groups_free(struct group *groups, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        free(groups[i].statements);
    free(groups);
}

struct choice {
    uint32_t *statements; /* owned: of all groups that were chosen */
    uint32_t n;
    struct saving saving;
};

static struct saving with(const struct whatif *w, struct choice *c, const struct group *g)
{
    memcpy(c->statements + c->n, g->statements, g->n_statements * sizeof *g->statements);
    return whatif_set(w, c->statements, c->n + g->n_statements, NULL);
}

static struct saving difference(struct saving a, struct saving b)
{
    return (struct saving){a.cpu_ns - b.cpu_ns, a.wall_ns - b.wall_ns, a.bytes - b.bytes, a.n_modules - b.n_modules};
}

/* The group that adds most to what was chosen, or n. */
static uint32_t best_next(const struct whatif *w, struct choice *c, const struct group *groups, uint32_t n, bool *used,
                          struct saving *after)
{
    uint32_t best = n;

    *after = c->saving;
    for (uint32_t i = 0; i < n; i++) {
        struct saving s;

        if (used[i])
            continue;
        s = with(w, c, &groups[i]);
        if (s.cpu_ns > after->cpu_ns) {
            *after = s;
            best = i;
        }
    }
    return best;
}

uint32_t whatif_best(const struct whatif *w, const struct group *groups, uint32_t n, uint32_t k, uint32_t *chosen,
                     struct saving *added)
{
    struct choice c = {0};
    bool *used = hs_alloc(n + 1);
    size_t most = 1;
    uint32_t found = 0;

    for (uint32_t i = 0; i < n; i++)
        most += groups[i].n_statements;
    c.statements = hs_alloc(most * sizeof *c.statements);
    while (found < k) {
        struct saving after;
        const uint32_t at = best_next(w, &c, groups, n, used, &after);

        if (at == n)
            break;
        with(w, &c, &groups[at]);
        c.n += groups[at].n_statements;
        used[at] = true;
        added[found] = difference(after, c.saving);
        chosen[found++] = at;
        c.saving = after;
    }
    free(c.statements);
    free(used);
    return found;
}

/* ---- packages */

static int by_heavy_saving(const void *a, const void *b)
{
    const struct heavy *x = a;
    const struct heavy *y = b;

    return dearest(&x->saving, &y->saving);
}

static struct saving without_init(const struct whatif *w, uint32_t module)
{
    const struct profile *p = w->profile;
    uint32_t *inside = hs_alloc((p->n_statements + 1) * sizeof *inside);
    struct saving saving;
    uint32_t n = 0;

    for (uint32_t i = 0; i < p->n_statements; i++)
        if (p->statements[i].importer == module && !(p->statements[i].flags & LOG_IN_FUNCTION))
            inside[n++] = i;
    saving = whatif_set(w, inside, n, NULL);
    saving.cpu_ns += p->modules[module].median.cpu_ns;
    saving.wall_ns += p->modules[module].median.wall_ns;
    saving.bytes += p->modules[module].median.bytes;
    free(inside);
    return saving;
}

struct heavy *whatif_heavy(const struct whatif *w, uint32_t *n)
{
    const struct profile *p = w->profile;
    struct heavy *list = hs_alloc((p->n_modules + 1) * sizeof *list);

    *n = 0;
    for (uint32_t i = 0; i < p->n_modules; i++)
        if (p->modules[i].own && p->modules[i].flags & LOG_PACKAGE)
            list[(*n)++] = (struct heavy){i, without_init(w, i)};
    qsort(list, *n, sizeof *list, by_heavy_saving);
    return list;
}
