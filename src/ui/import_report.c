#include "ui/import_report.h"

#include "ui/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct page {
    struct str *out;
    const struct imports_view *view;
    const struct import_report_options *options;
    uint64_t all_ns;
};

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static double mb(int64_t bytes)
{
    return (double)bytes / 1048576.0;
}

/* A path as short as it can be: without the root, or without the folder that libraries lie in. */
static const char *shown(const struct page *page, const char *file)
{
    static const char *const libraries[] = {"/site-packages/", "/dist-packages/"};
    const size_t n = strlen(page->options->root);
    const char *at;

    for (size_t i = 0; i < HS_COUNT(libraries); i++)
        if ((at = strstr(file, libraries[i])))
            return at + strlen(libraries[i]);
    if ((at = strstr(file, "/lib/python3.")) && (at = strchr(at + strlen("/lib/python3."), '/')))
        return at + 1;
    return !strncmp(file, page->options->root, n) && file[n] == '/' ? file + n + 1 : file;
}

static void add_place(struct table *table, const struct page *page, uint32_t statement)
{
    const struct statement *s;

    if (statement == PROFILE_NONE) {
        table_add(table, "", 0);
        return;
    }
    s = &page->view->profile->statements[statement];
    if (!s->line) /* compiled code */
        table_addf(table, "%s", page->view->profile->modules[s->importer].name);
    else
        table_addf(table, "%s:%u%s%s", shown(page, s->file), s->line, s->function[0] ? " in " : "", s->function);
}

static void render(struct page *page, struct table *table)
{
    table_render(page->out, table, &page->options->shape);
    table_release(table);
}

/* ---- summary */

static void add_phases(const struct page *page)
{
    static const char *const names[LOG_N_PHASES] = {"finding", "reading", "unmarshalling", "compiling",
                                                    "loading extensions"};
    const struct profile *p = page->view->profile;
    uint64_t sums[LOG_N_PHASES] = {0};
    uint64_t rest = 0;

    for (uint32_t i = 0; i < p->n_modules; i++) {
        rest += p->modules[i].median.cpu_ns;
        for (int k = 0; k < LOG_N_PHASES; k++)
            sums[k] += p->modules[i].median.phase_ns[k];
    }
    for (int k = 0; k < LOG_N_PHASES; k++) {
        rest -= sums[k] < rest ? sums[k] : rest;
        str_addf(page->out, "%s%s %.1f ms", k ? ", " : "  ", names[k], ms(sums[k]));
    }
    str_addf(page->out, ", executing %.1f ms, garbage collection %.1f ms\n", ms(rest), ms(p->gc_ns));
}

static uint64_t compiling(const struct profile *p)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < p->n_modules; i++)
        sum += p->modules[i].median.phase_ns[LOG_COMPILE];
    return sum;
}

static void add_summary(const struct page *page)
{
    const struct profile *p = page->view->profile;
    const struct saving all = whatif_all(page->view->whatif);

    str_puts(page->out, "imports of ");
    str_puts(page->out, page->view->target);
    str_addf(page->out, ": %u modules, %.1f ms CPU (least of %u processes: %.1f), %.1f ms wall, %.1f MB\n",
             all.n_modules, ms(p->cpu_ns), p->n_runs, ms(p->least_cpu_ns), ms(p->wall_ns), mb(p->bytes));
    add_phases(page);
    str_addf(page->out, "  before the first of them the interpreter took %.1f ms\n", ms(p->before_ns));
    if (all.cpu_ns && compiling(p) * 5 > all.cpu_ns)
        str_puts(
            page->out,
            "  source is compiled at every start: bytecode is not written (PYTHONDONTWRITEBYTECODE, -B, or a folder "
            "that cannot be written)\n");
    if (p->full)
        str_puts(page->out, "  there were more imports than the log could hold: the last ones are missing\n");
}

/* ---- tree */

struct tree {
    struct page *page;
    struct table table;
    uint32_t *order; /* owned: modules by loading */
    uint32_t n_order;
    uint64_t *with_ns; /* owned: of each module and all that was loaded in it */
};

