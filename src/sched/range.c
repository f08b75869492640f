#include "sched/range.h"

/*
 * Memory orders. All of a range is one word, and what may happen to it depends only on its value and on the unit
 * table, which does not change while ranges are in use; so no order is needed between two words, and a word that came
 * back to an old value (ABA) means the same positions as before: the exchange is right then too.
 *
 * One thing has to be ordered: whoever sees a position must also see what was written before it was given out (the
 * plan's tables; the journal of a resumed run). range_set releases, every exchange and every load that leads to a
 * position acquires, and an exchange in between continues the release sequence of the store before it. A stolen part
 * passes on with acquire (from the victim) and then release (into the thief). Stronger orders would promise nothing
 * that anybody uses.
 */

static uint64_t pack(uint32_t lo, uint32_t hi)
{
    return (uint64_t)lo << 32 | hi;
}

static uint32_t low(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint32_t high(uint64_t word)
{
    return (uint32_t)word;
}

void range_set(struct range *range, uint32_t lo, uint32_t hi)
{
    HS_CHECK(lo <= hi);
    atomic_store_explicit(&range->word, pack(lo, hi), memory_order_release);
}

void range_read(const struct range *range, uint32_t *lo, uint32_t *hi)
{
    const uint64_t word = atomic_load_explicit(&range->word, memory_order_acquire);

    *lo = low(word);
    *hi = high(word);
}

uint32_t range_left(const struct range *range)
{
    uint32_t lo, hi;

    range_read(range, &lo, &hi);
    return hi - lo;
}

uint32_t range_peek(const struct range *range)
{
    uint32_t lo, hi;

    range_read(range, &lo, &hi);
    return lo < hi ? lo : RANGE_NONE;
}

uint32_t range_take(struct range *range)
{
    /* Relaxed: only a guess, which the exchange confirms. */
    uint64_t word = atomic_load_explicit(&range->word, memory_order_relaxed);

    while (low(word) < high(word)) {
        if (atomic_compare_exchange_weak_explicit(&range->word, &word, pack(low(word) + 1, high(word)),
                                                  memory_order_acquire, memory_order_relaxed))
            return low(word);
    }
    return RANGE_NONE;
}

bool range_give_back(struct range *range, uint32_t at)
{
    uint64_t word = atomic_load_explicit(&range->word, memory_order_relaxed);

    /* Thieves change the upper end alone; the exchange continues the release sequence of range_set. */
    while (low(word) == at + 1)
        if (atomic_compare_exchange_weak_explicit(&range->word, &word, pack(at, high(word)), memory_order_release,
                                                  memory_order_relaxed))
            return true;
    return false;
}

/* First position in (at, hi) that begins a unit, or hi. By bisection, for unit[] never falls. */
static uint32_t next_unit(const uint32_t *unit, uint32_t at, uint32_t hi)
{
    const uint32_t mine = unit[at];

    while (at + 1 < hi) {
        const uint32_t middle = at + (hi - at) / 2;

        if (unit[middle] == mine)
            at = middle;
        else
            hi = middle;
    }
    return hi;
}

bool range_take_unit(struct range *range, const uint32_t *unit, uint32_t *lo, uint32_t *hi)
{
    uint64_t word = atomic_load_explicit(&range->word, memory_order_acquire);

    while (low(word) < high(word)) {
        *lo = low(word);
        *hi = next_unit(unit, *lo, high(word));
        if (atomic_compare_exchange_weak_explicit(&range->word, &word, pack(*hi, high(word)), memory_order_acquire,
                                                  memory_order_acquire))
            return true;
    }
    return false;
}

bool range_take_all(struct range *range, uint32_t *lo, uint32_t *hi)
{
    uint64_t word = atomic_load_explicit(&range->word, memory_order_acquire);

    while (low(word) < high(word)) {
        *lo = low(word);
        *hi = high(word);
        if (atomic_compare_exchange_weak_explicit(&range->word, &word, pack(*hi, *hi), memory_order_acquire,
                                                  memory_order_acquire))
            return true;
    }
    return false;
}

/*
 * Where to cut [lo, hi), which is not empty: the thief gets [cut, hi); hi when nothing can be taken. The victim runs a
 * test already, so of an odd number the thief gets the larger half, and of one position that one.
 */
static uint32_t cut_at(uint32_t lo, uint32_t hi, const uint32_t *unit, bool victim_dead)
{
    const uint32_t middle = lo + (hi - lo) / 2;
    const uint32_t before = unit[middle]; /* start of the unit that holds the middle */
    uint32_t after;

    if (before == middle)
        return middle;
    after = next_unit(unit, middle, hi);
    if (before > lo && (after == hi || middle - before <= after - middle))
        return before;
    if (after < hi)
        return after;
    /* What is left is one unit, or the rest of one. */
    return unit[lo] == lo || victim_dead ? lo : hi;
}

uint32_t range_steal(struct range *thief, struct range *victim, const uint32_t *unit, bool victim_dead)
{
    uint64_t word = atomic_load_explicit(&victim->word, memory_order_acquire);

    HS_CHECK(thief != victim && range_left(thief) == 0);
    while (low(word) < high(word)) {
        const uint32_t lo = low(word), hi = high(word);
        const uint32_t cut = cut_at(lo, hi, unit, victim_dead);

        if (cut == hi)
            return 0;
        if (atomic_compare_exchange_weak_explicit(&victim->word, &word, pack(lo, cut), memory_order_acquire,
                                                  memory_order_acquire)) {
            /* Between these two lines the part is in nobody's range; if the thief dies here, the sweep finds it. */
            range_set(thief, cut, hi);
            return hi - cut;
        }
    }
    return 0;
}
