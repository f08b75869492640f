/* run.c - `hasten run` and the engine of `pytest --hasten`. */
#include "cmd/cmd.h"

#include "base/opt.h"
#include "cmd/python.h"
#include "os/term.h"
#include "run/options.h"
#include "ui/line.h"
#include "ui/report.h"
#include "ui/timeline.h"

#include <signal.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct run_args {
    const char *python;
    bool resume;
    bool plain_screen;
    bool verify;
    bool help;
    const char *trace_out;
};

/* Who watches a run. */
struct screen {
    struct line line;
    struct timeline *timeline; /* owned; NULL: not asked for */
};

static const struct opt options[] = {
    {OPT_HEADING, .help = "hasten's options (all others are pytest's: see pytest --help)"},
    {OPT_TEXT, 0, "python", "PATH", "the interpreter that runs the suite (default: the one beside hasten)",
     offsetof(struct run_args, python), NULL, false},
    {OPT_FLAG, 0, "resume", NULL,
     "go on with the last run of this project that was interrupted: tests that have a result are not run again",
     offsetof(struct run_args, resume), NULL, false},
    {OPT_FLAG, 0, "verify-against-pytest", NULL,
     "run plain pytest too, and compare outcomes, sections and exit status test by test",
     offsetof(struct run_args, verify), NULL, false},
    {OPT_FLAG, 0, "no-live", NULL, "no live screen: pytest's own output only", offsetof(struct run_args, plain_screen),
     NULL, false},
    {OPT_TEXT, 0, "trace-out", "FILE",
     "write what ran when, on which worker, as a trace for ui.perfetto.dev or chrome://tracing",
     offsetof(struct run_args, trace_out), NULL, false},
    {OPT_FLAG, 'h', "help", NULL, "this text", offsetof(struct run_args, help), NULL, false},
};

static const struct opt_table table = {options, HS_COUNT(options), "svqxlhVd"};

static const char usage[] =
    "usage: hasten run [options] [pytest arguments]\n\n"
    "Runs a pytest suite in parallel: imports and collects once, forks, shares the work. Also understood, with\n"
    "pytest-xdist's meaning: -n auto|logical|N (default auto), --dist MODE, --maxprocesses, --max-worker-restart;\n"
    "further: --timeout S, --worker-memory SIZE, --session-once NAME, --start template|early|spawn,\n"
    "--collect auto|once|parallel, --no-fuse, --explain-fuse, --slow-exit.\n\n";

static void on_output(void *self, const char *bytes, size_t n)
{
    struct screen *screen = self;

    line_output(&screen->line, bytes, n);
}

static void on_tick(void *self, const struct run_view *view)
{
    struct screen *screen = self;

    line_draw(&screen->line, view);
}

static void on_resized(void *self, uint32_t columns, uint32_t rows)
{
    struct screen *screen = self;

    line_resize(&screen->line, columns, rows);
}

/* Ours while the region is shown: an echoed key would leave a row of it behind. Pytest's own, all of them, while lent. */
static void on_lend(void *self, bool lent)
{
    struct screen *screen = self;

    line_clear(&screen->line);
    term_raw(STDIN_FILENO, !lent);
}

/* The shell writes where the region was. */
static void on_suspend(void *self)
{
    struct screen *screen = self;

    line_clear(&screen->line);
    term_restore();
    raise(SIGSTOP);
    term_raw(STDIN_FILENO, true);
}

static void on_finished(void *self, const struct record *record, const char *id, size_t id_len, const char *text,
                        size_t text_len)
{
    const struct screen *screen = self;

    (void)text;
    (void)text_len;
    timeline_test(screen->timeline, record, id, id_len);
}

static void on_worker(void *self, uint32_t slot, uint64_t up_ns, uint64_t down_ns)
{
    const struct screen *screen = self;

    timeline_worker(screen->timeline, slot, up_ns, down_ns);
}

static void open_line(struct line *line, bool live)
{
    struct term_size size = {80, 24};

    if (live)
        term_size(STDOUT_FILENO, &size);
    line_init(line, &(struct line_options){.fd = STDOUT_FILENO,
                                           .live = live,
                                           .colour = term_has_colour(STDOUT_FILENO),
                                           .utf8 = term_is_utf8(),
                                           .columns = size.columns,
                                           .rows = size.rows});
}

static void print_totals(const struct run_totals *totals)
{
    struct report_totals report = {.wall_ns = totals->wall_ns,
                                   .tests_ns = totals->tests_ns,
                                   .start_up_ns = totals->start_ns,
                                   .idle_ns = totals->idle_ns,
                                   .worker_ns = totals->span_ns * totals->n_workers,
                                   .n_workers = totals->n_workers,
                                   .n_tests = totals->n_tests};
    struct report_options shape = {.colour = term_has_colour(STDOUT_FILENO), .utf8 = term_is_utf8()};
    struct str text = STR_INIT;
    struct term_size size;

    if (totals->note[0])
        fprintf(stderr, "hasten: %s\n", totals->note);
    if (!totals->distributed || totals->quiet)
        return;
    if (term_size(STDOUT_FILENO, &size) == 0)
        shape.columns = size.columns;
    for (uint32_t i = 0; i < totals->n_slow; i++)
        report_add_test(&report, &(struct report_test){.node_id = totals->slow[i].id,
                                                       .node_id_len = strlen(totals->slow[i].id),
                                                       .ns = totals->slow[i].ns});
    report_render(&text, &report, &shape);
    fputs(str_text(&text), stdout);
    fflush(stdout);
    str_release(&text);
}

