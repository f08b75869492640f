/* imports.c - `hasten imports`: what a program's imports cost, and what it would cost without some of them. */
#include "cmd/imports.h"

#include "cmd/cmd.h"
#include "cmd/python.h"
#include "os/term.h"
#include "ui/import_report.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct imports_args {
    bool collect;
    bool plugins;
    uint32_t runs;
    uint32_t limit;
    uint64_t budget_ns;
    const char *python;
    const char *root;
    const char *speedscope;
    const char *perfetto;
    const char *html;
    struct opt_list without;
    uint32_t workers;
    bool fix;
    bool dry_run;
    bool undo;
    const char *check;
    const char *form;
    uint32_t edits;
    uint32_t needed;
    bool json;
    bool help;
};

static const struct opt options[] = {
    {OPT_HEADING, .help = "What to measure"},
    {OPT_FLAG, 0, "collect", NULL,
     "pytest --collect-only: conftests, plugins and test modules; what hasten does not know goes to pytest",
     offsetof(struct imports_args, collect), NULL, false},
    {OPT_FLAG, 0, "plugins", NULL, "what pytest loads before it looks for tests, by plugin",
     offsetof(struct imports_args, plugins), NULL, false},
    {OPT_U32, 0, "runs", "N", "so many fresh processes, after one that is not counted (5)",
     offsetof(struct imports_args, runs), NULL, false},
    {OPT_TEXT, 0, "python", "PATH", "the interpreter; also HASTEN_PYTHON", offsetof(struct imports_args, python), NULL,
     false},
    {OPT_TEXT, 0, "root", "FOLDER", "files below it are your own (the current folder)",
     offsetof(struct imports_args, root), NULL, false},
    {OPT_LIST, 0, "without", "FILE:LINE",
     "what would be saved without that import statement; given several times: without all of them together",
     offsetof(struct imports_args, without), NULL, false},
    {OPT_U32, 'n', "numprocesses", "N",
     "with --collect: runs the tests, too, and says which imports they need and what moving them saves a whole run on "
     "N "
     "workers",
     offsetof(struct imports_args, workers), NULL, false},
    {OPT_HEADING, .help = "Changes to your own files"},
    {OPT_FLAG, 0, "fix", NULL,
     "makes the imports lazy that save most; keeps what passes the check and really saves time, takes back the rest",
     offsetof(struct imports_args, fix), NULL, false},
    {OPT_FLAG, 0, "dry-run", NULL, "with --fix: shows what it would change, and changes nothing",
     offsetof(struct imports_args, dry_run), NULL, false},
    {OPT_FLAG, 0, "undo", NULL, "gives the files back as they were before the last --fix",
     offsetof(struct imports_args, undo), NULL, false},
    {OPT_TEXT, 0, "check", "COMMAND",
     "with --fix: must end as it did before the change (the suite by `hasten run`; else what was measured)",
     offsetof(struct imports_args, check), NULL, false},
    {OPT_U32, 0, "edits", "N", "with --fix: at most so many (10)", offsetof(struct imports_args, edits), NULL, false},
    {OPT_U32, 0, "needed", "PERCENT",
     "with --fix --collect: also imports that up to so many of the tests need (0: a parallel run would pay for them in "
     "each "
     "worker)",
     offsetof(struct imports_args, needed), NULL, false},
    {OPT_CHOICE, 0, "form", "auto|function|lazy|lazy-modules",
     "with --fix: how an import is made lazy (auto: by the interpreter and requires-python)",
     offsetof(struct imports_args, form), NULL, false},
    {OPT_HEADING, .help = "Output"},
    {OPT_U32, 0, "limit", "N", "rows of each table (15); 0: all", offsetof(struct imports_args, limit), NULL, false},
    {OPT_FLAG, 0, "json", NULL, "everything, as JSON; `hasten imports diff` reads it",
     offsetof(struct imports_args, json), NULL, false},
    {OPT_TEXT, 0, "speedscope", "FILE", "one process over time, for speedscope.app",
     offsetof(struct imports_args, speedscope), NULL, false},
    {OPT_TEXT, 0, "perfetto", "FILE", "the same for ui.perfetto.dev", offsetof(struct imports_args, perfetto), NULL,
     false},
    {OPT_TEXT, 0, "html", "FILE", "one page with a flame graph, search and switches for import statements",
     offsetof(struct imports_args, html), NULL, false},
    {OPT_SECONDS, 0, "budget", "TIME", "exit status 1 when the imports take more CPU time than that, as in 300ms",
     offsetof(struct imports_args, budget_ns), NULL, false},
    {OPT_FLAG, 'h', "help", NULL, "this text", offsetof(struct imports_args, help), NULL, false},
};

