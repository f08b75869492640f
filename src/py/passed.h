/* passed.h - which records the reporter keeps without looking into them. */
#ifndef HASTEN_PASSED_H
#define HASTEN_PASSED_H

#include "store/record.h"

#include <stdbool.h>

/* passed_take would take this record: a plain pass, the first one of its test, while passed_open is in force. */
bool passed_wants(const struct record *record);

#endif
