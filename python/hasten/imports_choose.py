"""Which of the user's import statements to make lazy: the sets that save most, one after another."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

from hasten.imports_edit import File, Refused, bound
from hasten.imports_graph import Graph, Profile, Saving
from hasten.imports_project import Project

LEAST_NS, LEAST_SHARE = 1_000_000, 0.01  # what an edit must add: a millisecond, and a part of the whole
MOST_UNITS = 60


@dataclasses.dataclass
class Candidate:
    at: int  # in the profile's list
    path: str
    line: int
    words: str
    reason: str = ""  # why not


@dataclasses.dataclass
class Edit:
    candidates: list[Candidate]
    predicted: Saving  # what it adds to those before it

    @property
    def name(self) -> str:
        return ", ".join(f"{one.words}" for one in self.candidates)


class Chooser:
    def __init__(self, profile: Profile, root: str, form: str) -> None:
        self.profile, self.root, self.form = profile, root, form
        self.graph = Graph(profile)
        self.project = Project(root)
        self.files: dict[str, File | str] = {}
        self.candidates: list[Candidate] = []
        self.refused: list[Candidate] = []
        self.has_typing = False  # it is loaded whatever becomes lazy

    def file(self, path: str, module: str) -> File:
        if path not in self.files:
            try:
                self.files[path] = File(path, module)
            except (OSError, SyntaxError, ValueError, LookupError) as failure:
                self.files[path] = f"its source cannot be read: {type(failure).__name__}"
        found = self.files[path]
        if isinstance(found, str):
            raise Refused(found)
        return found

    def look(self) -> None:
        """Sorts the user's statements into those that may be changed, and those that may not."""
        seen: dict[tuple[str, int], Candidate] = {}
        for at, one in enumerate(self.profile["statements"]):
            if not one.get("own") or one.get("function") or one.get("call"):
                continue
            place = (one["file"], one["line"])
            if place in seen:
                continue
            candidate = seen[place] = Candidate(at, *place, words=", ".join(one["imports"]))
            try:
                self._judge(candidate, one)
                self.candidates.append(candidate)
            except Refused as reason:
                candidate.reason = str(reason)
                self.refused.append(candidate)
        left = {one["name"] for one in self.profile["modules"]} - set(self._saving([*range(len(self.candidates))]).gone)
        self.has_typing = "typing" in left

    def _judge(self, candidate: Candidate, statement: dict[str, Any]) -> None:
        importer = statement["importer"]
        file = self.file(candidate.path, importer)
        candidate.words = file.words(candidate.line)
        file.check(candidate.line, self.form)
        for name in sorted(set(bound(file.statement(candidate.line)))):
            if self.form == "function" or file.is_init:
                who = self.project.who_uses(candidate.path, importer, name)
                if who and self.form == "function":
                    raise Refused(who)
        with contextlib.suppress(ImportError):  # without libcst that is said when something is to be changed
            file.edited([candidate.line], self.form)

    def _units(self) -> list[list[int]]:
        """Sets of candidates (numbers in the list) that may save together."""
        by_target: dict[str, list[int]] = {}
        for number, one in enumerate(self.candidates):
            for target in self.profile["statements"][one.at]["imports"]:
                for key in {target, target.partition(".")[0]}:
                    members = by_target.setdefault(key, [])
                    if number not in members:
                        members.append(number)
        units = {tuple(members) for members in by_target.values()}
        units |= {(number,) for number in range(len(self.candidates))}
        return [list(unit) for unit in units]

    def _saving(self, numbers: list[int]) -> Saving:
        return self.graph.without([self.candidates[number].at for number in numbers])

    def choose(self, most: int) -> list[Edit]:
        least = max(LEAST_NS, sum(self.graph.cpu_ns) * LEAST_SHARE)
        units = sorted(self._units(), key=lambda unit: (-self._saving(unit).cpu_ns, unit))
        # What is saved by none of the many is saved by none of the rest either, but for what two of them share.
        units = units[:MOST_UNITS]
        chosen: list[int] = []
        before = Saving(0, 0, ())
        edits: list[Edit] = []
        while len(edits) < most:
            options = [(self._saving([*chosen, *unit]), unit) for unit in units if not set(unit) <= set(chosen)]
            best = max(options, key=lambda one: (one[0].cpu_ns, -len(one[1])), default=None)
            if best is None or best[0].cpu_ns - before.cpu_ns < least:
                break
            unit = self._smallest(chosen, [one for one in best[1] if one not in chosen], best[0].cpu_ns)
            after = self._saving([*chosen, *unit])
            chosen += unit
            edits.append(Edit([self.candidates[one] for one in unit], difference(after, before)))
            before = after
        return edits

    def _smallest(self, chosen: list[int], unit: list[int], cpu_ns: int) -> list[int]:
        """Without statements that add nothing to the rest of them."""
        for one in list(unit):
            rest = [other for other in unit if other != one]
            if rest and self._saving([*chosen, *rest]).cpu_ns >= cpu_ns - LEAST_NS // 10:
                unit = rest
        return unit


def difference(after: Saving, before: Saving) -> Saving:
    gone = set(before.gone)
    return Saving(
        after.cpu_ns - before.cpu_ns,
        after.bytes - before.bytes,
        tuple(name for name in after.gone if name not in gone),
    )
