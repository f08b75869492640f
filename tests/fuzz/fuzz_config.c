/* The settings of a run, as the reporter sends them: any bytes are an error or a number of workers that can be. */
#include "run/options.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct run_config config;
    struct err err;

    if (run_config_parse(&config, (const char *)bytes, size, &err) == 0 &&
        (config.workers < 1 || config.workers > 1000))
        abort();
    return 0;
}
