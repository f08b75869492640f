"""What there is when a watched run ends: plugins and who uses them, arguments nobody reads, libraries, odd settings."""

from __future__ import annotations

import ast
import inspect
import os
import sys
import textwrap
from collections import defaultdict
from typing import Any

import pytest

_INSTALLED = ("/site-packages/", "/dist-packages/")


def own_modules(rootdir: str) -> dict[str, str]:
    """Modules that lie below the suite and were imported: file by name."""
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.startswith(rootdir + "/") and not any(i in file for i in _INSTALLED):
            found[name] = file
    return found


def libraries(files: list[str]) -> list[str]:
    """Top-level names of installed packages that these files import and that are loaded."""
    named: set[str] = set()
    for path in files:
        try:
            with open(path, "rb") as file:
                tree = ast.parse(file.read())
        except (OSError, SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                named |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                named.add(node.module.partition(".")[0])
    places = {name: str(getattr(sys.modules.get(name), "__file__", None) or "") for name in named}
    return sorted(name for name, file in places.items() if any(i in file for i in _INSTALLED))


def rewritten_libraries(rootdir: str) -> dict[str, int]:
    """Installed packages whose modules pytest's assertion rewriting has loaded: how many, by top-level name."""
    found: dict[str, int] = defaultdict(int)
    for name, module in list(sys.modules.items()):
        loader = getattr(getattr(module, "__spec__", None), "loader", None)
        file = str(getattr(module, "__file__", None) or "")
        outside = any(i in file for i in _INSTALLED) or not file.startswith(rootdir + "/")
        if type(loader).__name__ == "AssertionRewritingHook" and outside:
            found[name.partition(".")[0]] += 1
    return found


def unknown_settings(config: pytest.Config) -> list[str]:
    """Names in the configuration file that nobody has declared."""
    known = set(getattr(config._parser, "_inidict", {})) | set(getattr(config._parser, "_ini_aliases", {}))
    return sorted(_names_in_file(config) - known)


def empty_testpaths(config: pytest.Config) -> list[str]:
    """Entries of testpaths that are not there."""
    import glob

    root = str(config.rootpath)
    return [one for one in config.getini("testpaths") if not glob.glob(os.path.join(root, one), recursive=True)]


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
