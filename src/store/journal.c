#include "store/journal.h"

#include "base/crc.h"
#include "os/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAGIC_SIZE = sizeof JOURNAL_MAGIC - 1,
    CRC_FROM = offsetof(struct record, type),
    READ_AHEAD = 256 * 1024,
    BUFFER_KEPT = 1024 * 1024, /* a buffer that a catalog blew up beyond this is given back */
};

_Static_assert(MAGIC_SIZE == 16, "records must begin at a multiple of 8");
_Static_assert(CRC_FROM == 8, "record.h says that the checksum covers bytes 8..63");

/* A record's checksum: everything behind the crc field, then the payload. */
static uint32_t record_crc(const struct record *record, const void *payload)
{
    const uint32_t crc = crc32c((const char *)record + CRC_FROM, sizeof *record - CRC_FROM, 0);

    return record->size ? crc32c(payload, record->size, crc) : crc;
}

/* 0 or the errno. Written at an offset, so that what a failed write left behind is written over by the next. */
static int write_at(int fd, bool in_memory, const char *bytes, size_t n, uint64_t at)
{
    while (n > 0) {
        const ssize_t done = in_memory ? shm_write(fd, bytes, n, at) : pwrite(fd, bytes, n, (off_t)at);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return done < 0 ? errno : ENOSPC;
        bytes += done;
        n -= (size_t)done;
        at += (uint64_t)done;
    }
    return 0;
}

static int copy_file(int from, int to, uint64_t length)
{
    char chunk[64 * 1024];

    for (uint64_t at = 0; at < length;) {
        const size_t want = length - at < sizeof chunk ? (size_t)(length - at) : sizeof chunk;
        const ssize_t got = pread(from, chunk, want, (off_t)at);
        int code;

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? errno : EIO;
        code = write_at(to, true, chunk, (size_t)got, at);
        if (code)
            return code;
        at += (uint64_t)got;
    }
    return 0;
}

/* Goes on in memory with what is written so far. code: why the file would not do. */
static int move_to_memory(struct journal *j, int code, const char *what, struct err *err)
{
    const int fd = shm_create("hasten-journal", 0);
    int failed;

    if (fd < 0)
        return err_sys(err, -fd, "cannot keep the journal in memory");
    failed = copy_file(j->fd, fd, j->length);
    if (failed) {
        close(fd);
        return err_sys(err, failed, "cannot move the journal to memory");
    }
    /* The file keeps its valid part. Half a record behind it would be ignored: it does not matter when this fails. */
    (void)!ftruncate(j->fd, (off_t)j->length);
    close(j->fd);
    j->fd = fd;
    j->in_memory = true;
    j->moved = true;
    err_sys(&j->trouble, code, "%s; it goes on in memory, and --resume will not see the rest", what);
    return 0;
}

static int open_memory(struct journal *j, struct err *err)
{
    int code;

    j->fd = shm_create("hasten-journal", 0);
    if (j->fd < 0)
        return err_sys(err, -j->fd, "cannot keep the journal in memory");
    j->in_memory = true;
    code = write_at(j->fd, j->in_memory, JOURNAL_MAGIC, MAGIC_SIZE, 0);
    if (code)
        return err_sys(err, code, "cannot keep the journal in memory");
    return 0;
}

/* 0 or the errno. A file of that name belongs to another run and is never touched. */
static int open_file(struct journal *j, const char *path)
{
    int code;

    j->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (j->fd < 0)
        return errno;
    code = write_at(j->fd, j->in_memory, JOURNAL_MAGIC, MAGIC_SIZE, 0);
    if (code) {
        unlink(path); /* not even its magic is in it */
        close(j->fd);
        j->fd = -1;
    }
    return code;
}

int journal_open(struct journal *j, const char *path, struct err *err)
{
    int code = 0;

    *j = (struct journal){.fd = -1}; /* from here on journal_close() is safe */
    if (path) {
        code = open_file(j, path);
        if (code)
            err_sys(&j->trouble, code, "cannot write journal '%s'; it is kept in memory, so --resume will not see it",
                    path);
    }
    if ((!path || code) && open_memory(j, err) < 0) {
        journal_close(j);
        return -1;
    }
    j->length = MAGIC_SIZE;
    return 0;
}

void journal_close(struct journal *j)
{
    if (j->fd >= 0)
        close(j->fd);
    j->fd = -1;
    str_release(&j->pending);
}

void journal_add(struct journal *j, const struct record *record, const void *payload)
{
    static const char zeros[8];
    struct record r = *record;

    HS_CHECK(r.size <= RECORD_MAX_PAYLOAD);
    r.serial = ++j->serial;
    r.crc = record_crc(&r, payload);
    str_reserve(&j->pending, record_span(&r));
    str_add(&j->pending, &r, sizeof r);
    str_add(&j->pending, payload, r.size);
    str_add(&j->pending, zeros, record_span(&r) - sizeof r - r.size);
}

