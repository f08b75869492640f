"""One page for people, and JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from hasten.doctor.advice import Candidate, Facts, Note


@dataclasses.dataclass
class Part:
    """A line of what the time is made of."""

    name: str
    seconds: float
    inside: bool = False  # of the part above it


@dataclasses.dataclass
class Page:
    n_tests: int
    total_s: float
    parts: list[Part]
    candidates: list[Candidate]
    notes: list[Note]
    n_runs: int
    took_s: float
    diff: str = ""
    total_spread_s: float = 0.0  # where the total is an estimate

    def advice(self) -> list[Candidate]:
        """What pays and keeps all outcomes, the largest saving first."""
        return [c for c in self.candidates if c.saving.sure and not c.differences and not c.judge]

    def to_judge(self) -> list[Candidate]:
        return [c for c in self.candidates if c.saving.sure and not c.differences and c.judge]

    def could_save(self) -> float:
        """Not the sum: changes can save the same time."""
        return max((c.saving.seconds for c in self.advice() if not c.fixed.startswith("kept")), default=0.0)


def parts(facts: Facts, candidates: Sequence[Candidate] = ()) -> list[Part]:
    marks, seen, more = facts.marks, facts.seen, facts.scale
    total = marks["ended"]
    phases = [more * sum(one[i] for one in seen["tests"].values()) for i in range(3)]
    scopes: dict[str, float] = {}
    for fixture in seen["fixtures"]:
        name = f"fixtures of scope {fixture['scope']}"
        scopes[name] = scopes.get(name, 0.0) + more * (fixture["setup_s"] + fixture["teardown_s"])
    costly = sorted(seen["fixtures"], key=lambda f: -f["setup_s"] - f["teardown_s"])[:3]
    slept = sum(seconds for _n, seconds in seen["sleeps"].values())
    reached = sum(one[3] for one in seen["connections"])
    again = sum(seconds for _n, seconds in seen["attempts"].values())
    rows = [
        Part("start of Python and pytest", marks["loaded"]),
        Part("plugins, conftests, configuration", marks["configured"] - marks["loaded"]),
        Part("collection", marks["collected"] - marks["configured"]),
        Part("garbage collector until then", seen["gc"]["before"], True),
        Part("tests", marks["ran"] - marks["collected"]),
        Part("calls", phases[1], True),
        Part("set-up", phases[0], True),
        Part("teardown", phases[2], True),
        *(Part(name, seconds, True) for name, seconds in sorted(scopes.items())),
        *(
            Part(f"fixture {f['name']} ({f['scope']}, {f['n']} times)", more * (f["setup_s"] + f["teardown_s"]), True)
            for f in costly
        ),
        Part("sleeping", more * slept, True),
        Part("reaching other machines", more * reached, True),
        Part("attempts that failed and were repeated", more * again, True),
        Part("garbage collector", more * seen["gc"]["tests"], True),
        *(
            Part("coverage (by runs without it)", one.saving.seconds, True)
            for one in candidates
            if one.key == "coverage" and one.saving.sure
        ),
        Part("end of the session", marks["ended"] - marks["ran"]),
    ]
    least = 0.005 * total
    return [row for row in rows if row.seconds >= least or not row.inside]


def _saving(candidate: Candidate) -> str:
    saving = candidate.saving
    spread = f"+-{saving.spread:.2f}"
    if saving.n == 1:
        spread = "(once)"
    unit = " CPU" if candidate.clock == "cpu_s" else ""
    return f"{saving.seconds:7.2f} s{unit} {spread:>7}  {saving.share * 100:3.0f} %  {saving.sure:8}"


def _entry(candidate: Candidate) -> list[str]:
    lines = [f"{_saving(candidate)}  {candidate.title}", f"{'':36}-> {candidate.do}"]
    lines += [f"{'':39}{detail}" for detail in candidate.details]
    if candidate.fixed:
        lines.append(f"{'':36}{candidate.fixed}")
    return lines


def text(page: Page) -> str:
    lines = [f"{page.n_tests} tests, {page.total_s:.2f} s as they run now", "", "what the time is made of"]
    if page.total_spread_s:
        lines[0] = f"{page.n_tests} tests, about {page.total_s:.0f} s +-{page.total_spread_s:.0f} (from a part of them)"
    for part in page.parts:
        share = part.seconds / page.total_s * 100 if page.total_s else 0.0
        lines.append(f"  {'  ' * part.inside}{part.name:{50 - 2 * part.inside}} {part.seconds:7.2f} s {share:4.0f} %")
    advice = page.advice()
    lines += ["", "what a change would save, measured" if advice else "no change that was tried would save anything"]
    for candidate in advice:
        lines += _entry(candidate)
    if page.to_judge():
        lines += ["", "time that is spent; whether it has to be is for you to say"]
        for candidate in page.to_judge():
            lines += _entry(candidate)
    refused = [c for c in page.candidates if c.saving.sure and c.differences]
    if refused:
        lines += ["", "would save time, but changes outcomes"]
        for candidate in refused:
            lines += [f"{_saving(candidate)}  {candidate.title}", *(f"{'':36}{d}" for d in candidate.differences[:3])]
            if len(candidate.differences) > 3:
                lines.append(f"{'':36}and {len(candidate.differences) - 3} more")
    if page.notes:
        lines += ["", "also seen"]
        for note in page.notes:
            lines += [f"  {note.text}", *(f"    {detail}" for detail in note.details)]
    if page.diff:
        lines += ["", page.diff.rstrip()]
    lines += ["", f"({page.n_runs} runs, {page.took_s:.0f} s)"]
    return "\n".join(lines)


def as_json(page: Page) -> str:
    def plain(value: Any) -> Any:
        return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value

    fields = {field.name: getattr(page, field.name) for field in dataclasses.fields(page)}
    data = {k: [plain(one) for one in v] if isinstance(v, list) else v for k, v in fields.items()}
    data["could_save_s"] = page.could_save()
    for one, candidate in zip(data["candidates"], page.candidates, strict=True):
        one["advised"] = candidate in page.advice()
    return json.dumps(data, indent=1)
