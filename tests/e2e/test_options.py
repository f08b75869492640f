"""Every option of pytest's does under `hasten run` what it does in plain pytest."""

# ruff: noqa: E501  (texts of suites)

from __future__ import annotations

import difflib
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from twins import SUITES, Result, Twins


@pytest.fixture
def twins(tmp_path: Path) -> Callable[..., Twins]:
    def make(source: Path = SUITES / "rich") -> Twins:
        return Twins(tmp_path, source)

    return make


def same(a: object, b: object, both: tuple[Result, Result]) -> None:
    if a != b:
        lines = ("\n".join(x).splitlines() for x in (lines_of(a), lines_of(b)))
        short = "\n".join(difflib.unified_diff(*lines, "pytest", "hasten", n=1, lineterm=""))
        pytest.fail("\n".join(("differs", short[:4000], both[0].raw, both[1].raw)), pytrace=False)


def lines_of(value: object) -> list[str]:
    if isinstance(value, Counter):
        return sorted(str(x) for x in value.elements())
    if isinstance(value, (list, set)):
        return sorted(str(x) for x in value)
    if isinstance(value, tuple):
        return [line for part in value for line in ([str(part)] if isinstance(part, (str, dict)) else lines_in(part))]
    return [str(value)]


def lines_in(parts: Any) -> list[str]:
    return [line for part in parts for line in lines_of(part)]


def same_terminal(plain: Result, hasten: Result) -> None:
    """Everything of the terminal's text but the lines of progress."""
    both = (plain, hasten)
    same(plain.status, hasten.status, both)
    same(plain.counts(), hasten.counts(), both)
    same(plain.short_summary(), hasten.short_summary(), both)
    same(plain.warnings(), hasten.warnings(), both)
    for title in ("FAILURES", "ERRORS", "PASSES", "XFAILURES", "XPASSES"):
        same(plain.blocks(title), hasten.blocks(title), both)
    parts = [{t: v for t, v in r.sections().items() if t not in IN_OWN_SHAPE} for r in both]
    same(list(parts[0]), list(parts[1]), both)
    for title, lines in parts[0].items():
        same(*(sorted(filter(None, x)) for x in (lines, parts[1][title])), both)


IN_OWN_SHAPE = {
    "", "after", "test session starts", "FAILURES", "ERRORS", "PASSES", "XFAILURES", "XPASSES",
    "warnings summary", "short test summary info",
}  # fmt: skip

TEXT = {
    "nothing": "",
    "k": "-k 'one or odd'",
    "k_none": "-k nothing_has_this_name",
    "m": "-m 'odd or slowish'",
    "deselect": "--deselect test_plain.py::test_one --deselect test_unittest.py",
    "paths": "test_plain.py::test_odd package test_fixtures.py::TestScopes",
    "r_all": "-rA",
    "r_chars": "-rxXs --no-header",
    "q": "-q -rN",
    "qq": "-qq",
    "durations": "--durations=0 -vv -k odd",
    "w_error": "-W error::DeprecationWarning",
    "no_warnings": "--disable-warnings",
    "tb_short": "--tb=short --show-capture=stdout",
    "tb_line": "--tb=line",
    "tb_native": "--tb=native --show-capture=no",
    "tb_no": "--tb=no",
    "tb_long": "--tb=long --showlocals",
    "fulltrace": "--full-trace -k failing",
    "capture_sys": "--capture=sys",
    "doctest": "--doctest-modules",
    "doctest_continue": "--doctest-modules --doctest-continue-on-failure --doctest-report=ndiff",
    "ignore": "--ignore=test_unittest.py --ignore-glob='*fix*'",
    "importlib": "--import-mode=importlib",
    "append": "--import-mode=append",
    "other_ini": "-c other.ini",
    "o": "-o xfail_strict=true -o log_level=DEBUG",
    "log_level": "--log-level=DEBUG --log-format='%(message)s'",
    "no_summary": "--no-summary",
    "strict_markers": "--strict-markers",
    "runxfail": "--runxfail",
    "assert_plain": "--assert=plain",
    "pyargs": "--pyargs package.test_inside --rootdir=.",
    "colour": "--color=yes",
    "no_doctest": "-p no:doctest",
    "no_logging": "-p no:logging",
    "no_terminal_extras": "-p no:warnings -p no:unraisableexception -p no:threadexception",
    "no_cache": "-p no:cacheprovider -k 'not test_cache'",
    "argfile": "@arguments.txt.args",
    "status": "--status=7 -k one",
    "confcutdir": "--confcutdir=. --noconftest -k one",
    "basetemp": "--basetemp=temp -k tmp_path",
    "continue_on_errors": "--continue-on-collection-errors missing_is_fine.py test_plain.py",
    "keep_duplicates": "--keep-duplicates test_plain.py test_plain.py",
    "verbosity": "--verbosity=1 -k odd",
    "fixed_folder": "--rootdir=package package",
    "maxfail_many": "--maxfail=1000",
    "unknown_option": "--no-such-option",
    "missing_file": "no_such_file.py",
    "missing_test": "test_plain.py::test_no_such",
    "missing_ini": "-c no_such.ini",
    "bad_k": "-k 'a b c ('",
    "version": "--version",
    "version_twice": "-VV",
    "markers": "--markers",
    "fixtures": "--fixtures -q package",
    "fixtures_per_test": "--fixtures-per-test -k odd",
    "collect_only": "--collect-only",
    "collect_only_q": "--collect-only -q",
    "collect_only_qq": "--co -qq",
    "setup_show": "--setup-show test_fixtures.py::TestScopes",
    "setup_plan": "--setup-plan test_fixtures.py::TestScopes",
    "setup_only": "--setup-only test_fixtures.py::TestScopes",
    "cache_show": "--cache-show",
}


