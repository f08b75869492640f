/* past.h - what `hasten history`, `slow` and `flaky` share: options, the project's history, and how a list is printed. */
#ifndef HASTEN_CMD_PAST_H
#define HASTEN_CMD_PAST_H

#include "store/history.h"
#include "ui/table.h"

struct past;

struct past_verb {
    const char *usage; /* what stands above the options in help */
    uint32_t limit;    /* -n when it is not given */
    bool every_key;    /* without --key: all configurations; else that of the last run */
    const struct table_column *columns;
    size_t n_columns;
    const char *nothing; /* said when there is nothing to list */
    /* Fills the table, or with json each object through past_json. */
    int (*list)(struct past *past, struct err *err);
};

struct past {
    const struct past_verb *verb; /* borrowed */
    struct history history;
    const char *key; /* NULL: all configurations; borrowed */
    uint32_t limit;
    bool json;
    struct table table;
    struct str out; /* owned: JSON so far */
    void *own;      /* of the verb */
};

/* Parses, opens, lists, prints. The verb's exit status. */
int past_main(const struct past_verb *verb, int argc, char **argv);

/* Begins the next object of a JSON list; the caller adds `"key":value` and ends it with "}". */
struct str *past_json(struct past *past);
void past_json_text(struct str *out, const char *key, const char *text, size_t n); /* "key":"text" */
void past_json_seconds(struct str *out, const char *key, uint64_t ns);             /* ,"key":1.234567 */

#endif
