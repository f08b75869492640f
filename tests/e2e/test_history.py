"""`hasten history`, `slow` and `flaky`: what earlier runs of a project say."""

from __future__ import annotations

import itertools
import json
import subprocess

import pytest
from conftest import find_program

SUITE = {
    "tests/test_a.py": """
        import os, time

        def test_slow(): time.sleep(0.3)
        def test_quick(): pass
        def test_changes(): assert not os.path.exists("../bad") and not os.path.exists("bad")
    """,
}


def says(folder, *args, status=0, env=None):
    done = subprocess.run(
        [find_program(), *args],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"TZ": "UTC", **(env or {})},
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


@pytest.fixture
def project(suite, run_hasten):
    """Four runs: good, bad, good, and one of a single test."""
    folder = suite(SUITE)
    for bad in (False, True, False):
        (folder / "bad").touch() if bad else (folder / "bad").unlink(missing_ok=True)
        assert run_hasten(folder, "-n2").status == int(bad)
    run_hasten(folder, "-n2", "-k", "quick or slow")
    return folder


def test_history_lists_runs_the_newest_first(project):
    runs = json.loads(says(project, "history", "--json"))
    assert [(run["passed"], run["failed"], run["exit_status"]) for run in runs] == [
        (2, 0, 0),
        (3, 0, 0),
        (2, 1, 1),
        (3, 0, 0),
    ]
    assert all(run["workers"] == 2 and run["wall"] > 0.3 for run in runs)
    assert all(first["started"] > second["started"] for first, second in itertools.pairwise(runs))
    assert runs[0]["args"].endswith("-k quick or slow")
    lines = says(project, "history", "-n", "2").splitlines()
    assert lines[0].split() == ["when", "time", "passed", "workers", "ended", "arguments"]
    assert len(lines) == 3
    assert "ok" in lines[1]
    assert lines[1].endswith("-k quick or slow")


def test_slow_lists_the_longest_first(project):
    tests = json.loads(says(project, "slow", "--json"))
    assert next(test["id"] for test in tests) == "tests/test_a.py::test_slow"
    assert len(tests) == 3
    assert tests[0]["time"] >= 0.3 > tests[1]["time"]
    assert tests[0]["runs"] == 4
    assert abs(tests[0]["setup"] + tests[0]["call"] + tests[0]["teardown"] - tests[0]["time"]) < 1e-6
    lines = says(project, "slow", "-n1").splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("  tests/test_a.py::test_slow")


def test_flaky_lists_what_changes(project):
    (test,) = json.loads(says(project, "flaky", "--json"))
    assert test == {
        "id": "tests/test_a.py::test_changes",
        "changes": 2,
        "runs": 3,
        "failures": 1,
        "reruns": 0,
        "last": ".F.",
    }
    lines = says(project, "flaky").splitlines()
    assert lines[1].split() == ["2", "1", "3", ".F.", "tests/test_a.py::test_changes"]


def test_the_project_is_found_from_below_and_by_name(project):
    whole = says(project, "slow", "--json")
    assert says(project / "tests", "slow", "--json") == whole
    assert says("/", "slow", "--json", str(project)) == whole


def test_a_configuration_is_chosen_by_a_part_of_its_name(project):
    (key,) = {run["key"] for run in json.loads(says(project, "history", "--json"))}
    assert json.loads(says(project, "slow", "--json", "--key", key[2:8])) == json.loads(says(project, "slow", "--json"))
    assert "'no-such-python'" in says(project, "slow", "--key", "no-such-python", status=1)


@pytest.mark.parametrize("verb", ["history", "slow", "flaky"])
def test_without_a_history_one_line_says_so(tmp_path, verb):
    said = says(tmp_path, verb, status=1)
    assert "no history" in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_nothing_flaky_is_a_line_or_an_empty_list(suite, run_hasten):
    folder = suite(SUITE)
    run_hasten(folder, "-n2")
    assert says(folder, "flaky") == "no test has changed its outcome more than once\n"
    assert says(folder, "flaky", "--json") == "[]\n"


@pytest.mark.parametrize("args", [["--no-such"], ["-n", "x"], ["a", "b"]], ids=" ".join)
def test_wrong_options_are_usage_errors(tmp_path, args):
    assert says(tmp_path, "history", *args, status=4).startswith("hasten: ")
