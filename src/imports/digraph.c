#include "imports/digraph.h"

#include <stdlib.h>
#include <string.h>

void digraph_init(struct digraph *g, uint32_t n)
{
    *g = (struct digraph){.n = n};
}

void digraph_release(struct digraph *g)
{
    free(g->edges);
    free(g->first);
    free(g->into);
    free(g->first_in);
    *g = (struct digraph){0};
}

void digraph_add(struct digraph *g, uint32_t from, uint32_t to)
{
    HS_CHECK(from < g->n && to < g->n && !g->first);
    if (from == to)
        return;
    if (g->n_edges == g->cap) {
        g->cap = g->cap ? g->cap * 2 : 256;
        g->edges = hs_realloc(g->edges, g->cap * sizeof *g->edges);
    }
    g->edges[g->n_edges++] = (struct digraph_edge){from, to};
}

static int by_ends(const void *a, const void *b)
{
    const struct digraph_edge *x = a;
    const struct digraph_edge *y = b;

    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

static void drop_doubles(struct digraph *g)
{
    size_t n = 0;

    if (g->n_edges)
        qsort(g->edges, g->n_edges, sizeof *g->edges, by_ends);
    for (size_t i = 0; i < g->n_edges; i++)
        if (!n || by_ends(&g->edges[n - 1], &g->edges[i]) != 0)
            g->edges[n++] = g->edges[i];
    g->n_edges = n;
}

void digraph_seal(struct digraph *g)
{
    uint32_t *fill;

    drop_doubles(g);
    g->first = hs_alloc((g->n + 1) * sizeof *g->first);
    g->first_in = hs_alloc((g->n + 1) * sizeof *g->first_in);
    g->into = hs_alloc((g->n_edges + 1) * sizeof *g->into);
    for (size_t i = 0; i < g->n_edges; i++) {
        g->first[g->edges[i].from + 1]++;
        g->first_in[g->edges[i].to + 1]++;
    }
    for (uint32_t i = 0; i < g->n; i++) {
        g->first[i + 1] += g->first[i];
        g->first_in[i + 1] += g->first_in[i];
    }
    fill = hs_alloc((g->n + 1) * sizeof *fill);
    memcpy(fill, g->first_in, (g->n + 1) * sizeof *fill);
    for (size_t i = 0; i < g->n_edges; i++)
        g->into[fill[g->edges[i].to]++] = g->edges[i].from;
    free(fill);
}

void digraph_reach(const struct digraph *g, uint32_t root, const bool *removed, bool *reached)
{
    uint32_t *stack = hs_alloc((g->n + 1) * sizeof *stack);
    uint32_t n = 0;

    memset(reached, 0, g->n * sizeof *reached);
    if (!removed || !removed[root]) {
        reached[root] = true;
        stack[n++] = root;
    }
    while (n) {
        const uint32_t node = stack[--n];

        for (uint32_t i = g->first[node]; i < g->first[node + 1]; i++) {
            const uint32_t to = g->edges[i].to;

            if (reached[to] || (removed && removed[to]))
                continue;
            reached[to] = true;
            stack[n++] = to;
        }
    }
    free(stack);
}

/* ---- dominators: Cooper, Harvey and Kennedy's iteration over the reverse postorder */

struct step {
    uint32_t node;
    uint32_t next; /* index of the edge to follow */
};

/* order: reachable nodes in reverse postorder; number[n]: their place in it. Returns how many. */
static uint32_t reverse_postorder(const struct digraph *g, uint32_t root, uint32_t *order, uint32_t *number)
{
    struct step *stack = hs_alloc((g->n + 1) * sizeof *stack);
    uint32_t depth = 0;
    uint32_t at = g->n;

    for (uint32_t i = 0; i < g->n; i++)
        number[i] = DIGRAPH_NONE;
    number[root] = 0;
    stack[depth++] = (struct step){root, g->first[root]};
    while (depth) {
        struct step *top = &stack[depth - 1];

        if (top->next == g->first[top->node + 1]) {
            order[--at] = top->node;
            depth--;
            continue;
        }
        const uint32_t to = g->edges[top->next++].to;

        if (number[to] == DIGRAPH_NONE) {
            number[to] = 0;
            stack[depth++] = (struct step){to, g->first[to]};
        }
    }
    free(stack);
    memmove(order, order + at, (g->n - at) * sizeof *order);
    for (uint32_t i = 0; i < g->n - at; i++)
        number[order[i]] = i;
    return g->n - at;
}

static uint32_t common(const uint32_t *idom, const uint32_t *number, uint32_t a, uint32_t b)
{
    while (a != b) {
        while (number[a] > number[b])
            a = idom[a];
        while (number[b] > number[a])
            b = idom[b];
    }
    return a;
}

uint32_t digraph_dominators(const struct digraph *g, uint32_t root, uint32_t *idom, uint32_t *order)
{
    uint32_t *number = hs_alloc((g->n + 1) * sizeof *number);
    const uint32_t n = reverse_postorder(g, root, order, number);
    bool changed = true;

    for (uint32_t i = 0; i < g->n; i++)
        idom[i] = DIGRAPH_NONE;
    idom[root] = root;
    while (changed) {
        changed = false;
        for (uint32_t k = 1; k < n; k++) {
            const uint32_t node = order[k];
            uint32_t best = DIGRAPH_NONE;

            for (uint32_t i = g->first_in[node]; i < g->first_in[node + 1]; i++) {
                const uint32_t from = g->into[i];

                if (idom[from] != DIGRAPH_NONE)
                    best = best == DIGRAPH_NONE ? from : common(idom, number, best, from);
            }
            changed |= idom[node] != best;
            idom[node] = best;
        }
    }
    free(number);
    return n;
}

/* ---- components: Tarjan's, with a stack of its own instead of recursion */

struct search {
    const struct digraph *g;
    uint32_t *component;
    uint32_t *index; /* 0: not visited */
    uint32_t *low;
    uint32_t *open; /* nodes whose component is not known yet */
    uint32_t n_open;
    uint32_t n_indexed;
    uint32_t n_components;
    struct step *stack;
};

static void enter(struct search *s, uint32_t node, uint32_t *depth)
{
    s->index[node] = s->low[node] = ++s->n_indexed;
    s->open[s->n_open++] = node;
    s->stack[(*depth)++] = (struct step){node, s->g->first[node]};
}

static void leave(struct search *s, uint32_t node)
{
    uint32_t member;

    if (s->low[node] != s->index[node])
        return;
    do {
        member = s->open[--s->n_open];
        s->component[member] = s->n_components;
    } while (member != node);
    s->n_components++;
}

static void search_from(struct search *s, uint32_t start)
{
    uint32_t depth = 0;

    enter(s, start, &depth);
    while (depth) {
        struct step *top = &s->stack[depth - 1];
        const uint32_t node = top->node;

        if (top->next == s->g->first[node + 1]) {
            leave(s, node);
            if (--depth && s->low[node] < s->low[s->stack[depth - 1].node])
                s->low[s->stack[depth - 1].node] = s->low[node];
            continue;
        }
        const uint32_t to = s->g->edges[top->next++].to;

        if (!s->index[to])
            enter(s, to, &depth);
        else if (s->component[to] == DIGRAPH_NONE && s->index[to] < s->low[node])
            s->low[node] = s->index[to];
    }
}

uint32_t digraph_components(const struct digraph *g, uint32_t *component)
{
    struct search s = {
        .g = g,
        .component = component,
        .index = hs_alloc((g->n + 1) * sizeof *s.index),
        .low = hs_alloc((g->n + 1) * sizeof *s.low),
        .open = hs_alloc((g->n + 1) * sizeof *s.open),
        .stack = hs_alloc((g->n + 1) * sizeof *s.stack),
    };

    for (uint32_t i = 0; i < g->n; i++)
        component[i] = DIGRAPH_NONE;
    for (uint32_t i = 0; i < g->n; i++)
        if (!s.index[i])
            search_from(&s, i);
    free(s.index);
    free(s.low);
    free(s.open);
    free(s.stack);
    return s.n_components;
}
