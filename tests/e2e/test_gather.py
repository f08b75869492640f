"""What a process does when it comes up or ends, and others must not be in the middle of: orders forced by the trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run

# wait(*signs): until one of them is in the trace, or a file of that name is there.
WAIT = """
import os, shutil, time, pytest

def wait(*signs):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with open(os.environ["HASTEN_TRACE"]) as f:
            text = f.read()
        if any(f'"ev":"{sign}"' in text or os.path.exists(sign) for sign in signs):
            return
        time.sleep(0.005)
    raise AssertionError(f"none of {signs} has come")

def own_id(config):
    return getattr(config, "workerinput", {}).get("workerid")
"""

CLEARS = (
    WAIT
    + """
def pytest_configure(config):
    if own_id(config) is None:
        return
    if own_id(config) == "gw1":
        wait("gather", "result")  # until the other one waits for this, or has not waited
    shutil.rmtree("made", ignore_errors=True)
    os.makedirs("made", exist_ok=True)
"""
)
MAKES = "import pytest\n@pytest.mark.parametrize('i', range(8))\ndef test_m(i): open(f'made/{i}', 'w').close()\n"


@pytest.mark.parametrize("start", ["early", "spawn"])
def test_no_test_runs_while_another_worker_configures(
    start: str, suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    folder = suite({"conftest.py": CLEARS, "test_m.py": MAKES})
    run = run_hasten(folder, "-n", "2", "--start", start, timeout=120)
    assert run.status == 0, run.describe()
    assert len(list((folder / "made").iterdir())) == 8, run.describe()
    collected = [event["t"] for event in run.events("worker_collected")]
    assert len(collected) == 2, run.describe()
    assert max(collected) < min(event["t"] for event in run.events("result")), run.describe()


# The worker that is waited for dies: nobody waits for ever, the one in its place is not waited for.
DIES = (
    WAIT
    + """
def pytest_configure(config):
    if own_id(config) == "gw1":
        wait("gather")
        os._exit(1)
"""
)


@pytest.mark.parametrize("start", ["early", "spawn"])
def test_a_worker_that_dies_while_it_configures_is_not_waited_for(
    start: str, suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    run = run_hasten(
        suite({"conftest.py": DIES, "test_m.py": MAKES.replace("made/", "")}), "-n", "2", "--start", start, timeout=120
    )
    assert run.status == 0, run.describe()
    assert set(run.outcomes().values()) == {"passed"}
    assert "8 passed" in run.out


ENDS = (
    WAIT
    + """
if HOW == "exit":
    def pytest_collection_modifyitems(config):
        if own_id(config):
            pytest.exit("enough")

def pytest_sessionfinish(session):
    if own_id(session.config):  # the template: no worker was needed
        wait("await_template", "reported")
        open("saved", "w").close()
    else:
        said = "with " + str(os.path.exists("saved"))
        with open("reported", "w") as f:
            f.write(said)
"""
)


@pytest.mark.parametrize(("how", "status"), [("nothing", 5), ("error", 2), ("exit", 2)])
def test_a_template_without_workers_ends_its_session_before_the_report(
    how: str, status: int, suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    files = {"conftest.py": f"HOW = {how!r}\n" + ENDS, "test_m.py": MAKES}
    if how == "error":
        files["test_e.py"] = "import nowhere_to_be_found\n"
    args = ("-k", "no_such_test") if how == "nothing" else ()
    run = run_hasten(suite(files), "-n", "2", "--start", "template", *args, timeout=120)
    assert run.status == status, run.describe()
    assert (run.folder / "reported").read_text() == "with True", run.describe()


OWNS = (
    WAIT
    + """
def pytest_configure(config):
    if own_id(config):
        config.folder = f"folder-{own_id(config)}"  # read before the fork: the suite needs the early start
        os.makedirs(config.folder)

def pytest_unconfigure(config):
    if own_id(config):
        if os.environ["HASTEN_TEST_LATE"] == "1" and not os.path.exists("unconfigured"):
            wait("await_template", "tested")
        shutil.rmtree(config.folder)
        open("unconfigured", "w").close()

