"""What pytest prints while the program draws its live screen: no dots, and each failure in full when it happens.

The program shows progress itself, in a region below pytest's output. Only pytest's own terminal reporter is changed,
and of it only what it writes: hooks, statistics and exit status are as without it. Where a plugin has put a reporter of
its own in place, everything is left to that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter

SUMMARIES = {"failed": "summary_failures", "error": "summary_errors"}  # in the order of a test's reports
SCREENS = ("sugar", "rich")  # plugins that draw progress themselves, by entry point


def has_own_screen(config: pytest.Config) -> bool:
    """A plugin draws progress itself: the program had better not."""
    return any(config.pluginmanager.hasplugin(name) for name in SCREENS)


def own_lines(config: pytest.Config) -> None:
    """-v: pytest's own line for each test. For a report that has a node it writes one of pytest-xdist's."""
    tr = config.pluginmanager.getplugin("terminalreporter")
    if type(tr) is not TerminalReporter or has_own_screen(config):
        return

    def without_node(original: Any) -> Any:
        def pytest_runtest_logreport(report: Any) -> None:
            node = report.__dict__.pop("node", None)
            try:
                original(report)
            finally:
                if node is not None:
                    report.node = node

        return pytest_runtest_logreport

    _replace(config, tr, "pytest_runtest_logreport", without_node)


def _replace(config: pytest.Config, tr: TerminalReporter, hook: str, make: Callable[[Any], Any]) -> None:
    for impl in getattr(config.hook, hook).get_hookimpls():
        if impl.plugin is tr:
            impl.function = make(impl.function)


class _Nowhere:
    """A file for what is not to be seen."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


class Live:
    """Failures above the region, as they happen."""

    def __init__(self, config: pytest.Config, tr: TerminalReporter) -> None:
        self.config = config
        self.tr: Any = tr
        self.seen = dict.fromkeys(SUMMARIES, 0)
        self.shown: set[int] = set()  # ids of reports, which live as long as tr.stats

    @classmethod
    def make(cls, config: pytest.Config) -> Live | None:
        """To be called when every plugin is configured; None where another reporter is in place."""
        tr = config.pluginmanager.getplugin("terminalreporter")
        if type(tr) is not TerminalReporter or has_own_screen(config):
            return None
        live = cls(config, tr)
        live._quieten()
        if not getattr(config.option, "no_summary", False):
            for category, name in SUMMARIES.items():
                setattr(tr, name, live._summary_of_the_rest(category))
        return live

    def _quieten(self) -> None:
        """No letters; with -v one line per test, not two: a test's start and its result come at the same time here."""
        kind = getattr(pytest.Config, "VERBOSITY_TEST_CASES", None)  # pytest 8.1 and later
        if (self.config.get_verbosity(kind) if kind else self.config.getoption("verbose", 0)) > 0:
            _replace(self.config, self.tr, "pytest_runtest_logstart", lambda original: lambda nodeid, location: None)
            return
        self.tr._show_progress_info = False
        _replace(self.config, self.tr, "pytest_runtest_logreport", self._without_letter)

    def _without_letter(self, original: Any) -> Any:
        from _pytest._io import TerminalWriter

        tr, nowhere = self.tr, TerminalWriter(_Nowhere())  # type: ignore[arg-type]

        def pytest_runtest_logreport(report: Any) -> None:
            tw, tr._tw = tr._tw, nowhere
            try:
                original(report)
            finally:
                tr._tw = tw

        return pytest_runtest_logreport

    def show(self) -> None:
        """Prints the failures that have come since the last time."""
        stats = self.tr.stats
        for category in SUMMARIES:
            reports = dict.get(stats, category, ())
            if len(reports) == self.seen[category]:
                continue
            new = [report for report in reports[self.seen[category] :] if id(report) not in self.shown]
            self.seen[category] = len(reports)
            if new and not getattr(self.config.option, "no_summary", False):
                self._print(category, new, title=False)
                self.tr.ensure_newline()
                self.tr.flush()

    def _print(self, category: str, reports: list[Any], title: bool) -> None:
        """These reports as pytest's summary prints them."""
        tr, stats = self.tr, self.tr.stats
        ids = {report.nodeid for report in reports}
        others = dict.get(stats, "", ())  # passed set-ups and teardowns; a test's own are the last ones when it is over
        others = others if title else others[-8 * len(reports) :]
        self.shown.update(map(id, reports))
        tr.stats = {category: reports, "": [report for report in others if report.nodeid in ids]}
        if not title:
            tr.write_sep = lambda sep, text=None, *args, **markup: (
                None if sep == "=" else type(tr).write_sep(tr, sep, text, *args, **markup)
            )
        try:
            getattr(type(tr), SUMMARIES[category])(tr)
        finally:
            tr.stats = stats
            tr.__dict__.pop("write_sep", None)

    def _summary_of_the_rest(self, category: str) -> Any:
        def summary() -> None:
            rest = [report for report in dict.get(self.tr.stats, category, ()) if id(report) not in self.shown]
            if rest:
                self._print(category, rest, title=True)

        return summary
