"""Coverage of a run that hasten drives: pytest-cov's plugin and its controller, for all processes of a run.

Measuring begins in the first process before the first conftest is imported and goes on in every fork of it. Two
engines: the collector of ``hasten.monitor``, whose results lie in memory that all processes share, and the tracer of
coverage.py, with a data file for each process. In both the process that reports brings everything together at the end,
and coverage.py makes the reports.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sqlite3
import sys
import types
import warnings
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from hasten import cov_data, cov_options, cov_report, cov_warnings
from hasten.plugin import state

MISSING = "hasten cov needs coverage: pip install coverage"
LEAST = (7, 10, 6)  # pytest-cov 7.1 needs it, too
OUTPUT = "hasten_cov"  # key in a worker's workeroutput


def begin(config: pytest.Config) -> None:
    """Starts measuring in this process, before it is split and before the first conftest is imported.

    Warnings are kept for install(): pytest does not record any here yet.
    """
    if not cov_options.is_asked_for(config) or getattr(config.known_args_namespace, "no_cov", False):
        return
    controller = Controller(config.known_args_namespace)
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        controller.start(late=(state.reporter_chan < 0) is not (state.template_chan < 0))
    controller.recorded = recorded
    state.cov = controller


def install(config: pytest.Config, args: list[str]) -> None:
    """Registers the plugin where pytest-cov would have registered its own."""
    known = config.known_args_namespace
    known.no_cov_should_warn = "--no-cov" in args and any(
        arg.startswith("--cov") for arg in args[args.index("--no-cov") + 1 :]
    )
    plugin = Plugin(known, state.cov, config.pluginmanager)
    config.pluginmanager.register(plugin, "_cov")
    if state.cov is not None:
        plugin.notice_marker()
        state.cov.warn_again()


def coverage_module() -> Any:
    """The module coverage; UsageError when it is not installed, or too old."""
    try:
        found = importlib.import_module("coverage")
    except ImportError:
        raise pytest.UsageError(MISSING) from None
    if found.version_info[:3] < LEAST:
        least = ".".join(map(str, LEAST))
        raise pytest.UsageError(f"hasten cov needs coverage {least} or later, here is {found.__version__}")
    return found


def _monitor() -> Any:
    """hasten's own collector; None where the interpreter has nothing to build it on."""
    if sys.version_info < (3, 12):
        return None
    try:
        return importlib.import_module("hasten.monitor")
    except ImportError:
        return None


