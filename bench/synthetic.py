#!/usr/bin/env python3
"""Synthetic suites under plain pytest, pytest-xdist, hasten and other runners: prepared, measured and printed.

    synthetic.py [PARTS] --hasten . [--peers all] [--quick] [--resume]

PARTS, of these, in this order; all when none is named:

    suites    5,000 trivial tests; 2,000 with fixtures of all scopes; uneven; heavy import: wall, CPU, peak PSS
    startup   suites of one and of two tests: milliseconds over plain pytest's
    uneven    how near the end of a run with history comes to max(sum / n, longest), for 2, 4, 8 and 16 workers
    memory    PSS of all processes of `hasten run -n 8` and of xdist -n 8 when every worker has done its last test
    scale     100,000 trivial tests: CPU per test and memory of each process, beside 5,000 tests

Results are appended to results/synthetic.jsonl after each suite; README.md says what each figure means.
"""

import argparse
import copy
import hashlib
import pathlib
import shutil
import statistics
import sys

import ab
import make_suite
import suites
import timing
from peers import named

RESULTS = suites.HERE / "results" / "synthetic.jsonl"
LIBRARIES = ["numpy", "pandas", "sqlalchemy"]
ROLES = {1: "supervisor", 2: "reporter", 3: "template", 4: "workers"}  # by depth in the tree of processes
HOLD_S = 1.5


class Cache(suites.Cache):
    """As the corpus has it, but all suites use the same environments."""

    def folder(self, suite):
        return self.root / "synthetic" / suite.name

    def environment(self, suite, kind):
        return self.root / "synthetic" / "environments" / kind

    @property
    def libraries(self):
        return self.root / "synthetic" / "libraries"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--cache", default=suites.DEFAULT_CACHE)
    parser.add_argument("--hasten", metavar="WHEEL_OR_FOLDER", help="install hasten from here first")
    parser.add_argument("--peers", default="", help="measure these too: all, or a list with commas")
    timing.add_options(parser, "plain,xdist,hasten")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    timing.settle(options)
    options.cache, options.peers = Cache(options.cache), named(options.peers)
    _prepare(options.cache, options.hasten, options.peers)
    for part in PARTS:
        if part in options.parts or not options.parts:
            PARTS[part](options)
    return 0


def _prepare(cache, hasten, peers):
    suites.prepare_tools(cache)
    anyone = suites.Suite("any", "", [])
    suites.prepare_environments(cache, anyone, peers)
    if hasten:
        suites.install_hasten(cache, anyone, suites.build_wheel(cache, hasten))
    with suites.Stamp(cache.libraries, LIBRARIES) as stamp:
        if stamp.stale:
            suites.install_libraries(cache, cache.libraries, LIBRARIES)


def _suite(cache, name, *arguments):
    """A suite made by make_suite.py, as the corpus describes one; made again when either changes."""
    script = hashlib.sha256(pathlib.Path(make_suite.__file__).read_bytes()).hexdigest()[:12]
    suite = suites.Suite(name, f"{script} {' '.join(arguments)}", [], src="../../libraries")
    with suites.Stamp(cache.source(suite), [suite.version]) as stamp:
        if stamp.stale:
            shutil.rmtree(cache.source(suite), ignore_errors=True)
            kind, *rest = arguments
            make_suite.main([kind, str(cache.source(suite)), *rest])
    return suite


def _measure(options, suite, names, **changes):
    """Measures one suite, prints the table, keeps it in the results, and returns it with the measurement."""
    own = copy.copy(options)
    for name, value in changes.items():
        setattr(own, name, value)
    with own.cache.lock(suite):
        measurement = timing.Timing(own.cache, suite, names, own)
        table = measurement.measure()
    print(f"{suite.name} ({own.pairs} rounds, {own.workers} workers)")
    timing.print_table(table)
    sys.stdout.flush()
    if not own.no_save:
        facts = {"workers": own.workers, "counts": measurement.counts, "processes": measurement.processes}
        ab.save(RESULTS, suite.name, table, versions=timing.versions(own.cache, suite), **facts)
    return table, measurement


def part_suites(options):
    cache, scale = options.cache, 0.25 if options.quick else 1.0
    uneven = _suite(cache, "uneven", "uneven", "--scale", str(scale))
    for suite in (
        _suite(cache, "trivial", "trivial"),
        _suite(cache, "fixtures", "fixtures"),
        uneven,
        _suite(cache, "heavy", "heavy"),
    ):
        table, _ = _measure(options, suite, options.names_of_runners + options.peers)
        if suite is uneven:
            _check_counted(table, make_suite.UNEVEN_TOTAL_S * scale)


