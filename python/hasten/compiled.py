"""The hooks around a test, compiled for the fused path (src/py/hooks.h): which implementations there are, and which of
them are pytest's own that ``src/py/fuse.c`` stands in for."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from hasten import _native, known

# enum hooks_list, step_kind and step_arg of src/py/hooks.h
LISTS = (
    "pytest_runtest_protocol",
    "pytest_runtest_logstart",
    "pytest_runtest_setup",
    "pytest_runtest_call",
    "pytest_runtest_teardown",
    "pytest_runtest_makereport",
    "pytest_runtest_logreport",
    "pytest_runtest_logfinish",
)
REPORTING = ("pytest_runtest_makereport", "pytest_runtest_logreport")
OUTSIDE_CAPTURE, OUTSIDE_LOG = 1, 2
CALL, WRAPPER, OLD, RUN, LOG, CAPTURE, SKIP, DEQUE = range(1, 9)
ARGS = {"item": 0, "nextitem": 1, "call": 2, "report": 3, "nodeid": 4, "location": 5}
PHASES = ("setup", "call", "teardown")
# Implementations that fuse.c stands in for, by hook; 0: nothing is left of it in a test that passes quietly.
OWN: dict[str, dict[str, int]] = {
    "pytest_runtest_protocol": {
        "_pytest.warnings:pytest_runtest_protocol": 0,
        "_pytest.assertion:pytest_runtest_protocol": 0,
        "_pytest.unittest:pytest_runtest_protocol": 0,
        "_pytest.faulthandler:pytest_runtest_protocol": 0,
        "_pytest.runner:pytest_runtest_protocol": 0,
        "hasten.debug:Debugging.pytest_runtest_protocol": 0,
    },
    "pytest_runtest_logstart": {
        "_pytest.logging:LoggingPlugin.pytest_runtest_logstart": 0,
        "hasten.worker:Worker.pytest_runtest_logstart": 0,
    },
    "pytest_runtest_logfinish": {
        "_pytest.logging:LoggingPlugin.pytest_runtest_logfinish": 0,
        "hasten.worker:Worker.pytest_runtest_logfinish": 0,
    },
    **{
        f"pytest_runtest_{phase}": {
            f"_pytest.logging:LoggingPlugin.pytest_runtest_{phase}": LOG,
            f"_pytest.capture:CaptureManager.pytest_runtest_{phase}": CAPTURE,
            f"_pytest.skipping:pytest_runtest_{phase}": SKIP,
            f"_pytest.runner:pytest_runtest_{phase}": RUN,
            f"_pytest.unraisableexception:pytest_runtest_{phase}": DEQUE,
            f"_pytest.threadexception:pytest_runtest_{phase}": DEQUE,
        }
        for phase in PHASES
    },
    "pytest_runtest_makereport": {
        "_pytest.tmpdir:pytest_runtest_makereport": 0,
        "_pytest.skipping:pytest_runtest_makereport": 0,
        "_pytest.unittest:pytest_runtest_makereport": 0,
        "_pytest.runner:pytest_runtest_makereport": RUN,
    },
    "pytest_runtest_logreport": {
        "_pytest.main:Session.pytest_runtest_logreport": 0,
        "_pytest.logging:LoggingPlugin.pytest_runtest_logreport": 0,
        "_pytest.cacheprovider:LFPlugin.pytest_runtest_logreport": 0,
        "hasten.worker:Worker.pytest_runtest_logreport": 0,
    },
    "pytest_pyfunc_call": {"_pytest.python:pytest_pyfunc_call": 0},
    "pytest_fixture_setup": {
        "_pytest.setuponly:pytest_fixture_setup": 0,
        "_pytest.setupplan:pytest_fixture_setup": 0,
        "_pytest.fixtures:pytest_fixture_setup": 0,
    },
    "pytest_fixture_post_finalizer": {"_pytest.setuponly:pytest_fixture_post_finalizer": 0},
}


def _name_of(impl: Any) -> str:
    """``module:qualified name`` of an implementation; of a method only when its object is exactly of that class."""
    function = impl.function
    holder = getattr(function, "__self__", None)
    name = f"{function.__module__}:{getattr(function, '__qualname__', '')}"
    if holder is not None and not isinstance(holder, type(sys)):
        kind = type(holder)
        if name != f"{kind.__module__}:{kind.__qualname__}.{function.__name__}":
            return ""
    return name


class Unfusable(Exception):  # noqa: N818  not an error
    """Says why tests have to be run by pytest's hooks."""


