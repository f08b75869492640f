#include "harness.h"

#include "store/catalog.h"

#include <stdlib.h>
#include <string.h>

enum {
    N_ITEMS_AT = 8,
    N_GROUPS_AT = 12,
    PYTHON_AT = 16,
    PYTHON_SIZE = 24,
    STRINGS_AT = 32,
    STRINGS_SIZE = 40,
    ITEMS = 64
};

static const char *const ids[] = {"tests/test_a.py::test_one", "tests/test_a.py::test_zwei[\xc3\xa4]", ""};

static void put32(char *blob, size_t at, uint32_t value)
{
    memcpy(blob + at, &value, sizeof value);
}

static void put64(char *blob, size_t at, uint64_t value)
{
    memcpy(blob + at, &value, sizeof value);
}

/* A right catalog of three items and a Python part of five bytes; freed by the caller. */
static char *example(size_t *size)
{
    const uint32_t n = HS_COUNT(ids);
    uint32_t at = 0;
    char *blob;

    *size = ITEMS + n * sizeof(struct catalog_item);
    for (uint32_t i = 0; i < n; i++)
        at += (uint32_t)strlen(ids[i]);
    blob = hs_alloc(*size + at + 5);
    memcpy(blob, CATALOG_MAGIC, 8);
    put32(blob, N_ITEMS_AT, n);
    put32(blob, N_GROUPS_AT, 2);
    put64(blob, STRINGS_AT, *size);
    put64(blob, STRINGS_SIZE, at);
    put64(blob, PYTHON_AT, *size + at);
    put64(blob, PYTHON_SIZE, 5);
    memcpy(blob + *size + at, "cosmo", 5);
    at = 0;
    for (uint32_t i = 0; i < n; i++) {
        const struct catalog_item item = {.id_at = at,
                                          .id_len = (uint32_t)strlen(ids[i]),
                                          .file = i,
                                          .group = i % 2,
                                          .affinity = 7,
                                          .timeout_ms = 900};

        memcpy(blob + ITEMS + i * sizeof item, &item, sizeof item);
        memcpy(blob + *size + at, ids[i], item.id_len);
        at += item.id_len;
    }
    *size += at + 5;
    return blob;
}

static void test_items_ids_and_python_part_are_found(void **state)
{
    size_t size, len;
    char *blob = example(&size);
    struct catalog c;
    struct err err;

    (void)state;
    assert_int_equal(catalog_open(&c, blob, size, &err), 0);
    assert_int_equal(c.n_items, HS_COUNT(ids));
    assert_int_equal(c.n_groups, 2);
    assert_int_equal(c.items[1].group, 1);
    assert_int_equal(c.items[2].timeout_ms, 900);
    for (uint32_t i = 0; i < c.n_items; i++) {
        const char *id = catalog_id(&c, i, &len);

        assert_int_equal(len, strlen(ids[i]));
        assert_memory_equal(id, ids[i], len);
    }
    assert_int_equal(c.python_size, 5);
    assert_memory_equal(c.python, "cosmo", 5);
    free(blob);
}

static void test_an_empty_collection_is_a_catalog(void **state)
{
    char blob[ITEMS] __attribute__((aligned(8))) = CATALOG_MAGIC;
    struct catalog c;
    struct err err;

    (void)state;
    put64(blob, STRINGS_AT, ITEMS);
    put64(blob, PYTHON_AT, ITEMS);
    assert_int_equal(catalog_open(&c, blob, sizeof blob, &err), 0);
    assert_int_equal(c.n_items, 0);
}

static void test_every_truncation_is_refused(void **state)
{
    size_t size;
    char *blob = example(&size);

    (void)state;
    for (size_t n = 0; n < size; n++) {
        char *part = hs_alloc(n); /* of its own, so that a sanitizer sees each byte read behind it */
        struct catalog c;
        struct err err = {0};

        memcpy(part, blob, n);
        assert_int_equal(catalog_open(&c, part, n, &err), -1);
        assert_true(err.text[0] != '\0');
        assert_null(c.items);
        free(part);
    }
    free(blob);
}

static void refused(size_t at, uint64_t value, size_t width, const char *says)
{
    size_t size;
    char *blob = example(&size);
    struct catalog c;
    struct err err = {0};

    if (width == 8)
        put64(blob, at, value);
    else
        put32(blob, at, (uint32_t)value);
    assert_int_equal(catalog_open(&c, blob, size, &err), -1);
    assert_non_null(strstr(err.text, says));
    free(blob);
}

static void test_offsets_outside_of_the_blob_are_refused(void **state)
{
    (void)state;
    refused(0, 'x', 4, "magic");
    refused(N_ITEMS_AT, UINT32_MAX, 4, "too short for its 4294967295 items");
    refused(N_GROUPS_AT, 1, 4, "item 1 is of group 1, but there are only 1");
    refused(STRINGS_AT, 0, 8, "string area");              /* inside the header */
    refused(STRINGS_AT, UINT64_MAX - 8, 8, "string area"); /* at + size wraps round */
    refused(STRINGS_SIZE, UINT64_MAX, 8, "string area");
    refused(PYTHON_AT, 64, 8, "python part"); /* over the items */
    refused(PYTHON_SIZE, 6, 8, "python part");
    refused(ITEMS, 1u << 31, 4, "item 0 has its node id outside");
    refused(ITEMS + 4, UINT32_MAX, 4, "item 0 has its node id outside");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_items_ids_and_python_part_are_found),
        cmocka_unit_test(test_an_empty_collection_is_a_catalog),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_offsets_outside_of_the_blob_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
