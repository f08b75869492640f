"""Annotations of GitHub Actions."""

from __future__ import annotations

import re

import pytest

SUITE = {
    "tests/test_a.py": """
        import pytest
        from helper import check

        @pytest.fixture
        def broken(): raise RuntimeError("no set-up: 50%, or\\nless")

        def test_helped(): check(1)
        def test_error(broken): pass
        @pytest.mark.parametrize("x", ["a:b,c"])
        def test_named(x): assert x == 1
        def test_ok(): pass
    """,
    "tests/helper.py": "def check(x):\n    assert x == 2\n",
}
FORMAT = re.compile(r"^::error file=([^,:]+),line=(\d+),title=([^,:]+)::(.*)$", re.MULTILINE)


def annotations(run):
    lines = [line for line in run.out.split("\n") if line.startswith("::")]
    found = FORMAT.findall(run.out)
    assert len(found) == len(lines), lines
    return {title.replace("%3A", ":").replace("%2C", ","): (path, int(line), text) for path, line, title, text in found}


@pytest.mark.parametrize("n", ["-n2", "-n0"])
def test_failed_tests_are_annotated_at_their_lines(suite, run_hasten, n):
    folder = suite(SUITE)
    (folder / ".git").mkdir()
    found = annotations(run_hasten(folder / "tests", n, env={"GITHUB_ACTIONS": "true"}))
    assert set(found) == {f"tests/test_a.py::test_{name}" for name in ("helped", "error", "named[a:b,c]")}
    assert found["tests/test_a.py::test_helped"] == ("tests/helper.py", 2, "AssertionError")
    assert found["tests/test_a.py::test_error"] == ("tests/test_a.py", 6, "RuntimeError: no set-up: 50%25, or%0Aless")
    assert found["tests/test_a.py::test_named[a:b,c]"][:2] == ("tests/test_a.py", 11)


def test_paths_begin_at_the_workspace(suite, run_hasten):
    folder = suite(SUITE)
    env = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(folder.parent)}
    found = annotations(run_hasten(folder, "-n2", env=env))
    assert {path for path, _, _ in found.values()} == {
        f"{folder.name}/tests/{name}.py" for name in ("test_a", "helper")
    }


def test_no_more_than_are_shown(suite, run_hasten):
    run = run_hasten(
        suite({"test_a.py": "import pytest\n@pytest.mark.parametrize('n', range(30))\ndef test(n): assert 0\n"}),
        "-n2",
        env={"GITHUB_ACTIONS": "true"},
    )
    assert len(annotations(run)) == 10


def test_a_file_that_cannot_be_imported_and_a_crash(suite, run_hasten):
    folder = suite({"test_a.py": "import no_such_module_x\n"})
    found = annotations(run_hasten(folder, "-n2", env={"GITHUB_ACTIONS": "true"}))
    assert found["test_a.py"][0] == "test_a.py"
    assert "no_such_module_x" in found["test_a.py"][2]
    folder = suite({"test_a.py": "import os\n\ndef test_dies(): os._exit(3)\ndef test_b(): pass\n"})
    found = annotations(run_hasten(folder, "-n2", env={"GITHUB_ACTIONS": "true"}))
    assert found["test_a.py::test_dies"][0] == "test_a.py"


@pytest.mark.parametrize("env", [{}, {"GITHUB_ACTIONS": "false"}], ids=str)
def test_nothing_elsewhere(suite, run_hasten, env):
    assert "::error" not in run_hasten(suite(SUITE), "-n2", env=env).out
