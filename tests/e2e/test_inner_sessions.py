"""A test that runs pytest in its own process gets plain pytest there, whoever runs the test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run

CONFTEST = "pytest_plugins = ['pytester']\n"

TESTS = """
    import pytest

    @pytest.mark.parametrize("i", range(4))
    def test_run(pytester, i):
        pytester.makepyfile("def test_one(): pass\\ndef test_two(): assert 0\\n")
        result = pytester.runpytest_inprocess("-v")
        result.assert_outcomes(passed=1, failed=1)
        assert not result.stderr.lines
        result.stdout.fnmatch_lines(["*::test_one PASSED*", "*::test_two FAILED*"])

    def test_configure_only(pytester):
        config = pytester.parseconfigure()
        assert not hasattr(config, "workerinput")
        assert not config.pluginmanager.hasplugin("dsession")

    def test_help(capsys):
        assert pytest.main(["--help"]) == 0
        assert "usage" in capsys.readouterr().out

    def test_items(pytester):
        items = pytester.getitems("def test_a(): pass\\ndef test_b(): pass\\n")
        assert [item.name for item in items] == ["test_a", "test_b"]

    def test_usage(pytester):
        assert pytester.runpytest_inprocess("--no-such-option").ret == 4

    def test_after(pytestconfig, worker_id):
        assert getattr(pytestconfig, "workerinput", {"workerid": "master"})["workerid"] == worker_id
"""


@pytest.mark.parametrize("args", [["-n", "2"], ["-n", "2", "--start", "early"], ["-n", "0"]], ids=" ".join)
def test_a_session_inside_a_test_is_plain_pytests(
    suite: Callable[..., Path], run_hasten: Callable[..., Run], args: list[str]
) -> None:
    run = run_hasten(suite({"conftest.py": CONFTEST, "test_inner.py": TESTS}), *args)
    assert set(run.outcomes().values()) == {"passed"}, run.describe()
    assert len(run.outcomes()) == 9
    assert run.status == 0, run.describe()
    run.no_traceback_of_ours()
