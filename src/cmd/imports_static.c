/* imports_static.c - asks the package what the source says: Python reads Python best. */
#include "cmd/imports.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What can be said in lines: everything but the odd file name with a newline. */
static bool is_asked(const struct statement *s)
{
    return s->own && s->line && !strpbrk(s->file, "\t\n");
}

static int write_questions(const struct profile *p, const char *path, struct err *err)
{
    FILE *file = fopen(path, "we");

    if (!file)
        return err_sys(err, errno, "cannot write '%.200s'", path);
    for (uint32_t i = 0; i < p->n_takings; i++) {
        const struct module *m = &p->modules[p->takings[i].module];

        if (m->own && !strpbrk(m->file, "\t\n"))
            fprintf(file, "T\t%s\t%s\n", m->file, p->takings[i].name);
    }
    for (uint32_t i = 0; i < p->n_statements; i++)
        if (is_asked(&p->statements[i]))
            fprintf(file, "S\t%u\t%s\n", p->statements[i].line, p->statements[i].file);
    if (fclose(file) != 0)
        return err_sys(err, errno, "cannot write '%.200s'", path);
    return 0;
}

static int ask(const struct measuring *m, const char *questions, const char *answers, struct err *err)
{
    const char *argv[] = {m->python, "-P", "-m", "hasten.imports_static", NULL};
    int status;

    if (imports_start(argv, questions, answers, &status, err) < 0)
        return -1;
    return status == 0 ? 0 : err_set(err, "the source of the imports could not be examined");
}

static int read_answers(const struct profile *p, const char *path, char **reasons, struct err *err)
{
    FILE *file = fopen(path, "re");
    char *line = NULL; /* owned */
    size_t cap = 0;

    if (!file)
        return err_sys(err, errno, "cannot read '%.200s'", path);
    for (uint32_t i = 0; i < p->n_statements; i++) {
        ssize_t n;

        if (!is_asked(&p->statements[i]))
            continue;
        n = getline(&line, &cap, file);
        if (n < 0)
            break;
        line[strcspn(line, "\n")] = '\0';
        reasons[i] = hs_strdup(line);
    }
    free(line);
    fclose(file);
    return 0;
}

int imports_reasons(const struct measuring *m, const struct profile *p, char **reasons, struct err *err)
{
    char questions[sizeof m->folder + 16];
    char answers[sizeof m->folder + 16];

    snprintf(questions, sizeof questions, "%s/questions", m->folder);
    snprintf(answers, sizeof answers, "%s/answers", m->folder);
    if (write_questions(p, questions, err) < 0 || ask(m, questions, answers, err) < 0)
        return -1;
    return read_answers(p, answers, reasons, err);
}
