/* graph.c - the graph as it is handed to other programs, so that they can ask about sets of statements themselves. */
#include "imports/view.h"

#include <inttypes.h>
#include <stdlib.h>

struct numbering {
    uint32_t *to;   /* owned: of each node of the graph, its number outside */
    uint32_t *from; /* owned: the other way */
    uint32_t n;     /* so many have one */
};

static void number(struct numbering *numbers, uint32_t node)
{
    numbers->to[node] = numbers->n;
    numbers->from[numbers->n++] = node;
}

/* The root, modules in the order of view_modules, statements in that of view_statements, and then what is in neither. */
static void number_all(struct numbering *numbers, const struct imports_view *view)
{
    const uint32_t n_nodes = view->whatif->graph.n;
    const uint32_t n_modules = view->profile->n_modules;
    uint32_t n;
    uint32_t *list;

    *numbers =
        (struct numbering){hs_alloc((n_nodes + 1) * sizeof(uint32_t)), hs_alloc((n_nodes + 1) * sizeof(uint32_t)), 0};
    for (uint32_t i = 0; i < n_nodes; i++)
        numbers->to[i] = DIGRAPH_NONE;
    number(numbers, 0);
    list = view_modules(view->profile, &n);
    for (uint32_t i = 0; i < n; i++)
        number(numbers, 1 + list[i]);
    free(list);
    list = view_statements(view, &n);
    for (uint32_t i = 0; i < n; i++)
        number(numbers, 1 + n_modules + list[i]);
    free(list);
    for (uint32_t i = 0; i < n_nodes; i++)
        if (numbers->to[i] == DIGRAPH_NONE)
            number(numbers, i);
}

static void add_costs(struct str *out, const struct imports_view *view, const struct numbering *numbers)
{
    uint32_t n;

    free(view_modules(view->profile, &n));
    str_puts(out, ",\n\"graph\":{\"cpu_ns\":[");
    for (uint32_t i = 0; i < n; i++)
        str_addf(out, "%s%" PRIu64, i ? "," : "", whatif_own(view->whatif, numbers->from[1 + i] - 1).cpu_ns);
    str_puts(out, "],\n\"bytes\":[");
    for (uint32_t i = 0; i < n; i++)
        str_addf(out, "%s%" PRId64, i ? "," : "", whatif_own(view->whatif, numbers->from[1 + i] - 1).bytes);
}

void export_graph(struct str *out, const struct imports_view *view)
{
    const struct digraph *g = &view->whatif->graph;
    struct numbering numbers;

    number_all(&numbers, view);
    add_costs(out, view, &numbers);
    str_puts(out, "],\n\"leads_to\":[");
    for (uint32_t i = 0; i < g->n; i++) {
        const uint32_t node = numbers.from[i];

        str_puts(out, i ? ",[" : "[");
        for (uint32_t k = g->first[node]; k < g->first[node + 1]; k++)
            str_addf(out, "%s%" PRIu32, k > g->first[node] ? "," : "", numbers.to[g->edges[k].to]);
        str_puts(out, "]");
    }
    str_puts(out, "]}");
    free(numbers.to);
    free(numbers.from);
}
