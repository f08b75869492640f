"""coverage.py with hasten's collector in it: what runs is seen by C (src/py/monitor.h), all the rest is coverage.py's.

Which files count, the configuration, warnings, patches and the data file stay coverage.py's own; only its tracer is
another one. What is collected lies in memory that all processes of a run share; the one that reports reads it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import sysconfig
import threading
from collections.abc import Callable
from typing import Any

from hasten import _native
from hasten.plugin import state as process

TOOL = "hasten cov"
TOOLS = (1, 3, 4, 5, 2)  # ids of sys.monitoring: coverage's own first, a debugger's never
monitoring: Any = getattr(sys, "monitoring", None)
CONTEXTS = {"": 0, "function": 2}  # enum hits_contexts; any other word: lines by context
TEST_FUNCTION = "test_function"  # the value of coverage.py's setting dynamic_context


class State:
    """This process's part."""

    tool: int = -1
    start_tool: int = -1
    test_tool: int = -1
    tracer: Tracer | None = None
    contexts: str = ""
    key: int = 0  # of what is to be measured

    @property
    def tools(self) -> list[int]:
        """The ids of sys.monitoring that are ours."""
        return [tool for tool in (self.tool, self.start_tool, self.test_tool) if tool >= 0]


state = State()


def why_not(cov: Any, contexts: str | None = "") -> str:
    """Why coverage.py has to measure by itself; '' when the collector can. cov: coverage.Coverage, not started."""
    if sys.version_info < (3, 12):
        return f"CPython {sys.version_info[0]}.{sys.version_info[1]} has no sys.monitoring"
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} is not CPython"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this CPython is built without the GIL"
    by_test = cov.config.dynamic_context == TEST_FUNCTION
    if len(_free_tools()) < (3 if by_test else 2 if contexts else 1):
        return "the tool ids of sys.monitoring are taken"
    try:
        _native.covered_names(_memory(), False)  # maps it, once, to see whether that can be
    except OSError as exc:
        return str(exc)
    config = cov.config
    core = os.environ.get("COVERAGE_CORE") or getattr(config, "core", None)
    if config.timid:
        return "timid is set"
    if core in ("ctrace", "pytrace"):
        return f"core={core} is asked for"
    if config.dynamic_context not in (None, "none", TEST_FUNCTION):
        return f"dynamic_context={config.dynamic_context} is set"
    if by_test and contexts:
        return f"dynamic_context={TEST_FUNCTION} is set beside --cov-context"
    if contexts or by_test:
        for name in ("greenlet", "eventlet", "gevent"):
            if name in config.concurrency:
                return f"contexts with concurrency={name}"
    cov._init()
    plugins = [plugin._coverage_plugin_name for plugin in cov._plugins.file_tracers]
    if plugins:
        return f"plugins that trace files: {', '.join(plugins)}"
    if list(cov._plugins.context_switchers):
        return "plugins that switch contexts"
    return ""


class Core:
    """What coverage.py asks of its core."""

    supports_plugins = False
    supports_dynamic_contexts = True
    packed_arcs = False
    systrace = False

    def __init__(self, **_ignored: Any) -> None:
        from coverage.disposition import FileDisposition

        self.tracer_class = Tracer
        self.tracer_kwargs: dict[str, Any] = {}
        self.file_disposition_class = FileDisposition


class Tracer:
    """coverage.py's view of the collector. One for all threads; its data dict stays empty until the end."""

    concur_id_func: Any = None  # lines need no state for each greenlet
    should_start_context: Callable[[Any], str | None] | None = None  # of a frame: coverage.py's, put here by itself

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.trace_arcs = False
        self.should_trace: Callable[[str, Any], Any]
        self.should_trace_cache: dict[str, Any]
        self.lock_data: Callable[[], None]
        self.unlock_data: Callable[[], None]
        self.warn: Any = None
        self.active = False
        self.started = False

    def start(self) -> None:
        if self.started:
            _native.monitor_pause(False)
            return
        self.started = True
        state.tracer = self
        _open(self)

    def stop(self) -> None:
        """coverage.py stops and starts again to pause; the events are given back in the end only."""
        _native.monitor_pause(True)

    def post_fork(self) -> None:
        """A coverage of its own begins in a forked process (patch = fork): this one is over there."""
        release()

    def activity(self) -> bool:
        return self.active

    def reset_activity(self) -> None:
        self.active = False

    def get_stats(self) -> None:
        return None

    def decide(self, filename: str, frame: Any) -> str | None:
        disposition = self.should_trace_cache.get(filename)
        if disposition is None:
            disposition = self.should_trace_cache[filename] = self.should_trace(filename, frame)
        return disposition.source_filename if disposition.trace else None


