"""The parts of `hasten cov` that need no run: options, the place of pytest-cov, diffs, merging of data files."""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hasten import cov_data, cov_diff, cov_options, cov_warnings, cov_write

# ---- options


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("term", ("term", None)),
        ("term-missing:skip-covered", ("term-missing", "skip-covered")),
        ("html:some/where:else", ("html", "some/where:else")),
        ("markdown-append", ("markdown-append", None)),
        ("", ("", None)),
    ],
)
def test_kinds_of_reports(text: str, found: tuple[str, str | None]) -> None:
    assert cov_options.report_kind(text) == found


@pytest.mark.parametrize("text", ["nothing", "term:file", "term-missing:other", ":x", "HTML"])
def test_kinds_of_reports_that_there_are_not(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        cov_options.report_kind(text)


@pytest.mark.parametrize(("text", "found"), [("90", 90), ("99.5", 99.5), ("-1", -1), ("100", 100)])
def test_a_threshold_is_the_number_that_was_written(text: str, found: float) -> None:
    assert cov_options.least_percentage(text) == found
    assert str(cov_options.least_percentage(text)) == text


@pytest.mark.parametrize("text", ["101", "100.1", "many", ""])
def test_thresholds_that_cannot_be(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        cov_options.least_percentage(text)


def parse(*args: str) -> argparse.Namespace:
    from _pytest.config import get_config

    config = get_config()
    parser: Any = config._parser
    cov_options.pytest_addoption(parser)
    found: argparse.Namespace = parser.parse_known_args(args)
    return found


def test_reports_are_gathered() -> None:
    assert parse("--cov-report=term", "--cov-report=html:h", "--cov-report=markdown").cov_report == {
        "term": None,
        "html": "h",
        "markdown": "coverage.md",
    }
    assert parse().cov_report == {}, "one run's options are not the next one's"


def test_sources_are_gathered_and_forgotten() -> None:
    assert parse("--cov", "--cov=a").cov_source == [True, "a"]
    assert parse("--cov=a", "--cov-reset", "--cov=b").cov_source == ["b"]


def test_pytest_covs_option_learns_our_contexts(pytestconfig: pytest.Config) -> None:
    plugin = pytest.importorskip("pytest_cov.plugin")
    from _pytest.config import get_config

    config = get_config()
    parser: Any = config._parser
    manager = config.pluginmanager
    manager.register(cov_options.Place(parser), "place")
    manager.register(plugin, "pytest_cov")
    assert parser.parse_known_args(["--cov-context=item"]).cov_context == "item"
    starters = [impl.plugin for impl in manager.hook.pytest_load_initial_conftests.get_hookimpls()]
    assert plugin not in starters, "pytest-cov would measure, too"
    assert plugin in [impl.plugin for impl in manager.hook.pytest_configure.get_hookimpls()]


def test_pytest_cov_may_be_there_before(pytestconfig: pytest.Config) -> None:
    plugin = pytest.importorskip("pytest_cov.plugin")
    from _pytest.config import get_config

    config = get_config()
    manager = config.pluginmanager
    manager.register(plugin, "pytest_cov")
    cov_options.install(config._parser, manager)
    parser: Any = config._parser
    assert parser.parse_known_args(["--cov-context=function"]).cov_context == "function"


def test_warnings_are_pytest_covs_own_where_it_is_installed() -> None:
    module = pytest.importorskip("pytest_cov")
    assert cov_warnings.CovReportWarning is module.CovReportWarning


def test_warnings_have_their_order_where_it_is_not() -> None:
    made = cov_warnings._find("NoSuchWarning", cov_warnings.PytestCovWarning)
    assert issubclass(made, pytest.PytestWarning)
    assert made.__name__ == "NoSuchWarning"


# ---- diffs


def test_changed_lines_of_a_diff_without_context() -> None:
    diff = (
        "diff --git a/x.py b/x.py\n--- a/x.py\n+++ b/x.py\n@@ -1 +1,2 @@ def f():\n-old\n+new\n+++ looks like a name\n"
        "@@ -10,2 +11,0 @@\n-gone\n--- looks like one, too\n@@ -20,0 +20 @@\n+one\n\\ No newline at end of file\n"
        'diff --git a/y b/y\n--- /dev/null\n+++ "b/\\303\\244 \\"q\\".py"\n@@ -0,0 +1,3 @@\n+1\n+2\n+3\n'
    )
    assert cov_diff.changed_lines(diff) == {"x.py": {1, 2, 20}, 'ä "q".py': {1, 2, 3}}


def test_changed_lines_of_nothing() -> None:
    assert cov_diff.changed_lines("") == {}


def test_ranges_join_neighbours() -> None:
    assert cov_diff.ranges([3, 1, 2, 7, 9, 10]) == [(1, 3), (7, 7), (9, 10)]
    assert cov_diff.ranges([]) == []


# ---- data files


def data_file(path: Path, lines: set[int] | None = None, arcs: set[tuple[int, int]] | None = None) -> Path:
    coverage = pytest.importorskip("coverage")
    data = coverage.CoverageData(str(path))
    if arcs is not None:
        data.add_arcs({"/x.py": arcs})
    else:
        data.add_lines({"/x.py": lines or set()})
    data.write()
    data.close(force=True)
    return path


class Makes:
    """Makes Coverage objects as a run does, and counts their warnings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[Any] = []

    def __call__(self, **options: Any) -> Any:
        coverage = pytest.importorskip("coverage")
        self.made.append(coverage.Coverage(config_file=False, **options))
        return self.made[-1]

    def measured(self) -> Any:
        cov = self(data_suffix=True, data_file=str(self.folder / ".coverage"))
        cov._init_data(suffix=True)  # as start() does
        cov.get_data().add_lines({"/x.py": {1}})
        cov.save()
        return cov

    def warnings(self) -> list[str]:
        return [text for cov in self.made for text in cov._warnings]


def lines_of(cov: Any) -> set[int]:
    return set(cov.get_data().lines("/x.py") or ())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_part_becomes_the_result(tmp_path: Path) -> None:
    make = Makes(tmp_path)
    result = cov_data.combine(make, make.measured(), str(tmp_path / ".coverage"), append=False)
    assert lines_of(result) == {1}
    assert names(tmp_path) == [".coverage"]


def test_parts_are_united(tmp_path: Path) -> None:
    make = Makes(tmp_path)
    cov = make.measured()
    data_file(tmp_path / ".coverage.host.pid1.Xaaaaaax", {2})
    data_file(tmp_path / ".coverage.host.pid2.Xbbbbbbx", {5})
    result = cov_data.combine(make, cov, str(tmp_path / ".coverage"), append=False)
    assert lines_of(result) == {1, 2, 5}
    assert names(tmp_path) == [".coverage"]


@pytest.mark.filterwarnings("ignore::coverage.exceptions.CoverageWarning")
@pytest.mark.parametrize("at", [100, 5000])
def test_a_part_that_was_cut_off_costs_a_warning_and_nothing_else(tmp_path: Path, at: int) -> None:
    """Its process was killed while it wrote: the first page may be whole, and the others not."""
    make = Makes(tmp_path)
    cov = make.measured()
    data_file(tmp_path / ".coverage.a", {2})
    broken = data_file(tmp_path / ".coverage.b", set(range(100)))
    broken.write_bytes(broken.read_bytes()[:at])
    data_file(tmp_path / ".coverage.c", {3})
    result = cov_data.combine(make, cov, str(tmp_path / ".coverage"), append=False)
    assert lines_of(result) == {1, 2, 3}
    assert any(".coverage.b" in text for text in make.warnings())
    assert names(tmp_path) == [".coverage", ".coverage.b"]


@pytest.mark.filterwarnings("ignore::coverage.exceptions.CoverageWarning")
def test_a_part_of_the_other_kind_costs_a_warning_and_nothing_else(tmp_path: Path) -> None:
    make = Makes(tmp_path)
    cov = make.measured()
    data_file(tmp_path / ".coverage.a", {2})
    data_file(tmp_path / ".coverage.b", arcs={(1, 2)})
    result = cov_data.combine(make, cov, str(tmp_path / ".coverage"), append=False)
    assert lines_of(result) >= {2}
    assert any(".coverage.b" in text for text in make.warnings())
    assert ".coverage.b" in names(tmp_path)


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = data_file(tmp_path / ".coverage", {7})
    make = Makes(tmp_path)
    cov = make.measured()
    data_file(tmp_path / ".coverage.a", {2})

    def fail(*_args: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(cov_data.os, "replace", fail)
    with pytest.raises(OSError, match="no room"):
        cov_data.combine(make, cov, str(target), append=True)
    with closing(sqlite3.connect(target)) as db:
        assert db.execute("select count(*) from line_bits").fetchone() == (1,)
    assert not [name for name in names(tmp_path) if name.startswith(".hasten")]
    assert ".coverage.a" in names(tmp_path), "a part is deleted only when it is in the result"


def test_old_data_may_be_empty(tmp_path: Path) -> None:
    cov_data.check_old(str(tmp_path / "none"), branch=True)
    (tmp_path / "empty").write_bytes(b"")
    cov_data.check_old(str(tmp_path / "empty"), branch=True)
    with pytest.raises(pytest.UsageError, match="has lines, this run measures branches"):
        cov_data.check_old(str(data_file(tmp_path / "lines", {1})), branch=True)
    with pytest.raises(pytest.UsageError, match="has branches, this run measures lines"):
        cov_data.check_old(str(data_file(tmp_path / "arcs", arcs={(1, 2)})), branch=False)


def test_a_coverage_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    coverage = pytest.importorskip("coverage")
    from hasten import cov

    monkeypatch.setattr(coverage, "version_info", (7, 9, 2, "final", 0))
    with pytest.raises(pytest.UsageError, match=r"needs coverage 7\.10\.6 or later"):
        cov.coverage_module()


@pytest.mark.parametrize("installed", [True, False])
def test_nobody_finds_pytest_cov_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    """Conftests ask hasplugin("pytest_cov")."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr("sys.argv", ["pytest"])
    manager = pytest.PytestPluginManager()
    cov_options.install(pytest.Parser(_ispytest=True), manager)
    assert manager.hasplugin("pytest_cov") is installed
    assert manager.is_registered(cov_options)


def test_what_a_killed_writer_left_is_removed(tmp_path):
    ours = cov_write.name_aside(str(tmp_path / ".coverage"))
    (ended := subprocess.Popen(["true"])).wait()
    files = {
        "old": tmp_path / f".hasten-coverage-{ended.pid}",
        "its journal": tmp_path / f".hasten-coverage-{ended.pid}-journal",
        "of one that runs": tmp_path / f".hasten-coverage-{os.getpid()}",
        "somebody's": tmp_path / ".hasten-coverage-of-mine",
    }
    for path in files.values():
        path.touch()
        os.utime(path, (1, 1))
    (new := tmp_path / f".hasten-coverage-{ended.pid}-shm").touch()  # another machine's process may have the number
    assert cov_write.name_aside(str(tmp_path / ".coverage")) == ours == str(files["of one that runs"])
    assert sorted(tmp_path.iterdir()) == sorted([files["of one that runs"], files["somebody's"], new])
