/* pg_clone.c - databases are made of others, and dropped, by the server's own statements. */
#include "db/pg_own.h"
#include "db/pq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAL_LOG_MOST (UINT64_C(100) << 20)

const char *pg_strategy(int version, bool durable, uint64_t bytes)
{
    if (version < 150000)
        return ""; /* files are copied, always */
    return !durable || bytes > WAL_LOG_MOST ? " STRATEGY FILE_COPY" : " STRATEGY WAL_LOG";
}

int pg_drop(struct db *db, const char *name, struct err *err)
{
    struct pg *pg = (struct pg *)db;

    if (pg->version >= 130000)
        return pq_runf(pg->conn, err, "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
    if (pq_runf(pg->conn, err,
                "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
                "WHERE datname = '%s'",
                name) < 0)
        return -1;
    return pq_runf(pg->conn, err, "DROP DATABASE IF EXISTS %s", name);
}

/* What ALTER DATABASE ... SET has said of the template: CREATE DATABASE leaves it out. */
static int copy_settings(struct pg *pg, const char *from, const char *to, struct err *err)
{
    static const char lists[] =
        "'local_preload_libraries','search_path','session_preload_libraries','shared_preload_libraries',"
        "'temp_tablespaces','unix_socket_directories'"; /* their values are lists of quoted names already */
    struct str sql = STR_INIT;
    struct str statements = STR_INIT;
    int code;

    str_addf(
        &sql,
        "SELECT format('ALTER %%s SET %%I TO %%s;', CASE WHEN s.setrole = 0 THEN format('DATABASE %%I', '%s') ELSE "
        "format('ROLE %%I IN DATABASE %%I', (SELECT rolname FROM pg_catalog.pg_roles r WHERE r.oid = s.setrole), "
        "'%s') END, split_part(c, '=', 1), CASE WHEN split_part(c, '=', 1) IN (%s) AND strpos(c, '=') < length(c) "
        "THEN substr(c, strpos(c, '=') + 1) ELSE quote_literal(substr(c, strpos(c, '=') + 1)) END) "
        "FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, "
        "unnest(s.setconfig) c WHERE d.datname = '%s'",
        to, to, lists, from);
    code = pq_run(pg->conn, str_text(&sql), &statements, err);
    if (code == 0 && statements.len)
        code = pq_run(pg->conn, str_text(&statements), NULL, err);
    str_release(&sql);
    str_release(&statements);
    return code;
}

static uint64_t size_of(struct pg *pg, const char *name)
{
    char sql[128];
    char value[32];
    bool found;
    struct err err;

    snprintf(sql, sizeof sql, "SELECT pg_catalog.pg_database_size('%.63s')", name);
    return pg_ask(pg, sql, value, sizeof value, &found, &err) == 0 ? strtoull(value, NULL, 10) : 0;
}

int pg_create(struct pg *pg, const char *name, const char *from, struct err *err)
{
    const uint64_t bytes = pg->durable ? size_of(pg, from) : 0;

    return pq_runf(pg->conn, err, "CREATE DATABASE %s TEMPLATE %s%s", name, from,
                   pg_strategy(pg->version, pg->durable, bytes));
}

int pg_clone_plainly(struct pg *pg, const char *key, const char *name, struct err *err)
{
    char from[DB_NAME_SIZE];
    bool found;

    pg_template_name(&pg->db, key, from);
    if (pg_exists(pg, name, &found, err) < 0 || (found && pg_drop_any(pg, name, err) < 0) ||
        pg_create(pg, name, from, err) < 0)
        return -1;
    if (key && copy_settings(pg, from, name, err) < 0) {
        struct err unused;

        pg_drop(&pg->db, name, &unused);
        return -1;
    }
    return 0;
}

/* A template has to be made an ordinary database before it can be dropped. */
int pg_drop_any(struct pg *pg, const char *name, struct err *err)
{
    bool found;

    if (pg_exists(pg, name, &found, err) < 0)
        return -1;
    if (found && pq_runf(pg->conn, err, "ALTER DATABASE %s WITH IS_TEMPLATE false", name) < 0)
        return strcmp(pq_state(), "3D000") == 0 ? 0 : -1; /* another run was faster */
    return found ? pg_drop(&pg->db, name, err) : 0;
}
