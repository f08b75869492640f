#include "base/opt.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The state of one opt_parse. */
struct parse {
    const struct opt_table *table;
    char *const *argv;
    int argc;
    int at; /* next argument */
    void *into;
    struct opt_list *rest;
    struct err *err;
};

void opt_list_add(struct opt_list *list, const char *item)
{
    list->items = hs_realloc(list->items, (list->n + 2) * sizeof *list->items);
    list->items[list->n++] = item;
    list->items[list->n] = NULL;
}

void opt_list_release(struct opt_list *list)
{
    free(list->items);
    *list = (struct opt_list){0};
}

static const struct opt *by_name(const struct opt_table *table, const char *name, size_t len)
{
    for (size_t i = 0; i < table->n; i++) {
        const struct opt *o = &table->opts[i];

        if (o->kind != OPT_HEADING && strlen(o->name) == len && memcmp(o->name, name, len) == 0)
            return o;
    }
    return NULL;
}

static const struct opt *by_letter(const struct opt_table *table, char letter)
{
    for (size_t i = 0; i < table->n; i++)
        if (table->opts[i].kind != OPT_HEADING && table->opts[i].letter == letter)
            return &table->opts[i];
    return NULL;
}

static int set_u32(uint32_t *to, const struct opt *o, const char *value, struct err *err)
{
    unsigned long long number;
    char *end;

    errno = 0;
    number = strtoull(value, &end, 10);
    if (!isdigit((unsigned char)value[0]) || *end || errno || number > UINT32_MAX)
        return err_set(err, "--%s needs a whole number, not '%s'", o->name, value);
    *to = (uint32_t)number;
    return 0;
}

static int set_seconds(uint64_t *to, const struct opt *o, const char *value, struct err *err)
{
    static const struct {
        const char *unit;
        double ns;
    } units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"m", 60e9}, {"h", 3600e9}};
    char *end;
    const double number = strtod(value, &end);

    for (size_t u = 0; u < HS_COUNT(units) && isdigit((unsigned char)value[0]); u++) {
        if (strcmp(end, units[u].unit) != 0 || !(number * units[u].ns < 9e18))
            continue;
        *to = (uint64_t)(number * units[u].ns + 0.5);
        return 0;
    }
    return err_set(err, "--%s needs a time like 30, 1.5s, 250ms or 2m, not '%s'", o->name, value);
}

static int set_choice(const char **to, const struct opt *o, const char *value, struct err *err)
{
    const size_t len = strlen(value);

    for (const char *at = o->value; *at; at += *at == '|') {
        const size_t n = strcspn(at, "|");

        if (n == len && memcmp(at, value, n) == 0) {
            *to = value;
            return 0;
        }
        at += n;
    }
    return err_set(err, "--%s must be one of %s, not '%s'", o->name, o->value, value);
}

static int set_value(const struct parse *p, const struct opt *o, const char *value)
{
    void *to = (char *)p->into + o->at;

    switch (o->kind) {
    case OPT_TEXT:
        *(const char **)to = value;
        return 0;
    case OPT_LIST:
        opt_list_add(to, value);
        return 0;
    case OPT_U32:
        return set_u32(to, o, value, p->err);
    case OPT_SECONDS:
        return set_seconds(to, o, value, p->err);
    case OPT_CHOICE:
        return set_choice(to, o, value, p->err);
    case OPT_HEADING:
    case OPT_FLAG:
        break;
    }
    HS_CHECK(o->kind != OPT_HEADING && o->kind != OPT_FLAG); /* these have no value */
    return -1;
}

static bool looks_like_option(const char *arg)
{
    return arg[0] == '-' && arg[1] && !isdigit((unsigned char)arg[1]) && arg[1] != '.';
}

/* value: given in the same argument, or NULL. */
static int take(struct parse *p, const struct opt *o, const char *value)
{
    if (o->kind == OPT_FLAG) {
        if (value)
            return err_set(p->err, "--%s takes no value", o->name);
        *(bool *)((char *)p->into + o->at) = true;
        return 0;
    }
    if (!value)
        value = o->alone;
    if (!value && p->at < p->argc && !looks_like_option(p->argv[p->at]))
        value = p->argv[p->at++];
    if (!value)
        return err_set(p->err, "--%s needs a value (%s)", o->name, o->value);
    return set_value(p, o, value);
}

