/* channel.h - this process's line to the supervisor. */
#ifndef HASTEN_CHANNEL_H
#define HASTEN_CHANNEL_H

#include "py/compat.h"

/* False when what die_with was given is open no more, or is something else: a test has closed what is not its own. */
bool channel_intact(void);

#endif
