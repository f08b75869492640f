#include "db/pg_alone.h"

#include "base/trace.h"
#include "db/pg_own.h"
#include "db/pq.h"
#include "db/wal.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- what there is */

/* A part of the query below: the rows of a catalog that are not about this run's databases. */
static void add_part(struct str *sql, const char *what, const char *where)
{
    str_addf(sql, "%sSELECT %s WHERE %s", sql->len ? " UNION ALL " : "", what, where);
}

#define NOT_OURS "NOT EXISTS (SELECT 1 FROM pg_catalog.pg_database o WHERE o.datname ~ '^hasten_%.8s_' AND o.oid = %s)"

static void add_catalogs(struct str *sql, const struct pg *pg)
{
    static const char *const whole[] = {"pg_authid", "pg_auth_members", "pg_tablespace", "pg_subscription",
                                        "pg_replication_origin"};
    static const struct {
        const char *what, *column;
    } others[] = {
        {"s::text FROM pg_catalog.pg_db_role_setting s", "s.setdatabase"},
        {"d::text FROM pg_catalog.pg_shdescription d", "d.objoid AND d.classoid = 'pg_catalog.pg_database'::regclass"},
        {"l::text FROM pg_catalog.pg_shseclabel l", "l.objoid AND l.classoid = 'pg_catalog.pg_database'::regclass"},
        {"concat_ws('|', oid, datname, datdba, encoding, datistemplate, datallowconn, datconnlimit, dattablespace, "
         "datacl::text) FROM pg_catalog.pg_database b",
         "b.oid"},
    };
    char text[400], where[300];

    for (size_t i = 0; i < HS_COUNT(whole); i++) {
        snprintf(text, sizeof text, "t::text AS x FROM pg_catalog.%s t", whole[i]);
        add_part(sql, text, "true");
    }
    for (size_t i = 0; i < HS_COUNT(others); i++) {
        snprintf(where, sizeof where, NOT_OURS, pg->db.run, others[i].column);
        add_part(sql, others[i].what, where);
    }
    add_part(sql, "concat_ws('|', slot_name, plugin, database) FROM pg_catalog.pg_replication_slots", "true");
    if (pg->version >= 150000)
        add_part(sql, "p::text FROM pg_catalog.pg_parameter_acl p", "true");
}

/* Of databases `numbers` ("1,2") those are counted that are there and not this run's own. */
static int look_at_catalogs(struct pg *pg, const char *numbers, char catalogs[64], int *n_touched, struct err *err)
{
    struct str parts = STR_INIT;
    struct str sql = STR_INIT;
    struct str row = STR_INIT;
    int code;

    add_catalogs(&parts, pg);
    str_addf(&sql,
             "SELECT (SELECT md5(string_agg(x, E'\\n' ORDER BY x COLLATE \"C\")) FROM (%s) c), (SELECT count(*) FROM "
             "pg_catalog.pg_database WHERE oid IN (%s) AND datname !~ '^hasten_%.8s_')",
             str_text(&parts), numbers, pg->db.run);
    code = pq_run(pg->conn, str_text(&sql), &row, err);
    catalogs[0] = '\0';
    *n_touched = 0;
    if (code == 0)
        sscanf(str_text(&row), "%63s\t%d", catalogs, n_touched);
    str_release(&parts);
    str_release(&sql);
    str_release(&row);
    return code;
}

/* ALTER SYSTEM leaves no trace in the log. */
static void look_at_files(const struct pg *pg, char files[160])
{
    static const char *const names[] = {"postgresql.auto.conf", "postgresql.conf", "pg_hba.conf", "pg_ident.conf"};
    size_t at = 0;

    files[0] = '\0';
    for (size_t i = 0; i < HS_COUNT(names); i++) {
        char path[PLACE_SIZE + 40];
        struct stat st = {0};

        snprintf(path, sizeof path, "%s/data/%s", pg->server.folder, names[i]);
        stat(path, &st);
        at += (size_t)snprintf(files + at, 160 - at, "%llx.%llx.%lx ", (unsigned long long)st.st_ino,
                               (unsigned long long)st.st_mtim.tv_sec, (unsigned long)st.st_mtim.tv_nsec);
    }
}

/* True when a file of that ending is in folder/below, which need not be there. */
static bool has_file(const char *folder, const char *below, const char *ending)
{
    char path[PATH_MAX];
    const size_t n = strlen(ending);
    struct dirent *e;
    DIR *dir;
    bool has = false;

    snprintf(path, sizeof path, "%.2000s/%.1000s", folder, below);
    dir = opendir(path);
    while (dir && !has && (e = readdir(dir)))
        has = strlen(e->d_name) > n && !strcmp(e->d_name + strlen(e->d_name) - n, ending);
    if (dir)
        closedir(dir);
    return has;
}

/* In a tablespace's folder: PG_15_202209061/16384. */
static bool has_file_of(const char *space, const char *database, const char *ending)
{
    char below[PLACE_SIZE + 280];
    struct dirent *e;
    DIR *dir = opendir(space);
    bool has = false;

    while (dir && !has && (e = readdir(dir))) {
        snprintf(below, sizeof below, "%s/%s", e->d_name, database);
        has = !strncmp(e->d_name, "PG_", 3) && has_file(space, below, ending);
    }
    if (dir)
        closedir(dir);
    return has;
}

