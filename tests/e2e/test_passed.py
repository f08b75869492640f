"""Tests that stay records in the reporter show what they show with HASTEN_FUSE=0."""

from __future__ import annotations

import re
import shutil

import pytest

SUITE = {
    "test_a.py": """
        import pytest, warnings

        @pytest.mark.parametrize("n", range(90))
        def test_many(n): pass

        def test_prints(): print("hello")

        def test_fails(): assert [1, 2] == [1, 3]

        @pytest.mark.parametrize("n", range(70))
        def test_more(n): pass

        def test_warns(): warnings.warn("careful")

        @pytest.mark.xfail
        def test_xfails(): assert 0

        def test_last(): pass
    """,
    "conftest.py": """
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_terminal_summary(terminalreporter, config):
            tr = terminalreporter
            if config.getoption("verbose") >= 0 and not config.getoption("no_summary"):
                for key, reports in tr.stats.items():
                    tr.write_line(key + str([(r.nodeid.partition("::")[2], getattr(r, "when", 0)) for r in reports]))
                tr.write_line(f"{len(tr._progress_nodeids_reported)} {sorted(map(str, tr._progress_nodeids_reported))}")
    """,
    "hears.py": """
        def pytest_runtest_logreport(report):
            if hasattr(report, "node"):
                print(end=f"{report.when[0]}{report.nodeid[-2]}")
    """,
}


def normal(text: str) -> str:
    return re.sub(
        r"\b\d+(\.\d+)? ?m?s\b", "T", re.sub(r"=+", "=", re.sub(r"^hasten: .*\n", "", text, flags=re.MULTILINE))
    )


@pytest.mark.parametrize(
    "args",
    [(), ("-q", "--color=yes"), ("-rA", "--no-summary"), ("-qq", "-o", "console_output_style=count"), ("-p", "hears")],
    ids=" ".join,
)
def test_kept_tests_are_shown_as_ever(suite, run_hasten, args):
    folder = suite(SUITE)
    shown = []
    for fuse in ("1", "0"):
        environment = {"HASTEN_FUSE": fuse, "COLUMNS": "50", "PYTHONPATH": "."}
        # Without a JUnit file, which would listen to every report.
        run = run_hasten(folder, "-n1", "--junitxml=", *args, env=environment)
        assert run.status == 1, run.describe()
        shown.append(normal(run.out))
        shutil.rmtree(folder / ".hasten")  # the order of the tests is that of a first run
    assert "163 passed" in shown[0] or "-qq" in args
    assert shown[0] == shown[1]
