"""How a run ends before its time: limits, signals, -x, crashed workers, a closed pipe."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from conftest import Run, wait_until

HOLDS = """
import ctypes, os, time, pytest

def sign(name):
    with open(name, "a") as f: f.write("x")

@pytest.fixture
def tidy():
    yield
    sign("tidied")

@pytest.mark.parametrize("i", range(2))
def test_holds(i, tidy):
    sign("held")
    while not os.path.exists("go"): time.sleep(0.01)

def test_quick(): pass
"""


def held(run: Run, n: int = 2) -> None:
    wait_until(lambda: len(run.wait_file("held")) >= n, 20, f"{n} tests that hold")


# ---- limits of time

LIMITS = """
import time, pytest

def test_long(): time.sleep(1000)

@pytest.mark.timeout(0.3)
def test_own(): time.sleep(1000)

@pytest.mark.timeout(timeout=30)
def test_longer(): time.sleep(0.9)

@pytest.mark.timeout(0)
def test_unlimited(): time.sleep(0.9)

@pytest.mark.parametrize("i", range(5))
def test_quick(i): pass
"""


def test_time_limits_of_the_run_and_of_a_test(suite, run_hasten):
    run = run_hasten(suite({"test_t.py": LIMITS}), "-n2", "--timeout=0.7")
    outcomes = run.outcomes()
    failed = {name for name, outcome in outcomes.items() if outcome != "passed"}
    assert failed == {"test_long", "test_own"}
    assert len(outcomes) == 9
    assert "Timeout (>0.7s)" in run.text_of("test_long")
    assert "Timeout (>0.3s)" in run.text_of("test_own")
    assert "in test_own" in run.text_of("test_own")
    assert run.status == 1


# ---- signals


def test_ctrl_c_once_stops_tests_and_prints_the_summary(suite, start_hasten):
    run = start_hasten(suite({"test_h.py": HOLDS}), "-n2")
    held(run)
    os.kill(run.process.pid, signal.SIGINT)
    run.finish(10)
    assert run.status == 2, run.describe()
    assert "KeyboardInterrupt" in run.out
    assert " in " in run.out.strip().rpartition("!!!")[2], "the summary line is missing"
    assert (run.folder / "tidied").read_text() == "xx"
    assert run.outcomes().keys() <= {"test_quick", "test_holds[0]", "test_holds[1]"}
    run.no_traceback_of_ours()


def test_ctrl_c_while_tests_are_collected(suite, start_hasten):
    run = start_hasten(suite({"test_h.py": "import time\nopen('held', 'w').write('xx')\ntime.sleep(1000)\n"}), "-n2")
    held(run)
    os.kill(run.process.pid, signal.SIGINT)
    run.finish(10)
    assert run.status == 2, run.describe()
    assert "KeyboardInterrupt" in run.out
    run.no_traceback_of_ours()


def test_ctrl_c_while_conftests_are_imported(suite, start_hasten):
    conftest = "import time\nopen('held', 'w').write('xx')\ntime.sleep(1000)\n"
    run = start_hasten(suite({"conftest.py": conftest, "test_a.py": "def test_a(): pass\n"}), "-n2")
    held(run)
    os.kill(run.process.pid, signal.SIGINT)
    run.finish(10)
    assert run.status == 2, run.describe()
    assert run.err.strip() == "hasten: interrupted while plugins and conftests were imported"


IMMUNE = """
import ctypes, signal
def test_immune():
    for n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, signal.SIG_IGN)
    with open("held", "w") as f: f.write("xx")
    ctypes.PyDLL(None).sleep(1000)