static void sum_up(struct tree *t, const struct profile *p)
{
    /* What is loaded in a module comes after it in the order of loading. */
    for (uint32_t k = t->n_order; k-- > 0;) {
        const uint32_t at = t->order[k];
        const uint32_t within = p->modules[at].within;

        t->with_ns[at] += p->modules[at].median.cpu_ns;
        if (within != PROFILE_NONE && within != at)
            t->with_ns[within] += t->with_ns[at];
    }
}

static uint32_t depth_of(const struct profile *p, uint32_t at)
{
    uint32_t depth = 0;

    for (at = p->modules[at].within; at != PROFILE_NONE && depth < 200; at = p->modules[at].within)
        depth++;
    return depth;
}

static void add_bar(struct table *table, const struct page *page, uint64_t ns)
{
    enum { CELLS = 16 };
    struct str bar = STR_INIT;
    const uint64_t n = page->all_ns ? (ns * CELLS + page->all_ns / 2) / page->all_ns : 0;

    for (uint64_t i = 0; i < n && i < CELLS; i++)
        str_puts(&bar, page->options->shape.utf8 ? "\xe2\x96\x88" : "#");
    table_add(table, str_text(&bar), bar.len);
    str_release(&bar);
}

static void add_node(struct tree *t, uint32_t at, uint32_t depth)
{
    const struct profile *p = t->page->view->profile;
    const struct module *m = &p->modules[at];
    const struct saving saved = whatif_module(t->page->view->whatif, at);

    table_addf(&t->table, "%.1f", ms(m->median.cpu_ns));
    table_addf(&t->table, "%.1f", ms(t->with_ns[at]));
    table_addf(&t->table, "%.1f", ms(saved.cpu_ns));
    table_addf(&t->table, "%.1f", mb(saved.bytes));
    add_bar(&t->table, t->page, t->with_ns[at]);
    table_addf(&t->table, "%*s%s%s%s", (int)(2 * (depth < 20 ? depth : 20)), "", m->name,
               m->flags & LOG_FAILED ? " (failed)" : "", m->flags & LOG_LAZY ? " (lazy)" : "");
    add_place(&t->table, t->page, m->statement);
}

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;

    return x > y ? -1 : x < y;
}

/* The least that a module must take, with all in it, so that no more than limit are shown. */
static uint64_t threshold(const struct tree *t, uint32_t limit)
{
    uint64_t *values = hs_alloc((t->n_order + 1) * sizeof *values);
    uint64_t least;

    for (uint32_t k = 0; k < t->n_order; k++)
        values[k] = t->with_ns[t->order[k]];
    qsort(values, t->n_order, sizeof *values, by_size);
    least = limit && t->n_order > limit ? values[limit - 1] : 0;
    free(values);
    return least;
}

static void add_tree(struct page *page)
{
    static const struct table_column columns[] = {
        {"own ms", TABLE_RIGHT, 4}, {"with inner", TABLE_RIGHT, 0}, {"saved", TABLE_RIGHT, 0},  {"MB", TABLE_RIGHT, 3},
        {"", TABLE_LEFT, 2},        {"module", TABLE_LEFT, 0},      {"where", TABLE_ELIDED, 0},
    };
    const struct profile *p = page->view->profile;
    struct tree t = {.page = page, .with_ns = hs_alloc((p->n_modules + 1) * sizeof *t.with_ns)};
    uint64_t least;
    uint32_t left_out = 0;

    t.order = view_modules(p, &t.n_order);
    sum_up(&t, p);
    least = threshold(&t, page->options->limit);
    table_init(&t.table, columns, HS_COUNT(columns));
    for (uint32_t k = 0; k < t.n_order; k++) {
        if (t.with_ns[t.order[k]] < least)
            left_out++;
        else
            add_node(&t, t.order[k], depth_of(p, t.order[k]));
    }
    str_puts(page->out, "\n");
    render(page, &t.table);
    if (left_out)
        str_addf(page->out, "  and %u more below %.1f ms\n", left_out, ms(least));
    free(t.order);
    free(t.with_ns);
}

/* ---- the user's modules */

struct dear {
    uint32_t module;
    struct saving saving;
};

