"""What suites and plugins written for pytest-xdist find under hasten with pytest-xdist not installed.

More of it is in tests/e2e/test_xdist_contract.py; docs/reference/xdist.md names the tests of both.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Hasten = Callable[..., "subprocess.CompletedProcess[str]"]
STARTS = pytest.mark.parametrize("start", ["template", "early"])


@pytest.fixture
def hasten(tmp_path: Path) -> Hasten:
    """hasten({file: text}, *args): the finished run. -p no:xdist would block our own plugin of that name too."""

    def run(files: dict[str, str], *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        for name, text in ({"pytest.ini": "[pytest]\n"} | files).items():
            (tmp_path / name).write_text(textwrap.dedent(text))
        environment = {
            key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH") if key in os.environ
        }
        environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"} | env
        program = os.environ.get("HASTEN_PROGRAM") or str(Path(sys.executable).with_name("hasten"))
        return subprocess.run(
            [program, "run", "--no-live", *args],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


HOOKS = """
    import json, os, pathlib

    LOG = pathlib.Path(__file__).parent / "hooks"

    def log(*what):
        with LOG.open("a") as f:
            f.write(json.dumps([*what, "workerinput" in globals()]) + "\\n")

    def pytest_xdist_setupnodes(config, specs):
        log("setupnodes", [spec.id for spec in specs], all(spec.popen for spec in specs))

    def pytest_xdist_newgateway(gateway):
        log("newgateway", gateway.id, gateway.spec.id, bool(gateway._rinfo().executable))

    def pytest_configure_node(node):
        node.workerinput["present"] = "for " + node.gateway.id
        log("configure_node", node.gateway.id, sorted(node.workerinput), node.config.option.dist)

    def pytest_testnodeready(node):
        log("testnodeready", node.gateway.id, "version" in node.workerinfo)

    def pytest_xdist_node_collection_finished(node, ids):
        log("collection_finished", node.gateway.id, len(ids))

    def pytest_testnodedown(node, error):
        log("testnodedown", node.gateway.id, error, node.workeroutput.get("answer"), node.workeroutput["exitstatus"])

    def pytest_sessionfinish(session):
        if hasattr(session.config, "workerinput"):
            session.config.workeroutput["answer"] = session.config.workerinput["present"]

    def pytest_runtest_logreport(report):
        if hasattr(report, "node") and report.when == "call":
            log("logreport", report.nodeid, report.node.gateway.id == report.worker_id, len(report.testrun_uid) > 8,
                report.item_index)
"""
HOOK_TESTS = """
    import pytest

    @pytest.mark.parametrize("n", range(6))
    def test_present(request, n, worker_id):
        assert request.config.workerinput["present"] == "for " + worker_id
"""


@STARTS
def test_hooks_are_called_as_xdist_calls_them(hasten: Hasten, tmp_path: Path, start: str) -> None:
    done = hasten({"conftest.py": HOOKS, "test_a.py": HOOK_TESTS}, "-n", "2", "--start", start)
    assert done.returncode == 0, done.stdout + done.stderr
    calls: dict[str, list[list[object]]] = {}
    for line in (tmp_path / "hooks").read_text().splitlines():
        name, *values = json.loads(line)
        calls.setdefault(name, []).append(values[:-1])
    basic = ["mainargv", "present", "testrunuid", "workercount", "workerid"]
    assert calls["setupnodes"] == [[["gw0", "gw1"], True]]
    assert calls["newgateway"] == [["gw0", "gw0", True], ["gw1", "gw1", True]]
    assert calls["configure_node"] == [["gw0", basic, "load"], ["gw1", basic, "load"]]
    assert sorted(calls["testnodeready"]) == [["gw0", True], ["gw1", True]]
    assert sorted(calls["collection_finished"]) == [["gw0", 6], ["gw1", 6]]
    assert sorted(calls["testnodedown"]) == [["gw0", None, "for gw0", 0], ["gw1", None, "for gw1", 0]]
    assert sorted(calls["logreport"]) == [[f"test_a.py::test_present[{n}]", True, True, n] for n in range(6)]


def test_maxprocesses_limits_auto(hasten: Hasten) -> None:
    suite = (
        "import os\ndef test_a():\n    assert os.environ['PYTEST_XDIST_WORKER_COUNT'] == '2'\ndef test_b():\n    pass\n"
    )
    args = ("-n", "auto", "--maxprocesses", "2")
    done = hasten({"test_a.py": suite}, *args, PYTEST_XDIST_AUTO_NUM_WORKERS="5")
    assert done.returncode == 0, done.stdout + done.stderr


def test_auto_asks_the_hook(hasten: Hasten) -> None:
    conftest = "def pytest_xdist_auto_num_workers(config):\n    return 3\n"
    suite = "import os\ndef test_a():\n    assert os.environ['PYTEST_XDIST_WORKER_COUNT'] == '3'\n"
    done = hasten({"conftest.py": conftest, "test_a.py": suite}, "-n", "auto")
    assert done.returncode == 0, done.stdout + done.stderr


def test_auto_hook_may_answer_none_at_all(hasten: Hasten) -> None:
    """VS Code's plugin answers 0 when one test is selected: no workers."""
    conftest = "def pytest_xdist_auto_num_workers(config):\n    return 0\n"
    suite = "import os\ndef test_a():\n    assert 'PYTEST_XDIST_WORKER' not in os.environ\n"
    done = hasten({"conftest.py": conftest, "test_a.py": suite}, "-n", "auto")
    assert done.returncode == 0, done.stdout + done.stderr


