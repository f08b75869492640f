#!/usr/bin/env python3
"""What the engine itself costs per test: `engine.py [--tests N] [--program hasten]`.

A suite whose conftest replaces the run of a test by three ready reports: what is left of a worker's CPU time is taking
the test, pytest's five reporting hook calls, and the record. The supervisor's CPU time stands in the last record of
its journal. Both are differences between a suite of N and one of N/10 tests, so that start and end cancel out.
Microseconds per test.
"""

import argparse
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import tempfile

RECORD_END = 10
CONFTEST = """
import os, time
import pytest
from _pytest.reports import TestReport

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    hook = item.config.hook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for when in ("setup", "call", "teardown"):
        hook.pytest_runtest_logreport(report=TestReport(
            item.nodeid, item.location, {item.name: 1}, "passed", None, when, (), 1e-6, 1.0, 1.1))
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True

@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session):
    [item.location for item in session.items]
    plain = not hasattr(session.config, "dsession") and not session.config.pluginmanager.hasplugin("hasten")
    start = time.process_time() if plain else 0
    result = yield  # workers are forked in here: their CPU time starts at 0
    if plain or hasattr(session.config, "workerinput"):
        with open(os.environ["ENGINE_OUT"], "a") as out:
            print(time.process_time() - start, file=out)
    return result
"""


def make(folder, n):
    (folder / "conftest.py").write_text(CONFTEST)
    for f in range(10):
        tests = "".join(f"def test_{i}(): pass\n" for i in range(n // 10))
        (folder / f"test_{f}.py").write_text(tests)


def run(program, folder, args):
    out = folder / "cpu"
    out.unlink(missing_ok=True)
    env = {**os.environ, "ENGINE_OUT": str(out)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([program, "run", "-n", "2", "-q", "--no-live", *args], cwd=folder, env=env, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    workers = sum(float(line) for line in out.read_text().splitlines())
    journal = max((folder / ".hasten" / "runs").glob("*.journal"), key=lambda path: path.stat().st_mtime_ns)
    record = struct.unpack("=IIHHIII5Q", journal.read_bytes()[-64:])  # src/store/record.h
    assert record[2] == RECORD_END
    return workers, record[9] / 1e9


def run_plain(python, folder):
    """The same hook calls in one process without a terminal reporter, which does not report in a worker either."""
    out = folder / "cpu"
    out.unlink(missing_ok=True)
    subprocess.run([python, "-m", "pytest", "-p", "no:hasten", "-p", "no:terminal"], cwd=folder, check=True,
                   env={**os.environ, "ENGINE_OUT": str(out)}, stdout=subprocess.DEVNULL)  # fmt: skip
    return (float(out.read_text()),)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", default="hasten")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("args", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        sizes = (options.tests, options.tests // 10)
        folders = [pathlib.Path(name) / str(n) for n in sizes]
        for folder, n in zip(folders, sizes, strict=True):
            folder.mkdir()
            make(folder, n)
        found, plain = [], []
        for _ in range(options.rounds):
            found.append([run(options.program, folder, options.args) for folder in folders])
            plain.append([run_plain(options.python, folder) for folder in folders])
    span = (sizes[0] - sizes[1]) / 1e6
    worker, supervisor, loop = (
        [(big[k] - small[k]) / span for big, small in rows] for rows, k in ((found, 0), (found, 1), (plain, 0))
    )
    for who, per_test in (("worker", worker), ("plain pytest's loop", loop),
                          ("worker's own part", [a - b for a, b in zip(worker, loop, strict=True)]),
                          ("supervisor", supervisor)):  # fmt: skip
        print(f"{who:20} {statistics.median(per_test):7.2f} us per test  (of {[round(x, 2) for x in per_test]})")


if __name__ == "__main__":
    main()
