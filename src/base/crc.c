#include "base/crc.h"

#include <pthread.h>
#include <string.h>

#define POLYNOMIAL 0x82F63B78u /* Castagnoli, bits reversed */

typedef uint32_t crc_step(const unsigned char *at, size_t n, uint32_t crc);

static uint32_t table[8][256];
static crc_step *step;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Eight bytes at a time from eight tables; any byte order. */
static uint32_t step_tables(const unsigned char *at, size_t n, uint32_t crc)
{
    for (; n >= 8; n -= 8, at += 8) {
        crc ^= (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        crc = table[7][crc & 255] ^ table[6][crc >> 8 & 255] ^ table[5][crc >> 16 & 255] ^ table[4][crc >> 24] ^
              table[3][at[4]] ^ table[2][at[5]] ^ table[1][at[6]] ^ table[0][at[7]];
    }
    for (; n > 0; n--, at++)
        crc = crc >> 8 ^ table[0][(crc ^ *at) & 255];
    return crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

__attribute__((target("sse4.2"))) static uint32_t step_machine(const unsigned char *at, size_t n, uint32_t crc)
{
    uint64_t word;

    for (; n >= 8; n -= 8, at += 8) {
        memcpy(&word, at, sizeof word);
        crc = (uint32_t)_mm_crc32_u64(crc, word);
    }
    for (; n > 0; n--, at++)
        crc = _mm_crc32_u8(crc, *at);
    return crc;
}

static bool machine_has_crc(void)
{
    return __builtin_cpu_supports("sse4.2");
}
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

#define HWCAP_BIT_CRC32 (1ul << 7)

static uint32_t step_machine(const unsigned char *at, size_t n, uint32_t crc)
{
    uint64_t word;

    for (; n >= 8; n -= 8, at += 8) {
        memcpy(&word, at, sizeof word);
        __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
    }
    for (; n > 0; n--, at++)
        __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)*at));
    return crc;
}

static bool machine_has_crc(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_BIT_CRC32) != 0;
}
#else
static uint32_t step_machine(const unsigned char *at, size_t n, uint32_t crc)
{
    return step_tables(at, n, crc);
}

static bool machine_has_crc(void)
{
    return false;
}
#endif

static void prepare(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;

        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            table[t][i] = table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 255];
    step = machine_has_crc() ? step_machine : step_tables;
}

uint32_t crc32c(const void *bytes, size_t n, uint32_t before)
{
    pthread_once(&once, prepare);
    return ~step(bytes, n, ~before);
}
