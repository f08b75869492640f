"""Reports a passing test to pytest's own listeners without a hook call for each of its phases."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

import pytest
from _pytest._io import TerminalWriter
from _pytest.terminal import TerminalReporter

from hasten import _native, switch
from hasten.passed import Passed

KNOWN_PYTEST = ("8.4", "9.0", "9.1", "9.2")
ALL = 1 << 30
OWN = frozenset(
    "_pytest." + name for name in ("terminal", "main", "logging", "cacheprovider", "skipping", "runner", "subtests")
) | {"hasten.live"}


class Step(enum.Enum):
    """What a listener does about a report of a passed phase."""

    FOREIGN = 1  # whatever it likes
    TERMINAL = 2
    LAST_FAILED = 3
    NOTHING = 4


def _call(impl: Any, names: tuple[str, ...]) -> Callable[..., Any]:
    """A function of all these arguments that passes those on that impl wants, as pluggy does."""
    function = impl.function
    if impl.argnames == names:
        return function  # type: ignore[no-any-return]
    at = [names.index(name) for name in impl.argnames]
    return lambda *args: function(*[args[i] for i in at])


class Dots:
    """Does to each of pytest's listeners what its hook would have done.

    Only while the terminal reporter is pytest's and prints one letter per test. Where nobody else listens at all the
    tests stay records (passed.Passed); other plugins' plain implementations are called at their places in the order.
    """

    HOOKS = (
        "pytest_runtest_logstart",
        "pytest_runtest_logreport",
        "pytest_runtest_logfinish",
        "pytest_report_teststatus",
    )

    def __init__(self, tr: Any, last_failed: dict[Any, Any] | None, letter: bool) -> None:
        self.tr = tr
        self.letter = letter
        self.last_failed = last_failed
        self.passed: Passed | None = None
        self.line: str | None = None  # as it was left on the screen, and its width
        self.width = 0
        self.hooks: list[tuple[Any, list[Any]]] = []  # and who was there when steps was made
        self.steps: list[tuple[Step, Callable[..., Any]]] | None = None  # of a report; None: nobody but pytest listens
        self.starts: list[Callable[..., Any]] = []
        self.ends: list[Callable[..., Any]] = []

    @classmethod
    def make(cls, config: pytest.Config, letter: bool) -> Dots | None:
        tr: Any = config.pluginmanager.getplugin("terminalreporter")
        if type(tr) is not TerminalReporter or config.getoption("verbose", 0) > 0 or not hasattr(tr, "_is_last_item"):
            return None
        if not hasattr(tr, "_write_progress_information_if_past_edge") or tr.showlongtestinfo or tr.showfspath:
            return None
        if config.pluginmanager.hasplugin("stepwiseplugin") or config.pluginmanager.hasplugin("logging-live"):
            return None
        dots = cls(tr, getattr(config.pluginmanager.getplugin("lfplugin"), "lastfailed", None), letter)
        return dots if dots._listen(config) else None

    def _listen(self, config: pytest.Config) -> bool:
        """Finds out who listens; False when pluggy has to call them."""
        self.hooks = [(hook, hook.get_hookimpls()) for hook in (getattr(config.hook, name) for name in self.HOOKS)]
        foreign = [[i for i in impls if i.function.__module__ not in OWN] for _, impls in self.hooks]
        if not any(foreign):
            return True
        inner = getattr(config.pluginmanager, "_inner_hookexec", None)
        if switch.is_off(config) or foreign[-1] or getattr(inner, "__name__", "") not in ("_multicall", "multicall"):
            return False
        if any(impl.hookwrapper or impl.wrapper for impls in foreign for impl in impls):
            return False
        self.starts, self.ends = ([_call(i, ("nodeid", "location")) for i in reversed(foreign[at])] for at in (0, 2))
        self.steps = [(self._step(impl), _call(impl, ("report",))) for impl in reversed(self.hooks[1][1])]
        return True

    def _step(self, impl: Any) -> Step:
        if impl.function.__module__ not in OWN:
            return Step.FOREIGN
        if impl.plugin is self.tr:
            return Step.TERMINAL
        return Step.LAST_FAILED if type(impl.plugin).__name__ == "LFPlugin" else Step.NOTHING

    @property
    def tells_others(self) -> bool:
        return self.steps is not None

    # ---- tests that stay records

    def keep(self, passed: Passed | None, config: pytest.Config, ids: list[str]) -> Passed | None:
        """From here on plain passes stay records, where nothing speaks against it. passed: where there are some."""
        if (
            self.steps is not None
            or switch.is_off(config)
            or not pytest.__version__.startswith(KNOWN_PYTEST)
            or self.tr._show_progress_info == "times"
        ):
            return passed
        if passed is None:
            passed = Passed.make(self.tr, ids)
            if passed is None:
                return None
            _native.passed_open(len(ids))
            failed = set(map(str, self.last_failed or ()))
            for item, nodeid in enumerate(ids if failed else ()):
                if nodeid in failed:
                    passed.own(item)
        if self._is_plain(passed):
            self.passed = passed
            _native.passed_open(len(ids))
        return passed

    def _is_plain(self, passed: Passed) -> bool:
        tw = self.tr._tw
        return passed.is_in_place() and type(tw) is TerminalWriter and not {"write", "write_raw"} & tw.__dict__.keys()

    def stop(self) -> None:
        """Plain passes come one by one from here on."""
        if self.passed is not None:
            _native.passed_close()
            self.passed = None

    def take_all(self) -> int:
        """The plain passes that come next in the journal; how many."""
        passed = self.passed
        if passed is None:
            return 0
        if not self._is_plain(passed):
            self.stop()
            return 0
        total = 0
        while got := passed.take(self._room()):
            total += got
            if self.letter:
                self._write(got)
        if total:
            self.tr._tests_ran = True
        return total

    def _room(self) -> int:
        """How many letters are written until pytest may write how far the run is."""
        tr = self.tr
        if not self.letter or not tr._show_progress_info:
            return ALL
        if tr._tw._current_line is not self.line:
            self.line = tr._tw._current_line
            self.width = tr._width_of_current_line
        total = tr._session.testscollected
        progress = len(f" [{total}/{total}]") if tr._show_progress_info == "count" else len(" [100%]")
        return max(1, int(tr._screen_width) - progress - 1 - self.width)

    def _write(self, n: int) -> None:
        tr, tw = self.tr, self.tr._tw
        is_full = n == self._room() if tr._show_progress_info else False
        self.line = tw._current_line + "." * n
        tw.write(tw.markup(".", green=True) * n)
        tw._current_line = self.line  # without the control sequences
        self.width += n
        if is_full and not tr._is_last_item:
            tr._write_progress_information_if_past_edge()

    # ---- tests whose reports are there

    def take(self, nodeid: str, reports: list[Any]) -> bool:
        """False when the hooks have to be called after all."""
        if self.steps is None:
            if self.last_failed:
                self.last_failed.pop(getattr(reports[1], "_id", nodeid), None)
            for report in reports:
                self._count(report)
            return True
        if any(hook.get_hookimpls() != impls for hook, impls in self.hooks):
            return False  # somebody has left
        location = reports[0].location
        for start in self.starts:
            start(nodeid, location)
        for report, when in zip(reports, ("setup", "call", "teardown"), strict=True):
            self._tell(report, when)
        for end in self.ends:
            end(nodeid, location)
        return True

    def _tell(self, report: Any, when: str) -> None:
        assert self.steps is not None
        plain = True
        for step, function in self.steps:
            if step is Step.FOREIGN:
                function(report)
                plain = plain and report.outcome == "passed" and report.when == when and not hasattr(report, "wasxfail")
            elif not plain:
                function(report)
            elif step is Step.TERMINAL:
                self._count(report)
                if when == "call":
                    self.tr.flush()
            elif step is Step.LAST_FAILED and when == "call" and self.last_failed:
                self.last_failed.pop(getattr(report, "_id", report.nodeid), None)

    def _count(self, report: Any) -> None:
        """What pytest's terminal reporter does about a report of a passed phase."""
        tr = self.tr
        tr._tests_ran = True
        tr._current_logreport = report
        if report.when != "call":
            tr._add_stats("", [report])
            return
        tr._add_stats("passed", [report])
        tr._progress_nodeids_reported.add(report._id if hasattr(report, "_id") else report.nodeid)
        if self.letter:
            tr._tw.write(".", green=True)
            if tr._show_progress_info and not tr._is_last_item:
                tr._write_progress_information_if_past_edge()
