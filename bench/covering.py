#!/usr/bin/env python3
"""Coverage over the open corpus: hasten's beside coverage.py's own, what it says and what it costs.

    covering.py compare [NAMES] [-n 1,2,8] [--kill]   coverage's json report, lines and branches, beside its C tracer's
    covering.py contexts [NAMES] [-n 2]               lines of each test's phases, beside its C tracer's
    covering.py time [NAMES] [--pairs 5] [-n 2]       interleaved; appended to results/covering.jsonl

The corpus must have been prepared with hasten (`corpus.py prepare --hasten .`). coverage and pytest-cov are put beside
it, for these runs only.
"""

import argparse
import json
import os
import sqlite3
import sys
import tempfile

import ab
import measure
import runner
import suites

REQUIREMENTS = ("coverage==7.17.3", "pytest-cov==7.1.0", "slipcover==1.1.0")
PARTS = ("executed_lines", "missing_lines", "excluded_lines", "executed_branches", "missing_branches")
PACKAGES = {"starlette": "starlette", "sqlparse": "sqlparse", "jsonschema": "jsonschema", "beautifulsoup4": "bs4",
            "more_itertools": "more_itertools"}  # fmt: skip
KILLER = """import os, signal, pytest
ran = 0
@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item):
    global ran
    ran += 1
    if ran == 20 and os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
        os.kill(os.getpid(), signal.SIGKILL)
"""
BY_CONFIGURATION = ("pluggy", "flask")  # its warnings are errors, and a source beside its `include` is warned of
RESULTS = suites.HERE / "results" / "covering.jsonl"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("compare", "contexts", "time"))
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--cache", default=suites.DEFAULT_CACHE)
    parser.add_argument("-n", default="", help="numbers of workers, with commas")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--kill", action="store_true", help="a worker is killed at the end of its twentieth test")
    options = parser.parse_args()
    cache = suites.Cache(options.cache)
    libraries = cache.root / "coverage"
    with suites.Stamp(libraries, [*REQUIREMENTS, sys.version]) as stamp:
        if stamp.stale:
            suites.install_libraries(cache, libraries, REQUIREMENTS)
    (libraries / "kill_worker.py").write_text(KILLER)
    chosen = [
        suite for suite in suites.load(options.names) if options.names or (suite.timed and suite.name != "pytest")
    ]
    bad = [suite.name for suite in chosen if not VERBS[options.verb](Case(cache, suite, libraries), options)]
    if bad:
        print("different:", ", ".join(bad))
    return 1 if bad else 0


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
            env["COVERAGE_FILE"] = str(data)
            if core:
                env["COVERAGE_CORE"] = core
            runner.forget_state(self.cache, self.suite, history=False)
            argv += ["-p", "no:cacheprovider", *self.suite.args, *arguments, *self.suite.tests]
            return measure.run(argv, self.cache.source(self.suite), env, str(self.folder / "output"))

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


def varying(case, branch, reference):
    """What differs between runs of coverage.py itself: a second one, and others in other orders of the tests."""
    found = set()
    for order, seed in (("plain", 1), ("reverse", 1), ("shuffle", 1), ("shuffle", 2), ("shuffle", 3), ("shuffle", 4)):
        case.run(order, 1, case.covered(branch), "ctrace", "again", seed)
        found |= differences(reference, case.report("again"))
    return found


def compare(case, options):
    """Whether all reports are equal, but for what differs between runs of coverage.py itself."""
    good = True
    for branch in (False, True):
        found = case.run("plain", 1, case.covered(branch), "ctrace", "plain")
        reference = case.report("plain")
        n_lines = sum(len(file["executed_lines"]) for file in reference.values())
        for workers in [int(n) for n in (options.n or "1,2,8").split(",")]:
            killed = ["-p", "kill_worker"] if options.kill else []
            own = case.run("hasten", workers, [*case.covered(branch), *killed], name="hasten")
            differ = differences(reference, case.report("hasten"))
            known = differ & varying(case, branch, reference) if differ else set()
            good = good and differ == known
            print(
                f"{case.suite.name:15} {'branches' if branch else 'lines':8} -n {workers}  {len(reference)} files, "
                f"{n_lines} lines: {'same' if differ == known else 'DIFFERENT'}, {len(known)} by order of the tests  "
                f"(status {found.status} and {own.status})",
                *map(str, sorted(differ - known)[:10]), sep="\n    ", flush=True,
            )  # fmt: skip
    return good


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


VERBS = {"compare": compare, "contexts": contexts, "time": timed}

if __name__ == "__main__":
    sys.exit(main())
