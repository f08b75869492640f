"""kill -9 of any process of hasten itself: no finished result is lost, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from typing import Any

import pytest
from conftest import Run, tagged, wait_until

N = 8
# The first test says that it runs and waits for a sign; the rest need nothing.
SUITE = f"""
import os, time, pytest

def wait_for(name):
    while not os.path.exists(name): time.sleep(0.01)

def test_holds():
    with open("held", "a") as f: f.write(f"{{os.getpid()}}\\n")
    wait_for("go")

@pytest.mark.parametrize("i", range({N}))
def test_quick(i):
    with open("log", "a") as f: f.write(f"{{i}}\\n")
"""
SLOW_COLLECTION = """
import os, time
with open("collecting", "a") as f: f.write(f"{os.getpid()}\\n")
while not os.path.exists("go"): time.sleep(0.01)

def test_a(): pass
def test_b(): pass
"""
ALL = {"test_holds"} | {f"test_quick[{i}]" for i in range(N)}


def go(run: Run) -> None:
    (run.folder / "go").write_text("now")


def all_quick_done(run: Run) -> None:
    """Every test but the one that holds has its result."""
    run.wait_file("held")
    wait_until(lambda: len(run.events("result")) >= N, 20, f"{N} results")


def check_all(run: Run, passed: set[str]) -> None:
    outcomes = run.outcomes()
    assert set(outcomes) == passed, run.describe()
    assert set(outcomes.values()) == {"passed"}, run.describe()
    assert run.status == 0, run.describe()


@pytest.mark.parametrize("start", ["template", "early", "spawn"])
def test_reporter_killed_while_tests_run(suite, start_hasten, start):
    run = start_hasten(suite({"test_k.py": SUITE}), "-n2", f"--start={start}")
    all_quick_done(run)
    os.kill(run.reporter_pid, signal.SIGKILL)
    run.wait_event("pytest_start", 2)
    go(run)
    check_all(run.finish(), ALL)
    assert run.err.count("another one reports") == 1
    assert len((run.folder / "log").read_text().split()) == N, "a finished test was run again"


def test_reporter_killed_while_tests_are_collected(suite, start_hasten):
    run = start_hasten(suite({"test_k.py": SLOW_COLLECTION}), "-n2")
    run.wait_file("collecting")
    os.kill(run.reporter_pid, signal.SIGKILL)
    run.wait_event("pytest_start", 2)
    go(run)
    check_all(run.finish(), {"test_a", "test_b"})


def test_reporter_that_is_always_killed_ends_the_run_with_one_line(suite, run_hasten):
    conftest = """
    import os
    def pytest_runtest_logreport(report):
        if "PYTEST_XDIST_WORKER" not in os.environ: os.kill(os.getpid(), 9)
    """
    run = run_hasten(suite({"conftest.py": conftest, "test_k.py": "def test_a(): pass\n"}), "-n2")
    assert run.status == 3
    assert run.err.strip().split("\n")[-1].startswith("hasten: ")
    assert "SIGKILL" in run.err


def test_template_killed_while_tests_run(suite, start_hasten):
    run = start_hasten(suite({"test_k.py": SUITE}), "-n2")
    all_quick_done(run)
    os.kill(run.template_pid(), signal.SIGKILL)
    go(run)
    check_all(run.finish(), ALL)


def test_template_and_a_worker_killed_while_tests_run(suite, start_hasten):
    run = start_hasten(suite({"test_k.py": SUITE}), "-n2", "--maxfail=0")
    all_quick_done(run)
    os.kill(run.template_pid(), signal.SIGKILL)
    os.kill(int(run.wait_file("held")), signal.SIGKILL)
    run.finish()
    outcomes = run.outcomes()
    assert outcomes.pop("test_holds") == "failed"
    assert outcomes == dict.fromkeys(ALL - {"test_holds"}, "passed")
    assert run.status == 1


def test_template_killed_while_tests_are_collected(suite, start_hasten):
    run = start_hasten(suite({"test_k.py": SLOW_COLLECTION}), "-n2")
    run.wait_file("collecting")
    os.kill(run.template_pid(), signal.SIGKILL)
    go(run)
    check_all(run.finish(), {"test_a", "test_b"})


@pytest.mark.parametrize("start", ["template", "early", "spawn"])
def test_worker_killed_from_outside(suite, start_hasten, start):
    run = start_hasten(suite({"test_k.py": SUITE}), "-n2", f"--start={start}")
    all_quick_done(run)
    os.kill(int(run.wait_file("held")), signal.SIGKILL)
    run.finish()
    outcomes = run.outcomes()
    assert outcomes.pop("test_holds") == "failed"
    assert outcomes == dict.fromkeys(ALL - {"test_holds"}, "passed")
    assert "SIGKILL" in run.text_of("test_holds")
    assert run.status == 1


@pytest.mark.parametrize("start", ["early", "spawn"])
def test_workers_killed_while_they_collect_for_themselves(suite, start_hasten, start):
    run = start_hasten(suite({"test_k.py": SLOW_COLLECTION}), "-n2", f"--start={start}")
    wait_until(lambda: len(run.wait_file("collecting").split()) == 2, 20, "two workers that collect")
    for pid in (run.folder / "collecting").read_text().split():
        os.kill(int(pid), signal.SIGKILL)
    go(run)
    run.finish()
    assert run.status in (0, 3), run.describe()
    if run.status == 0:
        check_all(run, {"test_a", "test_b"})
    else:
        assert "died" in run.out + run.err


def kill_supervisor(run: Run) -> None:
    run.process.kill()
    crowd = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # two seconds of a machine that is not shared
    wait_until(lambda: not tagged(run.tag), 2 * crowd, "all processes gone")
    run.finish()


def test_supervisor_killed_while_tests_are_collected(suite, start_hasten):
    run = start_hasten(suite({"test_k.py": SLOW_COLLECTION}), "-n2")
    run.wait_file("collecting")
    kill_supervisor(run)


@pytest.mark.parametrize("start", ["early", "spawn"])
def test_supervisor_killed_while_workers_collect_for_themselves(suite, start_hasten, start):
    run = start_hasten(suite({"test_k.py": SLOW_COLLECTION}), "-n2", f"--start={start}")
    wait_until(lambda: len(run.wait_file("collecting").split()) == 2, 20, "two workers that collect")
    kill_supervisor(run)


def test_supervisor_killed_while_conftests_are_imported(suite, start_hasten):
    run = start_hasten(suite({"conftest.py": SLOW_COLLECTION, "test_k.py": "def test_a(): pass\n"}), "-n2")
    run.wait_file("collecting")
    kill_supervisor(run)


def test_supervisor_killed_while_pytest_runs_everything_itself(suite, start_hasten):
    run = start_hasten(suite({"test_k.py": SUITE}), "-n0")
    run.wait_file("held")
    kill_supervisor(run)


STUBBORN = """
import ctypes, os, signal, subprocess
def test_stubborn():
    for n in (signal.SIGTERM, signal.SIGINT): signal.signal(n, signal.SIG_IGN)
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    with open("stubborn", "w") as f: f.write("x")
    ctypes.PyDLL(None).sleep(1000)
