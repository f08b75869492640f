/* crc.h - CRC-32C (Castagnoli), the checksum of every record on disk. Same value on every machine. */
#ifndef HASTEN_CRC_H
#define HASTEN_CRC_H

#include "base/base.h"

/* crc32c(b, n, 0) of "123456789" is 0xE3069283; crc32c(b, m, crc32c(a, n, 0)) is that of a followed by b. */
uint32_t crc32c(const void *bytes, size_t n, uint32_t before);

#endif
