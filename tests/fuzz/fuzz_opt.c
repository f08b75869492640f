/* Any arguments: no crash, and in pass-through mode nothing that is not ours is lost. Words are split at NUL bytes. */
#include "base/opt.h"

#include <stdlib.h>
#include <string.h>

struct options {
    bool quiet;
    uint32_t retries;
    uint64_t limit_ns;
    const char *workers;
    const char *format;
    struct opt_list only;
};

static const struct opt opts[] = {
    {OPT_HEADING, .help = "All kinds"},
    {OPT_TEXT, 'n', "workers", "N", "number of workers", offsetof(struct options, workers), .alone = "2"},
    {OPT_U32, 'r', "retries", "N", "again", offsetof(struct options, retries)},
    {OPT_SECONDS, 0, "limit", "TIME", "time", offsetof(struct options, limit_ns)},
    {OPT_LIST, 'k', "only", "ID", "these", offsetof(struct options, only)},
    {OPT_FLAG, 'q', "quiet", NULL, "say less", offsetof(struct options, quiet)},
    {OPT_CHOICE, 0, "format", "text|json", "how", offsetof(struct options, format)},
};

static void parse(const char *foreign, int argc, char **argv)
{
    const struct opt_table table = {opts, HS_COUNT(opts), foreign};
    struct options o = {0};
    struct opt_list rest = {0};
    struct err err;

    if (opt_parse(&table, argc, argv, &o, &rest, &err) < 0)
        HS_CHECK(memchr(err.text, '\0', sizeof err.text) != NULL && err.text[0]);
    for (size_t i = 0; i < rest.n; i++)
        HS_CHECK(strlen(rest.items[i]) < 1 << 20);
    HS_CHECK(!o.format || strcmp(o.format, "text") == 0 || strcmp(o.format, "json") == 0);
    opt_list_release(&rest);
    opt_list_release(&o.only);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *text = hs_alloc(n + 1);
    char *argv[65];
    int argc = 0;

    if (n)
        memcpy(text, bytes, n);
    for (char *at = text; at < text + n && argc < 64; at += strlen(at) + 1)
        argv[argc++] = at;
    argv[argc] = NULL;
    parse(NULL, argc, argv);
    parse("xvs", argc, argv);
    free(text);
    return 0;
}
