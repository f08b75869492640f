"""The search for the smallest sequence of tests that still changes an outcome: delta debugging, several tries at once.

Pure: it knows neither tests nor processes. ``changes(sequences)`` answers the index of one sequence that changes the
outcome, or None; it may look at all of them side by side and stop at the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

Changes = Callable[[list[tuple[int, ...]]], "int | None"]


def cut(sequence: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """n parts of nearly equal length, in order; fewer when the sequence is shorter."""
    n = min(n, len(sequence))
    edges = [len(sequence) * i // n for i in range(n + 1)]
    return [tuple(sequence[a:b]) for a, b in itertools.pairwise(edges)]


def smallest(sequence: Sequence[int], changes: Changes, width: int = 2) -> tuple[int, ...]:
    """A part of the sequence, in its order, that changes the outcome and of which nothing can be left out.

    sequence: changes the outcome as a whole. width: how many tries cost as much time as one.
    """
    current, n = tuple(sequence), max(2, width)
    while len(current) > 1:
        parts = cut(current, n)
        found = changes(parts)
        if found is not None:
            current, n = parts[found], max(2, width)
            continue
        if len(parts) > 2:  # of two, what is left without one is the other
            rests = [tuple(i for other in parts if other is not part for i in other) for part in parts]
            found = changes(rests)
            if found is not None:
                current, n = rests[found], max(2, n - 1)
                continue
        if len(parts) == len(current):
            break
        n = min(2 * n, len(current))
    return current
