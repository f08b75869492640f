#include "store/record.h"

const char *outcome_name(enum record_outcome outcome)
{
    static const char *const names[OUTCOME_COUNT] = {
        [OUTCOME_NONE] = "none",       [OUTCOME_PASSED] = "passed",   [OUTCOME_FAILED] = "failed",
        [OUTCOME_ERROR] = "error",     [OUTCOME_SKIPPED] = "skipped", [OUTCOME_XFAILED] = "xfailed",
        [OUTCOME_XPASSED] = "xpassed", [OUTCOME_CRASHED] = "crashed", [OUTCOME_TIMEOUT] = "timeout",
        [OUTCOME_RERUN] = "rerun",
    };

    /* A journal of a later version may hold outcomes that this one has no word for. */
    return (unsigned)outcome < OUTCOME_COUNT ? names[outcome] : "unknown";
}
