"""`hasten run --resume --cov`: the report is of both runs, or says that it is not."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measured
import pytest
from conftest import wait_until

pytest.importorskip("coverage")

Suite = Callable[..., Path]

FILES = {
    "thing.py": "def f(n):\n    if n == 1:\n        return 1\n    if n == 2:\n        return 2\n    return 3\n",
    "test_a.py": """
        import os, pathlib, thing

        def test_one(): assert thing.f(1)
        def test_two(): assert thing.f(2)

        def test_stops():
            assert "STOPS" not in os.environ
            if "HOLDS" in os.environ:
                pathlib.Path("held").touch()
                while True:
                    pathlib.Path("go").exists()

        def test_three(): assert thing.f(3)
    """,
}
INCLUDES = "hasten: coverage includes what the interrupted run measured"
own = pytest.mark.skipif(sys.version_info < (3, 12), reason="no sys.monitoring")


def kept(folder: Path) -> list[Path]:
    return sorted((folder / ".hasten" / "runs").glob("*.hits"))


def stopped(folder: Path, *args: str, engine: str = "own") -> measured.Measured:
    return measured.hasten(folder, "-n1", "-x", *args, env=measured.ENGINES[engine] | {"STOPS": "1"})


def resumed(folder: Path, *args: str, engine: str = "own") -> measured.Measured:
    return measured.hasten(folder, "-n1", "--resume", *args, measured.REPORT, env=measured.ENGINES[engine], fresh=False)


@own
@pytest.mark.parametrize("more", [(), ("--cov-branch", "--cov-context=item")])
def test_a_resumed_run_reports_on_both(suite: Suite, more: tuple[str, ...]) -> None:
    folder = suite(FILES)
    whole = measured.hasten(folder, "-n1", "--cov=thing", *more, measured.REPORT)
    files, contexts = whole.files(), whole.lines_by_context()
    assert stopped(folder, "--cov=thing", *more).status == 1
    assert len(kept(folder)) == 1
    run = resumed(folder, "--cov=thing", *more)
    assert INCLUDES in run.out, run.text()
    assert run.files() == files, run.text()
    assert run.lines_by_context() == contexts, run.text()
    assert kept(folder) == [], "a whole run keeps nothing"


@own
def test_a_killed_run_is_resumed_with_what_it_measured(suite: Suite, start_hasten: Callable[..., object]) -> None:
    folder = suite(FILES)
    run: Any = start_hasten(folder, "-n1", "--cov=thing", env={"HOLDS": "1"})
    wait_until((folder / "held").exists, 60, "a test that holds")
    settled = time.monotonic_ns()  # two results are in the journal when the loop has had its turn
    wait_until(lambda: time.monotonic_ns() - settled > 200_000_000, 10, "some turns of the loop")
    run.process.kill()
    run.finish()
    assert len(kept(folder)) == 1
    again = resumed(folder, "--cov=thing")
    assert again.status == 0, again.text()
    assert again.files()["thing.py"]["missing_lines"] == [], again.text()
    assert INCLUDES in again.out or "resumed: 0 tests" in again.out, again.text()


@own
def test_other_settings_and_changed_files_are_said(suite: Suite) -> None:
    folder = suite(FILES)
    stopped(folder, "--cov=thing")
    run = resumed(folder, "--cov=thing", "--cov-branch")
    assert "hasten: the interrupted run measured with other settings: coverage is that of the tests" in run.out
    assert 3 in run.files()["thing.py"]["missing_lines"]
    stopped(folder, "--cov=thing")
    later = time.time() + 5
    os.utime(folder / "thing.py", (later, later))
    run = resumed(folder, "--cov=thing")
    assert "thing.py is left out: changed since" in run.out, run.text()
    assert 3 in run.files()["thing.py"]["missing_lines"]


def test_what_was_not_kept_is_said(suite: Suite) -> None:
    """coverage.py's own tracer keeps nothing of a run that was interrupted, and plain runs measure nothing."""
    folder = suite(FILES)
    text = "hasten: what the interrupted run measured was not kept: coverage is that of the tests that are run now"
    stopped(folder, "--cov=thing", engine="ctrace")
    assert text in resumed(folder, "--cov=thing", engine="ctrace").out
    stopped(folder)
    assert text in resumed(folder, "--cov=thing").out
    stopped(folder)
    run = measured.hasten(folder, "-n1", "--resume", fresh=False)
    assert "hasten: resumed: 3 tests" in run.out
    assert text not in run.out
