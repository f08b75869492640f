/*
 * digraph.h - a directed graph of numbered nodes: what is reachable, what dominates what, which nodes lie on circles.
 *
 * A node d dominates a node n when every way from the root to n passes d: without d, n is not reached. The immediate
 * dominators of all nodes form a tree, and what lies below d in it is what goes when d goes.
 */
#ifndef HASTEN_IMPORTS_DIGRAPH_H
#define HASTEN_IMPORTS_DIGRAPH_H

#include "base/base.h"

#define DIGRAPH_NONE UINT32_MAX

struct digraph_edge {
    uint32_t from;
    uint32_t to;
};

struct digraph {
    uint32_t n;
    struct digraph_edge *edges; /* owned; sorted by from, then to, without doubles, after digraph_seal */
    size_t n_edges;
    size_t cap;
    uint32_t *first;    /* owned; n + 1: where a node's edges begin */
    uint32_t *into;     /* owned: origins of the edges that lead into each node */
    uint32_t *first_in; /* owned; n + 1 */
};

void digraph_init(struct digraph *g, uint32_t n);
void digraph_release(struct digraph *g);
void digraph_add(struct digraph *g, uint32_t from, uint32_t to); /* before digraph_seal; an edge to itself is dropped */
void digraph_seal(struct digraph *g);

/* Sets reached[n] for what is reachable from root without nodes that are true in removed (NULL: none). */
void digraph_reach(const struct digraph *g, uint32_t root, const bool *removed, bool *reached);

/*
 * idom[n]: the immediate dominator of each node, root's is root; DIGRAPH_NONE for what is not reachable. order (n
 * entries): the reachable nodes so that each comes after its dominator. Returns how many those are.
 */
uint32_t digraph_dominators(const struct digraph *g, uint32_t root, uint32_t *idom, uint32_t *order);

/* component[n]: the number of the strongly connected component that n lies in. Returns how many there are. */
uint32_t digraph_components(const struct digraph *g, uint32_t *component);

#endif
