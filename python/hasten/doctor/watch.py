"""Plugin of the one run that the doctor looks at from inside: fixtures, tests, sleeps, connections, plugins, folders.

It costs time; what is measured in it says where to look, not what would be saved.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import sys
import textwrap
import time
from collections import defaultdict
from collections.abc import Generator
from typing import Any

import pytest

from hasten.doctor.clock import quiet_time

_LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0", "::")


class Watch:
    def __init__(self) -> None:
        self.here = ""  # the folder of the suite
        self.test = ""
        self.collecting = False
        self.sleeps: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])  # "file:line": calls, seconds
        self.connections: dict[tuple[str, str], int] = defaultdict(int)  # (address, place)
        self.ports: dict[str, set[str]] = defaultdict(set)  # bound by tests
        self.written: dict[str, set[str]] = defaultdict(set)  # files below the suite, by tests
        self.folders: dict[str, int] = defaultdict(int)  # read while collecting
        self.fixtures: dict[str, dict[str, Any]] = {}
        self.stack: list[float] = []  # seconds of what is nested in the set-up or teardown under way
        self.tests: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        self.rewritten: dict[str, float] = {}
        self.items: list[pytest.Item] = []
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
        self._patch_rewriting()
        self._patch_finish()

    def _slept(self, frame: Any, seconds: float) -> None:
        entry = self.sleeps[f"{frame.f_code.co_filename}:{frame.f_lineno}"]
        entry[0] += 1
        entry[1] += seconds

    def _patch_rewriting(self) -> None:
        from _pytest.assertion import rewrite

        original = rewrite._rewrite_test

        def rewrite_test(fn: Any, config: Any) -> Any:
            start = quiet_time()
            try:
                return original(fn, config)
            finally:
                self.rewritten[str(fn)] = quiet_time() - start

        rewrite._rewrite_test = rewrite_test

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
            frame: Any = sys._getframe(2)
            while frame is not None and not frame.f_code.co_filename.startswith(self.here + "/"):
                frame = frame.f_back
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else ""
            self.connections[f"{address[0]}:{address[1]}", place] += 1

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
            "connections": [[address, place, n] for (address, place), n in self.connections.items()],
            "ports": {port: sorted(tests) for port, tests in self.ports.items()},
            "written": {path: sorted(tests) for path, tests in self.written.items()},
            "folders": self.folders,
            "fixtures": list(self.fixtures.values()),
            "tests": self.tests,
            "rewritten": self.rewritten,
            "files": sorted({str(item.path) for item in self.items}),
            "unused": unused_arguments(self.items),
            "plugins": plugins(config, self.items),
            "dont_write_bytecode": sys.dont_write_bytecode,
        }


_INI = ("testpaths", "norecursedirs", "addopts", "log_level", "log_cli", "log_cli_level", "log_file")
_OPTIONS = ("capture", "verbose", "cov_source", "cov_branch", "no_cov", "cov_context", "log_cli_level", "log_level")


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


def unused_arguments(items: list[pytest.Item]) -> dict[str, list[str]]:
    """Fixtures that tests take as an argument and never look at: {name: node ids}. By the test's source."""
    found: dict[str, list[str]] = defaultdict(list)
    known: dict[Any, set[str]] = {}
    for item in items:
        function: Any = getattr(item, "obj", None)
        code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
        if code is None:
            continue
        if code not in known:
            known[code] = _never_read(inspect.unwrap(function))
        for name in known[code] & set(getattr(item, "fixturenames", ())):
            found[name].append(item.nodeid)
    return found


def _never_read(function: Any) -> set[str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError, TypeError, ValueError):
        return set()
    arguments = set(inspect.signature(function).parameters) - {"self", "cls", "request"}
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return set() if read & {"locals", "eval", "exec", "vars"} else arguments - read


