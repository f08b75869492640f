"""Runs a suite with plain pytest and pytest-cov, and with `hasten run`, and brings what was measured in one shape."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from conftest import INHERITED, find_program

# Workers, and where they come from. "" is a run in one process.
VARIANTS = {
    "one": ("-n0",),
    "n1": ("-n1",),
    "n2": ("-n2",),
    "early": ("-n2", "--start=early"),
    "spawn": ("-n2", "--start=spawn"),
}
# Whose tracer: hasten's where the interpreter has sys.monitoring, coverage.py's own when it is asked for.
ENGINES = {"own": {}, "ctrace": {"COVERAGE_CORE": "ctrace"}}
REPORT = "--cov-report=json:report.json"


class Measured:
    """What one run left."""

    def __init__(self, folder: Path, done: subprocess.CompletedProcess[str]) -> None:
        self.folder = folder
        self.status = done.returncode
        self.out = done.stdout
        self.err = done.stderr

    def text(self) -> str:
        return f"status {self.status} in {self.folder}\n{self.out}\n{self.err}"

    def files(self, name: str = "report.json") -> dict[str, Any]:
        """The "files" section of coverage.py's JSON report."""
        path = self.folder / name
        assert path.exists(), f"no {name}\n{self.text()}"
        found: dict[str, Any] = json.loads(path.read_text())["files"]
        return found

    def query(self, sql: str, name: str = ".coverage") -> list[tuple[Any, ...]]:
        path = self.folder / name
        assert path.exists(), f"no {name}\n{self.text()}"
        with closing(sqlite3.connect(path)) as db:
            return sorted(db.execute(sql))

    def contexts(self) -> list[str]:
        return [row[0] for row in self.query("select context from context")]

    def lines_by_context(self) -> set[tuple[str, str, int]]:
        """(context, file, line) of all that ran."""
        from coverage import CoverageData

        data = CoverageData(str(self.folder / ".coverage"))
        data.read()
        found = set()
        for path in data.measured_files():
            for line, contexts in data.contexts_by_lineno(path).items():
                found.update((context, os.path.basename(path), line) for context in contexts)
        return found

    def left(self) -> list[str]:
        """Names of data files, and of ours, that lie about."""
        found = [path.name for pattern in (".coverage*", ".hasten-cov*") for path in self.folder.glob(pattern)]
        return sorted(name for name in found if name != ".coveragerc")

    def lines(self, *wanted: str) -> list[str]:
        """Lines of the output that contain one of the words."""
        return [line for line in self.out.splitlines() if any(word in line for word in wanted)]


def environment(extra: dict[str, str] | None) -> dict[str, str]:
    found = {key: os.environ[key] for key in INHERITED if key in os.environ}
    return found | {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "100"} | (extra or {})


def execute(folder: Path, command: list[str], env: dict[str, str] | None = None, seconds: float = 60) -> Measured:
    done = subprocess.run(
        command, cwd=folder, env=environment(env), capture_output=True, text=True, errors="replace", timeout=seconds,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    return Measured(folder, done)


def forget(folder: Path) -> None:
    """Removes what an earlier run has left."""
    for pattern in (".coverage*", "report.json", "coverage.*", ".hasten"):
        for path in folder.glob(pattern):
            if path.name != ".coveragerc":
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def plainly(folder: Path, *args: str, env: dict[str, str] | None = None, fresh: bool = True) -> Measured:
    """pytest with pytest-cov and coverage.py's C tracer."""
    if fresh:
        forget(folder)
    command = [str(Path(sys.executable).with_name("pytest")), "-p", "no:hasten", "-p", "no:cacheprovider", *args]
    return execute(folder, command, ENGINES["ctrace"] | (env or {}))


def hasten(
    folder: Path, *args: str, env: dict[str, str] | None = None, fresh: bool = True, verb: str = "run"
) -> Measured:
    if fresh:
        forget(folder)
    return execute(folder, [find_program(), verb, "-p", "no:cacheprovider", *args], env)


EVERYWHERE = [(engine, variant) for engine in ENGINES for variant in VARIANTS]