"""


def test_supervisor_killed_while_tests_run_then_resumed(suite, start_hasten, run_hasten):
    folder = suite({"test_k.py": SUITE, "test_s.py": STUBBORN})
    run = start_hasten(folder, "-n2")
    run.wait_file("stubborn")
    run.wait_file("held")
    run.wait_event("result")
    # Only results that the loop has had its next turn after are surely in the journal.
    settled = time.monotonic_ns()
    wait_until(lambda: time.monotonic_ns() - settled > 100_000_000, 1, "some turns of the loop")
    kill_supervisor(run)
    finished = {e["id"].partition("::")[2] for e in run.events("result") if e["t"] < settled}
    assert finished, run.describe()
    (folder / "go").write_text("now")
    (folder / "test_s.py").write_text("def test_stubborn(): pass\n")
    again: Any = run_hasten(folder, "-n2", "--resume")
    check_all(again, ALL | {"test_stubborn"})
    log = Counter(f"test_quick[{i}]" for i in (folder / "log").read_text().split())
    assert all(log[name] == 1 for name in finished), "a finished test was run again"


@pytest.mark.parametrize("start", ["template", "early", "spawn"])
def test_the_program_killed_leaves_no_folder(suite, start_hasten, tmp_path_factory, start):
    scratch = tmp_path_factory.mktemp("scratch")
    run = start_hasten(suite({"test_k.py": SUITE}), "-n2", f"--start={start}", env={"TMPDIR": str(scratch)})
    all_quick_done(run)
    assert list(scratch.glob("hasten-*"))
    run.process.kill()
    wait_until(lambda: not tagged(run.tag), 20, "nothing is left")
    run.process.communicate()
    assert not list(scratch.glob("hasten-*"))
