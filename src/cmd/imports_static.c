/* imports_static.c - asks the package what the source says: Python reads Python best. */
#include "cmd/imports.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

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
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int code;
    int status;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, questions, O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, answers, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    code = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (code)
        return err_sys(err, code, "cannot start '%.200s'", argv[0]);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_sys(err, errno, "cannot wait for '%.200s'", argv[0]);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return err_set(err, "the source of the imports could not be examined");
    return 0;
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
    unsetenv("HASTEN_IMPORTS");
    if (write_questions(p, questions, err) < 0 || ask(m, questions, answers, err) < 0)
        return -1;
    return read_answers(p, answers, reasons, err);
}