/* Short flags of pytest without a value. */
static const struct opt_table table = {options, HS_COUNT(options), "svqxlV"};

static const char usage[] =
    "usage: hasten imports [options] MODULE [MODULE ...]\n"
    "       hasten imports [options] --collect [pytest arguments]\n"
    "       hasten imports [options] --plugins [pytest arguments]\n"
    "       hasten imports [options] -- COMMAND [arguments]\n"
    "       hasten imports diff A.json B.json\n"
    "\n"
    "Measures every import in fresh processes and says what would be saved without it: not what "
    "it took, but what\n"
    "nobody else asks for. Times are CPU time, medians over the processes. Statements that "
    "cannot be lazy as they\n"
    "stand are marked with the reason.\n\n";

/* ---- what to run */

static bool is_module(const char *name)
{
    if (!name[0] || name[0] == '.' || (name[0] >= '0' && name[0] <= '9'))
        return false;
    for (const char *c = name; *c; c++)
        if (!(*c == '_' || *c == '.' || (*c >= '0' && *c <= '9') || (*c >= 'a' && *c <= 'z') ||
              (*c >= 'A' && *c <= 'Z') || (unsigned char)*c >= 0x80))
            return false;
    return true;
}

static void add_all(struct opt_list *command, const char *const *words)
{
    for (; *words; words++)
        opt_list_add(command, *words);
}

static int import_modules(struct measuring *m, const struct opt_list *rest, struct str *code, struct err *err)
{
    if (!rest->n)
        return err_set(err, "nothing to measure: name a module, --collect, --plugins or -- COMMAND");
    for (size_t i = 0; i < rest->n; i++) {
        if (!is_module(rest->items[i]))
            return err_set(err, "'%.200s' is no module's name (a command: hasten imports -- COMMAND)", rest->items[i]);
        str_addf(code, "import %s\n", rest->items[i]);
    }
    add_all(&m->command, (const char *const[]){m->python, "-c", str_text(code), NULL});
    return 0;
}

/* code: the text of -c, which must live as long as the command. */
static int choose_command(struct measuring *m, const struct imports_args *args, const struct opt_list *rest,
                          struct str *code, struct err *err)
{
    size_t at = 0;

    if (args->collect && args->plugins)
        return err_set(err, "--collect and --plugins measure different things: one at a time");
    if (args->collect) {
        add_all(&m->command, (const char *const[]){m->python, "-m", "pytest", "--collect-only", "-q", NULL});
    } else if (args->plugins) {
        add_all(&m->command, (const char *const[]){m->python, "-c",
                                                   "from hasten import imports_child; imports_child.plugins()", NULL});
    } else if (rest->n && !strcmp(rest->items[0], "--")) {
        if (rest->n == 1)
            return err_set(err, "no command after --");
        at = 1;
    } else {
        return import_modules(m, rest, code, err);
    }
    for (; at < rest->n; at++)
        opt_list_add(&m->command, rest->items[at]);
    return 0;
}