class Compiled:
    """All sets of one session: one for each set of conftests."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.sets: dict[Any, Any] = {}
        self.folders: dict[Any, Any] = {}

    def of(self, item: pytest.Item) -> Any:
        """The compiled hooks of a test's file, or why its tests are not fused. Files of a folder have the same."""
        folder = item.path.parent
        compiled = self.folders.get(folder)
        if compiled is not None and _native.fuse_valid(compiled):
            return compiled
        compiled = self._of(item.ihook)
        if not isinstance(compiled, str):
            self.folders[folder] = compiled
        return compiled

    def _of(self, ihook: Any) -> Any:
        removed = frozenset(getattr(ihook, "remove_mods", ()))
        compiled = self.sets.get(removed)
        if compiled is None or compiled[1] != self._snapshot():
            compiled = self.sets[removed] = (self._compile(ihook), self._snapshot())
        return compiled[0]

    def _snapshot(self) -> list[int]:
        """Which implementations there are, whatever the file."""
        hook = self.config.hook
        return [id(impl) for name in (*LISTS, *OWN) for impl in getattr(hook, name)._hookimpls]

    def _compile(self, ihook: Any) -> Any:
        try:
            if ihook.pytest_assertion_pass.get_hookimpls():
                raise Unfusable("pytest_assertion_pass is listened to")
            lists = [self._steps(name, getattr(ihook, name)) for name in LISTS]
        except Unfusable as e:
            return str(e)
        reports = any(step[0] != RUN for name in REPORTING for step in lists[LISTS.index(name)])
        own_fixtures = all(
            self._is_own(name, ihook) for name in ("pytest_fixture_setup", "pytest_fixture_post_finalizer")
        )
        pyfunc = None if self._is_own("pytest_pyfunc_call", ihook) else ihook.pytest_pyfunc_call
        hook = self.config.hook
        watched = [getattr(hook, name)._hookimpls for name in {*LISTS, *OWN, "pytest_assertion_pass"}]
        return _native.fuse_hooks((ihook, lists, tuple(watched), pyfunc, own_fixtures, reports))

    def _is_own(self, name: str, ihook: Any) -> bool:
        return all(
            _name_of(impl) in OWN[name] and known.is_original(impl.function)
            for impl in getattr(ihook, name).get_hookimpls()
        )

    def _steps(self, name: str, caller: Any) -> list[tuple[int, Any, tuple[int, ...], int, Any]]:
        """One step for each implementation that does something, in calling order."""
        steps = []
        outside = OUTSIDE_CAPTURE | OUTSIDE_LOG
        for impl in reversed(caller.get_hookimpls()):
            kind = self._kind(name, impl)
            outside &= ~{LOG: OUTSIDE_LOG, CAPTURE: OUTSIDE_CAPTURE}.get(kind, 0)
            if kind:
                steps.append(self._step(name, impl, kind, outside if kind in (WRAPPER, OLD) else 0))
            if name == "pytest_runtest_protocol" and kind == CALL:
                raise Unfusable(f"{impl.plugin_name} runs tests itself (pytest_runtest_protocol)")
        return steps

    def _kind(self, name: str, impl: Any) -> int:
        kind = OWN[name].get(_name_of(impl)) if known.is_original(impl.function) else None
        if kind is not None and not self._has_to_be_called(name, impl):
            return kind
        return OLD if impl.hookwrapper else WRAPPER if impl.wrapper else CALL

    def _has_to_be_called(self, name: str, impl: Any) -> bool:
        """pytest's own, but set up so that it does what fuse.c does not."""
        module = impl.function.__module__
        if module == "_pytest.faulthandler":
            return float(self.config.getini("faulthandler_timeout") or 0) > 0
        if module == "_pytest.unittest" and name == "pytest_runtest_protocol":
            return "twisted" in sys.modules
        return False

    def _step(self, name: str, impl: Any, kind: int, outside: int) -> tuple[int, Any, tuple[int, ...], int, Any]:
        args = tuple(ARGS[arg] for arg in impl.argnames)
        if kind == OLD:
            return kind, impl, args, outside, name
        extra = self._deque_of(impl) if kind == DEQUE else None
        return kind, impl.function, args, outside, extra

    def _deque_of(self, impl: Any) -> Any:
        from _pytest import threadexception, unraisableexception

        key: Any = (
            unraisableexception.unraisable_exceptions
            if impl.function.__module__ == "_pytest.unraisableexception"
            else threadexception.thread_exceptions
        )
        return self.config.stash[key]
