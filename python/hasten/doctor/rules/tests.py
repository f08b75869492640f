"""The few tests that decide when a parallel run can end, and those that run what others run, too."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.suite import Variant

SHOWN = 5


def find(facts: Facts) -> Iterator[Candidate | Note]:
    times = {test: sum(phases) for test, phases in facts.seen["tests"].items()}
    yield from _tail(facts, times)
    yield from _same_lines(facts, times)


def long(facts: Facts) -> list[str]:
    """Tests that take longer than the share of one worker, the longest first."""
    times = {test: sum(phases) for test, phases in facts.seen["tests"].items()}
    share = sum(times.values()) * facts.scale / max(facts.workers, 1)
    if facts.workers < 2 or len(times) < 2:
        return []
    return sorted((test for test, seconds in times.items() if seconds > share), key=lambda test: -times[test])[:3]


def _tail(facts: Facts, times: dict[str, float]) -> Iterator[Note]:
    found = long(facts)
    if not found:
        return
    share = sum(times.values()) * facts.scale / facts.workers
    rows = []
    for test in found:
        setup, call, teardown = facts.seen["tests"][test]
        where = f"; {facts.splits[test]}" if test in facts.splits else ""
        if max(setup, teardown) > call:
            where = f"; {'set-up' if setup > teardown else 'teardown'} takes {max(setup, teardown):.2f} s of it"
        rows.append(f"{times[test]:.2f} s  {test}{where}")
    later = times[found[0]] - share
    yield Note(
        "tail",
        f"with {facts.workers} workers each would have {share:.2f} s of tests; these take longer, and the run ends "
        f"{later:.2f} s later than if they were split",
        rows,
    )


def _same_lines(facts: Facts, times: dict[str, float]) -> Iterator[Candidate]:
    groups = []
    for group in facts.same_lines:
        sound = [t for t in group if facts.outcomes.get(t) == "passed" and t not in facts.failed_before]
        if group[0] in sound and len(sound) > 1:
            groups.append(sound)
    left_out = [test for group in groups for test in group[1:]]
    if sum(times.get(test, 0.0) for test in left_out) < facts.floor_s:
        return
    groups.sort(key=lambda group: -sum(times.get(test, 0.0) for test in group[1:]))
    rows = [
        f"{sum(times.get(test, 0.0) for test in group[1:]):.2f} s  {len(group) - 1} that run what {group[0]} runs: "
        f"{group[1]}{' ...' if len(group) > 2 else ''}"
        for group in groups
    ]
    yield Candidate(
        "same lines",
        f"{len(left_out)} tests that have never failed run only lines and branches that others run, too",
        "look at them: other values on the same way through the code can be worth their time, or not",
        Variant(simulate={"left out": left_out}),
        details=rows[:SHOWN],
        weight=("some tests", *left_out),
        tests=left_out,
        left_out=left_out,
        judge=True,
    )


def splits(path: str) -> dict[str, str]:
    """Of the file that simulate.Lines has written: the line before which half of a test's time is over."""
    try:
        with open(path, encoding="utf-8") as file:
            found: dict[str, dict[str, float]] = json.load(file)
    except (OSError, ValueError):
        return {}
    said = {}
    for test, lines in found.items():
        whole = sum(lines.values())
        costly = {int(line): seconds for line, seconds in lines.items() if seconds > 0.02 * whole}
        if len(costly) == 1:
            said[test] = f"nearly all of it in line {next(iter(costly))}"
        elif costly:
            first, before = _half(costly)
            said[test] = f"split before line {first}: {before:.2f} s until then, {whole - before:.2f} s from there"
    return said


def _half(costly: dict[int, float]) -> tuple[int, float]:
    """The line before which the cut is most even, and the seconds until then."""
    best, until = (0, 0.0), 0.0
    whole = sum(costly.values())
    for line, seconds in sorted(costly.items()):
        if until and abs(whole / 2 - until) < abs(whole / 2 - best[1]):
            best = (line, until)
        until += seconds
    return best