static void describe(const struct imports_args *args, const struct opt_list *rest, struct str *text)
{
    str_puts(text, args->collect ? "pytest --collect-only" : args->plugins ? "pytest's plugins" : "");
    for (size_t i = 0; i < rest->n; i++)
        if (strcmp(rest->items[i], "--") != 0)
            str_addf(text, "%s%s", text->len ? " " : "", rest->items[i]);
}

/* ---- what comes out */

static int write_export(const char *path, void (*export)(struct str *, const struct imports_view *),
                        const struct imports_view *view, struct err *err)
{
    struct str text = STR_INIT;
    int code;

    if (!path)
        return 0;
    export(&text, view);
    code = imports_write(path, &text, err);
    str_release(&text);
    return code;
}

static void print_report(const struct imports_args *args, const struct imports_view *view, const char *root,
                         const struct str *run)
{
    struct import_report_options o = {
        .shape = {.colour = term_has_colour(STDOUT_FILENO), .utf8 = term_is_utf8()},
        .limit = args->limit,
        .plugins = args->plugins,
        .root = root,
    };
    struct str text = STR_INIT;
    struct term_size size;

    if (term_size(STDOUT_FILENO, &size) == 0)
        o.shape.columns = size.columns;
    if (args->json)
        export_json(&text, view);
    else
        import_report(&text, view, &o);
    if (!args->json)
        str_puts(&text, str_text(run));
    fputs(str_text(&text), stdout);
    str_release(&text);
}

static bool failed(const struct measuring *m, const struct imports_args *args)
{
    return m->status != 0 && !(args->collect && m->status == 5);
}

/* The exit status that the measurement itself gives. */
static int judge(const struct measuring *m, const struct imports_args *args, const struct profile *p)
{
    const bool has_failed = failed(m, args);
    const bool above = args->budget_ns && p->cpu_ns > args->budget_ns;

    fflush(stdout);
    if (m->n_others)
        fprintf(stderr, "hasten: %u more Python processes were started; this is the one that spent most on imports\n",
                m->n_others);
    if (has_failed)
        fprintf(stderr, "hasten: what was measured ended with status %d\n", m->status);
    if (above)
        fprintf(stderr, "hasten: imports took %.1f ms, the budget is %.1f ms\n", (double)p->cpu_ns / 1e6,
                (double)args->budget_ns / 1e6);
    return has_failed || above ? CMD_FAILED : CMD_OK;
}

/* What is shown; measure() fills it. */
struct showing {
    struct measuring *m;
    const struct imports_args *args;
    const struct opt_list *rest;
    const char *target;
    const char *root;
    char program[PATH_MAX]; /* ours */
    char profile[PATH_MAX]; /* the file that the package reads; "": none */
};

static int find_without(const struct opt_list *places, const struct profile *p, struct imports_view *view,
                        struct err *err)
{
    uint32_t *all = hs_alloc((places->n * p->n_statements + 1) * sizeof *all); /* owned by the view's user */

    view->without = all;
    for (size_t i = 0; i < places->n; i++) {
        uint32_t n;
        uint32_t *list = view_at(p, places->items[i], &n, err);

        if (!list)
            return -1;
        memcpy(all + view->n_without, list, n * sizeof *list);
        view->n_without += n;
        free(list);
    }
    return 0;
}

/* The page, and the run of the tests: by the package, which reads the measurement from a file. */
static int ask_package(const struct showing *s, struct imports_view *view, struct str *json, struct str *text,
                       struct err *err)
{
    const struct imports_tests_options tests = {s->args->workers, s->program, s->root, s->rest};

    if (s->args->workers) {
        if (write_export(s->profile, export_json, view, err) < 0 ||
            imports_tests(s->m, s->profile, &tests, json, text, err) < 0)
            return -1;
        view->run = str_text(json);
    }
    if (!s->args->html)
        return 0;
    if (write_export(s->profile, export_json, view, err) < 0)
        return -1;
    return imports_page(s->m, s->profile, s->args->html, s->root, err);
}

static int report(const struct showing *s, const struct imports_view *view, const struct str *run)
{
    print_report(s->args, view, s->root, run);
    return judge(s->m, s->args, view->profile);
}

