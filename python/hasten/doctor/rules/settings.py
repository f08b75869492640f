"""Settings of the interpreter that cost: bytecode that is not kept, the garbage collector, development mode."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.suite import Variant

THRESHOLDS = (50_000, 20, 20)


def find(facts: Facts) -> Iterator[Candidate | Note]:
    rewritten = facts.seen["rewritten"]
    if facts.seen["dont_write_bytecode"] or sum(rewritten.values()) >= facts.floor_s:
        why = (
            "PYTHONDONTWRITEBYTECODE is set"
            if facts.seen["dont_write_bytecode"]
            else "their folder cannot be written to"
        )
        yield Candidate(
            "bytecode",
            f"bytecode is not kept ({why}): asserts of {len(rewritten)} modules are rewritten in each run",
            "leave PYTHONDONTWRITEBYTECODE unset; PYTHONPYCACHEPREFIX=FOLDER keeps the caches out of the tree",
            Variant(env={"PYTHONDONTWRITEBYTECODE": None, "PYTHONPYCACHEPREFIX": "{folder}/bytecode"}),
            "collect",
            warm=True,
        )
    yield Candidate(  # always: most of it is the end of the interpreter, which nobody has timed
        "gc",
        "the garbage collector looks through all imports again and again",
        "in the root conftest: gc.disable() at its top, and in pytest_collection_finish gc.freeze() and gc.enable()"
        " (`hasten run` does it unasked)",
        Variant(simulate={"collector": True}),
        weight=("once",),
    )
    if facts.seen["gc"]["tests"] >= facts.floor_s:
        yield Candidate(
            "gc thresholds",
            f"the garbage collector runs for {facts.seen['gc']['tests']:.2f} s while tests run",
            "in the root conftest's pytest_collection_finish: gc.freeze(); "
            f"gc.set_threshold({', '.join(map(str, THRESHOLDS))})",
            Variant(simulate={"thresholds": list(THRESHOLDS)}),
            weight=("gc",),
        )
    if os.environ.get("PYTHONDEVMODE") or os.environ.get("PYTHONMALLOC") == "debug":
        yield Candidate(
            "devmode",
            "Python's development mode is on",
            "PYTHONDEVMODE in one job of CI, not in all",
            Variant(env={"PYTHONDEVMODE": None, "PYTHONMALLOC": None}),
        )
