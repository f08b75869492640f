/*
 * resume.c - goes on where the last unfinished run of this folder ended: results of its journal are taken over under
 * the indices of the present catalog, by node id.
 */
#include "run/state.h"

#include "run/hitkeep.h"
#include "store/runs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct old {
    struct catalog catalog;
    void *blob;    /* owned copy */
    uint32_t *now; /* owned: old index -> present index or UINT32_MAX */
    bool has_catalog;
    uint32_t n_taken;
};

static int map_catalog(const struct run *run, struct old *old, const void *payload, size_t size, struct err *err)
{
    struct map ids = MAP_INIT;

    old->blob = memcpy(hs_alloc(size), payload, size);
    if (catalog_open(&old->catalog, old->blob, size, err) < 0)
        return -1;
    for (uint32_t i = 0; i < run->catalog.n_items; i++) {
        size_t len;
        const char *id = catalog_id(&run->catalog, i, &len);

        map_put(&ids, id, len, i);
    }
    old->now = hs_alloc(((size_t)old->catalog.n_items + 1) * sizeof *old->now);
    for (uint32_t i = 0; i < old->catalog.n_items; i++) {
        size_t len;
        const char *id = catalog_id(&old->catalog, i, &len);

        old->now[i] = UINT32_MAX;
        map_get(&ids, id, len, &old->now[i]);
    }
    map_release(&ids);
    old->has_catalog = true;
    return 0;
}

static void take_record(struct run *run, struct old *old, struct record *record, const void *payload)
{
    const bool is_result = record->type == RECORD_TEST || record->type == RECORD_CRASH;

    if (!is_result || !old->has_catalog || record->item >= old->catalog.n_items || old->now[record->item] == UINT32_MAX)
        return;
    record->item = old->now[record->item];
    record->slot %= run->config.workers;
    record->flags |= RECORD_RESUMED;
    if (!run->result[record->item])
        old->n_taken++;
    results_add(run, record, payload);
}

/* Every test of that run has its result: there is nothing to go on with. */
static bool was_finished(int fd)
{
    struct journal_reader reader;
    struct catalog catalog = {0};
    struct record record;
    const void *payload;
    struct err err;
    uint8_t *seen = NULL; /* owned */
    uint32_t n = 0;
    bool end = false;

    if (journal_reader_open(&reader, fd, &err) < 0)
        return false;
    while (journal_read(&reader, &record, &payload, &err) > 0) {
        if (record.type == RECORD_CATALOG && !seen && catalog_open(&catalog, payload, record.size, &err) == 0)
            seen = hs_alloc((size_t)catalog.n_items + 1);
        if ((record.type == RECORD_TEST || record.type == RECORD_CRASH) && seen && record.item < catalog.n_items) {
            n += !seen[record.item];
            seen[record.item] = 1;
        }
        end = record.type == RECORD_END;
    }
    journal_reader_close(&reader);
    free(seen);
    return end && n == catalog.n_items;
}

static int read_old(struct run *run, int fd, struct old *old, struct err *err)
{
    struct journal_reader reader;
    struct record record;
    const void *payload;
    int got;

    if (journal_reader_open(&reader, fd, err) < 0)
        return -1;
    while ((got = journal_read(&reader, &record, &payload, err)) > 0) {
        if (record.type == RECORD_CATALOG && !old->has_catalog)
            got = map_catalog(run, old, payload, record.size, err);
        else
            take_record(run, old, &record, payload);
        if (got < 0)
            break;
    }
    journal_reader_close(&reader);
    return got < 0 ? -1 : 0;
}

/* The report on coverage is of the whole, or says that it is not. */
static void take_up_hits(struct run *run, const char *journal)
{
    struct hitkeep_merge merge;
    char old[4600];
    const char *rest = "coverage is that of the tests that are run now";

    switch (hitkeep_take_up(run->hits_fd, journal, &merge)) {
    case HITKEEP_NOT_MEASURED:
        break;
    case HITKEEP_NOT_KEPT:
        launch_note(run, "hasten: what the interrupted run measured was not kept: %s", rest);
        break;
    case HITKEEP_OTHER:
        launch_note(run, "hasten: the interrupted run measured with other settings: %s", rest);
        break;
    case HITKEEP_MERGED:
        if (merge.n_changed)
            launch_note(run, "hasten: what the interrupted run measured in %s%s is left out: changed since",
                        merge.changed, merge.n_changed > 1 ? " and other files" : "");
        else
            launch_note(run, "hasten: coverage includes what the interrupted run measured");
        if (run->hits_path[0] && hitkeep_path(journal, old, sizeof old))
            unlink(old); /* this run's own has all of it now */
        break;
    }
}

int results_resume(struct run *run, struct err *err)
{
    struct old old = {0};
    char folder[4200];
    char path[4600];
    int code;
    int fd;

    snprintf(folder, sizeof folder, "%.4096s/.hasten/runs", run->config.rootdir);
    if (!runs_newest(folder, run->journal_path, path, sizeof path)) {
        launch_note(run, "hasten: nothing to resume in %s; running everything", folder);
        return 0;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && was_finished(fd)) {
        launch_note(run, "hasten: the last run here was finished: nothing to resume; running everything");
        close(fd);
        return 0;
    }
    code = fd < 0 ? err_set(err, "cannot open '%s'", path) : read_old(run, fd, &old, err);
    if (code < 0)
        launch_note(run, "hasten: %s; what it holds is used up to there", err->text);
    launch_note(run, "hasten: resumed: %u tests have their results from the interrupted run, %u are run now",
                old.n_taken, results_missing(run));
    if (old.n_taken)
        take_up_hits(run, path);
    free(old.blob);
    free(old.now);
    if (fd >= 0)
        close(fd);
    return 0;
}