static int show_view(const struct showing *s, struct imports_view *view, struct err *err)
{
    struct str json = STR_INIT;
    struct str text = STR_INIT;
    int code = -1;

    if (write_export(s->args->speedscope, export_speedscope, view, err) == 0 &&
        write_export(s->args->perfetto, export_perfetto, view, err) == 0 &&
        ask_package(s, view, &json, &text, err) == 0) {
        if (s->args->fix && failed(s->m, s->args))
            err_set(err, "what was measured ended with status %d: nothing is changed", s->m->status);
        else if (s->args->fix)
            code = write_export(s->profile, export_json, view, err);
        else
            code = report(s, view, &text);
    }
    str_release(&json);
    str_release(&text);
    return code;
}

static int show(const struct showing *s, struct err *err)
{
    struct profile p;
    struct whatif w;
    struct imports_view view;
    char **reasons; /* owned, and what it holds */
    int code = -1;

    profile_init(&p, s->m->n_runs);
    for (uint32_t i = 0; i < s->m->n_logs; i++)
        profile_add(&p, &s->m->logs[i]);
    profile_finish(&p);
    profile_own(&p, s->root);
    whatif_init(&w, &p);
    reasons = hs_alloc((p.n_statements + 1) * sizeof *reasons);
    view = (struct imports_view){&p, &w, &s->m->logs[s->m->n_logs - 1], s->target, reasons, NULL, 0, NULL};
    if (imports_reasons(s->m, &p, reasons, err) == 0 &&
        (!s->args->without.n || find_without(&s->args->without, &p, &view, err) == 0))
        code = show_view(s, &view, err);
    free((void *)(uintptr_t)view.without);
    for (uint32_t i = 0; i < p.n_statements; i++)
        free(reasons[i]);
    free(reasons);
    whatif_release(&w);
    profile_release(&p);
    return code;
}

/* ---- changes */

/* Goes on as the package's program for changes, which reads the measurement and takes its file away. Returns on failure. */
static int become_fix(const struct showing *s, const char *python, struct err *err)
{
    const struct imports_args *args = s->args;
    struct opt_list argv = {0};
    char edits[16];
    char needed[16];
    char runs[16];

    snprintf(edits, sizeof edits, "%u", args->edits);
    snprintf(needed, sizeof needed, "%u", args->needed);
    snprintf(runs, sizeof runs, "%u", args->runs);
    add_all(&argv,
            (const char *const[]){python, "-P", "-m", "hasten.imports_fix", "--root", s->root, "--program", s->program,
                                  "--edits", edits, "--needed", needed, "--runs", runs, "--form", args->form, NULL});
    if (args->undo)
        opt_list_add(&argv, "--undo");
    else
        add_all(&argv,
                (const char *const[]){"--profile", s->profile, "--kind", args->collect ? "collect" : "program", NULL});
    if (args->dry_run)
        opt_list_add(&argv, "--dry-run");
    if (args->json)
        opt_list_add(&argv, "--json");
    if (args->check)
        add_all(&argv, (const char *const[]){"--check", args->check, NULL});
    opt_list_add(&argv, "--");
    for (size_t i = 0; i < s->rest->n; i++)
        opt_list_add(&argv, s->rest->items[i]);
    fflush(NULL);
    execvp(argv.items[0], (char *const *)(uintptr_t)argv.items);
    opt_list_release(&argv);
    return err_sys(err, errno, "cannot start '%.200s'", python);
}

/* The scratch folder goes before we become another program: the file must lie beside it. */
static int place_profile(struct showing *s, struct err *err)
{
    const char *base = getenv("TMPDIR");
    int fd;

    if (!s->args->fix) {
        snprintf(s->profile, sizeof s->profile, "%s/profile.json", s->m->folder);
        return 0;
    }
    snprintf(s->profile, sizeof s->profile, "%.200s/hasten-imports-XXXXXX", base && base[0] ? base : "/tmp");
    fd = mkstemp(s->profile);
    if (fd < 0)
        return err_sys(err, errno, "cannot make '%.200s'", s->profile);
    close(fd);
    return 0;
}

