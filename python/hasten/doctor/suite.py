"""Runs a suite, as it is and in variants, and measures each run."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hasten.isolate.lab import BOOT
from hasten.verify import _without_workers


class SuiteError(Exception):
    """One line for people: the suite cannot be examined."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """A change that can be tried without editing a file."""

    args: tuple[str, ...] = ()  # behind the suite's own
    env: Mapping[str, str | None] = dataclasses.field(default_factory=dict)  # None: not set
    runner: str = "pytest"  # or "run" or "cov": hasten's
    simulate: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # simulate.py


AS_IT_IS = Variant()


@dataclasses.dataclass
class Run:
    wall_s: float = 0.0
    quiet_s: float = 0.0  # wall time without the time in which the process was ready and others had the processor
    cpu_s: float = 0.0
    status: int = 0
    outcomes: dict[str, str] = dataclasses.field(default_factory=dict)  # by node id; of --collect-only: "collected"
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    tail: str = ""  # the last lines of what it printed


def _end(pid: int) -> tuple[float, float, int]:
    """Waits for a child: (seconds in which it waited for a processor, CPU seconds, status)."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
            waited = int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        waited = 0.0
    _pid, status, usage = os.wait4(pid, 0)
    return waited, usage.ru_utime + usage.ru_stime, os.waitstatus_to_exitcode(status)


class Suite:
    """args: pytest's. Use as a context manager."""

    def __init__(self, program: str, args: Sequence[str], workers: str) -> None:
        self.program = program
        self.args = _without_workers(list(args))
        self.workers = workers
        self.folder = tempfile.TemporaryDirectory(prefix="hasten-doctor-")
        self.n_runs = 0
        self.running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Suite:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.running is not None:
            try:
                os.killpg(self.running.pid, signal.SIGTERM)
                self.running.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
            try:
                os.killpg(self.running.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.folder.cleanup()

    def command(self, variant: Variant) -> list[str]:
        # What pytest keeps between runs (--lf) stays as it is.
        own = ["-p", "hasten.doctor.clock", "-o", f"cache_dir={self.folder.name}/cache"]
        if variant.runner == "pytest":
            return [sys.executable, "-c", BOOT, *own, *self.args, *variant.args]
        start = [self.program, variant.runner, "--python", sys.executable, "--no-live", "-n", self.workers]
        return [*start, *own, *self.args, *variant.args]

    def run(self, variant: Variant = AS_IT_IS, more: Sequence[str] = (), observe: bool = False) -> Run:
        self.n_runs += 1
        base = os.path.join(self.folder.name, str(self.n_runs))
        asked = {"out": base + ".json", "observe": observe, "simulate": dict(variant.simulate)}
        environment = dict(os.environ)
        for name, value in variant.env.items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value.replace("{folder}", self.folder.name)
        environment["HASTEN_DOCTOR"] = json.dumps({**asked, "start": time.monotonic()})
        start = time.monotonic()
        try:
            self.running = self._start([*self.command(variant), *more], environment, base + ".log")
        except OSError as exc:
            raise SuiteError(f"cannot start the suite: {exc}") from None
        waited, cpu, status = _end(self.running.pid)
        wall = time.monotonic() - start
        self.running.returncode = status
        self.running = None
        run = Run(wall, max(wall - waited, 0.0), cpu, status)
        self._read(run, base)
        return run

    @staticmethod
    def _start(command: list[str], environment: dict[str, str], log: str) -> subprocess.Popen[bytes]:
        with open(log, "wb") as file:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _read(self, run: Run, base: str) -> None:
        try:
            with open(base + ".json", encoding="utf-8") as file:
                run.facts = json.load(file)
            run.outcomes = run.facts.pop("outcomes")
        except (OSError, ValueError, KeyError):
            run.facts = {}
        with open(base + ".log", errors="replace", encoding="utf-8") as file:
            lines = [line.strip() for line in file if line.strip()]
        run.tail = " | ".join(lines[-3:])[:600]

    def collect(self, variant: Variant = AS_IT_IS) -> Run:
        return self.run(variant, ["--collect-only", "-q"])