"""


def test_ctrl_c_twice_ends_everything_at_once(suite, start_hasten):
    run = start_hasten(suite({"test_h.py": IMMUNE, "test_b.py": "def test_b(): pass\n"}), "-n2")
    held(run)
    os.kill(run.process.pid, signal.SIGINT)
    run.wait_event("interrupt")
    os.kill(run.process.pid, signal.SIGINT)
    run.finish(2)
    assert run.status == 2


def test_ctrl_c_once_ends_what_does_not_listen_and_prints_the_summary(suite, start_hasten):
    files = {"test_h.py": IMMUNE, "test_b.py": "def test_b(): pass\n"}
    run = start_hasten(suite(files), "-n2", env={"HASTEN_TEST_GRACE_MS": "100"})
    held(run)
    run.wait_event("result")
    os.kill(run.process.pid, signal.SIGINT)
    run.finish(5)
    assert run.status == 2
    assert "KeyboardInterrupt" in run.out
    assert "1 passed" in run.out, run.describe()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("text", [HOLDS, IMMUNE], ids=["holds", "immune"])
def test_sigterm_and_sighup_end_everything(suite, start_hasten, number, text):
    run = start_hasten(suite({"test_h.py": text, "test_b.py": "def test_b(): pass\n"}), "-n2")
    held(run)
    os.kill(run.process.pid, number)
    run.finish(3)
    assert run.status == 2
    run.no_traceback_of_ours()


def test_closed_pipe_ends_the_run(suite, start_hasten):
    many = "import pytest\n@pytest.mark.parametrize('i', range(300))\ndef test_m(i): pass\n"
    run = start_hasten(suite({"test_m.py": many}), "-n2", "-v", stderr=subprocess.STDOUT)
    assert run.process.stdout is not None
    run.process.stdout.readline()
    run.process.stdout.close()
    status = run.process.wait(20)
    assert status != 0
    run.process.stdout = None
    run.finish(1)


def test_keyboard_interrupt_and_exit_of_a_test_end_the_run_as_in_pytest(suite, run_hasten):
    for line, status, said in (
        ("raise KeyboardInterrupt", 2, "KeyboardInterrupt"),
        ("pytest.exit('enough', 7)", 7, "enough"),
    ):
        run = run_hasten(suite({"test_h.py": f"import pytest\ndef test_a(): {line}\ndef test_b(): pass\n"}), "-n2")
        assert run.status == status, run.describe()
        assert said in run.out


# ---- failures that stop the run

STOPS = """
import os, pytest

def wait_for(name):
    import time
    while not os.path.exists(name): time.sleep(0.005)

@pytest.mark.parametrize("i", range(40))
def test_s(i):
    with open(f"ran-{i}", "w"): pass
    if i == 1: assert 0
    import time; time.sleep(0.01)
"""


@pytest.mark.parametrize(("option", "failed"), [("-x", 1), ("--maxfail=2", 2)])
def test_maxfail_starts_no_test_after_the_result_is_known(suite, run_hasten, option, failed):
    text = STOPS.replace("i == 1", "i in (1, 2, 3, 21, 22)")
    folder = suite({"test_s.py": text})
    run = run_hasten(folder, "-n2", option)
    outcomes = run.outcomes()
    n_failed = list(outcomes.values()).count("failed")
    assert failed <= n_failed <= failed + 1, "the other worker's present test may fail too"
    assert len(outcomes) < 40
    ran = {path.name for path in folder.glob("ran-*")}
    assert len(ran) == len(outcomes), "every test that ran has a result, and no other"
    known = [e["t"] for e in run.events("result") if e["outcome"] == "failed"][failed - 1]
    late = [e for e in run.events("result") if e["t"] > known]
    assert len(late) <= 2, run.describe()
    assert run.status == 1
    assert f"stopping after {n_failed} failures" in run.out, run.describe()


CRASHES = """
import os, pytest
@pytest.mark.parametrize("i", range(9))
def test_c(i):
    if i in (0, 1, 2, 5): os._exit(1)