static bool has_unlogged(const char *data, const char *database)
{
    char path[PLACE_SIZE + 300], below[64];
    struct dirent *e;
    DIR *dir;
    bool has;

    snprintf(below, sizeof below, "base/%.20s", database);
    has = has_file(data, below, "_init");
    snprintf(path, sizeof path, "%s/pg_tblspc", data);
    dir = opendir(path);
    while (dir && !has && (e = readdir(dir))) {
        snprintf(path, sizeof path, "%s/pg_tblspc/%s", data, e->d_name);
        has = e->d_name[0] != '.' && has_file_of(path, database, "_init");
    }
    if (dir)
        closedir(dir);
    return has;
}

/* True when there is one in a database that is not this run's: whether it was written to nothing says. */
static bool has_unlogged_elsewhere(struct pg *pg)
{
    char sql[160], data[PLACE_SIZE + 8], number[24];
    struct str numbers = STR_INIT;
    struct err err;
    bool has;

    snprintf(sql, sizeof sql,
             "SELECT oid FROM pg_catalog.pg_database WHERE datallowconn AND datname !~ '^hasten_%.8s_'", pg->db.run);
    snprintf(data, sizeof data, "%s/data", pg->server.folder);
    has = pq_run(pg->conn, sql, &numbers, &err) < 0;
    for (const char *line = str_text(&numbers); !has && *line; line += strcspn(line, "\n") + 1) {
        snprintf(number, sizeof number, "%.*s", (int)strcspn(line, "\n"), line);
        has = has_unlogged(data, number);
    }
    str_release(&numbers);
    return has;
}

/* ---- the judgement */

static void spoil(struct pg *pg, const char *how)
{
    pg->alone.spoilt = true;
    trace_event("db_spoilt", TRACE_TEXT("how", how));
}

int pg_alone_begin(struct pg *pg, struct err *err)
{
    struct pg_alone *alone = &pg->alone;
    struct pg_known *known = pg_known(pg);
    struct str row = STR_INIT;
    int n_touched;
    int code = 0;

    if (!alone->files[0])
        look_at_files(pg, alone->files);
    if (!known->catalogs[0])
        code = look_at_catalogs(pg, "0", known->catalogs, &n_touched, err);
    if (code == 0)
        code = pq_run(pg->conn, "SELECT pg_catalog.pg_current_wal_insert_lsn()", &row, err);
    if (code == 0 && !wal_position(str_text(&row), &alone->from))
        code = err_set(err, "the PostgreSQL server does not say where its log is");
    str_release(&row);
    return code;
}

bool pg_alone_judge_files(struct pg *pg)
{
    char files[160];

    look_at_files(pg, files);
    if (strcmp(files, pg->alone.files) != 0)
        spoil(pg, "files");
    return pg->alone.spoilt;
}

bool pg_alone_judge(struct pg *pg, const struct wal_touches *touches, uint32_t own)
{
    struct str numbers = STR_INIT;
    char catalogs[64];
    uint32_t last = 0; /* touches are sorted */
    bool shared = false;
    struct err err;
    int n_touched;

    str_puts(&numbers, "0");
    for (size_t i = 0; i < touches->n; i++) {
        const uint32_t database = touches->items[i].database;

        shared = shared || !database;
        if (database && database != own && database != last)
            str_addf(&numbers, ",%u", last = database);
    }
    if ((shared || last) && (look_at_catalogs(pg, str_text(&numbers), catalogs, &n_touched, &err) < 0 ||
                             n_touched > 0 || strcmp(catalogs, pg_known(pg)->catalogs) != 0))
        spoil(pg, "catalogs");
    if (!pg->alone.spoilt && touches->silent && has_unlogged_elsewhere(pg))
        spoil(pg, "unlogged");
    str_release(&numbers);
    return pg_alone_judge_files(pg);
}

static int read_log(struct pg *pg, const char *name, struct wal_touches *touches, uint32_t *own, struct err *err)
{
    char folder[PLACE_SIZE + 16];
    struct wal_source source;
    struct str row = STR_INIT;
    uint64_t to = 0;
    char sql[200];
    int code;

    snprintf(sql, sizeof sql,
             "SELECT pg_catalog.pg_logical_emit_message(true, 'hasten', ''), (SELECT oid FROM pg_catalog.pg_database "
             "WHERE datname = '%.63s')",
             name);
    code = pq_run(pg->conn, "SET synchronous_commit = on", NULL, err);
    if (code == 0)
        code = pq_run(pg->conn, sql, &row, err);
    if (code == 0 && (!wal_position(str_text(&row), &to) || sscanf(str_text(&row), "%*s %u", own) != 1))
        code = err_set(err, "the database is gone");
    str_release(&row);
    if (code == 0)
        code = pg_log_source(pg, pg->conn, &source, folder, err);
    return code < 0 ? -1 : wal_read(&source, pg->alone.from, to, *own, touches, err);
}

bool pg_alone_look(struct pg *pg, const char *name)
{
    struct wal_touches touches = {0};
    uint32_t own = 0;
    struct err err;

    if (read_log(pg, name, &touches, &own, &err) < 0)
        spoil(pg, "unknown");
    else
        pg_alone_judge(pg, &touches, own);
    wal_touches_release(&touches);
    return pg->alone.spoilt;
}
