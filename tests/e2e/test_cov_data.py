"""Data files of measured runs: added to, combined with those of subprocesses, and what happens to bad ones."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import measured
import pytest

pytest.importorskip("pytest_cov")

Suite = Callable[..., Path]

FILES = {
    "pkg.py": "def f(x):\n    if x == 1:\n        return 1\n    if x == 2:\n        return 2\n    return 3\n",
    "test_a.py": """
        import pkg

        def test_one(): assert pkg.f(1) == 1
        def test_two(): assert pkg.f(2) == 2
    """,
    "pytest.ini": "[pytest]\npythonpath = .\n",
}


@pytest.mark.parametrize("engine", measured.ENGINES)
@pytest.mark.parametrize("kind", [(), ("--cov-branch",), ("--cov-context=test",)])
def test_append_adds_to_what_is_there(suite: Suite, engine: str, kind: tuple[str, ...]) -> None:
    folder = suite(FILES)
    args = ("--cov=pkg", *kind, "--cov-append", measured.REPORT)
    measured.plainly(folder, *args, "-k", "one")
    plain = measured.plainly(folder, *args, "-k", "two", fresh=False)
    wanted = plain.files(), plain.lines_by_context()
    env = measured.ENGINES[engine]
    measured.hasten(folder, *args, "-k", "one", "-n2", env=env)
    run = measured.hasten(folder, *args, "-k", "two", "-n2", env=env, fresh=False)
    assert run.status == 0, run.text()
    assert (run.files(), run.lines_by_context()) == wanted
    assert run.files()["pkg.py"]["missing_lines"] == [6]
    assert run.left() == [".coverage"]


def test_without_append_old_data_is_gone(suite: Suite) -> None:
    folder = suite(FILES)
    measured.hasten(folder, "--cov=pkg", "-k", "one", "-n2")
    (folder / ".coverage.host.pid1.Xabcdefx").write_bytes((folder / ".coverage").read_bytes())
    run = measured.hasten(folder, "--cov=pkg", "-k", "two", "-n2", measured.REPORT, fresh=False)
    assert run.files()["pkg.py"]["missing_lines"] == [3, 6]
    assert run.left() == [".coverage"]


def spoil(path: Path, how: str, branch: bool) -> None:
    if how == "no database":
        path.write_text("this is no database, but it is long enough to be looked at as one" * 20)
        return
    with closing(sqlite3.connect(path)) as db:
        if how == "another schema":
            db.execute("update coverage_schema set version = 99")
        else:
            db.execute("update meta set value = ? where key = 'has_arcs'", (str(int(not branch)),))
        db.commit()


@pytest.mark.parametrize("branch", [False, True])
@pytest.mark.parametrize("how", ["no database", "another schema", "the other kind"])
def test_append_to_data_that_does_not_fit_is_refused_before_the_run(suite: Suite, how: str, branch: bool) -> None:
    folder = suite(FILES)
    args = ("--cov=pkg", "--cov-branch") if branch else ("--cov=pkg",)
    measured.hasten(folder, *args, "-n2")
    spoil(folder / ".coverage", how, branch)
    before = (folder / ".coverage").read_bytes()
    run = measured.hasten(folder, *args, "--cov-append", "-n2", fresh=False)
    assert run.status == 4, run.text()
    assert run.err.startswith("ERROR: --cov-append: "), run.text()
    assert "passed" not in run.out
    assert (folder / ".coverage").read_bytes() == before
    assert run.left() == [".coverage"]


def test_a_stale_file_that_cannot_be_read_costs_a_warning(suite: Suite) -> None:
    """Under --cov-append coverage.py combines what lies beside the data file: what is no data stays where it is."""
    folder = suite(FILES)
    measured.hasten(folder, "--cov=pkg", "-n2", "-k", "one")
    (folder / ".coverage.broken").write_text("no database" * 100)
    with closing(sqlite3.connect(folder / ".coverage.other")) as db:
        with closing(sqlite3.connect(folder / ".coverage")) as source:
            source.backup(db)
        db.execute("update meta set value = '1' where key = 'has_arcs'")
        db.execute("insert into arc select file_id, context_id, -1, 2 from line_bits")
        db.execute("delete from line_bits")
        db.commit()
    run = measured.hasten(folder, "--cov=pkg", "--cov-append", "-n2", "-k", "two", measured.REPORT, fresh=False)
    assert run.status == 0, run.text()
    assert run.files()["pkg.py"]["missing_lines"] == [6], run.text()
    assert "Couldn't use data file" in run.err
    assert "Can't combine branch coverage data with statement data" in run.err
    assert run.left() == [".coverage", ".coverage.broken", ".coverage.other"]


def test_a_data_file_that_cannot_be_written_is_said(suite: Suite) -> None:
    folder = suite(FILES | {".coveragerc": "[run]\ndata_file = taken/data\n", "taken": "a file, not a folder"})
    run = measured.hasten(folder, "--cov=pkg", "-n2")
    assert run.status not in (0, 5), run.text()
    assert "coverage: " in run.err, run.text()
    assert "Traceback" not in run.err + run.out


def test_a_data_folder_that_is_gone_when_the_run_ends_is_said(suite: Suite) -> None:
    text = """
        import os, shutil
        import pkg

        def test_one():
            shutil.rmtree("data")
            open("data", "w").close()
    """
    for env in measured.ENGINES.values():
        folder = suite(FILES | {".coveragerc": "[run]\ndata_file = data/file\n", "test_a.py": text})
        for path in (folder / "data",):
            path.unlink(missing_ok=True)
        run = measured.hasten(folder, "--cov=pkg", "-n1", env=env)
        assert run.status == 1, run.text()
        assert "1 passed" in run.out
        assert "ERROR: coverage: " in run.out, run.text()
        assert "INTERNALERROR" not in run.out
        assert "Traceback" not in run.err + run.out


STARTS_TOOL = {
    ".coveragerc": "[run]\npatch = subprocess\nbranch = True\nsource = .\n",
    "tool.py": "import sys\nif sys.argv[1] == 'a':\n    x = 1\nelse:\n    x = 2\n",
    "test_a.py": """
        import subprocess, sys

        def test_a(): subprocess.run([sys.executable, "tool.py", "a"], check=True)
        def test_b(): subprocess.run([sys.executable, "tool.py", "b"], check=True)
    """,
}


def test_processes_of_ours_are_no_subprocesses_of_the_suite(suite: Suite) -> None:
    """`pytest --hasten` starts the program with an environment that tells Python to measure by itself."""
    own = """
        import coverage

        def test_one_measures():
            assert coverage.process_startup.__dict__.get("coverage") is None
    """
    folder = suite(STARTS_TOOL | {"test_b.py": own})
    command = [str(Path(sys.executable).with_name("pytest")), "--hasten=2", "--start=spawn", "-p", "no:cacheprovider"]
    run = measured.execute(folder, [*command, "--cov", measured.REPORT])
    assert run.status == 0, run.text()
    assert run.files()["tool.py"]["missing_lines"] == []
    assert run.left() == [".coverage"]


@pytest.mark.parametrize("engine", measured.ENGINES)
@pytest.mark.parametrize("variant", ["n2", "early", "spawn", "one"])
def test_subprocesses_with_coverages_patch(suite: Suite, engine: str, variant: str) -> None:
    folder = suite(STARTS_TOOL)
    plain = measured.plainly(folder, "--cov", measured.REPORT)
    run = measured.hasten(folder, "--cov", measured.REPORT, *measured.VARIANTS[variant], env=measured.ENGINES[engine])
    assert run.status == 0, run.text()
    assert plain.files()["tool.py"]["missing_lines"] == []
    assert run.files() == plain.files(), run.text()
    assert run.left() == [".coverage"]


@pytest.mark.parametrize("engine", measured.ENGINES)
@pytest.mark.parametrize("patch", ["_exit", "fork", "_exit, fork"])
def test_processes_that_tests_fork(suite: Suite, engine: str, patch: str) -> None:
    """coverage.py's patches for them must not take hasten's own forks for such."""
    folder = suite(
        {
            ".coveragerc": f"[run]\npatch = {patch}\n",
            "thing.py": "def parent():\n    return 1\ndef child():\n    return 2\n",
            "test_a.py": """
                import os, sys
                import thing

                def test_a():
                    pid = os.fork()
                    if pid == 0:
                        thing.child()
                        os._exit(0)
                    os.waitpid(pid, 0)
                    thing.parent()

                def test_b():
                    pass
            """,
        }
    )
    plain = measured.plainly(folder, "--cov=.", measured.REPORT)
    run = measured.hasten(folder, "--cov=.", measured.REPORT, "-n2", env=measured.ENGINES[engine])
    assert run.status == 0, run.text()
    found, wanted = run.files()["thing.py"], plain.files()["thing.py"]
    assert set(found["missing_lines"]) <= set(wanted["missing_lines"]), run.text()
    assert set(found["executed_lines"]) >= set(wanted["executed_lines"]), run.text()
    assert run.left() == [".coverage"]


@pytest.mark.parametrize("engine", measured.ENGINES)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(suite: Suite, engine: str, method: str) -> None:
    folder = suite(
        {
            ".coveragerc": "[run]\nconcurrency = multiprocessing\nsource = .\n",
            "thing.py": "def work(x):\n    return x + 1\n",
            "test_a.py": f"""
                import multiprocessing
                import thing

                def test_a():
                    process = multiprocessing.get_context({method!r}).Process(target=thing.work, args=(1,))
                    process.start()
                    process.join()
                    assert process.exitcode == 0
            """,
        }
    )
    plain = measured.plainly(folder, "--cov", measured.REPORT)
    run = measured.hasten(folder, "--cov", measured.REPORT, "-n2", env=measured.ENGINES[engine])
    assert run.status == 0, run.text()
    assert run.files()["thing.py"] == plain.files()["thing.py"], run.text()
    assert run.left() == [".coverage"]


@pytest.mark.parametrize("engine", measured.ENGINES)
def test_a_test_that_measures_by_itself(suite: Suite, engine: str) -> None:
    folder = suite(
        FILES
        | {
            "test_b.py": """
                import coverage, pkg

                def test_inner(tmp_path):
                    cov = coverage.Coverage(data_file=str(tmp_path / "own"), include=["*/pkg.py"])
                    cov.start()
                    pkg.f(3)
                    cov.stop()
                    assert cov.get_data().measured_files()

                def test_after():
                    pkg.f(2)
            """
        }
    )
    run = measured.hasten(folder, "--cov=pkg", "-n1", "-k", "inner or after", measured.REPORT,
                          env=measured.ENGINES[engine])  # fmt: skip
    assert run.status == 0, run.text()
    assert 5 in run.files()["pkg.py"]["executed_lines"]
    assert run.left() == [".coverage"]


@pytest.mark.parametrize("engine", measured.ENGINES)
def test_a_run_that_is_interrupted_leaves_no_parts(suite: Suite, engine: str) -> None:
    folder = suite(FILES | {"test_b.py": "def test_interrupts():\n    raise KeyboardInterrupt\n"})
    run = measured.hasten(folder, "--cov=pkg", "-n2", env=measured.ENGINES[engine])
    assert run.status == 2, run.text()
    assert "tests coverage" not in run.out
    assert run.left() == []


def test_a_test_that_changes_the_folder(suite: Suite) -> None:
    """Relative names count from where pytest was started."""
    text = "import os, pkg\ndef test_one(tmp_path):\n    os.chdir(tmp_path)\n    assert pkg.f(1)\n"
    for env in measured.ENGINES.values():
        for variant in ("one", "n2"):
            folder = suite(FILES | {"test_a.py": text})
            run = measured.hasten(folder, "--cov=pkg", measured.REPORT, *measured.VARIANTS[variant], env=env)
            assert run.files()["pkg.py"]["missing_lines"] == [4, 5, 6], run.text()
            assert run.left() == [".coverage"]


def test_the_data_file_of_the_environment(suite: Suite) -> None:
    folder = suite(FILES)
    run = measured.hasten(folder, "--cov=pkg", "-n2", env={"COVERAGE_FILE": str(folder / "other.data")})
    assert run.status == 0, run.text()
    assert run.left() == []
    assert run.query("select count(*) from file", "other.data") == [(1,)]


def test_data_is_read_by_the_program_coverage(suite: Suite) -> None:
    folder = suite(FILES)
    run = measured.hasten(folder, "--cov=pkg", "--cov-report=", "-n2")
    assert run.status == 0
    done = measured.execute(folder, [sys.executable, "-m", "coverage", "report", "-m"])
    assert "pkg.py" in done.out, done.text()
    assert done.lines("pkg.py")[0].split()[-1] == "6"
    os.rename(folder / ".coverage", folder / ".coverage.moved")
    done = measured.execute(folder, [sys.executable, "-m", "coverage", "combine"])
    assert done.status == 0, done.text()
