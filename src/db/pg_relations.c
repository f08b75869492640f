/* pg_relations.c - what relations a template has, by the numbers that the write-ahead log names them with. */
#include "db/pg_own.h"
#include "db/pq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char relations_sql[] =
    "SELECT f, oid, relkind, relpersistence = 'u', pg_catalog.pg_relation_size(oid) > 0, relkind = 'm' OR "
    "name ~ E'[\\t\\n]' OR EXISTS (SELECT 1 FROM pg_catalog.pg_trigger WHERE tgrelid = c.oid AND tgenabled IN ('A', "
    "'R')) OR EXISTS (SELECT 1 FROM pg_catalog.pg_rewrite WHERE ev_class = c.oid AND ev_enabled IN ('A', 'R')), "
    "translate(name, E'\\t\\n', '  ') FROM (SELECT k.*, pg_catalog.pg_relation_filenode(k.oid) AS f, "
    "format('%I.%I', nspname, relname) AS name FROM pg_catalog.pg_class k JOIN pg_catalog.pg_namespace n ON n.oid = "
    "relnamespace WHERE relkind IN ('r', 'S', 't', 'm') AND k.oid >= 16384) c WHERE f IS NOT NULL ORDER BY f";

static const char *next_field(const char *field)
{
    return field + strcspn(field, "\t\n") + 1;
}

static struct pg_relation read_relation(const char *line)
{
    const char *fields[7];
    struct pg_relation relation = {0};

    fields[0] = line;
    for (size_t i = 1; i < HS_COUNT(fields); i++)
        fields[i] = next_field(fields[i - 1]);
    relation.filenode = (uint32_t)strtoul(fields[0], NULL, 10);
    relation.oid = (uint32_t)strtoul(fields[1], NULL, 10);
    relation.kind = fields[2][0];
    relation.unlogged = fields[3][0] == 't';
    relation.seeded = fields[4][0] == 't';
    relation.odd = fields[5][0] == 't';
    relation.name = strndup(fields[6], strcspn(fields[6], "\n"));
    HS_CHECK(relation.name);
    return relation;
}

static struct pg_relation *by_oid(struct pg_relations *all, uint32_t oid)
{
    for (size_t i = 0; i < all->n; i++)
        if (all->items[i].oid == oid)
            return &all->items[i];
    return NULL;
}

/* The call that brings each sequence back to where it is now. */
static int read_sequences(struct pg_conn *conn, struct pg_relations *all, struct err *err)
{
    struct str sql = STR_INIT;
    struct str rows = STR_INIT;
    int code = 0;

    for (size_t i = 0; i < all->n; i++)
        if (all->items[i].kind == 'S' && !all->items[i].odd)
            str_addf(&sql, "%sSELECT %u, last_value, is_called FROM %s", sql.len ? " UNION ALL " : "",
                     all->items[i].oid, all->items[i].name);
    if (sql.len)
        code = pq_run(conn, str_text(&sql), &rows, err);
    for (const char *line = str_text(&rows); code == 0 && *line; line += strcspn(line, "\n") + 1) {
        struct pg_relation *sequence = by_oid(all, (uint32_t)strtoul(line, NULL, 10));
        const char *value = next_field(line);
        struct str put_back = STR_INIT;

        if (!sequence)
            continue;
        str_addf(&put_back, "pg_catalog.setval(%u::regclass, %lld, %s)", sequence->oid, atoll(value),
                 next_field(value)[0] == 't' ? "true" : "false");
        sequence->put_back = put_back.data;
    }
    str_release(&sql);
    str_release(&rows);
    return code;
}

static void release_one(struct pg_relations *all)
{
    for (size_t i = 0; i < all->n; i++) {
        free(all->items[i].name);
        free(all->items[i].put_back);
    }
    free(all->items);
}

int pg_relations_read(struct pg_conn *conn, struct pg_relations *all, struct err *err)
{
    struct str rows = STR_INIT;
    int code = pq_run(conn, relations_sql, &rows, err);

    for (const char *line = str_text(&rows); code == 0 && *line; line += strcspn(line, "\n") + 1) {
        all->items = hs_realloc(all->items, (all->n + 1) * sizeof *all->items);
        all->items[all->n++] = read_relation(line);
    }
    str_release(&rows);
    if (code == 0)
        code = read_sequences(conn, all, err);
    if (code < 0)
        release_one(all);
    return code;
}

void pg_relations_release(struct pg_relations *all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        release_one(&all[i]);
    free(all);
}

const struct pg_relation *pg_relations_find(const struct pg_relations *all, uint32_t filenode)
{
    size_t low = 0;
    size_t high = all->n;

    while (low < high) {
        const size_t middle = (low + high) / 2;

        if (all->items[middle].filenode == filenode)
            return &all->items[middle];
        if (all->items[middle].filenode < filenode)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
