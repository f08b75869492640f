"""The data file of a measured run is the same whoever writes its rows, and is whole or not there."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import measured
import pytest

pytest.importorskip("coverage")
pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="no sys.monitoring")

Suite = Callable[..., Path]

BODY = "\n".join(f"    if x == {i}:\n        y += {i}" for i in range(40))
FILES = {
    "pkg/__init__.py": "NAME = 1\n",
    "pkg/a.py": f"def f(x):\n    y = 0\n{BODY}\n    return y\n",
    "pkg/b.py": "def g(xs):\n    for x in xs:\n        try:\n            1 / x\n        except ZeroDivisionError:\n"
    "            continue\n    return [x for x in xs if x]\n",
    "pkg/never.py": "x = 1\n",
    "test_a.py": """
        import pytest
        from pkg import a, b

        @pytest.fixture
        def three():
            yield a.f(3)
            b.g([1])

        @pytest.mark.parametrize("x", range(25))
        def test_f(x): assert a.f(x) == x

        def test_g(): assert b.g([1, 0, 2]) == [1, 2]
        def test_fixture(three): assert three == 3
    """,
    "test_b.py": "from pkg import b\n\ndef test_empty():\n    assert b.g([]) == []\n",
    "pytest.ini": "[pytest]\npythonpath = .\n",
}
TABLES = ("file", "context", "line_bits", "arc", "tracer")
KINDS = {
    "lines": (),
    "branches": ("--cov-branch",),
    "lines, contexts": ("--cov-context=test",),
    "branches, contexts": ("--cov-branch", "--cov-context=test"),
    "lines, functions": ("--cov-context=function",),
    "branches, functions": ("--cov-branch", "--cov-context=function"),
}


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = {table: db.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid").fetchall() for table in TABLES}
        found["meta"] = db.execute("SELECT key FROM meta ORDER BY key").fetchall()
        return found


@pytest.mark.parametrize("kind", KINDS)
def test_both_writers_write_the_same_rows(suite: Suite, kind: str) -> None:
    folder = suite(FILES | {".coveragerc": "[run]\ncontext = static\n" if "contexts" in kind else ""})
    found = []
    for env in ({}, {"HASTEN_COV_WRITER": "python"}):
        run = measured.hasten(folder, "--cov=pkg", "--cov-report=", "-n2", *KINDS[kind], env=env)
        assert run.status == 0, run.text()
        found.append(rows(folder / ".coverage"))
        assert run.left() == [".coverage"]
    assert found[0] == found[1]
    assert len(found[0]["arc" if "branches" in kind else "line_bits"]) >= (20 if "contexts" in kind else 2)


def test_the_paths_of_the_configuration_are_those_of_a_combination(suite: Suite) -> None:
    config = "[run]\nbranch = True\n[paths]\nsource =\n    elsewhere\n    pkg\n"
    folder = suite(FILES | {".coveragerc": config, "elsewhere/a.py": FILES["pkg/a.py"]})
    args = ("--cov=pkg", "--cov-context=test", measured.REPORT, "--cov-report=term")
    plain = measured.plainly(folder, *args)
    wanted = plain.files(), plain.lines_by_context()
    assert "elsewhere/a.py" in wanted[0]
    for extra in ((), ("--cov-append",)):
        run = measured.hasten(folder, *args, "-n2", *extra, fresh=not extra)
        assert run.files() == wanted[0], run.text()
        assert run.lines_by_context() ^ wanted[1] == set(), run.text()
        assert run.lines("elsewhere", "TOTAL") == plain.lines("elsewhere", "TOTAL")
        assert run.left() == [".coverage"]


def test_reports_of_one_run_are_those_of_runs_of_their_own(suite: Suite) -> None:
    folder = suite(FILES)
    kinds = ("json:x.json", "xml:x.xml", "lcov:x.lcov", "term-missing", "markdown:x.md")
    args = ("--cov=pkg", "--cov-branch", "--cov-context=test", "-n2")
    run = measured.hasten(folder, *args, *(f"--cov-report={kind}" for kind in kinds))
    assert run.status == 0, run.text()
    together = [(folder / name).read_text() for name in ("x.json", "x.lcov", "x.md")]
    apart = []
    for kind in kinds:
        run = measured.hasten(folder, *args, f"--cov-report={kind}")
        assert run.status == 0, run.text()
    apart = [(folder / name).read_text() for name in ("x.json", "x.lcov", "x.md")]
    assert together[1:] == apart[1:]
    without_time = [text.split('"timestamp"')[1].split(",", 1)[1] for text in (together[0], apart[0])]
    assert without_time[0] == without_time[1]


# ---- what goes wrong while it is written

DRIVER = """
import os, resource, signal, sys
import coverage
from hasten import cov_write, monitor

