/* keep_answer.c - who has which database, and what who asks is told. */
#include "db/keep_own.h"

#include <stdio.h>
#include <string.h>

/* ---- leases */

static struct keep_lease *find_lease(struct keep_kind *kind, const char *name)
{
    for (size_t i = 0; i < kind->n; i++)
        if (!strcmp(kind->leases[i].name, name))
            return &kind->leases[i];
    return NULL;
}

static struct keep_lease *lease_of(struct keep_kind *kind, const char *name, bool *is_new)
{
    struct keep_lease *known = find_lease(kind, name);

    *is_new = !known;
    if (known)
        return known;
    kind->leases = hs_realloc(kind->leases, (kind->n + 1) * sizeof *kind->leases);
    kind->leases[kind->n] = (struct keep_lease){.pid = 0};
    snprintf(kind->leases[kind->n].name, DB_NAME_SIZE, "%s", name);
    return &kind->leases[kind->n++];
}

/* pid 0: made before anybody asked. A database that another process had is never handed on as it is. */
static int lease(struct keeper *k, struct keep_kind *kind, const char *worker, int pid, bool reset,
                 char url[DB_URL_SIZE], struct err *err)
{
    char name[DB_NAME_SIZE];
    struct keep_lease *l;
    bool is_new;
    int code = 0;

    db_name(k->run, worker, name);
    l = lease_of(kind, name, &is_new);
    if (is_new || (l->sealed && l->pid != pid))
        code = kind->db->provider->clone(kind->db, keep_key_of(kind), name, err);
    else if (reset || (l->pid && l->pid != pid))
        code = kind->db->provider->reset(kind->db, keep_key_of(kind), name, err);
    if (code < 0 && is_new)
        kind->n--;
    if (code < 0)
        return -1;
    l->sealed = l->sealed && !is_new && !reset && (!l->pid || l->pid == pid);
    l->pid = pid;
    kind->db->provider->hand_out(kind->db, name, url);
    return 0;
}

bool keep_make_ahead(struct keeper *k, uint32_t at)
{
    char worker[16] = "main";
    bool made = false;

    if (at < k->options->n_workers)
        snprintf(worker, sizeof worker, "gw%u", at);
    for (size_t i = 0; i < KEEP_KINDS; i++) {
        struct keep_kind *kind = &k->kinds[i];
        char url[DB_URL_SIZE], name[DB_NAME_SIZE];
        struct err err;

        if (!kind->ready || !kind->template->early || at > k->options->n_workers)
            continue;
        made = true;
        db_name(k->run, worker, name);
        if (!find_lease(kind, name) && lease(k, kind, worker, 0, false, url, &err) < 0)
            return false; /* said to the one who asks */
    }
    return made;
}

/* ---- requests */

static struct keep_kind *kind_of(struct keeper *k, const char *word)
{
    static const char *const words[KEEP_KINDS] = {"postgres", "sqlite", "redis"};

    for (size_t i = 0; i < KEEP_KINDS; i++)
        if (!strcmp(word, words[i]))
            return &k->kinds[i];
    return NULL;
}

static void answer_lease(struct keeper *k, struct keep_kind *kind, const char *worker, int pid, bool reset,
                         struct str *answer)
{
    const int n_restarts = kind->n_restarts;
    char url[DB_URL_SIZE];
    struct err err;
    int code = lease(k, kind, worker, pid, reset, url, &err);

    if (code < 0) {
        keep_look(k); /* the server's end is why, perhaps */
        if (kind->ready && kind->n_restarts > n_restarts)
            code = lease(k, kind, worker, pid, false, url, &err);
    }
    if (code == 0)
        str_addf(answer, "ok %s\n", url);
    else
        str_addf(answer, "error %s\n", kind->ready ? err.text : kind->err.text);
}

/* A database that is new for who asks is clean. */
static void answer_clean(struct keeper *k, struct keep_kind *kind, const char *worker, int pid, struct str *answer)
{
    char name[DB_NAME_SIZE];
    const int n_restarts = kind->n_restarts;
    struct str what = STR_INIT;
    struct err err;
    struct keep_lease *l;
    int code;

    db_name(k->run, worker, name);
    l = find_lease(kind, name);
    if (!l || (l->pid && l->pid != pid)) {
        char url[DB_URL_SIZE];

        code = lease(k, kind, worker, pid, false, url, &err);
    } else
        code = kind->db->provider->clean(kind->db, keep_key_of(kind), name, &what, &err);
    if (code < 0) {
        keep_look(k);
        if (kind->ready && kind->n_restarts > n_restarts)
            code = 0; /* nothing is cleaner than what is new */
    }
    str_addf(answer, code == 0 ? "ok %s\n" : "error %s\n",
             code == 0     ? str_text(&what)
             : kind->ready ? err.text
                           : kind->err.text);
    str_release(&what);
}

/* One that nobody has asked for is made: its name is taken then. */
static void answer_seal(struct keeper *k, struct keep_kind *kind, const char *worker, int pid, struct str *answer)
{
    char name[DB_NAME_SIZE], url[DB_URL_SIZE];
    struct str what = STR_INIT;
    struct err err;
    int code = 0;

    db_name(k->run, worker, name);
    if (!find_lease(kind, name) && !k->options->pg_each)
        code = lease(k, kind, worker, pid, false, url, &err);
    if (code == 0)
        code = kind->db->provider->seal(kind->db, keep_key_of(kind), name, &what, &err);
    if (code == 0) {
        bool is_new;
        struct keep_lease *l = lease_of(kind, name, &is_new); /* it is not made ahead any more, either */

        l->sealed = true;
        l->pid = pid;
    }
    str_addf(answer, code == 0 ? "ok %s\n" : "error %s\n", code == 0 ? str_text(&what) : err.text);
    str_release(&what);
}

void keep_answer(struct keeper *k, const char *request, struct str *answer)
{
    char verb[16] = "", word[16] = "", worker[64] = "";
    int pid = 0;
    struct keep_kind *kind;

    sscanf(request, "%15s %15s %63s %d", verb, word, worker, &pid);
    kind = kind_of(k, word);
    keep_look(k);
    if (!kind || !kind->template)
        str_puts(answer, "error this run keeps no such database\n");
    else if (!kind->ready)
        str_addf(answer, "error %s\n", kind->err.text);
    else if (!strcmp(verb, "ready"))
        str_puts(answer, "ok\n");
    else if (!strcmp(verb, "starts"))
        str_addf(answer, "ok %d\n", kind->n_restarts);
    else if (pid > 0 && !strcmp(verb, "clean"))
        answer_clean(k, kind, worker, pid, answer);
    else if (pid > 0 && !strcmp(verb, "seal") && kind->db->provider->seal)
        answer_seal(k, kind, worker, pid, answer);
    else if (pid > 0 && (!strcmp(verb, "lease") || !strcmp(verb, "reset")))
        answer_lease(k, kind, worker, pid, !strcmp(verb, "reset"), answer);
    else
        str_puts(answer, "error no such request\n");
}
