#include "harness.h"

#include "db/pgwire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_message(struct str *out, char type, const void *body, size_t n)
{
    const uint32_t length = (uint32_t)n + 4;
    const unsigned char head[] = {(unsigned char)type, (unsigned char)(length >> 24), (unsigned char)(length >> 16),
                                  (unsigned char)(length >> 8), (unsigned char)length};

    str_add(out, head, sizeof head);
    str_add(out, body, n);
}

/* Feeds in pieces of `piece` bytes, going on where it stopped. Returns how much would have gone to the server. */
static size_t feed(struct wire_front *front, const struct str *text, size_t piece, unsigned *hints, unsigned *stops)
{
    size_t sent = 0;

    *stops = 0;
    while (sent < text->len && !front->ended) {
        const size_t n = text->len - sent < piece ? text->len - sent : piece;
        unsigned found = 0;
        const size_t taken = wire_front_feed(front, (const unsigned char *)text->data + sent, n, &found);

        *hints |= found;
        *stops += (found & WIRE_STOPS) != 0;
        if (!(found & WIRE_STOPS) && taken < n && !front->ended)
            fail_msg("stopped at %zu of %zu for nothing", sent + taken, text->len);
        sent += taken;
    }
    return sent;
}

static unsigned hints_of(const char *sql)
{
    unsigned of_all[2] = {0, 0};

    for (size_t i = 0; i < 2; i++) { /* whole, and byte by byte: as a query, and as a statement to prepare */
        for (size_t extended = 0; extended < 2; extended++) {
            struct wire_front front = {.n_head = 0};
            struct str text = STR_INIT;
            struct str body = STR_INIT;
            unsigned stops;

            if (extended)
                str_add(&body, "name", 5);
            str_add(&body, sql, strlen(sql) + 1);
            if (extended)
                str_add(&body, "\0\0", 2);
            add_message(&text, extended ? 'P' : 'Q', body.data, body.len);
            assert_int_equal(feed(&front, &text, i ? 1 : text.len, &of_all[i], &stops), text.len);
            assert_false(front.broken);
            str_release(&text);
            str_release(&body);
        }
    }
    assert_int_equal(of_all[0], of_all[1]);
    return of_all[0];
}

static void test_words_are_found_wherever_they_stand(void **state)
{
    static const struct {
        const char *sql;
        unsigned hints;
    } cases[] = {
        {"SELECT 1", 0},
        {"", 0},
        {"DROP DATABASE x", WIRE_DATABASES},
        {"create\n\tDataBase\"x\"", WIRE_DATABASES},
        {"SELECT current_database(), databases, my_database, database1", 0},
        {"SELECT count(*) FROM pg_stat_activity", WIRE_SESSIONS},
        {"SELECT * FROM pg_catalog.pg_stat_get_backend_activity_start(1)", WIRE_SESSIONS},
        {"SELECT * FROM \"pg_stat_activity\"", WIRE_SESSIONS},
        {"SELECT * FROM pg_statistic", 0},
        {"SELECT pg_terminate_backend(1)", WIRE_SESSIONS},
        {"SELECT pg_backend_pid()", WIRE_KEEPS},
        {"LOAD 'auto_explain'", WIRE_KEEPS},
        {"CREATE TEMP TABLE t(x int)", WIRE_KEEPS},
        {"CREATE TABLE pg_temp_3.t(x int)", WIRE_KEEPS},
        {"SELECT template, temperature FROM t", 0},
        {"SELECT loaded, loads FROM unload", 0},
        {"SET app.tenant = '1'", WIRE_KEEPS},
        {"SET LOCAL app.tenant TO '1'", WIRE_KEEPS},
        {"set session \"app\".\"tenant\" = 1", WIRE_KEEPS},
        {"RESET app.tenant", WIRE_KEEPS}, /* makes it known, as '' */
        {"RESET ALL; SELECT a.b", 0},
        {"SET work_mem = '1.5MB'; SELECT a.b", 0},
        {"SET search_path TO a, b.c", 0},
        {"UPDATE t SET a = b.c WHERE t.x = 1.5", 0},
        {"UPDATE t SET (a, b) = (1.5, 2)", 0},
        {"SELECT set_config('TimeZone', 'x.y', false)", 0},
        {"SELECT set_config('app.tenant', '1', true)", WIRE_KEEPS},
        {"SELECT set_config($1, '1', true)", WIRE_KEEPS},
        {"SELECT set_config(name, '1', true) FROM t", WIRE_KEEPS},
        {"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$", WIRE_CODE},
        {"CREATE EXTENSION hstore", WIRE_CODE},
        {"ALTER SYSTEM SET work_mem = '1MB'", WIRE_SERVER},
        {"SELECT system FROM t", 0},
        {"SELECT pg_reload_conf()", WIRE_SERVER},
        {"SELECT setseed(0.5), dblink_connect('x')", WIRE_KEEPS},
        {"a_very_long_word_that_is_longer_than_any_known_database", 0},
        {"INSERT INTO t VALUES ('our database is down, pg_stat_x')", WIRE_DATABASES | WIRE_SESSIONS},
    };

    (void)state;
    for (size_t i = 0; i < HS_COUNT(cases); i++)
        if (hints_of(cases[i].sql) != cases[i].hints)
            fail_msg("%s: %u, not %u", cases[i].sql, hints_of(cases[i].sql), cases[i].hints);
}

