#include "ui/report.h"

#include "ui/text.h"
#include "ui/units.h"

#include <inttypes.h>
#include <string.h>

#define WORTH_NAMING_NS 1000000000u
#define WORTH_COMPARING 1.05 /* shown as 1.1x */
#define LEAST_ID_CELLS 16
#define LEAST_COLUMNS 40 /* for naming tests */

void report_add_test(struct report_totals *totals, const struct report_test *test)
{
    uint32_t at = totals->n_slowest;

    if (at == REPORT_SLOWEST && test->ns <= totals->slowest[at - 1].ns)
        return;
    if (at < REPORT_SLOWEST)
        totals->n_slowest++;
    else
        at--;
    for (; at > 0 && totals->slowest[at - 1].ns < test->ns; at--)
        totals->slowest[at] = totals->slowest[at - 1];
    totals->slowest[at] = *test;
}

static bool is_worth_naming(const struct report_totals *totals, const struct report_test *test)
{
    return test->ns > WORTH_NAMING_NS || (totals->wall_ns && test->ns > totals->wall_ns / 20);
}

static void add_dim(struct str *out, const struct report_options *options, const char *text)
{
    str_addf(out, options->colour ? "\x1b[2m%s\x1b[m" : "%s", text);
}

/* Only a run that was faster is compared: of a tiny suite's run nobody needs to know that it was not. */
static void add_serial(struct str *out, const struct report_totals *totals, bool in_short)
{
    const uint64_t serial_ns = totals->tests_ns + totals->start_up_ns;
    const double factor = totals->wall_ns ? (double)serial_ns / (double)totals->wall_ns : 0;
    const int digits = factor < 10 ? 1 : 0;
    char text[UNITS_SIZE];

    if (totals->n_workers <= 1 || factor < WORTH_COMPARING)
        return;
    if (in_short)
        str_addf(out, " (%.*fx)", digits, factor);
    else
        str_addf(out, "; one worker would take about %s (%.*fx)", units_duration(text, serial_ns), digits, factor);
}

static void cut(struct str *out, size_t len)
{
    out->len = len;
    out->data[len] = '\0';
}

static void add_workers(struct str *out, const struct report_totals *totals)
{
    const uint64_t idle = totals->worker_ns ? (totals->idle_ns * 100 + totals->worker_ns / 2) / totals->worker_ns : 0;

    str_addf(out, "; %" PRIu32 " worker%s, %" PRIu64 "%% idle", totals->n_workers, totals->n_workers == 1 ? "" : "s",
             idle < 100 ? idle : 100);
}

/* ASCII only, so that length is cells. What a narrow terminal has no room for is shortened, then left out. */
static void describe(struct str *out, const struct report_totals *totals, uint32_t limit)
{
    char text[UNITS_SIZE];
    size_t keep;

    str_puts(out, units_duration(text, totals->wall_ns));
    keep = out->len;
    add_serial(out, totals, false);
    if (out->len > limit) {
        cut(out, keep);
        add_serial(out, totals, true);
    }
    keep = out->len;
    add_workers(out, totals);
    if (out->len > limit)
        cut(out, keep);
}

static uint32_t n_worth_naming(const struct report_totals *totals)
{
    uint32_t n = 0;

    while (n < totals->n_slowest && is_worth_naming(totals, &totals->slowest[n]))
        n++;
    return n;
}

/* The longest that a name may be so that n of them take `cells`: what short ones leave over goes to the others. */
static uint32_t name_limit(const struct report_totals *totals, uint32_t n, uint32_t cells)
{
    uint32_t limit = cells / n;

    for (uint32_t round = 0; round < n; round++) {
        uint32_t left = cells;
        uint32_t n_long = 0;

        for (uint32_t i = 0; i < n; i++) {
            const uint32_t own = text_cells(totals->slowest[i].node_id, totals->slowest[i].node_id_len);

            if (own > limit)
                n_long++;
            else
                left -= own;
        }
        if (n_long)
            limit = left / n_long;
    }
    return limit;
}

/* "slowest: 1.2 s tests/..., 1.1 s tests/...": in at most cells; names are shortened, tests left out when too many. */
static void describe_slowest(struct str *out, const struct report_totals *totals, uint32_t n, uint32_t cells, bool utf8)
{
    char text[UNITS_SIZE];
    uint32_t fixed = 0;
    uint32_t with_names = 0;
    uint32_t limit;

    for (uint32_t i = 0; i < n; i++) {
        const struct report_test *test = &totals->slowest[i];
        const uint32_t more = (uint32_t)strlen(units_duration(text, test->ns)) + (i ? 3 : 10);

        if (i && fixed + more + (i + 1) * LEAST_ID_CELLS > cells)
            break;
        fixed += more;
        with_names++;
    }
    limit = name_limit(totals, with_names, fixed < cells ? cells - fixed : 0);
    for (uint32_t i = 0; i < with_names; i++) {
        const struct report_test *test = &totals->slowest[i];

        str_addf(out, "%s%s ", i ? ", " : "slowest: ", units_duration(text, test->ns));
        text_add_elided(out, test->node_id, test->node_id_len, limit, utf8);
    }
}

/* All names in full and on the first line, when that is not too long. */
static bool fits_beside(const struct report_totals *totals, uint32_t n, uint32_t used, uint32_t columns)
{
    char text[UNITS_SIZE];
    uint32_t cells = used + 2 + (uint32_t)strlen("slowest: ");

    for (uint32_t i = 0; i < n; i++)
        cells += (uint32_t)strlen(units_duration(text, totals->slowest[i].ns)) + (i ? 3 : 1) +
                 text_cells(totals->slowest[i].node_id, totals->slowest[i].node_id_len);
    return cells <= columns;
}

void report_render(struct str *out, const struct report_totals *totals, const struct report_options *options)
{
    const uint32_t prefix = (uint32_t)strlen("hasten: ");
    const uint32_t columns = options->columns ? options->columns : UINT32_MAX / 8;
    const uint32_t n = columns >= LEAST_COLUMNS ? n_worth_naming(totals) : 0;
    struct str facts = STR_INIT;

    if (totals->n_tests == 0)
        return;
    describe(&facts, totals, columns > prefix ? columns - prefix : 0);
    add_dim(out, options, "hasten: ");
    str_add(out, facts.data, facts.len);
    if (n > 0) {
        const bool beside = fits_beside(totals, n, prefix + (uint32_t)facts.len, columns);

        str_puts(out, beside ? "; " : "\n");
        if (!beside)
            add_dim(out, options, "hasten: ");
        describe_slowest(out, totals, n, beside ? UINT32_MAX / 8 : columns - prefix, options->utf8);
    }
    str_puts(out, "\n");
    str_release(&facts);
}
