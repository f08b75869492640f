"""How a suite of the corpus is run by each runner: the command, a clean environment, and where traces of a run go."""

import json
import os
import pathlib
import shutil
import tempfile

import measure
from peers import PEERS

RUNNERS = ("plain", "reverse", "shuffle", "xdist", "hasten")  # the names in PEERS are runners too
TIMEOUT_S = 1800.0


class Traces:
    """The files that one run leaves, and the folders whose names have to be taken out of its texts."""

    def __init__(self, cache, suite, name):
        folder = cache.folder(suite) / "runs"
        folder.mkdir(parents=True, exist_ok=True)
        self.record = folder / f"{name}.jsonl"
        self.junit = folder / f"{name}.xml"
        self.output = folder / f"{name}.out"
        self.kept = folder / f"{name}.json"
        self.tmp = None  # the run's folder for temporary files
        self.run = None  # its measure.Run

    def clear(self):
        for path in (self.record, self.junit, self.output, self.kept):
            path.unlink(missing_ok=True)

    def keep(self):
        """Writes down what restore() needs to read these traces later."""
        facts = {name: value for name, value in vars(self.run).items() if name != "cpu_s"}
        self.kept.write_text(json.dumps({"tmp": self.tmp, "run": facts}), encoding="utf-8")

    def restore(self):
        """Takes up the traces of an earlier run; returns whether there was one."""
        if not self.kept.exists():
            return False
        kept = json.loads(self.kept.read_text(encoding="utf-8"))
        self.tmp, self.run = kept["tmp"], measure.Run(**kept["run"])
        return True


def command(cache, suite, runner, workers):
    """The words that start the runner, without pytest's arguments."""
    if runner == "hasten":
        return [str(cache.environment(suite, "hasten") / "bin" / "hasten"), "run", "-n", str(workers)]
    if runner in PEERS:
        return PEERS[runner].command(cache.environment(suite, runner), workers)
    pytest = [str(cache.environment(suite, "plain") / "bin" / "pytest")]
    return pytest + (["-n", str(workers)] if runner == "xdist" else [])


def program(cache, suite, runner):
    """The path of the first of those words."""
    return pathlib.Path(command(cache, suite, runner, 1)[0])


def environment(cache, suite, runner, tmp, seed):
    """A suite's own clean environment: nothing of the caller's but what is meant for hasten."""
    kind = runner if runner in ("hasten", *PEERS) else "plain"
    home = cache.folder(suite) / "home"
    home.mkdir(parents=True, exist_ok=True)
    python_path = [cache.source(suite) / suite.src]
    if runner == "xdist" and "pytest-xdist" not in suite.deps:
        python_path.append(cache.xdist)
    python_path.append(cache.recorder)
    env = {name: value for name, value in os.environ.items() if name.startswith("HASTEN_")}
    env |= {
        "PATH": f"{cache.environment(suite, kind)}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TMPDIR": str(tmp),
        "PYTHONPATH": ":".join(str(pathlib.Path(path).resolve()) for path in python_path),
        # Sets of strings in parameters and in texts: their order would differ between any two runs.
        "PYTHONHASHSEED": "0",
    }
    if runner == "hasten":
        env["HASTEN_TEST_SEED"] = str(seed)
    if runner in ("reverse", "shuffle"):
        env["HASTEN_BENCH_ORDER"] = runner if runner == "reverse" else f"shuffle:{seed}"
    return env


def run(cache, suite, runner, workers, seed=1, how="record", traces=None, memory=False, extra=(), limit_s=TIMEOUT_S):
    """Runs the suite once, limit_s at most.

    how: `record` (recorder and JUnit file), `report` (the suite's -rA and a JUnit file) or `only` (nothing added).
    """
    tmp = tempfile.mkdtemp(prefix="hb-")
    env = environment(cache, suite, runner, tmp, seed)
    argv = command(cache, suite, runner, workers)
    if how == "record" or "HASTEN_BENCH_ORDER" in env:
        argv += ["-p", "recorder"]
    if how == "record":
        env["HASTEN_BENCH_RECORD"] = str(traces.record)
    if how == "report":
        argv.append(suite.report)
    if how != "only":
        argv.append(f"--junitxml={traces.junit}")
    if traces:
        traces.clear()
        traces.tmp = tmp
    forget_state(cache, suite, history=runner == "hasten" and seed == 1 and how == "record")
    output = str(traces.output) if traces else None
    try:
        argv += [*suite.args, *extra, *suite.tests]
        found = measure.run(argv, cache.source(suite), env, output, memory, limit_s)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    if traces:
        traces.run = found
    return found


def forget_state(cache, suite, history):
    """Removes what an earlier run left for a later one; hasten's history only where a first run is wanted."""
    for name in [".pytest_cache", ".hypothesis", *([".hasten"] if history else [])]:
        shutil.rmtree(cache.source(suite) / name, ignore_errors=True)