int journal_flush(struct journal *j, struct err *err)
{
    int code;

    if (j->pending.len == 0)
        return 0;
    code = write_at(j->fd, j->in_memory, j->pending.data, j->pending.len, j->length);
    if (code && !j->in_memory) {
        if (move_to_memory(j, code, "cannot write the journal", err) < 0)
            return -1;
        code = write_at(j->fd, j->in_memory, j->pending.data, j->pending.len, j->length);
    }
    if (code)
        return err_sys(err, code, "cannot write the journal, not even to memory");
    j->length += j->pending.len;
    if (j->pending.cap > BUFFER_KEPT)
        str_release(&j->pending);
    else
        str_reset(&j->pending);
    return 0;
}

/* Reads up to `want` bytes from r->at on into the buffer. */
static int fill(struct journal_reader *r, size_t want, struct err *err)
{
    if (want <= READ_AHEAD && r->buffer.cap > BUFFER_KEPT)
        str_release(&r->buffer);
    str_reset(&r->buffer);
    str_reserve(&r->buffer, want);
    r->buffer_at = r->at;
    while (r->buffer.len < want) {
        const ssize_t got =
            pread(r->fd, r->buffer.data + r->buffer.len, want - r->buffer.len, (off_t)(r->buffer_at + r->buffer.len));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, errno, "cannot read the journal");
        if (got == 0)
            break;
        r->buffer.len += (size_t)got;
    }
    return 0;
}

/* The payload of the record at r->at, or NULL when it is not whole in the buffer or not valid. *needed: its size. */
static const char *valid_here(const struct journal_reader *r, struct record *record, size_t *needed)
{
    const size_t skip = (size_t)(r->at - r->buffer_at);
    const char *bytes = r->buffer.data + skip;
    const size_t have = r->buffer.len > skip ? r->buffer.len - skip : 0;

    *needed = sizeof *record;
    if (have < sizeof *record)
        return NULL;
    memcpy(record, bytes, sizeof *record);
    if (record->size > RECORD_MAX_PAYLOAD || record->serial != r->serial + 1)
        return NULL;
    *needed = record_span(record);
    if (have < *needed || record->crc != record_crc(record, bytes + sizeof *record))
        return NULL;
    return bytes + sizeof *record;
}

/* Bytes of the file from r->at on, -1 with err when it cannot be told. */
static int64_t bytes_left(const struct journal_reader *r, struct err *err)
{
    struct stat info;

    if (fstat(r->fd, &info) < 0)
        return err_sys(err, errno, "cannot read the journal");
    return (uint64_t)info.st_size > r->at ? (int64_t)((uint64_t)info.st_size - r->at) : 0;
}

int journal_reader_open(struct journal_reader *r, int fd, struct err *err)
{
    *r = (struct journal_reader){.fd = fd};
    if (fill(r, MAGIC_SIZE, err) < 0)
        return -1;
    if (r->buffer.len < MAGIC_SIZE || memcmp(r->buffer.data, JOURNAL_MAGIC, MAGIC_SIZE) != 0) {
        journal_reader_close(r);
        return err_set(err, "not a journal of this version of hasten");
    }
    r->at = MAGIC_SIZE;
    return 0;
}

void journal_reader_close(struct journal_reader *r)
{
    str_release(&r->buffer);
}

int journal_read(struct journal_reader *r, struct record *record, const void **payload, struct err *err)
{
    struct record found;
    size_t needed;
    const char *bytes = valid_here(r, &found, &needed);

    /*
     * What is in the buffer may be older than the file, its sizes too: look again, at most twice (the second time with
     * room for a record larger than the read-ahead, whose size the first look told).
     */
    if (!bytes)
        needed = sizeof found;
    for (int look = 0; !bytes && look < 2; look++) {
        const int64_t left = bytes_left(r, err);

        if (left < 0)
            return -1;
        if ((uint64_t)left < needed)
            return 0;
        if (fill(r, needed > READ_AHEAD ? needed : READ_AHEAD, err) < 0)
            return -1;
        bytes = valid_here(r, &found, &needed);
        if (!bytes && needed <= r->buffer.len)
            return 0; /* all of it is there, and it is wrong */
    }
    if (!bytes)
        return 0;
    r->at += needed;
    r->serial = found.serial;
    *record = found;
    *payload = bytes;
    return 1;
}

int journal_read_at(struct journal_reader *r, uint64_t at, struct record *record, const void **payload, struct err *err)
{
    struct record head;

    r->at = at;
    if (at < r->buffer_at || at + sizeof head > r->buffer_at + r->buffer.len)
        if (fill(r, READ_AHEAD, err) < 0)
            return -1;
    if (r->at - r->buffer_at + sizeof head > r->buffer.len)
        return 0;
    memcpy(&head, r->buffer.data + (r->at - r->buffer_at), sizeof head);
    r->serial = head.serial - 1; /* the checksum covers it */
    return journal_read(r, record, payload, err);
}
