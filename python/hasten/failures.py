"""What a failing test costs: its file is parsed once per worker, not once per failure. The text shown is the same.

pytest asks the syntax tree of a whole file for the statement of every traceback entry. Known by identity: the functions
replaced here are pytest's own of a version that was looked at, patched by nobody. ``HASTEN_FUSE=0``: off.
"""

from __future__ import annotations

import ast
import bisect
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from _pytest import _code

from hasten import switch

KNOWN_PYTEST = ("8.4.", "9.0.", "9.1.", "9.2.")
MOST_CHARACTERS = 400_000  # of source text whose trees are kept; a tree takes about 50 times its text
MOST_FILES = 32  # whose stripped lines are kept
LINES = "_hasten_lines"

code: Any = sys.modules[_code.Code.__module__]
source: Any = sys.modules[_code.Source.__module__]


def install(config: pytest.Config | None = None) -> bool:
    """False where it is off, or where pytest is not as known."""
    if switch.is_off(config) or not pytest.__version__.startswith(KNOWN_PYTEST):
        return False
    original = source.getstatementrange_ast
    if code.getstatementrange_ast is not original or not _is_own(original):
        return False
    if not hasattr(source, "_statement_linenos"):  # before 9.2 every question walked through the whole tree
        if not _is_own(source.get_statement_startend2):
            return False
        source.get_statement_startend2 = statement_range
    replacement = Trees().asking(original)
    source.getstatementrange_ast = replacement
    code.getstatementrange_ast = replacement
    if code.findsource is source.findsource and _is_own(source.findsource):
        source.findsource = code.findsource = Lines().asking(source.findsource)
    path = code.Code.path
    if isinstance(path, property) and path.fget is not None and path.fget.__module__ == code.__name__:
        code.Code.path = _remembering(path.fget)
    return True


def _is_own(function: Any) -> bool:
    return inspect.isfunction(function) and function.__code__.co_filename == source.__file__


class Trees:
    """Syntax trees by text, the ones asked for last."""

    def __init__(self) -> None:
        self.trees: dict[str, ast.AST] = {}
        self.n_characters = 0

    def get(self, text: str) -> ast.AST | None:
        tree = self.trees.pop(text, None)
        if tree is not None:
            self.trees[text] = tree
        return tree

    def put(self, text: str, tree: ast.AST) -> None:
        self.trees[text] = tree
        self.n_characters += len(text)
        while self.n_characters > MOST_CHARACTERS and len(self.trees) > 1:
            oldest = next(iter(self.trees))
            del self.trees[oldest]
            self.n_characters -= len(oldest)

    def asking(self, original: Callable[..., tuple[ast.AST, int, int]]) -> Callable[..., tuple[ast.AST, int, int]]:
        def getstatementrange_ast(
            lineno: int, source: Any, assertion: bool = False, astnode: ast.AST | None = None
        ) -> tuple[ast.AST, int, int]:
            if astnode is not None:
                return original(lineno, source, assertion, astnode)
            text = str(source)
            tree = self.get(text)
            found = original(lineno, source, assertion, tree)
            if tree is None:
                self.put(text, found[0])
            return found

        return getstatementrange_ast


class Lines:
    """The stripped lines of files, by the list of lines that linecache has."""

    def __init__(self) -> None:
        self.of: dict[int, tuple[list[str], list[str]]] = {}  # id -> (the list, its lines stripped)

    def stripped(self, lines: list[str]) -> list[str]:
        """A list of its own for each caller."""
        found = self.of.get(id(lines))
        if found is None or found[0] is not lines or len(found[1]) != len(lines):
            if len(self.of) >= MOST_FILES:
                del self.of[next(iter(self.of))]
            found = self.of[id(lines)] = (lines, [line.rstrip() for line in lines])
        return found[1].copy()

    def asking(self, original: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def findsource(obj: Any) -> Any:
            try:
                lines, lineno = inspect.findsource(obj)
            except Exception:
                return original(obj)
            if type(lines) is not list:
                return original(obj)
            found = source.Source()
            found.lines = self.stripped(lines)
            found.raw_lines = lines
            return found, lineno

        return findsource


def _remembering(original: Callable[[Any], Any]) -> property:
    """``Code.path`` that keeps the path objects of absolute file names; whether a file is there is asked every time."""
    paths: dict[str, Path] = {}

    def path(self: Any) -> Any:
        name = self.raw.co_filename
        known = paths.get(name)
        if known is not None and known.exists():
            return known
        found = original(self)
        if isinstance(found, Path) and os.path.isabs(name):
            paths[name] = found
        return found

    return property(path)


def statement_range(lineno: int, node: ast.AST) -> tuple[int, int | None]:
    """First line of the statement that lineno belongs to and of the one that follows, from 0; as pytest 8.4 to 9.1."""
    lines = getattr(node, LINES, None)
    if lines is None:
        lines = sorted(_first_lines(node))
        setattr(node, LINES, lines)
    after = bisect.bisect_right(lines, lineno)
    return lines[after - 1], lines[after] if after < len(lines) else None


def _first_lines(tree: ast.AST) -> list[int]:
    """Where statements begin; decorators, and the lines with ``else`` and ``finally``, count as statements."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.ExceptHandler):
            found.append(node.lineno - 1)
            found += [decorator.lineno - 1 for decorator in getattr(node, "decorator_list", ())]
            for name in ("finalbody", "orelse"):
                block = getattr(node, name, None)
                if block:
                    found.append(block[0].lineno - 2)
    return found
