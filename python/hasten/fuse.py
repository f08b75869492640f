"""Where hasten does pytest's own work faster; ``HASTEN_FUSE=0`` or ``--no-fuse`` turns it off.

Two parts: the C half of hook calls (``install``), and in a worker the fused path (``Fuse``): the three phases of a test
in C (``src/py/fuse.c``), which turns to this module for everything out of the ordinary. pytest's functions that are
stood in for are known by version and place (``hasten.known``); with any other pytest only the hook calls are ours.
"""

from __future__ import annotations

import functools
import sys
import types
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from hasten import _native, compiled, frames, known, switch
from hasten.compiled import Unfusable
from hasten.filters import Filters

KNOWN_PLUGGY = ("1.6.0", "1.7.0")
# Options under which tests are run by pytest alone.
ODD_OPTIONS = ("setuponly", "setupshow", "setupplan", "trace", "usepdb")

WRITERS = ("_pytest.reports", "_pytest.subtests")  # modules that make of a report what travels

Span = tuple[str, float, float, float, dict[str, Any]]  # when, start, stop, duration (s), keywords


def install(pluginmanager: pytest.PytestPluginManager) -> bool:
    """Puts the C multicall under pluggy's seam; False when it is off or this pluggy is not known."""
    import pluggy
    from pluggy import _manager

    if switch.is_off() or switch.shows_own_frames():
        return False
    own = getattr(_manager, "_multicall", None)
    if pluggy.__version__ not in KNOWN_PLUGGY or getattr(pluginmanager, "_inner_hookexec", None) is not own:
        return False
    module = sys.modules[own.__module__]
    _native.multicall_of(own, module._raise_wrapfail, own.__module__ == "pluggy._execution")
    pluginmanager._inner_hookexec = _native.multicall  # type: ignore[assignment]
    return True


def reconsider(config: pytest.Config) -> None:
    """The options are known: what was put in place by the command line alone goes where they say so."""
    off = switch.is_off(config)
    if not off and not switch.shows_own_frames(config):
        return
    from pluggy import _manager

    manager: Any = _manager
    plugins = config.pluginmanager
    if plugins._inner_hookexec is _native.multicall:
        plugins._inner_hookexec = manager._multicall
    for name in ("hasten-collection", "hasten-rewrites") if off else ("hasten-collection",):
        plugin = plugins.getplugin(name)
        if plugin is not None:
            plugin.stop()
            plugins.unregister(plugin)


def _old_style() -> dict[str, Any]:
    """What old-style wrappers are sent, and what says that one of them has raised (src/py/oldstyle.h)."""
    import pluggy
    from pluggy import _manager

    module: Any = sys.modules[_manager._multicall.__module__]  # type: ignore[attr-defined]
    return {"result": pluggy.Result, "warn_teardown": module._warn_teardown_exception}


def _ends_at_once() -> Iterator[None]:
    yield from ()


