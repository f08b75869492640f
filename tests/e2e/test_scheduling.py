"""What a plugin's own scheduler and pytest_handlecrashitem decide."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

TESTS = """
import os, pytest

@pytest.fixture(autouse=True)
def ran(request):
    with open("ran.log", "a") as f:
        f.write(f"{request.node.nodeid} {os.environ['PYTEST_XDIST_WORKER']}\\n")

@pytest.mark.parametrize("i", range(12))
@pytest.mark.parametrize("key", ["red", "green", "blue"])
def test_colour(i, key): pass
"""
SPLITS = """
from xdist.scheduler import LoadScopeScheduling
from xdist.scheduler.loadscope import LoadScopeScheduling as Same

class ByColour(LoadScopeScheduling):
    def _split_scope(self, nodeid):
        assert self.config.getvalue("dist") != "no" and self.numnodes == 3, (self.config.option.dist, self.numnodes)
        if "blue" in nodeid: return None
        return nodeid.rpartition("[")[2].partition("-")[0] if "[" in nodeid else super()._split_scope(nodeid)

def pytest_xdist_make_scheduler(config, log):
    log.sub("made", config)
    assert issubclass(ByColour, Same)
    return ByColour(config, log)
"""


def workers_of(folder: Path) -> dict[str, set[str]]:
    found = defaultdict(set)
    for line in (folder / "ran.log").read_text().splitlines():
        nodeid, worker = line.split()
        found[nodeid.rpartition("[")[2].partition("-")[0]].add(worker)
    return found


@pytest.mark.parametrize("start", ["template", "early", "spawn"])
def test_groups_of_a_scheduler_stay_on_one_worker(suite, run_hasten, start: str) -> None:
    folder = suite({"conftest.py": SPLITS, "test_c.py": TESTS})
    run = run_hasten(folder, "-n", "3", "--start", start)
    assert run.status == 0, run.describe()
    found = workers_of(folder)
    assert {colour: len(workers) for colour, workers in found.items()} == {"red": 1, "green": 1, "blue": 1}
    assert "pytest_xdist_make_scheduler" not in run.out
    assert "36 passed" in run.out


OTHERS = {
    "hands_out": (
        "class Own:\n    def schedule(self): pass\n\ndef pytest_xdist_make_scheduler(config, log): return Own()\n",
        "the scheduler Own hands tests out itself, which is not possible here; not used",
    ),
    "changes_more": (
        SPLITS.replace("class ByColour", "class Base")
        + "class ByColour(Base):\n    def _reschedule(self): pass\n    def mark_test_complete(self): pass\n",
        "of the scheduler ByColour the groups are used, not _reschedule, mark_test_complete",
    ),
    "fails": (
        SPLITS.replace('if "blue" in nodeid: return None', "raise KeyError(nodeid)"),
        "the scheduler ByColour gives no groups (KeyError:",
    ),
    "none": ("def pytest_xdist_make_scheduler(config, log): return None\n", ""),
    "stock": (
        "import xdist.scheduler as s\ndef pytest_xdist_make_scheduler(config, log): return s.LoadScheduling(config)\n",
        "",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_of_a_scheduler_is_not_honoured_is_said_in_one_line(suite, run_hasten, case: str) -> None:
    conftest, said = OTHERS[case]
    run = run_hasten(suite({"conftest.py": conftest, "test_c.py": TESTS}), "-n", "3")
    assert run.status == 0, run.describe()
    assert "36 passed" in run.out
    lines = [line for line in run.out.split("\n") if "pytest_xdist_make_scheduler" in line]
    assert len(lines) == bool(said), run.describe()
    assert said in "".join(lines)


def test_scheduler_of_groups_sees_the_mark_as_with_xdist(suite, run_hasten) -> None:
    conftest = """
    from xdist.scheduler import LoadGroupScheduling
    class Own(LoadGroupScheduling):
        def _split_scope(self, nodeid):
            with open("seen.log", "a") as f: f.write(nodeid + "\\n")
            return super()._split_scope(nodeid)
    def pytest_xdist_make_scheduler(config, log): return Own(config, log)
    """
    tests = "import pytest\n@pytest.mark.xdist_group('db')\ndef test_a(): pass\ndef test_b(): pass\n"
    folder = suite({"conftest.py": conftest, "test_c.py": tests})
    assert run_hasten(folder, "-n", "2", "--dist", "loadgroup").status == 0
    assert (folder / "seen.log").read_text() == "test_c.py::test_a@db\ntest_c.py::test_b\n"


# ---- tests that have killed their worker

AGAIN = """
def pytest_handlecrashitem(crashitem, report, sched):
    if "again" in crashitem and sched.config.pluginmanager.hasplugin("dsession"):
        sched.mark_test_pending(crashitem)
        report.outcome = "rerun"