@pytest.mark.parametrize("i", range(4))
def test_o(i, pytestconfig):
    open("tested", "w").close()
    wait("unconfigured")
    assert os.path.isdir(pytestconfig.folder)
"""
)


def test_the_template_has_ended_before_workers_start_early(
    suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    hooks, tests = OWNS.split("@pytest.mark.parametrize")
    files = {
        "conftest.py": hooks,
        "test_o.py": "import os\nfrom conftest import pytest, wait\n@pytest.mark.parametrize" + tests,
    }
    run = run_hasten(suite(files), "-n", "2", env={"HASTEN_TEST_LATE": "1"}, timeout=120)
    assert run.events("early"), run.describe()
    assert run.status == 0, run.describe()
    assert "4 passed" in run.out, run.describe()


LEAVES = (
    WAIT
    + """
import atexit

def leave(name):
    open(name, "w").close()

def pytest_configure(config):
    if own_id(config) is None or START == "template":
        return
    atexit.register(leave, "exit of " + str(os.environ["PYTEST_XDIST_WORKER"]))

@pytest.fixture(scope="session", autouse=True)
def every_worker(worker_id):
    if START == "template":  # what was registered before a fork is the template's
        atexit.register(leave, "exit of " + worker_id)
    yield
    leave("fixtures of " + worker_id)

def pytest_sessionfinish(session):
    if own_id(session.config):
        if own_id(session.config) == "gw1":
            wait("worker_end")  # of the other one: nobody else is there
        leave("session of " + os.environ["PYTEST_XDIST_WORKER"])
        session.config.workeroutput["left"] = os.environ["PYTEST_XDIST_WORKER"]
    else:
        with open("reported", "w") as f:
            f.write("\\n".join(sorted([*os.listdir("."), *DOWN])))

def pytest_unconfigure(config):
    if own_id(config):
        leave("configuration of " + os.environ["PYTEST_XDIST_WORKER"])

DOWN = []

@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    DOWN.append("output of " + node.workeroutput["left"])
"""
)


@pytest.mark.parametrize("start", ["template", "early", "spawn"])
def test_what_workers_leave_when_they_end_is_there_before_the_report(
    start: str, suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    folder = suite({"conftest.py": f"START = {start!r}\n" + LEAVES, "test_m.py": MAKES.replace("made/", "made-")})
    run = run_hasten(folder, "-n", "2", "--start", start, "--dist", "each", timeout=120)
    assert run.status == 0, run.describe()
    found = set((folder / "reported").read_text().split("\n"))
    for own in ("gw0", "gw1"):
        wanted = {f"{what} of {own}" for what in ("fixtures", "session", "configuration", "exit", "output")}
        assert wanted <= found, run.describe()


ORDER = (
    WAIT
    + """
import signal

NAMES = sorted("abcdef", reverse=os.path.exists("killed"))

@pytest.mark.parametrize("name", NAMES)
def test_n(name):
    with open("ran-" + name, "a") as f:
        f.write("x")
    if not os.path.exists("killed"):
        open("killed", "w").close()
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(1)
"""
)


@pytest.mark.parametrize("start", ["template", "early"])
def test_a_template_that_collects_in_another_order_after_its_death_runs_the_tests_that_are_reported(
    start: str, suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    run = run_hasten(suite({"test_o.py": ORDER}), "-n", "1", "--start", start, timeout=120)
    assert "starting it again for 5 tests" in run.out, run.describe()
    assert run.outcomes() == {f"test_n[{name}]": "passed" for name in "bcdef"} | {"test_n[a]": "failed"}, run.describe()
    assert {name: (run.folder / f"ran-{name}").read_text() for name in "abcdef"} == dict.fromkeys("abcdef", "x")


def test_a_template_that_lacks_tests_after_its_death_is_said_to(
    suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    text = ORDER.replace('sorted("abcdef", ', 'sorted("abc" if os.path.exists("killed") else "abcdef", ')
    run = run_hasten(suite({"test_o.py": text}), "-n", "1", "--start", "template", timeout=120)
    assert run.status == 3, run.describe()
    assert "collected other tests than the first one (3 are missing)" in run.out, run.describe()
    assert "some tests could not be run" in run.out + run.err, run.describe()
