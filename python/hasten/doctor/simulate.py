"""Changes to code that the doctor tries without editing it, in the process that runs the suite."""

from __future__ import annotations

import ast
import copy
import gc
import importlib.machinery
import inspect
import json
import random
import sys
import time
from collections.abc import Generator
from typing import Any

import pytest


def install(manager: pytest.PytestPluginManager, asked: dict[str, Any]) -> None:
    for name, how in (
        ("sleeps", Sleeps),
        ("scopes", Scopes),
        ("unused", Unused),
        ("collector", Collector),
        ("lazy", Lazy),
        ("order", Order),
        ("left out", LeftOut),
        ("thresholds", Thresholds),
        ("sqlite", Sqlite),
        ("lines", Lines),
    ):
        if name in asked:
            manager.register(how(asked[name]), f"hasten-doctor-{name}")


class Sleeps:
    """time.sleep returns at once on these lines ("file:line")."""

    def __init__(self, places: list[str]) -> None:
        wanted, real = set(places), time.sleep

        def sleep(seconds: Any, /) -> None:
            frame = sys._getframe(1)
            if f"{frame.f_code.co_filename}:{frame.f_lineno}" not in wanted:
                real(seconds)

        time.sleep = sleep


class Scopes:
    """Fixtures get another scope: {"file:line of the function": scope}."""

    def __init__(self, scopes: dict[str, str]) -> None:
        from _pytest.fixtures import FixtureDef

        original = FixtureDef.__init__
        signature = inspect.signature(original)

        def init(*args: Any, **kwargs: Any) -> None:
            bound = signature.bind(*args, **kwargs)
            function = inspect.unwrap(bound.arguments["func"])
            code = getattr(function, "__code__", None)
            wanted = scopes.get(f"{code.co_filename}:{code.co_firstlineno}") if code is not None else None
            if wanted is not None:
                bound.arguments["scope"] = wanted
            original(*bound.args, **bound.kwargs)

        FixtureDef.__init__ = init  # type: ignore[method-assign]


class Unused:
    """Fixtures are not made for tests that take no notice of them: {argument: [node ids]}."""

    def __init__(self, tests: dict[str, list[str]]) -> None:
        self.tests = {name: set(ids) for name, ids in tests.items()}

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Any:
        if request.node.nodeid not in self.tests.get(fixturedef.argname, ()):
            return None
        fixturedef.cached_result = (None, fixturedef.cache_key(request), None)
        return True  # pytest takes the value from cached_result


class Order:
    """The tests in another order: "reversed", "shuffled", or "files": shuffled files, each in its own order."""

    def __init__(self, how: str) -> None:
        self.how = how

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.how == "reversed":
            items.reverse()
        elif self.how == "files":
            places = sorted({str(item.path) for item in items})
            random.Random(1).shuffle(places)
            at = {path: i for i, path in enumerate(places)}
            items.sort(key=lambda item: at[str(item.path)])
        else:
            random.Random(1).shuffle(items)


class Collector:
    """No cyclic garbage collection from the first conftest until the tests run; what exists then is not looked at."""

    def __init__(self, _on: bool) -> None:
        pass

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self) -> None:
        gc.disable()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        gc.freeze()
        gc.enable()


class LeftOut:
    """Tests that are not run, by node id."""

    def __init__(self, ids: list[str]) -> None:
        self.ids = set(ids)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in self.ids])
        items[:] = [item for item in items if item.nodeid not in self.ids]


class Thresholds:
    """While tests run: what was collected is not looked at again, and collections are rarer."""

    def __init__(self, thresholds: list[int]) -> None:
        self.thresholds = thresholds

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        gc.freeze()
        gc.set_threshold(*self.thresholds)


class Sqlite:
    """SQLite does not wait for the disk."""

    def __init__(self, _on: bool) -> None:
        import sqlite3

        original: Any = sqlite3.connect

        def connect(*args: Any, **kwargs: Any) -> Any:
            connection = original(*args, **kwargs)
            try:
                sqlite3.Connection.execute(connection, "PRAGMA synchronous = OFF")
            except sqlite3.Error:
                pass  # it cannot be written to, or is busy: it stays as it is
            return connection

        sqlite3.connect = sqlite3.dbapi2.connect = connect


