/* work.c - what the user's modules do while they are loaded, line by line: imports aside. */
#include "imports/profile.h"

#include <stdlib.h>
#include <string.h>

struct worked {
    uint64_t wall_ns;
    uint64_t cpu_ns;
    uint32_t n;
};

bool work_waits(const struct work_line *w)
{
    return w->cpu_ns * 2 < w->wall_ns;
}

static struct work_line *line_of(struct profile *p, const char *file, uint32_t line, uint32_t module)
{
    struct work_line *w;

    for (uint32_t i = 0; i < p->n_works; i++)
        if (p->works[i].line == line && p->works[i].module == module && !strcmp(p->works[i].file, file))
            return &p->works[i];
    p->works = hs_realloc(p->works, (p->n_works + 1) * sizeof *p->works);
    w = &p->works[p->n_works++];
    *w = (struct work_line){.module = module, .file = file, .line = line};
    w->worked = hs_alloc(p->n_runs * sizeof *w->worked);
    return w;
}

void work_add(struct profile *p, const struct log *log)
{
    for (uint32_t i = 0; i < log->n_works; i++) {
        const struct log_work *work = log->works[i];
        const uint32_t module = profile_find(p, log->texts[work->module]);
        struct worked *worked;

        if (module == PROFILE_NONE)
            continue;
        worked = &line_of(p, log->texts[work->file], work->line, module)->worked[p->n_added];
        worked->wall_ns += work->wall_ns;
        worked->cpu_ns += work->cpu_ns;
        worked->n += work->n;
    }
}

static void reduce(struct work_line *w, uint32_t n)
{
    int64_t wall[PROFILE_MAX_RUNS], cpu[PROFILE_MAX_RUNS];

    for (uint32_t i = 0; i < n; i++) {
        wall[i] = (int64_t)w->worked[i].wall_ns;
        cpu[i] = (int64_t)w->worked[i].cpu_ns;
        if (w->worked[i].n > w->n)
            w->n = w->worked[i].n;
    }
    w->wall_ns = (uint64_t)profile_median(wall, n);
    w->cpu_ns = (uint64_t)profile_median(cpu, n);
}

static int by_wall(const void *a, const void *b)
{
    const struct work_line *x = a;
    const struct work_line *y = b;

    return x->wall_ns < y->wall_ns ? 1 : -(x->wall_ns > y->wall_ns);
}

void work_finish(struct profile *p)
{
    for (uint32_t i = 0; i < p->n_works; i++) {
        reduce(&p->works[i], p->n_added);
        free(p->works[i].worked);
        p->works[i].worked = NULL;
    }
    if (p->n_works)
        qsort(p->works, p->n_works, sizeof *p->works, by_wall);
}

void work_release(struct profile *p)
{
    for (uint32_t i = 0; i < p->n_works; i++)
        free(p->works[i].worked);
    free(p->works);
}
