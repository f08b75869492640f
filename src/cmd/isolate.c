/* isolate.c - `hasten isolate`: which test makes another one fail, or pass. The package searches. */
#include "cmd/cmd.h"

#include "cmd/package.h"

#include <stdio.h>

struct isolate_args {
    const char *order;
    const char *journal;
    struct opt_list after;
    const char *n;
    uint32_t tries;
    uint64_t limit_ns;
    bool fresh;
    bool json;
    bool help;
    const char *python;
};

static const struct opt options[] = {
    {OPT_HEADING, .help = "Which tests ran before it (default: those that pytest collects before it)"},
    {OPT_TEXT, 0, "journal", "FILE",
     "those that ran on its worker in this run; without FILE: the last run of the project",
     offsetof(struct isolate_args, journal), "last", false},
    {OPT_TEXT, 0, "order", "FILE", "the node ids in FILE, one a line, in their order; '-': standard input",
     offsetof(struct isolate_args, order), NULL, false},
    {OPT_LIST, 0, "after", "NODEID", "only this one (may be given several times): no search, only what it does",
     offsetof(struct isolate_args, after), NULL, false},
    {OPT_HEADING, .help = "How to search"},
    {OPT_TEXT, 'n', "numprocesses", "N", "so many probes at once (default: auto, one for each core)",
     offsetof(struct isolate_args, n), NULL, false},
    {OPT_U32, 0, "tries", "N", "runs that must agree before something counts as known (3)",
     offsetof(struct isolate_args, tries), NULL, false},
    {OPT_SECONDS, 0, "limit", "TIME", "a probe that takes longer hangs (10m)", offsetof(struct isolate_args, limit_ns),
     NULL, false},
    {OPT_FLAG, 0, "fresh", NULL, "each probe is a new process; else a fork of one that has collected",
     offsetof(struct isolate_args, fresh), NULL, false},
    {OPT_TEXT, 0, "python", "PATH", "the interpreter that runs the suite (default: the one beside hasten)",
     offsetof(struct isolate_args, python), NULL, false},
    {OPT_HEADING, .help = "Output"},
    {OPT_FLAG, 0, "json", NULL, "the answer as JSON", offsetof(struct isolate_args, json), NULL, false},
    {OPT_FLAG, 'h', "help", NULL, "this text", offsetof(struct isolate_args, help), NULL, false},
};

static const struct opt_table table = {options, HS_COUNT(options), "svqxlhVd"};

static const char usage[] =
    "usage: hasten isolate NODEID [options] [pytest arguments]\n"
    "\n"
    "Finds the tests that have to run before NODEID to change its outcome: the one that breaks it, or the one that it\n"
    "needs. pytest's arguments name the suite, as in the run where it happened.\n"
    "\n"
    "Exit status: 0 found, 1 its outcome does not depend on other tests, 2 interrupted, 3 internal error, 4 usage,\n"
    "5 flaky: equal runs end differently, 6 something outlives the processes (a file, a database).\n\n";

static const char *check(const void *from, const struct opt_list *rest)
{
    const struct isolate_args *args = from;

    if (!rest->n || rest->items[0][0] == '-')
        return "name the test first: hasten isolate NODEID [pytest arguments]";
    return args->tries ? NULL : "--tries is at least 1";
}

int cmd_isolate(int argc, char **argv)
{
    struct isolate_args args = {.tries = 3, .limit_ns = 600 * 1000000000ull};
    const struct package_verb verb = {"hasten.isolate", usage, &table, &args, &args.help, &args.python, check};
    const int status = package_main(&verb, argc, argv);

    opt_list_release(&args.after);
    return status;
}
