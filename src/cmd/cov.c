/* cov.c - `hasten cov`: a run that is measured, and questions to its data. */
#include "cmd/cov.h"

#include "cmd/cmd.h"
#include "cmd/python.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: hasten cov [arguments of hasten run]\n"
    "       hasten cov diff BASE [options]\n"
    "       hasten cov which FILE:LINE [FILE:LINE ...]\n"
    "\n"
    "Runs a suite as `hasten run` does and measures which code it reaches: `hasten run --cov`. The options are those "
    "of\n"
    "pytest-cov (--cov=SRC, --cov-branch, --cov-report=TYPE, --cov-context, --cov-fail-under, ...; pytest --help "
    "lists\n"
    "them), the configuration and the data file are those of coverage.py: `coverage report`, `html`, `combine` and "
    "the\n"
    "rest work on it.\n"
    "\n"
    "diff   lines that were changed since the git revision BASE and that no test ran (hasten cov diff --help)\n"
    "which  the tests that ran a line; needs --cov-context in the run (hasten cov which --help)\n";

/* Verbs of the `coverage` program, which people may look for here. */
static bool is_coverage_verb(const char *word)
{
    static const char *const verbs[] = {"report", "html", "xml", "json", "lcov", "annotate", "combine", "erase"};

    for (size_t i = 0; i < HS_COUNT(verbs); i++)
        if (!strcmp(word, verbs[i]))
            return true;
    return false;
}

static int say_coverage_does(const char *verb)
{
    char text[256];

    snprintf(
        text, sizeof text,
        "'%.20s' is a command of coverage.py, whose file the data is in: coverage %.20s (to run tests in a folder of "
        "that name: hasten cov ./%.20s)",
        verb, verb, verb);
    return cmd_fail(CMD_USAGE, text);
}

/* The package does it: coverage.py reads the data and knows which lines are statements. */
static int diff(int argc, char **argv)
{
    char **args = hs_alloc(((size_t)argc + 5) * sizeof *args);
    struct str python = STR_INIT;
    size_t n = 0;

    python_find(NULL, &python);
    args[n++] = (char *)(uintptr_t)str_text(&python);
    args[n++] = (char *)(uintptr_t)"-P"; /* nothing in this folder stands in for a module */
    args[n++] = (char *)(uintptr_t)"-m";
    args[n++] = (char *)(uintptr_t)"hasten.cov_diff";
    for (int i = 0; i < argc; i++)
        args[n++] = argv[i];
    args[n] = NULL;
    execvp(args[0], args);
    free(args);
    str_release(&python);
    return cmd_fail(CMD_USAGE, "cannot start the interpreter for `hasten cov diff`");
}

int cmd_cov(int argc, char **argv)
{
    const char *first = argc > 0 ? argv[0] : "";

    if (!strcmp(first, "--help") || !strcmp(first, "-h")) {
        fputs(usage, stdout);
        return CMD_OK;
    }
    if (!strcmp(first, "which"))
        return cov_which(argc - 1, argv + 1);
    if (!strcmp(first, "diff"))
        return diff(argc - 1, argv + 1);
    if (is_coverage_verb(first))
        return say_coverage_does(first);
    setenv("HASTEN_COV", "1",
           1); /* not `--cov`: it would take the argument behind it, or undo a --cov=SRC of an ini file */
    return cmd_run(argc, argv);
}