class Controller:
    """Measures in one process; forks go on with a copy of it. cov: coverage.py's object, at last that of the result."""

    def __init__(self, options: Any) -> None:
        self.options = options
        self.topdir = os.getcwd()
        self.source = None if True in options.cov_source else list(options.cov_source)
        self.contexts: str = options.cov_context or ""
        self.cov: Any = None
        self.monitor: Any = None  # the module, in a run of that engine
        self.reason = ""  # why the engine is coverage.py's own
        self.started = False
        self.for_subprocesses: set[str] = set()  # variables by which Python processes measure themselves (patch =)
        self.recorded: list[warnings.WarningMessage] = []
        self.from_workers: list[dict[str, Any]] = []
        self.lost: list[str] = []  # workers that have left no data
        self.before: frozenset[str] = frozenset()  # data files that were there

    def _make(self, **options: Any) -> Any:
        coverage = coverage_module()
        return coverage.Coverage(
            source=self.source, branch=self.options.cov_branch, config_file=self.options.cov_config, **options
        )

    @property
    def data_file(self) -> str:
        return os.path.join(self.topdir, self.cov.config.data_file)

    # ---- beginning

    def start(self, late: bool) -> None:
        """late: beside or in the place of another process of this run, whose data lies there."""
        coverage = coverage_module()
        try:
            self._start(late)
        except (coverage.CoverageException, OSError, ImportError, RuntimeError) as exc:
            raise pytest.UsageError(f"coverage: {exc}") from None

    def _start(self, late: bool) -> None:
        self.cov = self._make(data_suffix=True)
        if self.cov.config.dynamic_context == "test_function":
            warnings.warn(
                cov_warnings.CentralCovContextWarning(
                    "Detected dynamic_context=test_function in coverage configuration. "
                    "This is unnecessary as this plugin provides the more complete --cov-context option."
                ),
                stacklevel=1,
            )
        self._leave_out_hasten()
        if not late:
            if self.options.cov_append:
                cov_data.check_old(self.data_file, bool(self.cov.config.branch))
            else:
                self.cov.erase()
        self.before = frozenset(cov_data.parallel_files(self.data_file))
        self._choose_engine()
        self._keep_own_forks()
        leave = os._exit
        before = set(os.environ)
        if self.monitor is not None:
            self.monitor.start(self.cov, self.contexts)
        else:
            self.cov.config.core = self.cov.config.core or "ctrace"
            if state.hits >= 0:
                importlib.import_module("hasten._native").hits_elsewhere(state.hits)
            self.cov.start()
        self.for_subprocesses = set(os.environ) - before
        self._keep_own_exit(leave)
        os.register_at_fork(after_in_child=self._go_on_in_fork)
        self.started = True
        config = self.cov.config
        if self.options.cov_fail_under is None:
            self.options.cov_fail_under = config.fail_under
        if self.options.cov_precision is None:
            self.options.cov_precision = config.precision

    def _leave_out_hasten(self) -> None:
        """Where nothing says what to measure, everything outside of site-packages is: not hasten in a source tree."""
        config = self.cov.config
        if not (config.source or config.source_pkgs or config.source_dirs):
            own = os.path.join(os.path.dirname(os.path.realpath(__file__)), "*")
            config.run_omit = [*(config.run_omit or ()), own]

    def _choose_engine(self) -> None:
        monitor = _monitor()
        if monitor is None:
            self.reason = f"CPython {sys.version_info[0]}.{sys.version_info[1]} has no sys.monitoring"
            if sys.version_info >= (3, 12):
                self.reason = "hasten's collector is not there"
        else:
            self.reason = monitor.why_not(self.cov, self.contexts or None)
        if not self.reason and not hasattr(coverage_module().CoverageData(no_disk=True), "_hasher"):
            self.reason = "this release of coverage.py is older than what hasten's collector writes for"
        if not self.reason:
            self.monitor = monitor
        elif self.contexts == "function":
            raise pytest.UsageError(f"--cov-context=function is not possible: {self.reason}")

    def _keep_own_exit(self, leave: Any) -> None:
        """`patch = _exit` saves data when a process leaves: hasten's own have done so, and might be too late."""
        patched = os._exit
        if patched is leave:
            return

        def leave_or_save(status: int) -> None:
            caller = sys._getframe(1).f_globals.get("__name__", "")
            (leave if caller.partition(".")[0] == "hasten" else patched)(status)

        os._exit = leave_or_save  # type: ignore[assignment]

    def _keep_own_forks(self) -> None:
        """`patch = fork` starts measuring afresh in each child: hasten's own forks just go on."""
        if "fork" not in self.cov.config.patch:
            return
        control = importlib.import_module("coverage.control")
        restart = control._after_fork_in_child

        def after_fork() -> None:
            if state.role not in ("", "template"):
                restart()

        control._after_fork_in_child = after_fork  # type: ignore[attr-defined]

    def _go_on_in_fork(self) -> None:
        """coverage.py takes a collector of another process for a dead one when the next one is started (by a test)."""
        if state.role in ("", "template") and self.started:
            self.cov._collector.pid = os.getpid()

    def warn_again(self) -> None:
        """What begin() has caught, where pytest records it."""
        for warning in self.recorded:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno, source=warning.source
            )
        self.recorded = []

    def describe(self) -> str:
        who = f"coverage.py's own tracer ({self.reason})" if self.monitor is None else "hasten's collector"
        return f"coverage: {who}"

    # ---- while tests run

    def switch(self, context: str) -> None:
        if not self.started:
            return
        if self.monitor is not None:
            self.monitor.switch(context)
        else:
            self.cov.switch_context(context)

    @property
    def switcher(self) -> Callable[[str], object]:
        """What each phase of each test calls. The collector takes a new context while it is paused, too."""
        return self.switch if self.monitor is None else self.monitor.switch

    def pause(self) -> None:
        self.started = False
        if self.monitor is not None:
            self.monitor.pause()
        else:
            self.cov.stop()

    def resume(self) -> None:
        if self.monitor is not None:
            self.monitor.resume()
        else:
            leave = os._exit
            self.cov.start()
            os._exit = leave  # the patch is there already
        self.started = True

    # ---- processes that do not report

    def before_workers(self) -> None:
        """In the template: what has run so far is saved here, once for all workers."""
        self._flush()

    def after_workers(self) -> None:
        """In the template, which ends now: --session-once fixtures were torn down here."""
        self._flush()

    def _flush(self) -> None:
        if self.monitor is None and self.started:
            with self._in_topdir(), contextlib.suppress(*self.errors):  # else every worker saves it, or says so
                self.cov._collector.flush_data()

    def finish_part(self, output: dict[str, Any]) -> None:
        """In a worker, or a template that ran no worker. output: goes to the reporter."""
        self.started = False
        if self.monitor is not None:
            self.monitor.pause()
        else:
            self.cov._warn_no_data = self.cov._warn_unimported_source = False
            self.cov.stop()
            try:
                with self._in_topdir():
                    self.cov.save()
            except self.errors:
                return  # the reporter will miss it
        output[OUTPUT] = self._look_at_sources()

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What goes wrong with data files."""
        return (coverage_module().CoverageException, OSError, sqlite3.Error)

    def _look_at_sources(self) -> dict[str, Any]:
        """Where this process has found the packages that are to be measured: the reporter has not imported them."""
        found = {}
        for name in self.cov._inorout.source_pkgs:
            module = sys.modules.get(name)
            if module is not None:
                found[name] = (getattr(module, "__file__", None), getattr(module, "__path__", None) is not None)
        return {"found": found, "unmatched": list(self.cov._inorout.source_pkgs_unmatched)}

    # ---- the process that reports

    def worker_ended(self, name: str, output: dict[str, Any] | None) -> None:
        part = (output or {}).pop(OUTPUT, None)
        if part is None:
            self.lost.append(name)
        else:
            self.from_workers.append(part)

    def finish(self) -> None:
        """Everything that any process has measured is in the data file then, and in self.cov."""
        self.started = False
        distributed = state.role == "reporter"
        append = bool(self.options.cov_append)
        with self._in_topdir():
            if distributed:
                self._match_sources()
            if self.monitor is None:
                self.cov._warn_no_data = not distributed
            with self._modules_of_workers(), self._mapped(append) as is_mapped:
                self.cov.stop()
                if self.monitor is not None:
                    self.monitor.finish(self.cov)
                self.cov.save()
            warn = self.cov._warn
            empty = self.monitor is None and distributed
            self.cov = cov_data.combine(self._make, self.cov, self.data_file, append, is_mapped)
            if empty and not self.cov.get_data().measured_files():
                warn("No data was collected.", slug="no-data-collected")

    def _mapped(self, append: bool) -> contextlib.AbstractContextManager[bool]:
        if self.monitor is None:  # coverage.py's collector has its own way of naming files
            return contextlib.nullcontext(False)
        return cov_data.mapped(self.cov, self.data_file, append)

    def _match_sources(self) -> None:
        unmatched = self.cov._inorout.source_pkgs_unmatched
        self.cov._warn_unimported_source = bool(self.from_workers)
        unmatched[:] = [name for name in unmatched if all(name in part["unmatched"] for part in self.from_workers)]

    @contextlib.contextmanager
    def _modules_of_workers(self) -> Iterator[None]:
        """coverage.py looks for files that never ran beside the modules of measured packages that were imported."""
        added = []
        for part in self.from_workers:
            for name, (file, is_package) in part["found"].items():
                if name in sys.modules:
                    continue
                module = types.ModuleType(name)
                if file is not None:
                    module.__file__ = file
                if is_package:
                    module.__path__ = []
                sys.modules[name] = module
                added.append(name)
        try:
            yield
        finally:
            for name in added:
                del sys.modules[name]

    def abandon(self) -> None:
        """The run was interrupted, and there is no report: data of single processes is of no use to anybody."""
        self.started = False
        with contextlib.suppress(Exception):
            self.cov.stop()
        for path in cov_data.parallel_files(self.data_file):
            if path not in self.before:
                with contextlib.suppress(OSError):
                    os.unlink(path)

    @contextlib.contextmanager
    def _in_topdir(self) -> Iterator[None]:
        """Relative names in options and configuration count from where pytest was started."""
        try:
            before = os.getcwd()
        except OSError:  # removed by the last test
            before = self.topdir
        os.chdir(self.topdir)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                os.chdir(before)


class Plugin:
    """Plugin "_cov". controller: None under --no-cov."""

    def __init__(self, options: Any, controller: Controller | None, manager: pytest.PytestPluginManager) -> None:
        self.options = options
        self.manager = manager
        self.cov_controller = controller
        self.cov_total: float | None = None
        self.text = io.StringIO()
        if not options.cov_report:
            options.cov_report = {"term": None}
        elif set(options.cov_report) == {""}:
            options.cov_report = {}

    @pytest.hookimpl
    def pytest_report_header(self) -> str | None:
        if self.cov_controller is None:
            return None
        taken = self.manager.get_plugin(cov_options.NAME) not in (None, cov_options)
        return self.cov_controller.describe() + (", in the place of pytest-cov" if taken else "")

    @pytest.hookimpl
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        controller = self.cov_controller
        if controller is not None and controller.contexts:
            kind = PhaseContexts if controller.contexts == "test" else ItemContexts
            session.config.pluginmanager.register(kind(controller), "_cov_contexts")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        if self.cov_controller is not None:
            self.cov_controller.worker_ended(node.gateway.id, getattr(node, "workeroutput", None))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        controller = self.cov_controller
        if controller is None:
            return (yield)
        cov_report.let_warnings_be()
        try:
            result = yield
        except BaseException:
            if state.role in ("plain", "reporter"):
                controller.abandon()
            raise
        if state.role in ("template", "worker"):
            controller.finish_part(session.config.workeroutput)  # type: ignore[attr-defined]
        else:
            self._finish(controller, session)
        return result

    def _finish(self, controller: Controller, session: pytest.Session) -> None:
        try:
            controller.finish()
        except controller.errors as exc:
            controller.abandon()
            cov_report.say(session.config, f"\nERROR: coverage: {exc}\n")
            session.testsfailed += 1
        else:
            self._report(controller, session)

    def _report(self, controller: Controller, session: pytest.Session) -> None:
        options = self.options
        failed = bool(session.testsfailed) and options.no_cov_on_fail
        if failed or not (options.cov_report or options.cov_fail_under):
            return
        with controller._in_topdir():
            report = cov_report.Report(controller, options, self.text)
            self.cov_total = report.make(session.config)
        if options.cov_fail_under is not None and not options.collectonly:
            report.check_total(session, self.cov_total)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.cov_controller is None:
            cov_report.say_disabled(terminalreporter, self.options)
        elif self.cov_total is not None:
            cov_report.show(terminalreporter, self.options, self.text.getvalue(), self.cov_total)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if any("no_cover" in getattr(item, "fixturenames", ()) for item in session.items):
            self.watch_no_cover()

    def watch_no_cover(self) -> None:
        """From here on each test is asked whether it is to be left out: most suites never mention it."""
        if self.cov_controller is not None and self.manager.get_plugin("_cov_no_cover") is None:
            self.manager.register(NoCover(self.cov_controller), "_cov_no_cover")

    def notice_marker(self) -> None:
        """Every mark of that name begins with this attribute of pytest.mark, also one that a fixture adds."""
        generator = type(pytest.mark)

        def no_cover(marks: Any) -> Any:
            self.watch_no_cover()
            return generator.__getattr__(marks, "no_cover")

        generator.no_cover = property(no_cover)  # type: ignore[attr-defined]


class NoCover:
    """Plugin "_cov_no_cover": the marker and the fixture."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        if not ("no_cover" in getattr(item, "fixturenames", ()) or item.get_closest_marker("no_cover")):
            return (yield)
        self.controller.pause()
        try:
            return (yield)
        finally:
            self.controller.resume()


class PhaseContexts:
    """Plugin "_cov_contexts" of --cov-context=test: the three phases of a test apart."""

    def __init__(self, controller: Controller) -> None:
        self.switch = controller.switcher

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.switch(f"{item.nodeid}|setup")

    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self.switch(f"{item.nodeid}|run")

    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        self.switch(f"{item.nodeid}|teardown")


class ItemContexts:
    """The same of --cov-context=item and function: one context for each test."""

    def __init__(self, controller: Controller) -> None:
        self.switch = controller.switcher

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.switch(item.nodeid)
