"""Runs a suite, as it is and in variants, whole or in part, and measures each run."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hasten.doctor.interpreters import package_path
from hasten.isolate.lab import BOOT
from hasten.verify import _without_workers

GRACE_S = 30.0  # at most: between the time at which a run has to stop by itself and that at which it is stopped


class SuiteError(Exception):
    """One line for people: the suite cannot be examined."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """A change that can be tried without editing a file."""

    args: tuple[str, ...] = ()  # behind the suite's own
    env: Mapping[str, str | None] = dataclasses.field(default_factory=dict)  # None: not set
    runner: str = "pytest"  # or "run" or "cov": hasten's
    simulate: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # simulate.py
    python: str = ""  # another interpreter


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
    stopped: bool = False  # its time was up before its tests were

    @property
    def tests_s(self) -> float:
        """What of quiet_s came after collection, without the noise of what came before."""
        return max(self.quiet_s - float(self.facts.get("marks", {}).get("collected", 0.0)), 0.0)


@dataclasses.dataclass
class Part:
    """Some tests of a suite that is too long to be run often."""

    ids: list[str]
    files: list[str]  # that they are in
    options: list[str]  # pytest's arguments without what names tests


def _end(pid: int, until: float | None) -> tuple[float, float, int, bool]:
    """Waits for a child: (seconds in which it waited for a processor, CPU seconds, status, had to be stopped)."""
    late = until is not None and not _ends_until(pid, until)
    if late:
        _stop(pid)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
            waited = int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        waited = 0.0
    _pid, status, usage = os.wait4(pid, 0)
    return waited, usage.ru_utime + usage.ru_stime, os.waitstatus_to_exitcode(status), late


def _ends_until(pid: int, until: float) -> bool:
    fd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(max(0.0, until - time.monotonic()) * 1000))
    finally:
        os.close(fd)


def _stop(pid: int) -> None:
    """A process that leads a group: asked, then killed with all that is left of the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGTERM)
    _ends_until(pid, time.monotonic() + 5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _boot(variant: Variant, observe: bool) -> str:
    """pytest's start, with what has to come before it."""
    left = list(variant.simulate.get("not rewritten", ()))
    lines = ["early.watch()"] if observe else []
    lines += [f"early.leave({left!r})"] if left else []
    first = "".join(f"{line}\n" for line in ("from hasten.doctor import early", *lines)) if lines else ""
    return BOOT.replace("sys.argv[0] =", f"{first}sys.argv[0] =")


class Suite:
    """args: pytest's. Use as a context manager."""

    def __init__(self, program: str, args: Sequence[str], workers: str) -> None:
        self.program = program
        self.args = _without_workers(list(args))
        self.workers = workers
        self.folder = tempfile.TemporaryDirectory(prefix="hasten-doctor-")
        self.n_runs = 0
        self.running: subprocess.Popen[bytes] | None = None
        self.part: Part | None = None  # what run() runs of it; collect() collects all
        self.until: float | None = None  # of time.monotonic(): no run goes on long after that
        self.grace_s = GRACE_S

    def __enter__(self) -> Suite:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.running is not None:
            _stop(self.running.pid)
            self.running.wait()
        self.folder.cleanup()

    def command(self, variant: Variant, part: Part | None = None, observe: bool = False) -> list[str]:
        # What pytest keeps between runs (--lf) stays as it is.
        own = ["-p", "hasten.doctor.clock", "-o", f"cache_dir={self.folder.name}/cache"]
        args = [*part.options, *part.files] if part else self.args
        if variant.runner == "pytest":
            return [variant.python or sys.executable, "-c", _boot(variant, observe), *own, *args, *variant.args]
        start = [self.program, variant.runner, "--python", sys.executable, "--no-live", "-n", self.workers]
        return [*start, *own, *args, *variant.args]

    def run(
        self,
        variant: Variant = AS_IT_IS,
        more: Sequence[str] = (),
        observe: bool = False,
        stop_at: float | None = None,
        whole: bool = False,
    ) -> Run:
        """stop_at: of time.monotonic(); no test is begun after that. whole: not only self.part of it."""
        self.n_runs += 1
        base = os.path.join(self.folder.name, str(self.n_runs))
        part = None if whole else self.part
        stop_at = stop_at if stop_at is not None else self.until
        asked = {"out": base + ".json", "observe": observe, "simulate": dict(variant.simulate), "stop_at": stop_at}
        if part:
            asked["only"] = part.ids
        environment = self._environment(variant, base + ".asked")
        with open(base + ".asked", "w", encoding="utf-8") as file:
            json.dump({**asked, "start": time.monotonic()}, file)
        start = time.monotonic()
        try:
            self.running = self._start([*self.command(variant, part, observe), *more], environment, base + ".log")
        except OSError as exc:
            raise SuiteError(f"cannot start the suite: {exc}") from None
        waited, cpu, status, late = _end(self.running.pid, stop_at + self.grace_s if stop_at is not None else None)
        wall = time.monotonic() - start
        self.running.returncode = status
        self.running = None
        run = Run(wall, max(wall - waited, 0.0), cpu, status, stopped=late)
        self._read(run, base)
        return run

    def _environment(self, variant: Variant, asked: str) -> dict[str, str]:
        environment = dict(os.environ)
        for name, value in variant.env.items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = self._filled(value)
        environment["HASTEN_DOCTOR"] = asked
        return environment

    def _filled(self, value: str) -> str:
        """{folder}: the doctor's own. {package}: for PYTHONPATH, so that another interpreter finds this package."""
        if "{package}" in value:
            old = os.environ.get("PYTHONPATH", "")
            value = value.replace("{package}", package_path(self.folder.name)) + (os.pathsep + old if old else "")
        return value.replace("{folder}", self.folder.name)

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
            run.stopped = run.stopped or bool(run.facts.pop("stopped"))
        except (OSError, ValueError, KeyError):
            run.facts = {}
        with open(base + ".log", errors="replace", encoding="utf-8") as file:
            lines = [line.strip() for line in file if line.strip()]
        run.tail = " | ".join(lines[-3:])[:600]

    def collect(self, variant: Variant = AS_IT_IS) -> Run:
        return self.run(variant, ["--collect-only", "-q"], whole=True)
