#!/usr/bin/env python3
"""Suites whose workers' databases are copied, not migrated: the same outcomes as plain pytest's, and what it saves.

    adapters.py time  [--tables 300] [--migrations 400] [--workers 2 8] [--rounds 1] [--kinds ...] [--modes ...]
    adapters.py equal [--tables 300] [--migrations 400] [--workers 2 8] [--rounds 1] [--kinds ...] [--save]

Writes projects of Django, of SQLAlchemy and Alembic, and of pytest-postgresql, and runs their suites by plain pytest,
and by hasten: `time` with the adapters off, with nothing cached, and with all cached. "ready" is the longest test:
the first of a worker, in which its database is made. CPU is that of all processes of the run, the server's not among
them. `equal` prints a line for each project and number of workers, with nothing cached and with all cached: equal, or
what differs in outcomes and exit status; --save adds them to results/adapters.jsonl. Ends with status 1 when anything
differs. Needs PostgreSQL, Django, pytest-django, SQLAlchemy, Alembic, and pytest-postgresql beside this interpreter.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

import databases

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tests" / "e2e"))
import database_writer

WRITERS = {
    "django": database_writer.write_django,
    "alembic": database_writer.write_alembic,
    "pytest-postgresql": database_writer.write_pytest_postgresql,
}
KINDS = ["django/postgres", "django/sqlite", "alembic/postgres", "alembic/sqlite", "pytest-postgresql/postgres"]
DISTRIBUTIONS = ("pytest", "Django", "pytest-django", "SQLAlchemy", "alembic", "pytest-postgresql", "psycopg")
RESULTS = pathlib.Path(__file__).parent / "results" / "adapters.jsonl"
MODES = ("off", "nothing cached", "cached")


class Result:
    def __init__(self, command: list[str], folder: pathlib.Path, env: dict[str, str]) -> None:
        path = folder / "junit.xml"
        path.unlink(missing_ok=True)
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        arguments = ["-q", "-p", "no:cacheprovider", f"--junitxml={path}"]
        with (folder / "out.txt").open("w") as out:
            run = subprocess.run([*command, *arguments], cwd=folder, env=os.environ | env, stdout=out, check=False)
        self.status = run.returncode
        self.wall = time.perf_counter() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.outcomes: dict[tuple[str, str], str] = {}
        self.ready = 0.0
        for case in ET.parse(path).getroot().iter("testcase"):
            kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
            name = (case.get("classname", ""), case.get("name", ""))
            self.outcomes[name] = "+".join(kinds) or "passed"
            self.ready = max(self.ready, float(case.get("time", 0)))

    def differs(self, other: "Result") -> list[str]:
        """What differs, a line each, as far as anybody reads that."""
        names = sorted(self.outcomes.keys() | other.outcomes.keys())
        pairs = [(*name, self.outcomes.get(name), other.outcomes.get(name)) for name in names]
        found = [f"{where}::{name}: {ours}, {theirs}" for where, name, ours, theirs in pairs if ours != theirs]
        return found[:20] + [f"exit status: {self.status}, {other.status}"] * (self.status != other.status)


def environment(kind: str, folder: pathlib.Path, url: str) -> dict[str, str]:
    env = {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONDONTWRITEBYTECODE": "1"}
    if kind.endswith("/postgres"):
        env |= {"DB_URL": url, "DB_HOST": url.partition("host=")[2]}
    return env


def equal(kind: str, args: argparse.Namespace, url: str, folder: pathlib.Path) -> bool:
    tool = kind.partition("/")[0]
    WRITERS[tool](folder, args.tables, args.migrations)
    env = environment(kind, folder, url)
    plain = Result([sys.executable, "-m", "pytest", "-p", "no:xdist"], folder, env)
    passed = set(plain.outcomes.values()) == {"passed"}
    same = passed
    print(
        f"{kind}: {args.tables} tables, {args.migrations} migrations, {len(plain.outcomes)} tests, plain pytest: "
        f"{'all passed' if passed else 'NOT all passed'}",
        flush=True,
    )
    for n in args.workers:
        for i in range(args.rounds):
            env["XDG_CACHE_HOME"] = str(folder / f"cache-{n}-{i}")
            for cached in (False, True):
                if not cached and tool != "pytest-postgresql":  # there may be a template of another round
                    version = folder / ("shop/models.py" if tool == "django" else "shop.py")
                    version.write_text(version.read_text() + f"# {n} {i}\n")
                run = Result([str(databases.HASTEN), "run", "-n", str(n)], folder, env)
                different = plain.differs(run)
                same = same and not different
                what = "cached" if cached else "nothing cached"
                print(
                    f"  -n {n}, {what:14} {'DIFFERS' if different else 'equal'}", *different, sep="\n      ", flush=True
                )
                if different:
                    print((folder / "out.txt").read_text()[-6000:], flush=True)
                if args.save:
                    save(
                        kind,
                        args,
                        {"workers": n, "cached": cached, "tests": len(plain.outcomes), "different": different},
                    )
    return same


def save(kind: str, args: argparse.Namespace, row: dict[str, object]) -> None:
    versions = {name: importlib.metadata.version(name) for name in DISTRIBUTIONS}
    row = {"project": kind, "tables": args.tables, "migrations": args.migrations, **row, "versions": versions}
    row["python"] = ".".join(map(str, sys.version_info[:3]))
    with RESULTS.open("a") as file:
        file.write(json.dumps(row) + "\n")


def measure(kind: str, args: argparse.Namespace, url: str, folder: pathlib.Path) -> bool:
    tool = kind.partition("/")[0]
    WRITERS[tool](folder, args.tables, args.migrations)
    cache = folder / "cache"
    env = environment(kind, folder, url)
    plain = Result([sys.executable, "-m", "pytest", "-p", "no:xdist"], folder, env)
    print(f"{kind}: {args.tables} tables, {args.migrations} migrations, {len(plain.outcomes)} tests")
    print(f"  {'plain pytest':30} ready {plain.ready:7.2f} s  wall {plain.wall:7.1f} s  CPU {plain.cpu:7.1f} s")
    same = set(plain.outcomes.values()) == {"passed"}
    for n in args.workers:
        results: dict[str, list[Result]] = {mode: [] for mode in args.modes}
        for i in range(args.rounds):
            for mode in args.modes:
                name = f"{n}-{i}"
                own = env | {"XDG_CACHE_HOME": str(cache / name), "HASTEN_DB_ADAPTERS": "0" if mode == "off" else "1"}
                if (
                    mode == "nothing cached" and tool != "pytest-postgresql"
                ):  # on the server there may be templates of other rounds
                    version = folder / ("shop/models.py" if tool == "django" else "shop.py")
                    version.write_text(version.read_text() + f"# {name}\n")
                results[mode].append(Result([str(databases.HASTEN), "run", "-n", str(n)], folder, own))
        for mode, found in results.items():
            ready, wall, cpu = (statistics.median(getattr(r, name) for r in found) for name in ("ready", "wall", "cpu"))
            equal = all(r.outcomes == plain.outcomes for r in found)
            same = same and equal
            print(
                f"  {f'-n {n}, {mode}':30} ready {ready:7.2f} s  wall {wall:7.1f} s  CPU {cpu:7.1f} s  "
                f"outcomes {'the same' if equal else 'DIFFERENT'}",
                flush=True,
            )
    return same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("time", "equal"))
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--migrations", type=int, default=400)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    args = parser.parse_args()
    same = True
    with contextlib.ExitStack() as stack:
        url = ""
        if any(kind.endswith("postgres") for kind in args.kinds):
            server = stack.enter_context(databases.by_hand("max_connections=200"))
            url = f"postgresql://postgres@/postgres?{server.conninfo.split()[0]}"
        for kind in args.kinds:
            with tempfile.TemporaryDirectory(prefix="bench-adapters-") as folder:
                act = equal if args.what == "equal" else measure
                same = act(kind, args, url, pathlib.Path(folder)) and same
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
