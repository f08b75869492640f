"""A pytest plugin for `hasten imports`: which functions of the user's each test calls, and what is imported in it.

``-p hasten.imports_needs`` with HASTEN_NEEDS, a folder, and HASTEN_NEEDS_ROOT, below which files are the user's. Each
process that runs tests writes ``PID.jsonl``, one line for each test, and ``PID.log``, a log of its imports from its
first test on (src/imports/log.h).
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Generator
from types import CodeType, FrameType
from typing import Any

import pytest

FOREIGN = ("/site-packages/", "/dist-packages/", "/lib/python3.", "/.venv/", "/venv/", "/.tox/", "/.nox/")


class Recorder:
    """Calls of functions below the root, since the last test began."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/") + "/"
        self.called: set[tuple[str, int]] = set()
        self.known: dict[str, bool] = {}
        self.tool = -1
        self.pid = 0
        self.disable: object = None

    def is_own(self, path: str) -> bool:
        own = self.known.get(path)
        if own is None:
            rest = path[len(self.root) - 1 :] if path.startswith(self.root) else ""
            own = self.known[path] = bool(rest) and not any(part in rest for part in FOREIGN)
        return own

    def on_start(self, code: CodeType, offset: int) -> object:
        if self.is_own(code.co_filename):
            self.called.add((code.co_filename, code.co_firstlineno))
        return self.disable

    def on_profile(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and self.is_own(frame.f_code.co_filename):
            self.called.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    def begin(self) -> None:
        self.called = set()
        if sys.version_info < (3, 12):
            sys.setprofile(self.on_profile)
            threading.setprofile(self.on_profile)
            return
        self.disable = sys.monitoring.DISABLE
        if self.tool < 0:
            self.tool = next(one for one in (3, 4, 5, 2, 0, 1) if sys.monitoring.get_tool(one) is None)
            sys.monitoring.use_tool_id(self.tool, "hasten imports")
            sys.monitoring.register_callback(self.tool, sys.monitoring.events.PY_START, self.on_start)
        sys.monitoring.set_events(self.tool, sys.monitoring.events.PY_START)
        sys.monitoring.restart_events()

    def end(self) -> set[tuple[str, int]]:
        if sys.version_info < (3, 12):
            sys.setprofile(None)
            threading.setprofile(None)
        else:
            sys.monitoring.set_events(self.tool, 0)
        return self.called


class Plugin:
    def __init__(self, folder: str, root: str) -> None:
        self.folder, self.recorder = folder, Recorder(root)

    def watch_imports(self) -> None:
        """In this process, when it is its first test: what is imported from now on comes after the fork."""
        if self.recorder.pid != os.getpid():
            from hasten import _native

            self.recorder.pid = os.getpid()
            _native.imports_start(os.path.join(self.folder, f"{os.getpid()}.log"))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.watch_imports()
        self.recorder.begin()
        try:
            return (yield)
        finally:
            called = sorted(self.recorder.end())
            with open(os.path.join(self.folder, f"{os.getpid()}.jsonl"), "a", encoding="utf-8") as file:
                file.write(json.dumps({"test": item.nodeid, "called": called}) + "\n")


def pytest_configure(config: pytest.Config) -> None:
    if "HASTEN_NEEDS" in os.environ:
        plugin = Plugin(os.environ["HASTEN_NEEDS"], os.environ["HASTEN_NEEDS_ROOT"])
        config.pluginmanager.register(plugin, "hasten-imports-needs")