static int measure_and_show(struct showing *s, struct err *err)
{
    struct str code = STR_INIT;
    int status = -1;

    if (choose_command(s->m, s->args, s->rest, &code, err) == 0 && measuring_run(s->m, err) == 0 &&
        place_profile(s, err) == 0)
        status = show(s, err);
    str_release(&code);
    if (s->m->interrupted)
        status = cmd_fail(CMD_INTERRUPTED, err->text);
    measuring_end(s->m);
    return status;
}

/* The exit status, or -1 with err. */
static int measure(const struct imports_args *args, const struct opt_list *rest, struct err *err)
{
    struct measuring m = {.n_runs = args->runs};
    struct str python = STR_INIT;
    struct str target = STR_INIT;
    char root[PATH_MAX];
    struct showing s = {&m, args, rest, NULL, root, "", ""};
    const ssize_t n = readlink("/proc/self/exe", s.program, sizeof s.program - 1);
    int code = -1;

    s.program[n > 0 ? n : 0] = '\0';
    python_find(args->python, &python);
    m.python = str_text(&python);
    m.root = root;
    describe(args, rest, &target);
    s.target = str_text(&target);
    if (!realpath(args->root ? args->root : ".", root))
        err_set(err, "there is no folder '%.300s'", args->root ? args->root : ".");
    else
        code = args->undo ? 0 : measure_and_show(&s, err);
    if (code == 0 && (args->undo || args->fix))
        code = become_fix(&s, str_text(&python), err);
    str_release(&python);
    str_release(&target);
    return code;
}

/* The package does it: it reads two JSON files. */
static int diff(int argc, char **argv)
{
    struct opt_list command = {0};
    struct str python = STR_INIT;

    python_find(NULL, &python);
    add_all(&command, (const char *const[]){str_text(&python), "-P", "-m", "hasten.imports_diff", NULL});
    for (int i = 0; i < argc; i++)
        opt_list_add(&command, argv[i]);
    execvp(command.items[0], (char *const *)(uintptr_t)command.items);
    opt_list_release(&command);
    str_release(&python);
    return cmd_fail(CMD_USAGE, "cannot start the interpreter for `hasten imports diff`");
}

/* NULL: the options go together. */
static const char *conflict(const struct imports_args *args)
{
    if (args->runs < 1 || args->runs > PROFILE_MAX_RUNS)
        return "--runs is from 1 to 64";
    if (args->workers && (!args->collect || args->fix))
        return "-n asks about a run of tests: with --collect, without --fix";
    if (args->fix && args->plugins)
        return "--fix changes your own imports, and --plugins are not yours";
    if (args->fix && args->undo)
        return "--fix and --undo: one at a time";
    if (args->dry_run && !args->fix)
        return "--dry-run is for --fix";
    return NULL;
}

int cmd_imports(int argc, char **argv)
{
    struct imports_args args = {.runs = 5, .limit = 15, .edits = 10, .form = "auto"};
    struct opt_list rest = {0};
    struct err err;
    int code;

    if (argc > 0 && !strcmp(argv[0], "diff"))
        return diff(argc - 1, argv + 1);
    if (opt_parse(&table, argc, argv, &args, &rest, &err) < 0) {
        opt_list_release(&args.without);
        opt_list_release(&rest);
        return cmd_fail(CMD_USAGE, err.text);
    }
    if (args.help)
        code = cmd_help(usage, &table);
    else if (conflict(&args))
        code = cmd_fail(CMD_USAGE, conflict(&args));
    else if ((code = measure(&args, &rest, &err)) < 0)
        code = cmd_fail(CMD_USAGE, err.text);
    opt_list_release(&args.without);
    opt_list_release(&rest);
    return code;
}
