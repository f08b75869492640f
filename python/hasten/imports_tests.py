"""`hasten imports --collect -n N`: which imports the tests need, and what moving one saves a whole run on N workers.

In a run of hasten the modules are imported once, before the workers are forked. An import that tests need anyway is
then cheapest where it is; made lazy, each worker that meets such a test pays for it. One that no test needs costs its
time once, and its memory at each fork.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from typing import Any

from hasten.imports_choose import Candidate, Chooser
from hasten.imports_edit import File
from hasten.imports_used import Needs, functions_that_use

LEAST_NS = 1_000_000


def run_tests(program: str, root: str, rest: list[str], workers: int, folder: str) -> int:
    command = [program, "run", "-p", "hasten.imports_needs", *(["-n", str(workers)] if workers else []), *rest]
    environment = {**os.environ, "HASTEN_NEEDS": folder, "HASTEN_NEEDS_ROOT": root, "HASTEN_PYTHON": sys.executable}
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False).returncode


class Report:
    def __init__(self, profile: dict[str, Any], root: str, needs: Needs, workers: int, fork_ns: float) -> None:
        self.needs, self.workers, self.root, self.fork_ns = needs, workers, root, fork_ns
        self.chooser = Chooser(profile, root, "function")
        self.chooser.look()

    def moves(self) -> list[dict[str, Any]]:
        """Statements that could become lazy, by what they save when nobody needs them."""
        found = []
        for one in self.chooser.candidates:
            saving = self.chooser.graph.without([one.at])
            if saving.cpu_ns >= LEAST_NS:
                found.append(self._move([one], saving.cpu_ns, saving.bytes, len(saving.gone)))
        return sorted(found, key=lambda one: -one["cpu"])

    def _move(self, candidates: list[Candidate], cpu_ns: int, memory: int, modules: int) -> dict[str, Any]:
        functions = set()
        for one in candidates:
            file = self.chooser.files[one.path]
            assert isinstance(file, File)
            functions |= functions_that_use(file, one.line)
        tests = self.needs.by(functions)
        payers = len(self.needs.processes(tests))
        forks = max(0, memory) / 1048576 * self.fork_ns * (self.workers + 1)  # a spare is forked, too
        saved_ns = cpu_ns + forks - payers * cpu_ns
        return {
            "statements": [{"file": one.path, "line": one.line, "statement": one.words} for one in candidates],
            "cpu": cpu_ns / 1e9,
            "bytes": memory,
            "modules": modules,
            "tests": len(tests),
            "workers": payers,
            "saved_per_run": saved_ns / 1e9,
            "saved_per_fork": max(0, memory) / 1048576 * self.fork_ns / 1e9,
            "advice": "move"
            if not tests
            else "keep"
            if payers > 1 or len(tests) * 20 > len(self.needs.tests)
            else "either",
        }

    def late(self) -> list[dict[str, Any]]:
        """What workers import for themselves, by the statement of the user's that asks for it."""
        costs: dict[tuple[str, int, str], dict[int, int]] = defaultdict(dict)
        names: dict[tuple[str, int, str], set[str]] = defaultdict(set)
        is_own = self.chooser.project.texts.keys()
        for pid, loads in self.needs.workers.items():
            by_number = {one.number: one for one in loads}
            for one in loads:
                top = one
                while top.file not in is_own and top.parent in by_number:
                    top = by_number[top.parent]
                if top.file in is_own:
                    place = (top.file, top.line, top.function)
                    costs[place][pid] = costs[place].get(pid, 0) + one.cpu_ns
                    names[place].add(top.name)
        found: list[dict[str, Any]] = []
        for (file, line, function), by_pid in costs.items():
            values = sorted(by_pid.values())
            middle = values[len(values) // 2]
            found.append(
                {
                    "file": file,
                    "line": line,
                    "function": function,
                    "imports": sorted(names[file, line, function]),
                    "cpu": middle / 1e9,
                    "workers": len(values),
                    "saved_per_run": (sum(values) - max(values)) / 1e9,
                }
            )
        return sorted((one for one in found if one["cpu"] >= LEAST_NS / 1e9), key=lambda one: -one["saved_per_run"])

    def json(self) -> dict[str, Any]:
        return {
            "workers": self.workers,
            "tests": len(self.needs.tests),
            "fork_cpu_per_mb": self.fork_ns / 1e9,
            "moves": self.moves(),
            "late": self.late(),
        }


def table(found: dict[str, Any], root: str) -> str:
    n, tests = found["workers"], found["tests"]
    fork_us = found["fork_cpu_per_mb"] * 1e6
    lines = ["", f"in a run of these {tests} tests on {n} workers (a fork costs {fork_us:.0f} us for each MB):"]
    for one in found["moves"][:15]:
        statement = one["statements"][0]
        place = f"{os.path.relpath(statement['file'], root)}:{statement['line']}"
        sizes = f"{one['cpu'] * 1e3:8.1f} ms {one['bytes'] / 1048576:6.1f} MB"
        lines.append(f"  {sizes}  {statement['statement']} ({place})")
        lines.append(f"                      {_words(one, tests)}")
    if not found["moves"]:
        lines.append("  no import that could be lazy takes a millisecond")
    if found["late"]:
        lines += ["", "imported by the workers themselves, after the fork:"]
    for one in found["late"][:15]:
        place = f"{os.path.relpath(one['file'], root)}:{one['line']}"
        where = f"{place} in {one['function']}" if one["function"] else place
        lines.append(f"  {one['cpu'] * 1e3:8.1f} ms in each of {one['workers']}  {', '.join(one['imports'])} ({where})")
        if one["workers"] > 1:
            saved = one["saved_per_run"] * 1e3
            lines.append(f"                      once before the fork, in a conftest: {saved:.1f} ms of CPU time less")
    return "\n".join(lines) + "\n"


def _words(one: dict[str, Any], tests: int) -> str:
    saved = one["saved_per_run"] * 1e3
    if one["advice"] == "move":
        return f"no test needs it: without it a run takes {saved:.1f} ms of CPU time less"
    who = f"{one['tests']} of {tests} tests need it, in {one['workers']} workers"
    if one["advice"] == "keep":
        return f"{who}: best made once, before the fork, as it is (lazy: {-saved:+.1f} ms)"
    change = f"{abs(saved):.1f} ms {'less' if saved > 0 else 'more'}"
    return f"{who}: lazy is {change} for a whole run, and less for a part of it"


def main(argv: list[str]) -> int:
    at = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(prog="hasten imports -n")
    for name in ("--profile", "--out", "--program", "--root"):
        parser.add_argument(name, required=True)
    parser.add_argument("--workers", type=int, required=True)
    options = parser.parse_args(argv[:at])
    from hasten.imports_used import fork_cost_ns

    fork_ns = fork_cost_ns()
    with open(options.profile, encoding="utf-8") as file:
        profile = json.load(file)
    with tempfile.TemporaryDirectory(prefix="hasten-needs-") as folder:
        status = run_tests(options.program, options.root, argv[at + 1 :], options.workers, folder)
        needs = Needs(folder)
    if not needs.tests:
        print(f"hasten: no test was run (status {status})", file=sys.stderr)
        return 1
    found = Report(profile, options.root, needs, options.workers, fork_ns).json()
    with open(options.out, "w", encoding="utf-8") as file:
        json.dump(found, file)
    print(table(found, options.root), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
