#include "cmd/python.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/* folder/python or folder/python3 into path; false when neither can be executed. */
static bool in_folder(const char *folder, struct str *path)
{
    static const char *const names[] = {"python", "python3"};

    for (size_t i = 0; i < HS_COUNT(names); i++) {
        str_reset(path);
        str_addf(path, "%s/%s", folder, names[i]);
        if (access(str_text(path), X_OK) == 0)
            return true;
    }
    return false;
}

static bool beside(const char *program, bool only_environment, struct str *path)
{
    char folder[PATH_MAX];
    char config[PATH_MAX + 32];
    char *slash;

    snprintf(folder, sizeof folder, "%s", program);
    slash = strrchr(folder, '/');
    if (!slash)
        return false;
    *slash = '\0';
    snprintf(config, sizeof config, "%s/../pyvenv.cfg", folder);
    return (!only_environment || access(config, R_OK) == 0) && in_folder(folder, path);
}

static bool in_environment(const char *root, struct str *path)
{
    char folder[PATH_MAX];

    if (!root || !root[0])
        return false;
    snprintf(folder, sizeof folder, "%s/bin", root);
    return in_folder(folder, path);
}

void python_find(const char *given, struct str *path)
{
    const char *called = (const char *)(uintptr_t)getauxval(AT_EXECFN); // NOLINT(performance-no-int-to-ptr)
    char self[PATH_MAX];
    ssize_t n;

    if (!given)
        given = getenv("HASTEN_PYTHON");
    if (given && given[0]) {
        str_reset(path);
        str_puts(path, given);
        return;
    }
    if (called && beside(called, true, path))
        return;
    if (in_environment(getenv("VIRTUAL_ENV"), path) || in_environment(".venv", path))
        return;
    n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n > 0) {
        self[n] = '\0';
        if (beside(self, false, path))
            return;
    }
    str_reset(path);
    str_puts(path, "python3");
}
