#!/usr/bin/env python3
"""A suite whose application keeps its database's URL when it is imported: what importing once saves.

    imports_bound.py [--modules sqlalchemy.orm django.contrib.admin ...] [--tests 200] [--workers 2 4 8] [--rounds 5]

Writes a project whose application imports the modules and makes an SQLAlchemy engine from the variable, and whose tests
ask the database. Runs it by plain pytest, and by hasten with names replaced after the fork (`rebind`) and without, in
turn. CPU is that of all processes of the run, the server's not among them. Ends with status 1 when an outcome differs.
Needs PostgreSQL, SQLAlchemy and psycopg beside this interpreter, and what is to be imported.
"""

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

import databases

MODES = {"rebind off": {"HASTEN_DB_REBIND": "0"}, "rebind on": {"HASTEN_DB_REBIND": "1"}}
SETTINGS = '[tool.hasten.db]\npostgres = { setup = "schema.sql", env = "DATABASE_URL" }\n[tool.pytest.ini_options]\n'
APP = """
import os

{imports}
import sqlalchemy

engine = sqlalchemy.create_engine(os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:"))
"""
TESTS = """
import pytest
import sqlalchemy

from app import engine


@pytest.mark.parametrize("i", range({n}))
def test_{file}(i):
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM t")).scalar_one() == 1
"""


def write(folder: pathlib.Path, modules: list[str], n_tests: int) -> None:
    (folder / "pyproject.toml").write_text(SETTINGS)
    (folder / "schema.sql").write_text("CREATE TABLE t(x int);\nINSERT INTO t VALUES (1);\n")
    (folder / "app.py").write_text(APP.format(imports="\n".join(f"import {name}" for name in modules)))
    for i in range(4):
        (folder / f"test_{i}.py").write_text(TESTS.format(n=n_tests // 4, file=i))


def run(command: list[str], folder: pathlib.Path, env: dict[str, str]) -> tuple[float, float, dict[str, str]]:
    """(wall, CPU, outcomes)"""
    path = folder / "junit.xml"
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    arguments = ["-q", "-p", "no:cacheprovider", f"--junitxml={path}"]
    subprocess.run([*command, *arguments], cwd=folder, env=os.environ | env, stdout=subprocess.DEVNULL, check=False)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    outcomes = {
        case.get("name", ""): "+".join(c.tag for c in case if c.tag in ("failure", "error", "skipped")) or "passed"
        for case in ET.parse(path).getroot().iter("testcase")
    }
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", nargs="*", default=["sqlalchemy.orm", "psycopg"])
    parser.add_argument("--tests", type=int, default=200)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    same = True
    with tempfile.TemporaryDirectory(prefix="bench-bound-") as name:
        folder = pathlib.Path(name)
        write(folder, args.modules, args.tests)
        env = {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(folder)}
        run([str(databases.HASTEN), "run", "-n", "2"], folder, env)  # the caches
        wall, cpu, expected = run([sys.executable, "-m", "pytest", "-p", "no:xdist"], folder, env)
        same = set(expected.values()) == {"passed"}
        print(f"{len(expected)} tests, modules {' '.join(args.modules)}")
        print(f"  {'plain pytest':20} wall {wall:6.2f} s  CPU {cpu:6.2f} s")
        for n in args.workers:
            found: dict[str, list[tuple[float, float]]] = {mode: [] for mode in MODES}
            for _ in range(args.rounds):
                for mode, own in MODES.items():
                    # As the last run has left it: a remembered start saves the first collection.
                    run_of = run([str(databases.HASTEN), "run", "-n", str(n)], folder / ".", env | own)
                    found[mode].append(run_of[:2])
                    same = same and run_of[2] == expected
            medians = {mode: [statistics.median(x) for x in zip(*runs, strict=True)] for mode, runs in found.items()}
            for mode, (wall, cpu) in medians.items():
                print(f"  {f'-n {n}, {mode}':20} wall {wall:6.2f} s  CPU {cpu:6.2f} s", flush=True)
            ratio = medians["rebind on"][1] / medians["rebind off"][1]
            print(f"  -n {n}: CPU {ratio:.2f} of that of workers that import for themselves")
    print("outcomes the same" if same else "outcomes DIFFERENT")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
