#include "harness.h"

#include "db/pg.h"
#include "db/pq.h"
#include "db/wal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* One server for the tests that need one; without PostgreSQL they are skipped. */
static struct place place;
static struct pg pg;
static char *cache;
static bool there;
static struct err err;

static int start_server(void **state)
{
    struct pg_program program;
    const struct pg_options options = {0};

    (void)state;
    place.lock_fd = -1;
    cache = scratch_make();
    setenv("XDG_CACHE_HOME", cache, 1);
    if (pg_find(0, &program, &err) < 0)
        return 0;
    there = place_open(&place, (int)getpid(), &err) == 0 && pg_init(&pg, &options, &place, "0123abcd", &err) == 0 &&
            pg_provider.start(&pg.db, &err) == 0;
    if (!there)
        fprintf(stderr, "%s\n", err.text);
    return there ? 0 : -1;
}

static int stop_server(void **state)
{
    (void)state;
    if (there)
        pg_provider.release(&pg.db);
    place_close(&place);
    scratch_remove(cache);
    return 0;
}

#define NEED_SERVER() \
    if (!there)       \
    skip()

/* What a statement answers in a database of the server, "" for nothing; "!STATE" when it fails. */
static const char *ask(const char *name, const char *sql)
{
    static char answer[1024];
    struct str rows = STR_INIT;
    struct pg_conn *conn = pq_open(pg.conninfo, name, &err);

    if (!conn) {
        snprintf(answer, sizeof answer, "!%s", pq_state());
        return answer;
    }
    if (pq_run(conn, sql, &rows, &err) < 0)
        snprintf(answer, sizeof answer, "!%s", pq_state());
    else
        snprintf(answer, sizeof answer, "%.*s", rows.len ? (int)rows.len - 1 : 0, str_text(&rows));
    str_release(&rows);
    pq_close(conn);
    return answer;
}

static void build(const char *key, const char *sql)
{
    char url[DB_URL_SIZE];

    assert_int_equal(pg_provider.template_begin(&pg.db, key, url, &err), 0);
    assert_string_equal(ask("hasten_0123abcd_build", sql), "");
    if (pg_provider.template_end(&pg.db, key, true, &err) < 0)
        fail_msg("%s", err.text);
}

static void test_a_clone_has_the_templates_content_and_is_its_own(void **state)
{
    char url[DB_URL_SIZE];

    (void)state;
    NEED_SERVER();
    build("aa01", "CREATE TABLE t AS SELECT 7 AS x; CREATE SEQUENCE s START 5");
    assert_int_equal(pg_provider.template_begin(&pg.db, "aa01", url, &err), 1);
    assert_int_equal(pg_provider.clone(&pg.db, "aa01", "hasten_0123abcd_gw0", &err), 0);
    assert_int_equal(pg_provider.clone(&pg.db, "aa01", "hasten_0123abcd_gw1", &err), 0);
    assert_string_equal(ask("hasten_0123abcd_gw0", "UPDATE t SET x = 8; SELECT x FROM t"), "8");
    assert_string_equal(ask("hasten_0123abcd_gw1", "SELECT x, nextval('s') FROM t"), "7\t5");
    assert_int_equal(pg_provider.reset(&pg.db, "aa01", "hasten_0123abcd_gw0", &err), 0);
    assert_string_equal(ask("hasten_0123abcd_gw0", "SELECT x FROM t"), "7");
    assert_int_equal(pg_provider.drop(&pg.db, "hasten_0123abcd_gw0", &err), 0);
    assert_string_equal(ask("hasten_0123abcd_gw0", "SELECT 1"), "!3D000");
}

