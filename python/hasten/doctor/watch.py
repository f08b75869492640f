"""Plugin of the one run that the doctor looks at from inside: fixtures, tests, sleeps, connections, plugins, folders.

It costs time; what is measured in it says where to look, not what would be saved.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Generator
from typing import Any

import pytest

from hasten.doctor import early, inventory
from hasten.doctor.clock import quiet_time

MANY = 20_000  # tests that are named for one thing
DRIVERS = {"psycopg", "psycopg2", "asyncpg", "pymysql", "MySQLdb", "redis", "django.db", "alembic", "sqlalchemy"}
_LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0", "::")


class Watch:
    def __init__(self) -> None:
        self.here = ""  # the folder of the suite
        self.test = ""
        self.collecting = False
        self.sleeps: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])  # "file:line": calls, seconds
        self.sleepers: dict[str, set[str]] = defaultdict(set)  # tests that slept there
        self.connections: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0])  # (address, place)
        self.sqlite: dict[str, set[str]] = defaultdict(set)  # files that tests connected to
        self.attempts: dict[str, list[float]] = {}  # of a test: set-ups, start of the first, start of the last
        self.gc: dict[str, float] = {"before": 0.0, "tests": 0.0}  # seconds of cyclic collections
        self.gc_start = 0.0
        self.ports: dict[str, set[str]] = defaultdict(set)  # bound by tests
        self.written: dict[str, set[str]] = defaultdict(set)  # files below the suite, by tests
        self.folders: dict[str, int] = defaultdict(int)  # read while collecting
        self.fixtures: dict[str, dict[str, Any]] = {}
        self.stack: list[float] = []  # seconds of what is nested in the set-up or teardown under way
        self.tests: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        self.items: list[pytest.Item] = []
        self.collected = False
        self._patch()

    # ---- what is replaced

    def _patch(self) -> None:
        real, real_async = time.sleep, asyncio.sleep

        def sleep(seconds: float, /) -> None:
            self._slept(sys._getframe(1), float(seconds))
            real(seconds)

        def async_sleep(delay: float, result: Any = None) -> Any:
            self._slept(sys._getframe(1), float(delay))
            return real_async(delay, result)

        time.sleep, asyncio.sleep = sleep, async_sleep  # type: ignore[assignment]
        sys.addaudithook(self._audit)
        gc.callbacks.append(self._collector)
        self._patch_network()
        self._patch_finish()

    def _slept(self, frame: Any, seconds: float) -> None:
        entry = self.sleeps[f"{frame.f_code.co_filename}:{frame.f_lineno}"]
        entry[0] += 1
        entry[1] += seconds
        if self.test:
            self.sleepers[f"{frame.f_code.co_filename}:{frame.f_lineno}"].add(self.test)

    def _collector(self, phase: str, _info: dict[str, int]) -> None:
        now = time.thread_time()
        if phase == "stop":
            self.gc["tests" if self.collected else "before"] += now - self.gc_start
        self.gc_start = now

    def _patch_network(self) -> None:
        """How long it takes to find and reach other machines."""
        watch, connect, resolve = self, socket.socket.connect, socket.getaddrinfo

        def timed_connect(self: Any, address: Any, /) -> Any:
            start = time.monotonic()
            try:
                return connect(self, address)
            finally:
                watch._reached(address, time.monotonic() - start)

        def timed_resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
            start = time.monotonic()
            try:
                return resolve(host, *args, **kwargs)
            finally:
                if isinstance(host, str) and not host.startswith(_LOOPBACK):
                    watch._reached((host, "name"), time.monotonic() - start, 1)

        socket.socket.connect = timed_connect  # type: ignore[method-assign]
        socket.getaddrinfo = timed_resolve

    def _reached(self, address: Any, seconds: float, n: int = 0) -> None:
        """n: connections are counted by the audit event, which C code raises, too."""
        if not isinstance(address, tuple) or not address[1:] or str(address[0]).startswith(_LOOPBACK):
            return
        entry = self.connections[f"{address[0]}:{address[1]}", self._own_place(3)]
        entry[0] += n
        entry[1] += seconds

    def _own_place(self, above: int) -> str:
        """The nearest line of the suite's own code."""
        frame: Any = sys._getframe(above)
        while frame is not None and not frame.f_code.co_filename.startswith(self.here + "/"):
            frame = frame.f_back
        return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else ""

    def _patch_finish(self) -> None:
        from _pytest.fixtures import FixtureDef

        original, watch = FixtureDef.finish, self

        def finish(self: Any, request: Any) -> None:
            with _Span(watch.stack) as span:
                original(self, request)
            watch._fixture(self)["teardown_s"] += span.own

        FixtureDef.finish = finish  # type: ignore[method-assign]

    # ---- audit events

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        try:
            if event in ("os.scandir", "os.listdir"):
                if self.collecting:
                    self.folders[os.path.abspath(os.fspath(args[0] if args[0] is not None else "."))] += 1
            elif event == "open":
                self._opened(*args[:3])
            elif event == "socket.connect":
                self._connected(args[1])
            elif event == "sqlite3.connect":
                name = os.fsdecode(args[0])
                if self.test and name and ":memory:" not in name and "mode=memory" not in name:
                    self.sqlite[name].add(self.test)
            elif event == "socket.bind" and self.test:
                address = args[1]
                if isinstance(address, tuple) and address[1]:
                    self.ports[str(address[1])].add(self.test)
        except Exception:
            pass  # whatever the suite passes to these functions, they answer for it themselves

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        if not self.test or not isinstance(path, str | bytes) or not isinstance(flags, int):
            return
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            full = os.path.abspath(os.fsdecode(path))
            if full.startswith(self.here + "/") and "__pycache__" not in full and "/." not in full[len(self.here) :]:
                self.written[full].add(self.test)

    def _connected(self, address: Any) -> None:
        if isinstance(address, tuple) and not str(address[0]).startswith(_LOOPBACK):
            self.connections[f"{address[0]}:{address[1]}", self._own_place(3)][0] += 1

    # ---- hooks

    def pytest_configure(self, config: pytest.Config) -> None:
        self.here = str(config.rootpath)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self) -> Generator[None, Any, Any]:
        self.collecting = True
        try:
            return (yield)
        finally:
            self.collecting = False

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.items = list(session.items)
        self.collected = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self.test = item.nodeid
        try:
            return (yield)
        finally:
            self.test = ""

    def _phase(self, item: pytest.Item, at: int) -> Generator[None, Any, Any]:
        start = quiet_time()
        try:
            return (yield)
        finally:
            self.tests[item.nodeid][at] += quiet_time() - start

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:
        now = quiet_time()
        first = self.attempts.setdefault(item.nodeid, [0, now, now])
        self.attempts[item.nodeid] = [first[0] + 1, first[1], now]
        return (yield from self._phase(item, 0))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        return (yield from self._phase(item, 1))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        return (yield from self._phase(item, 2))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
        entry = self._fixture(fixturedef)
        entry["n"] += 1
        if self.test and len(entry["tests"]) < MANY:
            entry["tests"].append(self.test)
        with _Span(self.stack) as span:
            try:
                return (yield)
            finally:
                entry["setup_s"] += span.so_far()

    def _fixture(self, definition: Any) -> dict[str, Any]:
        function = inspect.unwrap(definition.func)
        code = getattr(function, "__code__", None)
        place = f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
        key = f"{definition.argname} {place}"
        if key not in self.fixtures:
            self.fixtures[key] = {
                "name": definition.argname,
                "scope": definition.scope,
                "place": place,
                "module": getattr(function, "__module__", "") or "",
                "params": bool(definition.params),
                "n": 0,
                "setup_s": 0.0,
                "teardown_s": 0.0,
                "tests": [],  # that had it made
            }
        return self.fixtures[key]

    # ---- what was seen

    def facts(self, config: pytest.Config) -> dict[str, Any]:
        return {
            "rootdir": str(config.rootpath),
            "inipath": str(config.inipath) if config.inipath else "",
            "named": list(config.option.file_or_dir),
            "ini": {name: _plain(config, name) for name in _INI},
            "options": {name: _simple(getattr(config.option, name, None)) for name in _OPTIONS},
            "sleeps": self.sleeps,
            "sleepers": {place: sorted(tests)[:MANY] for place, tests in self.sleepers.items()},
            "connections": [[address, place, *entry] for (address, place), entry in self.connections.items()],
            "sqlite": {path: sorted(tests)[:MANY] for path, tests in self.sqlite.items()},
            "attempts": {test: [n, last - first] for test, (n, first, last) in self.attempts.items() if n > 1},
            "gc": self.gc,
            "ports": {port: sorted(tests) for port, tests in self.ports.items()},
            "written": {path: sorted(tests) for path, tests in self.written.items()},
            "folders": self.folders,
            "fixtures": list(self.fixtures.values()),
            "tests": self.tests,
            "rewritten": early.rewritten,
            "files": sorted({str(item.path) for item in self.items}),
            "unused": inventory.unused_arguments(self.items),
            "plugins": inventory.plugins(config, self.items),
            "dont_write_bytecode": sys.dont_write_bytecode,
            "libraries": inventory.libraries([*inventory.own_modules(str(config.rootpath)).values()]),
            "modules": inventory.own_modules(str(config.rootpath)),
            "rewriting": inventory.rewritten_libraries(str(config.rootpath)),
            "unknown_settings": inventory.unknown_settings(config),
            "empty_testpaths": inventory.empty_testpaths(config),
            "loaded": sorted(DRIVERS & sys.modules.keys()),
        }


