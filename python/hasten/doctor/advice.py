"""What a rule proposes, and what became of it."""

from __future__ import annotations

import dataclasses
from typing import Any

from hasten.doctor.suite import AS_IT_IS, Variant


@dataclasses.dataclass
class IniEdit:
    """A setting of pytest in its configuration file. value: text, or a list (for addopts: words to append)."""

    name: str
    value: str | list[str]
    section: str = "pytest"  # or "coverage:run"
    file: str = ""  # of coverage's settings, in the suite's folder; "": pyproject.toml


@dataclasses.dataclass
class Saving:
    seconds: float = 0.0  # median over the pairs, times `scale`
    spread: float = 0.0  # median absolute deviation over the pairs, as a standard deviation
    n: int = 0
    sure: str = ""  # "certain", "likely" or "" (noise)
    share: float = 0.0  # of the time of the whole run
    scale: float = 1.0  # measured on a part of the suite, which stands for so much


@dataclasses.dataclass
class Candidate:
    """A change: where it was seen, how to try it, how to make it."""

    key: str
    title: str
    do: str  # what a person has to do
    variant: Variant = AS_IT_IS
    where: str = "run"  # "collect": its saving lies before the first test; "seen": what watched runs have measured
    clock: str = "quiet_s"  # or "wall_s", where several processes share the work, or "tests_s" of plain runs
    edits: list[IniEdit] = dataclasses.field(default_factory=list)  # what --fix does; none: code, or a command
    details: list[str] = dataclasses.field(default_factory=list)
    must_hold_reversed: bool = False  # the same outcomes in the reverse order, too
    warm: bool = False  # the first run of the variant does not count
    weight: tuple[str, ...] = ("tests",)  # what its saving is proportional to: see weight()
    tests: list[str] = dataclasses.field(default_factory=list)  # where it was seen; [] anywhere
    left_out: list[str] = dataclasses.field(default_factory=list)  # tests that the variant does not run
    judge: bool = False  # whether it can be done at all is for a person to say
    # ---- what became of it
    saving: Saving = dataclasses.field(default_factory=Saving)
    differences: list[str] = dataclasses.field(default_factory=list)  # outcomes that are not the same
    fixed: str = ""  # what --fix did


@dataclasses.dataclass
class Note:
    """Something to know that has no saving of its own."""

    key: str
    text: str
    details: list[str] = dataclasses.field(default_factory=list)


def weight(seen: dict[str, Any], what: tuple[str, ...]) -> float:
    """How much of something a watched run has had, in seconds; ("once",): it is there once in every run."""
    kind, *of = what
    if kind == "once":
        return 1.0
    if kind == "tests":
        return float(sum(sum(phases) for phases in seen["tests"].values()))
    if kind == "some tests":
        return float(sum(sum(seen["tests"].get(test, ())) for test in of))
    if kind == "sleep":
        return float(seen["sleeps"].get(of[0], (0, 0.0))[1])
    if kind == "retries":
        return float(sum(lost for _n, lost in seen["attempts"].values()))
    if kind == "gc":
        return float(seen["gc"]["tests"])
    fixture = next((f for f in seen["fixtures"] if f"{f['name']} {f['place']}" == of[0]), None)
    if fixture is None:
        return 0.0
    if kind == "teardown":
        return float(fixture["teardown_s"])
    seconds = float(fixture["setup_s"] + fixture["teardown_s"])
    return seconds * (1 - 1 / fixture["n"]) if kind == "again" and fixture["n"] else seconds


@dataclasses.dataclass
class Facts:
    """What is known about the suite when rules look at it."""

    seen: dict[str, Any]  # of watch.Watch.facts
    marks: dict[str, float]  # of a plain run, seconds since the start of the process
    total_s: float  # of a plain run
    floor_s: float  # less is not said; in seconds of what was seen, which may be a part
    args: list[str]
    workers: int
    outcomes: dict[str, str]
    imports: dict[str, Any] = dataclasses.field(default_factory=dict)  # of `hasten imports --collect --json`
    interpreters: list[Any] = dataclasses.field(default_factory=list)  # interpreters.Found
    same_lines: list[list[str]] = dataclasses.field(default_factory=list)  # tests, by what they run
    failed_before: dict[str, int] = dataclasses.field(default_factory=dict)  # of the history: times, by test
    n_tests: int = 0  # of the whole suite
    n_seen: int = 0  # of those, in the run that was looked at
    total_spread_s: float = 0.0  # where total_s is an estimate
    splits: dict[str, str] = dataclasses.field(default_factory=dict)  # where long tests can be cut

    @property
    def rootdir(self) -> str:
        return str(self.seen["rootdir"])

    @property
    def scale(self) -> float:
        """How much more the whole suite is than what was seen."""
        return self.n_tests / self.n_seen if self.n_seen and self.n_tests else 1.0

    def own(self, path: str) -> bool:
        """Below the suite's root and not in a library that is installed there."""
        return path.startswith(self.rootdir + "/") and "/site-packages/" not in path

    def short(self, place: str) -> str:
        return place.removeprefix(self.rootdir + "/")