/* What waits is before the end of the message: the server cannot have begun. */
static void test_a_word_that_stops_leaves_the_message_unfinished(void **state)
{
    struct wire_front front = {.n_head = 0};
    struct str text = STR_INIT;
    unsigned hints = 0;
    size_t n;

    (void)state;
    wire_add_query(&text, "SELECT 1; DROP DATABASE");
    n = wire_front_feed(&front, (const unsigned char *)text.data, text.len, &hints);
    assert_int_equal(hints, WIRE_DATABASES);
    assert_int_equal(n, text.len - 1);
    assert_false(wire_front_is_quiet(&front));
    hints = 0;
    assert_int_equal(wire_front_feed(&front, (const unsigned char *)text.data + n, 1, &hints), 1);
    assert_int_equal(hints, 0);
    assert_int_equal(front.n_asked, 1);
    str_release(&text);
}

static void test_a_client_is_quiet_when_all_is_answered(void **state)
{
    struct wire_front front = {.n_head = 0};
    struct str text = STR_INIT;
    unsigned hints = 0, stops;

    (void)state;
    assert_true(wire_front_is_quiet(&front));
    add_message(&text, 'P', "\0SELECT 1\0\0", 12);
    feed(&front, &text, 3, &hints, &stops);
    assert_false(wire_front_is_quiet(&front)); /* no Sync yet */
    str_reset(&text);
    add_message(&text, 'S', "", 0);
    feed(&front, &text, 100, &hints, &stops);
    assert_int_equal(front.n_asked, 1);
    assert_false(wire_front_is_quiet(&front));
    front.n_asked--;
    assert_true(wire_front_is_quiet(&front));
    str_reset(&text);
    add_message(&text, 'd', "abc", 3);
    str_add(&text, "X\0\0\0\4after", 10);
    assert_int_equal(feed(&front, &text, 100, &hints, &stops), 8);
    assert_true(front.ended);
    assert_true(wire_front_is_quiet(&front));
    assert_int_equal(wire_front_feed(&front, (const unsigned char *)"Q", 1, &hints), 0);
    str_release(&text);
}

static void test_what_is_no_message_is_never_quiet_again(void **state)
{
    static const char *const odd[] = {"\0\0\0\0\4", "Q\0\0\0\3", "p\0\0\0\5x", "z\0\0\0\4"};
    unsigned hints = 0;

    (void)state;
    for (size_t i = 0; i < HS_COUNT(odd); i++) {
        struct wire_front front = {.n_head = 0};

        assert_int_equal(wire_front_feed(&front, (const unsigned char *)odd[i], 5, &hints), 5);
        assert_true(front.broken);
        assert_false(wire_front_is_quiet(&front));
    }
}

/* ---- from a server */

struct seen {
    char types[64];
    char last[64];
    size_t n;
};

static void see(void *arg, char type, const unsigned char *body, size_t n)
{
    struct seen *seen = arg;

    assert_true(seen->n < sizeof seen->types - 1);
    seen->types[seen->n++] = type;
    if (body)
        snprintf(seen->last, sizeof seen->last, "%.*s", (int)n, (const char *)body);
}

