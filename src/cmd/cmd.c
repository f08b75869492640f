#include "cmd/cmd.h"

#include "base/str.h"
#include "base/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cmd commands[] = {
    {"run", "run a pytest suite in parallel: hasten run [options] [pytest arguments]", cmd_run, false},
    {"cov", "the same, measuring which code the tests reach: hasten cov [run arguments]", cmd_cov, false},
    {"history", "the last runs of a project", cmd_history, false},
    {"slow", "the tests that take longest", cmd_slow, false},
    {"flaky", "tests whose outcome changes", cmd_flaky, false},
    {"db", "templates and leftovers of the databases that tests use", cmd_db, false},
    {"imports", "what imports cost and what would be saved: hasten imports MODULE | --collect | --plugins | -- COMMAND",
     cmd_imports, false},
    {"isolate", "which test makes another one fail: hasten isolate NODEID [pytest arguments]", cmd_isolate, false},
    {"doctor", "where a suite's time goes, and what each change would save: hasten doctor [pytest arguments]",
     cmd_doctor, false},
    {"engine", "", cmd_engine, true},
};

int cmd_help(const char *usage, const struct opt_table *table)
{
    struct str text = STR_INIT;

    opt_help(&text, table, 80);
    printf("%s%s", usage, str_text(&text));
    str_release(&text);
    return CMD_OK;
}

int cmd_fail(int status, const char *text)
{
    fprintf(stderr, "hasten: %s\n", text);
    return status;
}

static void print_help(void)
{
    puts("hasten runs an existing pytest suite, unchanged, as fast as the machine allows.\n");
    puts("usage: hasten COMMAND [arguments]\n\ncommands:");
    for (size_t i = 0; i < HS_COUNT(commands); i++)
        if (!commands[i].hidden)
            printf("  %-8s %s\n", commands[i].name, commands[i].summary);
    puts("\nhasten COMMAND --help tells more; hasten --version prints the version.");
}

int cmd_dispatch(int argc, char **argv)
{
    char text[256];

    trace_open(getenv("HASTEN_TRACE"));
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        print_help();
        return argc < 2 ? CMD_USAGE : CMD_OK;
    }
    if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
        puts("hasten " HASTEN_VERSION);
        return CMD_OK;
    }
    for (size_t i = 0; i < HS_COUNT(commands); i++)
        if (!strcmp(argv[1], commands[i].name))
            return commands[i].main(argc - 2, argv + 2);
    snprintf(text, sizeof text,
             "'%.80s' is no command of hasten; `hasten --help` lists them (to run tests: hasten run %.80s)", argv[1],
             argv[1]);
    return cmd_fail(CMD_USAGE, text);
}
