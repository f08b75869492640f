"""[tool.hasten.resources]: who has a unit has it alone, whatever becomes of him; and nobody waits without need.

The suites prove it themselves: a test that has a unit locks a file of that name, without waiting. Tests that have to
run side by side wait for each other's files.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until

CONFTEST = """
import fcntl, os, time
import pytest

class Used:
    def __init__(self, name, unit, shared=False):
        self.fd = os.open(f"{name}.{unit}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self.fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    def __enter__(self): return self
    def __exit__(self, *exc): os.close(self.fd)

@pytest.fixture
def use(hasten_resources):
    def go(name, shared=False): return Used(name, hasten_resources[name], shared)
    return go

def wait_for(name):
    end = time.monotonic() + 60
    while not os.path.exists(name):
        assert time.monotonic() < end, f"no {name}"
        time.sleep(0.005)

def sign(name):
    open(name, "w").close()

def log(text):
    with open("log", "a") as f:
        f.write(text + "\\n")

@pytest.fixture(autouse=True)
def ran(request):
    log(request.node.name)
"""
BENCH = """
[tool.hasten.resources]
bench = ["usb0", "usb1"]
account = 1
"""
EXCLUSIVE = """
import os, pytest

@pytest.mark.parametrize("i", range(6))
@pytest.mark.hasten_resource("bench")
def test_bench(i, use, hasten_resources):
    assert os.environ["HASTEN_RESOURCE_BENCH"] == hasten_resources["bench"] in ("usb0", "usb1")
    with use("bench"): pass

@pytest.mark.parametrize("i", range(6))
@pytest.mark.hasten_resource("account", "bench")
def test_both(i, use):
    with use("bench"), use("account"): pass

@pytest.mark.parametrize("i", range(6))
class TestAccount:
    pytestmark = pytest.mark.hasten_resource("account")
    def test_account(self, i, use):
        with use("account"): pass

@pytest.mark.parametrize("i", range(12))
def test_plain(i, hasten_resources):
    assert "account" not in hasten_resources and "HASTEN_RESOURCE_ACCOUNT" not in os.environ

@pytest.mark.hasten_resource("bench", count=2)
def test_two(hasten_resources):
    assert sorted(hasten_resources.all("bench")) == ["usb0", "usb1"]
"""


@pytest.fixture
def resources(suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """resources(settings, test file) -> folder; locks of runs lie there too."""
    os.makedirs(tmp_path / "locks", mode=0o700)
    monkeypatch.setenv("HASTEN_LOCKS", str(tmp_path / "locks"))

    def write(settings: str, tests: str, **files: str) -> Path:
        named = {f"{name}.py": text for name, text in files.items()}
        folder: Path = suite({"pyproject.toml": settings, "conftest.py": CONFTEST, "test_a.py": tests} | named)
        return folder

    return write


def env(folder: Path, **more: str) -> dict[str, str]:
    return {"HASTEN_LOCKS": str(folder / "locks"), **more}


def ran(folder: Path) -> list[str]:
    return (folder / "log").read_text().split()


@pytest.mark.parametrize(
    "args",
    ["-n 4", "-n 3 --start early", "-n 3 --start spawn", "-n 3 --no-fuse", "-n 3 --dist loadscope", "-n 1", "-n 0"],
)
def test_each_unit_has_one_user(resources, run_hasten, args: str) -> None:
    folder = resources(BENCH, EXCLUSIVE)
    run = run_hasten(folder, *args.split(), env=env(folder)).no_traceback_of_ours()
    assert run.status == 0, run.describe()
    assert "31 passed" in run.out, run.describe()


def test_each_worker_of_dist_each_waits_for_the_units(resources, run_hasten) -> None:
    folder = resources(BENCH, EXCLUSIVE.replace("12", "2"))
    run = run_hasten(folder, "-n", "2", "--dist", "each", env=env(folder)).no_traceback_of_ours()
    assert run.status == 0, run.describe()
    assert "42 passed" in run.out, run.describe()


def test_plain_pytest_has_the_fixture_and_the_first_unit(resources) -> None:
    folder = resources(BENCH, EXCLUSIVE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers"]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env(folder)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "31 passed" in done.stdout, done.stdout + done.stderr
    assert not (folder / "bench.usb1.lock").exists()


def test_one_worker_keeps_pytests_order(resources, run_hasten) -> None:
    folder = resources(BENCH, EXCLUSIVE)
    run_hasten(folder, "-n", "0", env=env(folder))
    plain = ran(folder)
    (folder / "log").unlink()
    run_hasten(folder, "-n", "1", env=env(folder))
    assert ran(folder) == plain


def test_units_are_used_side_by_side(resources, run_hasten) -> None:
    folder = resources(
        BENCH,
        """
        import pytest
        from conftest import sign, wait_for

        @pytest.mark.parametrize("i", range(2))
        @pytest.mark.hasten_resource("bench")
        def test_pair(i, use):
            with use("bench"):
                sign(f"pair{i}")
                wait_for(f"pair{1 - i}")

        def test_plain(): pass
        """,
    )
    run = run_hasten(folder, "-n", "2", env=env(folder), timeout=100)
    assert run.status == 0, run.describe()
    assert "3 passed" in run.out, run.describe()


def test_workers_do_other_tests_while_a_unit_is_in_use(resources, run_hasten) -> None:
    """The test that has the unit waits for all others that can be run: a worker that idled would keep it for ever."""
    folder = resources(
        BENCH,
        """
        import pytest
        from conftest import sign, wait_for

        @pytest.mark.parametrize("i", range(3))
        @pytest.mark.hasten_resource("account")
        def test_account(i, use):
            with use("account"):
                for k in range(4):
                    wait_for(f"plain{k}")

        @pytest.mark.parametrize("i", range(4))
        def test_plain(i):
            sign(f"plain{i}")
        """,
    )
    run = run_hasten(folder, "-n", "2", env=env(folder), timeout=100)
    assert run.status == 0, run.describe()
    assert "7 passed" in run.out, run.describe()


def test_readers_share_and_a_writer_is_alone(resources, run_hasten) -> None:
    folder = resources(
        "[tool.hasten.resources]\nstage = { units = 1, shared_fixtures = ['reads'] }\n",
        """
        import pytest
        from conftest import sign, wait_for

        @pytest.fixture
        def reads(use):
            with use("stage", shared=True): yield

        @pytest.mark.parametrize("i", range(3))
        def test_read(i, reads):
            sign(f"read{i}")
            for k in range(3): wait_for(f"read{k}")

        @pytest.mark.parametrize("i", range(4))
        @pytest.mark.hasten_resource("stage")
        def test_write(i, use):
            with use("stage"): pass
        """,
    )
    run = run_hasten(folder, "-n", "3", env=env(folder), timeout=100)
    assert run.status == 0, run.describe()
    assert "7 passed" in run.out, run.describe()


@pytest.mark.parametrize("start", ["template", "early"])
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "time.sleep(100)"], ids=["killed", "timeout"])
def test_the_unit_of_a_dead_worker_goes_on(resources, run_hasten, end: str, start: str) -> None:
    folder = resources(
        BENCH,
        f"""
        import os, time, pytest

        @pytest.mark.parametrize("i", range(5))
        @pytest.mark.hasten_resource("account")
        @pytest.mark.timeout(30)
        def test_one(i, use):
            with use("account"): pass

        @pytest.mark.hasten_resource("account", "bench")
        @pytest.mark.timeout(0.5)
        def test_bad(use):
            with use("account"):
                {end}
        """,
    )
    args = ("-p", "no:timeout", "--start", start)
    run = run_hasten(folder, "-n", "2", *args, env=env(folder), timeout=60).no_traceback_of_ours()
    assert run.status == 1, run.describe()
    assert "1 failed, 5 passed" in run.out, run.describe()


MODULE = """
import os, pytest
from conftest import Used, log

@pytest.fixture(scope="module")
def port(hasten_resources):
    unit = hasten_resources["bench"]
    with Used("bench", unit): yield unit

@pytest.mark.parametrize("i", range(4))
def test_port(i, port, hasten_resources):
    log(f"{os.getpid()} {__name__} {port}")
    assert hasten_resources["bench"] == port

@pytest.mark.parametrize("i", range(4))
def test_other(i): pass
"""


def test_a_wider_fixture_keeps_its_unit_and_its_tests_together(resources, run_hasten) -> None:
    files = {f"test_{name}": MODULE for name in "bcd"}
    folder = resources("[tool.hasten.resources]\nbench = { units = 2, fixtures = ['port'] }\n", MODULE, **files)
    run = run_hasten(folder, "-n", "3", env=env(folder))
    assert run.status == 0, run.describe()
    assert "32 passed" in run.out, run.describe()
    kept = {line for line in (folder / "log").read_text().splitlines() if line.count(" ") == 2}
    assert len(kept) == 4, kept  # one worker and one unit for each module


def test_a_crash_in_a_group_leaves_its_rest_together(resources, run_hasten) -> None:
    bad = MODULE.replace("    assert hasten", "    if i == 1: os.kill(os.getpid(), 9)\n    assert hasten")
    folder = resources("[tool.hasten.resources]\nbench = { units = 1, fixtures = ['port'] }\n", bad)
    run = run_hasten(folder, "-n", "2", env=env(folder), timeout=60)
    assert "1 failed, 7 passed" in run.out, run.describe()
    assert len({line for line in (folder / "log").read_text().splitlines() if line.count(" ") == 2}) == 2


SESSION = """
import os, pytest
from conftest import Used, log

@pytest.fixture(scope="session")
def first(hasten_resources):
    with Used("a", hasten_resources["a"]): yield
    {end}

@pytest.fixture(scope="session")
def second(hasten_resources):
    with Used("b", hasten_resources["b"]): yield

@pytest.mark.parametrize("i", range(6))
def test_first(i, first): pass

@pytest.mark.parametrize("i", range(6))
def test_second(i, second): pass

@pytest.mark.parametrize("i", range(6))
def test_both(i, second, first): pass
"""
TWO = "[tool.hasten.resources]\na = {units = 1, fixtures = ['first']}\nb = {units = 1, fixtures = ['second']}\n"


def test_session_fixtures_that_need_each_others_units_do_not_wait_for_ever(resources, run_hasten) -> None:
    folder = resources(TWO, SESSION.format(end="pass"))
    run = run_hasten(folder, "-n", "3", env=env(folder), timeout=60)
    assert run.status == 0, run.describe()
    assert "18 passed" in run.out, run.describe()


def test_a_session_fixture_that_fails_at_its_end_is_reported(resources, run_hasten) -> None:
    folder = resources(TWO, SESSION.format(end="assert False, 'at the end'"))
    run = run_hasten(folder, "-n", "3", env=env(folder), timeout=60).no_traceback_of_ours()
    assert run.status == 1, run.describe()
    assert "18 passed" in run.out, run.describe()
    assert "at the end" in run.out, run.describe()


def test_a_rate_paces_tests_and_calls(resources, run_hasten) -> None:
    folder = resources(
        "[tool.hasten.resources]\napi = { rate = '10/s' }\n",
        """
        import time, pytest
        from conftest import log

        @pytest.mark.parametrize("i", range(8))
        @pytest.mark.hasten_resource("api")
        def test_call(i): log(f"at {time.monotonic()}")

        def test_more(hasten_resources):
            for i in range(4):
                hasten_resources.take("api")
                log(f"at {time.monotonic()}")
        """,
    )
    for args in (("-n", "3"), ("-n", "0")):
        (folder / "log").unlink(missing_ok=True)
        run = run_hasten(folder, *args, env=env(folder))
        assert run.status == 0, run.describe()
        assert "9 passed" in run.out, run.describe()
        times = sorted(float(line[3:]) for line in (folder / "log").read_text().splitlines() if line[:3] == "at ")
        assert len(times) == 12
        assert times[-1] - times[0] > 0.6  # 1.1 s but for the time from the first token to the first look at the clock


# ---- runs side by side

MACHINE = "[tool.hasten.resources]\nbench = { units = ['usb0'], scope = 'machine' }\n"
SLOW = """
import os, pytest
from conftest import sign, wait_for

@pytest.mark.parametrize("i", range(3))
@pytest.mark.hasten_resource("bench")
def test_bench(i, use):
    with use("bench"):
        if os.environ.get("FIRST"):
            sign("has"); wait_for("go")
"""


def test_a_unit_of_the_machine_is_one_for_all_runs(resources, start_hasten, tmp_path) -> None:
    folder = resources(MACHINE, SLOW)
    first = start_hasten(folder, "-n", "2", env=env(folder, FIRST="1"))
    wait_until((folder / "has").exists, 60, "a test that has the unit")
    others = [start_hasten(folder, "-n", n, env=env(folder)) for n in ("2", "1")]
    for other in others:
        other.wait_event("lease_wait", seconds=60)
    assert not any(other.events("result") for other in others)
    (folder / "go").touch()
    for run in (first, *others):
        run.finish(90)
        assert run.status == 0, run.describe()
        assert "3 passed" in run.out, run.describe()


def test_a_run_that_is_killed_gives_its_units_back(resources, start_hasten) -> None:
    folder = resources(MACHINE, SLOW)
    first = start_hasten(folder, "-n", "2", env=env(folder, FIRST="1"))
    wait_until((folder / "has").exists, 60, "a test that has the unit")
    second = start_hasten(folder, "-n", "0", env=env(folder))
    second.wait_event("plain", seconds=60)
    first.end()
    first.process.communicate()
    second.finish(90)
    assert second.status == 0, second.describe()
    assert "3 passed" in second.out, second.describe()


def test_ctrl_c_ends_a_run_that_waits(resources, start_hasten) -> None:
    folder = resources(MACHINE, SLOW)
    first = start_hasten(folder, "-n", "2", env=env(folder, FIRST="1"))
    wait_until((folder / "has").exists, 60, "a test that has the unit")
    second = start_hasten(folder, "-n", "2", env=env(folder))
    second.wait_event("lease_wait", n=2, seconds=60)  # both: elsewhere pytest says where it was interrupted
    second.process.send_signal(signal.SIGINT)
    second.finish(90).no_traceback_of_ours()
    assert second.status == 2, second.describe()
    (folder / "go").touch()
    first.finish(90)


def test_an_interrupted_run_goes_on(resources, start_hasten, run_hasten) -> None:
    folder = resources(
        BENCH,
        """
        import os, pytest
        from conftest import sign, wait_for

        @pytest.mark.parametrize("i", range(6))
        @pytest.mark.hasten_resource("account")
        def test_one(i, use):
            with use("account"):
                if i == 3 and os.environ.get("FIRST"):
                    sign("has"); wait_for("never")
        """,
    )
    first = start_hasten(folder, "-n", "2", env=env(folder, FIRST="1"))
    wait_until((folder / "has").exists, 60, "the fourth test")
    first.wait_event("result", n=3, seconds=60)
    first.end()
    first.process.communicate()
    run = run_hasten(folder, "-n", "2", "--resume", env=env(folder))
    assert run.status == 0, run.describe()
    assert "6 passed" in run.out, run.describe()
    assert "3 tests have their results" in run.out, run.describe()


# ---- what is wrong is said in one line

WRONG = {
    "type": ("bench = 1.5", "'units' is not known or has a value of the wrong type"),
    "key": ("bench = { unit = 1 }", "'unit' is not known"),
    "nothing": ("bench = {}", "needs 'units'"),
    "zero": ("bench = 0", "'units' is a number from 1"),
    "twice": ("bench = ['a', 'a']", "one thing twice"),
    "rate": ("bench = { rate = '5 a second' }", "'rate' is as"),
    "burst": ("bench = { units = 1, burst = 2 }", "'burst' makes sense"),
    "scope": ("bench = { units = 1, scope = 'world' }", "'scope' is"),
    "name": ("'a b' = 1", "a name has letters"),
    "mark": ("other = 1", "needs 'bench', which [tool.hasten.resources] has not; it has other"),
    "count": ("bench = 1", "needs 2 of 'bench'"),
}


@pytest.mark.parametrize("n", ["0", "2"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_settings_are_said_in_one_line(resources, run_hasten, name: str, n: str) -> None:
    settings, said = WRONG[name]
    tests = "import pytest\n@pytest.mark.hasten_resource('bench', count=2)\ndef test_a(): pass\ndef test_b(): pass\n"
    folder = resources(f"[tool.hasten.resources]\n{settings}\n", tests)
    run = run_hasten(folder, "-n", n, env=env(folder)).no_traceback_of_ours()
    assert run.status == 4, run.describe()
    assert (run.out + run.err).count(said) == 1, run.describe()
    assert "Traceback" not in run.out + run.err


def test_a_unit_that_the_test_has_not_is_an_error_of_the_test(resources, run_hasten) -> None:
    folder = resources(BENCH, "def test_a(hasten_resources): hasten_resources['bench']\n")
    run = run_hasten(folder, "-n", "2", env=env(folder))
    assert run.status == 1, run.describe()
    assert "this test does not hold 'bench': mark it" in run.out, run.describe()


# ---- ports

PORTS = """
import socket, pytest
from conftest import log

def listen(port):
    server = socket.socket()
    server.bind(("127.0.0.1", port))
    server.listen()
    return server

@pytest.fixture(scope="module")
def servers(hasten_ports):
    found = hasten_ports(3)
    held = [listen(port) for port in found]
    log(f"ports {found}")
    yield
    for one in held: one.close()

@pytest.mark.parametrize("i", range(30))
def test_port(i, hasten_port, servers):
    with listen(hasten_port): log(f"port {hasten_port}")
"""


def test_ports_are_nobody_elses(resources, start_hasten) -> None:
    folder = resources("", PORTS)
    runs = [start_hasten(folder, "-n", "3", env=env(folder)) for _ in range(2)]
    for run in runs:
        run.finish(90)
        assert run.status == 0, run.describe()
        assert "30 passed" in run.out, run.describe()
    lines = (folder / "log").read_text().splitlines()
    kept = [port for line in lines if line.startswith("ports") for port in json.loads(line[6:])]
    assert len(kept) == len(set(kept)) >= 6
    assert not set(kept) & {int(line[5:]) for line in lines if line.startswith("port ")}
