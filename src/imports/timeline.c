/* timeline.c - the loads of one process over time, for other programs' viewers. */
#include "imports/view.h"

#include "base/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static uint32_t n_threads(const struct log *log)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < log->n_loads; i++)
        if (log->loads[i]->thread >= n && log->loads[i]->thread < log->n_loads)
            n = log->loads[i]->thread + 1;
    return n;
}

static int by_seq(const void *a, const void *b)
{
    const struct log_load *const *x = a;
    const struct log_load *const *y = b;

    return (*x)->seq<(*y)->seq ? -1 : (*x)->seq>(*y)->seq;
}

/* The loads of one thread in the order of their start. Owned array of *n. */
static const struct log_load **of_thread(const struct log *log, uint32_t thread, uint32_t *n)
{
    const struct log_load **list = hs_alloc((log->n_loads + 1) * sizeof *list);

    *n = 0;
    for (uint32_t i = 0; i < log->n_loads; i++)
        if (log->loads[i]->thread == thread)
            list[(*n)++] = log->loads[i];
    qsort(list, *n, sizeof *list, by_seq);
    return list;
}

static uint64_t end_of(const struct log_load *load)
{
    return load->start_ns + load->wall_ns;
}

/* Opened and closed, in order: what is open closes before what starts after its end. */
static uint64_t add_events(struct str *out, const struct log_load **list, uint32_t n)
{
    const struct log_load **open = hs_alloc((n + 1) * sizeof *open);
    uint32_t depth = 0;
    uint64_t last = 0;
    bool first = true;

    for (uint32_t i = 0; i <= n; i++) {
        while (depth && (i == n || list[i]->parent != open[depth - 1]->seq)) {
            const uint64_t end = end_of(open[--depth]);

            last = end > last ? end : last;
            str_addf(out, ",{\"type\":\"C\",\"frame\":%" PRIu32 ",\"at\":%" PRIu64 "}", open[depth]->name, last);
        }
        if (i == n)
            break;
        last = list[i]->start_ns > last ? list[i]->start_ns : last;
        str_addf(out, "%s{\"type\":\"O\",\"frame\":%" PRIu32 ",\"at\":%" PRIu64 "}", first ? "" : ",", list[i]->name,
                 last);
        first = false;
        open[depth++] = list[i];
    }
    free(open);
    return last;
}

void export_speedscope(struct str *out, const struct imports_view *view)
{
    const struct log *log = view->log;
    const uint32_t n = n_threads(log);
    bool first = true;

    str_puts(out, "{\"$schema\":\"https://www.speedscope.app/file-format-schema.json\",\"name\":");
    json_string(out, view->target, strlen(view->target));
    /* A frame for each text: what is no module is never opened. */
    str_puts(out, ",\"exporter\":\"hasten " HASTEN_VERSION "\",\"shared\":{\"frames\":[");
    for (uint32_t i = 0; i < log->n_texts; i++) {
        str_puts(out, i ? ",\n{\"name\":" : "\n{\"name\":");
        json_string(out, log->texts[i], strlen(log->texts[i]));
        str_puts(out, "}");
    }
    str_puts(out, "]},\n\"profiles\":[");
    for (uint32_t thread = 0; thread < n; thread++) {
        struct str events = STR_INIT;
        uint32_t n_loads;
        const struct log_load **list = of_thread(log, thread, &n_loads);
        const uint64_t end = add_events(&events, list, n_loads);

        free(list);
        str_addf(out,
                 "%s{\"type\":\"evented\",\"name\":\"thread %" PRIu32
                 "\",\"unit\":\"nanoseconds\",\"startValue\":0,\"endValue\":%" PRIu64 ",\"events\":[%s]}",
                 first ? "" : ",\n", thread, end, str_text(&events));
        first = false;
        str_release(&events);
    }
    str_puts(out, "]}\n");
}

void export_perfetto(struct str *out, const struct imports_view *view)
{
    const struct log *log = view->log;
    const uint32_t pid = log->header->pid;

    str_addf(out, "{\"traceEvents\":[\n{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":%" PRIu32 ",\"args\":{\"name\":",
             pid);
    json_string(out, view->target, strlen(view->target));
    str_puts(out, "}}");
    for (uint32_t i = 0; i < log->n_loads; i++) {
        const struct log_load *load = log->loads[i];

        str_addf(out,
                 ",\n{\"ph\":\"X\",\"cat\":\"import\",\"pid\":%" PRIu32 ",\"tid\":%" PRIu32 ",\"ts\":%" PRIu64
                 ".%03" PRIu64 ",\"dur\":%" PRIu64 ".%03" PRIu64 ",\"name\":",
                 pid, load->thread, load->start_ns / 1000, load->start_ns % 1000, load->wall_ns / 1000,
                 load->wall_ns % 1000);
        json_string(out, log->texts[load->name], strlen(log->texts[load->name]));
        str_puts(out, ",\"args\":{\"at\":");
        json_string(out, log->texts[load->place.file], strlen(log->texts[load->place.file]));
        str_addf(out,
                 ",\"line\":%" PRIu32 ",\"cpu_us\":%" PRIu64 ",\"own_cpu_us\":%" PRIu64 ",\"own_bytes\":%" PRId64 "}}",
                 load->place.line, load->cpu_ns / 1000, load->self_cpu_ns / 1000, load->self_bytes);
    }
    str_puts(out, "\n],\"displayTimeUnit\":\"ms\"}\n");
}
