"""Runs a suite with plain pytest and with hasten, and says what differs.

The runs and the comparison are those of the corpus (bench/measure.py, recorder.py, compare.py): reports of every phase
with texts, sections, keywords and properties, warnings, JUnit file, summary, exit status. To these come the steps that
a generated suite writes down itself, in their order: fixtures, finalizers and hooks, and the state that they saw.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import sys

from generator import known
from generator.preloaded import Server
from generator.suite import Suite

BENCH = pathlib.Path(__file__).parents[3] / "bench"
sys.path.append(str(BENCH))

import compare  # noqa: E402
import measure  # noqa: E402

TIMEOUT_S = 60.0
INHERITED = ("HOME", "LD_LIBRARY_PATH", "ASAN_OPTIONS")
# Lines of the summary that time decides.
OF_TIME = re.compile(r"slowest|hasten: ")


@dataclasses.dataclass(frozen=True)
class Mode:
    """How hasten runs it. recorded: with the recorder and a JUnit file, which both listen to reports; else -rA only."""

    workers: int
    fuse: bool = True
    recorded: bool = True
    collectors: int = 1  # that collect side by side

    def __str__(self) -> str:
        several = "" if self.collectors == 1 else f" {self.collectors} collectors"
        return f"-n {self.workers}{'' if self.fuse else ' unfused'}{'' if self.recorded else ' -rA'}{several}"


PLAIN = "pytest"


@dataclasses.dataclass
class Run:
    """What one run left."""

    said: compare.Said
    steps: dict[str, list[str]]  # of steps.log and reports.log
    output: str
    raw: measure.Run


class Stage:
    """A folder in which suites are run, one after the other and always at the same path."""

    def __init__(self, folder: pathlib.Path, program: str, python: str = sys.executable, preload: bool = True) -> None:
        self.folder = folder.resolve()
        self.program = program
        self.python = python
        self.suite = self.folder / "suite"
        self.tmp = self.folder / "tmp"
        self.record, self.junit, self.output = (self.folder / name for name in ("record", "junit.xml", "output"))
        self.run: measure.Run | None = None  # what compare.read() asks for
        self.cpu_s = 0.0
        if (
            signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        ):  # a job in the background; pytest has its own view of that
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.server = Server(python) if preload else None

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        if self.server is not None:
            self.server.close()

    def play(self, suite: Suite, mode: Mode | str, recorded: bool = True) -> Run:
        """Runs the suite with plain pytest (mode PLAIN) or hasten."""
        self._clear()
        suite.write(self.suite)
        env = self._environment(mode) | suite.env
        first = list(suite.args)
        if suite.again is not None:
            self._once(mode, [*first, "-q"], env)
            for name in ("steps.log", "reports.log"):
                (self.suite / name).unlink(missing_ok=True)
        arguments = list(first if suite.again is None else suite.again)
        if recorded:
            env["HASTEN_BENCH_RECORD"] = str(self.record)
            arguments += ["-p", "recorder", f"--junitxml={self.junit}"]
        else:
            arguments += ["-rA"]
        self._once(mode, arguments, env)
        assert self.run is not None
        said = compare.read(self, self, recorded=True)
        said.finished = said.finished or not recorded
        return Run(said, self._steps(), self.output.read_text("utf-8", "replace"), self.run)

    def _clear(self) -> None:
        for folder in (self.suite, self.tmp):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for path in (self.record, self.junit, self.output):
            path.unlink(missing_ok=True)

    def _environment(self, mode: Mode | str) -> dict[str, str]:
        env = {key: os.environ[key] for key in INHERITED if key in os.environ}
        env |= {
            "PATH": f"{pathlib.Path(self.python).parent}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.tmp),
            "PYTHONPATH": str(BENCH),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "100",
        }
        if isinstance(mode, Mode):
            env["HASTEN_TEST_SEED"] = "1"
            if not mode.fuse:
                env["HASTEN_FUSE"] = "0"
            if mode.collectors > 1:
                env["HASTEN_TEST_COLLECTORS"] = str(mode.collectors)
        return env

    def _once(self, mode: Mode | str, arguments: list[str], env: dict[str, str]) -> None:
        if isinstance(mode, Mode):
            command = [self.program, "run", "--python", self.python, "-n", str(mode.workers)]
            if mode.workers > 1:
                command += ["--dist", "loadfile"]
            if mode.collectors > 1:
                command += ["--collect=parallel"]
        else:
            command = [self.python, "-m", "pytest", "-p", "no:hasten"]
        if self.server is not None and mode == PLAIN:
            found = self.server.run([*command[3:], *arguments], str(self.suite), env, str(self.output), TIMEOUT_S)
            self.run = measure.Run(found["status"], found["wall_s"], found["cpu_s"], 0.0, 0, [], found["timed_out"])
        else:
            self.run = measure.run([*command, *arguments], str(self.suite), env, str(self.output), timeout_s=TIMEOUT_S)
        self.cpu_s += self.run.cpu_s

    def _steps(self) -> dict[str, list[str]]:
        found = {}
        for name in ("steps.log", "reports.log"):
            path = self.suite / name
            found[name] = self.normal(path.read_text("utf-8")).splitlines() if path.exists() else []
        return found

    # ---- compare.Normaliser's part

    def normal(self, text: str) -> str:
        text = text.replace(str(self.tmp), "<tmp>").replace(str(self.folder), "<folder>")
        for pattern, replacement in NORMAL:
            text = pattern.sub(replacement, text)
        for pattern, replacement in compare.VOLATILE:
            text = pattern.sub(replacement, text)
        return text

    def deep(self, value):
        return compare.Normaliser.deep(self, value)

    def __call__(self, text: str) -> str:
        return self.normal(text)


NORMAL = (
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    # where values of arguments are wrapped depends on the length of a worker's folder for temporary files
    (re.compile(r"(?<=\S)\n(?=[a-z_]\w* = \S)"), ", "),
    (re.compile(r"(<MagicMock name='\w+' id=').*"), r"\1"),
    (re.compile(r"TempPathFactory\(.*?_policy='\w+'\)"), "TempPathFactory()"),  # workers have folders of their own
    # "fixture not found" lists what there is
    (re.compile(r"\b(hasten_ports?|hasten_resources|testrun_uid|worker_id), |, (hasten_ports?|hasten_resources|testrun_uid|worker_id)\b"), ""),
    (
        re.compile(
            r"(fixture '\w+' not found)\n(>? +available fixtures:.*\n?)?(>? +use 'pytest --fixtures.*)?"
            r"(\n*\[\+\d+ more lines?.*\])?"
        ),
        r"\1",
    ),
)


def differences(plain: Run, other: Run, mode: Mode, open_too: bool = False) -> list[compare.Difference]:
    """Everything in which the other run differs from plain pytest's. open_too: also what is known and not put right yet."""
    found = [
        d for d in compare.differences(plain.said, other.said) if not (d.field == "terminal" and OF_TIME.match(d.key))
    ]
    for name, expected in plain.steps.items():
        found += _step_differences(name, expected, other.steps[name], mode.workers > 1 or name == "reports.log")
    if other.raw.left or other.raw.timed_out:
        found.append(
            compare.Difference("left", "processes", "none", f"{other.raw.left}, timed out: {other.raw.timed_out}")
        )
    return known.news(found, plain, other, (*compare.DERIVED, "reports.log"), open_too)


