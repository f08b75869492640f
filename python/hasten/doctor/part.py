"""What stands for a suite that is too long to be run often: which tests, and for how much."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from hasten.doctor.advice import Candidate, Facts, weight
from hasten.doctor.suite import Part

EACH = 0.5  # of the time: for the tests in which candidates were seen; the rest is for any


def estimated(seen: dict[str, Any], n_tests: int) -> tuple[float, float]:
    """Seconds of all tests from some files of them, and the error of that: as of a ratio of two sums over files."""
    files: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])
    for test, phases in seen["tests"].items():
        entry = files[test.partition("::")[0]]
        entry[0] += 1
        entry[1] += sum(phases)
    n = sum(entry[0] for entry in files.values())
    if not n:
        return 0.0, 0.0
    mean = sum(entry[1] for entry in files.values()) / n
    k = len(files)
    if k < 2:
        return mean * n_tests, mean * n_tests
    squares = sum((seconds - mean * count) ** 2 for count, seconds in files.values()) * k / (k - 1)
    rest = max(0.0, 1 - n / n_tests)
    return mean * n_tests, math.sqrt(squares * rest) / n * n_tests


def chosen(facts: Facts, candidates: Sequence[Candidate], seconds: float) -> Part:
    """Tests that take so long together: some in which each candidate was seen, and files that chance chooses."""
    times = {test: sum(phases) for test, phases in facts.seen["tests"].items()}
    dice = random.Random(1)
    ids: set[str] = set()
    named = [c for c in candidates if c.tests and c.where == "run"]
    for candidate in named:
        _add_seen(ids, times, candidate.tests, EACH * seconds / len(named), dice)
    by_file: dict[str, list[str]] = defaultdict(list)
    for test in times:
        by_file[test.partition("::")[0]].append(test)
    files = sorted(by_file)
    dice.shuffle(files)
    for file in files:
        spent = sum(times[test] for test in ids)
        more = [test for test in by_file[file] if test not in ids]
        if spent + sum(times[test] for test in more) <= seconds or not ids:
            ids.update(more)
    order = [test for test in times if test in ids]
    paths = list(dict.fromkeys(test.partition("::")[0] for test in order))
    named_args = set(map(str, facts.seen["named"]))
    options = [arg for arg in facts.args if arg not in named_args]
    if not any(arg == "-c" or arg.startswith(("--rootdir", "--config-file")) for arg in options):
        options.append(f"--rootdir={facts.rootdir}")
        if facts.seen["inipath"]:
            options += ["-c", str(facts.seen["inipath"])]
    return Part(order, [f"{facts.rootdir}/{path}" for path in paths], options)


def _add_seen(
    ids: set[str], times: dict[str, float], tests: Sequence[str], seconds: float, dice: random.Random
) -> None:
    """At least two: what is made anew for each test is not made anew for one."""
    there = [test for test in dict.fromkeys(tests) if test in times]
    dice.shuffle(there)
    spent, n = 0.0, 0
    for test in there:
        if n >= 2 and spent + times[test] > seconds:
            break
        spent, n = spent + (0.0 if test in ids else times[test]), n + 1
        ids.add(test)


def scale(candidate: Candidate, facts: Facts, of_part: dict[str, Any]) -> float:
    """How much more of what the candidate is about the whole suite has than the part; 0: the part has none of it."""
    there = weight(of_part, candidate.weight)
    if candidate.weight == ("once",):
        return 1.0
    return weight(facts.seen, candidate.weight) / there * facts.scale if there > 0 else 0.0
