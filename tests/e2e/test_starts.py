"""Where workers are forked: what a fork cannot share is noticed in time, and what it can share stays as it should."""

# ruff: noqa: E501  (texts of suites)

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run, find_program

FOUR = "\nimport pytest\n@pytest.mark.parametrize('i', range(4))\ndef test_a(i, worker_id): pass\n"

# name -> (files, what the one-line reason says)
EARLY = {
    "environment at import of a conftest": (
        {"conftest.py": "import os\nDB = 'db_' + os.environ.get('PYTEST_XDIST_WORKER', 'none')\n", "test_a.py":
         "import conftest\ndef test_a(worker_id): assert conftest.DB == 'db_' + worker_id\ndef test_b(worker_id): test_a(worker_id)\n"},
        "PYTEST_XDIST_WORKER is read at .*conftest.py:2",
    ),
    "environment at import of a test": (
        {"test_a.py": "import os\nDB = f\"db_{os.environ['PYTEST_XDIST_WORKER']}\"\n"
         "def test_a(worker_id): assert DB == 'db_' + worker_id\ndef test_b(worker_id): test_a(worker_id)\n"},
        "PYTEST_XDIST_WORKER is used at .*test_a.py:2",
    ),
    "workerinput in configure": (
        {"conftest.py": "def pytest_configure(config):\n"
         "    if hasattr(config, 'workerinput'):\n        config.own = config.workerinput['workerid'] + '.log'\n", "test_a.py":
         "def test_a(pytestconfig, worker_id): assert pytestconfig.own == worker_id + '.log'\n"
         "def test_b(pytestconfig, worker_id): assert pytestconfig.own == worker_id + '.log'\n"},
        "conftest.py:3",
    ),
    "own input of a node in configure": (
        {"conftest.py": "def pytest_configure_node(node):\n    node.workerinput['port'] = 1000 + int(node.gateway.id[2:])\n"
         "def pytest_configure(config):\n    config.port = getattr(config, 'workerinput', {}).get('port')\n", "test_a.py":
         "def test_a(pytestconfig, worker_id): assert pytestconfig.port == 1000 + int(worker_id[2:])\n"
         "def test_b(pytestconfig, worker_id): assert pytestconfig.port == 1000 + int(worker_id[2:])\n"},
        'workerinput."port".',
    ),
    "connected socket": (
        {"conftest.py": "import socket\ndef pytest_configure(config):\n    config.pair = socket.socketpair()\n", "test_a.py": FOUR},
        "a connected socket was opened",
    ),
    "sqlite": (
        {"conftest.py": "import sqlite3\ndef pytest_configure(config):\n    config.db = sqlite3.connect(f'{config.rootpath}/x.db')\n"
         "    config.db.execute('create table if not exists t (a)')\n    config.db.commit()\n", "test_a.py": FOUR},
        "an SQLite database was opened",
    ),
    "thread": (
        {"conftest.py": "import threading\nthreading.Thread(target=threading.Event().wait, name='watcher', daemon=True).start()\n",
         "test_a.py": FOUR},
        "thread 'watcher'",
    ),
    "executor": (
        {"test_a.py": "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\n"
         "assert pool.submit(int, '3').result() == 3\ndef test_a(): assert pool.submit(int, '4').result(5) == 4\n"
         "def test_b(): assert pool.submit(int, '5').result(5) == 5\n"},
        "thread 'ThreadPoolExecutor",
    ),
    "event loop": (
        {"test_a.py": "import asyncio\nloop = asyncio.new_event_loop()\n"
         "def test_a(): loop.run_until_complete(asyncio.sleep(0))\ndef test_b(): loop.run_until_complete(asyncio.sleep(0))\n"},
        "an epoll descriptor was opened",
    ),
    "a temporary folder at import": (
        {"test_a.py": "import os, pytest, tempfile\nFOLDER = tempfile.mkdtemp()\n@pytest.mark.parametrize('i', range(4))\n"
         "def test_a(i, worker_id):\n    open(os.path.join(FOLDER, worker_id), 'w').close()\n"
         "    assert os.listdir(FOLDER) == [worker_id]\n"},
        "a temporary file or folder is made at .*test_a.py:2",
    ),
    "shared memory at import": (
        {"test_a.py": "import multiprocessing, pytest\ncount = multiprocessing.Value('i', 0)\nown = []\n"
         "@pytest.mark.parametrize('i', range(4))\ndef test_a(i, worker_id):\n"
         "    own.append(i)\n    count.value += 1\n    assert count.value == len(own)\n"},
        "memory that forks would share was mapped",
    ),
    "a free port at import": (
        {"test_a.py": "import pytest, socket\nwith socket.socket() as s:\n    s.bind(('127.0.0.1', 0))\n"
         "    PORT = s.getsockname()[1]\n" + FOUR},
        "a port is taken at .*test_a.py:3",
    ),
    "a name from the process's number": (
        {"conftest.py": "import os\nNAME = f'db_{os.getpid()}'\n",
         "test_a.py": "import conftest, os\n" + FOUR.replace(": pass", ": assert conftest.NAME == f'db_{os.getpid()}'")},
        "the process's number is asked for at .*conftest.py:2",
    ),
}  # fmt: skip

