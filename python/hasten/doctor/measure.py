"""Interleaved runs: the suite as it is and each variant, in turn, in an order that changes from round to round."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

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


def is_open(differences: Sequence[float]) -> bool:
    """Whether more pairs could still show a saving: it is not sure yet, and not out of reach of the noise."""
    saving = judge(differences, 0.0)
    return not saving.sure and saving.seconds + 2 * saving.spread / max(saving.n, 1) ** 0.5 > 0


class Rounds:
    """All measurements of one examination. scales: for how much of the whole a candidate's saving stands, by key."""

    def __init__(
        self,
        suite: Suite,
        total: float,
        floor: float,
        pairs: int,
        until: float,
        say: Callable[[str], None],
        scales: Mapping[str, float] | None = None,
    ):
        self.suite, self.total, self.floor = suite, total, floor
        self.pairs, self.until, self.say = pairs, until, say
        self.scales = scales or {}
        self.random = random.Random(1)
        self.last: dict[str, Run] = {}  # of each candidate, by key
        self.collected: dict[str, str] = {}  # what the suite as it is collects
        self.plain: list[Run] = []  # runs of the suite as it is, or of the part of it
        self.untried: list[Candidate] = []  # for lack of time

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
            if candidate.warm and time.monotonic() < self.until:
                self._run(candidate.variant, where)
        for number in range(self.pairs):
            if not active or time.monotonic() > self.until:
                break
            runs = self._round(active, where, number)
            self.last |= {key: run for key, run in runs.items() if key}
            if "" in runs:
                self._keep(runs[""], where)
            for candidate in active:
                if "" in runs and candidate.key in runs:
                    gained = getattr(runs[""], candidate.clock) - getattr(runs[candidate.key], candidate.clock)
                    differences[candidate.key].append(gained)
            if number:  # what neither of two pairs shows is not tried on
                active = [c for c in active if self._promises(differences[c.key], self.scales.get(c.key, 1.0))]
        for candidate in candidates:
            candidate.saving = judge(differences[candidate.key], self.total)
            if len(differences[candidate.key]) < 2 or (
                candidate in active and len(differences[candidate.key]) < LEAST_PAIRS
            ):
                self.untried.append(candidate)

    def _keep(self, plain: Run, where: str) -> None:
        if where == "run":
            self.plain.append(plain)
        else:
            self.collected = plain.outcomes

    def _round(self, active: list[Candidate], where: str, number: int) -> dict[str, Run]:
        """By key; "" is the suite as it is. Runs that were stopped are not in it."""
        runs: dict[str, Run] = {}
        turn: list[Candidate | None] = [None, *active]
        self.random.shuffle(turn)
        for one in turn:
            if number and time.monotonic() > self.until:
                break
            self.say(f"{where} {number + 1} of {self.pairs}: {one.title if one else 'as it is'}")
            run = self._run(one.variant if one else AS_IT_IS, where)
            if not run.stopped:
                runs[one.key if one else ""] = run
        return runs

    def _promises(self, differences: list[float], scale: float) -> bool:
        if len(differences) < 2:
            return True
        return max(differences) * scale > self.floor and sorted(differences)[-2] > 0


def differing(plain: dict[str, str], other: dict[str, str], unstable: set[str]) -> list[str]:
    """One line for each test whose outcome is another one. unstable: node ids, and beginnings of such: "t.py::a["."""
    return [
        f"{test}: {plain.get(test, 'not there')} -> {other.get(test, 'not there')}"
        for test in sorted(plain.keys() | other.keys())
        if plain.get(test) != other.get(test) and test not in unstable and f"{test.partition('[')[0]}[" not in unstable
    ]


def volatile(one: dict[str, str], other: dict[str, str]) -> set[str]:
    """Beginnings of node ids that are others in each run, as those with the time in them: "test.py::test_x["."""
    return {f"{test.partition('[')[0]}[" for test in one.keys() ^ other.keys() if "[" in test}
