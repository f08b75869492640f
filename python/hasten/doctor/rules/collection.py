"""Folders that pytest walks without finding a test there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, IniEdit, Note
from hasten.doctor.suite import Variant

MANY = 20  # folders; fewer are read in less time than can be measured


def find(facts: Facts) -> Iterator[Candidate | Note]:
    if facts.seen["named"]:
        return
    tests = {facts.short(file) for file in facts.seen["files"]}
    homes = {name.split("/")[0] for name in tests if "/" in name}
    walked = Counter(
        facts.short(folder).split("/")[0] for folder in facts.seen["folders"] if folder.startswith(facts.rootdir + "/")
    )
    vain = {top: n for top, n in walked.items() if top not in homes}
    if sum(vain.values()) < MANY:
        return
    most = [f"{top}: {n} folders" for top, n in sorted(vain.items(), key=lambda entry: -entry[1])[:4]]
    n = sum(vain.values())
    if not any("/" not in name for name in tests) and not facts.seen["ini"]["testpaths"]:
        paths = sorted(homes)
        yield Candidate(
            "testpaths",
            f"no testpaths: {n} folders are searched in vain",
            f"testpaths = {' '.join(paths)}",
            Variant(args=("-o", "testpaths=" + " ".join(paths))),
            "collect",
            edits=[IniEdit("testpaths", paths)],
            details=most,
        )
        return
    names = [*map(str, facts.seen["ini"]["norecursedirs"]), *sorted(top for top in vain if os.sep not in top)]
    yield Candidate(
        "norecursedirs",
        f"{n} folders are searched in vain",
        f"norecursedirs = {' '.join(names)}",
        Variant(args=("-o", "norecursedirs=" + " ".join(names))),
        "collect",
        edits=[IniEdit("norecursedirs", names)],
        details=most,
    )
