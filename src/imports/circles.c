/* circles.c - modules of the user's that import each other. */
#include "imports/whatif.h"

#include <stdlib.h>

/*
 * Only statements at module level, and not those that ask a package for modules in it: with these, every package would
 * be a circle.
 */
static void build(struct digraph *g, const struct profile *p)
{
    digraph_init(g, p->n_modules);
    for (uint32_t i = 0; i < p->n_uses; i++) {
        const struct statement *s = &p->statements[p->uses[i].from];

        if (p->modules[s->importer].own && p->modules[p->uses[i].to].own && !(s->flags & (LOG_IN_FUNCTION | LOG_LAZY)))
            digraph_add(g, s->importer, p->uses[i].to);
    }
    digraph_seal(g);
}

struct loaded {
    uint32_t module;
    uint32_t first;
};

static int by_loading(const void *a, const void *b)
{
    const struct loaded *x = a;
    const struct loaded *y = b;

    return x->first < y->first ? -1 : x->first > y->first;
}

static void fill(struct circle *c, const struct profile *p, const uint32_t *component, uint32_t wanted)
{
    struct loaded *members = hs_alloc((p->n_modules + 1) * sizeof *members);

    for (uint32_t i = 0; i < p->n_modules; i++)
        if (component[i] == wanted)
            members[c->n_modules++] = (struct loaded){i, p->modules[i].first};
    qsort(members, c->n_modules, sizeof *members, by_loading);
    c->modules = hs_alloc((c->n_modules + 1) * sizeof *c->modules);
    for (uint32_t i = 0; i < c->n_modules; i++)
        c->modules[i] = members[i].module;
    free(members);
    c->closings = hs_alloc((p->n_closings + 1) * sizeof *c->closings);
    for (uint32_t i = 0; i < p->n_closings; i++)
        if (component[p->closings[i].target] == wanted &&
            component[p->statements[p->closings[i].statement].importer] == wanted)
            c->closings[c->n_closings++] = i;
}

struct circle *whatif_circles(const struct profile *p, uint32_t *n)
{
    uint32_t *component = hs_alloc((p->n_modules + 1) * sizeof *component);
    struct circle *circles = NULL;
    struct digraph g;
    uint32_t *sizes;
    uint32_t n_components;

    build(&g, p);
    n_components = digraph_components(&g, component);
    digraph_release(&g);
    sizes = hs_alloc((n_components + 1) * sizeof *sizes);
    for (uint32_t i = 0; i < p->n_modules; i++)
        sizes[component[i]]++;
    *n = 0;
    for (uint32_t i = 0; i < n_components; i++) {
        if (sizes[i] < 2)
            continue;
        circles = hs_realloc(circles, (*n + 1) * sizeof *circles);
        circles[*n] = (struct circle){0};
        fill(&circles[(*n)++], p, component, i);
    }
    free(sizes);
    free(component);
    return circles;
}

void circles_free(struct circle *circles, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        free(circles[i].modules);
        free(circles[i].closings);
    }
    free(circles);
}