_INI = (
    "testpaths",
    "norecursedirs",
    "addopts",
    "log_level",
    "log_cli",
    "log_cli_level",
    "log_cli_format",
    "log_file",
    "log_file_level",
    "log_auto_indent",
    "reruns",
    "reruns_delay",
)
_OPTIONS = (
    "capture",
    "verbose",
    "cov_source",
    "cov_branch",
    "no_cov",
    "cov_context",
    "cov_config",
    "log_cli_level",
    "log_level",
    "log_file",
    "reruns",
    "reruns_delay",
    "assertmode",
)


def _simple(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | list | type(None)) else str(value)


def _plain(config: pytest.Config, name: str) -> Any:
    try:
        return _simple(config.getini(name))
    except (KeyError, ValueError):
        return None


class _Span:
    """A stretch of time without what is nested in it."""

    def __init__(self, stack: list[float]) -> None:
        self.stack = stack
        self.own = 0.0

    def __enter__(self) -> _Span:
        self.stack.append(0.0)
        self.start = quiet_time()
        return self

    def so_far(self) -> float:
        return quiet_time() - self.start - self.stack[-1]

    def __exit__(self, *exc: object) -> None:
        whole = quiet_time() - self.start
        self.own = whole - self.stack.pop()
        if self.stack:
            self.stack[-1] += whole