SLOW = frozenset(
    [
        "k",
        "m",
        "paths",
        "r_chars",
        "q",
        "no_warnings",
        "tb_line",
        "tb_no",
        "tb_short",
        "doctest",
        "ignore",
        "importlib",
        "append",
        "no_summary",
        "strict_markers",
        "confcutdir",
        "keep_duplicates",
        "verbosity",
        "fixed_folder",
        "maxfail_many",
        "missing_ini",
        "bad_k",
        "version",
        "markers",
        "fixtures",
        "fixtures_per_test",
        "collect_only_q",
        "collect_only_qq",
        "setup_plan",
        "setup_only",
        "cache_show",
        "no_logging",
        "log_level",
        "assert_plain",
        "pyargs",
        "no_terminal_extras",
        "w_error",
        "tb_native",
        "tb_long",
        "fulltrace",
        "capture_sys",
        "doctest_continue",
        "other_ini",
        "o",
        "runxfail",
        "no_doctest",
        "no_cache",
        "status",
        "basetemp",
        "continue_on_errors",
        "version_twice",
        "collect_only",
        "durations",
        "missing_file",
        "r_all",
        "tb_auto",
        "capture_tee",
        "capture_no",
        "xunit1",
        "lf_none",
        "cache_show",
        "lf_other",
        "cache_clear",
        "--maxfail=1",
        "--exitfirst",
        "skipped_module",
        "marker",
        "exit",
        "duplicates",
        "nothing",
        "plugin",
        "ini",
        "unknown_ini",
        "conftest_below",
        "sessionstart",
        "collection",
    ]
)


def options(table: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in table]


def split(text: str) -> list[str]:
    return shlex.split(text)


@pytest.mark.parametrize("name", options(TEXT))
def test_text_of_the_terminal_is_the_same(name: str, twins: Callable[..., Twins]) -> None:
    plain, hasten = twins().run(*split(TEXT[name]))
    same_terminal(plain, hasten)
    same(errors_of(plain), errors_of(hasten), (plain, hasten))


def errors_of(result: Result) -> str:
    """Standard error without what hasten says in lines of its own."""
    lines = result.err.replace(str(result.folder), "DIR").split("\n")
    return "\n".join(line for line in lines if not line.startswith("hasten: "))


# The same of what the reporting process is told: node id, phase, outcome, failure, sections, keywords, properties.
REPORTS = {
    "nothing": "",
    "log_cli": "-o log_cli=true --log-cli-level=INFO -v",
    "tb_auto": "--tb=auto -l -vv",
    "capture_tee": "--capture=tee-sys",
    "capture_no": "--capture=no",
    "doctest": "--doctest-modules -p no:logging -W error::UserWarning",
    "subtests_verbose": "-v test_subtests.py test_unittest.py",
}


