"""Makes a suite small that shows a difference, by leaving out what is not needed for it (ddmin)."""

from __future__ import annotations

import ast
import dataclasses
import pathlib
import shutil
from collections.abc import Callable

from generator.differential import Stage, Verdict, check
from generator.suite import Suite

FIXED = ("steps.py", "helper.py", "pytest.ini")


def ddmin(parts: list, still: Callable[[list], bool]) -> list:
    """A small sublist for which still() is true, given that it is for all parts."""
    size = max(1, len(parts) // 2)
    while parts:
        at = 0
        while at < len(parts):
            rest = parts[:at] + parts[at + size :]
            if still(rest):
                parts = rest
            else:
                at += size
        if size == 1:
            break
        size = max(1, size // 2)
    return parts


class Minimiser:
    """The difference is the same as long as it is in one of the fields of the first one."""

    def __init__(self, stage: Stage, verdict: Verdict, limit: int = 400) -> None:
        self.stage = stage
        self.mode = verdict.mode
        self.fields = {verdict.found[0].field}
        self.left = limit
        self.verdict = verdict

    def differs(self, suite: Suite) -> bool:
        if self.left <= 0:
            return False
        self.left -= 1
        (verdict,) = check(self.stage, suite, [self.mode])
        if verdict.fields & self.fields:
            self.verdict = verdict
            return True
        return False

    def run(self, suite: Suite) -> Suite:
        names = [n for n in suite.files if n not in FIXED]

        def of(kept: list[str]) -> Suite:
            return dataclasses.replace(suite, files={n: t for n, t in suite.files.items() if n in kept or n in FIXED})

        suite = of(ddmin(names, lambda kept: self.differs(of(kept))))
        suite = self._arguments(suite)
        suite = self._lines(suite, "pytest.ini")
        for depth in (0, 1, 2, 0):
            for name in [n for n in suite.files if n.endswith(".py") and n not in FIXED[:2]]:
                suite = self._statements(suite, name, depth)
        return suite

    def _arguments(self, suite: Suite) -> Suite:
        """-p and the like stay with their value."""
        words = suite.args if suite.again is None else suite.again
        groups: list[list[str]] = []
        for word in words:
            if groups and groups[-1][-1] in ("-p", "-W", "-k", "-m", "-o") and len(groups[-1]) == 1:
                groups[-1].append(word)
            else:
                groups.append([word])

        def of(kept: list[list[str]]) -> Suite:
            flat = [word for group in kept for word in group]
            if suite.again is None:
                return dataclasses.replace(suite, args=flat)
            return dataclasses.replace(suite, again=flat)

        return of(ddmin(groups, lambda kept: self.differs(of(kept))))

    def _lines(self, suite: Suite, name: str) -> Suite:
        head, *lines = suite.files[name].splitlines()

        def of(kept: list[str]) -> Suite:
            return dataclasses.replace(suite, files=suite.files | {name: "\n".join([head, *kept]) + "\n"})

        return of(ddmin(lines, lambda kept: self.differs(of(kept))))

    def _statements(self, suite: Suite, name: str, depth: int) -> Suite:
        """Leaves out statements of this depth (0: of the module)."""
        lines = suite.files[name].splitlines()
        try:
            spans = _spans(ast.parse(suite.files[name]), depth)
        except SyntaxError:
            return suite

        def of(kept: list[tuple[int, int]]) -> Suite:
            out = set()
            for first, last in spans:
                if (first, last) not in kept:
                    out |= set(range(first, last + 1))
            text = "\n".join(line for at, line in enumerate(lines, 1) if at not in out) + "\n"
            return dataclasses.replace(suite, files=suite.files | {name: _tidy(text)})

        return of(ddmin(spans, lambda kept: self.differs(of(kept))))


def _tidy(text: str) -> str:
    while "\n\n\n\n" in text:
        text = text.replace("\n\n\n\n", "\n\n\n")
    return text


def _spans(tree: ast.Module, depth: int) -> list[tuple[int, int]]:
    """First and last line of every statement of this depth and of every decorator above it."""
    level: list[ast.stmt] = list(tree.body)
    decorators: list[tuple[int, int]] = []
    for _ in range(depth):
        below: list[ast.stmt] = []
        for node in level:
            for field in ("body", "orelse", "finalbody"):
                below += getattr(node, field, [])
            decorators += [(d.lineno, d.end_lineno or d.lineno) for d in getattr(node, "decorator_list", ())]
        level = below
    found = []
    for node in level:
        first = min([node.lineno, *[d.lineno for d in getattr(node, "decorator_list", ())]])
        found.append((first, node.end_lineno or node.lineno))
    return sorted(found + decorators)


def keep(stage: Stage, suite: Suite, verdict: Verdict, folder: pathlib.Path) -> pathlib.Path:
    """Writes the small suite and what differs; returns its folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    minimiser = Minimiser(stage, verdict)
    small = minimiser.run(suite)
    small.save(folder)
    text = f"hasten run {minimiser.mode}, arguments {small.args}, then {small.again}\n\n"
    text += "\n".join(str(difference) for difference in minimiser.verdict.found)
    (folder / "differences").write_text(text + "\n", encoding="utf-8")
    return folder
