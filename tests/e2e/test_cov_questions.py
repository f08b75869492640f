"""Questions to the data of a measured run: `hasten cov which FILE:LINE` and `hasten cov diff BASE`."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import measured
import pytest

coverage = pytest.importorskip("coverage")

Suite = Callable[..., Path]

FILES = {
    "src/pkg/thing.py": "def f(x):\n    if x:\n        return 1\n    return 2\n",
    "src/pkg/__init__.py": "",
    "lib/thing.py": "def f(x):\n    return x\n",
    "pytest.ini": "[pytest]\npythonpath = src .\n",
    "test_a.py": """
        import pytest
        from pkg import thing

        @pytest.fixture
        def made():
            return thing.f(1)

        @pytest.mark.parametrize("n", ["x", "y"])
        def test_one(made, n):
            thing.f(1)

        def test_two():
            thing.f(0)
    """,
}


def which(folder: Path, *args: str, env: dict[str, str] | None = None) -> measured.Measured:
    return measured.execute(folder, [measured.find_program(), "cov", "which", *args], env)


@pytest.fixture(scope="module", params=[False, True], ids=["lines", "branches"])
def answered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data that has contexts."""
    import textwrap

    folder = tmp_path_factory.mktemp("which")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    branch = ["--cov-branch"] if request.param else []
    run = measured.hasten(folder, "--cov=.", "--cov-context=test", "-n2", *branch)
    assert run.status == 0, run.text()
    return folder


def test_which_names_the_tests_that_ran_a_line(answered: Path) -> None:
    run = which(answered, "src/pkg/thing.py:3")
    assert run.status == 0, run.text()
    assert run.out.splitlines() == [
        "src/pkg/thing.py:3",
        "  test_a.py::test_one[x]  run, setup",
        "  test_a.py::test_one[y]  run, setup",
    ]
    assert which(answered, "pkg/thing.py:4").out.splitlines() == ["pkg/thing.py:4", "  test_a.py::test_two  run"]


def test_which_says_what_ran_outside_of_tests(answered: Path) -> None:
    run = which(answered, "src/pkg/thing.py:1")
    assert "(no test: while modules were imported or tests collected)" in run.out, run.text()


def test_which_says_when_nothing_ran_a_line(answered: Path) -> None:
    run = which(answered, "src/pkg/thing.py:99", "src/pkg/thing.py:4")
    assert run.status == 1
    assert run.out.splitlines()[0] == "src/pkg/thing.py:99: not run by any test"
    assert "test_two" in run.out


def test_which_agrees_with_coverage(answered: Path) -> None:
    data = coverage.CoverageData(str(answered / ".coverage"))
    data.read()
    (path,) = [name for name in data.measured_files() if name.endswith("pkg/thing.py")]
    wanted = data.contexts_by_lineno(path)
    places = [f"{path}:{line}" for line in range(1, 6)]
    run = which(answered, "--json", *places)
    found = {one["line"]: set(one["contexts"]) for one in json.loads(run.out)}
    assert found == {line: set(wanted.get(line, ())) for line in range(1, 6)}


def test_which_takes_any_way_to_name_a_file(answered: Path) -> None:
    inside = answered / "src" / "pkg"
    for folder, name in (
        (answered, "src/pkg/thing.py"),
        (answered, "./src/pkg/thing.py"),
        (answered, "pkg/thing.py"),
        (answered, str(inside / "thing.py")),
        (inside, "thing.py"),
        (inside, "../pkg/thing.py"),
    ):
        run = which(folder, f"{name}:4")
        assert run.status == 0, run.text()
        assert "test_two" in run.out, run.text()


