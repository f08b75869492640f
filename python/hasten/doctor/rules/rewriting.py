"""Large packages whose asserts pytest rewrites because they have a plugin."""

from __future__ import annotations

from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.suite import Variant

MANY = 20  # modules


def find(facts: Facts) -> Iterator[Candidate | Note]:
    large = {name: n for name, n in facts.seen["rewriting"].items() if n >= MANY and name != "hasten"}
    seconds = sum(took for path, took in facts.seen["rewritten"].items() if not facts.own(path))
    if seconds >= facts.floor_s / 2:  # their result is not kept, or this was the first time
        for path in facts.seen["rewritten"]:
            root = next((name for name in facts.seen["rewriting"] if f"/{name}/" in path or f"/{name}.py" in path), "")
            if root and not facts.own(path):
                large.setdefault(root, facts.seen["rewriting"][root])
    if not large:
        return
    rows = [f"{name}: {n} modules" for name, n in sorted(large.items(), key=lambda one: -one[1])]
    yield Candidate(
        "rewriting",
        f"asserts of packages with a plugin are rewritten: {', '.join(sorted(large))}",
        "PYTEST_DONT_REWRITE in the docstrings of modules that check nothing for tests, "
        "or a plugin in a small package of its own",
        Variant(simulate={"not rewritten": sorted(large)}),
        "collect",
        details=rows[:5],
    )
