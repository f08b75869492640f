#include "harness.h"

#include <stdio.h>

#include "imports/whatif.h"
#include "log_build.h"

#include <stdlib.h>
#include <string.h>

struct made {
    struct log log;
    struct profile profile;
    struct whatif whatif;
};

static void make(struct made *m, struct log_build *b)
{
    struct err err;

    assert_int_equal(build_end(b, &m->log, &err), 0);
    profile_init(&m->profile, 1);
    profile_add(&m->profile, &m->log);
    profile_finish(&m->profile);
    profile_own(&m->profile, "/p");
    whatif_init(&m->whatif, &m->profile);
}

static void unmake(struct made *m)
{
    whatif_release(&m->whatif);
    profile_release(&m->profile);
    log_close(&m->log);
}

static uint32_t statement(const struct made *m, const char *importer, uint32_t line)
{
    for (uint32_t i = 0; i < m->profile.n_statements; i++)
        if (m->profile.statements[i].line == line &&
            !strcmp(m->profile.modules[m->profile.statements[i].importer].name, importer))
            return i;
    fail_msg("no statement at %s:%u", importer, line);
    return 0;
}

static uint64_t saved_ms(const struct made *m, const char *importer, uint32_t line)
{
    return whatif_statement(&m->whatif, statement(m, importer, line)).cpu_ns / 1000000;
}

/* Loads are written when they end, and numbered when they start. */
static void number(struct log_build *b, size_t nth, uint32_t seq, uint32_t parent)
{
    for (size_t at = sizeof(struct log_header); at < b->bytes.len;) {
        struct log_record *head = (struct log_record *)(void *)(b->bytes.data + at);
        struct log_load *load = (struct log_load *)(void *)head;

        if (head->type == LOG_LOAD && nth-- == 0) {
            load->seq = seq;
            load->parent = parent;
            return;
        }
        at += head->size;
    }
    fail();
}

/* main -> a -> shared, main -> b -> shared: neither a nor b alone saves what they share. */
static void test_what_two_need_goes_only_with_both(void **state)
{
    struct log_build b;
    struct made m;
    uint32_t both[2];
    bool gone[16];

    (void)state;
    build_begin(&b);
    build_load(&b, "a", 1, "shared", 100, 0);
    build_load(&b, "__main__", 1, "a", 10, 0);
    build_load(&b, "__main__", 2, "b", 20, 0);
    build_edge(&b, "b", 1, "shared", NULL, LOG_NONE);
    make(&m, &b);
    assert_int_equal(saved_ms(&m, "__main__", 1), 10);
    assert_int_equal(saved_ms(&m, "__main__", 2), 20);
    assert_int_equal(saved_ms(&m, "a", 1), 0);
    both[0] = statement(&m, "__main__", 1);
    both[1] = statement(&m, "__main__", 2);
    assert_int_equal(whatif_set(&m.whatif, both, 2, gone).cpu_ns, 130000000);
    assert_true(gone[profile_find(&m.profile, "shared")]);
    both[0] = statement(&m, "a", 1);
    both[1] = statement(&m, "b", 1);
    assert_int_equal(whatif_set(&m.whatif, both, 2, gone).cpu_ns, 100000000);
    assert_int_equal(whatif_all(&m.whatif).n_modules, 3);
    unmake(&m);
}

static void test_a_module_keeps_its_package(void **state)
{
    struct log_build b;
    struct made m;

    (void)state;
    build_begin(&b);
    build_load(&b, "__main__", 1, "pk", 50, LOG_PACKAGE | LOG_PARENT);
    build_load(&b, "__main__", 1, "pk.sub", 5, 0);
    build_edge(&b, "__main__", 2, "pk", NULL, LOG_NONE);
    make(&m, &b);
    assert_int_equal(saved_ms(&m, "__main__", 1), 5); /* line 2 still asks for pk */
    assert_int_equal(saved_ms(&m, "__main__", 2), 0);
    unmake(&m);
}

/* A parent package is loaded in the load of its module: the code that asked for both did not run in it. */
static void test_code_that_was_there_before_hangs_at_its_outermost_import(void **state)
{
    struct log_build b;
    struct made m;

    (void)state;
    build_begin(&b);
    build_load(&b, "before", 5, "pk", 50, LOG_PACKAGE | LOG_PARENT);
    build_load(&b, "before", 5, "pk.sub", 5, 0);
    number(&b, 0, 1, 0);
    number(&b, 1, 0, LOG_NONE);
    make(&m, &b);
    assert_int_equal(m.whatif.n_unexplained, 0);
    assert_int_equal(saved_ms(&m, "before", 5), 55);
    unmake(&m);
}