class TestContexts:
    """dynamic_context = test_function: the context is the outermost test function that runs, as coverage.py has it.

    A frame that begins a context ends it, whenever it is left: also a generator or coroutine that is put aside.
    """

    def __init__(self, label: Callable[[Any], str | None]) -> None:
        self.label = label
        self.frames: dict[int, Any] = {}  # of threads: what began the present context

    def found(self, code: Any) -> None:
        """A test function that was not seen before, called from within it."""
        events = monitoring.events
        wanted = events.PY_START | events.PY_RESUME | events.PY_RETURN | events.PY_YIELD
        monitoring.set_local_events(state.test_tool, code, wanted)
        self._begin(sys._getframe(1))

    def began(self, _code: Any, _offset: int, _exception: Any = None) -> None:
        self._begin(sys._getframe(1))

    def ended(self, _code: Any, _offset: int, _value: Any) -> None:
        thread = threading.get_ident()
        if self.frames.get(thread) is sys._getframe(1):
            del self.frames[thread]
            switch("")

    def _begin(self, frame: Any) -> None:
        thread = threading.get_ident()
        if thread in self.frames:
            return
        name = self.label(frame)
        if name is not None:
            self.frames[thread] = frame
            switch(name)

    def register(self) -> None:
        events = monitoring.events
        calls = _native.monitor_tests(self.found, self.began, self.ended)
        wanted = {
            events.PY_START: self.began,
            events.PY_RESUME: self.began,
            events.PY_THROW: calls["throw"],
            events.PY_RETURN: self.ended,
            events.PY_YIELD: self.ended,
            events.PY_UNWIND: calls["unwind"],
        }
        for event, function in wanted.items():
            monitoring.register_callback(state.test_tool, event, function)
        monitoring.set_events(state.test_tool, events.PY_THROW | events.PY_UNWIND)


def _memory() -> int:
    """The descriptor of the memory that the processes of this run share."""
    if process.hits < 0:
        process.hits = _native.hits_create()
        os.set_inheritable(process.hits, False)
    return process.hits


def _free_tools() -> list[int]:
    return [tool for tool in TOOLS if monitoring.get_tool(tool) is None]


def _open(tracer: Tracer) -> None:
    import opcode

    events = monitoring.events
    branch = tracer.trace_arcs
    by_test = state.contexts == TEST_FUNCTION
    # The tool with the highest id is called first: what a frame does last belongs to the context that it ends, and what
    # its start says to the one that it begins.
    free = sorted(_free_tools()[:3], reverse=True) if by_test else _free_tools()
    state.tool = free[0]
    state.test_tool = free[1] if by_test else -1
    state.start_tool = free[2 if by_test else 1] if state.contexts else -1
    for tool in state.tools:
        monitoring.use_tool_id(tool, TOOL)
    sides = 0
    if branch and sys.version_info >= (3, 14):
        sides = events.BRANCH_LEFT | events.BRANCH_RIGHT
    elif branch:
        sides = events.BRANCH
    local = events.LINE | (sides | events.PY_RETURN if branch else 0)
    exceptions = events.PY_UNWIND | events.EXCEPTION_HANDLED | events.RAISE | events.RERAISE
    names = {
        "decide": tracer.decide,
        "disable": monitoring.DISABLE,
        "set_local_events": monitoring.set_local_events,
        "tool": state.tool,
        "local_events": local,
        "start_tool": state.start_tool,
        "start_events": events.PY_START,
        "no_events": 0,
    }
    calls = _native.monitor_open(
        _memory(), branch, CONTEXTS.get(state.contexts, 1), state.key, dict(opcode.opmap), names
    )
    register = functools.partial(monitoring.register_callback, state.tool)
    register(events.PY_START, calls["start"])
    register(events.LINE, calls["line"])
    if state.start_tool >= 0:
        monitoring.register_callback(state.start_tool, events.PY_START, calls["enter"])
    if branch:
        register(events.PY_RETURN, calls["return"])
        register(events.PY_UNWIND, calls["unwind"])
        register(events.EXCEPTION_HANDLED, calls["handled"])
        register(events.RAISE, calls["raise"])
        register(events.RERAISE, calls["raise"])
        for name in ("BRANCH_LEFT", "BRANCH_RIGHT") if sys.version_info >= (3, 14) else ("BRANCH",):
            register(getattr(events, name), calls["branch"])
    monitoring.set_events(state.tool, events.PY_START | (exceptions if branch else 0))
    if by_test and tracer.should_start_context is not None:
        TestContexts(tracer.should_start_context).register()
    monitoring.restart_events()  # what an earlier session of this process has switched off


