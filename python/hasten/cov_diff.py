"""``hasten cov diff BASE``: lines that were changed since a revision of git, and that no test ran.

git says which lines are new, coverage.py which of them are statements and ran; nothing is measured here.
"""

from __future__ import annotations

import argparse
import codecs
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

NOT_ALL, USAGE = 1, 4  # exit statuses
HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
GIT_DIFF = (
    "diff", "-U0", "--no-color", "--no-ext-diff", "--no-textconv", "--find-renames", "--diff-filter=ACMR",
    "--no-relative", "--src-prefix=a/", "--dst-prefix=b/",
)  # fmt: skip


class Refusal(Exception):  # noqa: N818
    """One line for people."""


def git(*args: str, folder: str | None = None) -> str:
    try:
        done = subprocess.run(
            ["git", *args], cwd=folder, capture_output=True, encoding="utf-8", errors="surrogateescape", check=False
        )
    except OSError as exc:
        raise Refusal(f"git cannot be started: {exc.strerror}") from None
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[0]
        raise Refusal(f"git: {reason}")
    return done.stdout


def path_of(text: str) -> str:
    """The name behind ``+++``: without its prefix, and without the quotes that git puts around odd characters."""
    text = text.rstrip("\t")
    if text.startswith('"'):
        raw = codecs.escape_decode(text[1:-1].encode("utf-8", "surrogateescape"))[0]
        text = raw.decode("utf-8", "surrogateescape")
    return text[2:]


def changed_lines(diff: str) -> dict[str, set[int]]:
    """Numbers of the new lines of each file in a diff without context; names are relative to the repository."""
    found: dict[str, set[int]] = {}
    current: set[int] = set()
    body = 0  # lines of the present hunk that are still to come
    for line in diff.split("\n"):
        if body and line[:1] in "+-":
            body -= 1
        elif line.startswith("+++ "):
            current = found.setdefault(path_of(line[4:]), set())
        elif hunk := HUNK.match(line):
            gone, first, new = int(hunk[1] or 1), int(hunk[2]), int(hunk[3] or 1)
            current.update(range(first, first + new))
            body = gone + new
    return found


def look_at_repository(base: str) -> dict[str, set[int]]:
    """Changed lines by absolute path; files that git does not know yet are new from top to bottom."""
    top = git("rev-parse", "--show-toplevel").rstrip("\n")
    if base.endswith("..."):
        base = git("merge-base", base[:-3], "HEAD").strip()
    if base.startswith("-"):
        raise Refusal(f"'{base}' is no revision")
    found = changed_lines(git("-c", "core.quotepath=off", *GIT_DIFF, base, "--", folder=top))
    for name in git("ls-files", "--others", "--exclude-standard", "-z", folder=top).split("\0"):
        if name.endswith(".py"):
            found[name] = set(range(1, _n_lines(os.path.join(top, name)) + 1))
    return {os.path.realpath(os.path.join(top, name)): lines for name, lines in found.items() if lines}


def _n_lines(path: str) -> int:
    try:
        with open(path, "rb") as file:
            return sum(1 for _ in file)
    except OSError:
        return 0


def ranges(lines: Iterable[int]) -> list[tuple[int, int]]:
    """[1, 2, 3, 7] -> [(1, 3), (7, 7)]"""
    found: list[tuple[int, int]] = []
    for line in sorted(lines):
        if found and found[-1][1] == line - 1:
            found[-1] = (found[-1][0], line)
        else:
            found.append((line, line))
    return found


class Result:
    """What came out. missing: by file, in the order of their names, changed lines that no test ran."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.missing: dict[str, list[tuple[int, int]]] = {}
        self.n_statements = 0
        self.n_missing = 0
        self.unmeasured: list[str] = []  # changed Python files of which the data knows nothing
        self.stale: list[str] = []  # changed after the data was measured

    def add(self, path: str, changed: set[int], reporter: Any, analysis: Any) -> None:
        statements = set(analysis.statements)
        missing = set(analysis.missing)
        of_line = {line: reporter.translate_lines({line}) for line in changed}
        firsts = set().union(*of_line.values()) if of_line else set()
        self.n_statements += len(firsts & statements)
        self.n_missing += len(firsts & missing)
        lines = [line for line, first in of_line.items() if first & missing]
        if lines:
            self.missing[path] = ranges(lines)

    def summary(self) -> str:
        if not self.n_statements:
            return f"no measured statement was changed since {self.base}"
        if not self.n_missing:
            return f"all {self.n_statements} statements that were changed since {self.base} were run"
        return f"{self.n_missing} of {self.n_statements} statements that were changed since {self.base} were not run"


def shown(path: str) -> str:
    """As people write it: from here where that is shorter."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def compare(base: str, data_file: str | None, rcfile: str | None) -> Result:
    try:
        coverage = importlib.import_module("coverage")
    except ImportError:
        raise Refusal("hasten cov needs coverage: pip install coverage") from None
    changed = look_at_repository(base)
    options = {"data_file": data_file} if data_file else {}
    try:
        cov = coverage.Coverage(config_file=rcfile or True, **options)
        where = cov.config.data_file
        if not os.path.exists(where):
            raise Refusal(f"there is no data file '{where}'; `hasten cov` writes one")
        cov.load()
        return _compare(base, changed, cov, os.path.getmtime(where))
    except coverage.CoverageException as exc:
        raise Refusal(str(exc)) from None


