"""Is one state of some files faster than another? CPU time of fresh processes, taken in turns."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import math
import os
import statistics
import subprocess
from collections.abc import Mapping

from hasten.imports_journal import Journal, read, replace

# After so many pairs, Student's t that leaves 1 % on each side: three looks leave less than 5 % in all.
LOOKS = {5: 3.747, 10: 2.821, 20: 2.539}


@dataclasses.dataclass(frozen=True)
class Ratio:
    middle: float  # CPU time of b through that of a, geometric mean over pairs
    low: float  # ends of its 98 % interval
    high: float
    a: float  # seconds, medians
    b: float
    pairs: int

    def __str__(self) -> str:
        return f"{self.middle:.3f} ({self.low:.3f} to {self.high:.3f}, {self.pairs} pairs)"


def ratio_of(a: list[float], b: list[float], t: float) -> Ratio:
    logs = [math.log(y / x) for x, y in zip(a, b, strict=True)]
    mean, spread = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    ends = (math.exp(mean - t * spread), math.exp(mean), math.exp(mean + t * spread))
    return Ratio(ends[1], ends[0], ends[2], statistics.median(a), statistics.median(b), len(a))


def cpu_of(command: list[str]) -> float:
    """Seconds, of the process and its children."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return usage.ru_utime + usage.ru_stime


def compiled(path: str) -> list[str]:
    folder, name = os.path.split(path)
    return glob.glob(os.path.join(glob.escape(folder), "__pycache__", glob.escape(name.removesuffix(".py")) + ".*.pyc"))


class State:
    """Contents of some files, with the bytecode that was made from them."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.times: dict[str, int] = {}
        self.bytecode: dict[str, bytes] = {}

    def enter(self, journal: Journal) -> None:
        for path, data in self.files.items():
            if path in self.times and read(path) != data:
                replace(path, data, self.times[path])
            elif path not in self.times:
                self.times[path] = journal.write(path, data)
            for pyc in compiled(path):
                if pyc not in self.bytecode:
                    with contextlib.suppress(OSError):
                        os.unlink(pyc)
        for pyc, data in self.bytecode.items():
            with contextlib.suppress(OSError):
                replace(pyc, data)

    def remember(self) -> None:
        for path in self.files:
            for pyc in compiled(path):
                self.bytecode[pyc] = read(pyc)


def compare(command: list[str], a: State, b: State, journal: Journal) -> Ratio:
    """Runs the command in turns in both states until one of them is known to be faster, 20 pairs at most. Leaves b."""
    for state in (a, b):
        state.enter(journal)
        cpu_of(command)
        state.remember()
    times: dict[int, list[float]] = {0: [], 1: []}
    found = None
    for n in range(1, max(LOOKS) + 1):
        for which, state in ((0, a), (1, b)) if n % 2 else ((1, b), (0, a)):
            state.enter(journal)
            times[which].append(cpu_of(command))
        if n in LOOKS:
            found = ratio_of(times[0], times[1], LOOKS[n])
            if found.high < 1 or found.low > 1:
                break
    b.enter(journal)
    assert found is not None
    return found
