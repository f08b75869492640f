"""What has to be there before pytest reads its arguments: a plugin that ``addopts`` names is imported before ours.

Imported by the command that :class:`hasten.doctor.suite.Suite` starts, for runs that are watched and those in which
packages are not to be rewritten. It must not import :mod:`hasten.doctor.clock`, which pytest loads as a plugin.
"""

from __future__ import annotations

import time
from typing import Any

from _pytest.assertion import rewrite

rewritten: dict[str, float] = {}  # seconds of CPU time, by file


def watch() -> None:
    """Notes what is rewritten and not read from a cache."""
    original = rewrite._rewrite_test

    def rewrite_test(fn: Any, config: Any) -> Any:
        start = time.thread_time()
        try:
            return original(fn, config)
        finally:
            rewritten[str(fn)] = time.thread_time() - start

    rewrite._rewrite_test = rewrite_test


def leave(roots: list[str]) -> None:
    """Modules of these packages keep their asserts, as if their docstrings said PYTEST_DONT_REWRITE."""
    original, left = rewrite.AssertionRewritingHook.find_spec, set(roots)

    def find_spec(self: Any, name: str, path: Any = None, target: Any = None) -> Any:
        return None if name.partition(".")[0] in left else original(self, name, path, target)

    rewrite.AssertionRewritingHook.find_spec = find_spec  # type: ignore[method-assign]