/* Letters to turn one word into the other (add, drop, change), at most 9. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    size_t row[LONGEST + 1];
    const size_t la = strlen(a);
    const size_t lb = strlen(b);

    if (la > LONGEST || lb > LONGEST)
        return 9;
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            const size_t change = diagonal + (a[i - 1] != b[j - 1]);

            diagonal = row[j];
            if (row[j - 1] < row[j])
                row[j] = row[j - 1];
            row[j] = row[j] + 1 < change ? row[j] + 1 : change;
        }
    }
    return row[lb];
}

static int unknown(const struct parse *p, const char *arg)
{
    const struct opt *best = NULL;
    size_t least = 3;

    for (size_t i = 0; i < p->table->n && strncmp(arg, "--", 2) == 0; i++) {
        const struct opt *o = &p->table->opts[i];
        const size_t d = o->kind == OPT_HEADING || o->hidden ? 9 : distance(arg + 2, o->name);

        if (d < least) {
            least = d;
            best = o;
        }
    }
    if (best)
        return err_set(p->err, "unknown option '%s'; did you mean --%s?", arg, best->name);
    return err_set(p->err, "unknown option '%s'; --help lists them", arg);
}

static int take_foreign(struct parse *p, const char *arg)
{
    if (!p->table->foreign && looks_like_option(arg))
        return unknown(p, arg);
    opt_list_add(p->rest, arg);
    return 0;
}

static int take_long(struct parse *p, const char *arg)
{
    const size_t len = strcspn(arg + 2, "=");
    const struct opt *o = by_name(p->table, arg + 2, len);

    if (!o)
        return take_foreign(p, arg);
    return take(p, o, arg[2 + len] ? arg + 2 + len + 1 : NULL);
}

/* How many letters of "-xyz" come before the first of ours, when all of them are flags of somebody; else SIZE_MAX. */
static size_t letters_before_ours(const struct opt_table *table, const char *arg)
{
    for (size_t i = 1; arg[i]; i++) {
        if (by_letter(table, arg[i]))
            return i - 1;
        if (!table->foreign || !strchr(table->foreign, arg[i]))
            return SIZE_MAX;
    }
    return SIZE_MAX;
}

/* The static "-x" of a letter: what is passed on must live as long as argv, and a cluster has no such part. */
static const char *single(char letter)
{
    static char texts[128][3];
    char *text = texts[letter & 127];

    text[0] = '-';
    text[1] = letter;
    return text;
}

static int take_short(struct parse *p, const char *arg)
{
    const size_t foreign = letters_before_ours(p->table, arg);

    if (foreign == SIZE_MAX)
        return take_foreign(p, arg);
    for (size_t i = 1; arg[i]; i++) {
        const struct opt *o = by_letter(p->table, arg[i]);

        if (!o) {
            if (!p->table->foreign || !strchr(p->table->foreign, arg[i]))
                return err_set(p->err, "unknown option '-%c' in '%s'", arg[i], arg);
            opt_list_add(p->rest, single(arg[i]));
        } else if (o->kind == OPT_FLAG) {
            if (take(p, o, NULL) < 0)
                return -1;
        } else {
            const char *value = arg[i + 1] == '=' ? arg + i + 2 : arg + i + 1;

            return take(p, o, *value || arg[i + 1] ? value : NULL);
        }
    }
    return 0;
}

static void take_all_that_follows(struct parse *p)
{
    if (p->table->foreign)
        opt_list_add(p->rest, "--");
    while (p->at < p->argc)
        opt_list_add(p->rest, p->argv[p->at++]);
}

int opt_parse(const struct opt_table *table, int argc, char *const *argv, void *into, struct opt_list *rest,
              struct err *err)
{
    struct parse p = {.table = table, .argv = argv, .argc = argc, .into = into, .rest = rest, .err = err};

    while (p.at < argc) {
        const char *arg = argv[p.at++];
        int ret;

        if (strcmp(arg, "--") == 0) {
            take_all_that_follows(&p);
            return 0;
        }
        if (strncmp(arg, "--", 2) == 0)
            ret = take_long(&p, arg);
        else if (looks_like_option(arg))
            ret = take_short(&p, arg);
        else
            ret = take_foreign(&p, arg);
        if (ret < 0)
            return -1;
    }
    return 0;
}

/* "-n, --workers N", "--dist load|each", "--bugs[=URL]" */
static void add_synopsis(struct str *out, const struct opt *o)
{
    if (o->letter)
        str_addf(out, "-%c, ", o->letter);
    str_addf(out, "--%s", o->name);
    if (o->value && o->alone)
        str_addf(out, "[=%s]", o->value);
    else if (o->value)
        str_addf(out, " %s", o->value);
}

/* Adds text in lines of at most `width` columns, the second and later ones indented. The cursor stands at `indent`. */
static void add_wrapped(struct str *out, const char *text, unsigned indent, unsigned width)
{
    size_t column = indent;

    while (*text) {
        const size_t n = strcspn(text, " ");

        if (column > indent && column + 1 + n > width) {
            str_addf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            str_puts(out, " ");
            column++;
        }
        str_add(out, text, n);
        column += n;
        text += n;
        text += strspn(text, " ");
    }
    str_puts(out, "\n");
}

void opt_help(struct str *out, const struct opt_table *table, unsigned width)
{
    enum { INDENT = 28 };

    if (width < 60)
        width = 60;
    for (size_t i = 0; i < table->n; i++) {
        const struct opt *o = &table->opts[i];
        const size_t start = out->len;

        if (o->hidden)
            continue;
        if (o->kind == OPT_HEADING) {
            str_addf(out, "%s%s:\n", i ? "\n" : "", o->help);
            continue;
        }
        str_puts(out, o->letter ? "  " : "      ");
        add_synopsis(out, o);
        if (out->len - start > INDENT - 2)
            str_addf(out, "\n%*s", INDENT, "");
        else
            str_addf(out, "%*s", (int)(INDENT - (out->len - start)), "");
        add_wrapped(out, o->help, INDENT, width);
    }
}
