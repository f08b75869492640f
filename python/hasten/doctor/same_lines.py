"""Which tests run what other tests run, too: by contexts of coverage, measured by hasten cov in one run."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator

from hasten.doctor.suite import Suite, Variant

MOST = 3000  # tests that are compared with each other, beyond those that run exactly the same


def measured(suite: Suite, rootdir: str) -> tuple[str, str]:
    """Runs the suite under hasten cov: (data file, "") or ("", why there is none)."""
    if importlib.util.find_spec("coverage") is None:
        return "", "the package coverage is not installed"
    path = os.path.join(suite.folder.name, "lines.coverage")
    args = (f"--cov={rootdir}", "--cov-branch", "--cov-context=test", "--cov-report=", "--cov-fail-under=0")
    run = suite.run(Variant(args, {"COVERAGE_FILE": path}, "cov"))
    if run.status not in (0, 1) or not os.path.exists(path):
        return "", f"hasten cov ended with status {run.status}: {run.tail}"
    return path, ""


@contextlib.contextmanager
def _data(path: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def by_test(path: str, left_out: Collection[str]) -> dict[str, frozenset[int]]:
    """What each test ran of the measured files, but those left out: a number for each line or jump."""
    numbers: dict[tuple[int, int, int], int] = {}
    ran: dict[str, set[int]] = defaultdict(set)
    with _data(path) as data:
        files = {i for i, name in data.execute("SELECT id, path FROM file") if name not in left_out}
        tests = {i: name.rpartition("|")[0] for i, name in data.execute("SELECT id, context FROM context")}
        for file, context, a, b in data.execute("SELECT file_id, context_id, fromno, tono FROM arc"):
            if file in files and tests[context]:
                ran[tests[context]].add(numbers.setdefault((file, a, b), len(numbers)))
    return {test: frozenset(what) for test, what in ran.items()}


def groups(ran: dict[str, frozenset[int]], order: Collection[str]) -> list[list[str]]:
    """Tests that run nothing that the first of their group does not run. In the order given."""
    found: dict[str, list[str]] = {}
    same: dict[frozenset[int], str] = {}
    alone = []
    for test in (test for test in order if ran.get(test)):
        first = same.setdefault(ran[test], test)
        if first == test:
            alone.append(test)
        else:
            found.setdefault(first, [first]).append(test)
    for small, big in _inside({test: ran[test] for test in alone[:MOST]}).items():
        found.setdefault(big, [big]).extend(found.pop(small, [small]))
    return [group for group in found.values() if len(group) > 1]


def _inside(ran: dict[str, frozenset[int]]) -> dict[str, str]:
    """{test: another one that runs all it runs, and more}; never a chain."""
    who: dict[int, list[str]] = defaultdict(list)
    for test, what in ran.items():
        for number in what:
            who[number].append(test)
    found: dict[str, str] = {}
    largest = sorted(ran, key=lambda test: -len(ran[test]))
    rank = {test: i for i, test in enumerate(largest)}
    for test in largest:
        rarest = min((who[number] for number in ran[test]), key=len)
        bigger = [other for other in rarest if other not in found and len(ran[other]) > len(ran[test])]
        around = next((other for other in sorted(bigger, key=rank.__getitem__) if ran[test] < ran[other]), None)
        if around is not None:
            found[test] = around
    return found


def failures(rootdir: str) -> tuple[dict[str, int], int]:
    """Of the history: how often each test failed, and how many tests it knows."""
    path = os.path.join(rootdir, ".hasten", "hasten.db")
    found: dict[str, int] = {}
    try:
        with _data(path) as data:
            for test, n in data.execute("SELECT id, sum(n_failures) FROM test GROUP BY id"):
                found[os.fsdecode(test)] = n
    except (sqlite3.Error, OSError):
        return {}, 0
    return {test: n for test, n in found.items() if n}, len(found)
