"""One case of the plugin matrix: a plugin, a small suite that uses its main function, and what is compared.

A suite runs with plain pytest and with `hasten run -n 2`, each time in a folder of its own and with only the named
plugins loaded, in the environment of HASTEN_PLUGIN_PYTHON (`make plugins` prepares one, see requirements.txt).
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import textwrap
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "ASAN_OPTIONS")
TIME_LIMIT_S = 120
Report = dict[str, Any]


@dataclasses.dataclass
class Result:
    """What one run left."""

    folder: Path
    status: int
    out: str
    err: str
    reports: dict[str, list[Report]]  # by node id, in order

    def text(self) -> str:
        return f"exit status {self.status} in {self.folder}\n{self.out}\n{self.err}"

    def read(self, name: str) -> str:
        path = self.folder / name
        assert path.exists(), f"{name} was not written\n{self.text()}"
        return path.read_text()

    def json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def names(self, pattern: str) -> list[str]:
        """Files in the suite's folder that fit the pattern, relative to it."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.glob(pattern))

    def counts(self) -> str:
        """'1 failed, 2 passed' of the last line."""
        found = re.findall(r"^=* ?((?:\d+ [a-z]+(?:, )?)+) in [\d.]+s", self.out, re.MULTILINE)
        return ", ".join(sorted(found[-1].split(", "))) if found else ""

    def outcomes(self) -> dict[str, str]:
        """Phases and outcomes of each test, as 'setup passed, call failed, teardown passed'."""
        return {
            nodeid: ", ".join(f"{r['when']} {r['outcome']}" for r in reports)
            for nodeid, reports in self.reports.items()
        }

    def lines(self, pattern: str) -> list[str]:
        """Lines of the output in which the pattern is found, sorted, without times and paths."""
        return sorted(self.clean(line) for line in self.out.splitlines() if re.search(pattern, line))

    def clean(self, text: str) -> str:
        """Text without what differs between any two runs."""
        short = re.sub(
            r"pytest-of-[^/\s]+/pytest-\d+(/popen-gw\d+)?", "TMP", str(self.folder)
        )  # as the recorder writes it
        text = text.replace(str(self.folder), "<folder>").replace(short, "<folder>")
        text = re.sub(r"pytest-of-[^/\s]+/pytest-\d+(/popen-gw\d+)?", "<tmp>", text)
        text = re.sub(r"\bpid=\d+", "pid=N", text)
        text = re.sub(r"0x[0-9a-f]{6,}", "0x", text)
        text = re.sub(r"\b\d+\.\d+ ?(s|seconds)\b", "N s", text)
        return re.sub(r"\[gw\d\] ", "", text)


def nothing(_result: Result) -> None:
    return None


@dataclasses.dataclass
class Case:
    """A row of the matrix."""

    name: str  # the distribution, as in requirements.txt
    plugins: tuple[str, ...]  # loaded by -p, and nothing else
    files: dict[str, str]
    args: tuple[str, ...] = ()
    artefacts: Callable[[Result], Any] = nothing  # what must be equal to plain pytest's
    starts: tuple[str, ...] = ("template", "early")
    env: dict[str, str] = dataclasses.field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None
    passes: int = 1  # runs one after the other in one folder; the last one is compared
    note: str = ""  # a line that hasten must print
    holds: Callable[[Result], None] | None = None  # what must be true of each of hasten's runs
    variant: str = ""
    counts_differ: bool = False  # the summary's words, not outcomes
    against: str = "plain"  # "xdist": the plugin itself does otherwise in a worker; "": only holds() is asked

    @property
    def label(self) -> str:
        return self.name + (f"-{self.variant}" if self.variant else "")


def write_suite(case: Case, folder: Path) -> None:
    folder.mkdir(parents=True)
    files = {"pytest.ini": "[pytest]\n"} | case.files
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    if case.prepare:
        case.prepare(folder)


def environment(case: Case, record: Path) -> dict[str, str]:
    env = {key: os.environ[key] for key in INHERITED if key in os.environ}
    env |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "HASTEN_RECORD": str(record), "PYTHONDONTWRITEBYTECODE": "1"}
    return env | case.env


def read_reports(record: Path) -> dict[str, list[Report]]:
    found: dict[str, list[Report]] = {}
    for line in record.read_text().splitlines() if record.exists() else ():
        data = json.loads(line)
        found.setdefault(data.pop("id"), []).append(data)
    return found


def run(case: Case, python: str, how: str, folder: Path) -> Result:
    """how: 'plain', 'xdist', or a start of hasten's."""
    write_suite(case, folder)
    record = folder.parent / f"{folder.name}.record"
    options = [option for name in ("hasten.recorder", *case.plugins) for option in ("-p", name)]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # of -p: what is loaded already differs
    if how in ("plain", "xdist"):
        workers = ("-p", "xdist", "-n", "2") if how == "xdist" else ()
        command = [python, "-m", "pytest", *options, *workers, *case.args]
    else:
        program = str(Path(python).with_name("hasten"))
        command = [program, "run", "--no-live", "-n", "2", "--start", how, *options, *case.args]
    for _ in range(case.passes):
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(case, record),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT_S,
            check=False,
        )
    return Result(folder, done.returncode, done.stdout, done.stderr, read_reports(record))


def report_differences(plain: list[Report], own: list[Report]) -> list[str]:
    if len(plain) != len(own):
        return [f"{len(plain)} reports from pytest, {len(own)} from hasten"]
    return [
        f"{a['when']}: {key}: {excerpt(str(a[key]), str(b.get(key)))}"
        for a, b in zip(plain, own, strict=True)
        for key in a
        if a[key] != b.get(key)
    ]


def excerpt(a: str, b: str) -> str:
    """Where two texts begin to differ."""
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    start = max(0, at - 60)
    return f"...{a[start : at + 120]!r} | ...{b[start : at + 120]!r}"


def differences(case: Case, plain: Result, own: Result) -> list[str]:
    """What hasten's run did otherwise than pytest's: one line each."""
    lines = []
    if plain.status != own.status:
        lines.append(f"exit status: {plain.status} from pytest, {own.status} from hasten")
    if plain.counts() != own.counts() and not case.counts_differ:
        lines.append(f"counts: {plain.counts()} | {own.counts()}")
    for nodeid in sorted(plain.reports.keys() | own.reports.keys()):
        cleaned = [
            [json.loads(result.clean(json.dumps(report))) for report in result.reports.get(nodeid, [])]
            for result in (plain, own)
        ]
        lines.extend(f"{nodeid}: {text}" for text in report_differences(*cleaned))
    a, b = case.artefacts(plain), case.artefacts(own)
    if a != b:
        lines.append(f"artefacts: {excerpt(str(a), str(b))}")
    if case.note and case.note not in own.out:
        lines.append(f"not said: {case.note}")
    if "INTERNALERROR" in own.out + own.err:
        lines.append("INTERNALERROR")
    return lines


def count(items: Any) -> dict[str, int]:
    return dict(Counter(map(str, items)))
