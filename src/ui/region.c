#include "ui/region.h"

#include "ui/text.h"
#include "ui/units.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SLOW_NS 1000000000u
#define START_UP_NS 300000000u /* a start-up shorter than this needs no clock */
#define MAX_PARTS 7
#define GAP 2
#define LEAST_ID_CELLS 6

#define RED "31"
#define GREEN "32"
#define YELLOW "33"
#define DIM "2"
#define BOLD "1"

struct part {
    char text[48]; /* ASCII */
    const char *colour;
    uint32_t rank; /* parts of higher rank are dropped first; 0 never, then it is cut */
};

struct parts {
    struct part part[MAX_PARTS];
    uint32_t n;
};

static void add_coloured(struct str *out, const struct region_options *options, const char *colour, const char *text)
{
    if (options->colour && colour)
        str_addf(out, "\x1b[%sm%s\x1b[m", colour, text);
    else
        str_puts(out, text);
}

static struct part *add_part(struct parts *parts, uint32_t rank, const char *colour)
{
    struct part *part = &parts->part[parts->n++];

    HS_CHECK(parts->n <= MAX_PARTS);
    part->rank = rank;
    part->colour = colour;
    return part;
}

static uint32_t parts_cells(const struct parts *parts)
{
    uint32_t cells = parts->n ? (parts->n - 1) * GAP : 0;

    for (uint32_t i = 0; i < parts->n; i++)
        cells += (uint32_t)strlen(parts->part[i].text);
    return cells;
}

static void drop_part(struct parts *parts, uint32_t at)
{
    memmove(&parts->part[at], &parts->part[at + 1], (parts->n - at - 1) * sizeof parts->part[0]);
    parts->n--;
}

static void fit_parts(struct parts *parts, uint32_t cells)
{
    while (parts->n > 1 && parts_cells(parts) > cells) {
        uint32_t worst = 0;

        for (uint32_t i = 1; i < parts->n; i++)
            if (parts->part[i].rank >= parts->part[worst].rank)
                worst = i;
        drop_part(parts, worst);
    }
    if (parts->n == 1 && parts_cells(parts) > cells)
        parts->part[0].text[cells] = '\0';
}

static void write_parts(struct str *out, const struct region_options *options, const struct parts *parts)
{
    for (uint32_t i = 0; i < parts->n; i++) {
        if (i)
            str_puts(out, "  ");
        add_coloured(out, options, parts->part[i].colour, parts->part[i].text);
    }
}

static uint32_t n_failed(const struct run_view *view)
{
    const uint32_t *n = view->n_outcome;

    return n[OUTCOME_FAILED] + n[OUTCOME_ERROR] + n[OUTCOME_CRASHED] + n[OUTCOME_TIMEOUT];
}

static void describe_progress(struct parts *parts, const struct run_view *view)
{
    char done[UNITS_SIZE];
    char total[UNITS_SIZE];
    struct part *part = add_part(parts, 1, BOLD);

    snprintf(part->text, sizeof part->text, "%s/%s", units_count(done, view->n_done),
             units_count(total, view->n_total));
    part = add_part(parts, 4, NULL);
    /* Rounded down: 100 % is said when it is. */
    snprintf(part->text, sizeof part->text, "%" PRIu64 "%%",
             view->n_total ? (uint64_t)view->n_done * 100 / view->n_total : 0);
}

static void describe_outcomes(struct parts *parts, const struct run_view *view)
{
    char count[UNITS_SIZE];
    struct part *part;

    if (n_failed(view)) {
        part = add_part(parts, 0, RED);
        snprintf(part->text, sizeof part->text, "%s failed", units_count(count, n_failed(view)));
    }
    if (view->n_outcome[OUTCOME_SKIPPED]) {
        part = add_part(parts, 5, YELLOW);
        snprintf(part->text, sizeof part->text, "%s skipped", units_count(count, view->n_outcome[OUTCOME_SKIPPED]));
    }
}

