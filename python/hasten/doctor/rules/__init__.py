"""The families of rules. Each module has ``find(facts)``, which yields candidates and notes.

A rule names what it has seen and a variant to try; it never says how much would be saved: that is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.rules import collection, coverage, fixtures, imports, parallel, plugins, settings, tests, waiting

Find = Callable[[Facts], Iterable[Candidate | Note]]

RULES: tuple[tuple[str, Find], ...] = (
    ("parallel runs", parallel.find),
    ("waiting", waiting.find),
    ("fixtures", fixtures.find),
    ("imports", imports.find),
    ("coverage", coverage.find),
    ("collection", collection.find),
    ("plugins", plugins.find),
    ("settings", settings.find),
    ("tests", tests.find),
)