def plugins(config: pytest.Config, items: list[pytest.Item]) -> list[dict[str, Any]]:
    """Installed plugins by distribution, and by what the suite uses each of them."""
    manager = config.pluginmanager
    requested = {name for item in items for name in getattr(item, "fixturenames", ())}
    marks = {mark.name for item in items for mark in item.iter_markers()}
    given = " ".join([*map(str, config.invocation_params.args), *map(str, config.getini("addopts") or ())])
    set_names = _names_in_file(config)
    found: dict[str, dict[str, Any]] = {}
    for plugin, distribution in manager.list_plugin_distinfo():
        name = manager.get_name(plugin)
        if distribution.project_name in ("pytest", "hasten") or name is None:
            continue
        entry = found.setdefault(distribution.project_name, {"names": [], "used": []})
        entry["names"].append(name)
        roots = {(getattr(plugin, "__name__", "") or "").partition(".")[0]} - {""}
        used = entry["used"]
        used += [f"fixture {n}" for n in sorted(requested) if _comes_from(config, n, roots)]
        for option in _options_of(manager, plugin, config):
            if any(part in given.replace("=", " ").split() for part in option["opts"]) or option["ini"] in set_names:
                used.append(option["opts"][0] if option["opts"] else option["ini"])
        used += [f"mark {mark}" for mark in sorted(marks) if mark in _marks_of(config, distribution.project_name)]
        used += [f"import {root}" for root in sorted(roots) if _is_imported(root, items)]
    return [{"distribution": name, **entry} for name, entry in sorted(found.items())]


def _names_in_file(config: pytest.Config) -> set[str]:
    inside = vars(config)  # the public name is deprecated in pytest 9, and suites turn warnings into errors
    return set(inside.get("_inicfg") or inside.get("inicfg") or ())


def _comes_from(config: pytest.Config, fixture: str, roots: set[str]) -> bool:
    manager: Any = config.pluginmanager.getplugin("funcmanage")
    definitions = getattr(manager, "_arg2fixturedefs", {}).get(fixture, ())
    modules = {(getattr(d.func, "__module__", "") or "").partition(".")[0] for d in definitions}
    auto = any(fixture in names for names in getattr(manager, "_nodeid_autousenames", {}).values())
    return bool(modules & roots) and not auto


def _options_of(manager: Any, plugin: Any, config: pytest.Config) -> list[dict[str, Any]]:
    """Options that a plugin adds, found by asking it once more, with a parser that only listens."""
    function = getattr(plugin, "pytest_addoption", None)
    if function is None:
        return []
    listener = _Listener()
    try:
        wanted = {"parser": listener, "pluginmanager": manager}
        function(**{name: wanted[name] for name in inspect.signature(function).parameters if name in wanted})
    except Exception:
        pass  # what it had added until then counts
    return listener.found


class _Listener:
    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def getgroup(self, *args: Any, **kwargs: Any) -> _Listener:
        return self

    def addoption(self, *opts: str, **kwargs: Any) -> None:
        self.found.append({"opts": list(opts), "ini": None})

    _addoption = addoption

    def addini(self, name: str, *args: Any, **kwargs: Any) -> None:
        self.found.append({"opts": [], "ini": name})


_MARKS = {
    "pytest-asyncio": {"asyncio"},
    "anyio": {"anyio"},
    "pytest-trio": {"trio"},
    "pytest-django": {"django_db", "urls", "ignore_template_errors"},
    "pytest-timeout": {"timeout"},
    "pytest-rerunfailures": {"flaky"},
    "pytest-retry": {"flaky"},
    "pytest-order": {"order"},
    "pytest-dependency": {"dependency"},
    "pytest-repeat": {"repeat"},
    "pytest-benchmark": {"benchmark"},
    "pytest-freezegun": {"freeze_time"},
    "pytest-socket": {"enable_socket", "disable_socket", "allow_hosts"},
    "hypothesis": {"hypothesis"},
}


def _marks_of(config: pytest.Config, distribution: str) -> set[str]:
    """Marks that a plugin understands: those known for it, and those whose name is part of its own."""
    registered = {str(line).partition(":")[0].partition("(")[0].strip() for line in config.getini("markers")}
    short = distribution.lower().removeprefix("pytest-").replace("-", "_")
    return _MARKS.get(distribution.lower(), set()) | {name for name in registered if name and name in short}


def _is_imported(root: str, items: list[pytest.Item]) -> bool:
    """A test module or conftest names something of the plugin's package."""
    modules = {getattr(item, "module", None) for item in items}
    return any(
        str(getattr(value, "__module__", "") or getattr(value, "__name__", "")).partition(".")[0] == root
        for module in modules
        if module is not None
        for value in list(vars(module).values())
    )