def _compare(base: str, changed: dict[str, set[int]], cov: Any, measured_at: float) -> Result:
    reports = importlib.import_module("coverage.report_core")
    result = Result(base)
    measured = {os.path.realpath(name): name for name in cov.get_data().measured_files()}
    result.unmeasured = sorted(shown(path) for path in changed if path.endswith(".py") and path not in measured)
    wanted = [measured[path] for path in changed if path in measured]
    if not wanted:
        return result
    cov.config.ignore_errors = True
    found = {os.path.realpath(reporter.filename): (reporter, a) for reporter, a in _analyses(reports, cov, wanted)}
    for path in sorted(found):
        if os.path.getmtime(path) > measured_at:
            result.stale.append(shown(path))
        result.add(shown(path), changed[path], *found[path])
    return result


def _analyses(reports: Any, cov: Any, names: list[str]) -> list[tuple[Any, Any]]:
    """Of those that the report section of the configuration does not leave out."""
    try:
        return list(reports.get_analysis_to_report(cov, names))
    except importlib.import_module("coverage.exceptions").NoDataError:
        return []


def span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def write_text(result: Result) -> None:
    for path, missing in result.missing.items():
        print(f"{path}: {', '.join(span(*pair) for pair in missing)}")
    if result.missing:
        print()
    print(result.summary())
    if result.unmeasured:
        print(f"not measured: {', '.join(result.unmeasured)}")


def write_json(result: Result) -> None:
    files = [{"file": path, "missing": missing} for path, missing in result.missing.items()]
    json.dump(
        {
            "base": result.base,
            "statements": result.n_statements,
            "missing": result.n_missing,
            "files": files,
            "not_measured": result.unmeasured,
        },
        sys.stdout,
        indent=1,
    )
    print()


def write_github(result: Result) -> None:
    """Annotations in the review; paths from the top of the repository, where the runner looks for them."""
    from hasten.github import _escape

    top = os.path.realpath(os.environ.get("GITHUB_WORKSPACE") or git("rev-parse", "--show-toplevel").rstrip("\n"))
    for path, missing in result.missing.items():
        name = _escape(os.path.relpath(os.path.realpath(path), top), ":,")
        for first, last in missing:
            lines = "no test runs this line" if first == last else f"no test runs lines {first} to {last}"
            print(f"::warning file={name},line={first},endLine={last},title=Not covered::{lines}")
    print(result.summary())


FORMATS = {"text": write_text, "json": write_json, "github": write_github}


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hasten cov diff",
        description="Lists lines that were changed since a revision of git and that no test ran, by the data of the "
        "last `hasten cov`. Ends with 1 when there are some.",
    )
    parser.add_argument("base", metavar="BASE", help="a revision, or REVISION... for where this branch left it")
    parser.add_argument("--format", choices=tuple(FORMATS), default="text", help="text, json or github (annotations)")
    parser.add_argument("--data-file", metavar="FILE", help="coverage.py's data file (default: as it is configured)")
    parser.add_argument("--rcfile", metavar="FILE", help="coverage.py's configuration")
    return parser


def main(argv: list[str]) -> int:
    parser = options()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        chosen = parser.parse_args(argv)
    except SystemExit as exc:
        return USAGE if exc.code else 0
    try:
        result = compare(chosen.base, chosen.data_file, chosen.rcfile)
        FORMATS[chosen.format](result)
    except Refusal as exc:
        print(f"hasten: {exc}", file=sys.stderr)
        return USAGE
    for path in result.stale:
        print(
            f"hasten: {path} was changed after the data was measured: its line numbers may be others", file=sys.stderr
        )
    return NOT_ALL if result.missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
