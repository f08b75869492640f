/*
 * whatif.h - what the program would not load, and how much time and memory that is, without some import statements.
 *
 * The graph: root -> what was there before or started it; module -> its statements -> their targets; module -> the package
 * that it lies in. A statement in a function is executed because its module is there and because somebody calls it while
 * loading: both are needed, and a graph of alternatives has room for one. It hangs at the caller, unless the function's
 * module is there for the caller's sake alone. A statement dominates what goes when it alone becomes lazy; for sets, what is not reachable without
 * all of them. A lazy import is one that nobody makes real: whether that is so, static analysis and tests have to say.
 */
#ifndef HASTEN_IMPORTS_WHATIF_H
#define HASTEN_IMPORTS_WHATIF_H

#include "imports/profile.h"

struct saving {
    uint64_t cpu_ns; /* with the share of the garbage collector that falls to it */
    uint64_t wall_ns;
    int64_t bytes;
    uint32_t n_modules;
};

struct whatif {
    const struct profile *profile; /* borrowed */
    struct digraph graph;
    uint32_t *idom;  /* owned */
    uint32_t *order; /* owned */
    uint32_t n_order;
    struct saving *below;   /* owned: of each node's dominator subtree, itself included */
    uint32_t n_unexplained; /* modules that no import led to: they hang at the root */
};

void whatif_init(struct whatif *w, const struct profile *p);
void whatif_release(struct whatif *w);

struct saving whatif_all(const struct whatif *w);
struct saving whatif_module(const struct whatif *w, uint32_t module); /* it, and what nobody else needs */
struct saving whatif_own(const struct whatif *w, uint32_t module);    /* the module alone */
struct saving whatif_statement(const struct whatif *w, uint32_t statement);
/* Of all of them together; gone (n_modules entries, may be NULL): which modules are not loaded then. */
struct saving whatif_set(const struct whatif *w, const uint32_t *statements, uint32_t n, bool *gone);
/* The same for modules that cannot be imported at all: plugins that are switched off. */
struct saving whatif_without(const struct whatif *w, const uint32_t *modules, uint32_t n, bool *gone);

/* Statements that belong together, for instance all of the user's that lead into one distribution. */
struct group {
    const char *name; /* borrowed */
    size_t name_len;
    uint32_t *statements; /* owned */
    uint32_t n_statements;
    struct saving saving;
};

/*
 * The user's statements at module level by the distribution (first part of the name) that they lead to, the dearest
 * first; their joint savings. Owned array of *n; groups_free.
 */
struct group *whatif_groups(const struct whatif *w, uint32_t *n);
void groups_free(struct group *groups, uint32_t n);

/*
 * The best k groups to make lazy, one after another: what each adds to those before it. chosen: k entries, filled with
 * numbers of groups; added: k entries. Returns how many were chosen: fewer when nothing more is saved.
 */
uint32_t whatif_best(const struct whatif *w, const struct group *groups, uint32_t n, uint32_t k, uint32_t *chosen,
                     struct saving *added);

/* A package whose own code and what only that code asks for costs something. */
struct heavy {
    uint32_t module;
    struct saving saving; /* when nothing stands in its __init__ */
};

/* The user's packages, the dearest first. Owned array of *n. */
struct heavy *whatif_heavy(const struct whatif *w, uint32_t *n);

/* Circles among the user's modules, from statements that do not stand in functions. */
struct circle {
    uint32_t *modules; /* owned, in the order of their loading */
    uint32_t n_modules;
    uint32_t *closings; /* owned: numbers of profile.closings */
    uint32_t n_closings;
};

struct circle *whatif_circles(const struct profile *p, uint32_t *n);
void circles_free(struct circle *circles, uint32_t n);

#endif
