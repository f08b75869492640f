"""Plain pytest many times over, with its modules imported once: a server that forks for each run.

It reads lines of JSON, {"argv", "cwd", "env", "output", "timeout_s"}, and answers each with {"status", "cpu_s",
"timed_out"}. Importing is most of what a small suite costs; `Stage(preload=False)` runs each in a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import select
import signal
import subprocess
import sys
import time


def preload() -> None:
    """What every run of a generated suite imports, but no plugin from outside of pytest and no module of a suite."""
    import asyncio, decimal, logging.config, tempfile, unittest.mock, xml.etree.ElementTree  # noqa: E401, F401

    import _pytest.config
    import pytest  # noqa: F401

    for name in _pytest.config.default_plugins:
        __import__(f"_pytest.{name}")
    os.environ.pop("PYTEST_VERSION", None)


def run_one(order: dict) -> None:
    """In the forked child: becomes `python -m pytest`."""
    os.setpgid(0, 0)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    null, out = os.open(os.devnull, os.O_RDONLY), os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for fd, at in ((null, 0), (out, 1), (out, 2)):
        os.dup2(fd, at)
    os.closerange(3, max(null, out) + 1)
    sys.path[:] = [os.getcwd(), *order["env"]["PYTHONPATH"].split(os.pathsep), *sys.path[1:]]
    sys.argv = ["pytest", *order["argv"]]
    runpy.run_module("pytest", run_name="__main__", alter_sys=True)


def serve() -> None:
    preload()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            run_one(order)  # returns through the interpreter's own end, as ever
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        handle = os.pidfd_open(pid)
        timed_out = not select.select([handle], [], [], order["timeout_s"])[0]
        if timed_out:
            os.killpg(pid, signal.SIGKILL)
        os.close(handle)
        _, status = os.waitpid(pid, 0)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        answer = {"status": os.waitstatus_to_exitcode(status), "cpu_s": cpu_s, "timed_out": timed_out}
        print(json.dumps(answer), flush=True)


class Server:
    """The other end: starts the server with the interpreter that runs the suites."""

    def __init__(self, python: str) -> None:
        self.process = subprocess.Popen(
            [python, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"},
        )  # fmt: skip

    def run(self, argv: list[str], cwd: str, env: dict[str, str], output: str, timeout_s: float) -> dict:
        start = time.monotonic()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order = {"argv": argv, "cwd": cwd, "env": env, "output": output, "timeout_s": timeout_s}
        print(json.dumps(order), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server of plain pytest has ended: {self.process.wait()}")
        return json.loads(line) | {"wall_s": time.monotonic() - start}

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


if __name__ == "__main__":
    serve()