static int by_saving(const void *a, const void *b)
{
    const struct dear *x = a;
    const struct dear *y = b;

    return x->saving.cpu_ns > y->saving.cpu_ns ? -1 : x->saving.cpu_ns < y->saving.cpu_ns;
}

static void add_own_modules(struct page *page)
{
    static const struct table_column columns[] = {
        {"saved ms", TABLE_RIGHT, 0}, {"own ms", TABLE_RIGHT, 1}, {"MB", TABLE_RIGHT, 3},
        {"modules", TABLE_RIGHT, 2},  {"module", TABLE_LEFT, 0},  {"file", TABLE_ELIDED, 0},
    };
    const struct profile *p = page->view->profile;
    struct dear *list = hs_alloc((p->n_modules + 1) * sizeof *list);
    uint32_t n = 0;
    struct table table;

    for (uint32_t i = 0; i < p->n_modules; i++)
        if (p->modules[i].own && p->modules[i].n_loads)
            list[n++] = (struct dear){i, whatif_module(page->view->whatif, i)};
    qsort(list, n, sizeof *list, by_saving);
    table_init(&table, columns, HS_COUNT(columns));
    for (uint32_t i = 0; i < n && (!page->options->limit || i < page->options->limit); i++) {
        const struct module *m = &p->modules[list[i].module];

        table_addf(&table, "%.1f", ms(list[i].saving.cpu_ns));
        table_addf(&table, "%.1f", ms(m->median.cpu_ns));
        table_addf(&table, "%.1f", mb(list[i].saving.bytes));
        table_addf(&table, "%u", list[i].saving.n_modules);
        table_addf(&table, "%s", m->name);
        table_addf(&table, "%s", shown(page, m->file));
    }
    free(list);
    if (n)
        str_puts(page->out, "\nyour modules, by what is not loaded without them:\n");
    if (n)
        render(page, &table);
    else
        table_release(&table);
}

/* ---- statements */

static void add_statement(struct table *table, const struct page *page, uint32_t at)
{
    const struct profile *p = page->view->profile;
    const struct statement *s = &p->statements[at];
    const struct saving saved = whatif_statement(page->view->whatif, at);
    const char *reason = page->view->reasons[at];

    table_addf(table, "%.1f", ms(saved.cpu_ns));
    table_addf(table, "%.1f", mb(saved.bytes));
    table_addf(table, "%u", saved.n_modules);
    table_addf(table, "%s%s", p->modules[s->targets[0]].name, s->n_targets > 1 ? " ..." : "");
    table_addf(table, "%s", !reason ? "" : reason[0] ? reason : "can be lazy");
    add_place(table, page, at);
}

static void add_statements(struct page *page, bool own)
{
    static const struct table_column columns[] = {
        {"saved ms", TABLE_RIGHT, 0}, {"MB", TABLE_RIGHT, 1},     {"modules", TABLE_RIGHT, 2},
        {"imports", TABLE_LEFT, 0},   {"verdict", TABLE_LEFT, 0}, {"where", TABLE_ELIDED, 0},
    };
    uint32_t n;
    uint32_t *list = view_statements(page->view, &n);
    uint32_t n_shown = 0;
    struct table table;

    table_init(&table, columns, HS_COUNT(columns));
    for (uint32_t i = 0; i < n; i++) {
        if (page->view->profile->statements[list[i]].own != own ||
            !whatif_statement(page->view->whatif, list[i]).cpu_ns ||
            (page->options->limit && n_shown >= page->options->limit))
            continue;
        add_statement(&table, page, list[i]);
        n_shown++;
    }
    if (n_shown)
        str_addf(page->out, "\n%s statements, by what is not loaded without them:\n", own ? "your" : "other");
    if (n_shown)
        render(page, &table);
    else
        table_release(&table);
    free(list);
}

/* ---- sets of statements */

