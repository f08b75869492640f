"""Runs chosen tests in a chosen order, several such probes side by side: forks of one process, or fresh processes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from hasten.verify import _without_workers

# As pytest's console script starts; only -c's entry for the current folder has to go, except under `python -m hasten`.
BOOT = (
    "import os, sys\n"
    "if sys.path and sys.path[0] == '' and 'HASTEN_CWD_ON_PATH' not in os.environ: del sys.path[0]\n"
    "import pytest\n"
    "sys.argv[0] = 'pytest'\n"
    "sys.exit(pytest.console_main())\n"
)
_WORST = ("hung", "crashed", "error", "failed", "xpassed", "xfailed", "skipped", "passed")


class LabError(Exception):
    """One line for people: the suite cannot be examined."""


@dataclasses.dataclass
class Outcome:
    word: str  # of _WORST, or "not run"
    text: str = ""  # why, one line

    def __str__(self) -> str:
        return f"{self.word}  {self.text}" if self.text else self.word


NOT_RUN = Outcome("not run")


@dataclasses.dataclass
class Result:
    """What one probe showed."""

    outcomes: dict[int, Outcome]
    last: int = -1  # the test that ran last
    left: list[dict[str, Any]] = dataclasses.field(default_factory=list)  # what tests leave behind (state.py)
    ids: list[str] = dataclasses.field(default_factory=list)
    errors: list[str] = dataclasses.field(default_factory=list)
    ended: str = ""  # the session ended before its tests did, and why
    cancelled: bool = False

    def of(self, test: int) -> Outcome:
        return self.outcomes.get(test, NOT_RUN)


def read_result(path: str, killed: str, status: int | None) -> Result:
    """status: of a fork; None where another exit status than 0 says nothing."""
    result = Result({})
    ended = False
    try:
        with open(path, "rb") as file:
            lines = [json.loads(line) for line in file if line.endswith(b"\n")]
    except FileNotFoundError:
        lines = []
    started, over = -1, -1
    for line in lines:
        if "start" in line:
            started = result.last = line["start"]
        elif "o" in line:
            new = Outcome(line["o"], line["t"])
            old = result.outcomes.get(line["i"])
            if old is None or _WORST.index(new.word) < _WORST.index(old.word):
                result.outcomes[line["i"]] = new
        elif "over" in line:
            over = line["i"]
        elif "left" in line:
            result.left.append(line)
        elif "ids" in line:
            result.ids, result.errors = line["ids"], line["errors"]
        elif "ended" in line:
            result.ended = line["ended"]
        ended = ended or "end" in line
    if killed == "too long":
        result.outcomes[started] = Outcome("hung", "")
    elif status is not None and not ended and not killed and started != over:
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        result.outcomes[started] = Outcome("crashed", f"its process ended: {how}")
    result.cancelled = killed in ("cancelled", "left")
    return result


class Lab:
    """One suite. Use as a context manager: no process is left behind."""

    def __init__(self, args: Sequence[str], n: int, limit_s: float) -> None:
        self.args = _without_workers(list(args))
        self.n = n
        self.limit_s = limit_s
        self.folder = tempfile.mkdtemp(prefix="hasten-lab-")
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.sock: socket.socket | None = None
        self.lines: Iterator[bytes] = iter(())
        self.number = 0
        self.n_probes = 0
        self.ids: list[str] = []
        self.errors: list[str] = []
        self.options: list[str] = []  # pytest's arguments without what names tests
        self.threads: list[str] = []
        self.rootdir = ""
        self.lock = threading.Lock()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.sock is not None:
            self.sock.close()
        for process in list(self.processes.values()):
            self._end(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    # ---- processes

    def _start(self, args: Sequence[str], request: dict[str, Any], log: str, keep: tuple[int, ...] = ()) -> Any:
        # What pytest keeps between runs stays as it is.
        environment = {**os.environ, "HASTEN_PROBE": json.dumps(request)}
        command = [sys.executable, "-c", BOOT, "-p", "hasten.isolate.probe", *self.quiet(), *args]
        with open(log, "wb") as out:
            process = subprocess.Popen(
                command,
                env=environment,
                pass_fds=keep,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with self.lock:
            self.processes[process.pid] = process
        return process

    def quiet(self) -> list[str]:
        return ["-o", f"cache_dir={self.folder}/cache"]

    def collect(self) -> None:
        """Starts the process that collects, and asks it what there is."""
        ours, theirs = socket.socketpair()
        log = os.path.join(self.folder, "collect.log")
        process = self._start(self.args, {"fd": theirs.fileno()}, log, (theirs.fileno(),))
        theirs.close()
        self.sock = ours
        self.lines = iter(ours.makefile("rb"))
        line = next(self.lines, None)
        if line is None:
            status = process.wait()
            with open(log, errors="replace") as file:
                text = [text.strip() for text in file if text.strip()]
            raise LabError(f"pytest ended with status {status} before it ran a test: {' | '.join(text[-3:])[:600]}")
        hello = json.loads(line)
        self.ids, self.errors, self.threads = hello["ids"], hello["errors"], hello["threads"]
        self.rootdir = hello["rootdir"]
        self.options = [arg for arg in self.args if arg not in hello["named"]]

    # ---- probes

    def forks(
        self, orders: Sequence[Sequence[int]], enough: Any = None, watch: Sequence[int] = ()
    ) -> list[Result | None]:
        """One fork for each order. enough(result): the others are not needed any more; theirs is None then."""
        assert self.sock is not None
        numbers = {}
        for at, order in enumerate(orders):
            self.number += 1
            numbers[self.number] = at
            request = {
                "number": self.number,
                "run": list(order),
                "result": self._path(self.number),
                "limit_s": self.limit_s,
                "most": self.n,
                "watch": list(watch),
            }
            self.sock.sendall(json.dumps(request).encode() + b"\n")
        results: list[Result | None] = [None] * len(orders)
        waiting = set(numbers)
        while waiting:
            line = next(self.lines, None)
            if line is None:
                raise LabError("the process that had collected the suite has ended")
            message = json.loads(line)
            number = message["number"]
            if number not in waiting:
                continue
            waiting.discard(number)
            self.n_probes += 1
            result = read_result(self._path(number), message["killed"], message["status"])
            if result.cancelled:
                continue
            results[numbers[number]] = result
            if enough is not None and enough(result):
                for other in waiting:  # each still answers, so that nothing of it disturbs the next probes
                    self.sock.sendall(json.dumps({"cancel": other}).encode() + b"\n")
        return results

    def _path(self, number: int) -> str:
        return os.path.join(self.folder, f"{number}.jsonl")

    def fresh(self, order: Sequence[str], args: Sequence[str] | None = None, plain: bool = False) -> Result:
        """A new process. args: files and node ids to collect, default: the suite's. Outcomes go by place in `ids`.

        plain: the tests that pytest itself chooses for these args, in its order.
        """
        with self.lock:
            self.number += 1
            self.n_probes += 1
            number = self.number
        request: dict[str, Any] = {"order": list(order), "result": self._path(number)}
        if plain:
            request["plain"] = 1
        given = self.args if args is None else [*self.options, *args]
        process = self._start([*given, "--maxfail=0"], request, self._path(number) + ".log")
        killed = ""
        try:
            process.wait(self.limit_s)
        except subprocess.TimeoutExpired:
            killed = "too long"
        self._end(process)
        status = process.returncode
        with self.lock:
            self.processes.pop(process.pid, None)
        died = status < 0 or status not in range(6)
        result = read_result(self._path(number), killed, status if died else None)
        return self._renumbered(result)

    def _renumbered(self, result: Result) -> Result:
        """Places among the tests of that process become places in the suite."""
        place = {nodeid: i for i, nodeid in enumerate(self.ids)}
        own = [place.get(nodeid, -2 - i) for i, nodeid in enumerate(result.ids)]
        result.outcomes = {own[i]: o for i, o in result.outcomes.items() if 0 <= i < len(own)}
        result.last = own[result.last] if 0 <= result.last < len(own) else -1
        return result

    def side_by_side(self, jobs: Sequence[Any]) -> list[Any]:
        """Calls each job, n at once, in threads that wait for processes; results in order."""
        results: list[Any] = [None] * len(jobs)
        failures: list[BaseException] = []
        todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        for i in range(len(jobs)):
            todo.put(i)

        def work() -> None:
            try:
                while True:
                    i = todo.get_nowait()
                    results[i] = jobs[i]()
            except queue.Empty:
                pass
            except BaseException as exc:
                failures.append(exc)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(min(self.n, len(jobs)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # so that Ctrl-C comes through
        if failures:
            raise failures[0]
        return results