static bool can_be_live(void)
{
    return term_is_tty(STDOUT_FILENO) && term_is_tty(STDIN_FILENO) && term_is_foreground(STDIN_FILENO) &&
           !term_is_dumb() && !getenv("CI");
}

static uint64_t seed(void)
{
    const char *text = getenv("HASTEN_TEST_SEED");

    return text ? strtoull(text, NULL, 10) : 0;
}

static void end_timeline(struct timeline *timeline, const struct run_totals *totals)
{
    struct err err;

    if (timeline && timeline_end(timeline, totals, &err) < 0)
        fprintf(stderr, "hasten: %s\n", err.text);
}

static int run(const struct run_options *chosen, struct timeline *timeline)
{
    struct screen screen = {.timeline = timeline};
    struct run_watcher watcher = {.self = &screen};
    struct run_totals totals;
    struct err err;
    int code;

    open_line(&screen.line, chosen->live);
    if (chosen->live) {
        watcher = (struct run_watcher){&screen, on_lend, on_output, on_tick, on_resized, on_suspend, NULL, NULL};
        term_raw(STDIN_FILENO, true);
    }
    if (timeline) {
        watcher.finished = on_finished;
        watcher.worker = on_worker;
    }
    code = run_tests(chosen, &watcher, &totals, &err);
    line_clear(&screen.line);
    line_release(&screen.line);
    term_restore();
    end_timeline(timeline, &totals);
    if (code < 0)
        return cmd_fail(totals.status, err.text);
    if (chosen->reporter_chan < 0)
        print_totals(&totals);
    return totals.status;
}

/* `hasten run --verify-against-pytest`: the package does it, with this program and plain pytest. */
static int verify(const char *python, const struct opt_list *rest, char **argv)
{
    char **args = hs_alloc((rest->n + 5) * sizeof *args);
    char self[4096];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    size_t k = 0;

    (void)argv;
    self[n > 0 ? n : 0] = '\0';
    args[k++] = (char *)(uintptr_t)python;
    args[k++] = (char *)(uintptr_t)"-m";
    args[k++] = (char *)(uintptr_t)"hasten.verify";
    args[k++] = self;
    for (size_t i = 0; i < rest->n; i++)
        args[k++] = (char *)(uintptr_t)rest->items[i];
    execvp(python, args);
    free(args);
    return cmd_fail(CMD_USAGE, "cannot start the interpreter for --verify-against-pytest");
}

/* rest: what is left for pytest, with a NULL behind it. */
static int run_with(const struct run_args *args, const struct opt_list *rest, const char *python)
{
    struct timeline *timeline = NULL;
    struct err err;

    if (args->trace_out && !(timeline = timeline_new(args->trace_out, &err)))
        return cmd_fail(CMD_USAGE, err.text);
    return run(
        &(struct run_options){
            .python = python,
            .pytest_args = (char *const *)(uintptr_t)rest->items,
            .n_pytest_args = rest->n,
            .resume = args->resume,
            .live = !args->plain_screen && can_be_live(),
            .seed = seed(),
            .reporter_chan = -1,
            .template_chan = -1,
        },
        timeline);
}

int cmd_run(int argc, char **argv)
{
    struct run_args args = {0};
    struct opt_list rest = {0};
    struct str python = STR_INIT;
    struct err err;
    int status;

    if (opt_parse(&table, argc, argv, &args, &rest, &err) < 0) {
        status = cmd_fail(CMD_USAGE, err.text);
    } else if (args.help) {
        status = cmd_help(usage, &table);
    } else {
        opt_list_add(&rest, NULL);
        rest.n--;
        python_find(args.python, &python);
        status = args.verify ? verify(str_text(&python), &rest, argv) : run_with(&args, &rest, str_text(&python));
    }
    str_release(&python);
    opt_list_release(&rest);
    return status;
}

int cmd_engine(int argc, char **argv)
{
    int reporter;
    int template;
    int life; /* stays open for as long as this process lives: its other end tells the template */

    if (argc < 1 || sscanf(argv[0], "%d,%d,%d", &reporter, &template, &life) != 3)
        return cmd_fail(CMD_USAGE, "'engine' is started by pytest --hasten only");
    fcntl(reporter, F_SETFD, FD_CLOEXEC);
    fcntl(template, F_SETFD, FD_CLOEXEC);
    fcntl(life, F_SETFD, FD_CLOEXEC);
    return run(&(struct run_options){.python = getenv("HASTEN_PYTHON"),
                                     .pytest_args = argv + 1,
                                     .n_pytest_args = (size_t)argc - 1,
                                     .seed = seed(),
                                     .reporter_chan = reporter,
                                     .template_chan = template},
               NULL);
}