def _check_counted(table, burnt_s):
    """The tests of this suite burn a known CPU time: proof that a runner's workers are counted."""
    for name, row in table.items():
        if "says" not in row and row["cpu_s"] < burnt_s:
            raise SystemExit(f"{name}: {row['cpu_s']:.2f} s CPU found, but its tests burnt {burnt_s:.2f} s")


def part_startup(options):
    names = ["plain", "hasten:1", "hasten:2", "xdist:2"]
    changes = {"pairs": 10 if options.quick else 30, "memory": False}
    for tests in (1, 2):
        table, _ = _measure(
            options, _suite(options.cache, f"tests-{tests}", "trivial", "--tests", str(tests)), names, **changes
        )
        for name in names[1:]:
            rows, over = (table[name], table["plain"]), {}
            for what in ("wall_s", "cpu_s"):
                ours, theirs = (row[what + "_all"] for row in rows)
                over[what] = 1000 * statistics.median(a - b for a, b in zip(ours, theirs, strict=True))
            best = 1000 * (min(rows[0]["wall_s_all"]) - min(rows[1]["wall_s_all"]))
            wall, cpu = over["wall_s"], over["cpu_s"]
            print(f"  {name}: over plain pytest {wall:.0f} ms, best of each {best:.0f} ms, {cpu:.0f} ms CPU")


def part_uneven(options):
    pairs = {"pairs": 1 if options.quick else 3, "memory": False}
    asleep = _suite(options.cache, "uneven-sleep", "uneven-sleep")
    empty = _suite(options.cache, "uneven-empty", "uneven-sleep", "--scale", "0")
    durations, counts = make_suite.uneven_durations(), (2, 4, 8, 16)
    names = [f"{runner}:{n}" for n in counts for runner in ("hasten", "xdist")]
    start, _ = _measure(options, empty, names, **pairs | {"pairs": 3})
    full, _ = _measure(options, asleep, names, **pairs)
    for n in counts:
        bound = max(sum(durations) / n, *durations)
        for runner in (f"hasten:{n}", f"xdist:{n}"):
            if all("says" not in table[runner] for table in (start, full)):
                own, wall = start[runner]["wall_s"], full[runner]["wall_s"]
                over = (wall - own) / bound - 1
                print(
                    f"  {runner}: bound {bound:.2f} s, without the sleeps {own:.2f} s, wall {wall:.2f} s: {over:+.1%}"
                )


def part_memory(options):
    names = ["hasten:8", "xdist:8"]
    hold = ("--hold", str(HOLD_S))
    for suite in (
        _suite(options.cache, "trivial-hold", "trivial", *hold),
        _suite(options.cache, "fixtures-hold", "fixtures", *hold),
        _suite(options.cache, "heavy-hold", "heavy", *hold),
    ):
        table, _ = _measure(options, suite, names, pairs=1, memory=True)
        if all("says" not in table[name] for name in names):
            ours, theirs = (table[name]["pss_bytes"] for name in names)
            print(f"  {ours / 1e6:.0f} MB against {theirs / 1e6:.0f} MB: {ours / theirs:.2f} of xdist's")


def part_scale(options):
    names = [n for n in options.names_of_runners + options.peers if not options.quick or n in ("plain", "hasten")]
    sizes = {}
    for name, tests in (("trivial", 5000), ("trivial-100000", 100_000)):
        suite = _suite(options.cache, name, "trivial", *(["--tests", str(tests)] if tests != 5000 else []))
        table, measurement = _measure(options, suite, names, pairs=1, peer_pairs=1, memory=True)
        sizes[tests] = {n: row["cpu_s"] / tests * 1e6 for n, row in table.items() if "says" not in row}
        for n in sizes[tests]:
            print(f"  {n}: {sizes[tests][n]:.0f} us CPU per test")
        for role, (pss, cpu) in _roles(measurement.processes.get("hasten", [])).items():
            print(f"  hasten's {role}: {pss / 1e6:.0f} MB, {cpu:.2f} s CPU, {cpu / tests * 1e6:.1f} us per test")


def _roles(processes):
    """role -> highest PSS in bytes, summed over its processes, and CPU seconds."""
    parents, found = {process["pid"]: process["parent"] for process in processes}, {}
    for process in processes:
        depth, pid = 0, process["pid"]
        while pid in parents:
            depth, pid = depth + 1, parents[pid]
        role = ROLES.get(depth, "others")
        pss, cpu = found.get(role, (0, 0.0))
        found[role] = (pss + process["pss_bytes"], cpu + process["cpu_s"])
    return found


PARTS = {
    "suites": part_suites,
    "startup": part_startup,
    "uneven": part_uneven,
    "memory": part_memory,
    "scale": part_scale,
}

if __name__ == "__main__":
    sys.exit(main())
