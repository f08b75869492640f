/*
 * hitfile.h - what ran, written into coverage.py's data file (schema 7): its table `arc`, or its table `line_bits`.
 */
#ifndef HASTEN_HITFILE_H
#define HASTEN_HITFILE_H

#include "run/hitrows.h"

struct hitfile_target {
    const char *path;    /* borrowed; a data file that SQLite has closed, both tables empty */
    uint32_t table_root; /* page of arc(file_id, context_id, fromno, tono) or line_bits(file_id, context_id, numbits) */
    uint32_t index_root; /* page of the index behind its UNIQUE constraint */
};

/*
 * rows: sorted. hash: of what was written. -1 with err->sys 0: the file is of another form, and as it was; else writing
 * has failed, and it is no data file any more.
 */
int hitfile_write(struct hitrows *rows, const struct hitfile_target *target, uint64_t hash[2], struct err *err);

#endif
