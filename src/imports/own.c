/* own.c - which files are the user's. */
#include "imports/profile.h"

#include <string.h>

static bool below(const char *file, const char *folder)
{
    const size_t n = strlen(folder);

    return n && !strncmp(file, folder, n) && file[n] == '/';
}

bool profile_is_own(const char *file, const char *root)
{
    static const char *const foreign[] = {"/site-packages/", "/dist-packages/", "/lib/python3.", "/.venv/",
                                          "/venv/",          "/.tox/",          "/.nox/"};
    if (!below(file, root))
        return false;
    for (size_t i = 0; i < HS_COUNT(foreign); i++)
        if (strstr(file + strlen(root), foreign[i]))
            return false;
    return true;
}

void profile_own(struct profile *p, const char *root)
{
    for (uint32_t i = 0; i < p->n_modules; i++)
        p->modules[i].own = profile_is_own(p->modules[i].file, root);
    for (uint32_t i = 0; i < p->n_statements; i++)
        p->statements[i].own = profile_is_own(p->statements[i].file, root);
}
