#include "ui/github.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool github_is_on(void)
{
    const char *value = getenv("GITHUB_ACTIONS");

    return value && strcmp(value, "true") == 0;
}

/* The runner undoes exactly these; in properties ':' and ',' separate, too. */
static void add_escaped(struct str *out, const char *text, bool is_property)
{
    for (; *text; text++) {
        const char c = *text;

        if (c == '%' || c == '\r' || c == '\n' || (is_property && (c == ':' || c == ',')))
            str_addf(out, "%%%02X", (unsigned)c);
        else
            str_add(out, text, 1);
    }
}

void github_add_error(struct str *out, const struct github_annotation *annotation)
{
    const char *separator = " ";

    str_puts(out, "::error");
    if (annotation->path) {
        str_addf(out, "%sfile=", separator);
        add_escaped(out, annotation->path, true);
        separator = ",";
    }
    if (annotation->line) {
        str_addf(out, "%sline=%" PRIu32, separator, annotation->line);
        separator = ",";
    }
    if (annotation->title) {
        str_addf(out, "%stitle=", separator);
        add_escaped(out, annotation->title, true);
    }
    str_puts(out, "::");
    add_escaped(out, annotation->message, false);
    str_puts(out, "\n");
}
