#include "ui/units.h"

#include <inttypes.h>
#include <stdio.h>

#define MS_NS 1000000u
#define S_NS 1000000000u

static const char *minutes_and_hours(char text[UNITS_SIZE], uint64_t seconds)
{
    const uint64_t minutes = (seconds + 30) / 60;

    if (seconds < 3600)
        snprintf(text, UNITS_SIZE, "%" PRIu64 " min %02" PRIu64 " s", seconds / 60, seconds % 60);
    else
        snprintf(text, UNITS_SIZE, "%" PRIu64 " h %02" PRIu64 " min", minutes / 60, minutes % 60);
    return text;
}

const char *units_duration(char text[UNITS_SIZE], uint64_t ns)
{
    /* Each unit rounds to what it shows before the next one is chosen, so that 999.7 ms is "1.0 s". */
    const uint64_t ms = ns / MS_NS + (ns % MS_NS >= MS_NS / 2);
    const uint64_t tenths = ns / (S_NS / 10) + (ns % (S_NS / 10) >= S_NS / 20);

    if (ns < MS_NS)
        snprintf(text, UNITS_SIZE, ns ? "<1 ms" : "0 ms");
    else if (ms < 1000)
        snprintf(text, UNITS_SIZE, "%" PRIu64 " ms", ms);
    else if (tenths < 600)
        snprintf(text, UNITS_SIZE, "%" PRIu64 ".%" PRIu64 " s", tenths / 10, tenths % 10);
    else
        minutes_and_hours(text, ns / S_NS + (ns % S_NS >= S_NS / 2));
    return text;
}

const char *units_about(char text[UNITS_SIZE], uint64_t ns)
{
    const uint64_t seconds = ns / S_NS + (ns % S_NS >= S_NS / 2);

    if (seconds < 60)
        snprintf(text, UNITS_SIZE, "%" PRIu64 " s", seconds ? seconds : 1);
    else if (seconds < 600 || seconds >= 3570)
        minutes_and_hours(text, seconds >= 3570 && seconds < 3600 ? 3600 : seconds);
    else
        snprintf(text, UNITS_SIZE, "%" PRIu64 " min", (seconds + 30) / 60);
    return text;
}

const char *units_count(char text[UNITS_SIZE], uint64_t n)
{
    char digits[UNITS_SIZE];
    const int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
    char *to = text;

    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}