SHARED = {
    "role in configure": "def pytest_configure(config):\n    config.role = hasattr(config, 'workerinput')\n",
    "role at import of a test": "",
    "whole environment copied": "import os, subprocess\nCOPY = dict(os.environ)\n",
    "a port of a library": "import _socket\nserver = _socket.socket()\nserver.bind(('127.0.0.1', 0))\nserver.listen()\n",
}

RANDOM = """
import random
{seed}
import pytest

@pytest.mark.parametrize("i", range(2))
def test_r(i, worker_id):
    import {module} as r
    with open(f"value-{{worker_id}}", "a") as f:
        f.write(f"{{r.random()}}\\n")
"""


def way(run: Run) -> str:
    return "early" if run.events("early") or "early" in {e["start"] for e in run.events("pytest_start")} else "template"


@pytest.mark.parametrize("name", EARLY)
def test_what_cannot_be_shared_starts_early(
    name: str, suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    files, reason = EARLY[name]
    folder = suite(files)
    first = run_hasten(folder, "-n", "2").no_traceback_of_ours()
    assert first.status == 0, first.describe()
    lines = [line for line in (first.out + first.err).split("\n") if "workers start early" in line]
    assert len(lines) == 1, first.describe()
    assert re.search(reason, lines[0]), lines
    assert (folder / ".hasten" / "start").read_text().startswith("early\n")
    second = run_hasten(folder, "-n", "2")
    assert second.status == 0, second.describe()
    assert not second.events("early"), second.describe()
    assert "workers start early" not in second.out + second.err
    assert not second.events("pytest_start", start="early"), "no second process was needed"


@pytest.mark.parametrize("name", SHARED)
def test_what_can_be_shared_does_not(name: str, suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    files = {"conftest.py": SHARED[name], "test_a.py": FOUR}
    if name == "role at import of a test":
        files["test_a.py"] += (
            "import os\nROLE = bool(os.environ.get('PYTEST_XDIST_WORKER'))\ndef test_role(): assert ROLE\n"
        )
    run = run_hasten(suite(files), "-n", "2").no_traceback_of_ours()
    assert run.status == 0, run.describe()
    assert way(run) == "template", run.describe()


def test_template_on_request_whatever_is_found(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    files, _reason = EARLY["connected socket"]
    run = run_hasten(suite(files), "-n", "2", "--start", "template")
    assert run.status == 0, run.describe()
    assert way(run) == "template", run.describe()


def test_output_of_a_test_is_its_own(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    text = """
    import os, sys, pytest

    @pytest.mark.parametrize("i", range(40))
    def test_o(i):
        print(f"<out {i}>" * 20)
        os.write(1, f"<raw {i}>".encode() * 20)
        print(f"<err {i}>", file=sys.stderr)
        assert 0
    """
    run = run_hasten(suite({"test_o.py": text}), "-n", "3", "-o", "junit_logging=all")
    assert run.status == 1
    cases = run.cases()
    assert len(cases) == 40
    import xml.etree.ElementTree as ET

    for case in ET.parse(run.junit_path).getroot().iter("testcase"):
        own = case.get("name", "").partition("[")[2].rstrip("]")
        text = "".join(child.text or "" for child in case if child.tag.startswith("system-"))
        assert set(re.findall(r"<\w+ (\d+)>", text)) == {own}
        assert [text.count(f"<{kind} {own}>") for kind in ("out", "raw", "err")] == [20, 20, 1]


def values(folder: Path) -> list[list[str]]:
    return [path.read_text().split() for path in sorted(folder.glob("value-*"))]


@pytest.mark.parametrize("module", ["random", "numpy.random"])
@pytest.mark.parametrize("seeded", [True, False])
def test_seeded_generators_are_the_same_in_all_workers(
    module: str, seeded: bool, suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        pytest.skip(f"{module} is not installed")
    seed = f"import {module} as r\n" + ("r.seed(1234)\n" if seeded else "")
    folder = suite({"conftest.py": seed, "test_r.py": RANDOM.format(seed="", module=module)})
    run = run_hasten(folder, "-n", "2", "--dist", "each")
    assert run.status == 0, run.describe()
    assert way(run) == "template"
    one, two = values(folder)
    assert len(one) == len(two) == 2
    assert (one == two) is seeded
    if seeded and module == "random":
        import random

        assert float(one[0]) == random.Random(1234).random()


PLUGIN = """
import atexit, os
import pytest

def note(name):
    with open("notes", "a") as f:
        f.write(name + "\\n")

atexit.register(note, "exit of the parent")

def pytest_configure(config):
    if hasattr(config, "workeroutput"):
        config.workeroutput["from_configure"] = 1

@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session):
    result = yield
    if hasattr(session.config, "workerinput"):
        note("loop " + session.config.workerinput["workerid"])
    return result

def pytest_sessionfinish(session):
    if hasattr(session.config, "workerinput"):
        session.config.workeroutput["id"] = session.config.workerinput["workerid"]

def pytest_unconfigure(config):
    if hasattr(config, "workerinput"):
        note("unconfigure " + config.workerinput["workerid"])

@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    note(f"down {node.workeroutput['from_configure']} {node.workeroutput['id']} {error}")

@pytest.fixture(scope="session", autouse=True)
def every_worker(worker_id):
    atexit.register(note, "exit of " + worker_id)
    yield
    note("torn down " + worker_id)
"""


@pytest.mark.parametrize("start", ["template", "early"])
def test_a_worker_ends_through_pytest_own_hooks(
    start: str, suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    folder = suite({"conftest.py": PLUGIN, "test_a.py": FOUR})
    run = run_hasten(folder, "-n", "2", "--start", start, "--dist", "each")
    assert run.status == 0, run.describe()
    notes = sorted((folder / "notes").read_text().splitlines())
    wanted = ["exit of the parent"]
    for own in ("gw0", "gw1"):
        wanted += [f"loop {own}", f"unconfigure {own}", f"down 1 {own} None", f"torn down {own}", f"exit of {own}"]
    if start == "early":  # each worker has imported the conftest for itself
        wanted += ["exit of the parent"] * 2
    assert notes == sorted(wanted), run.describe()


def test_without_a_terminal_reporter(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    run = run_hasten(suite({"test_a.py": FOUR + "def test_fails(): assert 0\n"}), "-n", "2", "-p", "no:terminal")
    assert run.status == 1, run.describe()
    assert sorted(run.outcomes().values()) == ["failed"] + ["passed"] * 4


@pytest.mark.parametrize("start", ["template", "early", "spawn"])
def test_python_m_hasten_has_the_current_folder_on_the_path(suite, start: str) -> None:
    """As `python -m pytest`; the program itself starts as pytest's console script does."""
    folder = suite(
        {
            "helper.py": "",
            "tests/test_a.py": """
            import os
            import helper

            def test_a(): assert "HASTEN_CWD_ON_PATH" not in os.environ
            def test_b(): pass
            """,
        }
    )
    args = ["run", "-n", "2", "--start", start, "-p", "no:cacheprovider"]
    done = subprocess.run([sys.executable, "-m", "hasten", *args], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([find_program(), *args], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "No module named 'helper'" in done.stdout
