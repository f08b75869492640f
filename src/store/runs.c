#include "store/runs.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct run_name {
    unsigned long long at; /* ms since 1970 */
    int pid;
    char name[64];
};

bool runs_make_folder(const char *rootdir, char *path, size_t size)
{
    char ignore[4352];
    FILE *f;

    snprintf(path, size, "%.4096s/.hasten", rootdir);
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return false;
    snprintf(ignore, sizeof ignore, "%.4200s/.gitignore", path);
    if (access(ignore, F_OK) != 0 && (f = fopen(ignore, "we"))) {
        fputs("*\n", f);
        fclose(f);
    }
    snprintf(path, size, "%.4096s/.hasten/runs", rootdir);
    return mkdir(path, 0777) == 0 || errno == EEXIST;
}

/* False for files that are no journals of ours. */
static bool parse(const char *name, struct run_name *run)
{
    char *end;

    run->at = strtoull(name, &end, 10);
    if (end == name || *end != '-' || strlen(name) >= sizeof run->name)
        return false;
    run->pid = (int)strtol(end + 1, &end, 10);
    snprintf(run->name, sizeof run->name, "%s", name);
    return run->pid > 0 && !strcmp(end, ".journal");
}

static int newest_first(const void *a, const void *b)
{
    const struct run_name *x = a;
    const struct run_name *y = b;

    return x->at < y->at ? 1 : x->at > y->at ? -1 : y->pid - x->pid;
}

/* Owned array, newest first; NULL and 0 when there is nothing. */
static struct run_name *list(const char *folder, size_t *n)
{
    struct run_name *runs = NULL;
    struct run_name run;
    struct dirent *e;
    DIR *dir = opendir(folder);

    *n = 0;
    while (dir && (e = readdir(dir))) {
        if (!parse(e->d_name, &run))
            continue;
        if (*n % 64 == 0)
            runs = hs_realloc(runs, (*n + 64) * sizeof *runs);
        runs[(*n)++] = run;
    }
    if (dir)
        closedir(dir);
    if (*n)
        qsort(runs, *n, sizeof *runs, newest_first);
    return runs;
}

bool runs_newest(const char *folder, const char *except, char *path, size_t size)
{
    const char *slash = strrchr(except, '/');
    const char *own = slash ? slash + 1 : except;
    size_t n;
    struct run_name *runs = list(folder, &n);
    bool found = false;

    for (size_t i = 0; i < n && !found; i++)
        if (strcmp(runs[i].name, own) != 0) {
            snprintf(path, size, "%s/%s", folder, runs[i].name);
            found = true;
        }
    free(runs);
    return found;
}

static void remove_file(const char *folder, const char *name, size_t size, const char *ending)
{
    char path[4400];

    snprintf(path, sizeof path, "%.4200s/%.*s%s", folder, (int)size, name, ending);
    unlink(path);
}

void runs_prune(const char *folder)
{
    size_t n;
    struct run_name *runs = list(folder, &n);

    for (size_t i = 1; i < n; i++) {
        const size_t stem = strlen(runs[i].name) - strlen(".journal");

        if (kill(runs[i].pid, 0) == 0) /* perhaps it still writes; and if the pid is somebody else's, later will do */
            continue;
        remove_file(folder, runs[i].name, stem, ".hits");
        if (i >= RUNS_KEPT)
            remove_file(folder, runs[i].name, stem, ".journal");
    }
    free(runs);
}
