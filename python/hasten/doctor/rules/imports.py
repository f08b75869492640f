"""Import statements of the suite's own files that cost much and that hasten imports says nobody else needs."""

from __future__ import annotations

from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.suite import Variant

MOST = 4  # statements; each is measured in runs of its own


def find(facts: Facts) -> Iterator[Candidate | Note]:
    statements = [one for one in facts.imports.get("statements", ()) if facts.own(one["file"])]
    statements.sort(key=lambda one: -one["saved"]["cpu"])
    for one in statements[:MOST]:
        if one["saved"]["cpu"] < facts.floor_s:
            break
        place = f"{facts.short(one['file'])}:{one['line']}"
        if one.get("reason"):
            yield Note(
                f"import {place}",
                f"{place} costs {one['saved']['cpu']:.2f} s of imports; it cannot be lazy yet: {one['reason']}",
            )
            continue
        yield Candidate(
            f"import {place}",
            f"{place} imports {one['saved']['modules']} modules that nothing else needs",
            "import it where it is used (hasten imports --collect shows more)",
            Variant(simulate={"lazy": [f"{one['file']}:{one['line']}"]}),
        )
