"""`pytest --hasten`: its engine is killed at every moment of a run. pytest ends, says so, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from conftest import INHERITED, TAG, tagged, wait_until

WAIT = """
import os, time
def wait(sign):
    open(sign, "w").close()
    while not os.path.exists("go"): time.sleep(0.005)
"""
TESTS = """
import pytest
from waiting import wait
@pytest.mark.parametrize("i", range(12))
def test_quick(i): pass
def test_holds(): wait("held")
"""
COLLECTS = "from waiting import wait\nwait('collecting')\ndef test_a(): pass\n"
FINISHES = """
from waiting import wait
def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"): wait("finishing")
"""
QUICK = "import pytest\n@pytest.mark.parametrize('i', range(12))\ndef test_quick(i): pass\n"
MOMENTS = {  # a file that the suite writes, or an event of the trace; what the suite is
    "collecting": {"test_a.py": COLLECTS},
    "collected": {"test_a.py": TESTS},
    "planned": {"test_a.py": TESTS},
    "worker_start": {"test_a.py": TESTS},
    "worker_forked": {"test_a.py": TESTS},
    "result": {"test_a.py": TESTS},
    "held": {"test_a.py": TESTS},
    "worker_end": {"test_a.py": TESTS},
    "finishing": {"test_a.py": QUICK, "conftest.py": FINISHES},
}


class Engine:
    """One run of `pytest --hasten=2`."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.folder = folder
        self.tag = uuid.uuid4().hex
        self.trace = folder / "trace"
        environment = {key: os.environ[key] for key in INHERITED if key in os.environ}
        environment |= {TAG: self.tag, "HASTEN_TRACE": str(self.trace)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "--hasten=2", "-p", "no:cacheprovider", *args],
            cwd=folder, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def pid(self) -> int:
        return next((int(line.split()[0]) for line in tagged(self.tag) if " engine " in line), 0)

    def has_come_to(self, moment: str) -> bool:
        if (self.folder / moment).exists():
            return True
        lines = self.trace.read_text().split("\n")[:-1] if self.trace.exists() else []
        return any(json.loads(line)["ev"] == moment for line in lines)

    def kill(self) -> None:
        os.kill(wait_until(self.pid, 20, "the engine"), signal.SIGKILL)


def killed_at(folder: Path, moment: str, *args: str) -> tuple[int, str]:
    run = Engine(folder, *args)
    try:
        if moment != "start":
            wait_until(lambda: run.has_come_to(moment) or run.process.poll() is not None, 20, moment)
        run.kill()
        if moment == "finishing":
            (folder / "go").touch()
        out = run.process.communicate(timeout=20)[0]
        wait_until(lambda: not tagged(run.tag), 10, "nothing is left")
    finally:
        run.process.kill()
        for line in tagged(run.tag):
            os.kill(int(line.split()[0]), signal.SIGKILL)
    return run.process.returncode, out


@pytest.mark.parametrize("start", ["template", pytest.param("early", marks=pytest.mark.slow)])
@pytest.mark.parametrize("moment", ["start", *MOMENTS])
def test_engine_killed(suite, moment: str, start: str) -> None:
    folder = suite({"waiting.py": WAIT} | MOMENTS.get(moment, {"test_a.py": TESTS}))
    status, out = killed_at(folder, moment, f"--start={start}")
    if moment == "finishing":  # everything is reported by then
        assert (status, "12 passed" in out) == (0, True), out
        return
    assert status == 3, out
    assert out.count("hasten: the program has gone away") == 1, out
    assert "Traceback" not in out
