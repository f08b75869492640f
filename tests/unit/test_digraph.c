#include "harness.h"

#include "imports/digraph.h"

#include <stdlib.h>
#include <string.h>

static void build(struct digraph *g, uint32_t n, const struct digraph_edge *edges, size_t n_edges)
{
    digraph_init(g, n);
    for (size_t i = 0; i < n_edges; i++)
        digraph_add(g, edges[i].from, edges[i].to);
    digraph_seal(g);
}

static void test_doubles_and_edges_to_itself_are_dropped(void **state)
{
    static const struct digraph_edge edges[] = {{0, 1}, {0, 1}, {1, 1}, {1, 0}};
    struct digraph g;

    (void)state;
    build(&g, 2, edges, HS_COUNT(edges));
    assert_int_equal(g.n_edges, 2);
    digraph_release(&g);
}

/* The graph of Cooper, Harvey and Kennedy's paper that needs more than one round: its dominators are all the root. */
static void test_dominators_of_an_irreducible_graph(void **state)
{
    static const struct digraph_edge edges[] = {{5, 4}, {5, 3}, {4, 1}, {3, 2}, {1, 2}, {2, 1}, {2, 0}, {0, 2}};
    struct digraph g;
    uint32_t idom[6];
    uint32_t order[6];

    (void)state;
    build(&g, 6, edges, HS_COUNT(edges));
    assert_int_equal(digraph_dominators(&g, 5, idom, order), 6);
    assert_int_equal(order[0], 5);
    for (uint32_t i = 1; i < 6; i++)
        if (i != 0)
            assert_int_equal(idom[i], 5);
    assert_int_equal(idom[0], 2);
    digraph_release(&g);
}

static void test_a_diamond_is_dominated_by_its_top_and_what_follows_by_its_end(void **state)
{
    static const struct digraph_edge edges[] = {{0, 1}, {1, 2}, {1, 3}, {2, 4}, {3, 4}, {4, 5}, {5, 1}};
    struct digraph g;
    uint32_t idom[7];
    uint32_t order[7];

    (void)state;
    build(&g, 7, edges, HS_COUNT(edges));
    assert_int_equal(digraph_dominators(&g, 0, idom, order), 6);
    assert_int_equal(idom[1], 0);
    assert_int_equal(idom[2], 1);
    assert_int_equal(idom[3], 1);
    assert_int_equal(idom[4], 1);
    assert_int_equal(idom[5], 4);
    assert_int_equal(idom[6], DIGRAPH_NONE);
    digraph_release(&g);
}

static uint32_t next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

static bool dominates(const uint32_t *idom, uint32_t root, uint32_t d, uint32_t n)
{
    for (;; n = idom[n]) {
        if (n == d)
            return true;
        if (n == root)
            return false;
    }
}

/* d dominates n exactly when n cannot be reached any more once d is taken away. */
static void check_by_removal(const struct digraph *g)
{
    uint32_t idom[40];
    uint32_t order[40];
    bool removed[40] = {false};
    bool before[40];
    bool reached[40];

    digraph_dominators(g, 0, idom, order);
    digraph_reach(g, 0, NULL, before);
    for (uint32_t d = 0; d < g->n; d++) {
        removed[d] = true;
        digraph_reach(g, 0, removed, reached);
        removed[d] = false;
        for (uint32_t n = 0; n < g->n; n++) {
            assert_int_equal(before[n], idom[n] != DIGRAPH_NONE);
            if (before[n])
                assert_int_equal(reached[n], !dominates(idom, 0, d, n));
        }
    }
}

static void check_components(const struct digraph *g)
{
    uint32_t component[40];
    bool reached[40][40];

    digraph_components(g, component);
    for (uint32_t i = 0; i < g->n; i++)
        digraph_reach(g, i, NULL, reached[i]);
    for (uint32_t i = 0; i < g->n; i++)
        for (uint32_t k = 0; k < g->n; k++)
            assert_int_equal(component[i] == component[k], reached[i][k] && reached[k][i]);
}

static void test_random_graphs_agree_with_removing_each_node(void **state)
{
    uint64_t seed = 20261121;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        const uint32_t n = 1 + next(&seed) % 40;
        const uint32_t n_edges = next(&seed) % (3 * n + 1);
        struct digraph g;

        digraph_init(&g, n);
        for (uint32_t i = 0; i < n_edges; i++)
            digraph_add(&g, next(&seed) % n, next(&seed) % n);
        digraph_seal(&g);
        check_by_removal(&g);
        check_components(&g);
        digraph_release(&g);
    }
}

/* As deep as no recursion would survive. */
static void test_a_long_chain_needs_no_stack(void **state)
{
    enum { N = 1000000 };
    uint32_t *idom = hs_alloc(N * sizeof *idom);
    uint32_t *order = hs_alloc(N * sizeof *order);
    struct digraph g;

    (void)state;
    digraph_init(&g, N);
    for (uint32_t i = 0; i + 1 < N; i++)
        digraph_add(&g, i, i + 1);
    digraph_seal(&g);
    assert_int_equal(digraph_dominators(&g, 0, idom, order), N);
    assert_int_equal(idom[N - 1], N - 2);
    assert_int_equal(digraph_components(&g, idom), N);
    digraph_release(&g);
    free(idom);
    free(order);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_and_edges_to_itself_are_dropped),
        cmocka_unit_test(test_dominators_of_an_irreducible_graph),
        cmocka_unit_test(test_a_diamond_is_dominated_by_its_top_and_what_follows_by_its_end),
        cmocka_unit_test(test_random_graphs_agree_with_removing_each_node),
        cmocka_unit_test(test_a_long_chain_needs_no_stack),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
