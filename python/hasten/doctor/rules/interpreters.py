"""Another interpreter: newer, or without the GIL, where it is installed and has what the suite needs."""

from __future__ import annotations

from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.suite import Variant


def find(facts: Facts) -> Iterator[Candidate | Note]:
    lacking = []
    for found in facts.interpreters:
        if found.missing:
            more = f" and {len(found.missing) - 4} more" if len(found.missing) > 4 else ""
            lacking.append(f"CPython {found.name} ({found.path}) lacks {', '.join(found.missing[:4])}{more}")
            continue
        yield Candidate(
            f"interpreter {found.path}",
            f"CPython {found.name} runs the suite faster",
            f"{found.path} -m pytest",
            Variant(
                python=found.path,
                args=("-p", "no:hasten") if found.hasten else (),
                env={"PYTHONPATH": "{package}"},
            ),
            warm=True,
        )
    if lacking:
        yield Note("interpreters", "other interpreters that the suite cannot be tried on", lacking)
