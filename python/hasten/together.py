"""Tests that plugins make depend on each other: kept on one worker in their order, or a whole run in one process."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import resource
import sys
from collections.abc import Iterator
from typing import Any

import pytest

PARTS = 32  # the other tests of such a run are handed out in about this many parts


def loaded(config: pytest.Config, *names: str) -> bool:
    return any(config.pluginmanager.hasplugin(name) for name in names)


def keys(config: pytest.Config, items: list[pytest.Item]) -> dict[pytest.Item, str]:
    """item -> key: items of one key belong on one worker, in the given order. Empty for nearly all suites."""
    found: dict[pytest.Item, str] = {}
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.get(key, key) != key:
            key = parent[key]
        return key

    for plugins, rule in RULES:
        if not loaded(config, *plugins):
            continue
        for item, key in rule(config, items):
            if item in found and root(found[item]) != root(key):
                parent[root(key)] = root(found[item])
            found.setdefault(item, key)
    return {item: root(key) for item, key in found.items()}


def _module_of(item: pytest.Item) -> str:
    return item.nodeid.split("::", 1)[0]


def _by_dependency(config: pytest.Config, items: list[pytest.Item]) -> Iterator[tuple[pytest.Item, str]]:
    """pytest-dependency keeps results per process: a module that uses it stays together, all that reach further too."""
    automark = bool(config.getini("automark_dependency"))
    users: dict[str, bool] = {}  # module -> reaches beyond itself
    for item in items:
        marks = list(item.iter_markers("dependency"))
        if marks or automark or _asks_at_run_time(item):
            wide = any(mark.kwargs.get("scope") in ("session", "package") for mark in marks)
            users[_module_of(item)] = users.get(_module_of(item), False) or wide
    wide = any(users.values())
    for item in items:
        if _module_of(item) in users:
            yield item, "dependency" if wide else "dependency " + _module_of(item)


def _asks_at_run_time(item: pytest.Item) -> bool:
    """pytest_dependency.depends() is called in a test or fixture of the module, which no mark tells."""
    module = getattr(item, "module", None)
    return getattr(getattr(module, "depends", None), "__module__", "") == "pytest_dependency"


def _by_order(_config: pytest.Config, items: list[pytest.Item]) -> Iterator[tuple[pytest.Item, str]]:
    """pytest-order: marked tests, and those that a mark names, one after the other."""
    named: set[str] = set()
    marked = set()
    for item in items:
        for mark in item.iter_markers("order"):
            marked.add(item)
            for side in (mark.kwargs.get("before", ()), mark.kwargs.get("after", ())):
                labels = (side,) if isinstance(side, str) else side
                named.update(label.replace(".", "::").rsplit("::", 1)[-1] for label in labels)
    for item in items:
        if item in marked or item.name.partition("[")[0] in named:
            yield item, "order"


def _by_process(_config: pytest.Config, items: list[pytest.Item]) -> Iterator[tuple[pytest.Item, str]]:
    """pytest-xprocess starts each server once for the project, under one name: one worker may own it."""
    for item in items:
        if "xprocess" in getattr(item, "fixturenames", ()):
            yield item, "xprocess"


RULES = (
    (("dependency", "pytest_dependency"), _by_dependency),
    (("pytest_order", "pytest_order.plugin"), _by_order),
    (("xprocess", "xprocess.pytest_xprocess"), _by_process),
)


def late(config: pytest.Config, items: list[pytest.Item]) -> set[pytest.Item]:
    """Those that pytest-django sorts behind the others that use a database: they leave it without any rows."""
    if not loaded(config, "django", "pytest_django.plugin") or not os.environ.get("DJANGO_SETTINGS_MODULE"):
        return set()
    found = {item for item in items if _flushes(item)}
    return found if len(found) < len(items) else set()


def _flushes(item: pytest.Item) -> bool:
    testing = sys.modules.get("django.test")
    cls = getattr(item, "cls", None)
    if testing is not None and isinstance(cls, type) and issubclass(cls, testing.TransactionTestCase):
        return not issubclass(cls, testing.TestCase)
    for mark in item.iter_markers("django_db"):
        given = dict(zip(("transaction", "reset_sequences"), mark.args, strict=False)) | dict(mark.kwargs)
        if given.get("transaction") or given.get("reset_sequences"):
            return True
        break  # the closest one counts
    names = getattr(item, "fixturenames", ())
    return "transactional_db" in names or "live_server" in names


class Groups:
    """The dense group numbers of a run in which some items have a key; other items form small groups of neighbours."""

    def __init__(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        self.keys = keys(config, items)
        self.size = max(1, len(items) // PARTS)
        self.path = ""
        self.in_part = 0
        self.part = 0

    def __bool__(self) -> bool:
        return bool(self.keys)

    def of(self, item: pytest.Item, path: str, affinity: int) -> str:
        key = self.keys.get(item)
        if key is not None:
            return "together " + key
        if affinity:
            return f"affinity {affinity}"
        if path != self.path or self.in_part >= self.size:
            self.path, self.in_part = path, 0
            self.part += 1
        self.in_part += 1
        return f"part {self.part}"


# Options of plugins that open a connection or a database in each process that they are configured in.
EARLY_OPTIONS = ("testmon", "testmon_noselect", "testmon_nocollect", "testmon_forceselect", "tmnet", "retries",
                 "max_suite_reruns")  # fmt: skip


def wants_early(option: Any) -> bool:
    """Known beforehand, so that nothing is collected in vain; the watch finds the rest."""
    return any(getattr(option, name, None) for name in EARLY_OPTIONS)


# ---- runs that make no sense in parallel

LEAST_FILE_SIZE = 256 << 20  # bytes; the shared memory of 60 workers has about 100 MiB (src/run/segment.h)
BENCHMARK_REASON = "pytest-benchmark's times are worth nothing beside other tests"


def serial_reason(config: pytest.Config, option: Any) -> str | None:
    """Why this run belongs in one process, found before anything is collected; None for nearly all runs."""
    if getattr(option, "gherkin_terminal_reporter", False):
        return "pytest-bdd's terminal reporter refuses parallel runs"
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    if most != resource.RLIM_INFINITY and most < LEAST_FILE_SIZE:
        return f"files, and so shared memory, may have {most} bytes at most (ulimit -f)"
    if not loaded(config, "benchmark", "pytest_benchmark.plugin"):
        return None
    off = getattr(option, "benchmark_skip", False)
    if getattr(option, "benchmark_disable", False) and not getattr(option, "benchmark_enable", False):
        off = True
    if off or not _names(config, option, re.compile(rb"\bbenchmark\b")):
        return None
    return BENCHMARK_REASON


def _names(config: pytest.Config, option: Any, word: re.Pattern[bytes]) -> bool:
    """Whether a test file or conftest.py among those to be collected contains the word."""
    patterns = [*config.getini("python_files"), "conftest.py"]
    return any(_contains(path, word) for path in test_files(config, option, patterns))


def test_files(config: pytest.Config, option: Any, patterns: list[str]) -> Iterator[str]:
    """Files of these names among those to be collected: quickly found, and nearly what pytest finds."""
    skipped = config.getini("norecursedirs")
    start = str(config.invocation_params.dir)
    args = [os.path.join(start, arg.split("::", 1)[0]) for arg in getattr(option, "file_or_dir", None) or ()]
    if not args and start == str(config.rootpath):
        args = [
            path for arg in config.getini("testpaths") for path in glob.glob(os.path.join(start, arg), recursive=True)
        ]
    for arg in args or [start]:
        yield from _files(arg, patterns, skipped)


def _files(arg: str, patterns: list[str], skipped: list[str]) -> Iterator[str]:
    if not os.path.isdir(arg):
        yield arg
    for folder, names, files in os.walk(arg):
        names[:] = [name for name in names if not any(fnmatch.fnmatch(name, pattern) for pattern in skipped)]
        if "pyvenv.cfg" in files:
            names.clear()
            continue
        yield from (os.path.join(folder, name) for name in files if any(fnmatch.fnmatch(name, p) for p in patterns))


def _contains(path: str, word: re.Pattern[bytes]) -> bool:
    try:
        with open(path, "rb") as f:
            return word.search(f.read()) is not None
    except OSError:
        return False


class Note:
    """Says in the header of a run in one process why it is one."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def pytest_report_header(self) -> str:
        return f"hasten: tests run in one process: {self.reason}"
