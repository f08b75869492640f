/*
 * Any bytes after the magic: the reader ends, with serials 1, 2, 3 ... and payloads that can be read.
 * The first byte says how many records get a right checksum, without which the reader would look at little else.
 */
#include "base/crc.h"
#include "store/journal.h"

#include <stdlib.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void read_all(int fd)
{
    struct journal_reader reader;
    struct record record;
    const void *payload;
    struct err err;
    uint64_t serial = 0;
    volatile unsigned char sum = 0;

    if (journal_reader_open(&reader, fd, &err) < 0)
        return;
    while (journal_read(&reader, &record, &payload, &err) == 1) {
        HS_CHECK(record.serial == ++serial);
        for (uint32_t i = 0; i < record.size; i++)
            sum = (unsigned char)(sum ^ ((const unsigned char *)payload)[i]);
    }
    journal_reader_close(&reader);
}

static void mend_checksums(char *bytes, size_t n, unsigned n_records)
{
    struct record r;

    for (size_t at = 0; n_records > 0 && n - at >= sizeof r; at += record_span(&r), n_records--) {
        memcpy(&r, bytes + at, sizeof r);
        if (record_span(&r) > n - at)
            return;
        r.crc = crc32c(bytes + at + 8, sizeof r - 8 + r.size, 0);
        memcpy(bytes + at, &r, sizeof r);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const int fd = memfd_create("fuzz", MFD_CLOEXEC);
    char *copy;

    if (n == 0) {
        close(fd);
        return 0;
    }
    copy = hs_alloc(n);
    memcpy(copy, bytes + 1, n - 1);
    mend_checksums(copy, n - 1, bytes[0]);
    HS_CHECK(fd >= 0);
    HS_CHECK(write(fd, JOURNAL_MAGIC, 16) == 16);
    HS_CHECK(write(fd, copy, n - 1) == (ssize_t)(n - 1));
    read_all(fd);
    close(fd);
    free(copy);
    return 0;
}
