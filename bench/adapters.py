#!/usr/bin/env python3
"""Suites whose workers' databases are copied, not migrated: the same outcomes as plain pytest's, and what it saves.

    adapters.py [--tables 300] [--migrations 400] [--workers 2 8] [--rounds 1] [--kinds ...] [--modes ...]

Writes a Django project and one of SQLAlchemy and Alembic, and runs their suites by plain pytest, and by hasten with the
adapters off, with nothing cached, and with all cached. "ready" is the longest test: the first of a worker, in which its
database is made. CPU is that of all processes of the run, the server's not among them. Ends with status 1 when an
outcome differs. Needs PostgreSQL, Django, pytest-django, SQLAlchemy and Alembic beside this interpreter.
"""

import argparse
import contextlib
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

WRITERS = {"django": database_writer.write_django, "alembic": database_writer.write_alembic}
KINDS = [f"{tool}/{server}" for tool in WRITERS for server in ("postgres", "sqlite")]
MODES = ("off", "nothing cached", "cached")


class Result:
    def __init__(self, command: list[str], folder: pathlib.Path, env: dict[str, str]) -> None:
        path = folder / "junit.xml"
        path.unlink(missing_ok=True)
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        arguments = ["-q", "-p", "no:cacheprovider", f"--junitxml={path}"]
        subprocess.run([*command, *arguments], cwd=folder, env=os.environ | env, stdout=subprocess.DEVNULL, check=False)
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


def measure(kind: str, args: argparse.Namespace, url: str, folder: pathlib.Path) -> bool:
    tool, _, server = kind.partition("/")
    WRITERS[tool](folder, args.tables, args.migrations)
    cache = folder / "cache"
    env = {"XDG_CACHE_HOME": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"DB_URL": url} if server == "postgres" else {}
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
                if mode == "nothing cached":  # on the server there may be templates of other rounds
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
                same = measure(kind, args, url, pathlib.Path(folder)) and same
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
