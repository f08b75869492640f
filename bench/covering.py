#!/usr/bin/env python3
"""Coverage over the open corpus: hasten's beside coverage.py's own, what it says and what it costs.

    covering.py matrix [NAMES] [--python PY ...]      compare, on every CPython there is: results/covering_equal.jsonl
    covering.py compare [NAMES] [-n 1,2,8] [--kill]   coverage's json report, lines and branches, beside its C tracer's
    covering.py contexts [NAMES] [-n 2]               lines of each test's phases, beside its C tracer's
    covering.py time [NAMES] [--pairs 5] [-n 2]       interleaved; appended to results/covering.jsonl

matrix prepares the corpus for each CPython by itself (CFLAGS may name headers); for the others it must have been
prepared with hasten (`corpus.py prepare --hasten .`). coverage and pytest-cov are put beside it, for these runs only.
"""

import argparse
import json
import os
import sqlite3
import sys
import tempfile

import ab
import matrix
import measure
import runner
import suites

REQUIREMENTS = ("coverage==7.17.3", "pytest-cov==7.1.0")
SLIPCOVER = ("slipcover==1.1.0", "tabulate==0.10.0")  # has no releases for the newest CPython
PARTS = ("executed_lines", "missing_lines", "excluded_lines", "executed_branches", "missing_branches")
PACKAGES = {"starlette": "starlette", "sqlparse": "sqlparse", "jsonschema": "jsonschema", "beautifulsoup4": "bs4",
            "more_itertools": "more_itertools"}  # fmt: skip
# Of two workers, the one that has run half of its half first dies.
KILLER = """import os, signal, pytest
ran = 0
@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item):
    global ran
    ran += 1
    if ran == max(1, len(item.session.items) // 4) and "PYTEST_XDIST_WORKER" in os.environ:
        try:
            open(os.environ["HASTEN_BENCH_KILLED"], "x").close()
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)
"""
BY_CONFIGURATION = ("pluggy", "flask")  # its warnings are errors, and a source beside its `include` is warned of
RESULTS = suites.HERE / "results" / "covering.jsonl"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--cache", default=suites.DEFAULT_CACHE)
    parser.add_argument("-n", default="", help="numbers of workers, with commas")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--kill", action="store_true", help="once more with two workers, one of them killed half-way")
    parser.add_argument("--quick", action="store_true", help="lines, without branches, with two workers only")
    parser.add_argument("--save", metavar="FILE", help="compare: a line of JSON for each run is appended")
    parser.add_argument("--python", nargs="+", metavar="PY", default=[], help="matrix: else those in PATH and of pyenv")
    parser.add_argument("--ready", action="store_true", help="matrix: everything is prepared and up to date")
    options = parser.parse_args()
    return matrix.run(options) if options.verb == "matrix" else over_suites(options)


def over_suites(options):
    cache = suites.Cache(options.cache)
    libraries = library(cache, "coverage", REQUIREMENTS)
    if options.verb == "time":
        library(cache, "slipcover", SLIPCOVER)
    (libraries / "kill_worker.py").write_text(KILLER)
    chosen = [
        suite for suite in suites.load(options.names) if options.names or (suite.timed and suite.name != "pytest")
    ]
    bad = [suite.name for suite in chosen if not VERBS[options.verb](Case(cache, suite, libraries), options)]
    if bad:
        print("different:", ", ".join(bad))
    return 1 if bad else 0


def library(cache, name, requirements):
    """A folder with these distributions alone: each suite has a pytest of its own."""
    folder = cache.root / name
    with suites.Stamp(folder, [*requirements, sys.version]) as stamp:
        if stamp.stale:
            suites.install_libraries(cache, folder, ["--no-deps", *requirements])
    return folder