class Lines:
    """Where the time of a test's own lines goes: {node id: {line: seconds}} in the file named by "out"."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.ids, self.out = set(asked["tests"]), asked["out"]
        self.found: dict[str, dict[int, float]] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        monitoring = getattr(sys, "monitoring", None)
        function: Any = getattr(item, "obj", None)
        code = getattr(inspect.unwrap(function), "__code__", None)
        if item.nodeid not in self.ids or code is None or monitoring is None:
            return (yield)
        tool = next((i for i in range(5, -1, -1) if monitoring.get_tool(i) is None), None)
        if tool is None:
            return (yield)
        spent: dict[int, float] = {}
        last = [0, time.monotonic()]

        def line(_code: Any, number: int) -> None:
            now = time.monotonic()
            spent[int(last[0])] = spent.get(int(last[0]), 0.0) + now - last[1]
            last[:] = [number, now]

        monitoring.use_tool_id(tool, "hasten doctor")
        monitoring.register_callback(tool, monitoring.events.LINE, line)
        monitoring.set_local_events(tool, code, monitoring.events.LINE)
        try:
            return (yield)
        finally:
            line(code, 0)
            monitoring.set_local_events(tool, code, 0)
            monitoring.register_callback(tool, monitoring.events.LINE, None)
            monitoring.free_tool_id(tool)
            self.found[item.nodeid] = {number: seconds for number, seconds in spent.items() if number}

    def pytest_sessionfinish(self) -> None:
        with open(self.out, "w", encoding="utf-8") as file:
            json.dump(self.found, file)


class Lazy:
    """Import statements ("file:line" of module level) move into the functions that use what they bind."""

    def __init__(self, places: list[str]) -> None:
        self.lines: dict[str, set[int]] = {}
        for place in places:
            path, _, line = place.rpartition(":")
            self.lines.setdefault(path, set()).add(int(line))
        self._patch_tests()
        self._patch_modules()

    def _patch_tests(self) -> None:
        """Test modules and conftests: pytest compiles them from a tree of its own, and keeps the result in a file."""
        from _pytest.assertion import rewrite

        asserts, read, write = rewrite.rewrite_asserts, rewrite._read_pyc, rewrite._write_pyc

        def rewrite_asserts(mod: ast.Module, source: bytes, module_path: Any = None, config: Any = None) -> None:
            self.edit(mod, module_path)
            asserts(mod, source, module_path, config)

        def read_pyc(source: Any, *args: Any, **kwargs: Any) -> Any:
            return None if str(source) in self.lines else read(source, *args, **kwargs)

        def write_pyc(state: Any, co: Any, *args: Any, **kwargs: Any) -> bool:
            return co.co_filename not in self.lines and write(state, co, *args, **kwargs)

        rewrite.rewrite_asserts, rewrite._read_pyc, rewrite._write_pyc = rewrite_asserts, read_pyc, write_pyc

    def _patch_modules(self) -> None:
        loader: Any = importlib.machinery.SourceFileLoader
        original, lazy = loader.get_code, self

        def get_code(self: Any, fullname: str) -> Any:
            if self.path not in lazy.lines:
                return original(self, fullname)
            tree = ast.parse(self.get_data(self.path), self.path)
            lazy.edit(tree, self.path)
            return compile(tree, self.path, "exec", dont_inherit=True)

        loader.get_code = get_code

    def edit(self, tree: ast.Module, path: Any) -> None:
        for line in self.lines.get(str(path), ()):
            for at, statement in enumerate(tree.body):
                if isinstance(statement, ast.Import | ast.ImportFrom) and statement.lineno == line:
                    names = {a.asname or a.name.partition(".")[0] for a in statement.names}
                    tree.body[at] = ast.copy_location(ast.Pass(), statement)
                    _into_functions(tree, statement, names)


def _into_functions(node: ast.AST, statement: ast.stmt, names: set[str]) -> None:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            _into_functions(child, statement, names)
        elif any(isinstance(inner, ast.Name) and inner.id in names for inner in ast.walk(child)):
            child.body.insert(1 if ast.get_docstring(child) is not None else 0, copy.deepcopy(statement))