static void test_what_nothing_explains_keeps_its_own_graph(void **state)
{
    struct log_build b;
    struct made m;

    (void)state;
    build_begin(&b);
    build_load(&b, "a", 1, "b", 10, 0);
    build_load(&b, "b", 1, "a", 20, 0); /* each by the other: a log that lost its beginning */
    build_load(&b, "b", 2, "c", 40, 0);
    make(&m, &b);
    assert_int_equal(m.whatif.n_unexplained, 1);
    assert_int_equal(saved_ms(&m, "b", 2), 40);
    assert_int_equal(whatif_all(&m.whatif).cpu_ns, 70000000);
    unmake(&m);
}

static void in_function(struct log_build *b)
{
    struct log_load *load = (struct log_load *)(void *)(b->bytes.data + b->bytes.len - sizeof *load);

    load->flags |= LOG_IN_FUNCTION;
}

/* main -> tools, main -> heavy; heavy calls tools.f(), which imports late: that goes with heavy. */
static void test_what_a_function_imports_goes_with_its_caller(void **state)
{
    struct log_build b;
    struct made m;

    (void)state;
    build_begin(&b);
    build_load(&b, "__main__", 1, "tools", 1, 0);
    build_load(&b, "tools", 9, "late", 40, 0);
    in_function(&b);
    build_load(&b, "__main__", 2, "heavy", 2, 0);
    number(&b, 0, 0, LOG_NONE);
    number(&b, 1, 2, 1);
    number(&b, 2, 1, LOG_NONE);
    make(&m, &b);
    assert_int_equal(saved_ms(&m, "__main__", 2), 42);
    assert_int_equal(saved_ms(&m, "__main__", 1), 1);
    unmake(&m);
}

/* heavy alone needs tools: then making `import tools` lazy saves what its function imports, too. */
static void test_what_a_function_imports_goes_with_its_module_when_only_the_caller_needs_that(void **state)
{
    struct log_build b;
    struct made m;

    (void)state;
    build_begin(&b);
    build_load(&b, "heavy", 1, "tools", 1, 0);
    build_load(&b, "tools", 9, "late", 40, 0);
    in_function(&b);
    build_load(&b, "__main__", 2, "heavy", 2, 0);
    number(&b, 0, 1, 0);
    number(&b, 1, 2, 0);
    number(&b, 2, 0, LOG_NONE);
    make(&m, &b);
    assert_int_equal(saved_ms(&m, "heavy", 1), 41);
    assert_int_equal(saved_ms(&m, "__main__", 2), 43);
    unmake(&m);
}

static void test_the_collector_is_shared_out(void **state)
{
    struct log_build b;
    struct made m;
    struct log_load *load;

    (void)state;
    build_begin(&b);
    build_load(&b, "__main__", 1, "a", 30, 0);
    build_load(&b, "__main__", 2, "b", 10, 0);
    load = (struct log_load *)(void *)(b.bytes.data + b.bytes.len - sizeof *load);
    load->gc_ns = 20000000; /* it happened to hit b */
    make(&m, &b);
    assert_int_equal(saved_ms(&m, "__main__", 1), 45);
    assert_int_equal(saved_ms(&m, "__main__", 2), 15);
    assert_int_equal(m.profile.cpu_ns, 60000000);
    assert_int_equal(m.profile.gc_ns, 20000000);
    unmake(&m);
}