class Case:
    """One suite: its runs with coverage."""

    def __init__(self, cache, suite, libraries):
        self.cache, self.suite, self.libraries = cache, suite, libraries
        package = PACKAGES.get(suite.name)
        self.source = str((cache.source(suite) / (package or suite.src)).resolve())
        self.folder = cache.folder(suite) / "covered"
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(self, kind, workers, arguments, core="", name=None, seed=1):
        """kind: plain, xdist or hasten. A measure.Run; the data file is self.data(name)."""
        argv = runner.command(self.cache, self.suite, "plain" if kind == "slipcover" else kind, workers)
        if kind == "slipcover":  # alone: under pytest-xdist it is a plugin that turns warnings into errors
            argv = [str(self.cache.python(self.suite)), "-m", "slipcover", "--source", self.source, "--json"]
            argv += ["--out", f"{self.data('slipcover')}", *arguments, "-m", "pytest"]
            arguments = []
        data = self.data(name or kind)
        for path in self.folder.glob(data.name + "*"):
            path.unlink()
        with tempfile.TemporaryDirectory(prefix="hc-") as tmp:
            env = runner.environment(self.cache, self.suite, "plain" if kind == "slipcover" else kind, tmp, seed)
            env["PYTHONPATH"] += f":{self.libraries}"
            if kind == "slipcover":
                env["PYTHONPATH"] += f":{self.cache.root / 'slipcover'}"
            env["COVERAGE_FILE"] = str(data)
            env["HASTEN_BENCH_KILLED"] = str(self.killed)
            if core:
                env["COVERAGE_CORE"] = core
            runner.forget_state(self.cache, self.suite, history=False)
            argv += ["-p", "no:cacheprovider", *self.suite.args, *arguments, *self.suite.tests]
            return measure.run(argv, self.cache.source(self.suite), env, str(self.folder / "output"))

    @property
    def killed(self):
        """There when the last run that was to lose a worker has lost it."""
        return self.folder / "killed"

    def data(self, name):
        return self.folder / f"{name}.data"

    def covered(self, branch, context=""):
        source = "--cov" if self.suite.name in BY_CONFIGURATION else f"--cov={self.source}"
        words = [source, "--cov-report=", *(["--cov-branch"] if branch else [])]
        return words + ([f"--cov-context={context}"] if context else [])

    def report(self, name):
        """Section `files` of coverage's json report."""
        out = self.folder / f"{name}.json"
        argv = [
            str(self.cache.python(self.suite)),
            "-m",
            "coverage",
            "json",
            "-q",
            "--ignore-errors",
            "--fail-under=0",
            "-o",
            str(out),
        ]
        argv += ["--data-file", str(self.data(name))]
        env = {**os.environ, "PYTHONPATH": str(self.libraries)}
        found = measure.run(argv, self.cache.source(self.suite), env, str(self.folder / "output"))
        if found.status:
            raise SystemExit((self.folder / "output").read_text()[-2000:])
        return json.loads(out.read_text())["files"]


def differences(reference, other):
    """{(file, part of the report, line or branch)} that one of two reports has."""
    found = set()
    for path in set(reference) | set(other):
        for part in PARTS:
            a, b = (
                {tuple(x) if isinstance(x, list) else (x,) for x in report.get(path, {}).get(part, ())}
                for report in (reference, other)
            )
            found |= {(path, part, *x) for x in a ^ b}
    return found


def varying(case, branch, reference, wanted):
    """Of the differences wanted, those between runs of coverage.py itself: a second one, then other orders of tests."""
    found = set()
    for order, seed in (("plain", 1), ("reverse", 1), ("shuffle", 1), ("shuffle", 2), ("shuffle", 3), ("shuffle", 4)):
        if wanted <= found:
            break
        case.run(order, 1, case.covered(branch), "ctrace", "again", seed)
        found |= differences(reference, case.report("again"))
    return wanted & found


