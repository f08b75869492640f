"""Suites that were written for pytest-xdist find what they expect, with pytest-xdist installed or not."""

# ruff: noqa: E501  (texts of suites)

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, find_program

IDENTITY = """
import json, os, sys
import pytest, xdist
from xdist import get_xdist_worker_id, is_xdist_controller, is_xdist_worker

@pytest.mark.parametrize("i", range(4))
def test_who(i, request, worker_id, testrun_uid, tmp_path, tmp_path_factory):
    config = request.config
    seen = dict(
        worker_id=worker_id, uid=testrun_uid, env=os.environ.get("PYTEST_XDIST_WORKER"),
        count=os.environ.get("PYTEST_XDIST_WORKER_COUNT"), env_uid=os.environ.get("PYTEST_XDIST_TESTRUNUID"),
        input={k: v for k, v in getattr(config, "workerinput", {}).items() if k != "mainargv"},
        worker=is_xdist_worker(request), controller=is_xdist_controller(request), id=get_xdist_worker_id(request),
        plugin=config.pluginmanager.hasplugin("xdist"), numprocesses=config.option.numprocesses, dist=config.option.dist,
        basetemp=str(tmp_path_factory.getbasetemp()), inside=tmp_path.is_relative_to(tmp_path_factory.getbasetemp()),
    )
    with open(f"seen-{i}.json", "w") as f:
        json.dump(seen, f, default=str)
"""

CONTROLLER = """
import json, os
import pytest

LOG = "controller.log"

def log(*what):
    with open(LOG, "a") as f:
        f.write(json.dumps(what) + "\\n")

def pytest_configure(config):
    log("configure", hasattr(config, "workerinput"), getattr(config, "workerinput", {}).get("from_controller"))

@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config, specs):
    log("setupnodes", len(specs))

@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    node.workerinput["from_controller"] = "hello " + node.gateway.id
    node.workerinput["own"] = node.workerinput["workerid"]
    log("configure_node", node.gateway.id, len(node.nodemanager.specs), node.gateway.spec.popen,
        node.gateway._rinfo().version_info[0], node.config.option.dist)

@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node):
    log("ready", node.gateway.id, "executable" in node.workerinfo)

@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node, ids):
    log("collected", node.gateway.id, len(ids))

@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    log("down", node.gateway.id, error, node.workeroutput.get("back"), node.workeroutput.get("exitstatus"))

def pytest_runtest_logreport(report):
    if hasattr(report, "node") and report.when == "call":
        log("report", report.node.gateway.id, report.worker_id, bool(report.testrun_uid), type(report.item_index).__name__)

def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        session.config.workeroutput["back"] = "from " + session.config.workerinput["workerid"]
    log("sessionfinish", hasattr(session.config, "workerinput"))

def pytest_terminal_summary(terminalreporter):
    terminalreporter.line("controller: " + str(terminalreporter.config.pluginmanager.hasplugin("dsession")))
"""

GROUPS = """
import pytest

@pytest.fixture(autouse=True)
def who(request, worker_id):
    with open("ran.log", "a") as f:
        f.write(f"{request.node.nodeid} {worker_id}\\n")

@pytest.mark.parametrize("i", range(6))
class TestA:
    def test_one(self, i): pass
    def test_two(self, i): pass

@pytest.mark.xdist_group("first")
@pytest.mark.parametrize("i", range(6))
def test_first(i): pass

@pytest.mark.xdist_group(name="second")
@pytest.mark.parametrize("i", range(6))
def test_second(i): pass

@pytest.mark.parametrize("i", range(4))
def test_free(i): pass
"""


def is_installed(name: str) -> bool:
    """Not asked of the import system, which hasten's own `import xdist` has part in when it runs these tests."""
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def seen_by(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("seen-*.json"))]


def workers_of(folder: Path, key: Callable[[str], str]) -> dict[str, set[str]]:
    """Which workers ran the tests of each group."""
    found = defaultdict(set)
    for line in (folder / "ran.log").read_text().splitlines():
        nodeid, worker = line.split()
        found[key(nodeid)].add(worker)
    return found


