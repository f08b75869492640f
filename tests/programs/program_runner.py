"""Worker processes that measure programs, one for each core."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
LONGEST = 60.0  # seconds for one program


class Worker:
    def __init__(self, python: str, folder: Path) -> None:
        self.command = [python, "-u", str(HERE / "program_measure.py"), str(folder)]
        self.open()

    def open(self) -> None:
        settings = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | settings,
        )
        self.buffer = b""

    def close(self) -> bytes:
        self.process.kill()
        return self.process.communicate()[1]

    def ask(self, name: str, text: str, branch: tuple[bool, ...]) -> None:
        assert self.process.stdin
        line = json.dumps({"name": name, "text": text, "branch": branch}).encode()
        try:
            self.process.stdin.write(line + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def answer(self) -> list[str]:
        """What differs; a worker that dies or hangs differs, too, and another one takes its place."""
        assert self.process.stdout
        descriptor = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            ready = select.select([descriptor], [], [], LONGEST)[0]
            more = os.read(descriptor, 65536) if ready else b""
            if not more:
                errors = self.close().decode(errors="replace")
                status = self.process.returncode
                self.open()
                return [f"{'died' if ready else 'hangs'}: {status} {errors[-1500:]}"]
            self.buffer += more
        line, _, self.buffer = self.buffer.partition(b"\n")
        return list(json.loads(line)["said"])


def compare(
    python: str,
    folder: Path,
    programs: Iterable[tuple[str, str]],
    branch: tuple[bool, ...] = (False, True),
    jobs: int = 1,
) -> Iterator[tuple[str, list[str]]]:
    """(name, what differs) of each (name, text), in any order."""
    workers = [Worker(python, folder) for _ in range(jobs)]
    waiting = iter(programs)
    busy: dict[Worker, str] = {}
    try:
        for worker in workers:
            give(worker, waiting, branch, busy)
        while busy:
            files = {worker.process.stdout: worker for worker in busy}
            ready = select.select(list(files), [], [], LONGEST)[0] or list(files)
            for file in ready:
                worker = files[file]
                yield busy.pop(worker), worker.answer()
                give(worker, waiting, branch, busy)
    finally:
        for worker in workers:
            worker.close()


def give(worker: Worker, waiting: Iterator[tuple[str, str]], branch: tuple[bool, ...], busy: dict[Worker, str]) -> None:
    for name, text in waiting:
        busy[worker] = name
        worker.ask(name, text, branch)
        return