static void test_groups_are_the_users_statements_into_one_distribution(void **state)
{
    struct log_build b;
    struct made m;
    struct group *groups;
    uint32_t chosen[4];
    struct saving added[4];
    uint32_t n;

    (void)state;
    build_begin(&b);
    build_load(&b, "app", 1, "big.one", 100, 0);
    build_load(&b, "app", 2, "small", 10, 0);
    build_load(&b, "__main__", 1, "app", 1, 0);
    build_load(&b, "__main__", 2, "other", 1, 0);
    build_edge(&b, "other", 1, "big.one", NULL, LOG_NONE);
    make(&m, &b);
    for (uint32_t i = 0; i < m.profile.n_modules; i++) /* all lie in /p; the libraries do not */
        m.profile.modules[i].own = strstr("app other __main__", m.profile.modules[i].name) != NULL;
    groups = whatif_groups(&m.whatif, &n);
    assert_int_equal(n, 2);
    assert_int_equal(groups[0].name_len, 3);
    assert_memory_equal(groups[0].name, "big", 3);
    assert_int_equal(groups[0].n_statements, 2);
    assert_int_equal(groups[0].saving.cpu_ns, 100000000);
    assert_int_equal(whatif_best(&m.whatif, groups, n, 4, chosen, added), 2);
    assert_int_equal(chosen[0], 0);
    assert_int_equal(added[1].cpu_ns, 10000000);
    groups_free(groups, n);
    unmake(&m);
}

static void test_a_circle_has_its_closing_edge(void **state)
{
    struct log_build b;
    struct made m;
    struct circle *circles;
    uint32_t n;

    (void)state;
    build_begin(&b);
    build_edge(&b, "b", 3, "a", "name", 1); /* while b was loaded in a */
    build_load(&b, "a", 1, "b", 1, 0);
    build_edge(&b, "a", 1, "b", NULL, 0);
    build_load(&b, "a", 9, "a.other", 1, 0);
    build_load(&b, "a", 9, "a.sub", 1, 0);
    build_edge(&b, "a.sub", 2, "a", "other", 0); /* asks for a module of it only: no circle */
    build_edge(&b, "a", 9, "a.sub", NULL, 0);
    build_load(&b, "__main__", 1, "a", 1, LOG_PACKAGE);
    build_load(&b, "__main__", 2, "c", 1, 0);
    build_edge(&b, "c", 1, "a", NULL, 4);
    for (size_t i = 0; i < 4; i++)
        number(&b, i, (uint32_t[]){1, 2, 3, 0}[i], i < 3 ? 0 : LOG_NONE);
    make(&m, &b);
    circles = whatif_circles(&m.profile, &n);
    assert_int_equal(n, 1);
    assert_int_equal(circles[0].n_modules, 2);
    assert_int_equal(circles[0].n_closings, 1);
    assert_int_equal(m.profile.statements[m.profile.closings[circles[0].closings[0]].statement].line, 3);
    circles_free(circles, n);
    unmake(&m);
}

static void test_medians_and_least_of_several_processes(void **state)
{
    static const uint64_t times[3] = {30, 10, 20};
    struct log logs[3];
    struct profile p;
    struct err err;

    (void)state;
    profile_init(&p, 3);
    for (int i = 0; i < 3; i++) {
        struct log_build b;

        build_begin(&b);
        build_load(&b, "__main__", 1, "a", times[i], 0);
        assert_int_equal(build_end(&b, &logs[i], &err), 0);
        profile_add(&p, &logs[i]);
    }
    profile_finish(&p);
    assert_int_equal(p.modules[profile_find(&p, "a")].median.cpu_ns, 20000000);
    assert_int_equal(p.modules[profile_find(&p, "a")].least.cpu_ns, 10000000);
    assert_int_equal(p.least_cpu_ns, 10000000);
    assert_int_equal(p.n_statements, 1);
    profile_release(&p);
    for (int i = 0; i < 3; i++)
        log_close(&logs[i]);
}

static void test_what_lies_in_an_environment_is_not_the_users(void **state)
{
    static const char *const foreign[] = {"venv/lib/python3.13/x", "lib/site-packages/x", ".tox/x"};
    struct log_build b;
    struct made m;

    (void)state;
    build_begin(&b);
    build_load(&b, "__main__", 1, "mine", 1, 0);
    for (size_t i = 0; i < HS_COUNT(foreign); i++)
        build_load(&b, "__main__", 2, foreign[i], 1, 0);
    make(&m, &b);
    assert_true(m.profile.modules[profile_find(&m.profile, "mine")].own);
    assert_false(m.profile.modules[profile_find(&m.profile, foreign[1])].own);
    assert_false(m.profile.modules[profile_find(&m.profile, foreign[0])].own);
    profile_own(&m.profile, "/q");
    assert_false(m.profile.modules[profile_find(&m.profile, "mine")].own);
    unmake(&m);
}

/* ---- random programs, against a simulation that shares no code with it */

