"""A test that destroys its process costs itself one result, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

HEAD = """
import ctypes, faulthandler, os, re, signal, subprocess, sys, threading
import pytest

{helpers}
"""

# fault -> (its code, what its result must say). Every one of them ends the worker.
DEADLY = {
    "segv": ("ctypes.string_at(0)", "SIGSEGV"),
    "abort": ("os.abort()", "SIGABRT"),
    "sigkill": ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    "exit0": ("os._exit(0)", "exit status 0"),
    "exit3": ("os._exit(3)", "exit status 3"),
    "overflow": ("faulthandler._stack_overflow()", "SIGSEGV"),
    "loop": ("while True: pass", "Timeout"),
    "loop_c": ("re.match(r'(a+)+$', 'a' * 64 + 'b')", "Timeout"),
    "pause_c": ("ctypes.PyDLL(None).sleep(1000)", "Timeout"),
    "memory": ("hog = []\nwhile True: hog.append(b'x' * 4_000_000)", "--worker-memory"),
    "stopped": ("os.kill(os.getpid(), signal.SIGSTOP)", "SIGSTOP"),
    "fds": ("os.closerange(3, 65536)", "descriptors"),
}
WITH_STACK = ("segv", "abort", "overflow", "loop", "loop_c", "pause_c", "memory")
NEIGHBOURS = "\n@pytest.mark.parametrize('i', range(2))\ndef test_neighbour_{tag}(i): pass\n"


def indent(code: str) -> str:
    return "\n".join("    " + line for line in code.split("\n"))


def limits(fault: str) -> str:
    return "pytestmark = pytest.mark.timeout(0.8)\n" if DEADLY[fault][1] == "Timeout" else ""


def module(fault: str, state: str) -> str:
    """A test file whose test `victim_<fault>_<state>` runs into the fault in that state."""
    code = f"def strike():\n{indent(DEADLY[fault][0])}\n"
    name = f"test_victim_{fault}_{state}"
    texts = {
        "setup": f"@pytest.fixture\ndef fix():\n    strike()\n\ndef {name}(fix): pass\n",
        "call": f"def {name}(): strike()\n",
        "teardown": f"@pytest.fixture\ndef fix():\n    yield\n    strike()\n\ndef {name}(fix): pass\n",
        "module": "done = []\n\n@pytest.fixture(scope='module', autouse=True)\ndef fix():\n    yield\n"
        "    if done: strike()\n\n"  # not where only the test before was left for another worker
        f"def test_before_{fault}(): pass\n\ndef {name}(): done.append(1)\n",
        "finalizer": f"@pytest.fixture\ndef fix(request): request.addfinalizer(strike)\n\ndef {name}(fix): pass\n",
        "xunit": f"class TestX:\n    def teardown_method(self): strike()\n\n    def {name}(self): pass\n",
    }
    neighbours = "" if state == "module" else NEIGHBOURS.format(tag=f"{fault}_{state}")
    return HEAD.format(helpers=limits(fault)) + code + neighbours + texts[state]


def check_victims(run: Any, victims: dict[str, str], state: str) -> None:
    outcomes = run.outcomes()
    failed = {name for name, outcome in outcomes.items() if outcome != "passed"}
    assert failed == set(victims), run.describe()
    for name, fault in victims.items():
        text = run.text_of(name)
        assert DEADLY[fault][1] in text, text
        assert name in text
        if fault in WITH_STACK:
            assert " in strike" in text, text
    assert run.status == 1


@pytest.mark.parametrize("state", ["setup", "call", "teardown", "module", "finalizer", "xunit"])
def test_a_deadly_test_has_one_result_and_the_rest_is_untouched(suite, run_hasten, state):
    faults = DEADLY if state == "call" else {f: DEADLY[f] for f in ("segv", "exit0", "loop", "fds", "sigkill")}
    files = {f"test_{fault}.py": module(fault, state) for fault in faults}
    run = run_hasten(
        suite(files), "-n2", "--dist=loadfile", "--worker-memory=300M", "--max-worker-restart=100", timeout=60
    )
    check_victims(run, {f"test_victim_{fault}_{state}": fault for fault in faults}, state)
    assert len(run.outcomes()) == len(faults) * (2 if state == "module" else 3)


# These let the worker live: plain pytest's outcome is expected, and no trace of them in other tests.
HARMLESS = """
@pytest.mark.parametrize("i", range(3))
def test_before(i): pass

def test_thread_exit():
    thread = threading.Thread(target=sys.exit); thread.start(); thread.join()

def test_exit_call_FAILS(): sys.exit(3)

def test_not_utf8():
    os.write(1, b"\\xff\\xfe\\x80 \\xed\\xa0\\x80\\n"); os.write(2, b"\\xc3(")

def test_not_utf8_FAILS():
    os.write(1, b"\\xff\\xfe\\x80 \\xed\\xa0\\x80\\n"); os.write(2, b"\\xc3("); assert 0, "\\udc80\\x00\\x1b[31m"

def test_fork():
    if os.fork() == 0: return
    os.wait()

def test_fork_FAILS():
    child = os.fork()
    if child: os.wait()
    assert child < 0

def test_daemon_thread(): threading.Thread(target=threading.Event().wait, daemon=True).start()

def test_child_left(): subprocess.Popen(["sleep", "1000"])

def test_child_group_left(): subprocess.Popen(["sleep", "1000"], start_new_session=True)

def test_daemon_left():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0: os.execvp("sleep", ["sleep", "1000"])
        os._exit(0)
    os.wait()

