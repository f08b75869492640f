"""Import statements of the suite's own files that cost much and that hasten imports says nobody else needs."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.suite import Variant

MOST = 4  # statements; each is measured in runs of its own


def find(facts: Facts) -> Iterator[Candidate | Note]:
    statements = [one for one in facts.imports.get("statements", ()) if facts.own(one["file"])]
    statements.sort(key=lambda one: -one["saved"]["cpu"])
    for one in statements[:MOST]:
        if one["saved"]["cpu"] < facts.floor_s * facts.scale:
            break
        place = f"{facts.short(one['file'])}:{one['line']}"
        if one.get("reason"):
            yield Note(
                f"import {place}",
                f"{place} costs {one['saved']['cpu']:.2f} s of imports; it cannot be lazy yet: {one['reason']}",
            )
            continue
        what, do = _of_whom(facts, one["file"])
        yield Candidate(
            f"import {place}",
            f"{place}, {what}, imports {one['saved']['modules']} modules that nothing else needs",
            do,
            Variant(simulate={"lazy": [f"{one['file']}:{one['line']}"]}),
            weight=("once",),
        )
    yield from _working(facts)


def _working(facts: Facts) -> Iterator[Note]:
    """Lines that do something else than import, each time the module is imported."""
    found = [
        f"{facts.short(one['file'])}:{one['line']} {'waits' if one.get('waits') else 'computes'} {one['wall']:.2f} s"
        for one in facts.imports.get("work", ())
        if one["wall"] >= facts.floor_s * facts.scale and facts.own(one["file"])
    ]
    if found:
        yield Note(
            "work at import", "lines that work in every process that imports them (hasten imports shows all)", found[:5]
        )


def _of_whom(facts: Facts, file: str) -> tuple[str, str]:
    """Whose import it is, and what to do about it."""
    if os.path.basename(file) == "conftest.py":
        return "a conftest", "import it in the fixture that uses it (hasten imports --collect shows more)"
    if file in facts.seen["files"]:
        return "a test module", "import it in the tests that use it (hasten imports --collect shows more)"
    return (
        "code that is tested",
        "only production needs it: import it where it is used (hasten imports --fix does it, tests it and measures it)",
    )
