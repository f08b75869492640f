/* Any bytes as a catalog: refused with a message, or every id of it lies inside. */
#include "store/catalog.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *copy = hs_alloc(n ? n : 1); /* aligned, and its end is where the sanitizer looks */
    struct catalog c;
    struct err err;
    volatile char sum = 0;

    if (n)
        memcpy(copy, bytes, n);
    if (catalog_open(&c, copy, n, &err) < 0) {
        HS_CHECK(err.text[0]);
    } else {
        for (uint32_t i = 0; i < c.n_items; i++) {
            size_t len;
            const char *id = catalog_id(&c, i, &len);

            for (size_t k = 0; k < len; k++)
                sum = (char)(sum ^ id[k]);
        }
    }
    free(copy);
    return 0;
}
