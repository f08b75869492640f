#include "db/pg_find.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const folders[] = {
    "/usr/lib/postgresql/*/bin",                          /* Debian */
    "/usr/pgsql-*/bin",                                   /* Red Hat */
    "/usr/lib/postgresql*/bin",                           /* SUSE, Alpine's /usr/libexec is next */
    "/usr/libexec/postgresql*",                           /* Alpine */
    "/opt/homebrew/opt/postgresql*/bin",                  /* Homebrew on ARM */
    "/usr/local/opt/postgresql*/bin",                     /* Homebrew on Intel */
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",     /* Homebrew on Linux */
    "/opt/local/lib/postgresql*/bin",                     /* MacPorts */
    "/Applications/Postgres.app/Contents/Versions/*/bin", /* Postgres.app */
    "/usr/local/pgsql/bin",                               /* built by hand */
};

struct search {
    int wanted;
    struct pg_program *program;
    char refused[128]; /* the last that would not do: "PostgreSQL 11 in /usr/..." */
};

/* The first line of what a program prints. */
static bool first_line(const char *command, char *line, int size)
{
    FILE *f = popen(command, "re");
    const bool said = f && fgets(line, size, f) != NULL;

    if (said)
        line[strcspn(line, "\n")] = '\0';
    return f && pclose(f) == 0 && said;
}

static bool has(const char *folder, const char *program)
{
    char path[512];

    snprintf(path, sizeof path, "%.400s/%s", folder, program);
    return access(path, X_OK) == 0;
}

static bool consider(struct search *s, const char *folder)
{
    struct pg_program *p = s->program;
    char command[512];
    const char *number;

    if (strchr(folder, '\'') || strlen(folder) >= sizeof p->bin || !has(folder, "initdb") || !has(folder, "postgres"))
        return false;
    snprintf(command, sizeof command, "'%.400s/postgres' --version 2>/dev/null </dev/null", folder);
    if (!first_line(command, p->version, sizeof p->version) || !(number = strstr(p->version, "PostgreSQL) ")))
        return false;
    p->major = atoi(number + strlen("PostgreSQL) "));
    snprintf(p->bin, sizeof p->bin, "%s", folder);
    if (p->major >= PG_OLDEST && (!s->wanted || p->major == s->wanted))
        return true;
    snprintf(s->refused, sizeof s->refused, "PostgreSQL %d in %.80s", p->major, folder);
    return false;
}

static bool look_in_path(struct search *s)
{
    const char *path = getenv("PATH");
    char folder[512];

    for (const char *at = path; at && *at; at += *at == ':') {
        const size_t n = strcspn(at, ":");

        snprintf(folder, sizeof folder, "%.*s", (int)(n > 400 ? 400 : n), at);
        if (folder[0] == '/' && consider(s, folder))
            return true;
        at += n;
    }
    return first_line("pg_config --bindir 2>/dev/null </dev/null", folder, sizeof folder) && consider(s, folder);
}

static int number_in(const char *path)
{
    const char *digit = strpbrk(path, "0123456789");

    return digit ? atoi(digit) : 0;
}

static int newest_first(const void *a, const void *b)
{
    return number_in(*(char *const *)b) - number_in(*(char *const *)a);
}

static bool look_in_folders(struct search *s)
{
    bool found = false;

    for (size_t i = 0; i < HS_COUNT(folders) && !found; i++) {
        glob_t paths;

        if (glob(folders[i], 0, NULL, &paths) != 0)
            continue;
        qsort(paths.gl_pathv, paths.gl_pathc, sizeof *paths.gl_pathv, newest_first);
        for (size_t k = 0; k < paths.gl_pathc && !found; k++)
            found = consider(s, paths.gl_pathv[k]);
        globfree(&paths);
    }
    return found;
}

int pg_find(int major, struct pg_program *program, struct err *err)
{
    struct search s = {.wanted = major, .program = program};
    const char *given = getenv("HASTEN_PG_BIN");
    char wanted[64] = "PostgreSQL 12 or later";

    if (given && given[0] ? consider(&s, given) : look_in_path(&s) || look_in_folders(&s))
        return 0;
    if (major)
        snprintf(wanted, sizeof wanted, "PostgreSQL %d", major);
    if (s.refused[0])
        return err_set(err, "%s is wanted, but there is only %s; install it or name a server (url in [tool.hasten.db])",
                       wanted, s.refused);
    if (given && given[0])
        return err_set(err, "no PostgreSQL server in HASTEN_PG_BIN ('%.200s'): initdb and postgres are looked for",
                       given);
    return err_set(
        err, "no PostgreSQL server found (in PATH, by pg_config, in the folders of packages); install one (Debian: "
             "postgresql), name its folder in HASTEN_PG_BIN, or name a server (url in [tool.hasten.db])");
}
