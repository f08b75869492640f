"""CPU time of small programs under each collector of coverage: none, coverage.py's C tracer and its sysmon, hasten's.

    python bench/collectors.py [--rounds 5] [--python PY ...]

Each measurement is a process of its own, and all of a round run one after the other, so that a busy machine slows
them alike; the table shows the smallest CPU time of the workload alone and the median of its ratios to that of the same
round without a collector. PY has coverage and hasten.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WORKLOADS = {
    "loop": """
def step(n):
    total = 0
    for i in range(n):
        if i % 3 == 0:
            total += i
        elif i % 5 == 0:
            total -= 1
        else:
            total ^= i
    return total

for _ in range(12):
    step(200_000)
""",
    "one-way": """
def step(n, verbose):
    total = 0
    for i in range(n):
        if verbose:
            print(i)
        if i >= 0:
            total += i
        total &= 0xFFFF
    return total

for _ in range(12):
    step(200_000, False)
""",
    "recursion": """
class Node:
    def __init__(self, value, children):
        self.value = value
        self.children = children

    def walk(self):
        yield self.value
        for child in self.children:
            yield from child.walk()

def fib(n):
    if n < 2:
        return n
    return fib(n - 1) + fib(n - 2)

def tree(depth):
    return Node(depth, [tree(depth - 1) for _ in range(3)] if depth else [])

fib(28)
for _ in range(20):
    sum(tree(6).walk())
""",
    "exceptions": """
def check(i):
    if i % 4 == 0:
        raise ValueError(i)
    return i

def step(n):
    total = 0
    for i in range(n):
        try:
            total += check(i)
        except ValueError:
            total -= 1
        finally:
            if total < 0:
                total = 0
    return total

step(300_000)
""",
}

MODES = ("none", "ctrace", "sysmon", "hasten", "ctrace branch", "sysmon branch", "hasten branch")

DRIVER = """
import os, sys, time
mode, path = sys.argv[1:3]
core, _, branch = mode.partition(" ")
if core != "none":
    os.environ.pop("COVERAGE_CORE", None)
    import coverage
    cov = coverage.Coverage(data_file=None, config_file=False, include=[path], branch=bool(branch))
    if core == "hasten":
        from hasten import monitor
        monitor.start(cov)
    else:
        cov.set_option("run:core", core)
        cov.start()
        if cov._collector.tracer_name() != {"ctrace": "CTracer", "sysmon": "SysMonitor"}[core]:
            sys.exit(3)
code = compile(open(path).read(), path, "exec")
begun = time.process_time()
exec(code, {"__name__": "__main__"})
print(time.process_time() - begun)
"""


def measured(python: str, mode: str, path: Path) -> float | None:
    """Seconds of CPU; None: this Python's coverage.py cannot do it."""
    command = [python, "-W", "ignore", "-c", DRIVER, mode, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONHASHSEED": "0"})
    if done.returncode == 3:
        return None
    if done.returncode:
        sys.exit(f"collectors: {mode}: {done.stderr[-2000:]}")
    return float(done.stdout)


def table(python: str, rounds: int, folder: Path) -> None:
    version = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True).stdout.split()[1]
    print(f"CPython {version}, {rounds} rounds: smallest CPU time, median ratio (smallest and largest)")
    for name, text in WORKLOADS.items():
        path = folder / f"{name}.py"
        path.write_text(text)
        times: dict[str, list[float | None]] = {mode: [] for mode in MODES}
        for _ in range(rounds):
            for mode in MODES:
                times[mode].append(measured(python, mode, path))
        for mode, own in times.items():
            ratios = [a / b for a, b in zip(own, times["none"], strict=True) if a is not None and b]
            if not ratios:
                print(f"{name:11} {mode:14} not possible")
                continue
            least = min(one for one in own if one is not None) * 1000
            low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
            print(f"{name:11} {mode:14} {least:8.1f} ms  {middle:6.2f} ({low:.2f} to {high:.2f})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--python", nargs="+", default=[sys.executable])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for python in arguments.python:
            table(python, arguments.rounds, Path(folder))


if __name__ == "__main__":
    main()