static void add_group_row(struct table *table, const struct page *page, const struct group *g, struct saving more)
{
    struct str places = STR_INIT;

    table_addf(table, "%.1f", ms(g->saving.cpu_ns));
    table_addf(table, "+%.1f", ms(more.cpu_ns));
    table_addf(table, "%.1f", mb(g->saving.bytes));
    table_add(table, g->name, g->name_len);
    for (uint32_t i = 0; i < g->n_statements; i++) {
        const struct statement *s = &page->view->profile->statements[g->statements[i]];
        const char *reason = page->view->reasons[g->statements[i]];

        str_addf(&places, "%s%s:%u%s", i ? ", " : "", shown(page, s->file), s->line, reason && reason[0] ? " (!)" : "");
    }
    table_add(table, str_text(&places), places.len);
    str_release(&places);
}

static void add_groups(struct page *page)
{
    static const struct table_column columns[] = {
        {"saved ms", TABLE_RIGHT, 0},
        {"adds", TABLE_RIGHT, 0},
        {"MB", TABLE_RIGHT, 1},
        {"package", TABLE_LEFT, 0},
        {"your statements; (!): not lazy as it stands", TABLE_ELIDED, 0},
    };
    enum { MOST = 5 };
    struct saving added[MOST];
    uint32_t chosen[MOST];
    uint32_t n;
    struct group *groups = whatif_groups(page->view->whatif, &n);
    const uint32_t k = whatif_best(page->view->whatif, groups, n, MOST, chosen, added);
    struct table table;

    table_init(&table, columns, HS_COUNT(columns));
    for (uint32_t i = 0; i < k; i++)
        add_group_row(&table, page, &groups[chosen[i]], added[i]);
    if (k)
        str_puts(page->out,
                 "\npackages that only you ask for, all statements into one of them together, best first:\n");
    if (k)
        render(page, &table);
    else
        table_release(&table);
    groups_free(groups, n);
}

/* ---- packages and circles */

static void add_heavy(struct page *page)
{
    uint32_t n;
    struct heavy *list = whatif_heavy(page->view->whatif, &n);
    uint32_t n_shown = 0;

    for (uint32_t i = 0; i < n && n_shown < 5; i++) {
        const struct module *m = &page->view->profile->modules[list[i].module];

        if (list[i].saving.cpu_ns * 50 < page->all_ns)
            break;
        if (!n_shown++)
            str_puts(page->out, "\nyour packages whose __init__ costs every import of a module in them:\n");
        str_addf(page->out, "  %.1f ms, %u modules  %s (%s)\n", ms(list[i].saving.cpu_ns), list[i].saving.n_modules,
                 m->name, shown(page, m->file));
    }
    free(list);
}

/* The source of a line, as it is now: "" when it cannot be read. */
static void read_line(const char *file, uint32_t number, char *text, size_t size)
{
    FILE *f = fopen(file, "re");

    text[0] = '\0';
    for (uint32_t i = 0; f && i < number; i++)
        if (!fgets(text, (int)size, f))
            text[0] = '\0';
        else if (!strchr(text, '\n'))
            for (int c = 0; c != EOF && c != '\n';) /* the rest of a long one */
                c = fgetc(f);
    if (f)
        fclose(f);
    text[strcspn(text, "\r\n")] = '\0';
    memmove(text, text + strspn(text, " \t"), strlen(text + strspn(text, " \t")) + 1);
}

static void add_work(struct page *page)
{
    enum { LEAST_NS = 2000000 };
    static const struct table_column columns[] = {
        {"ms", TABLE_RIGHT, 0},   {"CPU ms", TABLE_RIGHT, 1}, {"", TABLE_LEFT, 0},
        {"where", TABLE_LEFT, 0}, {"line", TABLE_ELIDED, 0},
    };
    const struct profile *p = page->view->profile;
    struct table table;
    uint32_t n = 0;

    table_init(&table, columns, HS_COUNT(columns));
    for (; n < p->n_works && p->works[n].wall_ns >= LEAST_NS && (!page->options->limit || n < page->options->limit);
         n++) {
        const struct work_line *w = &p->works[n];
        char text[120];

        read_line(w->file, w->line, text, sizeof text);
        table_addf(&table, "%.1f", ms(w->wall_ns));
        table_addf(&table, "%.1f", ms(w->cpu_ns));
        table_addf(&table, "%s", work_waits(w) ? "waits" : "computes");
        table_addf(&table, "%s:%u", shown(page, w->file), w->line);
        table_addf(&table, "%s", text);
    }
    if (n)
        str_puts(page->out, "\nyour lines that work while they are imported, imports aside:\n");
    if (n)
        render(page, &table);
    else
        table_release(&table);
}

