"""Tests that are run again when they fail: what the attempts that failed cost, and the delays between them."""

from __future__ import annotations

from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, Note

SHOWN = 5


def find(facts: Facts) -> Iterator[Candidate | Note]:
    attempts = facts.seen["attempts"]
    if not attempts:
        return
    lost = sum(seconds for _n, seconds in attempts.values())
    passes = [test for test in attempts if facts.outcomes.get(test) == "passed"]
    rows = [
        f"{seconds:.2f} s  {test}: {n - 1:.0f} times again, {facts.outcomes.get(test, 'not there')} in the end"
        for test, (n, seconds) in sorted(attempts.items(), key=lambda one: -one[1][1])
    ]
    yield Candidate(
        "retries",
        f"{len(attempts)} tests are run again when they fail; {len(passes)} of them pass then",
        "mend them; until then mark them alone for it (and only for the error that comes and goes), without a delay",
        where="seen",
        weight=("retries",),
        details=rows[:SHOWN],
        tests=list(attempts),
    )
    delay = facts.seen["ini"].get("reruns_delay") or facts.seen["options"].get("reruns_delay")
    if facts.seen["options"].get("reruns") or facts.seen["ini"].get("reruns"):
        after = f", each after {delay} s" if delay else ""
        yield Note("reruns", f"every test that fails is run again{after} ({lost:.2f} s here): it hides new faults")