enum { MOST = 30 };

struct program {
    uint32_t n;               /* modules; 0 is __main__ */
    bool imports[MOST][MOST]; /* at line = target + 1 */
    uint64_t ms[MOST];
};

static uint32_t next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

static void visit(const struct program *p, uint32_t at, bool *seen)
{
    seen[at] = true;
    for (uint32_t to = 0; to < p->n; to++)
        if (p->imports[at][to] && !seen[to])
            visit(p, to, seen);
}

static void name_of(char name[16], uint32_t at)
{
    snprintf(name, 16, at ? "m%u" : "__main__", at);
}

static void execute(const struct program *p, uint32_t at, bool *seen, struct log_build *b)
{
    char importer[16];
    char name[16];

    name_of(importer, at);
    seen[at] = true;
    for (uint32_t to = 1; to < p->n; to++) {
        if (!p->imports[at][to])
            continue;
        name_of(name, to);
        if (!seen[to]) {
            execute(p, to, seen, b);
            build_load(b, importer, to + 1, name, p->ms[to], 0);
        }
        build_edge(b, importer, to + 1, name, NULL, LOG_NONE);
    }
}

static uint64_t total_ms(const struct program *p)
{
    bool seen[MOST] = {false};
    uint64_t sum = 0;

    visit(p, 0, seen);
    for (uint32_t i = 1; i < p->n; i++)
        sum += seen[i] ? p->ms[i] : 0;
    return sum;
}

static void check_program(struct program *p, uint64_t *seed)
{
    const uint64_t all = total_ms(p);
    bool seen[MOST] = {false};
    struct log_build b;
    struct made m;

    build_begin(&b);
    execute(p, 0, seen, &b);
    if (!b.n_loads) {
        str_release(&b.bytes);
        return;
    }
    make(&m, &b);
    assert_int_equal(whatif_all(&m.whatif).cpu_ns / 1000000, all);
    assert_int_equal(m.whatif.n_unexplained, 0);
    for (uint32_t i = 0; i < m.profile.n_statements; i++) {
        const uint32_t other = next(seed) % m.profile.n_statements;
        const uint32_t pair[2] = {i, other};
        struct program changed = *p;

        for (int k = 0; k < 2; k++) {
            const struct statement *s = &m.profile.statements[pair[k]];
            const char *importer = m.profile.modules[s->importer].name;

            changed.imports[importer[0] == 'm' ? strtoul(importer + 1, NULL, 10) : 0][s->line - 1] = false;
            if (k == 0)
                assert_int_equal(whatif_statement(&m.whatif, i).cpu_ns / 1000000, all - total_ms(&changed));
        }
        assert_int_equal(whatif_set(&m.whatif, pair, 2, NULL).cpu_ns / 1000000, all - total_ms(&changed));
    }
    unmake(&m);
}

static void test_random_programs_agree_with_taking_statements_out(void **state)
{
    uint64_t seed = 7;

    (void)state;
    for (int round = 0; round < 300; round++) {
        struct program p = {.n = 2 + next(&seed) % (MOST - 2)};
        const uint32_t density = 2 + next(&seed) % 12;

        for (uint32_t i = 0; i < p.n; i++) {
            p.ms[i] = 1 + next(&seed) % 100;
            for (uint32_t k = 1; k < p.n; k++)
                p.imports[i][k] = i != k && next(&seed) % density == 0;
        }
        check_program(&p, &seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_two_need_goes_only_with_both),
        cmocka_unit_test(test_a_module_keeps_its_package),
        cmocka_unit_test(test_code_that_was_there_before_hangs_at_its_outermost_import),
        cmocka_unit_test(test_what_nothing_explains_keeps_its_own_graph),
        cmocka_unit_test(test_what_a_function_imports_goes_with_its_caller),
        cmocka_unit_test(test_what_a_function_imports_goes_with_its_module_when_only_the_caller_needs_that),
        cmocka_unit_test(test_the_collector_is_shared_out),
        cmocka_unit_test(test_groups_are_the_users_statements_into_one_distribution),
        cmocka_unit_test(test_a_circle_has_its_closing_edge),
        cmocka_unit_test(test_medians_and_least_of_several_processes),
        cmocka_unit_test(test_what_lies_in_an_environment_is_not_the_users),
        cmocka_unit_test(test_random_programs_agree_with_taking_statements_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