def start(cov: Any, contexts: str = "") -> None:
    """As cov.start(), with the collector. Forks go on by themselves; every other process of the run calls it, too."""
    from coverage import collector, control

    modules: list[tuple[Any, str, Any]] = [
        (control, "Core", Core),
        (collector, "short_stack", _nobody),
    ]
    state.contexts = contexts or (TEST_FUNCTION if cov.config.dynamic_context == TEST_FUNCTION else "")
    state.key = _key(cov.config, state.contexts)
    own = [getattr(module, name, None) for module, name, _value in modules]
    for module, name, value in modules:
        setattr(module, name, value)
    try:
        cov.start()
    finally:
        for (module, name, _value), before in zip(modules, own, strict=True):
            setattr(module, name, before)


def _nobody(**_ignored: Any) -> str:
    """Who has started it, which coverage.py notes for bug reports, and reads the source of all callers for (15 ms)."""
    return ""


def _key(config: Any, contexts: str) -> int:
    """Runs of the same number can be one: --resume."""
    names = ("source", "source_pkgs", "source_dirs", "run_include", "run_omit", "branch", "context")
    asked = [repr(getattr(config, name, None)) for name in names]
    said = repr((asked, contexts, sys.version_info[:2], os.getcwd()))
    return int.from_bytes(hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def switch(name: str) -> None:
    """What runs from now on belongs to this context; '' for none."""
    _native.monitor_switch(name)


def pause() -> None:
    _native.monitor_pause(True)


def resume() -> None:
    _native.monitor_pause(False)


def release() -> None:
    """Gives the tool id back: nothing is collected in this process from now on."""
    if state.tool < 0:
        return
    _native.monitor_close()
    _native.monitor_tests(None, None, None)
    for tool in state.tools:
        if monitoring.get_tool(tool) == TOOL:
            monitoring.set_events(tool, 0)
            monitoring.free_tool_id(tool)
    state.tool = state.start_tool = state.test_tool = -1


def finish(cov: Any) -> None:
    """Puts what any process of the run collected into cov's data, and says what coverage.py says at the end."""
    from hasten import cov_write

    release()
    cov._init_data(None)
    try:
        paths, n_lost = cov_write.write(cov, _memory())
    finally:
        os.close(process.hits)
        process.hits = -1
    _match_packages(cov, paths)
    if n_lost:
        cov._warn(f"Coverage is not complete: {n_lost} times there was no memory", slug="hasten-no-memory")
    tracer = state.tracer
    if tracer is not None and cov._collector is not None:
        tracer.active = True
    cov.get_data()


def _match_packages(cov: Any, paths: set[str]) -> None:
    """coverage.py in this process has not seen what was imported in the others."""
    inorout = cov._inorout
    if inorout is None:
        return
    from coverage.inorout import file_and_path_for_module

    for package in list(inorout.source_pkgs_unmatched):
        file, folders = file_and_path_for_module(package)
        inside = tuple(os.path.join(folder, "") for folder in folders)
        if file in paths or (inside and any(path.startswith(inside) for path in paths)):
            inorout.source_pkgs_unmatched.remove(package)
