"""What pytest-cov prints and writes at the end: coverage.py's reports, the total, and its warnings. Same texts."""

from __future__ import annotations

import contextlib
import functools
import importlib
import shutil
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from hasten import cov_warnings


class _Nowhere:
    """A file for reports of which only the total is wanted."""

    @staticmethod
    def write(_text: str) -> None:
        pass


def let_warnings_be() -> None:
    """Suites that turn warnings into errors do not mean coverage's: a default for each that has no filter yet."""
    exceptions = importlib.import_module("coverage.exceptions")

    text = "unclosed database in <sqlite3.Connection object at"
    named: list[Any] = [filter_[1] for filter_ in warnings.filters if filter_[2] is ResourceWarning and filter_[1]]
    if not any(str(getattr(message, "pattern", message)).replace("\\", "") == text for message in named):
        warnings.filterwarnings("default", text, ResourceWarning)
    for category in (cov_warnings.PytestCovWarning, exceptions.CoverageWarning):
        if not any(known is category for _, _, known, _, _ in warnings.filters):
            warnings.simplefilter("once", category)


def say(config: pytest.Config, text: str) -> None:
    terminal = config.pluginmanager.getplugin("terminalreporter")
    if terminal is None:
        sys.stderr.write(text)
    else:
        terminal.write(text, red=True, bold=True)


SHARING = ("total", "term", "xml", "json", "markdown", "markdown-append")  # the others want the parsed source, too


class Analyses:
    """What coverage.py knows of each file, for all reports of a run. cov: coverage.Coverage, loaded."""

    def __init__(self, cov: Any) -> None:
        self.cov = cov
        self.own = cov._analyze
        self.known: dict[Any, Any] = {}

    def analyze(self, morf: Any, file_reporter: Any = None) -> Any:
        data = self.cov.get_data()
        chosen = getattr(data, "_query_context_ids", None)
        name = file_reporter.filename if file_reporter is not None else morf
        key = (id(data), name, self.cov.config.precision, None if chosen is None else tuple(chosen))
        if key not in self.known:
            data.arcs = functools.lru_cache(1)(data.arcs)  # asked for twice in a row
            try:
                self.known[key] = self.own(morf, file_reporter)
            finally:
                del data.arcs
        return self.known[key]


