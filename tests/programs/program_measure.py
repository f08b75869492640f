"""Measures a program by coverage.py's C tracer and by hasten's collector, in one process, and says what differs.

A worker process (`python program_measure.py FOLDER`) takes programs as lines of JSON and answers each with one.
"""

from __future__ import annotations

import contextlib
import io
import json
import marshal
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import program_props
from coverage.jsonreport import JsonReporter

from hasten import monitor

KEYS = ("executed_lines", "missing_lines", "excluded_lines", "executed_branches", "missing_branches")
LONGEST = 5.0  # seconds of CPU for one report
DEFAULTS: dict[str, Any] = {"config_file": False, "data_file": None}


@contextlib.contextmanager
def by_ctrace(cov: coverage.Coverage) -> Iterator[None]:
    cov.start()
    try:
        yield
    finally:
        cov.stop()
        threading.settrace(None)  # type: ignore[arg-type]


@contextlib.contextmanager
def by_hasten(cov: coverage.Coverage) -> Iterator[None]:
    monitor.start(cov)
    try:
        yield
    finally:
        cov.stop()
        monitor.finish(cov)


COLLECTORS = {"ctrace": by_ctrace, "hasten": by_hasten}


class NeverEndingError(Exception):
    """coverage.py's parser of some nested `with` statements (7.17.3)."""


def never_ends(_signal: int, _frame: object) -> None:
    raise NeverEndingError


def report(cov: coverage.Coverage) -> dict[str, set[Any]]:
    out = io.StringIO()
    signal.signal(signal.SIGVTALRM, never_ends)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        JsonReporter(cov).report(None, out)
        (found,) = json.loads(out.getvalue())["files"].values()
    except (AssertionError, NeverEndingError) as error:  # on some programs it cannot report, whoever measured them
        found = {"executed_lines": [repr(error)]}
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return {key: {tuple(one) if isinstance(one, list) else one for one in found.get(key, ())} for key in KEYS}


def measured(
    path: Path, compiled: bytes, collector: str, branch: bool
) -> tuple[dict[str, set[Any]], set[int], set[Any]]:
    """What the report says, the lines that ran, and the arcs. Without branches the report follows from the lines."""
    cov = coverage.Coverage(branch=branch, include=[str(path)], **DEFAULTS)
    if collector == "ctrace":
        cov.set_option("run:core", "ctrace")
    code = marshal.loads(compiled)  # new code objects: nothing is known of them
    program_props.reset()
    with COLLECTORS[collector](cov), contextlib.suppress(BaseException):
        exec(code, {"__file__": str(path), "__name__": "__main__"})
    program_props.finish()
    data = cov.get_data()
    lines, arcs = data.lines(str(path)) or [], data.arcs(str(path)) or []
    said = report(cov) if branch else {}
    data.close()
    return said, set(lines), set(arcs)


def differences(path: Path, branch: bool) -> list[str]:
    compiled = marshal.dumps(compile(path.read_bytes(), str(path), "exec", dont_inherit=True))
    theirs, lines, arcs = measured(path, compiled, "ctrace", branch)
    ours, own_lines, own_arcs = measured(path, compiled, "hasten", branch)
    pairs = {key: (theirs[key], ours[key]) for key in theirs} | {"raw lines": (lines, own_lines)}
    mode = "branch" if branch else "lines"
    said = [
        f"{mode} {key}: only coverage.py {sorted(one - two)}, only hasten {sorted(two - one)}"
        for key, (one, two) in pairs.items()
        if one != two
    ]
    if said and branch and os.environ.get("RAW"):
        said.append(f"arcs only coverage.py {sorted(arcs - own_arcs)}")
        said.append(f"arcs only hasten {sorted(one for one in own_arcs - arcs if one[0] != one[1])}")
    return said


def main() -> None:
    folder = Path(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warnings.simplefilter("ignore")
    os.environ.pop("COVERAGE_CORE", None)
    for line in sys.stdin:
        asked = json.loads(line)
        path = folder / f"{asked['name']}.py"
        path.write_text(asked["text"])
        try:
            said = [one for branch in asked["branch"] for one in differences(path, branch)]
        except Exception as error:
            said = [f"failed: {error!r}"]
        if not said:
            path.unlink()
        answers.write(json.dumps({"name": asked["name"], "said": said}) + "\n")


if __name__ == "__main__":
    main()
