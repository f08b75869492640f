/* fuzz_line.c - any output, draws and sizes: see tests/unit/line_play.h for what must hold. */
#include "line_play.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n);

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t n)
{
    if (n < 2 || n > 4096)
        return 0;
    if (bytes[0] & 1)
        line_play_same(bytes + 1, n - 1);
    else
        line_play_any(bytes + 1, n - 1);
    return 0;
}
