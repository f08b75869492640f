/* doctor.c - `hasten doctor`: where a suite's time goes, and what each change would save. The package measures. */
#include "cmd/cmd.h"

#include "cmd/package.h"

#include <stdio.h>

struct doctor_args {
    uint32_t pairs;
    uint64_t within_ns;
    const char *n;
    const char *python;
    bool fix;
    bool no_orders;
    bool json;
    const char *budget;
    struct opt_list interpreters;
    bool no_interpreters;
    bool no_lines;
    bool help;
};

static const struct opt options[] = {
    {OPT_HEADING, .help = "How to measure"},
    {OPT_U32, 0, "pairs", "N", "runs with and without each change, in turn (5)", offsetof(struct doctor_args, pairs),
     NULL, false},
    {OPT_SECONDS, 0, "within", "TIME",
     "be done after about this time; of a suite too long for it a part stands for the whole (10m)",
     offsetof(struct doctor_args, within_ns), NULL, false},
    {OPT_TEXT, 'n', "numprocesses", "N", "workers of the parallel run that is tried (default: auto)",
     offsetof(struct doctor_args, n), NULL, false},
    {OPT_FLAG, 0, "no-orders", NULL,
     "do not run the tests in another order, or with other hash seeds, to find those that depend on it",
     offsetof(struct doctor_args, no_orders), NULL, false},
    {OPT_FLAG, 0, "no-lines", NULL, "do not look for tests that run the same lines as others",
     offsetof(struct doctor_args, no_lines), NULL, false},
    {OPT_LIST, 0, "interpreter", "PATH",
     "try the suite on this interpreter, too (default: newer ones, and those without the GIL, that are found)",
     offsetof(struct doctor_args, interpreters), NULL, false},
    {OPT_FLAG, 0, "no-interpreters", NULL, "try no other interpreter", offsetof(struct doctor_args, no_interpreters),
     NULL, false},
    {OPT_TEXT, 0, "python", "PATH", "the interpreter that runs the suite (default: the one beside hasten)",
     offsetof(struct doctor_args, python), NULL, false},
    {OPT_HEADING, .help = "What to do"},
    {OPT_FLAG, 0, "fix", NULL,
     "apply the safe changes to pyproject.toml or pytest.ini, one at a time; each is kept if the outcomes are the same "
     "and time is saved",
     offsetof(struct doctor_args, fix), NULL, false},
    {OPT_FLAG, 0, "json", NULL, "everything, as JSON", offsetof(struct doctor_args, json), NULL, false},
    {OPT_TEXT, 0, "budget", "TIME", "exit status 1 when more than that could be saved, as in 500ms",
     offsetof(struct doctor_args, budget), NULL, false},
    {OPT_FLAG, 'h', "help", NULL, "this text", offsetof(struct doctor_args, help), NULL, false},
};

static const struct opt_table table = {options, HS_COUNT(options), "svqxlVd"};

static const char usage[] =
    "usage: hasten doctor [options] [pytest arguments]\n"
    "\n"
    "Examines a suite: what its time is made of, and what each change would save. Savings are measured on this\n"
    "machine, by runs with and without the change, in turn; what is not above the noise or 2 % is not said.\n"
    "\n"
    "Exit status: 0 done, 1 more than --budget could be saved, 2 interrupted, 3 internal error, 4 usage, or the\n"
    "suite cannot be run.\n\n";

static const char *check(const void *from, const struct opt_list *rest)
{
    const struct doctor_args *args = from;

    (void)rest;
    return args->pairs < 3 ? "--pairs is at least 3: fewer say nothing about noise" : NULL;
}

int cmd_doctor(int argc, char **argv)
{
    struct doctor_args args = {.pairs = 5, .within_ns = 600 * 1000000000ull};
    const struct package_verb verb = {"hasten.doctor", usage, &table, &args, &args.help, &args.python, check};
    const int status = package_main(&verb, argc, argv);

    opt_list_release(&args.interpreters);
    return status;
}