static void describe_time(struct parts *parts, const struct run_view *view)
{
    char time[UNITS_SIZE];
    struct part *part = add_part(parts, 3, NULL);

    snprintf(part->text, sizeof part->text, "%s", units_duration(time, view->elapsed_ns));
    if (view->phase == VIEW_FINISHING) {
        part = add_part(parts, 2, NULL);
        snprintf(part->text, sizeof part->text, "finishing");
    } else if (view->stopping) {
        part = add_part(parts, 2, NULL);
        snprintf(part->text, sizeof part->text, "stopping; Ctrl-C again: at once");
    } else if (view->eta_ns) {
        part = add_part(parts, 2, NULL);
        snprintf(part->text, sizeof part->text, "~%s left%s", units_about(time, view->eta_ns),
                 view->eta_trusted ? "" : "?");
    }
}

static void repeat(struct str *out, const char *text, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        str_puts(out, text);
}

static void write_bar(struct str *out, const struct region_options *options, const struct run_view *view,
                      uint32_t cells)
{
    const uint64_t all = view->n_total ? view->n_total : 1;
    const uint32_t filled = (uint32_t)(cells * (uint64_t)(view->n_done < all ? view->n_done : all) / all);
    struct str part = STR_INIT;

    repeat(&part, options->utf8 ? "\xE2\x94\x81" : "=", filled);
    add_coloured(out, options, n_failed(view) ? RED : GREEN, str_text(&part));
    str_reset(&part);
    repeat(&part, options->utf8 ? "\xE2\x94\x80" : "-", cells - filled);
    add_coloured(out, options, DIM, str_text(&part));
    str_puts(out, "  ");
    str_release(&part);
}

/* A few sizes and not all that is left over: the text beside the bar would jump with every change of its length. */
static uint32_t bar_cells(uint32_t columns, uint32_t free)
{
    const uint32_t sizes[] = {columns / 4 < 30 ? columns / 4 : 30, 10, 5};

    for (size_t i = 0; i < HS_COUNT(sizes); i++)
        if (sizes[i] >= 5 && sizes[i] + GAP <= free)
            return sizes[i];
    return 0;
}

static void write_progress(struct str *out, const struct region_options *options, const struct run_view *view,
                           struct parts *parts)
{
    const uint32_t cells = options->columns - 1;
    uint32_t bar;

    fit_parts(parts, cells);
    bar = bar_cells(options->columns, cells - parts_cells(parts));
    if (bar)
        write_bar(out, options, view, bar);
    write_parts(out, options, parts);
}

static uint32_t render_testing(struct str *out, const struct run_view *view, const struct region_options *options,
                               uint32_t max_rows)
{
    struct parts all = {.n = 0};
    struct parts second = {.n = 0};

    describe_progress(&all, view);
    describe_outcomes(&all, view);
    describe_time(&all, view);
    if (max_rows == 1 || parts_cells(&all) <= options->columns - 1) {
        write_progress(out, options, view, &all);
        return 1;
    }
    all.n = 2; /* what describe_progress added */
    write_progress(out, options, view, &all);
    str_puts(out, "\n");
    describe_outcomes(&second, view);
    describe_time(&second, view);
    fit_parts(&second, options->columns - 1);
    write_parts(out, options, &second);
    return 2;
}

static uint32_t render_start_up(struct str *out, const struct run_view *view, const struct region_options *options)
{
    struct parts parts = {.n = 0};
    struct part *part = add_part(&parts, 0, BOLD);
    char text[UNITS_SIZE];

    if (view->phase == VIEW_STARTING)
        snprintf(part->text, sizeof part->text, "starting");
    else if (view->n_total == 0)
        snprintf(part->text, sizeof part->text, "collecting");
    else
        snprintf(part->text, sizeof part->text, "collecting %s test%s", units_count(text, view->n_total),
                 view->n_total == 1 ? "" : "s");
    if (view->elapsed_ns >= START_UP_NS) {
        part = add_part(&parts, 1, NULL);
        snprintf(part->text, sizeof part->text, "%s", units_duration(text, view->elapsed_ns));
    }
    fit_parts(&parts, options->columns - 1);
    write_parts(out, options, &parts);
    return 1;
}