class Report:
    """Makes the reports of one run. out: what the terminal is to show of them."""

    def __init__(self, controller: Any, options: Any, out: Any) -> None:
        self.cov = controller.cov
        self.lost = controller.lost if controller.monitor is None else []
        self.wanted: dict[str, str | None] = options.cov_report
        self.options = options
        self.out = out
        self.analyses: Analyses | None = None

    def make(self, config: pytest.Config) -> float:
        """The total in percent; 0 when coverage.py cannot make one, which is said."""
        coverage = importlib.import_module("coverage")
        try:
            return self._make()
        except (coverage.CoverageException, OSError) as exc:
            message = f"Failed to generate report: {exc}\n"
            say(config, f"\nWARNING: {message}\n")
            warnings.warn(cov_warnings.CovReportWarning(message), stacklevel=1)
            return 0

    def _make(self) -> float:
        self._read_once()
        precision = self.options.cov_precision
        with self._shared("total"):
            total = self.cov.report(ignore_errors=True, output_format="total", precision=precision, file=_Nowhere)
        version = "{}.{}.{}-{}-{}".format(*sys.version_info)
        self._separate(f"coverage: platform {sys.platform}, python {version}")
        if self.lost:
            self._separate("coverage: failed workers")
            self.out.write("The following workers were killed, and what they have measured is lost:\n")
            self.out.write("".join(f"{name}\n" for name in self.lost))
        if "term" in self.wanted or "term-missing" in self.wanted:
            with self._shared("term"):
                self.cov.report(
                    show_missing=("term-missing" in self.wanted) or None,
                    ignore_errors=True,
                    file=self.out,
                    precision=precision,
                    skip_covered=("skip-covered" in self.wanted.values()) or None,
                )
        for kind in ("annotate", "html", "xml", "json", "markdown", "markdown-append", "lcov"):
            if kind in self.wanted:
                with self._shared(kind):
                    self.out.write(getattr(self, "_" + kind.replace("-", "_"))(self.wanted[kind]) + "\n")
        return float(total)

    def _read_once(self) -> None:
        """Each report of coverage.py's reads the data and parses the sources for itself, and maps all data again."""
        cov = self.cov
        if cov.config.paths and all(cov._make_aliases().map(path) == path for path in cov.get_data().measured_files()):
            cov.config.paths = {}
        if hasattr(cov, "_analyze"):
            self.analyses = Analyses(cov)

    @contextlib.contextmanager
    def _shared(self, kind: str) -> Iterator[None]:
        if self.analyses is None or kind not in SHARING:
            yield
            return
        self.cov._analyze = self.analyses.analyze
        try:
            yield
        finally:
            del self.cov._analyze

    def _separate(self, title: str) -> None:
        """A line across the terminal, as pytest's own but with an empty line behind it."""
        width = _terminal_width()
        fill = "_" * max((width - len(title) - 2) // 2, 1)
        line = f"{fill} {title} {fill}"
        if len(line) < width:
            line += "_"
        self.out.write(line + "\n\n")

    def _annotate(self, where: str | None) -> str:
        self.cov.annotate(ignore_errors=True, directory=where)
        return (
            f"Coverage annotated source written to dir {where}"
            if where
            else ("Coverage annotated source written next to source")
        )

    def _html(self, where: str | None) -> str:
        self.cov.html_report(ignore_errors=True, directory=where)
        return f"Coverage HTML written to dir {self.cov.config.html_dir if where is None else where}"

    def _xml(self, where: str | None) -> str:
        self.cov.xml_report(ignore_errors=True, outfile=where)
        return f"Coverage XML written to file {self.cov.config.xml_output if where is None else where}"

    def _json(self, where: str | None) -> str:
        self.cov.json_report(ignore_errors=True, outfile=where)
        return f"Coverage JSON written to file {self.cov.config.json_output if where is None else where}"

    def _lcov(self, where: str | None) -> str:
        self.cov.lcov_report(ignore_errors=True, outfile=where)
        return f"Coverage LCOV written to file {self.cov.config.lcov_output if where is None else where}"

    def _markdown(self, where: str | None, mode: str = "w", done: str = "written") -> str:
        assert where is not None
        with open(where, mode, encoding="utf-8") as file:
            self.cov.report(ignore_errors=True, file=file, output_format="markdown")
        return f"Coverage Markdown information {done} to file {where}"

    def _markdown_append(self, where: str | None) -> str:
        return self._markdown(where, "a", "appended")

    def check_total(self, session: pytest.Session, total: float) -> None:
        """--cov-fail-under: the run has failed then, whatever its tests say."""
        results = importlib.import_module("coverage.results")
        least, precision = self.options.cov_fail_under, self.options.cov_precision
        if results.should_fail_under(total, least, precision):
            shown = results.display_covered(total, precision)
            text = f"Coverage failure: total of {shown} is less than fail-under={least:.{precision}f}"
            say(session.config, f"\nERROR: {text}\n")
            session.testsfailed += 1


def _terminal_width() -> int:
    width = shutil.get_terminal_size(fallback=(80, 24))[0]
    return width if width >= 40 else 80


def _heading(terminal: Any) -> None:
    terminal.write_sep("=", "tests coverage")


def say_disabled(terminal: Any, options: Any) -> None:
    """--no-cov, with options before it that ask for coverage."""
    if options.no_cov_should_warn:
        message = "Coverage disabled via --no-cov switch!"
        _heading(terminal)
        terminal.write(f"WARNING: {message}\n", red=True, bold=True)
        warnings.warn(cov_warnings.CovDisabledWarning(message), stacklevel=1)


def show(terminal: Any, options: Any, text: str, total: float) -> None:
    least = options.cov_fail_under
    judged = least is not None and least > 0
    if text or judged:
        _heading(terminal)
    if text:
        terminal.write(text)
    if judged:
        failed = total < least
        colour = {"red": True, "bold": True} if failed else {"green": True}
        terminal.write(
            f"{'FAIL ' if failed else ''}Required test coverage of {least}% {'not reached' if failed else 'reached'}. "
            f"Total coverage: {total:.2f}%\n",
            **colour,
        )
