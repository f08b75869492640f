"""The search of `hasten isolate` over sets that are known."""

from __future__ import annotations

import random

import pytest

from hasten.isolate import report
from hasten.isolate.hunt import Answer
from hasten.isolate.lab import Outcome
from hasten.isolate.search import cut, smallest


class Suite:
    """Its outcome changes when all of `needed` have run."""

    def __init__(self, needed: set[int]) -> None:
        self.needed, self.probes, self.rounds = needed, 0, 0

    def changes(self, orders: list[tuple[int, ...]]) -> int | None:
        self.rounds += 1
        self.probes += len(orders)
        return next((i for i, order in enumerate(orders) if self.needed <= set(order)), None)


def test_parts_are_even_and_complete() -> None:
    assert cut(range(7), 3) == [(0, 1), (2, 3), (4, 5, 6)]
    assert cut(range(2), 5) == [(0,), (1,)]


@pytest.mark.parametrize("width", [1, 2, 5, 16])
@pytest.mark.parametrize("seed", range(25))
def test_exactly_what_is_needed_is_found_in_its_order(seed: int, width: int) -> None:
    numbers = random.Random(seed)
    tests = numbers.sample(range(1000), numbers.randint(1, 200))
    needed = set(numbers.sample(tests, numbers.randint(1, min(4, len(tests)))))
    suite = Suite(needed)
    assert smallest(tests, suite.changes, width) == tuple(i for i in tests if i in needed)


def test_one_culprit_takes_as_many_rounds_as_bisection() -> None:
    suite = Suite({4711})
    assert smallest(range(8192), suite.changes) == (4711,)
    assert suite.rounds == 13
    wide = Suite({4711})
    assert smallest(range(8192), wide.changes, 8) == (4711,)
    assert wide.rounds == 5


def test_the_answer_reads_well() -> None:
    answer = Answer("b.py::test_b", 0, "one test before it makes it failed; alone it is passed")
    answer.alone = [Outcome("passed")] * 2
    answer.after = [Outcome("failed", "assert 1 == 2"), Outcome("failed", "assert 1 == 2")]
    answer.n_before, answer.culprits = 7, ["a.py::test_a[x y]"]
    answer.left = {"a.py::test_a[x y]": ["shop.debug: False -> True"]}
    answer.command = ["pytest", "a.py::test_a[x y]", "b.py::test_b"]
    lines = report.text(answer, 2).splitlines()
    assert lines[2:4] == ["  alone: passed (2 of 2)", "  after 7 others: failed (2 of 2)  assert 1 == 2"]
    assert lines[5:7] == ["one test before it makes it failed; alone it is passed.", "  a.py::test_a[x y]"]
    assert "  shop.debug: False -> True" in lines
    assert "  pytest 'a.py::test_a[x y]' b.py::test_b" in lines