static void test_answers_are_the_same_in_pieces_of_any_size(void **state)
{
    struct str text = STR_INIT;

    (void)state;
    add_message(&text, 'T', "row", 3);
    add_message(&text, 'D', "a row", 5);
    add_message(&text, 'C', "", 0);
    add_message(&text, 'E', "SERROR\0C57014\0", 15);
    add_message(&text, 'Z', "I", 1);
    for (size_t piece = 1; piece <= text.len; piece++) {
        struct wire_back back = {.rows = piece % 2};
        struct seen seen = {.n = 0};

        for (size_t at = 0; at < text.len; at += piece)
            wire_back_feed(&back, (const unsigned char *)text.data + at, text.len - at < piece ? text.len - at : piece,
                           see, &seen);
        assert_string_equal(seen.types, "TDCEZ");
        assert_string_equal(seen.last, "I");
        assert_false(back.broken);
        assert_int_equal(back.n_head, 0);
        str_release(&back.body);
    }
    str_release(&text);
}

static void test_fields_of_an_error(void **state)
{
    static const unsigned char body[] = "SFATAL\0C53300\0Mtoo many\0";

    (void)state;
    assert_string_equal(wire_error_field(body, sizeof body, 'C'), "53300");
    assert_string_equal(wire_error_field(body, sizeof body, 'D'), "");
    for (size_t n = 0; n < sizeof body; n++)
        assert_true(strlen(wire_error_field(body, n, 'M')) == 0 || n >= sizeof body - 1);
}

static void test_start_up_messages(void **state)
{
    static const unsigned char good[] = "\0\0\0\0\0\3\0\0user\0me\0database\0db\0options\0\0\0";
    bool sound;
    const char *value;

    (void)state;
    value = wire_start_value(good, sizeof good - 1, "database", &sound);
    assert_true(sound);
    assert_string_equal(value, "db");
    assert_string_equal(wire_start_value(good, sizeof good - 1, "options", &sound), "");
    assert_null(wire_start_value(good, sizeof good - 1, "replication", &sound));
    assert_true(sound);
    for (size_t n = 8; n < sizeof good - 1; n++) {
        char *copy = hs_alloc(n); /* so that a sanitizer sees who reads behind it */

        memcpy(copy, good, n);
        wire_start_value((unsigned char *)copy, n, "options", &sound);
        assert_false(sound);
        free(copy);
    }
}

/* Whatever comes, in whatever pieces: nothing behind it is read, and the pieces do not matter. */
static void test_random_bytes(void **state)
{
    static const char letters[] = "QPBDECHSFdcfX\0\0\0\0\5\7 database set . pg_stat_x('";
    unsigned chosen = 20261122;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        struct wire_front fronts[2] = {{.n_head = 0}, {.n_head = 0}};
        struct wire_back backs[2] = {{.n_head = 0}, {.n_head = 0}};
        struct str text = STR_INIT;
        unsigned hints[2] = {0, 0}, stops;
        size_t sent[2];

        for (int i = 0; i < 60; i++) {
            chosen = chosen * 1103515245 + 12345;
            str_add(&text, letters + (chosen >> 16) % (sizeof letters - 1), 1);
        }
        for (size_t i = 0; i < 2; i++) {
            struct seen seen = {.n = 0};

            sent[i] = feed(&fronts[i], &text, i ? 1 : text.len, &hints[i], &stops);
            for (size_t at = 0, piece = i ? 1 : text.len; at < text.len; at += piece)
                wire_back_feed(&backs[i], (const unsigned char *)text.data + at, piece, see, &seen);
            str_release(&backs[i].body);
        }
        assert_int_equal(sent[0], sent[1]);
        assert_int_equal(hints[0], hints[1]);
        assert_memory_equal(&fronts[0], &fronts[1], offsetof(struct wire_front, words));
        assert_int_equal(backs[0].broken, backs[1].broken);
        assert_int_equal(backs[0].left, backs[1].left);
        str_release(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_are_found_wherever_they_stand),
        cmocka_unit_test(test_a_word_that_stops_leaves_the_message_unfinished),
        cmocka_unit_test(test_a_client_is_quiet_when_all_is_answered),
        cmocka_unit_test(test_what_is_no_message_is_never_quiet_again),
        cmocka_unit_test(test_answers_are_the_same_in_pieces_of_any_size),
        cmocka_unit_test(test_fields_of_an_error),
        cmocka_unit_test(test_start_up_messages),
        cmocka_unit_test(test_random_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