@pytest.mark.parametrize("name", options(REPORTS))
def test_reports_are_the_same(name: str, twins: Callable[..., Twins]) -> None:
    both = plain, hasten = twins().run(*split(REPORTS[name]), record=True)
    same(plain.phases(), hasten.phases(), both)
    same(plain.status, hasten.status, both)
    if "log_cli" not in name:
        same(*(Counter({k: n for k, n in r.words().items() if "sub_tests" not in k[0]}) for r in both), both)
    same(plain.counts(), hasten.counts(), both)


JUNIT = {
    "xunit2": "",
    "xunit1": "-o junit_family=xunit1 --junit-prefix=before",
    "logging": "-o junit_logging=all -o junit_log_passing_tests=false -o junit_suite_name=rich -o junit_duration_report=call",
}


@pytest.mark.parametrize("name", options(JUNIT))
def test_junit_file_is_the_same(name: str, twins: Callable[..., Twins]) -> None:
    both = plain, hasten = twins().run("--junitxml=junit.xml", *split(JUNIT[name]))
    same(plain.junit(), hasten.junit(), both)
    same(plain.counts(), hasten.counts(), both)


def test_what_is_written_without_capture_is_seen(twins: Callable[..., Twins]) -> None:
    plain, hasten = twins().run("-s", "test_plain.py")
    for text in ("printed by two", "printed by failing"):
        assert plain.out.count(text) == hasten.out.count(text) > 0, plain.raw + hasten.raw
    assert plain.err.count("to stderr") == hasten.err.count("to stderr") == 1, hasten.raw


def test_live_logs_and_the_log_file_hold_the_same(twins: Callable[..., Twins]) -> None:
    both = twins().run(
        "--log-cli-level=INFO", "--log-file=run.log", "--log-file-level=DEBUG", "--log-file-format=%(message)s"
    )
    same(*(sorted((r.folder / "run.log").read_text().splitlines()) for r in both), both)
    for result in both:
        assert "live log call" in result.out, result.raw
        assert "some thing" in result.out.partition("FAILURES")[0], result.raw


# ---- more than one run: what one leaves, the next one reads

CACHED = {
    "lf": "--lf",
    "lf_none": "--lf --lfnf=none test_plain.py::test_one",
    "ff": "--ff",
    "nf": "--nf",
    "cache_clear": "--cache-clear -k one",
    "cache_show": "--cache-show",
    "lf_other": "--lf -k odd",
}


@pytest.mark.parametrize("name", options(CACHED))
def test_second_run_reads_what_the_first_has_left(name: str, twins: Callable[..., Twins]) -> None:
    pair = twins()
    both = pair.run("--tb=no", "-q")
    for file in ("cache/lastfailed", "cache/nodeids", "rich/value"):
        same(*(r.cache(file) for r in both), both)
    both = plain, hasten = pair.run("--tb=no", *split(CACHED[name]))
    same_terminal(plain, hasten)
    for file in ("cache/lastfailed", "cache/nodeids"):
        same(*(r.cache(file) for r in both), both)


def test_what_passes_at_last_is_no_longer_a_failure(twins: Callable[..., Twins], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "test_it.py").write_text("import os\ndef test_a(): assert 'GOOD' in os.environ\ndef test_b(): assert 0\n")
    pair = twins(source)
    for env, left in ({}, 2), ({"GOOD": "1"}, 1), ({}, 2):
        both = pair.run(env=env)
        same(*(r.cache("cache/lastfailed") for r in both), both)
        assert len(both[1].cache("cache/lastfailed")) == left, both[1].raw


def test_stepwise_goes_on_where_it_stopped(twins: Callable[..., Twins]) -> None:
    pair = twins()
    for _ in range(3):
        both = plain, hasten = pair.run("--sw", "--tb=no", "test_plain.py", "test_fixtures.py")
        same_terminal(plain, hasten)
        same(*(r.cache("cache/stepwise") for r in both), both)


# ---- limits

FAILING = (
    """
import time
def test_first(): assert 0
"""
    + "".join(f"def test_{i}(): time.sleep(0.02)\n" for i in range(30))
    + "def test_second(): assert 0\n"
)


