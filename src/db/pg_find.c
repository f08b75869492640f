#include "db/pg_find.h"

#include "db/place.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where packages of systems and of people put it, each at a place of its own that is the same on every machine. */
static const char *const folders[] = {
    "/usr/lib/postgresql/*/bin",                          /* Debian */
    "/usr/pgsql-*/bin",                                   /* Red Hat */
    "/usr/lib/postgresql*/bin",                           /* SUSE, Alpine's /usr/libexec is next */
    "/usr/libexec/postgresql*",                           /* Alpine */
    "/opt/homebrew/opt/postgresql*/bin",                  /* Homebrew on ARM */
    "/usr/local/opt/postgresql*/bin",                     /* Homebrew on Intel */
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",     /* Homebrew on Linux: its own prefix, whoever installs it */
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

/* ---- a server's version, without running it: `versions` in the cache, a line for each program that was asked once */

enum { ID_SIZE = 128 };

static bool open_versions(const char *mode, FILE **f)
{
    char folder[PLACE_SIZE], path[PLACE_SIZE + 16];
    struct err unused;

    if (place_cache("", folder, &unused) < 0)
        return false;
    snprintf(path, sizeof path, "%s/versions", folder);
    *f = fopen(path, mode);
    return *f != NULL;
}

/* Which file it is. A script may run another program each time: that is asked each time. */
static bool identify(const char *path, char id[ID_SIZE])
{
    char head[4] = "";
    struct stat st;
    FILE *f = fopen(path, "re");
    const bool is_program = f && fread(head, 1, sizeof head, f) == sizeof head && !memcmp(head, "\177ELF", 4);
    const bool known = is_program && fstat(fileno(f), &st) == 0;

    if (f)
        fclose(f);
    if (known)
        snprintf(id, ID_SIZE, "%llx.%llx.%llx.%llx.%lx.%llx.%lx", (unsigned long long)st.st_dev,
                 (unsigned long long)st.st_ino, (unsigned long long)st.st_size, (unsigned long long)st.st_mtim.tv_sec,
                 (unsigned long)st.st_mtim.tv_nsec, (unsigned long long)st.st_ctim.tv_sec,
                 (unsigned long)st.st_ctim.tv_nsec);
    return known;
}

static bool recall(const char *id, char *version, size_t size)
{
    const size_t n = strlen(id);
    char line[ID_SIZE + 256];
    bool found = false;
    FILE *f;

    if (!open_versions("re", &f))
        return false;
    while (!found && fgets(line, sizeof line, f))
        if (!strncmp(line, id, n) && line[n] == ' ' && strchr(line, '\n')) {
            snprintf(version, size, "%.*s", (int)strcspn(line + n + 1, "\n"), line + n + 1);
            found = true;
        }
    fclose(f);
    return found;
}

/* What `postgres --version` prints. */
static bool version_of(const char *folder, char *version, size_t size)
{
    char path[512], command[512], id[ID_SIZE];
    bool is_known;
    FILE *f;

    snprintf(path, sizeof path, "%.400s/postgres", folder);
    is_known = identify(path, id);
    if (is_known && recall(id, version, size))
        return true;
    snprintf(command, sizeof command, "'%.400s/postgres' --version 2>/dev/null </dev/null", folder);
    if (!first_line(command, version, (int)size))
        return false;
    if (is_known && open_versions("ae", &f)) {
        fprintf(f, "%s %s\n", id, version);
        fclose(f);
    }
    return true;
}

/* ---- which there are */

static bool has(const char *folder, const char *program)
{
    char path[512];

    snprintf(path, sizeof path, "%.400s/%s", folder, program);
    return access(path, X_OK) == 0;
}

static bool consider(struct search *s, const char *folder)
{
    struct pg_program *p = s->program;
    const char *number;

    if (strchr(folder, '\'') || strlen(folder) >= sizeof p->bin || !has(folder, "initdb") || !has(folder, "postgres"))
        return false;
    if (!version_of(folder, p->version, sizeof p->version) || !(number = strstr(p->version, "PostgreSQL) ")))
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