static void add_circle(struct page *page, const struct circle *c)
{
    const struct profile *p = page->view->profile;

    str_puts(page->out, "  ");
    for (uint32_t i = 0; i < c->n_modules; i++)
        str_addf(page->out, "%s%s", i ? ", " : "", p->modules[c->modules[i]].name);
    str_puts(page->out, "\n");
    for (uint32_t i = 0; i < c->n_closings; i++) {
        const struct closing *closing = &p->closings[c->closings[i]];
        const struct statement *s = &p->statements[closing->statement];

        str_addf(page->out, "    closed at %s:%u, where %s was not yet executed to its end\n", shown(page, s->file),
                 s->line, p->modules[closing->target].name);
    }
}

static void add_circles(struct page *page)
{
    uint32_t n;
    struct circle *circles = whatif_circles(page->view->profile, &n);

    if (n)
        str_puts(page->out, "\nyour modules that import each other:\n");
    for (uint32_t i = 0; i < n; i++)
        add_circle(page, &circles[i]);
    circles_free(circles, n);
}

/* ---- plugins */

static void add_plugins(struct page *page)
{
    static const struct table_column columns[] = {
        {"saved ms", TABLE_RIGHT, 0}, {"MB", TABLE_RIGHT, 1},          {"modules", TABLE_RIGHT, 2},
        {"plugin", TABLE_LEFT, 0},    {"distribution", TABLE_LEFT, 3}, {"module", TABLE_ELIDED, 0},
    };
    uint32_t n;
    struct plugin_cost *plugins = view_plugins(page->view, &n);
    struct table table;

    table_init(&table, columns, HS_COUNT(columns));
    for (uint32_t i = 0; i < n; i++) {
        table_addf(&table, "%.1f", ms(plugins[i].saving.cpu_ns));
        table_addf(&table, "%.1f", mb(plugins[i].saving.bytes));
        table_addf(&table, "%u", plugins[i].saving.n_modules);
        table_addf(&table, "%s", plugins[i].name);
        table_addf(&table, "%s", plugins[i].distribution);
        table_addf(&table, "%s", plugins[i].module);
    }
    str_puts(page->out, "\nplugins, by what is not loaded without them:\n");
    render(page, &table);
    free(plugins);
}

/* ---- a set that was asked for */

static void add_without(const struct page *page)
{
    const struct imports_view *view = page->view;
    const struct profile *p = view->profile;
    bool *gone = hs_alloc((p->n_modules + 1) * sizeof *gone);
    const struct saving saved = whatif_set(view->whatif, view->without, view->n_without, gone);
    uint32_t n = 0;

    str_puts(page->out, "\nwithout ");
    for (uint32_t i = 0; i < view->n_without; i++)
        str_addf(page->out, "%s%s:%u", i ? ", " : "", shown(page, p->statements[view->without[i]].file),
                 p->statements[view->without[i]].line);
    str_addf(page->out, ": %.1f ms, %.1f MB and %u modules less\n", ms(saved.cpu_ns), mb(saved.bytes), saved.n_modules);
    for (uint32_t i = 0; i < p->n_modules; i++)
        if (gone[i] && !(p->modules[i].flags & LOG_FAILED) && (!page->options->limit || n++ < page->options->limit))
            str_addf(page->out, "  %s\n", p->modules[i].name);
    if (page->options->limit && saved.n_modules > page->options->limit)
        str_addf(page->out, "  and %u more\n", saved.n_modules - page->options->limit);
    free(gone);
}

void import_report(struct str *out, const struct imports_view *view, const struct import_report_options *options)
{
    struct page page = {out, view, options, view->profile->cpu_ns};

    add_summary(&page);
    if (view->without)
        add_without(&page);
    if (options->plugins)
        add_plugins(&page);
    add_tree(&page);
    if (options->plugins)
        return;
    add_own_modules(&page);
    add_statements(&page, true);
    add_groups(&page);
    add_work(&page);
    add_statements(&page, false);
    add_heavy(&page);
    add_circles(&page);
}
