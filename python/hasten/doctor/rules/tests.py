"""The few tests that decide when a parallel run can end."""

from __future__ import annotations

from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, Note


def find(facts: Facts) -> Iterator[Candidate | Note]:
    times = {test: sum(phases) for test, phases in facts.seen["tests"].items()}
    whole = sum(times.values())
    if not times or facts.workers < 2:
        return
    share = whole / facts.workers
    long = sorted(((seconds, test) for test, seconds in times.items() if seconds > share), reverse=True)
    if long and len(times) > 1:
        yield Note(
            "tail",
            f"with {facts.workers} workers each would have {share:.2f} s of tests; these take longer:",
            [f"{seconds:.2f} s  {test}" for seconds, test in long[:3]],
        )
