/* pg_list.c - the databases that hasten has made on a server, and whether their makers live. */
#include "db/pg_own.h"
#include "db/pq.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct found {
    char name[DB_NAME_SIZE];
    uint64_t bytes;
    bool is_template; /* whole */
    bool dead;
};

/* Whether the run still has its keeper; ours lives. */
static int is_dead(struct pg *pg, const char *run, bool *dead, struct err *err)
{
    *dead = false;
    if (!strcmp(run, pg->db.run))
        return 0;
    if (pg_try_lock(pg, LOCK_RUN, run, dead, err) < 0)
        return -1;
    if (*dead)
        pg_unlock(pg, LOCK_RUN, run);
    return 0;
}

static int judge(struct pg *pg, struct found *f, struct err *err)
{
    char run[DB_RUN_DIGITS + 1];

    f->is_template = !strncmp(f->name, "hasten_t_", 9);
    return f->is_template ? 0 : db_name_run(f->name, run) ? is_dead(pg, run, &f->dead, err) : 0;
}

/* Every database whose name is one of ours, judged; owned array. Templates by their comment too: it says who made them. */
static int find_all(struct pg *pg, struct found **all, size_t *n, struct err *err)
{
    static const char sql[] =
        "SELECT datname, pg_catalog.pg_database_size(oid) FROM pg_catalog.pg_database "
        "WHERE datname ~ '^hasten_[0-9a-f]{8}_[a-z0-9_]+$' OR (datname ~ '^hasten_t_[0-9a-f]+$' AND "
        "pg_catalog.shobj_description(oid, 'pg_database') LIKE 'template of hasten %') ORDER BY 1";
    struct str rows = STR_INIT;
    int code = pq_run(pg->conn, sql, &rows, err);

    *all = NULL;
    *n = 0;
    for (const char *line = str_text(&rows); code == 0 && *line; line += strcspn(line, "\n") + 1) {
        struct found f = {0};

        if (sscanf(line, "%63[^\t]\t%" SCNu64, f.name, &f.bytes) != 2)
            continue;
        code = judge(pg, &f, err);
        *all = hs_realloc(*all, (*n + 1) * sizeof f);
        (*all)[(*n)++] = f;
    }
    str_release(&rows);
    return code;
}

int pg_list(struct db *db, db_entry_fn *each, void *arg, struct err *err)
{
    struct found *all;
    size_t n;
    const int code = find_all((struct pg *)db, &all, &n, err);

    for (size_t i = 0; code == 0 && i < n; i++) {
        const struct db_entry entry = {
            .provider = db->provider->name,
            .name = all[i].name,
            .what = all[i].is_template ? "template"
                    : all[i].dead      ? "left behind"
                                       : "of a run that lives",
            .bytes = all[i].bytes,
            .dead = all[i].dead,
        };

        each(arg, &entry);
    }
    free(all);
    return code;
}

int pg_prune(struct db *db, bool all_templates, struct err *err)
{
    struct pg *pg = (struct pg *)db;
    struct found *all;
    size_t n;
    int n_dropped = 0;
    int code = find_all(pg, &all, &n, err);

    for (size_t i = 0; code == 0 && i < n; i++) {
        if (!all[i].dead && !(all[i].is_template && all_templates))
            continue;
        code = pg_drop_any(pg, all[i].name, err);
        n_dropped += code == 0;
    }
    free(all);
    return code < 0 ? -1 : n_dropped;
}

void pg_drop_own(struct pg *pg)
{
    struct found *all;
    size_t n;
    char run[DB_RUN_DIGITS + 1];
    struct err err;

    if (find_all(pg, &all, &n, &err) == 0)
        for (size_t i = 0; i < n; i++)
            if (db_name_run(all[i].name, run) && !strcmp(run, pg->db.run))
                pg_drop_any(pg, all[i].name, &err);
    free(all);
}
