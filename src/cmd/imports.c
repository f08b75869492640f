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
    {OPT_HEADING, .help = "Output"},
    {OPT_U32, 0, "limit", "N", "rows of each table (15); 0: all", offsetof(struct imports_args, limit), NULL, false},
    {OPT_FLAG, 0, "json", NULL, "everything, as JSON; `hasten imports diff` reads it",
     offsetof(struct imports_args, json), NULL, false},
    {OPT_TEXT, 0, "speedscope", "FILE", "one process over time, for speedscope.app",
     offsetof(struct imports_args, speedscope), NULL, false},
    {OPT_TEXT, 0, "perfetto", "FILE", "the same for ui.perfetto.dev", offsetof(struct imports_args, perfetto), NULL,
     false},
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

static int print_help(void)
{
    struct str text = STR_INIT;

    opt_help(&text, &table, 80);
    printf("%s%s", usage, str_text(&text));
    str_release(&text);
    return CMD_OK;
}

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
    FILE *file;
    int code = 0;

    if (!path)
        return 0;
    export(&text, view);
    file = fopen(path, "we");
    if (!file || fwrite(str_text(&text), 1, text.len, file) != text.len)
        code = err_sys(err, errno, "cannot write '%.200s'", path);
    if (file && fclose(file) != 0 && code == 0)
        code = err_sys(err, errno, "cannot write '%.200s'", path);
    str_release(&text);
    return code;
}

static void print_report(const struct imports_args *args, const struct imports_view *view, const char *root)
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
    fputs(str_text(&text), stdout);
    str_release(&text);
}

/* The exit status that the measurement itself gives. */
static int judge(const struct measuring *m, const struct imports_args *args, const struct profile *p)
{
    const bool failed = m->status != 0 && !(args->collect && m->status == 5);
    const bool above = args->budget_ns && p->cpu_ns > args->budget_ns;

    fflush(stdout);
    if (m->n_others)
        fprintf(stderr, "hasten: %u more Python processes were started; this is the one that spent most on imports\n",
                m->n_others);
    if (failed)
        fprintf(stderr, "hasten: what was measured ended with status %d\n", m->status);
    if (above)
        fprintf(stderr, "hasten: imports took %.1f ms, the budget is %.1f ms\n", (double)p->cpu_ns / 1e6,
                (double)args->budget_ns / 1e6);
    return failed || above ? CMD_FAILED : CMD_OK;
}

static int show(struct measuring *m, const struct imports_args *args, const char *target, const char *root,
                struct err *err)
{
    struct profile p;
    struct whatif w;
    char **reasons; /* owned, and what it holds */
    int code = -1;

    profile_init(&p, m->n_runs);
    for (uint32_t i = 0; i < m->n_logs; i++)
        profile_add(&p, &m->logs[i]);
    profile_finish(&p);
    profile_own(&p, root);
    whatif_init(&w, &p);
    reasons = hs_alloc((p.n_statements + 1) * sizeof *reasons);
    if (imports_reasons(m, &p, reasons, err) == 0) {
        const struct imports_view view = {&p, &w, &m->logs[m->n_logs - 1], target, reasons};

        code = write_export(args->speedscope, export_speedscope, &view, err);
        if (code == 0)
            code = write_export(args->perfetto, export_perfetto, &view, err);
        if (code == 0) {
            print_report(args, &view, root);
            code = judge(m, args, &p);
        }
    }
    for (uint32_t i = 0; i < p.n_statements; i++)
        free(reasons[i]);
    free(reasons);
    whatif_release(&w);
    profile_release(&p);
    return code;
}

/* The exit status, or -1 with err. */
static int measure(const struct imports_args *args, const struct opt_list *rest, struct err *err)
{
    struct measuring m = {.n_runs = args->runs};
    struct str python = STR_INIT;
    struct str target = STR_INIT;
    struct str text = STR_INIT;
    char root[PATH_MAX];
    int code = -1;

    python_find(args->python, &python);
    m.python = str_text(&python);
    describe(args, rest, &target);
    if (!realpath(args->root ? args->root : ".", root))
        err_set(err, "there is no folder '%.300s'", args->root ? args->root : ".");
    else if (choose_command(&m, args, rest, &text, err) == 0 && measuring_run(&m, err) == 0)
        code = show(&m, args, str_text(&target), root, err);
    if (m.interrupted)
        code = cmd_fail(CMD_INTERRUPTED, err->text);
    measuring_end(&m);
    str_release(&python);
    str_release(&target);
    str_release(&text);
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

int cmd_imports(int argc, char **argv)
{
    struct imports_args args = {.runs = 5, .limit = 15};
    struct opt_list rest = {0};
    struct err err;
    int code;

    if (argc > 0 && !strcmp(argv[0], "diff"))
        return diff(argc - 1, argv + 1);
    if (opt_parse(&table, argc, argv, &args, &rest, &err) < 0) {
        opt_list_release(&rest);
        return cmd_fail(CMD_USAGE, err.text);
    }
    if (args.help)
        code = print_help();
    else if (args.runs < 1 || args.runs > PROFILE_MAX_RUNS)
        code = cmd_fail(CMD_USAGE, "--runs is from 1 to 64");
    else if ((code = measure(&args, &rest, &err)) < 0)
        code = cmd_fail(CMD_USAGE, err.text);
    opt_list_release(&rest);
    return code;
}
