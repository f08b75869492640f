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


@dataclasses.dataclass
class Saving:
    seconds: float = 0.0  # median over the pairs
    spread: float = 0.0  # median absolute deviation over the pairs, as a standard deviation
    n: int = 0
    sure: str = ""  # "certain", "likely" or "" (noise)
    share: float = 0.0  # of the time of the whole run


@dataclasses.dataclass
class Candidate:
    """A change: where it was seen, how to try it, how to make it."""

    key: str
    title: str
    do: str  # what a person has to do
    variant: Variant = AS_IT_IS
    where: str = "run"  # "collect": its saving lies before the first test
    clock: str = "quiet_s"  # or "wall_s", where several processes share the work
    edits: list[IniEdit] = dataclasses.field(default_factory=list)  # what --fix does; none: code, or a command
    details: list[str] = dataclasses.field(default_factory=list)
    must_hold_reversed: bool = False  # the same outcomes in the reverse order, too
    warm: bool = False  # the first run of the variant does not count
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


@dataclasses.dataclass
class Facts:
    """What is known about the suite when rules look at it."""

    seen: dict[str, Any]  # of watch.Watch.facts
    marks: dict[str, float]  # of a plain run, seconds since the start of the process
    total_s: float  # of a plain run
    floor_s: float  # less is not said
    args: list[str]
    workers: int
    outcomes: dict[str, str]
    imports: dict[str, Any] = dataclasses.field(default_factory=dict)  # of `hasten imports --collect --json`

    @property
    def rootdir(self) -> str:
        return str(self.seen["rootdir"])

    def own(self, path: str) -> bool:
        """Below the suite's root and not in a library that is installed there."""
        return path.startswith(self.rootdir + "/") and "/site-packages/" not in path

    def short(self, place: str) -> str:
        return place.removeprefix(self.rootdir + "/")