def test_which_refuses_in_one_clear_line(answered: Path, tmp_path: Path) -> None:
    other = tmp_path / "data"
    shutil.copy(answered / ".coverage", other)
    with closing(sqlite3.connect(other)) as db:
        db.execute("update coverage_schema set version = 6")
        db.commit()
    (tmp_path / "text").write_text("no database " * 1000)
    with closing(sqlite3.connect(tmp_path / "foreign")) as db:
        db.execute("create table t (x)")
        db.commit()
    cases = {
        ("nowhere.py:1",): (1, "no file 'nowhere.py' was measured"),
        ("src/pkg/thing.py",): (4, "is not FILE:LINE"),
        ("src/pkg/thing.py:x",): (4, "is not FILE:LINE"),
        ("src/pkg/thing.py:0",): (4, "is not FILE:LINE"),
        (): (4, "name a line as FILE:LINE"),
        ("--data-file", str(tmp_path / "none"), "a.py:1"): (1, "there is no data file"),
        ("--data-file", str(other), "a.py:1"): (1, "has version 6 of coverage.py's schema, hasten knows 7"),
        ("--data-file", str(tmp_path / "text"), "a.py:1"): (1, "file is not a database"),
        ("--data-file", str(tmp_path / "foreign"), "a.py:1"): (1, "is not a data file of coverage.py"),
    }
    for args, (status, text) in cases.items():
        run = which(answered, *args)
        assert run.status == status, run.text()
        assert text in run.err, run.text()
        assert len(run.err.splitlines()) == 1
        assert run.out == ""


def test_which_refuses_a_name_of_two_files(suite: Suite) -> None:
    files = {"a/thing.py": "X = 1\n", "b/thing.py": "X = 2\n"}
    text = "import importlib.util\ndef test_a():\n    import a.thing, b.thing\n"
    folder = suite(files | {"pytest.ini": "[pytest]\npythonpath = .\n", "test_a.py": text})
    measured.hasten(folder, "--cov=.", "--cov-context=test", "-n1")
    run = which(folder, "thing.py:1")
    assert run.status == 1, run.text()
    assert "2 measured files have a path that ends with 'thing.py'" in run.err
    assert which(folder, "b/thing.py:1").status == 0


def test_which_needs_contexts(suite: Suite) -> None:
    folder = suite({"test_a.py": "def test_a(): pass\n"})
    measured.hasten(folder, "--cov=.", "-n1")
    run = which(folder, "test_a.py:1")
    assert run.status == 1
    assert "measure with --cov-context=test" in run.err, run.text()


def test_which_reads_relative_files(suite: Suite) -> None:
    folder = suite({".coveragerc": "[run]\nrelative_files = True\n", "sub/test_a.py": "def test_a():\n    x = 1\n"})
    measured.hasten(folder, "--cov=.", "--cov-context=item", "-n1")
    for where, name in (
        (folder, "sub/test_a.py"),
        (folder / "sub", "test_a.py"),
        (Path("/"), f"{folder}/sub/test_a.py"),
    ):
        run = which(where, "--data-file", str(folder / ".coverage"), f"{name}:2")
        assert "sub/test_a.py::test_a" in run.out, run.text()


def test_which_is_quick_on_a_large_file(tmp_path: Path) -> None:
    """2,000 tests and 1,000 files: the processor's time of the whole program, start included, is under 50 ms."""
    data = coverage.CoverageData(str(tmp_path / ".coverage"))
    bits = set(range(1, 400))
    paths = [f"/project/src/module_{i}.py" for i in range(1000)]
    for n in range(2000):
        data.set_context(f"tests/test_m.py::test_{n}|run")
        data.add_lines({paths[n % 1000]: bits, paths[0]: {1, n % 300 + 2}})
    data.write()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = which(tmp_path, "module_0.py:12")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert run.status == 0, run.text()
    assert len(run.out.splitlines()) == 1 + 7
    spent = (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)
    assert spent < 0.05, f"{spent} s"


# ---- hasten cov diff

BEFORE = '''"""Doc."""


def old(x):
    return x


def two(x):
    if x:
        return 1
    return 2
'''
AFTER = '''"""Doc."""


def old(x):
    return x


def two(x):
    if x:
        x += 1
        return 1
    # a comment
    x = dict(
        a=1,
        b=x,
    )
    return 3


def never():  # pragma: no cover
    return 4
'''


def git(folder: Path, *args: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True, env=environment)


@pytest.fixture
def repository(suite: Suite) -> Path:
    """Changed since HEAD: thing.py, and odd name.py by another name; new: fresh.py and unread.py."""
    folder = suite(
        {
            ".gitignore": ".coverage*\n.hasten/\n__pycache__/\n*.json\n",
            ".coveragerc": "[run]\nsource = pkg\n",
            "pytest.ini": "[pytest]\npythonpath = .\n",
            "pkg/__init__.py": "",
            "pkg/thing.py": BEFORE,
            "pkg/name.py": "A = 1\nB = 2\nC = 3\n\n\ndef f():\n    return 1\n",
            "test_a.py": """
                from pkg import fresh, thing, näme

                def test_a():
                    assert thing.two(1)
                    assert thing.old(1)
            """,
        }
    )
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    git(folder, "mv", "pkg/name.py", "pkg/näme.py")
    (folder / "pkg/thing.py").write_text(AFTER)
    (folder / "pkg/näme.py").write_text("A = 1\nB = 2\nC = 3\n\n\ndef f():\n    return 2\n")
    (folder / "pkg/fresh.py").write_text("X = 1\nif X == 2:\n    X = 3\n")
    (folder / "unread.py").write_text("Y = 1\n")
    run = measured.hasten(folder, "--cov", "-n2")
    assert run.status == 0, run.text()
    return folder