@pytest.mark.parametrize("start", ["template", "early"])
def test_identity_of_a_worker(start: str, suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    folder = suite({"test_who.py": IDENTITY})
    run = run_hasten(folder, "-n", "2", "--start", start, "--testrunuid", "abc").no_traceback_of_ours()
    assert run.status == 0, run.describe()
    for seen in seen_by(folder):
        own = seen["worker_id"]
        assert own in ("gw0", "gw1")
        assert [seen["env"], seen["id"], seen["input"]["workerid"]] == [own] * 3
        assert [seen["uid"], seen["env_uid"], seen["input"]["testrunuid"]] == ["abc"] * 3
        assert [seen["count"], seen["input"]["workercount"]] == ["2", 2]
        assert (seen["worker"], seen["controller"], seen["plugin"]) == (True, False, True)
        assert (seen["numprocesses"], seen["dist"]) == (None, "no")
        assert Path(seen["basetemp"]).name == f"popen-{own}"
        assert seen["inside"]
    assert len(seen_by(folder)) == 4


def test_without_workers_nobody_is_one(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    folder = suite({"test_who.py": IDENTITY})
    run = run_hasten(folder, "-n", "0")
    assert run.status == 0, run.describe()
    for seen in seen_by(folder):
        assert (seen["worker_id"], seen["env"], seen["input"], seen["worker"]) == ("master", None, {}, False)


@pytest.mark.parametrize("start", ["template", "early"])
def test_hooks_of_the_controller(start: str, suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    folder = suite(
        {
            "conftest.py": CONTROLLER,
            "test_a.py": "import pytest\n@pytest.mark.parametrize('i', range(20))\ndef test_a(i): pass\n",
        }
    )
    run = run_hasten(folder, "-n", "2", "--start", start)
    assert run.status == 0, run.describe()
    log = [json.loads(line) for line in (folder / "controller.log").read_text().splitlines()]
    assert ["configure", False, None] in log
    assert ["configure", True, "hello gw0"] in log
    assert ["setupnodes", 2] in log
    nodes = {"gw0", "gw1"}
    assert [e for e in log if e[0] == "configure_node"] == [
        ["configure_node", n, 2, True, 3, "load"] for n in sorted(nodes)
    ]
    assert {tuple(e) for e in log if e[0] == "ready"} == {("ready", n, True) for n in nodes}
    assert {tuple(e) for e in log if e[0] == "collected"} == {("collected", n, 20) for n in nodes}
    assert {tuple(e) for e in log if e[0] == "down"} == {("down", n, None, f"from {n}", 0) for n in nodes}
    reports = [e for e in log if e[0] == "report"]
    assert len(reports) == 20
    assert all(e[1] == e[2] and e[3:] == [True, "int"] for e in reports)
    assert log.count(["sessionfinish", True]) == 2
    assert log.count(["sessionfinish", False]) == 1
    assert "controller: True" in run.out


@pytest.mark.parametrize("start", ["template", "early"])
def test_groups_stay_on_one_worker(start: str, suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    folder = suite({"test_g.py": GROUPS, "test_h.py": GROUPS})
    run = run_hasten(folder, "-n", "3", "--dist", "loadgroup", "--start", start)
    assert run.status == 0, run.describe()
    found = workers_of(folder, lambda nodeid: nodeid.partition("[")[0].rpartition("::")[2])
    for name in ("test_first", "test_second"):
        assert len(found[name]) == 1, found


def test_scopes_and_files_stay_on_one_worker(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    folder = suite({"test_g.py": GROUPS, "test_h.py": GROUPS})
    for dist, key in (
        ("loadscope", lambda nodeid: nodeid.rpartition("::")[0]),
        ("loadfile", lambda nodeid: nodeid.partition("::")[0]),
    ):
        (folder / "ran.log").unlink(missing_ok=True)
        assert run_hasten(folder, "-n", "2", "--dist", dist).status == 0
        assert {len(workers) for workers in workers_of(folder, key).values()} == {1}, dist


@pytest.mark.parametrize("start", ["template", "early"])
def test_each_worker_runs_each_test(start: str, suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    folder = suite({"test_g.py": GROUPS})
    run = run_hasten(folder, "-n", "3", "--dist", "each", "--start", start)
    assert run.status == 0, run.describe()
    ran = (folder / "ran.log").read_text().splitlines()
    assert len(ran) == len(set(ran)) == 28 * 3
    assert "84 passed" in run.out


AUTO = "def pytest_xdist_auto_num_workers(config): return 3\n"
COUNT = "import os\ndef test_count(): assert os.environ['PYTEST_XDIST_WORKER_COUNT'] == os.environ['WANTED']\ndef test_b(): pass\ndef test_c(): pass\n"


@pytest.mark.parametrize(
    ("files", "args", "env", "wanted"),
    [
        ({"conftest.py": AUTO}, ["-n", "auto"], {}, "3"),
        ({"conftest.py": AUTO}, ["-n", "logical"], {}, "3"),
        ({"conftest.py": AUTO}, ["-n", "auto", "--maxprocesses", "2"], {}, "2"),
        ({"pytest.ini": "[pytest]\naddopts = -n 2\n"}, [], {}, "2"),
        ({"pytest.ini": "[pytest]\naddopts = -n auto --dist loadfile\n", "conftest.py": AUTO}, [], {}, "3"),
        ({}, ["-n", "auto"], {"PYTEST_XDIST_AUTO_NUM_WORKERS": "4"}, "4"),
        ({}, ["--numprocesses=3"], {}, "3"),
        ({}, ["--tx", "3*popen", "--dist=load"], {}, "3"),
        ({}, ["-n3", "-d"], {}, "3"),
    ],
)  # fmt: skip
def test_number_of_workers(
    files: dict[str, str], args: list[str], env: dict[str, str], wanted: str,
    suite: Callable[..., Path], run_hasten: Callable[..., Run],
) -> None:  # fmt: skip
    run = run_hasten(suite({"test_c.py": COUNT, **files}), *args, env={**env, "WANTED": wanted})
    assert run.status == 0, run.describe()


def test_collection_in_another_order_each_time(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    """pytest-xdist refuses these: 'Different tests were collected'."""
    text = """
    import datetime, os, pytest

    @pytest.mark.parametrize("now", [str(datetime.datetime.now()), os.urandom(4).hex()])
    def test_now(now): pass

    @pytest.mark.parametrize("name", {"a", "b", "c", "d", "e", "f"})
    def test_set(name): pass
    """
    run = run_hasten(suite({"test_o.py": text}), "-n", "2")
    assert run.status == 0, run.describe()
    assert "8 passed" in run.out


def test_importorskip_of_xdist_is_as_without_it(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    folder = suite({"test_s.py": "import pytest\ndef test_s():\n    pytest.importorskip('xdist')\n"})
    run = run_hasten(folder, "-n", "2")
    there = is_installed("pytest-xdist")
    assert ("1 passed" if there else "1 skipped") in run.out, run.describe()


def test_pytest_itself_as_the_entry(suite: Callable[..., Path]) -> None:
    folder = suite({"test_who.py": IDENTITY})
    env = {k: v for k, v in os.environ.items() if not k.startswith("HASTEN_")}
    env["PATH"] = os.path.dirname(find_program()) + os.pathsep + env["PATH"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--hasten=2", "-p", "no:cacheprovider"],
        cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert {seen["count"] for seen in seen_by(folder)} == {"2"}


@pytest.mark.skipif(not is_installed("pytest-xdist"), reason="needs pytest-xdist installed")
def test_the_real_pytest_xdist_stays_out_of_the_way(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    text = "import xdist, sys\ndef test_x(pytestconfig):\n    assert 'site-packages' in xdist.__file__\n    assert 'xdist.dsession' not in sys.modules\n"
    run = run_hasten(suite({"test_x.py": text}), "-n", "2")
    assert run.status == 0, run.describe()