static void test_a_template_that_failed_half_way_leaves_nothing(void **state)
{
    char url[DB_URL_SIZE];

    (void)state;
    NEED_SERVER();
    assert_int_equal(pg_provider.template_begin(&pg.db, "aa02", url, &err), 0);
    assert_non_null(strstr(url, "/hasten_0123abcd_build?host=/"));
    ask("hasten_0123abcd_build", "CREATE TABLE half(x int)");
    assert_int_equal(pg_provider.template_end(&pg.db, "aa02", false, &err), 0);
    assert_string_equal(ask("postgres", "SELECT datname FROM pg_database WHERE datname ~ 'build|aa02'"), "");
    assert_int_equal(pg_provider.template_begin(&pg.db, "aa02", url, &err), 0);
    assert_int_equal(pg_provider.template_end(&pg.db, "aa02", false, &err), 0);
}

static void test_database_level_settings_come_along(void **state)
{
    (void)state;
    NEED_SERVER();
    build("aa03", "CREATE ROLE someone; ALTER DATABASE hasten_0123abcd_build SET search_path TO \"Odd\", public; "
                  "ALTER DATABASE hasten_0123abcd_build SET application_name TO 'it''s \\ odd'; "
                  "ALTER ROLE someone IN DATABASE hasten_0123abcd_build SET work_mem TO '7MB'");
    assert_int_equal(pg_provider.clone(&pg.db, "aa03", "hasten_0123abcd_set", &err), 0);
    assert_string_equal(ask("hasten_0123abcd_set", "SHOW search_path"), "\"Odd\", public");
    assert_string_equal(ask("hasten_0123abcd_set", "SELECT setting FROM pg_settings WHERE name = 'application_name'"),
                        "it's \\ odd");
    assert_string_equal(ask("hasten_0123abcd_set", "SELECT setconfig FROM pg_db_role_setting WHERE setrole <> 0 AND "
                                                   "setdatabase = (SELECT oid FROM pg_database WHERE datname = "
                                                   "current_database())"),
                        "{work_mem=7MB}");
}

static void test_open_connections_do_not_keep_a_database(void **state)
{
    struct pg_conn *conn;

    (void)state;
    NEED_SERVER();
    assert_int_equal(pg_provider.clone(&pg.db, NULL, "hasten_0123abcd_open", &err), 0);
    conn = pq_open(pg.conninfo, "hasten_0123abcd_open", &err);
    assert_non_null(conn);
    assert_int_equal(pg_provider.reset(&pg.db, NULL, "hasten_0123abcd_open", &err), 0);
    assert_int_equal(pq_run(conn, "SELECT 1", NULL, &err), -1);
    pq_close(conn);
    assert_string_equal(ask("hasten_0123abcd_open", "SELECT 1"), "1");
}

static void add_line(void *arg, const struct db_entry *entry)
{
    str_addf(arg, "%s:%s ", entry->name, entry->dead ? "dead" : "alive");
}

