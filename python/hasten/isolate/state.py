"""What a test leaves behind in its process: environment, folder, modules, builtins, and what user modules hold.

Two snapshots, before a test's set-up and after its teardown, and the differences that a person would want to see.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import locale
import logging
import os
import signal
import site
import socket
import sys
import sysconfig
import threading
import types
import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_OWN_ENVIRONMENT = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION")
_ALWAYS_NEW = ("__warningregistry__", "__builtins__", "__cached__", "__annotations__")
_MOST = 12  # lines for one test


def _library_folders() -> tuple[str, ...]:
    paths = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    paths.update(site.getsitepackages() if hasattr(site, "getsitepackages") else ())
    return tuple(path.rstrip("/") + "/" for path in paths if path)


def show(value: object) -> str:
    try:
        text = repr(value)
    except Exception as exc:
        text = f"<{type(value).__name__}, whose repr fails: {type(exc).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."


def _held(value: Any) -> Any:
    """Something that differs when the value has changed, as far as that can be told cheaply."""
    if isinstance(value, _PLAIN):
        return (type(value), value)
    if isinstance(value, dict):
        return (id(value), len(value), tuple((id(k), id(v)) for k, v in list(value.items())[:2000]))
    if isinstance(value, list | tuple | set | frozenset):
        return (id(value), len(value), tuple(map(id, list(value)[:2000])))
    return id(value)


class Snapshot:
    """What holds now. Keeps the values, so that an id stays that of one object."""

    def __init__(self, library: tuple[str, ...]) -> None:
        self.values: dict[tuple[str, str], tuple[Any, Any]] = {}
        self.modules = dict(sys.modules)
        for name, value in os.environ.items():
            if name not in _OWN_ENVIRONMENT:
                self.add("os.environ", repr(name), value)
        self._process()
        for name, value in vars(builtins).items():
            if name != "_":
                self.add("builtins", name, value)
        for name, module in self.modules.items():
            if isinstance(module, types.ModuleType) and name.partition(".")[0] not in ("hasten", "_pytest", "pluggy"):
                self._module(name, module, library)

    def add(self, owner: str, name: str, value: Any) -> None:
        self.values[owner, name] = (_held(value), value)

    def _process(self) -> None:
        with contextlib.suppress(OSError):
            self.add("the", "current folder", os.getcwd())
        self.add("sys", "path", list(sys.path))
        self.values["sys", "path"] = (tuple(sys.path), list(sys.path))
        self.values["warnings", "filters"] = (tuple(map(repr, warnings.filters)), len(warnings.filters))
        self.add("the", "locale", locale.setlocale(locale.LC_ALL))
        self.add("socket.getdefaulttimeout()", "", socket.getdefaulttimeout())
        self.add("gc.isenabled()", "", gc.isenabled())
        self.add("sys.getrecursionlimit()", "", sys.getrecursionlimit())
        self.add("sys.gettrace()", "", sys.gettrace())
        self.add("logging.root", "level", logging.root.level)
        self.add("logging.root.manager", "disable", logging.root.manager.disable)
        names = sorted(thread.name for thread in threading.enumerate())
        self.values["the", "threads"] = (tuple(names), names)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1, signal.SIGCHLD):
            self.add("the handler of", number.name, signal.getsignal(number))

    def _module(self, name: str, module: types.ModuleType, library: tuple[str, ...]) -> None:
        file = getattr(module, "__file__", None) or ""
        own = bool(file) and not file.startswith(library) and "/site-packages/" not in file
        for key, value in list(vars(module).items()):
            if key in _ALWAYS_NEW or key.startswith("@"):
                continue
            if own:
                self.add(name, key, value)
                self._inside(name, key, value)
            elif not key.startswith("_") and isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
                self.add(name, key, value)
            if isinstance(value, type) and value.__module__ == name and (own or name.count(".") < 2):
                self._class(name, key, value, own)

    def _class(self, name: str, key: str, value: type, own: bool) -> None:
        for attribute, inner in list(vars(value).items()):
            if (own and not attribute.startswith("__")) or isinstance(inner, types.FunctionType):
                self.add(f"{name}.{key}", attribute, inner)

    def _inside(self, name: str, key: str, value: Any) -> None:
        """One level into containers and objects of the suite's own."""
        if isinstance(value, dict) and len(value) <= 500:
            for k, v in list(value.items()):
                if isinstance(k, str | int):
                    self.add(f"{name}.{key}", f"[{k!r}]", v)
            return
        inner = getattr(value, "__dict__", None)
        module = sys.modules.get(type(value).__module__)
        if isinstance(inner, dict) and module is not None and not isinstance(value, type | types.ModuleType):
            file = getattr(module, "__file__", None) or ""
            if file and "/site-packages/" not in file:
                for k, v in list(inner.items()):
                    self.add(f"{name}.{key}", k, v)


