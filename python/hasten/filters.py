"""The recorder of a test's warnings: pytest's own context manager, open over all tests that have the same filters."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Callable
from typing import Any

import pytest


def _mutated() -> Callable[[], None]:
    """What says that the filters were changed."""
    module: Any = warnings
    if hasattr(module, "_filters_mutated"):
        changed: Callable[[], None] = module._filters_mutated
        return changed

    def locked() -> None:  # since Python 3.14
        with module._lock:
            module._filters_mutated_lock_held()

    return locked


class Filters:
    """marks: the arguments of the filterwarnings marks of the test that it was opened for; None without such marks."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.context: Any = None  # pytest's context manager, open
        self.log: list[warnings.WarningMessage] | None = None
        self.marks: tuple[Any, ...] | None = None
        self.sources: tuple[list[Any], ...] = ()

    def open(self, marks: tuple[Any, ...] | None) -> bool:
        """False when pytest cannot set up these filters: it has to say so itself."""
        if not self.config.pluginmanager.hasplugin("warnings"):
            return True
        from _pytest.warnings import catch_warnings_for_item

        outside: Any = warnings.filters
        given = self.config.known_args_namespace.pythonwarnings or []
        self.sources = (self.config.getini("filterwarnings"), given, outside)
        marked: Any = None if marks is None else _Marked(marks)
        context: Any = catch_warnings_for_item(self.config, self.config.hook, "runtest", marked)
        try:
            context.__enter__()
        except Exception:
            return False
        self.context, self.marks = context, marks
        self.log = context.gen.gi_frame.f_locals["log"]
        return True

    def close(self) -> None:
        if self.context is not None:
            context, log, self.context, self.log = self.context, self.log, None, None
            if log:  # of setting them up; what a test has recorded was taken before
                log.clear()
            context.__exit__(None, None, None)

    def take(self) -> list[warnings.WarningMessage]:
        """What was recorded."""
        recorded = list(self.log or ())
        if self.log:
            self.log.clear()
        return recorded

    def state(self) -> dict[str, Any]:
        """What filters.c looks at."""
        return {
            "log": self.log,
            "warnings": warnings,
            "mutated": _mutated(),
            "sources": self.sources,
            "categories": tuple(self._categories()),
        }

    def _categories(self) -> list[tuple[str, str, Any]]:
        """Classes of warnings that the filters name by their module."""
        ini, given, _outside = self.sources or ((), (), ())
        found = []
        for text in (*ini, *given, *(arg for args in self.marks or () for arg in args)):
            parts = str(text).split(":")
            module, _, name = parts[2].strip().rpartition(".") if len(parts) > 2 else ("", "", "")
            if module:
                found.append((sys.intern(module), sys.intern(name), getattr(sys.modules.get(module), name, None)))
        return found


class _Marked:
    """A test, as far as its filters go: marks that it got while it ran came too late. What is recorded is told by
    python/hasten/fuse.py."""

    nodeid = ""

    def __init__(self, marks: tuple[Any, ...]) -> None:
        self.marks = marks

    def iter_markers(self, name: str) -> list[types.SimpleNamespace]:
        return [types.SimpleNamespace(args=args) for args in self.marks]
