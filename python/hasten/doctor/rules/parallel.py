"""Several workers, and what tests share that would be in their way."""

from __future__ import annotations

from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.suite import Variant

SHOWN = 5


def find(facts: Facts) -> Iterator[Candidate | Note]:
    if facts.workers > 1 and len(facts.outcomes) > 1:
        yield Candidate(
            "parallel",
            f"run in parallel: {facts.workers} workers",
            f"hasten run -n {facts.workers} (or pytest --hasten={facts.workers}) in the place of pytest",
            Variant(runner="run"),
            clock="wall_s",
            warm=True,  # the second run knows durations
        )
    shared = [
        f"{facts.short(path)}: written by {names(tests)}"
        for path, tests in sorted(facts.seen["written"].items())
        if len(tests) > 1
    ]
    shared += [
        f"port {port}: bound by {names(tests)}" for port, tests in sorted(facts.seen["ports"].items()) if len(tests) > 1
    ]
    if shared:
        yield Note("shared", "several tests use the same file or port: in parallel they may meet", shared[:SHOWN])


def names(tests: list[str]) -> str:
    return ", ".join(tests[:2]) + (f" and {len(tests) - 2} more" if len(tests) > 2 else "")