_ABSENT = object()


def _place(owner: str, name: str) -> str:
    if owner == "os.environ":
        return f"os.environ[{name}]"
    if owner.startswith("the"):
        return f"{owner} {name}"
    return owner if not name else owner + name if name.startswith("[") else f"{owner}.{name}"


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """One line for each thing that is not as it was; what holds others comes after them."""
    lines = []
    for key in dict.fromkeys([*before.values, *after.values]):
        old_held, old = before.values.get(key, (None, _ABSENT))
        new_held, new = after.values.get(key, (None, _ABSENT))
        owner, name = key
        if old is not _ABSENT and new is not _ABSENT and old_held == new_held:
            continue
        module = owner.partition(".")[0]
        if owner in after.modules and owner not in before.modules and old is _ABSENT:
            continue  # a new module: said once, below
        if owner in before.modules and before.modules[owner] is not after.modules.get(owner) and module != "builtins":
            continue
        lines.append(_said(_place(owner, name), old, new))
    lines = _without_holders(lines)
    for name in dict.fromkeys([*before.modules, *after.modules]):
        if name not in after.modules:
            lines.append(f"sys.modules: {name} is gone")
        elif name in before.modules and before.modules[name] is not after.modules[name]:
            lines.append(f"sys.modules: {name} was replaced")
    new_modules = [name for name in after.modules if name not in before.modules]
    if new_modules:
        more = f" and {len(new_modules) - 3} more" if len(new_modules) > 3 else ""
        lines.append(f"imported for the first time: {', '.join(new_modules[:3])}{more}")
    return lines[:_MOST] + ([f"... and {len(lines) - _MOST} more"] if len(lines) > _MOST else [])


def _without_holders(lines: list[str]) -> list[str]:
    """`shop.cache: changed` says nothing beside `shop.cache['a'] = 1`."""
    places = [line.partition(" = ")[0].partition(":")[0] for line in lines]
    return [
        line
        for line, place in zip(lines, places, strict=True)
        if not (line.endswith(": its content changed") and any(o != place and o.startswith(place) for o in places))
    ]


def _said(place: str, old: Any, new: Any) -> str:
    if old is _ABSENT:
        return f"{place} = {show(new)}  (was not there)"
    if new is _ABSENT:
        return f"{place} is gone  (was {show(old)})"
    if show(old) == show(new):
        return f"{place}: its content changed" if old is new else f"{place}: another {show(new)}"
    return f"{place}: {show(old)} -> {show(new)}"


class Watch:
    """Plugin of a fork: looks before and after each of the watched tests."""

    def __init__(
        self, config: pytest.Config, write: Callable[..., None], tests: Sequence[int], index: dict[int, int]
    ) -> None:
        self.write, self.tests, self.index = write, set(tests), index
        self.library = _library_folders()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        test = self.index.get(id(item), -1)
        if test not in self.tests:
            return (yield)
        before = Snapshot(self.library)
        try:
            return (yield)
        finally:
            self.write(left=test, lines=differences(before, Snapshot(self.library)))