CRASH = """
    import os, pytest

    @pytest.mark.parametrize("n", range(6))
    def test_many(n):
        if n in (1, 4):
            os._exit(7)
"""


def test_crash_hook_and_restart_limit(hasten: Hasten) -> None:
    conftest = """
        def pytest_handlecrashitem(crashitem, report, sched):
            print("crashed:", crashitem, report.outcome, callable(sched.mark_test_pending))
    """
    done = hasten({"conftest.py": conftest, "test_a.py": CRASH}, "-n", "2", "-s")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed, 4 passed" in done.stdout
    assert re.findall(r"crashed: test_a.py::test_many\[([14])\] failed True", done.stdout)
    limited = hasten({"test_a.py": CRASH.replace("n in (1, 4)", "n < 4")}, "-n", "2", "--max-worker-restart=0")
    assert limited.returncode != 0
    assert "6 passed" not in limited.stdout


def test_options_without_meaning_are_accepted(hasten: Hasten) -> None:
    args = ["-n", "2", "--rsyncdir", ".", "--rsyncignore", "x", "--px", "popen", "--maxschedchunk", "3", "-d",
            "--loadscope-reorder", "--no-loadscope-reorder"]  # fmt: skip
    ini = "[pytest]\nrsyncdirs = .\nrsyncignore = x\nlooponfailroots = .\n"
    done = hasten({"pytest.ini": ini, "test_a.py": "def test_a():\n    pass\ndef test_b():\n    pass\n"}, *args)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_tx_counts_workers(hasten: Hasten) -> None:
    suite = "import os\ndef test_a():\n    assert os.environ['PYTEST_XDIST_WORKER_COUNT'] == '3'\n"
    done = hasten({"test_a.py": suite}, "--tx", "3*popen", "--dist", "load")
    assert done.returncode == 0, done.stdout + done.stderr


def test_plugin_names_are_there(hasten: Hasten) -> None:
    conftest = """
        def pytest_sessionstart(session):
            manager = session.config.pluginmanager
            worker = hasattr(session.config, "workerinput")
            assert manager.hasplugin("xdist")
            assert manager.hasplugin("dsession") is not worker
    """
    done = hasten({"conftest.py": conftest, "test_a.py": "def test_a():\n    pass\n"}, "-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr


@STARTS
def test_maxfail_counts_over_all_workers(hasten: Hasten, start: str) -> None:
    suite = "import pytest\n@pytest.mark.parametrize('n', range(40))\ndef test_a(n):\n    assert 0\n"
    done = hasten({"test_a.py": suite}, "-n", "2", "--maxfail=3", "--start", start)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    failed = int(re.findall(r"(\d+) failed", done.stdout)[-1])
    assert 3 <= failed < 40
    assert re.search(r"stopping after \d+ failures", done.stdout)  # as many as had failed by then
