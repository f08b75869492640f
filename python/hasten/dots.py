"""Reports a passing test to pytest's own listeners without a hook call for each of its phases."""

from __future__ import annotations

import os
from typing import Any

import pytest
from _pytest._io import TerminalWriter
from _pytest.terminal import TerminalReporter

from hasten import _native
from hasten.passed import Passed

KNOWN_PYTEST = ("8.4", "9.0", "9.1", "9.2")
ALL = 1 << 30


def is_off(config: pytest.Config) -> bool:
    return os.environ.get("HASTEN_FUSE") == "0" or bool(config.getoption("no_fuse", False))


class Dots:
    """Does to each of pytest's listeners what its hook would have done.

    Only while the hooks of a test have pytest's own implementations, the terminal reporter is pytest's, and prints one
    letter per test. Where nobody else listens at all the tests stay records (passed.Passed).
    """

    HOOKS = (
        "pytest_runtest_logstart",
        "pytest_runtest_logreport",
        "pytest_runtest_logfinish",
        "pytest_report_teststatus",
    )
    OWN = frozenset(
        "_pytest." + name for name in ("terminal", "main", "logging", "cacheprovider", "skipping", "runner", "subtests")
    ) | {"hasten.live"}

    def __init__(self, tr: Any, last_failed: dict[Any, Any] | None, letter: bool) -> None:
        self.tr = tr
        self.letter = letter
        self.last_failed = last_failed
        self.passed: Passed | None = None
        self.line: str | None = None  # as it was left on the screen, and its width
        self.width = 0

    @classmethod
    def make(cls, config: pytest.Config, letter: bool) -> Dots | None:
        tr: Any = config.pluginmanager.getplugin("terminalreporter")
        if type(tr) is not TerminalReporter or config.getoption("verbose", 0) > 0 or not hasattr(tr, "_is_last_item"):
            return None
        if not hasattr(tr, "_write_progress_information_if_past_edge") or tr.showlongtestinfo or tr.showfspath:
            return None
        for name in cls.HOOKS:
            for impl in getattr(config.hook, name).get_hookimpls():
                if impl.function.__module__ not in cls.OWN:
                    return None
        if config.pluginmanager.hasplugin("stepwiseplugin") or config.pluginmanager.hasplugin("logging-live"):
            return None
        return cls(tr, getattr(config.pluginmanager.getplugin("lfplugin"), "lastfailed", None), letter)

    # ---- tests that stay records

    def keep(self, passed: Passed | None, config: pytest.Config, ids: list[str]) -> Passed | None:
        """From here on plain passes stay records, where nothing speaks against it. passed: where there are some."""
        if is_off(config) or not pytest.__version__.startswith(KNOWN_PYTEST) or self.tr._show_progress_info == "times":
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
        tw._current_line += "." * n
        tw.write_raw(tw.markup(".", green=True) * n)
        self.line = tw._current_line
        self.width += n
        if is_full and not tr._is_last_item:
            tr._write_progress_information_if_past_edge()

    # ---- tests whose reports are there

    def take(self, nodeid: str, reports: list[Any]) -> bool:
        """False when the hooks have to be called after all."""
        tr = self.tr
        if self.last_failed:
            self.last_failed.pop(getattr(reports[1], "_id", nodeid), None)
        setup, call, teardown = reports
        tr._tests_ran = True
        tr._current_logreport = teardown
        tr._add_stats("", [setup])
        tr._add_stats("passed", [call])
        tr._add_stats("", [teardown])
        tr._progress_nodeids_reported.add(getattr(call, "_id", nodeid))
        if not self.letter:
            return True
        tr._tw.write(".", green=True)
        if tr._show_progress_info and not tr._is_last_item:
            tr._write_progress_information_if_past_edge()
        return True
