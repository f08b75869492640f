#include "cmd/package.h"

#include "cmd/cmd.h"
#include "cmd/python.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* One option as text, or nothing when it was not given. Texts are owned by nobody: exec comes next, or the end. */
static void add_option(struct opt_list *argv, const struct opt *opt, const char *at)
{
    struct str text = STR_INIT;

    switch (opt->kind) {
    case OPT_HEADING:
        return;
    case OPT_FLAG:
        if (*(const bool *)(const void *)at)
            str_addf(&text, "--%s", opt->name);
        break;
    case OPT_TEXT:
    case OPT_CHOICE:
        if (*(const char *const *)(const void *)at)
            str_addf(&text, "--%s=%s", opt->name, *(const char *const *)(const void *)at);
        break;
    case OPT_LIST:
        for (size_t i = 0; i < ((const struct opt_list *)(const void *)at)->n; i++) {
            struct str one = STR_INIT;

            str_addf(&one, "--%s=%s", opt->name, ((const struct opt_list *)(const void *)at)->items[i]);
            opt_list_add(argv, str_text(&one));
        }
        return;
    case OPT_U32:
        str_addf(&text, "--%s=%" PRIu32, opt->name, *(const uint32_t *)(const void *)at);
        break;
    case OPT_SECONDS:
        str_addf(&text, "--%s=%" PRIu64, opt->name, *(const uint64_t *)(const void *)at);
        break;
    }
    if (text.len)
        opt_list_add(argv, str_text(&text));
}

int package_exec(const char *python, const char *module, const struct opt_table *table, const void *from,
                 const struct opt_list *rest)
{
    struct opt_list argv = {0};
    char self[PATH_MAX];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char text[512];

    self[n > 0 ? n : 0] = '\0';
    opt_list_add(&argv, python);
    opt_list_add(&argv, "-P"); /* nothing in this folder stands in for a module */
    opt_list_add(&argv, "-m");
    opt_list_add(&argv, module);
    opt_list_add(&argv, self);
    for (size_t i = 0; i < table->n; i++)
        add_option(&argv, &table->opts[i], (const char *)from + table->opts[i].at);
    opt_list_add(&argv, "--");
    for (size_t i = 0; i < rest->n; i++)
        opt_list_add(&argv, rest->items[i]);
    execvp(python, (char *const *)(uintptr_t)argv.items);
    opt_list_release(&argv);
    snprintf(text, sizeof text, "cannot start the interpreter '%.300s'", python);
    return cmd_fail(CMD_USAGE, text);
}

int package_main(const struct package_verb *verb, int argc, char **argv)
{
    struct opt_list rest = {0};
    struct str python = STR_INIT;
    struct err err;
    const char *wrong;
    int status;

    if (opt_parse(verb->table, argc, argv, verb->args, &rest, &err) < 0) {
        status = cmd_fail(CMD_USAGE, err.text);
    } else if (*verb->help) {
        status = cmd_help(verb->usage, verb->table);
    } else if ((wrong = verb->check(verb->args, &rest))) {
        status = cmd_fail(CMD_USAGE, wrong);
    } else {
        python_find(*verb->python, &python);
        status = package_exec(str_text(&python), verb->module, verb->table, verb->args, &rest);
    }
    str_release(&python);
    opt_list_release(&rest);
    return status;
}
