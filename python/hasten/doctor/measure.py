"""Interleaved runs: the suite as it is and each variant, in turn, in an order that changes from round to round."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence

from hasten.doctor.advice import Candidate, Saving
from hasten.doctor.suite import AS_IT_IS, Run, Suite, Variant

LEAST_PAIRS = 3


def judge(differences: Sequence[float], total: float) -> Saving:
    """What pairs of runs say: differences are seconds without the change less seconds with it."""
    if not differences:
        return Saving()
    median = statistics.median(differences)
    spread = 1.4826 * statistics.median(abs(d - median) for d in differences)
    error = spread / len(differences) ** 0.5
    sure = ""
    if len(differences) >= LEAST_PAIRS and median > 0:
        if min(differences) > 0 and median > 3 * error:
            sure = "certain"
        elif median > 2 * error and sum(d > 0 for d in differences) * 4 >= 3 * len(differences):
            sure = "likely"
    return Saving(median, spread, len(differences), sure, median / total if total else 0.0)


class Rounds:
    """All measurements of one examination."""

    def __init__(self, suite: Suite, total: float, floor: float, pairs: int, until: float, say: Callable[[str], None]):
        self.suite, self.total, self.floor = suite, total, floor
        self.pairs, self.until, self.say = pairs, until, say
        self.random = random.Random(1)
        self.last: dict[str, Run] = {}  # of each candidate, by key
        self.plain: list[Run] = []  # whole runs of the suite as it is

    def _run(self, variant: Variant, where: str) -> Run:
        return self.suite.collect(variant) if where == "collect" else self.suite.run(variant)

    def measure(self, candidates: Sequence[Candidate]) -> None:
        """Sets `saving` of each."""
        for where in ("collect", "run"):
            self._measure([c for c in candidates if c.where == where], where)

    def _measure(self, candidates: list[Candidate], where: str) -> None:
        differences: dict[str, list[float]] = {c.key: [] for c in candidates}
        active = list(candidates)
        for candidate in active:
            if candidate.warm:
                self._run(candidate.variant, where)
        for number in range(self.pairs):
            if not active or (number >= LEAST_PAIRS and time.monotonic() > self.until):
                break
            runs: dict[str, Run] = {}
            turn: list[Candidate | None] = [None, *active]
            self.random.shuffle(turn)
            for one in turn:
                self.say(f"{where} {number + 1} of {self.pairs}: {one.title if one else 'as it is'}")
                runs[one.key if one else ""] = self._run(one.variant if one else AS_IT_IS, where)
            self.last |= runs
            if where == "run":
                self.plain.append(runs[""])
            for candidate in active:
                without, with_it = runs[""], runs[candidate.key]
                differences[candidate.key].append(getattr(without, candidate.clock) - getattr(with_it, candidate.clock))
            if number:  # what neither of two pairs shows is not tried on
                active = [c for c in active if self._promises(differences[c.key])]
        for candidate in candidates:
            candidate.saving = judge(differences[candidate.key], self.total)

    def _promises(self, differences: list[float]) -> bool:
        return max(differences) > self.floor and sorted(differences)[-2] > 0


def differing(plain: dict[str, str], other: dict[str, str], unstable: set[str]) -> list[str]:
    """One line for each test whose outcome is another one."""
    return [
        f"{test}: {plain.get(test, 'not there')} -> {other.get(test, 'not there')}"
        for test in sorted(plain.keys() | other.keys())
        if plain.get(test) != other.get(test) and test not in unstable
    ]
