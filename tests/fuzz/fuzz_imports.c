/* Any bytes as a log of imports: refused with a message, or every record of it can be analysed and exported. */
#include "imports/view.h"

#include <stdlib.h>
#include <string.h>

static void analyse(const struct log *log)
{
    struct str out = STR_INIT;
    struct profile p;
    struct whatif w;
    char **reasons;

    profile_init(&p, 2);
    profile_add(&p, log);
    profile_add(&p, log);
    profile_finish(&p);
    profile_own(&p, "/p");
    whatif_init(&w, &p);
    reasons = hs_alloc((p.n_statements + 1) * sizeof *reasons);
    export_json(&out, &(struct imports_view){&p, &w, log, "fuzz", reasons, NULL, 0, NULL});
    export_speedscope(&out, &(struct imports_view){&p, &w, log, "fuzz", reasons, NULL, 0, NULL});
    export_perfetto(&out, &(struct imports_view){&p, &w, log, "fuzz", reasons, NULL, 0, NULL});
    HS_CHECK(out.len);
    str_release(&out);
    free(reasons);
    whatif_release(&w);
    profile_release(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *copy = hs_alloc(n ? n : 1); /* aligned, and its end is where the sanitizer looks */
    struct log log;
    struct err err;

    if (n)
        memcpy(copy, bytes, n);
    if (log_parse(&log, copy, n, &err) < 0)
        HS_CHECK(err.text[0]);
    else
        analyse(&log);
    log_close(&log);
    return 0;
}
