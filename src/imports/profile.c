#include "imports/profile.h"

#include "base/str.h"

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
        free(p->statements[i].callers);
    }
    free(p->statements);
    free(p->modules);
    free(p->closings);
    free(p->roots);
    free(p->uses);
    free(p->takings);
    work_release(p);
    for (uint32_t i = 0; i < p->n_texts; i++)
        free(p->texts[i]);
    free(p->texts);
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

static void add_once(uint32_t **list, uint32_t *n, uint32_t value)
{
    for (uint32_t i = 0; i < *n; i++)
        if ((*list)[i] == value)
            return;
    *list = room(*list, *n, sizeof **list);
    (*list)[(*n)++] = value;
}

static void add_target(struct statement *s, uint32_t target)
{
    add_once(&s->targets, &s->n_targets, target);
}

static void add_caller(struct statement *s, uint32_t within)
{
    if (s->flags & LOG_IN_FUNCTION)
        add_once(&s->callers, &s->n_callers, within == PROFILE_NONE ? s->importer : within);
}

/*
 * Loads are read by their end, inner ones first, and a parent package is loaded in the load of the module that was asked
 * for: the outermost place is where the code really ran.
 */
static void add_root(struct profile *p, uint32_t module, uint32_t within, uint32_t seq)
{
    const struct root root = {module, within, within == PROFILE_NONE ? 0 : seq + 1};

    for (uint32_t i = 0; i < p->n_roots; i++) {
        if (p->roots[i].module != module)
            continue;
        if (root.when < p->roots[i].when)
            p->roots[i] = root;
        return;
    }
    p->roots = room(p->roots, p->n_roots, sizeof *p->roots);
    p->roots[p->n_roots++] = root;
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

static void add_taking(struct profile *p, uint32_t module, const char *name)
{
    p->takings = room(p->takings, p->n_takings, sizeof *p->takings);
    p->takings[p->n_takings++] = (struct taking){module, name};
}

/* ---- one log */

/* A module's __getattr__ imported `target` when it was asked for a name: `from module import name` needs it, too. */
struct provided {
    uint32_t module;
    uint32_t name; /* text */
    uint32_t target;
};

struct reading {
    struct profile *p;
    const struct log *log;
    const struct log_load **by_seq; /* owned; NULL: a load that did not end */
    uint32_t *modules;              /* owned: of each seq */
    const void **first;             /* owned: of each module that is loaded in this log, its first record */
    uint32_t n_first;
    struct provided *provided; /* owned */
    uint32_t n_provided;
};

static uint32_t module_of_load(const struct reading *r, uint32_t seq)
{
    return seq < r->log->n_loads && r->by_seq[seq] ? r->modules[seq] : PROFILE_NONE;
}

static void add_cost(struct cost *sum, const struct log_load *load)
{
    sum->cpu_ns += load->self_cpu_ns;
    sum->wall_ns += load->self_wall_ns;
    sum->gc_ns += load->gc_ns;
    sum->bytes += load->self_bytes;
    for (int i = 0; i < LOG_N_PHASES; i++)
        sum->phase_ns[i] += load->phase_ns[i];
}

/*
 * The load that a load happened in, for people: a package is loaded in the load of the module in it that was asked for, and
 * is shown beside that, not below it. LOG_NONE: in none.
 */
static uint32_t outer_load(const struct reading *r, const struct log_load *load)
{
    uint32_t seq = load->parent;

    while (load->flags & LOG_PARENT && module_of_load(r, seq) != PROFILE_NONE && r->by_seq[seq]->seq < load->seq) {
        load = r->by_seq[seq];
        seq = load->parent;
    }
    return seq;
}

static void add_load(const struct reading *r, const struct log_load *load)
{
    struct profile *p = r->p;
    const uint32_t at = r->modules[load->seq];
    const uint32_t outer = outer_load(r, load);
    const uint32_t within = module_of_load(r, outer);
    uint32_t statement = PROFILE_NONE;
    struct measured *m;

    if (load->flags & LOG_PARENT && load->flags & LOG_DYNAMIC_CALL) {
        /* Each target of a call is a statement of its own, and this one was asked for by the module in it. */
    } else if (load->place.importer) {
        statement = statement_of(p, r->log, &load->place, load->flags, r->log->texts[load->name]);
        add_target(&p->statements[statement], at);
        add_caller(&p->statements[statement], within);
        if (!p->modules[p->statements[statement].importer].n_loads)
            add_root(p, p->statements[statement].importer, within, outer);
    } else {
        add_root(p, at, within, outer);
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
        p->modules[at].file = r->log->texts[load->origin];
    }
}

/* ---- what a statement means */

/* The module of that name; made when there is none. */
static uint32_t module_named(struct profile *p, const struct str *name)
{
    uint32_t at;

    if (map_get(&p->by_name, str_text(name), name->len, &at))
        return at;
    p->texts = room(p->texts, p->n_texts, sizeof *p->texts);
    p->texts[p->n_texts] = hs_strdup(str_text(name));
    return module_of(p, p->texts[p->n_texts++]);
}

/* Fills name with the absolute name of what the statement imports; false when it leads out of the top. */
static bool resolve(const struct reading *r, const struct log_edge *edge, struct str *name)
{
    const char *package = r->log->texts[edge->package];
    size_t n = strlen(package);

    str_reset(name);
    if (edge->level) {
        for (uint32_t i = 1; i < edge->level && n; i++)
            while (n && package[--n] != '.')
                ;
        if (!n)
            return false;
        str_add(name, package, n);
        if (edge->name)
            str_puts(name, ".");
    }
    str_puts(name, r->log->texts[edge->name]);
    return name->len > 0;
}

static void add_provided(struct reading *r, const struct log_place *place, uint32_t target)
{
    if (!place->attribute)
        return;
    r->provided = room(r->provided, r->n_provided, sizeof *r->provided);
    r->provided[r->n_provided++] =
        (struct provided){module_of(r->p, r->log->texts[place->importer]), place->attribute, target};
}

static void find_provided(struct reading *r, struct str *name)
{
    for (uint32_t i = 0; i < r->log->n_loads; i++)
        add_provided(r, &r->log->loads[i]->place, module_of(r->p, r->log->texts[r->log->loads[i]->name]));
    for (uint32_t i = 0; i < r->log->n_edges; i++)
        if (r->log->edges[i]->place.attribute && resolve(r, r->log->edges[i], name))
            add_provided(r, &r->log->edges[i]->place, module_named(r->p, name));
}

/* The module was being loaded when the statement was executed: its code had not come to its end. */
static bool was_loading(const struct reading *r, const struct log_edge *edge, uint32_t module)
{
    uint32_t seq = edge->loading;

    for (uint32_t depth = 0; depth <= r->log->n_loads && seq < r->log->n_loads && r->by_seq[seq]; depth++) {
        if (r->modules[seq] == module)
            return true;
        seq = r->by_seq[seq]->parent;
    }
    return false;
}

/* The module was there after the statement. */
static bool was_there(const struct reading *r, const struct log_edge *edge, uint32_t module)
{
    const void *first = module < r->n_first ? r->first[module] : NULL;

    return first && ((const char *)first < (const char *)edge || was_loading(r, edge, module));
}

/* `from target import a, b`: the statement reaches what of it are modules, too. True when all are. */
static bool add_submodules(const struct reading *r, const struct log_edge *edge, uint32_t statement, struct str *name)
{
    const size_t len = name->len;
    bool all = edge->n_names > 0;

    for (uint32_t i = 0; i < edge->n_names; i++) {
        uint32_t module;

        name->len = len;
        str_addf(name, ".%s", r->log->texts[edge->names[i]]);
        if (map_get(&r->p->by_name, str_text(name), name->len, &module) && was_there(r, edge, module)) {
            add_target(&r->p->statements[statement], module);
            add_use(r->p, statement, module);
        } else {
            all = false;
        }
    }
    return all;
}

static void add_what_is_provided(const struct reading *r, const struct log_edge *edge, uint32_t statement,
                                 uint32_t module)
{
    for (uint32_t i = 0; i < r->n_provided; i++)
        for (uint32_t k = 0; k < edge->n_names && r->provided[i].module == module; k++)
            if (edge->names[k] == r->provided[i].name && was_there(r, edge, r->provided[i].target))
                add_target(&r->p->statements[statement], r->provided[i].target);
}

/* pytest puts this import into the first line of every test module that it rewrites. */
static bool is_inserted(const struct reading *r, const struct log_edge *edge)
{
    return !strcmp(r->log->texts[edge->name], "_pytest.assertion.rewrite") &&
           strncmp(r->log->texts[edge->place.importer], "_pytest", 7) != 0;
}

static void add_edge(const struct reading *r, const struct log_edge *edge, struct str *name)
{
    struct profile *p = r->p;
    uint32_t target;
    uint32_t at;
    bool all;

    if (is_inserted(r, edge) || !resolve(r, edge, name))
        return;
    target = module_named(p, name);
    at = statement_of(p, r->log, &edge->place, edge->flags, p->modules[target].name);
    add_target(&p->statements[at], target);
    add_caller(&p->statements[at], module_of_load(r, edge->loading));
    if (!p->modules[p->statements[at].importer].n_loads)
        add_root(p, p->statements[at].importer, module_of_load(r, edge->loading), edge->loading);
    /* A package that is asked for its modules only need not be executed to its end: that is no circle. */
    all = add_submodules(r, edge, at, name);
    add_what_is_provided(r, edge, at, target);
    if (p->statements[at].importer == target)
        return; /* `from . import part` in a package */
    for (uint32_t i = 0; i < edge->n_names; i++)
        add_taking(p, target, r->log->texts[edge->names[i]]);
    if (all)
        return;
    add_use(p, at, target);
    if (was_loading(r, edge, target))
        add_closing(p, at, target);
}

/* Loads are written when they end: a killed process leaves numbers out, and a wrong file may have any. */
static void number_loads(struct reading *r)
{
    const struct log *log = r->log;

    for (uint32_t i = 0; i < log->n_loads; i++) {
        const uint32_t at = module_of(r->p, log->texts[log->loads[i]->name]);

        if (log->loads[i]->seq < log->n_loads) {
            r->by_seq[log->loads[i]->seq] = log->loads[i];
            r->modules[log->loads[i]->seq] = at;
        }
        if (!(log->loads[i]->flags & LOG_WAITED) && !r->p->modules[at].n_loads)
            r->p->modules[at].n_loads = 1;
    }
    r->n_first = r->p->n_modules;
    r->first = hs_alloc((r->n_first + 1) * sizeof *r->first);
    for (uint32_t i = log->n_loads; i-- > 0;)
        r->first[profile_find(r->p, log->texts[log->loads[i]->name])] = log->loads[i];
}

void profile_add(struct profile *p, const struct log *log)
{
    struct reading r = {
        .p = p,
        .log = log,
        .by_seq = hs_alloc((log->n_loads + 1) * sizeof *r.by_seq),
        .modules = hs_alloc((log->n_loads + 1) * sizeof *r.modules),
    };
    struct str name = STR_INIT;

    HS_CHECK(p->n_added < p->n_runs);
    number_loads(&r);
    for (uint32_t i = 0; i < log->n_loads; i++)
        if (log->loads[i]->seq < log->n_loads && r.by_seq[log->loads[i]->seq] == log->loads[i])
            add_load(&r, log->loads[i]);
    find_provided(&r, &name);
    for (uint32_t i = 0; i < log->n_edges; i++)
        add_edge(&r, log->edges[i], &name);
    work_add(p, log);
    p->full |= log->header->full != 0;
    p->before[p->n_added++] = (int64_t)log->header->before_ns;
    str_release(&name);
    free(r.by_seq);
    free(r.modules);
    free(r.first);
    free(r.provided);
}

/* ---- several processes */

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

int64_t profile_median(int64_t *values, uint32_t n)
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
        middle = profile_median(values, n);
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
    p->cpu_ns = (uint64_t)profile_median(cpu, p->n_added);
    p->least_cpu_ns = (uint64_t)cpu[0];
    p->gc_ns = (uint64_t)profile_median(gc, p->n_added);
    p->wall_ns = (uint64_t)profile_median(wall, p->n_added);
    p->bytes = profile_median(bytes, p->n_added);
    memcpy(before, p->before, sizeof before);
    p->before_ns = (uint64_t)profile_median(before, p->n_added);
}

void profile_finish(struct profile *p)
{
    HS_CHECK(p->n_added);
    for (uint32_t i = 0; i < p->n_modules; i++) {
        reduce(&p->modules[i], &p->measured[(size_t)i * p->n_runs], p->n_added);
        find_package(p, &p->modules[i]);
    }
    work_finish(p);
    total(p);
}