class Unpicklable(Exception):
    def __init__(self, a, b): super().__init__(a); self.b = lambda: b
    def __reduce__(self): raise RuntimeError("not me")
    def __str__(self): return "unpicklable text"

class Unprintable(Exception):
    def __str__(self): raise ValueError("no text")
    __repr__ = __str__

def test_unpicklable_FAILS(): raise Unpicklable(1, 2)

def test_unprintable_FAILS(): raise Unprintable

def test_local_class_FAILS():
    class Local(Exception): pass
    raise Local("local")

def test_group_FAILS(): raise ExceptionGroup("two", [Unpicklable(1, 2), ValueError(3)])

def test_properties(record_property, request):
    record_property("a", lambda: 1); record_property("b", threading.Lock()); record_property("c", object())
    request.node.add_report_section("call", "mine", "text of the section")

def test_recursion_FAILS():
    def f(): f()
    f()

def test_signal_ignored():
    for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1): signal.signal(n, signal.SIG_IGN)

def test_stdio_closed():
    os.close(0); os.open(os.devnull, os.O_RDONLY)

def test_folder_gone(tmp_path):
    back = os.getcwd(); os.chdir(tmp_path); os.rmdir(tmp_path); os.chdir(back)

@pytest.mark.parametrize("i", range(3))
def test_after(i): pass
"""


@pytest.mark.parametrize("capture", ["fd", "sys", "no"])
def test_harmless_damage_gives_pytests_own_outcomes(suite, run_hasten, capture):
    folder = suite({"test_a.py": HEAD.format(helpers="") + HARMLESS})
    run = run_hasten(folder, "-n2", f"--capture={capture}", "-Wignore", "--max-worker-restart=0")
    outcomes = run.outcomes()
    assert len(outcomes) == HARMLESS.count("\ndef test_") + 6 - 2
    for name, outcome in outcomes.items():
        assert outcome == ("failed" if "FAILS" in name else "passed"), (name, run.describe())
    assert run.status == 1
    assert "unpicklable text" in run.text_of("test_unpicklable_FAILS")
    assert not run.events("worker_died")


@pytest.mark.slow
def test_200_megabytes_of_output_are_one_passed_test(suite, run_hasten):
    big = "def test_big():\n    import sys\n    for _ in range(200): sys.stdout.write('x' * 1_000_000)\n"
    run = run_hasten(suite({"test_big.py": big, "test_b.py": "def test_b(): pass\n"}), "-n2", timeout=60)
    assert run.outcomes() == {"test_big": "passed", "test_b": "passed"}
    assert run.status == 0


FIXTURES = """
import pytest

@pytest.fixture
def bad_setup(): raise RuntimeError("in setup")

@pytest.fixture
def bad_teardown():
    yield
    raise RuntimeError("in teardown")

@pytest.fixture(scope="module")
def bad_module():
    yield
    raise RuntimeError("in module teardown")

def test_setup(bad_setup): pass
def test_teardown(bad_teardown): pass
def test_both(bad_teardown): assert 0
def test_module(bad_module): pass
"""


def test_exceptions_in_fixtures_are_pytests_errors(suite, run_hasten):
    run = run_hasten(suite({"test_f.py": FIXTURES, "test_o.py": "def test_o(): pass\n"}), "-n2", "--dist=loadfile")
    assert {(case.name, case.outcome) for case in run.cases()} == {
        ("test_setup", "error"),
        ("test_teardown", "error"),
        ("test_both", "failed"),
        ("test_both", "error"),
        ("test_module", "error"),
        ("test_o", "passed"),
    }
    assert run.status == 1
    run.no_traceback_of_ours()


MEMORY = """
import os
def high(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        with open("high", "w") as f: f.write(f"{high(os.getpid())} {high(os.getppid())}")
"""


@pytest.mark.slow
def test_memory_of_supervisor_and_reporter_does_not_grow_with_output(suite, run_hasten):
    big = "def test_big():\n    for _ in range(300): print('x' * 1_000_000)\n    print('its end')\n    assert 0\n"
    folder = suite({"test_big.py": big, "test_b.py": "def test_b(): pass\n", "conftest.py": MEMORY})
    run = run_hasten(folder, "-n2", "--show-capture=no", timeout=120)
    assert run.outcomes() == {"test_big": "failed", "test_b": "passed"}
    in_kib = [int(n) for n in (folder / "high").read_text().split()]
    assert max(in_kib) < 300 * 1024, in_kib


def test_of_much_output_the_middle_is_left_out_and_it_is_said(suite, run_hasten):
    text = "def test_a():\n    print('its begin'); print('x' * 2000); print('its end')\n    assert 0\n"
    files = {"test_a.py": text, "test_b.py": "def test_b(): pass\n"}
    run = run_hasten(suite(files), "-n2", env={"HASTEN_TEST_MOST_OUTPUT": "1000"})
    assert "its begin\nxxx" in run.out
    assert "xxx\nits end\n" in run.out
    assert "[hasten: 1019 characters of 2019 are left out here]" in run.out, run.describe()


def test_reports_that_are_too_large_are_a_crash_that_says_so(suite, run_hasten):
    conftest = "import hasten._native as n\nn.RECORD_MAX_PAYLOAD = 5000\n"
    tests = "def test_a(): raise ValueError('x' * 10_000)\ndef test_b(): pass\n"
    run = run_hasten(suite({"conftest.py": conftest, "test_a.py": tests}), "-n2")
    assert run.outcomes() == {"test_a": "failed", "test_b": "passed"}
    assert "hasten carries 1 GiB at most" in run.text_of("test_a")
