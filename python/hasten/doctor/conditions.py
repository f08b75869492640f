"""Tests that end differently in another order, or with other hash seeds, and what does it to them."""

from __future__ import annotations

import os
from collections.abc import Callable

from hasten.doctor.advice import Note
from hasten.doctor.measure import differing
from hasten.doctor.suite import Suite, Variant
from hasten.isolate.hunt import Hunt
from hasten.isolate.lab import Lab, LabError

VICTIMS = 3  # order-dependent tests that are looked into
SEEDS = ("1", "2", "3", "4")


class Conditions:
    """plain: outcomes of the suite as it is. unstable: tests that do not always end the same, whatever is done."""

    def __init__(
        self,
        suite: Suite,
        workers: int,
        plain: dict[str, str],
        unstable: set[str],
        in_reverse: Callable[[], dict[str, str]],
        say: Callable[[str], None],
    ) -> None:
        self.suite, self.workers, self.plain, self.unstable = suite, workers, plain, unstable
        self.in_reverse, self.say = in_reverse, say

    # ---- order

    def orders(self) -> list[Note]:
        self.say("the tests in reverse order")
        found: dict[str, list[str]] = {}  # the order in which it happened, by test
        shuffled = self.suite.run(Variant(simulate={"order": "shuffled"})).outcomes
        for outcomes in (self.in_reverse(), shuffled):
            for line in differing(self.plain, outcomes, self.unstable):
                found.setdefault(line.rpartition(": ")[0], list(outcomes))
        notes = [
            Note(f"order {test}", f"{test} depends on the order of tests", self._isolated(test, order))
            for test, order in list(found.items())[:VICTIMS]
        ]
        if len(found) > VICTIMS:
            notes.append(Note("order", f"{len(found) - VICTIMS} more tests depend on the order", list(found)[3:8]))
        return notes

    def _isolated(self, test: str, order: list[str]) -> list[str]:
        try:
            with Lab(self.suite.args, self.workers, 600.0) as lab:
                hunt = Hunt(lab, test, 2, False, self.say)
                hunt.find_target()
                answer = hunt.hunt(order, False)
        except LabError as exc:
            return [str(exc)]
        return [answer.verdict, *answer.culprits, f"hasten isolate {test} says more"]

    # ---- hash seeds

    def seeds(self) -> list[Note]:
        """Tests, and the order of collection, that follow PYTHONHASHSEED: twice the same with each, not with all."""
        self.say("the tests with other hash seeds")
        first = {seed: self._seeded(seed) for seed in SEEDS}
        kinds = {seed: list(outcomes) for seed, outcomes in first.items()}
        unequal = self._unequal(first)
        other_order = any(ids != kinds[SEEDS[0]] for ids in kinds.values())
        if not unequal and not other_order:
            return []
        second = {seed: self._seeded(seed) for seed in SEEDS}
        steady = [test for test in unequal if all(first[s].get(test) == second[s].get(test) for s in SEEDS)]
        notes = []
        if steady:
            rows = [f"{test}: {self._by_seed(first, test)}" for test in steady[:5]]
            fixed = os.environ.get("PYTHONHASHSEED", "random")
            how = "is random" if fixed == "random" else f"is {fixed} here and hides it"
            notes.append(Note("hash seed", f"{len(steady)} tests depend on the hash seed (PYTHONHASHSEED {how})", rows))
        if other_order and all(list(second[seed]) == kinds[seed] for seed in SEEDS):
            notes.append(
                Note(
                    "hash seed collection",
                    "the tests, or their order, depend on the hash seed: a set where a list should be?",
                    self._first_difference(kinds),
                )
            )
        return notes

    def _seeded(self, seed: str) -> dict[str, str]:
        return self.suite.run(Variant(env={"PYTHONHASHSEED": seed})).outcomes

    @staticmethod
    def _unequal(first: dict[str, dict[str, str]]) -> list[str]:
        tests = dict.fromkeys(test for outcomes in first.values() for test in outcomes)
        return [test for test in tests if len({outcomes.get(test) for outcomes in first.values()}) > 1]

    @staticmethod
    def _by_seed(first: dict[str, dict[str, str]], test: str) -> str:
        return ", ".join(f"{outcomes.get(test, 'not there')} with {seed}" for seed, outcomes in first.items())

    @staticmethod
    def _first_difference(kinds: dict[str, list[str]]) -> list[str]:
        for seed in SEEDS[1:]:
            for one, other in zip(kinds[SEEDS[0]], kinds[seed], strict=False):
                if one != other:
                    return [f"{one} with seed {SEEDS[0]}", f"{other} with seed {seed}, in the same place"]
        return []
