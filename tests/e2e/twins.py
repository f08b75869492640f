"""Runs a suite with plain pytest and with `hasten run`, each in a fresh copy, and puts both results in one shape.

What is brought to one shape, because it differs between any two runs or between one process and several: times, paths
of the copies, addresses, the order of tests, the worker's name in a line of -v. docs/reference/differences.md tells
people the same.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

from conftest import INHERITED, find_program

SUITES = Path(__file__).parent.parent / "suites"
WORDS = "PASSED|FAILED|SKIPPED|XFAIL|XPASS|ERROR|RERUN|HOOKED|SUBPASSED|SUBFAILED|SUBSKIPPED|SUBXFAIL"
TITLE = re.compile(r"^(=+|_+|-+|!+) ?(.*?) ?(\1|=+|_+|-+|!+)$")
BLOCK = re.compile(r"^_{3,} [^_].* _{3,}$")
# pytest's terminal reporter writes the letter of a failed subTest while output is captured.
OF_PYTEST_ITSELF = ("-" * 49 + " Captured stdout call " + "-" * 49 + "\nu",)
COUNTS = re.compile(r"(\d+ \w+|no tests ran).* in [\d.]+ ?s")
NORMAL = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"0x[0-9a-f]{6,}"), "0x0"),
    (re.compile(r"pytest-of-[^/\s]+/pytest-\d+"), "TMP"),
    (re.compile(r"/popen-gw\d+"), ""),
    (re.compile(r"\b\d+\.\d+(s| seconds)"), "N s"),
    (re.compile(r"\[gw\d+\] [^\n]*? -- Python [^\n]*\n"), ""),
    (re.compile(r"  File \"[^\n]*/hasten/\w+\.py\", line \d+, in .*\n(    .*\n)+"), ""),
    (re.compile(r"oldfd=\d+"), "oldfd=N"),
    (re.compile(r", (hasten_ports?|hasten_resources|testrun_uid|worker_id)\b"), ""),
    (re.compile(r"\d\d:\d\d:\d\d(\.\d+)?"), "TIME"),
)


def normal(text: str, folder: str) -> str:
    text = text.replace(folder, "DIR")
    for pattern, instead in NORMAL:
        text = pattern.sub(instead, text)
    return text


@dataclasses.dataclass
class Result:
    folder: Path
    status: int
    out: str
    err: str
    reports: list[dict[str, Any]]

    @property
    def raw(self) -> str:
        return f"--- {self.folder.parent.name}: status {self.status}\n{self.out}\n{self.err}"

    def text(self) -> str:
        return normal(self.out, str(self.folder))

    # ---- parts of the terminal's text

    def sections(self) -> dict[str, list[str]]:
        """Lines of each part between ==== titles ====; the part before the first test is 'test session starts'."""
        parts: dict[str, list[str]] = {"": []}
        title = ""
        for line in self.text().split("\n"):
            found = TITLE.match(line)
            if found and line[0] in "=!" and len(line) > 20:
                title = found[2]
                if COUNTS.search(line.replace("N s", "0.1s")) or " in N s" in line:
                    parts["counts"] = [re.sub(r" in N s.*", "", title)]
                    title = "after"
                parts.setdefault(title, [])
            else:
                parts[title].append(line)
        return parts

    def counts(self) -> dict[str, int]:
        """{'passed': 3, ...} of the last line that counts."""
        line = next((x for x in reversed(self.text().split("\n")) if " in N s" in x), "")
        return {word.rstrip("s"): int(n) for n, word in re.findall(r"(\d+) (\w+)", line.partition(" in N s")[0])}

    def short_summary(self) -> Counter[str]:
        lines = next((v for k, v in self.sections().items() if k.startswith("short test summary")), [])
        return Counter(
            line for line in lines if line.strip() and not line.startswith("hasten: ") and " in N s" not in line
        )

    def blocks(self, title: str) -> Counter[str]:
        """The ____ blocks ____ of FAILURES, ERRORS, PASSES; their lines where there are none (--tb=line)."""
        found: Counter[str] = Counter()
        lines = self.sections().get(title, [])
        if not any(BLOCK.match(line) for line in lines):
            return Counter(lines)
        block: list[str] = []
        for line in [*lines, "____ end ____"]:
            if BLOCK.match(line):
                if block and "\n".join(block[1:]).strip() not in OF_PYTEST_ITSELF:
                    found["\n".join(block).rstrip()] += 1
                block = []
                line = line.strip("_ ")
            block.append(line)
        return found

    def warnings(self) -> set[tuple[frozenset[str], str]]:
        """Each warning of the summary: where it came from, and its text."""
        groups = "\n".join(self.sections().get("warnings summary", [])).split("\n\n")
        found = set()
        for group in groups:
            lines = [line for line in group.split("\n") if line and not line.startswith("-- Docs")]
            places = frozenset(line for line in lines if not line.startswith("  "))
            if lines:
                found.add((places, "\n".join(line for line in lines if line.startswith("  "))))
        return found

    def words(self) -> Counter[tuple[str, str]]:
        """Of -v: (id, word) of each test."""
        found: Counter[tuple[str, str]] = Counter()
        for line in "\n".join(self.sections().get("test session starts", [])).split("\n"):
            plain = re.match(rf"^(\S.*?) ((?:{WORDS})\b.*?)( +\[ *\d+%\])?$", line)
            if plain:
                found[plain[1], plain[2].strip()] += 1
        return found

    # ---- what it leaves

    def junit(self, name: str = "junit.xml") -> Any:
        root = ET.parse(self.folder / name).getroot()
        return _shape(root, str(self.folder))

    def cache(self, name: str) -> Any:
        path = self.folder / ".pytest_cache" / "v" / name
        found = json.loads(path.read_text()) if path.exists() else None
        if isinstance(found, dict) and name == "cache/stepwise":
            found.pop("last_cache_date_str", None)
        return sorted(found) if isinstance(found, list) else found

    def phases(self) -> Counter[str]:
        """Every report that the reporting process saw, as text in one shape."""
        for report in self.reports:  # see OF_PYTEST_ITSELF
            report["sections"] = [s for s in report.get("sections", ()) if not re.match(r"(u$|SUBPASSED)", s[1])]
        return Counter(normal(json.dumps(r, sort_keys=True), str(self.folder)) for r in self.reports)


def _shape(element: ET.Element, folder: str) -> Any:
    """Element as (tag, attributes, text, children), times aside, test cases in the order of their names."""
    without = ("time", "timestamp", "hostname")
    attributes = {k: normal(v, folder) for k, v in element.attrib.items() if k not in without}
    children = [
        _shape(child, folder) for child in element if (child.text or "").strip("\nu") or child.tag != "system-out"
    ]
    if element.tag in ("testsuite", "testsuites", "properties"):
        children.sort(key=repr)
    return element.tag, attributes, normal(element.text or "", folder).strip(), children


class Twins:
    """Both runs of one suite."""

    def __init__(self, tmp_path: Path, source: Path) -> None:
        self.folders = {}
        for name in ("pytest", "hasten"):
            self.folders[name] = tmp_path / name / "suite"
            shutil.copytree(source, self.folders[name], ignore=shutil.ignore_patterns("__pycache__", ".pytest_cache"))

    def run(
        self,
        *args: str,
        record: bool = False,
        env: dict[str, str] | None = None,
        workers: tuple[str, ...] = ("-n", "2"),
    ) -> tuple[Result, Result]:
        """Of plain pytest and of hasten. args: pytest's. record: Result.reports is wanted."""
        python = sys.executable
        commands = {
            "pytest": [str(Path(python).with_name("pytest"))],
            "hasten": [find_program(), "run", "--python", python, *workers],
        }
        started = {}
        for name, command in commands.items():
            folder = self.folders[name]
            environment = {key: os.environ[key] for key in INHERITED if key in os.environ}
            environment |= {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "120", "TMPDIR": str(folder.parent)} | (
                env or {}
            )
            arguments = [*command, *args]
            if record:
                environment["REPORTS"] = str(folder.parent / "reports")
                environment["PYTHONPATH"] = str(Path(__file__).parent)
                arguments += ["-p", "report_writer"]
            started[name] = subprocess.Popen(
                arguments, cwd=folder, env=environment, text=True, errors="replace",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        return self._result("pytest", started["pytest"]), self._result("hasten", started["hasten"])

    def _result(self, name: str, process: subprocess.Popen[str]) -> Result:
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{name} was still running after 60 s\n{out}\n{err}") from None
        path = self.folders[name].parent / "reports"
        reports = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        path.unlink(missing_ok=True)
        return Result(self.folders[name], process.returncode, out, err, reports)
