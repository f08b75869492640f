"""Changes to code that the doctor tries without editing it, in the process that runs the suite."""

from __future__ import annotations

import ast
import copy
import gc
import importlib.machinery
import inspect
import random
import sys
import time
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
    """The tests in another order: "reversed", or "shuffled"."""

    def __init__(self, how: str) -> None:
        self.how = how

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.how == "reversed":
            items.reverse()
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