/* a is shown before b: the one that runs longer, then the lower slot. */
static bool comes_before(const struct view_worker *a, const struct view_worker *b)
{
    return a->running_ns != b->running_ns ? a->running_ns > b->running_ns : a->slot < b->slot;
}

/* The max slowest of all in order; returns how many there are altogether. */
static uint32_t find_slow(const struct run_view *view, const struct view_worker **slow, uint32_t max)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < view->n_workers; i++) {
        const struct view_worker *worker = &view->workers[i];
        uint32_t at;

        if (worker->state != VIEW_WORKER_RUNNING || worker->running_ns <= SLOW_NS)
            continue;
        at = n < max ? n : max;
        n++;
        while (at > 0 && comes_before(worker, slow[at - 1])) {
            if (at < max)
                slow[at] = slow[at - 1];
            at--;
        }
        if (at < max)
            slow[at] = worker;
    }
    return n;
}

struct widths {
    int label;
    int time;
};

static struct widths measure(const struct view_worker *const *slow, uint32_t n)
{
    struct widths widths = {0};
    char text[UNITS_SIZE];

    for (uint32_t i = 0; i < n; i++) {
        const int label = snprintf(NULL, 0, "gw%" PRIu32, slow[i]->slot);
        const int time = (int)strlen(units_duration(text, slow[i]->running_ns));

        widths.label = label > widths.label ? label : widths.label;
        widths.time = time > widths.time ? time : widths.time;
    }
    return widths;
}

static void write_worker(struct str *out, const struct view_worker *worker, struct widths widths,
                         const struct region_options *options)
{
    const int gap = options->columns < 40 ? 1 : GAP;
    const uint32_t cells = options->columns - 1;
    char text[UNITS_SIZE];
    char time[2 * UNITS_SIZE];
    char label[UNITS_SIZE];
    uint32_t used = (uint32_t)(widths.label + gap);

    snprintf(label, sizeof label, "gw%-*" PRIu32, widths.label - 2 + gap, worker->slot);
    snprintf(time, sizeof time, "%*s%*s", widths.time, units_duration(text, worker->running_ns), gap, "");
    if (used + (uint32_t)(widths.time + gap) + LEAST_ID_CELLS <= cells) {
        used += (uint32_t)(widths.time + gap);
        add_coloured(out, options, DIM, label);
        add_coloured(out, options, YELLOW, time);
    } else {
        used = 0; /* too narrow for anything but the test */
    }
    text_add_elided(out, worker->node_id, worker->node_id_len, cells - used, options->utf8);
}

static uint32_t render_workers(struct str *out, const struct run_view *view, const struct region_options *options,
                               uint32_t max_rows)
{
    const struct view_worker *slow[REGION_MAX_ROWS];
    struct parts parts = {.n = 0};
    struct widths widths;
    uint32_t n;
    uint32_t shown;

    if (max_rows == 0)
        return 0;
    n = find_slow(view, slow, max_rows);
    shown = n <= max_rows ? n : max_rows - 1; /* the last row then says how many there are besides */
    widths = measure(slow, shown);
    for (uint32_t i = 0; i < shown; i++) {
        str_puts(out, "\n");
        write_worker(out, slow[i], widths, options);
    }
    if (shown == n)
        return shown;
    snprintf(add_part(&parts, 0, DIM)->text, sizeof parts.part[0].text, "%" PRIu32 " more tests run for over 1 s",
             n - shown);
    fit_parts(&parts, options->columns - 1);
    str_puts(out, "\n");
    write_parts(out, options, &parts);
    return shown + 1;
}

uint32_t region_render(struct str *out, const struct run_view *view, const struct region_options *options)
{
    const uint32_t half = options->rows / 2;
    const uint32_t max_rows = half < REGION_MAX_ROWS ? half : REGION_MAX_ROWS;
    uint32_t n;

    if (max_rows == 0 || options->columns < 2)
        return 0;
    if (view->phase == VIEW_STARTING || view->phase == VIEW_COLLECTING)
        return render_start_up(out, view, options);
    n = render_testing(out, view, options, max_rows);
    return n + render_workers(out, view, options, max_rows - n);
}
