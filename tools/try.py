"""Runs jinja2's own test suite with plain pytest, with pytest-xdist and with hasten, and compares outcomes and times.

Usage: try.py [-n WORKERS] [--rounds N]    Works in build/try. Exit status 1 when outcomes differ.

The three commands are run in turn, N times over, and the table shows medians: machines are noisy.
"""

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from xml.etree import ElementTree

ROOT = pathlib.Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "try"
PROJECT, VERSION = "jinja2", "3.1.6"
SUITE_NEEDS = ["markupsafe", "trio"]

Outcomes = dict[tuple[str, str], list[str]]


def say(text: str) -> None:
    print(text, flush=True)


def run(*command: str | pathlib.Path, **options: object) -> None:
    subprocess.run([str(part) for part in command], check=True, **options)  # type: ignore[call-overload]


def environment(name: str, *packages: str) -> pathlib.Path:
    """A virtual environment with these packages; its bin folder."""
    folder = WORK / name
    if not (folder / "bin" / "python").exists():
        run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "python", "-m", "pip", "install", "-q", *packages)
    return folder / "bin"


def install_hasten(scripts: pathlib.Path) -> None:
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    pip = [f"{scripts}/python", "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    run(*pip, "--force-reinstall", ROOT, env={**os.environ, "PATH": path})


def suite(scripts: pathlib.Path) -> pathlib.Path:
    """The unpacked source distribution; downloaded once."""
    folder = WORK / f"{PROJECT}-{VERSION}"
    if not folder.exists():
        pip = [f"{scripts}/python", "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        run(*pip, "-d", WORK, f"{PROJECT}=={VERSION}")
        run("tar", "-xzf", WORK / f"{PROJECT}-{VERSION}.tar.gz", "-C", WORK)
    return folder


def outcome(case: ElementTree.Element) -> str:
    return ",".join(sorted({child.tag for child in case} & {"failure", "error", "skipped"})) or "passed"


def outcomes(report: pathlib.Path) -> Outcomes:
    """What a JUnit file says: every test's outcomes, in no order."""
    found: Outcomes = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        found.setdefault((case.get("classname", ""), case.get("name", "")), []).append(outcome(case))
    return {key: sorted(values) for key, values in found.items()}


class Way:
    """One way to run the suite, and what its runs gave."""

    def __init__(self, name: str, command: list[str | pathlib.Path]) -> None:
        self.name = name
        self.command = command
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.outcomes: Outcomes = {}

    def run(self, folder: pathlib.Path, number: int) -> None:
        report = WORK / f"{number}.xml"
        report.unlink(missing_ok=True)
        command = [*map(str, self.command), "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "tests"]
        path = f"{pathlib.Path(self.command[0]).parent}{os.pathsep}{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(folder / "src")}
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.wall.append(time.monotonic() - start)
        self.cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if done.returncode not in (0, 1) or not report.exists():
            raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
        self.outcomes = outcomes(report)


def table(ways: list[Way]) -> str:
    lines = [f"{'':24}{'wall':>9}{'CPU':>9}{'tests':>8}   outcomes"]
    for way in ways:
        count = sum(map(len, way.outcomes.values()))
        same = "" if way is ways[0] else "equal" if way.outcomes == ways[0].outcomes else "DIFFERENT"
        wall, cpu = statistics.median(way.wall), statistics.median(way.cpu)
        lines.append(f"{way.name:24}{wall:7.2f} s{cpu:7.2f} s{count:8}   {same}".rstrip())
    return "\n".join(lines)


def differences(plain: Outcomes, other: Outcomes) -> list[str]:
    keys = sorted(key for key in plain.keys() | other.keys() if plain.get(key) != other.get(key))
    return [f"  {'.'.join(key)}: {plain.get(key)} became {other.get(key)}" for key in keys]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("-n", default="2", metavar="WORKERS", help="workers of xdist and hasten (2)")
    options.add_argument("--rounds", type=int, default=3, help="how often each is run (3)")
    given = options.parse_args()

    WORK.mkdir(parents=True, exist_ok=True)
    say("building hasten")
    ours = environment("venv-hasten", "-r", str(ROOT / "tools" / "requirements.txt"), *SUITE_NEEDS)
    install_hasten(ours)
    theirs = environment("venv-xdist", "pytest", "pytest-xdist", *SUITE_NEEDS)
    folder = suite(theirs)

    ways = [
        Way("pytest", [theirs / "pytest", "-p", "no:xdist"]),
        Way(f"pytest-xdist -n {given.n}", [theirs / "pytest", "-n", given.n]),
        Way(f"hasten run -n {given.n}", [ours / "hasten", "run", "-n", given.n]),
    ]
    say(f"running the suite of {PROJECT} {VERSION}, {given.rounds} times each, in turn")
    for _ in range(given.rounds):
        for number, way in enumerate(ways):
            way.run(folder, number)
    say("\n" + table(ways))
    wrong = [line for way in ways[1:] for line in differences(ways[0].outcomes, way.outcomes)]
    if wrong:
        say("\nother outcomes than plain pytest's:\n" + "\n".join(wrong[:20]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
