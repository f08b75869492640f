"""Settings that cost: bytecode that is not kept, logs on the terminal, the garbage collector."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, IniEdit, Note
from hasten.doctor.suite import Variant


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
    ini, options = facts.seen["ini"], facts.seen["options"]
    if str(ini["log_cli"]).lower() in ("true", "1"):
        yield Candidate(
            "log_cli",
            "log_cli shows each log line on the terminal",
            "log_cli = false (the log of a failed test is in its report all the same)",
            Variant(args=("-o", "log_cli=false")),
            edits=[IniEdit("log_cli", "false")],
        )
    if str(ini["log_level"] or options["log_level"] or "").upper() in ("DEBUG", "NOTSET", "10", "0", "1"):
        yield Candidate(
            "log_level",
            "log_level keeps debug messages of every library",
            "no log_level, or INFO; tests that need more ask for it: caplog.set_level",
            Variant(args=("-o", "log_level=WARNING", "--log-level=WARNING")),
        )
    if options["capture"] == "tee-sys":
        yield Candidate(
            "capture",
            "capture=tee-sys writes what tests print twice",
            "--capture=fd, pytest's default",
            Variant(args=("--capture=fd",)),
        )
    yield Candidate(
        "gc",
        "the garbage collector looks through all imports again and again",
        "in the root conftest: gc.disable() at its top, and in pytest_collection_finish gc.freeze() and gc.enable() "
        "(`hasten run` does it unasked)",
        Variant(simulate={"collector": True}),
    )
    if os.environ.get("PYTHONDEVMODE") or os.environ.get("PYTHONMALLOC") == "debug":
        yield Candidate(
            "devmode",
            "Python's development mode is on",
            "PYTHONDEVMODE in one job of CI, not in all",
            Variant(env={"PYTHONDEVMODE": None, "PYTHONMALLOC": None}),
        )
