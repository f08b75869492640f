/*
 * journal.h - the log of one run: append-only, checksummed, ordered; the supervisor writes, anybody reads.
 *
 * File: 16 bytes magic "hasten journal 1", then records (record.h). Valid up to the first record whose length,
 * serial or checksum is wrong: what follows was being written when the writer died, and is ignored.
 * The reporter tails the same file; --resume and a restarted reporter read it from the start. When the disk cannot
 * take it, the journal goes on in memory (memfd) and says so once: the run needs a journal, not a disk.
 */
#ifndef HASTEN_JOURNAL_H
#define HASTEN_JOURNAL_H

#include "base/err.h"
#include "base/str.h"
#include "store/record.h"

#define JOURNAL_MAGIC "hasten journal 1"

struct journal {
    int fd;             /* owned */
    bool in_memory;     /* the fd is a memfd */
    bool moved;         /* became in_memory after records were written: readers set their fd to this one and go on */
    uint64_t length;    /* bytes written and valid */
    uint64_t serial;    /* of the last record */
    struct str pending; /* owned: records not written yet */
    struct err trouble; /* why it is in memory; text "" while it is not */
};

/*
 * Creates path (its folder must exist; a file of that name is another run's and never touched), or a memfd when path is
 * NULL or cannot be created (then trouble says why). The caller ignores SIGXFSZ, or a file size limit ends the process.
 */
int journal_open(struct journal *j, const char *path, struct err *err);
void journal_close(struct journal *j);

/* Adds a record to pending: serial and crc are filled in here. payload: record->size bytes, borrowed. */
void journal_add(struct journal *j, const struct record *record, const void *payload);

/*
 * Writes pending; a record stays pending until it is written. A full disk moves the journal to memory (moved = true).
 * -1 only when memory fails too.
 */
int journal_flush(struct journal *j, struct err *err);

/* Reading. The reader maps or reads what is there; it never blocks. */
struct journal_reader {
    int fd;            /* borrowed; read with pread */
    uint64_t at;       /* offset of the next record */
    uint64_t serial;   /* last one read */
    struct str buffer; /* owned: read-ahead */
    uint64_t buffer_at;
};

/* Checks the magic. -1 with err when this is no journal; the caller knows and adds the file's name. */
int journal_reader_open(struct journal_reader *r, int fd, struct err *err);
void journal_reader_close(struct journal_reader *r);

/*
 * 1: *record and *payload (borrowed until the next call, aligned to 8 bytes) are set; 0: nothing valid (yet); -1:
 * reading failed, err.
 */
int journal_read(struct journal_reader *r, struct record *record, const void **payload, struct err *err);

/*
 * journal_read of the record that begins at `at`, an offset where journal_read has found one before; goes on behind it.
 * r needs no journal_reader_open, only its fd.
 */
int journal_read_at(struct journal_reader *r, uint64_t at, struct record *record, const void **payload,
                    struct err *err);

#endif
