#include "db/pg_pool.h"

#include "base/trace.h"
#include "db/pg_own.h"
#include "db/pq.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

enum { RENAME_ROUNDS = 2000 };

static void new_name(struct pg *pg, const char *what, char name[DB_NAME_SIZE])
{
    char worker[32];

    snprintf(worker, sizeof worker, "%s%u", what, pg->pool.number++);
    db_name(pg->db.run, worker, name);
}

int pg_end_connections(struct pg *pg, const char *name, struct err *err)
{
    const struct timespec nap = {.tv_nsec = 500000};
    char sql[256];
    char left[16] = "";
    bool found;

    snprintf(sql, sizeof sql,
             "SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity WHERE datname = '%s'",
             name);
    for (int round = 0; round < RENAME_ROUNDS; round++) {
        if (pg_ask(pg, sql, left, sizeof left, &found, err) < 0)
            return -1;
        if (!strcmp(left, "0"))
            break;
        nanosleep(&nap, NULL);
    }
    return 0;
}

/* Somebody may connect meanwhile. The server itself waits five seconds for those who are connected: they are ended before. */
static int rename_database(struct pg *pg, const char *from, const char *to, struct err *err)
{
    for (int round = 0;; round++) {
        int code = pg_end_connections(pg, from, err);

        if (code == 0)
            code = pq_runf(pg->conn, err, "ALTER DATABASE %s RENAME TO %s", from, to);
        if (code == 0 || round == RENAME_ROUNDS || strcmp(pq_state(), "55006") != 0)
            return code;
    }
}

static int take(struct pg *pg, const char *name, struct err *err)
{
    struct pg_pool *pool = &pg->pool;
    char old[DB_NAME_SIZE];

    new_name(pg, "old", old);
    if (rename_database(pg, name, old, err) < 0)
        return -1;
    snprintf(pool->old[pool->n_old++], DB_NAME_SIZE, "%s", old);
    return rename_database(pg, pool->ready[--pool->n_ready], name, err);
}

int pg_pool_swap(struct pg *pg, const char *key, const char *name, struct err *err)
{
    struct pg_pool *pool = &pg->pool;

    if (!pool->wanted) {
        pool->wanted = pg->server.n_workers < PG_POOL_MOST ? pg->server.n_workers + 1 : PG_POOL_MOST;
        snprintf(pool->key, sizeof pool->key, "%s", key ? key : "");
        pool->plain = !key;
    }
    pg_pool_fill(pg);
    if (pool->n_ready > 0 && pool->n_old < PG_POOL_MOST && pool->plain == !key && !strcmp(pool->key, key ? key : "")) {
        trace_event("db_swap", TRACE_TEXT("name", name));
        if (take(pg, name, err) == 0)
            return 0;
    }
    return pg_clone_plainly(pg, key, name, err);
}

/* ---- the child */

static int fill(struct pg *pg)
{
    struct pg_pool *pool = &pg->pool;
    struct err err;

#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    pq_watch(NULL, NULL);
    pg->conn = pq_open(pg->conninfo, "postgres", &err); /* the parent's is the parent's */
    if (!pg->conn || pq_run(pg->conn, "SET application_name = 'hasten'", NULL, &err) < 0) /* pg_watch.h ends others */
        return 1;
    for (size_t i = 0; i < pool->n_old; i++)
        if (pg_drop_any(pg, pool->old[i], &err) < 0)
            return 1;
    return pool->making[0] && pg_clone_plainly(pg, pool->plain ? NULL : pool->key, pool->making, &err) < 0 ? 1 : 0;
}

static void look_at_child(struct pg_pool *pool)
{
    int status;

    if (!pool->filler || waitpid(pool->filler, &status, WNOHANG) == 0)
        return;
    pool->filler = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && pool->making[0])
        snprintf(pool->ready[pool->n_ready++], DB_NAME_SIZE, "%s", pool->making);
    else if (pool->making[0])
        pool->wanted = pool->n_ready; /* no room, perhaps: those who need one make it themselves */
}

void pg_pool_fill(struct pg *pg)
{
    struct pg_pool *pool = &pg->pool;

    look_at_child(pool);
    if (pool->filler || (pool->n_ready >= pool->wanted && !pool->n_old))
        return;
    pool->making[0] = '\0';
    if (pool->n_ready < pool->wanted)
        new_name(pg, "pool", pool->making);
    pool->filler = fork();
    if (pool->filler == 0)
        _exit(fill(pg));
    if (pool->filler < 0)
        pool->filler = 0;
    else
        pool->n_old = 0; /* the child's now; what it cannot drop goes with the run */
}

void pg_pool_release(struct pg *pg)
{
    if (!pg->pool.filler)
        return;
    kill(pg->pool.filler, SIGKILL);
    waitpid(pg->pool.filler, NULL, 0);
    pg->pool.filler = 0;
}
