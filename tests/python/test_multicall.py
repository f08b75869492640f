"""The C multicall against pluggy's own function: random lists of implementations, same results and exceptions."""

from __future__ import annotations

import gc
import random
import sys

import pluggy
import pytest
from pluggy import _manager

from hasten import _native, fuse

spec = pluggy.HookspecMarker("t")
impl = pluggy.HookimplMarker("t")


class Spec:
    @spec
    def every(self, a, b): ...

    @spec(firstresult=True)
    def first(self, a, b): ...


class BoomError(Exception):
    pass


def make_function(kind):
    def plain(a, b):
        if kind == "none":
            return None
        if kind == "stop":
            raise StopIteration(a)
        if kind == "raise":
            raise BoomError(a)
        if kind == "base":
            raise KeyboardInterrupt
        return (kind, a, b)

    def only_a(a):
        return ("only", a)

    return only_a if kind == "one_argument" else plain


def make_wrapper(kind):
    def wrapper(a, b):
        if kind == "no_yield":
            return 1
        if kind == "raise_before":
            raise BoomError("before")
        try:
            result = yield
        except BaseException as exc:
            if kind == "swallow":
                return "swallowed"
            if kind == "chain":
                raise ValueError(kind) from exc
            if kind == "second_yield":
                yield 2
            raise
        if kind == "replace":
            return ("replaced", result)
        if kind == "raise_after":
            raise BoomError("after")
        if kind == "second_yield":
            yield 2
        if kind == "generator_exit":
            try:
                yield 3
            except GeneratorExit:
                raise BoomError("closing") from None
        return result

    if kind == "no_yield":

        def empty(a, b):
            return
            yield

        return empty
    return wrapper


FUNCTIONS = ("value", "none", "raise", "stop", "base", "one_argument")
WRAPPERS = (
    "pass", "replace", "raise_before", "raise_after", "swallow", "chain", "second_yield", "no_yield",
    "generator_exit",
)  # fmt: skip


def make_manager(rng):
    pm = pluggy.PluginManager("t")
    pm.add_hookspecs(Spec)
    hook = rng.choice(("every", "first"))
    for _ in range(rng.randrange(6)):
        if rng.random() < 0.5:
            function = impl(make_function(rng.choice(FUNCTIONS)), tryfirst=rng.random() < 0.2)
        else:
            function = impl(make_wrapper(rng.choice(WRAPPERS)), wrapper=True, trylast=rng.random() < 0.2)
        pm.register(type("P", (), {hook: staticmethod(function)})())
    return pm, hook


def describe(exc):
    seen = []
    while exc is not None and len(seen) < 9:
        seen.append((type(exc).__name__, str(exc)))
        exc = exc.__cause__
    return seen


def outcome(pm, hook, a):
    try:
        return ("result", getattr(pm.hook, hook)(a=a, b=2))
    except BaseException as exc:
        return ("raised", describe(exc))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # generators that yield twice
def test_same_as_pluggys_for_random_calls():
    for seed in range(1500):
        pm, hook = make_manager(random.Random(seed))
        before = outcome(pm, hook, seed)
        assert fuse.install(pm)
        assert pm._inner_hookexec is _native.multicall
        assert outcome(pm, hook, seed) == before, seed


def test_an_old_style_wrapper_goes_to_pluggy():
    pm = pluggy.PluginManager("t")
    pm.add_hookspecs(Spec)
    seen = []

    class Old:
        @impl(hookwrapper=True)
        def every(self, a, b):
            result = yield
            seen.append(result.get_result())

    class New:
        @impl
        def every(self, a):
            return a

    pm.register(New())
    pm.register(Old())
    assert fuse.install(pm)
    assert pm.hook.every(a=3, b=4) == [3]
    assert seen == [[3]]


def test_nothing_leaks():
    pm, hook = pluggy.PluginManager("t"), "every"
    pm.add_hookspecs(Spec)
    for kind in ("replace", "swallow", "chain", "pass"):
        pm.register(type("W", (), {hook: staticmethod(impl(make_wrapper(kind), wrapper=True))})())
    for kind in ("value", "raise"):
        pm.register(type("F", (), {hook: staticmethod(impl(make_function(kind)))})())
    assert fuse.install(pm)
    marker = object()
    for _ in range(100):
        outcome(pm, hook, marker)
    gc.collect()
    before = sys.getrefcount(marker), len(gc.get_objects())
    for _ in range(2000):
        outcome(pm, hook, marker)
    gc.collect()
    assert sys.getrefcount(marker) == before[0]
    assert len(gc.get_objects()) - before[1] < 50


def test_off_switches(monkeypatch):
    pm = pluggy.PluginManager("t")
    own = pm._inner_hookexec
    assert own is _manager._multicall
    monkeypatch.setenv("HASTEN_FUSE", "0")
    assert not fuse.install(pm)
    monkeypatch.delenv("HASTEN_FUSE")
    for argument in ("--no-fuse", "--full-trace", "--tb=native"):
        monkeypatch.setattr(sys, "argv", ["pytest", argument])
        assert not fuse.install(pm)
    assert pm._inner_hookexec is own


@pytest.mark.parametrize("missing", ["a", "b"])
def test_a_missing_argument_is_pluggys_error(missing):
    pm = pluggy.PluginManager("t")
    pm.register(type("F", (), {"every": staticmethod(impl(lambda a, b: a))})())
    assert fuse.install(pm)
    with pytest.raises(pluggy.HookCallError, match=missing):
        pm.hook.every(**{name: 1 for name in "ab" if name != missing})