@pytest.mark.parametrize("option", options(["-x", "--maxfail=1", "--exitfirst"]))
def test_nothing_starts_after_the_first_failure(option: str, twins: Callable[..., Twins], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "test_failing.py").write_text(FAILING)
    plain, hasten = twins(source).run(option)
    assert (plain.status, hasten.status) == (1, 1), hasten.raw
    assert plain.counts() == {"failed": 1}
    assert hasten.counts()["failed"] == 1, hasten.raw
    assert hasten.counts().get("passed", 0) < 10, hasten.raw
    assert "stopping after 1 failures" in hasten.out, hasten.raw


def test_maxfail_counts_failures_of_all_workers(twins: Callable[..., Twins], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "test_failing.py").write_text("".join(f"def test_{i}(): assert 0\n" for i in range(40)))
    plain, hasten = twins(source).run("--maxfail=3")
    assert plain.counts() == {"failed": 3}
    assert 3 <= hasten.counts()["failed"] <= 4, hasten.raw
    assert "stopping after" in hasten.out, hasten.raw
    assert hasten.status == 1


# ---- suites that cannot be collected

BROKEN = {
    "syntax": {"test_a.py": "def test_a(:\n", "test_b.py": "def test_b(): pass\n"},
    "import": {"test_a.py": "import nothing_of_that_name\n", "test_b.py": "def test_b(): pass\n"},
    "conftest": {"conftest.py": "raise RuntimeError('broken')\n", "test_b.py": "def test_b(): pass\n"},
    "conftest_below": {"sub/conftest.py": "import nothing_of_that_name\n", "sub/test_b.py": "def test_b(): pass\n"},
    "skipped_module": {"test_a.py": "import pytest\npytest.skip('all', allow_module_level=True)\n"},
    "fixture": {"test_a.py": "def test_a(no_such_fixture): pass\n"},
    "marker": {"test_a.py": "import pytest\n@pytest.mark.unknown_one\ndef test_a(): pass\n"},
    "configure": {"conftest.py": "import pytest\ndef pytest_configure(): raise pytest.UsageError('not so')\n"},
    "sessionstart": {"conftest.py": "def pytest_sessionstart(): raise RuntimeError('no session')\n"},
    "collection": {"conftest.py": "def pytest_collection_modifyitems(): raise RuntimeError('no items')\n"},
    "sessionfinish": {"conftest.py": "def pytest_sessionfinish(): raise RuntimeError('no end')\n", "test_a.py": "def test_a(): pass\n"},
    "exit": {"conftest.py": "import pytest\ndef pytest_collection_finish(): pytest.exit('enough', 6)\n"},
    "exit_in_test": {"test_a.py": "import pytest\ndef test_a(): pytest.exit('enough', 6)\n"},
    "duplicates": {"a/test_x.py": "def test_a(): pass\n", "b/test_x.py": "def test_b(): pass\n"},
    "nothing": {"readme.md": "nothing here\n"},
    "plugin": {"conftest.py": "pytest_plugins = ['no_such_plugin']\n"},
    "ini": {"pytest.ini": "[pytest]\nrequired_plugins = no-such-plugin\n"},
    "unknown_ini": {"pytest.ini": "[pytest]\nno_such_key = 1\naddopts = --strict-config\n"},
}  # fmt: skip


@pytest.mark.parametrize("name", options(BROKEN))
def test_what_cannot_be_run_ends_in_the_same_way(name: str, twins: Callable[..., Twins], tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for path, text in BROKEN[name].items():
        (source / path).parent.mkdir(exist_ok=True)
        (source / path).write_text(text)
    both = plain, hasten = twins(source).run("-rA", "--strict-markers")
    same(plain.status, hasten.status, both)
    same(plain.counts(), hasten.counts(), both)
    same(plain.short_summary(), hasten.short_summary(), both)
    if name in ("sessionstart", "sessionfinish"):
        assert "no session" in hasten.out + hasten.err or "no end" in hasten.out + hasten.err, hasten.raw
        return
    same(*(texts_of(r) for r in both), both)


def texts_of(result: Result) -> set[str]:
    """Lines without those that show where in pytest something happened."""
    text = result.text() + errors_of(result)
    return {
        line
        for line in text.split("\n")
        if line and not re.match(r"^ |^INTERNAL|hasten: |test_.*\.py |^E +\[|collected 0 items", line)
        if "site-packages" not in line and " in N s" not in line
    }