class Fuse:
    """The fused path of one worker: what fuse.c asks for, and what it hands over."""

    def __init__(self, config: pytest.Config, worker: Any, session: pytest.Session) -> None:
        self.config = config
        self.worker = worker
        self.session = session
        self.debugging: Any = config.pluginmanager.getplugin("hasten-debugging")
        self.capman = config.pluginmanager.getplugin("capturemanager")
        self.logging = config.pluginmanager.getplugin("logging-plugin")
        self.reasons: Counter[str] = Counter()
        self.compiled = compiled.Compiled(config)
        self.capturing = False
        self.log_contexts: list[Any] = []
        self.filters = Filters(config)
        self.assertion: Any = None  # pytest's generator, open
        self.writers: list[Any] = []  # of pytest_report_to_serializable
        self.own_writers = False
        self.ihook: Any = None
        self._set()

    @classmethod
    def make(cls, config: pytest.Config, worker: Any, session: pytest.Session) -> Fuse | None:
        """None, with the reason in worker.unfused, when every test is to be run by pytest's hooks."""
        try:
            cls._check(config)
            return cls(config, worker, session)
        except Unfusable as e:
            worker.unfused = str(e)
            return None

    @staticmethod
    def _check(config: pytest.Config) -> None:
        if switch.is_off(config):
            raise Unfusable("switched off")
        if switch.shows_own_frames(config):
            raise Unfusable("options that show pytest's own frames")
        for name in ODD_OPTIONS:
            if config.getoption(name, None):
                raise Unfusable(f"--{name}")
        if config.pluginmanager._inner_hookexec is not _native.multicall:
            raise Unfusable("hook calls are traced or monitored")
        if getattr(sys.flags, "context_aware_warnings", 0):
            raise Unfusable("warning filters belong to contexts in this interpreter")
        why = known.why_not()
        if why:
            raise Unfusable(why)
        logging = config.pluginmanager.getplugin("logging-plugin")
        if logging is not None and logging._log_cli_enabled():
            raise Unfusable("live logs")

    def _set(self) -> None:
        from _pytest import fixtures, logging, outcomes, python, runner, skipping, tmpdir
        from _pytest.compat import NOTSET
        from _pytest.scope import Scope
        from _pytest.unittest import TestCaseFunction

        calls = frames.callers()
        tests = runner.__dict__.get("TEST_OUTCOME") or outcomes.TEST_OUTCOME
        _native.fuse_set(
            {
                "owner": self,
                "session": self.session,
                "setupstate": self.session._setupstate,
                "function_type": python.Function,
                "request_type": fixtures.TopRequest,
                "outcomes": tests,
                "caplog_records_key": logging.caplog_records_key,
                "caplog_handler_key": logging.caplog_handler_key,
                "xfailed_key": skipping.xfailed_key,
                "tmppath_key": tmpdir.tmppath_result_key if self.config.pluginmanager.hasplugin("tmpdir") else None,
                "caplog_handler": getattr(self.logging, "caplog_handler", None),
                "capman": self.capman,
                "worker": self.worker,
                "text": self.worker.text,
                "events": self.worker.events,
                "reasons": self.reasons,
                **_old_style(),
                "call_info": runner.CallInfo,
                "testcase_type": TestCaseFunction,
                "call_test": calls["call_test"],
                "id_name": "_id" if hasattr(python.Function, "id") else "nodeid",
                "fixtures": {
                    "FixtureDef": fixtures.FixtureDef,
                    "DirectParam": known.direct_param_class(),
                    "SubRequest": fixtures.SubRequest,
                    "function_scope": Scope.Function,
                    "direct": python.get_direct_param_fixture_func,
                    "teardown_yield": fixtures._teardown_yield_fixture,
                    "skip": outcomes.skip.Exception,
                    "outcomes": tests,
                    "partial": functools.partial,
                    "notset": NOTSET,
                    "group": self.raise_fixture_group,
                    "call": calls["call_fixture"],
                    "next": calls["next_of_fixture"],
                    "no_yield": self.raise_no_yield,
                },
            }
        )

    def hooks_for(self, item: pytest.Item) -> Any:
        """The compiled hooks of this item's file, or why its tests are not fused."""
        return self.compiled.of(item)

    # ---- the state of a phase, kept over many tests

    def enter(self, item: pytest.Item, marks: Any) -> dict[str, Any] | None:
        """From pytest's state between two tests to that inside of a phase of this one; None when that cannot be."""
        if self.filters.context is not None:
            self.leave()
        if self.ihook is not item.ihook:
            self._close_assertion()
        if not self.filters.open(marks):
            return None
        self._open_assertion(item)
        self._open_streams()
        return self.state()

    def leave(self) -> None:
        self._close_streams()
        self._close_assertion()
        self.filters.close()

    def state(self) -> dict[str, Any]:
        """What effects.c looks at."""
        return {**self._streams(), **self._loggers(), **self.filters.state()}

    def _streams(self) -> dict[str, Any]:
        capturing: Any = getattr(self.capman, "_global_capturing", None)
        if not self.capturing or capturing.out is None:
            return {"capture": None}
        return {
            "capture": "fd" if self.capman._method == "fd" else "sys",
            "out": self._file_of(capturing.out),
            "err": self._file_of(capturing.err),
        }

    def _loggers(self) -> dict[str, Any]:
        import logging

        if not self.log_contexts:
            return {"root": None}
        return {
            "root": logging.getLogger(),
            "loggers": logging.getLogger().manager.loggerDict,
            "logger_type": logging.Logger,
            "handlers": (self.logging.caplog_handler, self.logging.report_handler),
            "level": self.logging.log_level,
        }

    @staticmethod
    def _file_of(capture: Any) -> Any:
        return getattr(getattr(capture, "syscapture", capture), "tmpfile", None)

    def _open_streams(self) -> None:
        if self.capman is not None and not self.capturing:
            self.capman.resume_global_capture()
            self.capturing = True
        if self.logging is not None and not self.log_contexts:
            self._attach()

    def _close_streams(self) -> None:
        self._detach()
        if self.capturing:
            self.capturing = False
            self.capman.suspend_global_capture(in_=False)

    def _attach(self) -> None:
        from _pytest.logging import catching_logs

        for handler in (self.logging.caplog_handler, self.logging.report_handler):
            context = catching_logs(handler, level=self.logging.log_level)
            context.__enter__()
            handler.reset()
            self.log_contexts.append(context)

    def _detach(self) -> None:
        while self.log_contexts:
            self.log_contexts.pop().__exit__(None, None, None)

    def level_out(self) -> None:
        """With --log-level: the root logger has its own level outside of a phase."""
        import logging

        if self.log_contexts:
            logging.getLogger().setLevel(self.log_contexts[0].orig_level)

    def level_in(self) -> dict[str, Any]:
        import logging

        root = logging.getLogger()
        for context in self.log_contexts:
            context.orig_level = root.level
            root.setLevel(min(root.level, self.logging.log_level))
        return self._loggers()

    def _open_assertion(self, item: pytest.Item) -> None:
        if self.assertion is None:
            from _pytest import assertion

            self.ihook = item.ihook
            self.assertion = assertion.pytest_runtest_protocol(item)
            next(self.assertion)

    def _close_assertion(self) -> None:
        if self.assertion is not None:
            generator, self.assertion = self.assertion, None
            try:
                generator.send(None)
            except StopIteration:
                pass

    # ---- what fuse.c has seen

    def output(self, item: pytest.Item, when: str) -> dict[str, Any]:
        """Something was written in this phase."""
        self.capman.suspend_global_capture(in_=False)
        self.capturing = False
        out, err = self.capman.read_global_capture()
        item.add_report_section(when, "stdout", out)
        item.add_report_section(when, "stderr", err)
        self._open_streams()
        return self._streams()

    def output_here(self, item: pytest.Item, when: str) -> None:
        """The same while the streams are as pytest has set them up: then they can stay."""
        out, err = self.capman.read_global_capture()
        item.add_report_section(when, "stdout", out)
        item.add_report_section(when, "stderr", err)

    def outside(self) -> dict[str, Any]:
        """Something was written where pytest does not catch it: between two phases, in a wrapper."""
        if self.capturing:
            self.capman.suspend_global_capture(in_=False)
            out, err = self.capman.read_global_capture()
            for stream, text in ((sys.stdout, out), (sys.stderr, err)):
                stream.write(text)
                stream.flush()
            self.capman.resume_global_capture()
        return self._streams()

    def logged(self, item: pytest.Item, when: str) -> None:
        item.add_report_section(when, "log", self.logging.report_handler.stream.getvalue().strip())

    def reattach(self, item: pytest.Item) -> dict[str, Any]:
        """Loggers or their handlers were changed."""
        self._detach()
        self._attach()
        return self._loggers()

    def tell_warnings(self, item: pytest.Item) -> None:
        nodeid = item.nodeid
        for warning in self.filters.take():
            item.ihook.pytest_warning_recorded.call_historic(
                kwargs={"warning_message": warning, "nodeid": nodeid, "when": "runtest", "location": None}
            )

    def warned(self, item: pytest.Item, marks: Any) -> dict[str, Any]:
        self.tell_warnings(item)
        self.filters.close()
        self.filters.open(marks)
        return self.filters.state()

    def returned(self, item: pytest.Item, result: object) -> None:
        """The test returned something: pytest says so in its own words."""
        __tracebackhide__ = True
        from _pytest import python

        stand_in: Any = types.SimpleNamespace(
            obj=lambda: result, nodeid=item.nodeid, funcargs={}, _fixtureinfo=types.SimpleNamespace(argnames=())
        )
        python.pytest_pyfunc_call(stand_in)

    def look_at_xfail(self, item: pytest.Item) -> None:
        """Marks were added while the test ran."""
        from _pytest.skipping import evaluate_xfail_marks, xfailed_key

        if item.stash.get(xfailed_key, None) is None:
            item.stash[xfailed_key] = evaluate_xfail_marks(item)

    def raise_group(self, item: pytest.Item, raised: list[BaseException]) -> None:
        raise BaseExceptionGroup(f"errors while tearing down {item!r}", raised[::-1])

    def raise_fixture_group(self, fixturedef: Any, item: pytest.Item, raised: list[BaseException]) -> None:
        raise BaseExceptionGroup(f'errors while tearing down fixture "{fixturedef.argname}" of {item}', raised[::-1])

    def raise_no_yield(self, name: str) -> None:
        """A generator fixture has ended without a value: raised by pytest's own function, which the text shows."""
        __tracebackhide__ = True
        from _pytest import fixtures

        request: Any = types.SimpleNamespace(fixturename=name)
        fixtures.call_fixture_func(_ends_at_once, request, {})

    # ---- reports

    def start(self) -> None:
        events = self.worker.events
        if not any(event[0] == "s" for event in events):
            events.insert(0, ("s",))

    def _log_held(self, item: Any, held: list[Span]) -> None:
        """Reports of phases that had nothing in them."""
        from _pytest.reports import TestReport

        self.start()
        for when, start, stop, duration, keywords in held:
            report = TestReport(
                getattr(item, "_id", None) or item.nodeid,
                item.location,
                keywords,
                "passed",
                None,
                when,  # type: ignore[arg-type]
                duration=duration,
                start=start,
                stop=stop,
            )
            self.worker.pytest_runtest_logreport(report)

    def report(self, item: Any, held: list[Any], span: Span) -> None:
        """The phase has passed, and somebody wants its report or there is something in it."""
        self._log_held(item, held)
        self._make_report(item, self._call_info(span, None))

    def writes_reports(self) -> bool:
        """pytest's own function alone makes of a report what travels."""
        impls = self.config.hook.pytest_report_to_serializable.get_hookimpls()
        if impls != self.writers:
            self.writers = impls
            self.own_writers = all(
                impl.function.__module__ in WRITERS and known.is_original(impl.function) for impl in impls
            )
        return self.own_writers

    def flush_held(self) -> None:
        """A report is on its way that the running test makes itself (subtests): those before it go first."""
        taken = _native.fuse_take_held()
        if taken is not None:
            self._log_held(*taken)

    def log_report(self, item: Any, held: list[Any], report: Any) -> None:
        """Somebody else's hooks have made something of the report of a phase that has passed."""
        self._log_held(item, held)
        self.worker.pytest_runtest_logreport(report)

    def finish(self, item: Any, held: list[Any]) -> None:
        self._log_held(item, held)
        if ("f",) not in self.worker.events:
            self.worker.events.append(("f",))

    @staticmethod
    def _call_info(span: Span, excinfo: Any) -> Any:
        from _pytest.runner import CallInfo

        when, start, stop, duration, _keywords = span
        return CallInfo(
            None if excinfo else [],
            excinfo,
            start=start,
            stop=stop,
            duration=duration,
            when=when,  # type: ignore[arg-type]
            _ispytest=True,
        )

    @staticmethod
    def _make_report(item: pytest.Item, call: Any) -> Any:
        from _pytest import runner

        report = item.ihook.pytest_runtest_makereport(item=item, call=call)
        item.ihook.pytest_runtest_logreport(report=report)
        if runner.check_interactive_exception(call, report):
            item.ihook.pytest_exception_interact(node=item, call=call, report=report)
        return report

    def failed(
        self,
        item: Any,
        exception: BaseException,
        held: list[Any],
        span: Span,
        nextitem: Any,
    ) -> None:
        """A phase raised: its report and the rest of the test are pytest's."""
        from _pytest import runner

        _native.fuse_env_flush()
        self._close_streams()
        if isinstance(exception, (pytest.exit.Exception, KeyboardInterrupt)):  # --pdb is never fused
            self._log_held(item, held)
            raise exception
        self._log_held(item, held)
        when = span[0]
        call = self._call_info(span, self._excinfo(exception))
        report = self._make_report(item, call)
        if when == "setup" and report.passed:
            runner.call_and_report(item, "call")
        if when != "teardown":
            if self.session.shouldfail or self.session.shouldstop:
                nextitem = None
            runner.call_and_report(item, "teardown", nextitem=nextitem)

    def rest(self, item: Any, held: list[Any], span: Span, nextitem: Any) -> None:
        """The phase has passed; plugins came or went while it ran, or the test keeps exceptions for its report
        (unittest): what is left of the test is pytest's."""
        from _pytest import runner

        _native.fuse_env_flush()
        self._close_streams()
        self._log_held(item, held)
        report = self._make_report(item, self._call_info(span, None))
        if span[0] == "setup" and report.passed:
            runner.call_and_report(item, "call")
        if span[0] != "teardown":
            if self.session.shouldfail or self.session.shouldstop:
                nextitem = None
            runner.call_and_report(item, "teardown", nextitem=nextitem)

    def end(self, item: Any) -> None:
        """The same of pytest_runtest_logfinish."""
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    @staticmethod
    def _excinfo(exception: BaseException) -> Any:
        if exception.__traceback__ is None:  # raised by C code that was called without a frame of Python's
            __tracebackhide__ = True
            try:
                raise exception
            except BaseException:
                return pytest.ExceptionInfo.from_current()
        return pytest.ExceptionInfo.from_exception(exception)

    # ---- running

    def run(self, index: int, limits: dict[int, int], at_once: bool) -> tuple[int, int, pytest.Item | None]:
        """This test and those after it, until one needs Python (native.fuse_loop)."""
        self.debugging.before_test()
        try:
            code, index, nextitem = _native.fuse_loop(index, limits, at_once)
        finally:
            self.debugging.after_test()
        if code == 0:
            _native.fuse_leave()
        return code, index, nextitem

    def after_test(self) -> None:
        self.debugging.after_test()


def unfused(worker: Any) -> dict[str, int]:
    """Why tests of this worker were run by pytest's hooks -> how many."""
    if worker.fuse is None:
        return {worker.unfused: worker.n_run} if worker.n_run else {}
    return dict(worker.fuse.reasons)


def explain(reasons: dict[str, int], n_tests: int) -> list[str]:
    """Lines for people: what was not fused, and why."""
    by_hooks = sum(reasons.values())
    lines = [f"{n_tests - by_hooks} tests fused, {by_hooks} run by pytest's hooks"]
    return lines + [f"{n:6} {why}" for why, n in sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))]
