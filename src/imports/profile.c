#include "imports/profile.h"

#include <stdlib.h>
#include <string.h>

struct measured {
    struct cost cost;
    uint32_t n_loads;
};

void profile_init(struct profile *p, uint32_t n_runs)
{
    HS_CHECK(n_runs >= 1 && n_runs <= PROFILE_MAX_RUNS);
    *p = (struct profile){.n_runs = n_runs};
}

void profile_release(struct profile *p)
{
    for (uint32_t i = 0; i < p->n_statements; i++) {
        free(p->statements[i].key);
        free(p->statements[i].targets);
    }
    free(p->statements);
    free(p->modules);
    free(p->closings);
    free(p->roots);
    free(p->uses);
    free(p->takings);
    free(p->measured);
    map_release(&p->by_name);
    map_release(&p->by_place);
    *p = (struct profile){0};
}

uint32_t profile_find(const struct profile *p, const char *name)
{
    uint32_t found = PROFILE_NONE;

    map_get(&p->by_name, name, strlen(name), &found);
    return found;
}

/* Room for one more in an array that doubles when it is full, at powers of two. */
static void *room(void *array, uint32_t n, size_t size)
{
    if (n & (n - 1))
        return array;
    return hs_realloc(array, (n ? (size_t)n * 2 : 1) * size);
}

static uint32_t module_of(struct profile *p, const char *name)
{
    uint32_t at = profile_find(p, name);

    if (at != PROFILE_NONE)
        return at;
    at = p->n_modules;
    if (!at || !(at & (at - 1))) {
        const size_t cap = at ? (size_t)at * 2 : 1;

        p->modules = hs_realloc(p->modules, cap * sizeof *p->modules);
        p->measured = hs_realloc(p->measured, cap * p->n_runs * sizeof *p->measured);
    }
    p->modules[at] = (struct module){
        .name = name,
        .file = "",
        .statement = PROFILE_NONE,
        .within = PROFILE_NONE,
        .package = PROFILE_NONE,
        .first = PROFILE_NONE,
    };
    memset(&p->measured[(size_t)at * p->n_runs], 0, p->n_runs * sizeof *p->measured);
    map_put(&p->by_name, p->modules[at].name, strlen(name), at);
    p->n_modules++;
    return at;
}

/* ---- statements */

struct key {
    char *bytes; /* owned */
    size_t n;
};

static struct key key_of(const struct log *log, const struct log_place *place, uint32_t flags, const char *target)
{
    const char *importer = log->texts[place->importer];
    const char *file = log->texts[place->file];
    const size_t n_importer = strlen(importer) + 1;
    const size_t n_file = strlen(file) + 1;
    const size_t n_target = flags & LOG_DYNAMIC_CALL ? strlen(target) : 0;
    struct key key = {.n = sizeof place->line + n_importer + n_file + n_target};

    key.bytes = hs_alloc(key.n + 1);
    memcpy(key.bytes, &place->line, sizeof place->line);
    memcpy(key.bytes + sizeof place->line, importer, n_importer);
    memcpy(key.bytes + sizeof place->line + n_importer, file, n_file);
    memcpy(key.bytes + key.n - n_target, target, n_target);
    return key;
}

static uint32_t statement_of(struct profile *p, const struct log *log, const struct log_place *place, uint32_t flags,
                             const char *target)
{
    struct key key = key_of(log, place, flags, target);
    uint32_t at;

    if (map_get(&p->by_place, key.bytes, key.n, &at)) {
        free(key.bytes);
        return at;
    }
    at = p->n_statements;
    p->statements = room(p->statements, at, sizeof *p->statements);
    p->statements[at] = (struct statement){
        .key = key.bytes,
        .key_len = key.n,
        .importer = module_of(p, log->texts[place->importer]),
        .file = log->texts[place->file],
        .line = place->line,
        .function = log->texts[place->function],
        .flags = flags & (LOG_IN_FUNCTION | LOG_DYNAMIC_CALL | LOG_LAZY),
    };
    map_put(&p->by_place, key.bytes, key.n, at);
    p->n_statements++;
    return at;
}

static void add_target(struct statement *s, uint32_t target)
{
    for (uint32_t i = 0; i < s->n_targets; i++)
        if (s->targets[i] == target)
            return;
    s->targets = room(s->targets, s->n_targets, sizeof *s->targets);
    s->targets[s->n_targets++] = target;
}

/* Whose code is it that nothing was seen to import: it hangs where it was first seen. */
static void add_root(struct profile *p, uint32_t module, uint32_t within)
{
    for (uint32_t i = 0; i < p->n_roots; i++)
        if (p->roots[i].from == module)
            return;
    p->roots = room(p->roots, p->n_roots, sizeof *p->roots);
    p->roots[p->n_roots++] = (struct digraph_edge){module, within};
}

