/* pg_names.c - names of databases, and how they are reached: URLs, libpq's words, a command line of psql. */
#include "db/pg_own.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

void pg_template_name(const struct db *db, const char *key, char name[DB_NAME_SIZE])
{
    if (key && key[0])
        snprintf(name, DB_NAME_SIZE, "hasten_t_%.40s", key);
    else if (key)
        db_name(db->run, "template", name); /* of this run alone */
    else
        snprintf(name, DB_NAME_SIZE, "template1"); /* nothing to set up */
}

bool pg_url_of(const char *url, const char *scheme, const char *name, char out[DB_URL_SIZE])
{
    const char *host = strstr(url, "://");
    const size_t n_host = host ? strcspn(host + 3, "/?#") : 0;
    const char *query = host ? strpbrk(host + 3 + n_host, "?") : NULL;
    int n;

    if (!host)
        return false;
    n = snprintf(out, DB_URL_SIZE, "%.*s://%.*s/%s%s", scheme ? (int)strlen(scheme) : (int)(host - url),
                 scheme ? scheme : url, (int)n_host, host + 3, name, query ? query : "");
    return n < DB_URL_SIZE;
}

void pg_own_url(const struct pg *pg, const char *name, const char *copy, bool straight, char url[DB_URL_SIZE])
{
    snprintf(url, DB_URL_SIZE, "%.64s://postgres@/%s?host=%s%s%.40s/%s&port=5432",
             pg->options.scheme ? pg->options.scheme : "postgresql", name, pg->server.folder,
             copy[0] ? "/" PLACE_COPY : "", copy, straight || pg->options.pooler == POOLER_OFF ? "s" : "p");
}

void pg_hand_out(struct db *db, const char *name, char url[DB_URL_SIZE])
{
    struct pg *pg = (struct pg *)db;
    const char *given = pg->options.url;
    const char *scheme = pg->options.scheme ? pg->options.scheme : "postgresql";

    if (!given)
        pg_own_url(pg, name, "", false, url);
    else if (!strcmp(given, "env"))
        snprintf(url, DB_URL_SIZE, "%.64s:///%s", scheme, name);
    else
        HS_CHECK(pg_url_of(given, pg->options.scheme, name, url)); /* pg_init has tried */
}

/* For messages, which end in the logs of CI: "postgres://tester:***@host/". */
static void without_password(const char *url, char shown[200])
{
    const char *user = strstr(url, "://") ? strstr(url, "://") + 3 : url;
    const char *at = strrchr(user, '@'); /* one in a password may stand as it is */
    const char *colon = at ? memchr(user, ':', (size_t)(at - user)) : NULL;

    if (colon)
        snprintf(shown, 200, "%.*s:***%s", (int)(colon - url), url, at);
    else
        snprintf(shown, 200, "%s", url);
}

/* libpq knows no "postgresql+psycopg://", which SQLAlchemy's users write. */
int pg_set_conninfo(struct pg *pg, struct err *err)
{
    const char *url = pg->options.url;
    char unused[DB_URL_SIZE], shown[200];

    if (!url || !strcmp(url, "env"))
        return 0;
    if ((strncmp(url, "postgresql", 10) != 0 && strncmp(url, "postgres:", 9) != 0) ||
        !pg_url_of(url, pg->options.scheme, "hasten_00000000_aaaaaaaaaaaaaaaa", unused)) {
        without_password(url, shown);
        return err_set(err, "'%s' is not the URL of a PostgreSQL server (postgresql://user@host:port/database)", shown);
    }
    snprintf(pg->conninfo, sizeof pg->conninfo, "postgresql%s", strstr(url, "://"));
    return 0;
}

/* psql, as scripts for it are what people have (pg_dump writes them): \\copy, \\i, COPY ... FROM stdin. */
int pg_command_for_sql(struct db *db, const char *url, const char *file, struct str *command, struct err *err)
{
    const struct pg *pg = (const struct pg *)db;
    char psql[PLACE_SIZE + 16] = "psql";

    (void)err;
    if (!pg->options.url) {
        snprintf(psql, sizeof psql, "%s/psql", pg->server.program.bin);
        if (access(psql, X_OK) < 0)
            snprintf(psql, sizeof psql, "psql");
    }
    str_puts(command, "exec ");
    db_shell_word(command, psql);
    str_puts(command, " -X -q -v ON_ERROR_STOP=1 -o /dev/null -f ");
    db_shell_word(command, file);
    str_puts(command, " -d ");
    if (strncmp(url, "postgresql+", 11) == 0) {
        char plain[DB_URL_SIZE];

        snprintf(plain, sizeof plain, "postgresql%s", strstr(url, "://"));
        db_shell_word(command, plain);
    } else
        db_shell_word(command, url);
    return 1;
}
