/* name.c - the names of databases, and quoting. */
#include "db/provider.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

void db_name(const char *run, const char *worker, char name[DB_NAME_SIZE])
{
    const int n = snprintf(name, DB_NAME_SIZE, "hasten_%.8s_%.40s", run, worker);

    for (int i = 0; i < n; i++)
        if (!isalnum((unsigned char)name[i]))
            name[i] = '_';
}

bool db_name_run(const char *name, char run[DB_RUN_DIGITS + 1])
{
    static const char head[] = "hasten_";
    const char *digits = name + sizeof head - 1;

    if (strncmp(name, head, sizeof head - 1) != 0 || strspn(digits, "0123456789abcdef") != DB_RUN_DIGITS ||
        digits[DB_RUN_DIGITS] != '_' || !digits[DB_RUN_DIGITS + 1])
        return false;
    memcpy(run, digits, DB_RUN_DIGITS);
    run[DB_RUN_DIGITS] = '\0';
    return true;
}

void db_shell_word(struct str *out, const char *text)
{
    str_puts(out, "'");
    for (; *text; text++)
        if (*text == '\'')
            str_puts(out, "'\\''");
        else
            str_add(out, text, 1);
    str_puts(out, "'");
}