static void add_use(struct profile *p, uint32_t statement, uint32_t target)
{
    p->uses = room(p->uses, p->n_uses, sizeof *p->uses);
    p->uses[p->n_uses++] = (struct digraph_edge){statement, target};
}

static void add_closing(struct profile *p, uint32_t statement, uint32_t target)
{
    for (uint32_t i = 0; i < p->n_closings; i++)
        if (p->closings[i].statement == statement && p->closings[i].target == target)
            return;
    p->closings = room(p->closings, p->n_closings, sizeof *p->closings);
    p->closings[p->n_closings++] = (struct closing){statement, target};
}

static void add_taking(struct profile *p, uint32_t module, const char *names)
{
    p->takings = room(p->takings, p->n_takings, sizeof *p->takings);
    p->takings[p->n_takings++] = (struct taking){module, names};
}

/* ---- one log */

static void add_cost(struct cost *sum, const struct log_load *load)
{
    sum->cpu_ns += load->self_cpu_ns;
    sum->wall_ns += load->self_wall_ns;
    sum->gc_ns += load->gc_ns;
    sum->bytes += load->self_bytes;
    for (int i = 0; i < LOG_N_PHASES; i++)
        sum->phase_ns[i] += load->phase_ns[i];
}

static void add_load(struct profile *p, const struct log *log, const struct log_load *load, const uint32_t *by_seq)
{
    const uint32_t at = by_seq[load->seq];
    const uint32_t within = load->parent < log->n_loads ? by_seq[load->parent] : PROFILE_NONE;
    const char *name = log->texts[load->name];
    uint32_t statement = PROFILE_NONE;
    struct measured *m;

    if (load->place.importer) {
        statement = statement_of(p, log, &load->place, load->flags, name);
        add_target(&p->statements[statement], at);
        if (!p->modules[p->statements[statement].importer].n_loads)
            add_root(p, p->statements[statement].importer, within);
    } else {
        add_root(p, at, within);
    }
    if (load->flags & LOG_WAITED)
        return;
    m = &p->measured[(size_t)at * p->n_runs + p->n_added]; /* not before: a new module may move the array */
    add_cost(&m->cost, load);
    m->n_loads++;
    if (p->modules[at].first == PROFILE_NONE || load->seq < p->modules[at].first) {
        p->modules[at].first = load->seq;
        p->modules[at].statement = statement;
        p->modules[at].within = within;
        p->modules[at].flags = load->flags;
        p->modules[at].file = log->texts[load->origin];
    }
}

/* pytest puts this import into the first line of every test module that it rewrites. */
static bool is_inserted(const struct log *log, const struct log_edge *edge)
{
    return !strcmp(log->texts[edge->target], "_pytest.assertion.rewrite") &&
           strncmp(log->texts[edge->place.importer], "_pytest", 7) != 0;
}

static void add_edge(struct profile *p, const struct log *log, const struct log_edge *edge, const uint32_t *by_seq)
{
    const uint32_t target = module_of(p, log->texts[edge->target]);
    const uint32_t at = statement_of(p, log, &edge->place, edge->flags, log->texts[edge->target]);
    const uint32_t within = edge->loading < log->n_loads ? by_seq[edge->loading] : PROFILE_NONE;

    add_target(&p->statements[at], target);
    if (!p->modules[p->statements[at].importer].n_loads)
        add_root(p, p->statements[at].importer, within);
    if (!(edge->flags & LOG_PARENT))
        add_use(p, at, target);
    if (edge->names && p->statements[at].importer != target)
        add_taking(p, target, log->texts[edge->names]);
    if (edge->flags & LOG_PARTIAL)
        add_closing(p, at, target);
}

void profile_add(struct profile *p, const struct log *log)
{
    uint32_t *by_seq = hs_alloc((log->n_loads + 1) * sizeof *by_seq);

    HS_CHECK(p->n_added < p->n_runs);
    for (uint32_t i = 0; i < log->n_loads; i++)
        by_seq[i] = PROFILE_NONE;
    /* Loads are written when they end: a killed process leaves numbers out, and a wrong file may have any. */
    for (uint32_t i = 0; i < log->n_loads; i++) {
        const uint32_t at = module_of(p, log->texts[log->loads[i]->name]);

        if (log->loads[i]->seq < log->n_loads)
            by_seq[log->loads[i]->seq] = at;
        if (!p->modules[at].n_loads)
            p->modules[at].n_loads = 1;
    }
    for (uint32_t i = 0; i < log->n_loads; i++)
        if (log->loads[i]->seq < log->n_loads && by_seq[log->loads[i]->seq] != PROFILE_NONE)
            add_load(p, log, log->loads[i], by_seq);
    for (uint32_t i = 0; i < log->n_edges; i++)
        if (!is_inserted(log, log->edges[i]))
            add_edge(p, log, log->edges[i], by_seq);
    p->full |= log->header->full != 0;
    p->before[p->n_added++] = (int64_t)log->header->before_ns;
    free(by_seq);
}

