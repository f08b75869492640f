/* imports_python.c - what the package does for `hasten imports`: the page, a whole run, edits. It reads the measurement. */
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

int imports_start(const char *const *argv, const char *in, const char *out, int *status, struct err *err)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int code;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, in ? in : "/dev/null", O_RDONLY, 0);
    if (out)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    code = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (code)
        return err_sys(err, code, "cannot start '%.200s'", argv[0]);
    while (waitpid(pid, &code, 0) < 0)
        if (errno != EINTR)
            return err_sys(err, errno, "cannot wait for '%.200s'", argv[0]);
    *status = WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code);
    return 0;
}

int imports_write(const char *path, const struct str *text, struct err *err)
{
    FILE *file = fopen(path, "we");
    int code = 0;

    if (!file || fwrite(str_text(text), 1, text->len, file) != text->len)
        code = err_sys(err, errno, "cannot write '%.200s'", path);
    if (file && fclose(file) != 0 && code == 0)
        code = err_sys(err, errno, "cannot write '%.200s'", path);
    return code;
}

int imports_page(const struct measuring *m, const char *profile, const char *path, const char *root, struct err *err)
{
    const char *argv[] = {m->python, "-P", "-m", "hasten.imports_page", profile, path, root, NULL};
    int status;

    if (imports_start(argv, NULL, NULL, &status, err) < 0)
        return -1;
    return status == 0 ? 0 : err_set(err, "the page '%.200s' could not be written", path);
}

static int read_whole(const char *path, struct str *text, struct err *err)
{
    FILE *file = fopen(path, "re");
    char bytes[4096];
    size_t n;

    if (!file)
        return err_sys(err, errno, "cannot read '%.200s'", path);
    while ((n = fread(bytes, 1, sizeof bytes, file)) > 0)
        str_add(text, bytes, n);
    fclose(file);
    return 0;
}

int imports_tests(const struct measuring *m, const char *profile, const struct imports_tests_options *options,
                  struct str *json, struct str *text, struct err *err)
{
    struct opt_list argv = {0};
    struct str workers = STR_INIT;
    char json_file[sizeof m->folder + 16];
    char text_file[sizeof m->folder + 16];
    int status;
    int code;

    snprintf(json_file, sizeof json_file, "%s/run.json", m->folder);
    snprintf(text_file, sizeof text_file, "%s/run.txt", m->folder);
    str_addf(&workers, "%u", options->workers);
    for (const char *const *word = (const char *const[]){m->python, "-P", "-m", "hasten.imports_tests", "--profile",
                                                         profile, "--out", json_file, "--workers", str_text(&workers),
                                                         "--program", options->program, "--root", options->root, NULL};
         *word; word++)
        opt_list_add(&argv, *word);
    opt_list_add(&argv, "--");
    for (size_t i = 0; i < options->rest->n; i++)
        opt_list_add(&argv, options->rest->items[i]);
    code = imports_start(argv.items, NULL, text_file, &status, err);
    if (code == 0 && status != 0)
        code = err_set(err, "the run of the tests that should show which imports they need failed");
    if (code == 0 && (code = read_whole(json_file, json, err)) == 0)
        code = read_whole(text_file, text, err);
    opt_list_release(&argv);
    str_release(&workers);
    return code;
}
