"""The families of rules. Each module has ``find(facts)``, which yields candidates and notes.

A rule names what it has seen and a variant to try; it never says how much would be saved: that is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.rules import (
    collection,
    coverage,
    databases,
    fixtures,
    idle,
    imports,
    interpreters,
    logs,
    parallel,
    plugins,
    retries,
    rewriting,
    settings,
    tests,
    waiting,
)

Find = Callable[[Facts], Iterable[Candidate | Note]]

RULES: tuple[tuple[str, Find], ...] = (
    ("parallel runs", parallel.find),
    ("databases", databases.find),
    ("waiting", waiting.find),
    ("retries", retries.find),
    ("fixtures", fixtures.find),
    ("imports", imports.find),
    ("coverage", coverage.find),
    ("collection", collection.find),
    ("plugins", plugins.find),
    ("rewriting", rewriting.find),
    ("logs and capture", logs.find),
    ("settings", settings.find),
    ("settings without effect", idle.find),
    ("interpreters", interpreters.find),
    ("tests", tests.find),
)