def diff(folder: Path, *args: str, env: dict[str, str] | None = None) -> measured.Measured:
    return measured.execute(folder, [measured.find_program(), "cov", "diff", *args], env)


def test_diff_lists_changed_lines_that_no_test_ran(repository: Path) -> None:
    run = diff(repository, "HEAD")
    assert run.status == 1, run.text()
    assert run.out.splitlines() == [
        "pkg/fresh.py: 3",
        "pkg/näme.py: 7",
        "pkg/thing.py: 13-17",
        "",
        "4 of 7 statements that were changed since HEAD were not run",
        "not measured: unread.py",
    ], run.text()


def test_diff_as_json_and_as_annotations(repository: Path) -> None:
    found = json.loads(diff(repository, "HEAD", "--format=json").out)
    assert found["files"][2] == {"file": "pkg/thing.py", "missing": [[13, 17]]}
    assert (found["statements"], found["missing"], found["not_measured"]) == (7, 4, ["unread.py"])
    run = diff(repository, "--format=github", "HEAD")
    assert run.status == 1
    line = "::warning file=pkg/thing.py,line=13,endLine=17,title=Not covered::no test runs lines 13 to 17"
    assert line in run.out.splitlines(), run.text()


def test_diff_ends_with_0_when_everything_ran(repository: Path) -> None:
    text = "from pkg import fresh, thing, näme\ndef test_a():\n    thing.two(0)\n    thing.two(1)\n    näme.f()\n"
    (repository / "test_a.py").write_text(text)
    (repository / "pkg/fresh.py").write_text("X = 1\n")
    measured.hasten(repository, "--cov", "-n2")
    run = diff(repository, "HEAD")
    assert run.status == 0, run.text()
    assert "all 5 statements that were changed since HEAD were run" in run.out
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "second")
    measured.hasten(repository, "--cov", "-n2")
    assert diff(repository, "HEAD").out == "no measured statement was changed since HEAD\n"
    assert diff(repository, "HEAD~1").status == 0
    assert (
        diff(repository, "HEAD~1...").out
        == "all 5 statements that were changed since HEAD~1... were run\nnot measured: test_a.py, unread.py\n"
    )


def test_diff_says_that_a_file_is_newer_than_the_data(repository: Path) -> None:
    later = (repository / ".coverage").stat().st_mtime + 10
    os.utime(repository / "pkg/thing.py", (later, later))
    assert "pkg/thing.py was changed after the data was measured" in diff(repository, "HEAD").err


def test_diff_works_below_the_top_of_the_repository(repository: Path) -> None:
    run = diff(repository / "pkg", "HEAD", "--data-file", "../.coverage")
    assert run.status == 1, run.text()
    assert "thing.py: 13-17" in run.out.splitlines()


def test_diff_refuses_in_one_clear_line(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (repository / "bad").write_text("no database " * 1000)
    ceiling = {"GIT_CEILING_DIRECTORIES": str(outside.parent)}
    cases = [
        (repository, ("no-such-revision",), "git: fatal: bad revision"),
        (repository, ("HEAD", "--data-file=none"), "there is no data file"),
        (repository, ("HEAD", "--data-file=bad"), "file is not a database"),
        (repository, ("HEAD", "--rcfile=none"), "Couldn't read 'none' as a config file"),
        (outside, ("HEAD",), "git: fatal: not a git repository"),
    ]
    for folder, args, text in cases:
        run = diff(folder, *args, env=ceiling)
        assert run.status == 4, run.text()
        assert text in run.err, run.text()
        assert run.err.startswith("hasten: "), run.text()
        assert len(run.err.splitlines()) == 1, run.text()
    assert diff(repository).status == 4
    assert diff(repository, "--help").status == 0