/* ---- several processes */

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

static int64_t median(int64_t *values, uint32_t n)
{
    if (!n)
        return 0;
    qsort(values, n, sizeof *values, by_size);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* A number in struct cost, by its place there. */
static int64_t number_at(const struct cost *cost, size_t offset)
{
    int64_t value;

    memcpy(&value, (const char *)cost + offset, sizeof value);
    return value;
}

_Static_assert(sizeof(struct cost) == (4 + LOG_N_PHASES) * sizeof(int64_t), "a row of 64-bit numbers");

/* A process in which the module was not loaded counts as 0: it is not always there. */
static void reduce(struct module *m, const struct measured *runs, uint32_t n)
{
    for (size_t offset = 0; offset < sizeof(struct cost); offset += sizeof(int64_t)) {
        int64_t values[PROFILE_MAX_RUNS];
        int64_t middle;

        for (uint32_t i = 0; i < n; i++)
            values[i] = number_at(&runs[i].cost, offset);
        middle = median(values, n);
        memcpy((char *)&m->median + offset, &middle, sizeof middle);
        memcpy((char *)&m->least + offset, &values[0], sizeof values[0]);
    }
    for (uint32_t i = 0; i < n; i++)
        if (runs[i].n_loads > m->n_loads)
            m->n_loads = runs[i].n_loads;
}

static void find_package(struct profile *p, struct module *m)
{
    const char *dot = strrchr(m->name, '.');

    if (dot)
        map_get(&p->by_name, m->name, (size_t)(dot - m->name), &m->package);
}

static void total(struct profile *p)
{
    int64_t cpu[PROFILE_MAX_RUNS] = {0};
    int64_t gc[PROFILE_MAX_RUNS] = {0};
    int64_t wall[PROFILE_MAX_RUNS] = {0};
    int64_t bytes[PROFILE_MAX_RUNS] = {0};
    int64_t before[PROFILE_MAX_RUNS];

    for (uint32_t run = 0; run < p->n_added; run++)
        for (uint32_t i = 0; i < p->n_modules; i++) {
            const struct cost *cost = &p->measured[(size_t)i * p->n_runs + run].cost;

            cpu[run] += (int64_t)(cost->cpu_ns + cost->gc_ns);
            gc[run] += (int64_t)cost->gc_ns;
            wall[run] += (int64_t)(cost->wall_ns + cost->gc_ns);
            bytes[run] += cost->bytes;
        }
    p->cpu_ns = (uint64_t)median(cpu, p->n_added);
    p->least_cpu_ns = (uint64_t)cpu[0];
    p->gc_ns = (uint64_t)median(gc, p->n_added);
    p->wall_ns = (uint64_t)median(wall, p->n_added);
    p->bytes = median(bytes, p->n_added);
    memcpy(before, p->before, sizeof before);
    p->before_ns = (uint64_t)median(before, p->n_added);
}

void profile_finish(struct profile *p)
{
    HS_CHECK(p->n_added);
    for (uint32_t i = 0; i < p->n_modules; i++) {
        reduce(&p->modules[i], &p->measured[(size_t)i * p->n_runs], p->n_added);
        find_package(p, &p->modules[i]);
    }
    total(p);
}

/* ---- whose it is */

static bool below(const char *file, const char *folder)
{
    const size_t n = strlen(folder);

    return n && !strncmp(file, folder, n) && file[n] == '/';
}

static bool is_own(const char *file, const char *root)
{
    static const char *const foreign[] = {"/site-packages/", "/dist-packages/", "/lib/python3.", "/.venv/",
                                          "/venv/",          "/.tox/",          "/.nox/"};
    if (!below(file, root))
        return false;
    for (size_t i = 0; i < HS_COUNT(foreign); i++)
        if (strstr(file + strlen(root), foreign[i]))
            return false;
    return true;
}

void profile_own(struct profile *p, const char *root)
{
    for (uint32_t i = 0; i < p->n_modules; i++)
        p->modules[i].own = is_own(p->modules[i].file, root);
    for (uint32_t i = 0; i < p->n_statements; i++)
        p->statements[i].own = is_own(p->statements[i].file, root);
}
