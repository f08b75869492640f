/* importspan.c - spans of time inside of each other, one stack for each thread. */
#include "py/importwatch.h"

#include "py/importlog.h"

#include "base/clock.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct {
    uint32_t n_loads;
    uint32_t n_threads;
    uint32_t epoch; /* raised by span_reset: threads ask for a new number */
    int statm;      /* /proc/self/statm, -1: not open */
    long page;
} spans = {.statm = -1};

/* Spans lie on the heap, not on the C stack: greenlets copy stacks away and leave other things in their place. */
static _Thread_local struct {
    struct span *top;
    uint32_t number;
    uint32_t epoch;
    uint64_t read_cpu_ns;  /* the last reading of its CPU time, */
    uint64_t read_wall_ns; /* and when that was */
    uint64_t gc_cpu_ns;    /* at the start of the collection under way */
    uint64_t gc_wall_ns;
} thread;

/*
 * Phases follow each other within microseconds, and the clock of a thread's CPU time is a system call (0.3 us, several on
 * virtual machines) where the monotonic clock is none (0.03 us). Shortly after a reading the thread counts as having run
 * ever since: wrong by these microseconds at most, when it was put aside in them.
 */
enum { SHORTLY_NS = 50000, SHORTLY_MEMORY_NS = 100000 };

/* The watch works for some microseconds at a time: what takes longer waits for the disk that its file lies on. */
enum { AT_WORK_NS = 15000 };

static uint64_t thread_cpu_ns(void)
{
    const uint64_t now_ns = clock_now_ns();
    struct timespec t;

    if (thread.read_wall_ns && now_ns - thread.read_wall_ns < SHORTLY_NS)
        return thread.read_cpu_ns + (now_ns - thread.read_wall_ns);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    thread.read_cpu_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    thread.read_wall_ns = now_ns;
    return thread.read_cpu_ns;
}

/* Of the process; shortly after a reading it is that one. */
static int64_t resident_bytes(void)
{
    static uint64_t read_ns;
    static int64_t bytes;
    const uint64_t now_ns = clock_now_ns();
    char text[64];
    ssize_t n;
    char *second;

    if (spans.statm < 0)
        return 0;
    if (read_ns && now_ns - read_ns < SHORTLY_MEMORY_NS)
        return bytes;
    read_ns = now_ns;
    n = pread(spans.statm, text, sizeof text - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    strtoul(text, &second, 10);
    bytes = (int64_t)strtoul(second, NULL, 10) * spans.page;
    return bytes;
}

void span_reset(void)
{
    spans.n_loads = 0;
    spans.n_threads = 0;
    spans.epoch++;
    spans.page = sysconf(_SC_PAGESIZE);
    if (spans.statm >= 0)
        close(spans.statm); /* after a fork it would be the parent's */
    spans.statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    span_thread();
}

uint32_t span_thread(void)
{
    if (thread.epoch != spans.epoch) {
        thread.epoch = spans.epoch;
        thread.number = spans.n_threads++;
    }
    return thread.number;
}

struct span *span_load(void)
{
    struct span *span = thread.top;

    while (span && !span->name)
        span = span->outer;
    return span;
}

PyObject *span_extension(void)
{
    const struct span *load = thread.top && thread.top->dynamic ? span_load() : NULL;

    return load ? load->name : NULL;
}

struct span *span_open(PyObject *name)
{
    struct span *span = hs_alloc(sizeof *span);

    span->name = name;
    span->outer = thread.top;
    thread.top = span;
    if (name) {
        span->seq = spans.n_loads++;
        span->bytes = resident_bytes();
        span->wall_ns = clock_now_ns();
    }
    span->cpu_ns = thread_cpu_ns();
    return span;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

void span_own_times(const struct span *span, uint64_t *wall_ns, uint64_t *cpu_ns)
{
    *wall_ns = less(less(clock_now_ns(), span->wall_ns), span->inner_wall_ns + span->gc_wall_ns);
    *cpu_ns = less(less(thread_cpu_ns(), span->cpu_ns), span->inner_cpu_ns + span->gc_ns);
}

void span_leave_out(uint64_t since_ns)
{
    const uint64_t took_ns = less(clock_now_ns(), since_ns);

    if (thread.top) {
        thread.top->inner_wall_ns += took_ns;
        thread.top->inner_cpu_ns += took_ns < AT_WORK_NS ? took_ns : AT_WORK_NS;
    }
}

bool span_is_innermost(const struct span *span)
{
    return thread.top == span;
}

/* Another span may lie above it when greenlets change places in the middle of an import. */
static void take_out(struct span *span)
{
    struct span **at = &thread.top;

    while (*at && *at != span)
        at = &(*at)->outer;
    if (*at)
        *at = span->outer;
}

void span_close_phase(struct span *span, int phase)
{
    const uint64_t took_ns = less(thread_cpu_ns(), span->cpu_ns);
    struct span *load;

    take_out(span);
    load = span_load();
    if (load) {
        const uint64_t own_ns = less(took_ns, span->inner_cpu_ns + span->gc_ns);

        load->phase_ns[phase] += own_ns;
        load->found |= phase == LOG_FIND;
        load->gc_ns += span->gc_ns;
        load->gc_wall_ns += span->gc_wall_ns;
        load->inner_cpu_ns += span->inner_cpu_ns;
        load->inner_wall_ns += span->inner_wall_ns;
        load->inner_bytes += span->inner_bytes;
    }
    free(span);
}

void span_close_load(struct span *span, struct log_load *load)
{
    const uint64_t cpu_ns = less(thread_cpu_ns(), span->cpu_ns);
    const uint64_t wall_ns = less(clock_now_ns(), span->wall_ns);
    const int64_t bytes = resident_bytes() - span->bytes;
    struct span *outer;

    take_out(span);
    load->cpu_ns = cpu_ns;
    load->wall_ns = wall_ns;
    load->start_ns = less(span->wall_ns, importlog_header() ? importlog_header()->start_ns : 0);
    load->self_cpu_ns = less(cpu_ns, span->inner_cpu_ns + span->gc_ns);
    load->self_wall_ns = less(wall_ns, span->inner_wall_ns + span->gc_wall_ns);
    load->self_bytes = bytes - span->inner_bytes;
    load->gc_ns = span->gc_ns;
    for (int i = 0; i < LOG_N_PHASES; i++)
        load->phase_ns[i] = span->phase_ns[i];
    outer = thread.top; /* a phase that imports, such as a finder, is an outer span too */
    if (outer) {
        outer->inner_cpu_ns += cpu_ns;
        outer->inner_wall_ns += wall_ns;
        outer->inner_bytes += bytes;
    }
    free(span);
}

void span_collector(bool starts)
{
    struct log_header *header = importlog_header();
    uint64_t cpu_ns;

    if (starts) {
        thread.gc_cpu_ns = thread_cpu_ns();
        thread.gc_wall_ns = clock_now_ns();
        return;
    }
    if (!thread.gc_cpu_ns)
        return;
    cpu_ns = less(thread_cpu_ns(), thread.gc_cpu_ns);
    if (header) {
        header->gc_ns += cpu_ns;
        header->n_gc++;
    }
    if (thread.top) {
        thread.top->gc_ns += cpu_ns;
        thread.top->gc_wall_ns += less(clock_now_ns(), thread.gc_wall_ns);
    }
    thread.gc_cpu_ns = 0;
}
