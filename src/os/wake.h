/* wake.h - waiting for a number in shared memory to change. */
#ifndef HASTEN_WAKE_H
#define HASTEN_WAKE_H

#include "base/base.h"

#include <stdatomic.h>

/* Returns when *word is not `seen` any more and somebody called wake_all, after most_ns, after a signal, or for no reason. */
void wake_wait(const _Atomic uint32_t *word, uint32_t seen, uint64_t most_ns);

/* Wakes all who wait for this word, in whatever process. */
void wake_all(const _Atomic uint32_t *word);

#endif