def pytest_report_teststatus(report):
    if report.outcome == "rerun": return "rerun", "R", "RERUN"
"""
DIES = """
import os, pytest

def dies(times, name):
    with open(name, "a") as f: f.write("x")
    if len(open(name).read()) <= times: os._exit(3)

def test_again_dies_twice(): dies(2, "twice")
def test_dies(): dies(9, "always")
@pytest.mark.parametrize("i", range(6))
def test_quick(i): pass
"""


@pytest.mark.parametrize("args", [("-n2",), ("-n1",), ("-n2", "--start=early"), ("-n2", "--maxfail=2")])
def test_a_test_that_is_marked_pending_after_its_crash_runs_again(suite, run_hasten, args) -> None:
    folder = suite({"conftest.py": AGAIN, "test_d.py": DIES})
    run = run_hasten(folder, *args)
    assert (folder / "twice").read_text() == "xxx", run.describe()
    assert (folder / "always").read_text() == "x"
    assert "1 failed, 7 passed, 2 rerun" in run.out, run.describe()
    assert run.status == 1
    names = Counter(case.name for case in run.cases() if case.outcome == "passed")
    assert names["test_again_dies_twice"] == 1


def test_a_crash_that_is_run_again_does_not_count_for_maxfail(suite, run_hasten) -> None:
    folder = suite({"conftest.py": AGAIN, "test_d.py": DIES.replace("def test_dies", "def _dies")})
    run = run_hasten(folder, "-n2", "-x")
    assert "7 passed, 2 rerun" in run.out, run.describe()
    assert run.status == 0


def test_a_test_that_always_dies_is_not_run_for_ever(suite, run_hasten) -> None:
    text = "import os\ndef test_again_for_ever(): os._exit(3)\n"
    run = run_hasten(suite({"conftest.py": AGAIN, "test_d.py": text}), "-n1", "--max-worker-restart=3")
    assert "maximum crashed workers reached: 3" in run.out, run.describe()
    assert run.status == 1


def test_crashes_are_answered_when_the_reporter_is_started_again(suite, start_hasten, run_hasten) -> None:
    """A second reporter asks the plugins about all crashes anew; no answer is waited for twice."""
    conftest = AGAIN + (
        "import os\ndef pytest_runtest_logreport(report):\n"
        "    if 'PYTEST_XDIST_WORKER' in os.environ or os.path.exists('killed'): return\n"
        "    if 'test_quick' in report.nodeid:\n        open('killed', 'w').close()\n        os.kill(os.getpid(), 9)\n"
    )
    folder = suite({"conftest.py": conftest, "test_d.py": DIES})
    run = run_hasten(folder, "-n2")
    assert (folder / "killed").exists()
    assert "7 passed" in run.out, run.describe()
    assert run.status == 1


def test_workers_that_were_not_started_are_counted(suite, run_hasten) -> None:
    """The template is asked for hundreds at once; what it cannot take the others do, and a line says so."""
    folder = suite({"test_m.py": "import pytest\n@pytest.mark.parametrize('i', range(900))\ndef test_m(i): pass\n"})
    run = run_hasten(folder, "-n", "900", timeout=120)
    assert run.status == 0, run.describe()
    assert "900 passed" in run.out
    missing = 900 - len(run.events("worker_start"))
    assert (f"hasten: {missing} of 900 workers were not started" in run.out) == (missing > 0), run.describe()