def _step_differences(name: str, expected: list[str], got: list[str], by_file: bool):
    groups: dict[str, tuple[list[str], list[str]]] = {}
    for side, lines in enumerate((expected, got)):
        for line in lines:
            groups.setdefault(line.partition(": ")[0] if by_file else "", ([], []))[side].append(line)
    for file, (one, two) in groups.items():
        if by_file and not file.startswith("test_"):  # of a conftest.py: between the steps of several files
            one.sort()
            two.sort()
        if one != two:
            at = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
            context = [" | ".join(lines[max(0, at - 1) : at + 2]) or "(nothing more)" for lines in (one, two)]
            yield compare.Difference(name, f"{file} step {at + 1}", *context)


@dataclasses.dataclass
class Verdict:
    mode: Mode
    found: list[compare.Difference]
    plain: Run
    other: Run

    @property
    def fields(self) -> set[str]:
        return {difference.field for difference in self.found}


def check(stage: Stage, suite: Suite, modes: list[Mode], open_too: bool = False) -> list[Verdict]:
    """One verdict for each mode. What a second run of plain pytest says differently is not counted."""
    verdicts = []
    plains: dict[bool, Run] = {}
    for mode in modes:
        if mode.recorded not in plains:
            plains[mode.recorded] = stage.play(suite, PLAIN, mode.recorded)
        plain = plains[mode.recorded]
        other = stage.play(suite, mode, mode.recorded)
        found = differences(plain, other, mode, open_too)
        if found:
            found = _stable(stage, suite, plain, other, mode, found)
        verdicts.append(Verdict(mode, found, plain, other))
    return verdicts


def _stable(stage, suite, plain, other, mode, found):
    again = stage.play(suite, PLAIN, mode.recorded)
    unstable = {(d.field, d.key) for d in differences(plain, again, mode)}
    rest = [d for d in found if (d.field, d.key) not in unstable]
    if unstable and all(d.field in compare.DERIVED for d in rest):
        return []
    return rest


def modes_of(seed: int, suite: Suite, how_many: int) -> list[Mode]:
    """Of the ways in which this suite can be run, those that are this seed's turn; a fused one comes first."""
    turn = seed % 7
    if suite.together:
        ways = [Mode(1), Mode(1, fuse=False), Mode(1, recorded=False), Mode(0)]
    else:
        ways = [Mode(2), Mode(1), Mode(2, fuse=False), Mode(2, recorded=False), Mode(1, recorded=False)]
    if any(".subTest(" in text for text in suite.files.values()):  # known.is_letters() needs records
        ways = [way for way in ways if way.recorded]
    fused = [way for way in ways if way.fuse]
    first = fused[turn % len(fused)]
    rest = [way for way in ways if way != first]
    return [first, *rest[turn % len(rest) :], *rest[: turn % len(rest)]][:how_many]


def clear(folder: pathlib.Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
