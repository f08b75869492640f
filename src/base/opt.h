/*
 * opt.h - command lines. One table gives parsing and the text of --help, from which tools/reference.py makes the page.
 *
 *     struct run_options { uint32_t retries; bool quiet; const char *format; struct opt_list ids; };
 *
 *     static const struct opt table[] = {
 *         {OPT_HEADING, .help = "Output"},
 *         {OPT_FLAG, 'q', "quiet", NULL, "say less", offsetof(struct run_options, quiet)},
 *         {OPT_U32, 0, "retries", "N", "run a failed test N times more", offsetof(struct run_options, retries)},
 *         {OPT_CHOICE, 0, "format", "text|json", "...", offsetof(struct run_options, format)},
 *     };
 *
 * Accepted: --name VALUE, --name=VALUE, -x VALUE, -xVALUE, -x=VALUE; flags: --name, -x, -xy. A value of its own
 * argument may begin with '-' only when it is a lone '-' or a negative number (as argparse has it). The last one wins,
 * OPT_LIST keeps all.
 *
 * Two ways to treat what is not in the table:
 * - strict: an unknown option is an error with a suggestion; other arguments go to rest; "--" ends options and is dropped;
 * - pass-through (opt_parse's foreign is not NULL): unknown options and arguments go to rest, unchanged and in order,
 *   and "--" with all that follows it too. foreign names the other program's short flags that take no value, so that
 *   "-xn4" can be told from "-kn4": it gives "-x" to rest and 4 to our -n.
 */
#ifndef HASTEN_OPT_H
#define HASTEN_OPT_H

#include "base/err.h"
#include "base/str.h"

enum opt_kind {
    OPT_HEADING, /* no option: help is the title of those that follow */
    OPT_FLAG,    /* bool: true when given */
    OPT_TEXT,    /* const char *: borrowed from argv */
    OPT_LIST,    /* struct opt_list: every value given */
    OPT_U32,     /* uint32_t: decimal */
    OPT_SECONDS, /* uint64_t, nanoseconds: "30", "1.5", "250ms", "2m", "1h" */
    OPT_CHOICE,  /* const char *: one of those that `value` lists, "a|b|c"; points into argv */
};

struct opt {
    enum opt_kind kind;
    char letter;       /* 0: none */
    const char *name;  /* without "--" */
    const char *value; /* what help calls the value; NULL for flags */
    const char *help;  /* one or more sentences, lower-case first word, no full stop at the end */
    size_t at;         /* offset of the result in the caller's struct */
    const char *alone; /* text kinds: the value when "--name" stands without "=VALUE"; NULL: a value is needed */
    bool hidden;       /* not in help */
};

struct opt_list {
    const char **items; /* owned array of borrowed strings; items[n] is NULL once anything was added */
    size_t n;
};

void opt_list_add(struct opt_list *list, const char *item);
void opt_list_release(struct opt_list *list);

struct opt_table {
    const struct opt *opts; /* borrowed */
    size_t n;
    const char *foreign; /* NULL: strict; see above */
};

/*
 * argv[0] is the first argument, not the program. Results go to *into, what is not ours to *rest (which must be
 * initialised). argv must outlive both. 0, or -1 with err (a usage error).
 */
int opt_parse(const struct opt_table *table, int argc, char *const *argv, void *into, struct opt_list *rest,
              struct err *err);

/* The options as lines for --help, `width` columns wide (at least 60 are used). */
void opt_help(struct str *out, const struct opt_table *table, unsigned width);

#endif