/* A second "run" on the first one's server, as a given one. */
static void test_what_a_dead_run_left_on_a_given_server_is_dropped_by_the_next(void **state)
{
    char given[DB_URL_SIZE], url[DB_URL_SIZE];
    const struct pg_options options = {.url = given};
    struct pg other;
    struct str lines = STR_INIT;

    (void)state;
    NEED_SERVER();
    assert_string_equal(ask("postgres", "CREATE DATABASE hasten_dead0001_gw0"), "");
    assert_string_equal(ask("postgres", "CREATE DATABASE hasten_project"), "");
    assert_string_equal(ask("postgres", "CREATE DATABASE hasten_t_ffff"), ""); /* not made by hasten: no comment */
    snprintf(given, sizeof given, "postgresql+driver://postgres@/any?host=%s/s", pg.server.folder);
    assert_int_equal(pg_init(&other, &options, &place, "beef0002", &err), 0);
    assert_int_equal(pg_join(&other, &err), 0);
    assert_int_equal(pg_provider.list(&other.db, add_line, &lines, &err), 0);
    assert_non_null(strstr(str_text(&lines), "hasten_dead0001_gw0:dead"));
    pg_provider.release(&other.db);

    assert_int_equal(pg_init(&other, &options, &place, "beef0002", &err), 0);
    if (pg_provider.start(&other.db, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(ask("postgres", "SELECT datname FROM pg_database WHERE datname ~ 'dead0001'"), "");
    assert_string_equal(ask("postgres", "SELECT count(*) FROM pg_database WHERE datname IN ('hasten_project', "
                                        "'hasten_t_ffff')"),
                        "2");
    assert_int_equal(pg_provider.clone(&other.db, NULL, "hasten_beef0002_gw0", &err), 0);
    pg_provider.hand_out(&other.db, "hasten_beef0002_gw0", url);
    assert_non_null(strstr(url, "postgresql+driver://postgres@/hasten_beef0002_gw0?host="));
    pg_provider.release(&other.db);
    assert_string_equal(ask("postgres", "SELECT datname FROM pg_database WHERE datname ~ 'beef0002'"), "");
    str_release(&lines);
}

static void test_the_server_listens_in_a_folder_of_its_own_alone(void **state)
{
    char path[PLACE_SIZE + 8];
    struct stat st;

    (void)state;
    NEED_SERVER();
    assert_string_equal(ask("postgres", "SHOW listen_addresses"), "");
    snprintf(path, sizeof path, "%s/s", pg.server.folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    snprintf(path, sizeof path, "/proc/%d", pg.server.pid);
    assert_int_equal(stat(path, &st), 0);
    assert_int_not_equal(st.st_uid, 0);
}

/* Without the limit that a run has: a disk may be slow. */
static void await_savers(void)
{
    for (size_t i = 0; i < pg.server.n_savers; i++)
        waitpid(pg.server.savers[i], NULL, 0);
    pg_server_saved(&pg.server);
}

static void test_a_template_outlives_the_server_in_the_cache(void **state)
{
    (void)state;
    NEED_SERVER();
    build("aa04", "CREATE TABLE kept(x int)");
    await_savers();
    assert_true(pg_server_has(&pg.server, "aa04"));
    assert_false(pg_server_has(&pg.server, "aa05"));
}

static void test_a_template_on_its_way_to_the_cache_is_not_lost_to_the_next(void **state)
{
    (void)state;
    NEED_SERVER();
    build("aa06", "CREATE TABLE first(x int)");
    kill(pg.server.savers[0], SIGSTOP); /* a slow disk */
    build("aa07", "CREATE TABLE second(x int)");
    kill(pg.server.savers[0], SIGCONT);
    await_savers();
    assert_true(pg_server_has(&pg.server, "aa06"));
    assert_true(pg_server_has(&pg.server, "aa07"));
}

/* ---- the log */

static uint64_t position_after(const char *sql)
{
    char text[400];
    uint64_t position;

    snprintf(text, sizeof text, "%s; SET synchronous_commit = on; SELECT pg_logical_emit_message(true, 'test', '')",
             sql);
    assert_true(wal_position(ask("hasten_0123abcd_log", text), &position));
    return position;
}

static uint32_t number(const char *sql)
{
    return (uint32_t)strtoul(ask("hasten_0123abcd_log", sql), NULL, 10);
}

static bool is_touched(const struct wal_touches *touches, const char *table)
{
    char sql[100];

    snprintf(sql, sizeof sql, "SELECT pg_relation_filenode('%s')", table);
    for (size_t i = 0; i < touches->n; i++)
        if (touches->items[i].filenode == number(sql))
            return true;
    return false;
}

static void test_the_log_tells_what_was_changed_and_not_what_was_rolled_back(void **state)
{
    char folder[PLACE_SIZE + 16];
    struct wal_source source = {.folder = folder, .segment_bytes = 1 << 20, .timeline = 1};
    struct wal_touches touches;
    uint64_t from, to;

    (void)state;
    NEED_SERVER();
    source.major = pg.version / 10000;
    snprintf(folder, sizeof folder, "%s/data/pg_wal", pg.server.folder);
    build("aa08", "CREATE TABLE a(x int PRIMARY KEY, y text); CREATE TABLE b(x int); CREATE TABLE c(x int); "
                  "CREATE TABLE d(x int); INSERT INTO b VALUES (1); CREATE SEQUENCE s");
    assert_int_equal(pg_provider.clone(&pg.db, "aa08", "hasten_0123abcd_log", &err), 0);
    from = position_after("SELECT 1");
    to =
        position_after("INSERT INTO a SELECT i, repeat('x', 500) FROM generate_series(1, 9000) i; BEGIN; INSERT INTO c "
                       "VALUES (1); SAVEPOINT p; DELETE FROM b; ROLLBACK TO p; SELECT nextval('s'); COMMIT; BEGIN; "
                       "INSERT INTO d VALUES (1); CREATE TABLE e(); ROLLBACK; SELECT * FROM b FOR UPDATE");
    assert_true(to - from > 4 << 20); /* over several files */
    if (wal_read(&source, from, to, number("SELECT oid FROM pg_database WHERE datname = current_database()"), &touches,
                 &err) < 0)
        fail_msg("%s", err.text);
    assert_true(is_touched(&touches, "a") && is_touched(&touches, "c") && is_touched(&touches, "s"));
    assert_false(is_touched(&touches, "b") || is_touched(&touches, "d") || is_touched(&touches, "a_pkey"));
    wal_touches_release(&touches);
    assert_int_equal(wal_read(&source, from + 8, to, 0, &touches, &err), -1);
    assert_int_equal(wal_read(&source, from, to + (UINT64_C(1) << 32), 0, &touches, &err), -1);
}

static void test_a_server_that_was_killed_is_said(void **state)
{
    (void)state;
    NEED_SERVER();
    assert_int_equal(pg_provider.check(&pg.db, &err), 0);
    kill(pg.server.pid, SIGKILL);
    while (pg_provider.check(&pg.db, &err) == 0)
        ;
    assert_non_null(strstr(err.text, "the PostgreSQL server was killed by SIGKILL"));
}

/* ---- without a server */

static void test_the_strategy_follows_the_disk_and_the_size(void **state)
{
    (void)state;
    assert_string_equal(pg_strategy(140005, true, 1), "");
    assert_string_equal(pg_strategy(150000, false, 1), " STRATEGY FILE_COPY");
    assert_string_equal(pg_strategy(150000, true, 30 << 20), " STRATEGY WAL_LOG");
    assert_string_equal(pg_strategy(150000, true, 500 << 20), " STRATEGY FILE_COPY");
}

static void test_a_name_tells_its_run_and_no_other_name_does(void **state)
{
    char name[DB_NAME_SIZE], run[DB_RUN_DIGITS + 1] = "";

    (void)state;
    db_name("01234567", "gw0-A", name);
    assert_string_equal(name, "hasten_01234567_gw0_A");
    assert_true(db_name_run(name, run));
    assert_string_equal(run, "01234567");
    assert_false(db_name_run("hasten_0123456_gw0", run));
    assert_false(db_name_run("hasten_012345678_gw0", run));
    assert_false(db_name_run("hasten_01234567_", run));
    assert_false(db_name_run("hasten_t_01234567", run));
    assert_false(db_name_run("my_hasten_01234567_gw0", run));
}

static void test_urls_keep_all_but_the_database(void **state)
{
    char url[DB_URL_SIZE];

    (void)state;
    assert_true(pg_url_of("postgresql://u:p@h:5/old?sslmode=require", NULL, "new", url));
    assert_string_equal(url, "postgresql://u:p@h:5/new?sslmode=require");
    assert_true(pg_url_of("postgres://h", "postgresql+asyncpg", "new", url));
    assert_string_equal(url, "postgresql+asyncpg://h/new");
    assert_false(pg_url_of("host=h dbname=old", NULL, "new", url));
}

static void write_script(const char *folder, const char *name, const char *text)
{
    char path[320];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "we");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", text);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
}

static void test_a_script_that_runs_servers_is_asked_for_its_version_each_time(void **state)
{
    struct pg_program program;

    (void)state;
    write_script(cache, "initdb", "exit 1");
    write_script(cache, "postgres", "echo 'postgres (PostgreSQL) 15.3'");
    setenv("HASTEN_PG_BIN", cache, 1);
    assert_int_equal(pg_find(0, &program, &err), 0);
    assert_int_equal(program.major, 15);
    write_script(cache, "postgres", "echo 'postgres (PostgreSQL) 17.1'");
    assert_int_equal(pg_find(0, &program, &err), 0);
    assert_int_equal(program.major, 17);
    unsetenv("HASTEN_PG_BIN");
}

/* The note is looked at, and only for the very file that it is about. */
static void test_a_server_that_was_asked_for_its_version_once_is_not_run_again(void **state)
{
    struct pg_program program;
    char path[320], command[1024];

    (void)state;
    NEED_SERVER();
    snprintf(path, sizeof path, "%s/hasten/db/versions", cache);
    assert_int_equal(pg_find(0, &program, &err), 0);
    snprintf(command, sizeof command, "head -c 4 '%s/postgres' | grep -q ELF", program.bin);
    if (system(command) != 0)
        skip();
    snprintf(command, sizeof command, "sed -i 's/ postgres .*/ postgres (PostgreSQL) 98.7/' '%s'", path);
    assert_int_equal(system(command), 0);
    assert_int_equal(pg_find(98, &program, &err), 0);
    assert_string_equal(program.version, "postgres (PostgreSQL) 98.7");
    snprintf(command, sizeof command, "sed -i 's/^./g/' '%s'", path);
    assert_int_equal(system(command), 0);
    assert_int_equal(pg_find(0, &program, &err), 0);
    assert_true(program.major < 98);
}

static void test_a_missing_or_wrong_server_is_said_in_one_line(void **state)
{
    struct pg_program program;

    (void)state;
    setenv("HASTEN_PG_BIN", "/nowhere", 1);
    assert_int_equal(pg_find(0, &program, &err), -1);
    assert_non_null(strstr(err.text, "no PostgreSQL server in HASTEN_PG_BIN ('/nowhere')"));
    unsetenv("HASTEN_PG_BIN");
    if (!there)
        return;
    assert_int_equal(pg_find(99, &program, &err), -1);
    assert_non_null(strstr(err.text, "PostgreSQL 99 is wanted, but there is only PostgreSQL "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_clone_has_the_templates_content_and_is_its_own),
        cmocka_unit_test(test_a_template_that_failed_half_way_leaves_nothing),
        cmocka_unit_test(test_database_level_settings_come_along),
        cmocka_unit_test(test_open_connections_do_not_keep_a_database),
        cmocka_unit_test(test_what_a_dead_run_left_on_a_given_server_is_dropped_by_the_next),
        cmocka_unit_test(test_the_server_listens_in_a_folder_of_its_own_alone),
        cmocka_unit_test(test_a_template_outlives_the_server_in_the_cache),
        cmocka_unit_test(test_a_template_on_its_way_to_the_cache_is_not_lost_to_the_next),
        cmocka_unit_test(test_the_log_tells_what_was_changed_and_not_what_was_rolled_back),
        cmocka_unit_test(test_a_server_that_was_killed_is_said),
        cmocka_unit_test(test_the_strategy_follows_the_disk_and_the_size),
        cmocka_unit_test(test_a_name_tells_its_run_and_no_other_name_does),
        cmocka_unit_test(test_urls_keep_all_but_the_database),
        cmocka_unit_test(test_a_script_that_runs_servers_is_asked_for_its_version_each_time),
        cmocka_unit_test(test_a_server_that_was_asked_for_its_version_once_is_not_run_again),
        cmocka_unit_test(test_a_missing_or_wrong_server_is_said_in_one_line),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
