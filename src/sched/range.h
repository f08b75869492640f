/*
 * range.h - who runs which tests: positions of the plan, taken and stolen by one compare-and-swap.
 *
 * The plan is an array of positions 0..n-1 (plan.h says which item each one is). Every worker owns one range
 * [lo, hi) of positions, packed in one 64-bit word: lo in the upper half, hi in the lower. The owner takes from the
 * front (lo + 1); a worker whose range is empty steals the back part of the largest other range.
 *
 * Units. Positions are cut into units (tests that must stay on one worker, in order): unit[p] is the first position of
 * the unit that holds p. A steal never cuts a unit, and never takes the rest of a unit whose first test was taken
 * already, unless the owner is dead.
 *
 * Layout: the words live in shared memory (run/segment.h) and are reached only through this file. Any process may call
 * take and steal at any time.
 *
 * A worker that dies between taking a position and running its test leaves that position in nobody's range: whoever
 * buries it gives it back (range_give_back), before thieves hear that the owner is dead.
 *
 * Promise: every position that range_set gave out is taken at most once, whichever process asks and even if it dies in
 * the middle. "At least once" is the supervisor's sweep (run/run.c).
 */
#ifndef HASTEN_RANGE_H
#define HASTEN_RANGE_H

#include "base/base.h"

#include <stdatomic.h>

#define RANGE_NONE UINT32_MAX

struct range {
    _Atomic uint64_t word;
};

/*
 * For a range that is empty and whose owner does not run (not yet, or dead): an owner that steals at the same moment
 * would overwrite it. Others may look at it and steal from it all the while. To give a running crowd more work, keep a
 * range that nobody owns, set that, and let them steal from it as from a dead one.
 */
void range_set(struct range *range, uint32_t lo, uint32_t hi);

uint32_t range_left(const struct range *range);                         /* hi - lo at this moment */
void range_read(const struct range *range, uint32_t *lo, uint32_t *hi); /* one consistent look */

/* The front position, or RANGE_NONE when empty. */
uint32_t range_take(struct range *range);

/*
 * Undoes the range's last take, which gave position at. For a dead owner only, and by one process: true when the range
 * begins with at again. False when at is not what lies before the range; nothing is changed then.
 */
bool range_give_back(struct range *range, uint32_t at);

/* The first unit as a whole, [*lo, *hi). False when the range is empty. unit: as for range_steal. Anybody may ask. */
bool range_take_unit(struct range *range, const uint32_t *unit, uint32_t *lo, uint32_t *hi);

/* All that is left, [*lo, *hi). False when the range is empty. Anybody may ask. */
bool range_take_all(struct range *range, uint32_t *lo, uint32_t *hi);

/* The front position without taking it, or RANGE_NONE: only a guess, another may steal it. */
uint32_t range_peek(const struct range *range);

/*
 * Moves about half of victim's positions (its back part, whole units) into thief, which must be empty and owned by the
 * caller. Everything is taken when only one unit is left and not started. unit: the table described above, borrowed;
 * it never falls. victim_dead: its owner will take no more, so a started unit may be taken too. Returns the number of
 * positions moved, 0 when nothing can be.
 */
uint32_t range_steal(struct range *thief, struct range *victim, const uint32_t *unit, bool victim_dead);

#endif