program, how = sys.argv[1:]
cov = coverage.Coverage(data_file="data", data_suffix=True, branch=True, include=[program], config_file=False)
assert monitor.why_not(cov, "test") == ""
monitor.start(cov, "test")
namespace = {"__file__": program, "__name__": "program"}
exec(compile(open(program).read(), program, "exec"), namespace)
for i in range(40):
    monitor.switch(f"context {i}")
    namespace["f"](i)
cov.stop()
real = cov_write._native.covered_write

def killed(*args):
    assert os.path.exists(args[5])
    with open(args[5], "r+b") as file:
        file.seek(4096)
        file.write(b"x" * 20000)
    os.kill(os.getpid(), signal.SIGKILL)

def limited(*args):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100000, resource.RLIM_INFINITY))
    try:
        return real(*args)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

class Native:
    covered_write = staticmethod({"killed": killed, "limited": limited, "other": lambda *args: None}.get(how, real))
    def __getattr__(self, name):
        return getattr(monitor._native, name)

cov_write._native = Native()
try:
    monitor.finish(cov)
    cov.save()
except OSError as exc:
    print("OSError:", exc)
else:
    print("written:", cov.get_data().data_filename())
"""


def drive(tmp_path: Path, how: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "driver.py").write_text(DRIVER)
    steps = "\n".join(f"    if x > {i}:\n        x += 1" for i in range(300))
    (tmp_path / "program.py").write_text(f"def f(x):\n{steps}\n    return x\n")
    env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    return subprocess.run(
        [sys.executable, "driver.py", str(tmp_path / "program.py"), how],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_process_killed_while_it_writes_leaves_no_data_file(tmp_path: Path) -> None:
    done = drive(tmp_path, "killed")
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    assert list(tmp_path.glob("data*")) == []
    assert len(list(tmp_path.glob(".hasten-coverage-*"))) == 1


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    done = drive(tmp_path, "limited")
    assert done.stdout.startswith("OSError: "), done.stdout + done.stderr
    assert "cannot write the data file" in done.stdout
    assert list(tmp_path.glob("data*")) + list(tmp_path.glob(".hasten*")) == []


def test_a_file_that_the_writer_does_not_know_is_written_by_coverage(tmp_path: Path) -> None:
    found = []
    for how in ("", "other"):
        done = drive(tmp_path, how)
        assert done.stdout.startswith("written: "), done.stdout + done.stderr
        found.append(rows(Path(done.stdout.split(": ", 1)[1].strip())))
    assert found[0] == found[1]
    assert len(found[0]["arc"]) > 10000


CHANGES = {
    "another column": "ALTER TABLE line_bits ADD COLUMN more text",
    "another index": "CREATE INDEX more ON line_bits (numbits)",
    "rows": "INSERT INTO line_bits (file_id, context_id, numbits) VALUES (1, 1, x'02')",
    "contexts": "INSERT INTO context (context) VALUES ('old')",
    "another schema": None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_data_file_of_another_form_gets_its_rows_by_coverage(tmp_path: Path, change: str) -> None:
    """Whatever a later coverage.py makes of its tables."""
    text = f"""
        import sys
        import coverage
        from coverage import sqldata
        from hasten import cov_write, monitor

        cov = coverage.Coverage(data_file="data", data_suffix=True, include=["program.py"], config_file=False)
        monitor.start(cov, "")
        exec(compile("x = 1\\nif x:\\n    y = 2\\n", "program.py", "exec"), {{"__file__": "program.py"}})
        cov.stop()
        cov._init_data(None)
        data = cov._data
        data.add_lines({{}})
        change = {CHANGES[change]!r}
        if change is None:
            sqldata.SCHEMA_VERSION = 8
        else:
            with data._connect() as con:
                con.execute_void(change)
        native = cov_write._native.covered_write

        class Native:
            def covered_write(self, *args):
                raise AssertionError("not for this one")
            def __getattr__(self, name):
                return getattr(monitor._native, name)

        cov_write._native = Native()
        monitor.finish(cov)
        sqldata.SCHEMA_VERSION = 7
        assert sorted(data.lines(next(iter(data.measured_files())))) == [1, 2, 3], data.measured_files()
        print("good")
    """
    (tmp_path / "program.py").write_text("x = 1\nif x:\n    y = 2\n")
    (tmp_path / "driver.py").write_text(textwrap.dedent(text))
    env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "driver.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "good\n", done.stdout + done.stderr