"""


@pytest.mark.parametrize("most", [0, 2])
def test_max_worker_restart_stops_the_run(suite, run_hasten, most):
    run = run_hasten(suite({"test_c.py": CRASHES}), "-n2", f"--max-worker-restart={most}")
    outcomes = run.outcomes()
    assert list(outcomes.values()).count("failed") in (most + 1, most + 2), run.describe()
    assert len(run.events("worker_forked")) == 2 + most
    said = "maximum crashed workers reached: 2" if most else "worker restarting disabled"
    assert said in run.out
    assert run.status in (1, 2)
    run.no_traceback_of_ours()


THREE = """
import ctypes, os, signal, pytest
@pytest.mark.parametrize("i", range(3))
def test_a(i): pass
def test_exit_DIES(): os._exit(1)
@pytest.mark.parametrize("i", range(2))
def test_b(i): pass
def test_segv_DIES(): ctypes.string_at(0)
def test_kill_DIES(): os.kill(os.getpid(), signal.SIGKILL)
def test_c(): pass
"""


@pytest.mark.parametrize("dist", ["load", "worksteal", "loadscope", "loadfile", "loadgroup", "no"])
@pytest.mark.parametrize("n", ["1", "2"])
def test_three_tests_die_and_six_pass(suite, run_hasten, dist, n):
    run = run_hasten(suite({"test_three.py": THREE}), f"-n{n}", f"--dist={dist}")
    outcomes = run.outcomes()
    assert len(outcomes) == 9
    for name, outcome in outcomes.items():
        assert outcome == ("failed" if "DIES" in name else "passed"), run.describe()
    assert "3 failed, 6 passed" in run.out
    assert run.status == 1


def test_three_tests_die_and_six_pass_on_each_worker(suite, run_hasten):
    run = run_hasten(suite({"test_three.py": THREE}), "-n2", "--dist=each")
    assert "6 failed, 12 passed" in run.out, run.describe()
    assert run.status == 1


GROUP = """
import os, pytest

def note(what):
    with open("order", "a") as f: f.write(f"{os.environ['PYTEST_XDIST_WORKER']} {what}\\n")

def wait_for(name):
    import time
    while not os.path.exists(name): time.sleep(0.005)

@pytest.fixture
def dies(request):
    yield
    os._exit(1)

@pytest.mark.parametrize("i", range(2))
def test_before(i): note(f"before-{i}")
def test_dies(dies): note("dies")
@pytest.mark.parametrize("i", range(5))
def test_after(i): note(f"after-{i}")
"""
OTHER = """
import os, time
def test_other():
    while not os.path.exists("order") or "dies" not in open("order").read(): time.sleep(0.005)
"""


@pytest.mark.parametrize("dist", ["loadfile", "loadscope"])
def test_the_rest_of_a_group_stays_together_and_in_order_after_a_crash(suite, run_hasten, dist):
    """The test that the dead worker had claimed for later goes to the one that takes over the rest of its file."""
    folder = suite({"test_group.py": GROUP, "test_other.py": OTHER})
    run = run_hasten(folder, "-n2", f"--dist={dist}")
    assert run.outcomes() == {
        **{f"test_before[{i}]": "passed" for i in range(2)},
        **{f"test_after[{i}]": "passed" for i in range(5)},
        "test_dies": "failed",
        "test_other": "passed",
    }, run.describe()
    lines = [line.split() for line in (folder / "order").read_text().splitlines()]
    after = [(worker, what) for worker, what in lines if what.startswith("after")]
    assert [what for _, what in after] == [f"after-{i}" for i in range(5)], run.describe()
    assert len({worker for worker, _ in after}) == 1, run.describe()
    assert len(run.events("planned")) == 1, "nothing was left for the sweep"


@pytest.mark.parametrize("text", ["def test_a(): pass\ndef test_b(): pass\n", CRASHES])
def test_a_run_leaves_nothing_in_the_folder_for_temporary_files(suite, run_hasten, tmp_path_factory, text):
    temp = tmp_path_factory.mktemp("tmp")
    run = run_hasten(suite({"test_t.py": text}), "-n2", env={"TMPDIR": str(temp)})
    assert [p.name for p in temp.iterdir() if not p.name.startswith("pytest-of-")] == [], run.describe()


def test_time_while_the_program_is_stopped_counts_for_no_limit(suite, start_hasten):
    """Ctrl-Z, or a frozen machine: the tests' time limits go on where they were."""
    run = start_hasten(suite({"test_h.py": HOLDS}), "-n2", "--timeout=2")
    held(run)
    os.kill(run.process.pid, signal.SIGSTOP)
    time.sleep(3)  # nothing happens that could be waited for: this is the time that must not count
    os.kill(run.process.pid, signal.SIGCONT)
    run.wait_event("gap")
    (run.folder / "go").touch()
    assert set(run.finish().outcomes().values()) == {"passed"}, run.describe()
    assert run.status == 0