def compare(case, options):
    """Whether all reports are equal, but for what differs between runs of coverage.py itself."""
    good = True
    kinds = {}
    for branch in (False, True):
        found = case.run("plain", 1, case.covered(branch), "ctrace", "plain")
        reference = case.report("plain")
        kind = "branches" if any("executed_branches" in file for file in reference.values()) else "lines"
        if kind in kinds:
            continue  # the suite's own configuration asks for branches
        kinds[kind] = reference
        runs = [(int(n), False) for n in (options.n or "1,2,8").split(",")] + [(2, True)] * options.kill
        if options.quick and kind == "lines":
            runs = [(2, False)]
        for workers, kill in runs:
            row = compared(case, branch, reference, workers, kill)
            row |= {"kind": kind, "reference_status": found.status, "python": sys.version.split()[0]}
            good = good and not row["different"]
            show(row)
            if options.save:
                with open(options.save, "a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
    return good


def compared(case, branch, reference, workers, kill):
    """One run of hasten beside the reference."""
    case.killed.unlink(missing_ok=True)
    killer = ["-p", "kill_worker"] if kill else []
    own = case.run("hasten", workers, [*case.covered(branch), *killer], name="hasten")
    differ = differences(reference, case.report("hasten"))
    known = varying(case, branch, reference, differ)
    return {
        "suite": case.suite.requirement,
        "workers": workers,
        "killed": case.killed.exists(),
        "kill": kill,
        "status": own.status,
        "files": len(reference),
        "lines": sum(len(file["executed_lines"]) for file in reference.values()),
        "branches": sum(len(file.get("executed_branches", ())) for file in reference.values()),
        "different": sorted(map(str, differ - known)),
        "by_order": sorted(map(str, known)),
    }


def show(row):
    how = f"-n {row['workers']}" + (", one killed" if row["killed"] else ", NOT KILLED" if row["kill"] else "")
    print(
        f"{row['suite']:22} {row['kind']:8} {how:16} {row['files']} files, {row['lines']} lines, {row['branches']} "
        f"branches: {'DIFFERENT' if row['different'] else 'same'}, {len(row['by_order'])} by order of the tests  "
        f"(status {row['reference_status']} and {row['status']})",
        *row["different"][:10], sep="\n    ", flush=True,
    )  # fmt: skip


def by_context(path):
    """{(context, file, line or arc)} of a data file."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as con:
        found = set()
        query = "select context, path, numbits from line_bits join context on context_id = context.id"
        for context, file, bits in con.execute(query + " join file on file_id = file.id"):
            found |= {(context, file, 8 * i + b) for i, byte in enumerate(bits) for b in range(8) if byte >> b & 1}
        query = "select context, path, fromno, tono from arc join context on context_id = context.id"
        for context, file, a, b in con.execute(query + " join file on file_id = file.id"):
            found |= {(context, file, line) for line in (a, b) if line > 0}
    return found


def contexts(case, options):
    good = True
    for branch in (False, True):
        for name in ("plain", "again"):
            case.run("plain", 1, case.covered(branch, "test"), "ctrace", name)
        reference, again = by_context(case.data("plain")), by_context(case.data("again"))
        varying = {(context, file) for context, file, _line in reference ^ again}
        for workers in [int(n) for n in (options.n or "0").split(",")]:
            case.run("hasten", workers, case.covered(branch, "test"), name="hasten")
            own = by_context(case.data("hasten"))
            differ = {triple for triple in reference ^ own if triple[:2] not in varying}
            good = good and not differ
            print(
                f"{case.suite.name:15} {'branches' if branch else 'lines':8} -n {workers}  {len(reference)} triples, "
                f"{len(differ)} differ ({len(reference ^ again)} between two runs of coverage.py)",
                flush=True,
            )
            for triple in sorted(differ)[:10]:
                print("   ", "only coverage.py" if triple in reference else "only hasten", *triple)
    return good


def timed(case, options):
    workers = int(options.n or 2)
    runs = {
        "hasten, no coverage": ("hasten", [], ""),
        "hasten lines": ("hasten", case.covered(False), ""),
        "hasten branches": ("hasten", case.covered(True), ""),
        "hasten contexts": ("hasten", case.covered(False, "test"), ""),
        "hasten functions": ("hasten", case.covered(False, "function"), ""),
        "hasten branches, contexts": ("hasten", case.covered(True, "test"), ""),
        "plain, no coverage": ("plain", [], ""),
        "plain ctrace": ("plain", case.covered(False), "ctrace"),
        "plain sysmon": ("plain", case.covered(False), "sysmon"),
        "slipcover": ("slipcover", [], ""),
        "slipcover branches": ("slipcover", ["--branch"], ""),
        "xdist, no coverage": ("xdist", [], ""),
        "xdist ctrace": ("xdist", case.covered(False), "ctrace"),
        "xdist sysmon": ("xdist", case.covered(False), "sysmon"),
        "xdist ctrace branches": ("xdist", case.covered(True), "ctrace"),
        "xdist ctrace branches, contexts": ("xdist", case.covered(True, "test"), "ctrace"),
    }
    call = {name: lambda a=arguments: case.run(a[0], workers, a[1], a[2], "timed") for name, arguments in runs.items()}
    found = ab.interleave(call, options.pairs)
    table = ab.summary(found, "hasten, no coverage")
    print(f"\n{case.suite.name}, -n {workers}, {options.pairs} rounds")
    ab.print_table(table)
    RESULTS.parent.mkdir(exist_ok=True)
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write(
            json.dumps({"suite": case.suite.requirement, "workers": workers, "python": sys.version, "table": table})
            + "\n"
        )
    return True


VERBS = {"matrix": None, "compare": compare, "contexts": contexts, "time": timed}

if __name__ == "__main__":
    sys.exit(main())
