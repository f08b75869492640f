"""Times one suite under several runners, interleaved; each run is written down at once, so that a killed measurement
goes on where it stopped. A runner that counts other outcomes than plain pytest is not timed: its row says what differs.
"""

import json
import pathlib
import re
import subprocess

import ab
import compare
import measure
import runner
import suites
from peers import PEERS

PATIENCE = 5.0  # a peer gets this many times what plain pytest took, at its slowest, ...
PATIENCE_S = 60.0  # ... and this at least: other load comes and goes
NOT_COMPARED = ("deselected", "warning", "warnings")  # xdist's reporting process is not told of all of them


class Log:
    """Runs that were made already, in a file of one JSON line each. key: what a run must have in common to count."""

    def __init__(self, path, key, resume):
        self.path, self.key, self.known = path, key, {}
        if not resume:
            path.unlink(missing_ok=True)
        elif path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                if entry["key"] == key:
                    self.known[entry["what"]] = entry

    def once(self, what, function):
        """What function() returns, a Run and its counts; or what it returned in an earlier, interrupted measurement."""
        if what not in self.known:
            found, counts = function()
            run = {name: value for name, value in vars(found).items() if name != "cpu_s"}
            self.known[what] = {"key": self.key, "what": what, "run": run, "counts": counts}
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(self.known[what]) + "\n")
        return measure.Run(**self.known[what]["run"]), self.known[what]["counts"]


class Timing:
    """One suite's measurement. options: workers, pairs, peer_pairs, memory (bool), resume (bool).

    A name is a runner's, or `runner:N` for N workers instead of options.workers.
    """

    def __init__(self, cache, suite, names, options):
        self.cache, self.suite, self.options = cache, suite, options
        self.names = [name for name in names if suite.peers or _runner(name) not in PEERS]
        self.reference = self.names[0]
        self.counts, self.says, self.slowest_s = {}, {}, 0.0
        self.notes, self.known = {}, compare.Known(suites.HERE / "known_differences.toml")
        self.processes = {}  # of each runner's run with memory sampled: measure.Run.processes
        key = {"workers": options.workers, "hasten": _digest(cache, suite), "suite": suite.version}
        self.log = Log(cache.folder(suite) / "runs" / f"timing-{options.workers}.jsonl", key, options.resume)

    def measure(self):
        """Returns a row for each runner: medians and ratios, or `says` with what its run says instead."""
        good = [name for name in self.names if self._try(name)]
        found = {name: [] for name in good}
        for number in range(self.options.pairs):
            turn = number % max(1, len(good))
            for name in good[turn:] + good[:turn]:
                if _runner(name) not in PEERS or (number < self.options.peer_pairs and name not in self.says):
                    found[name].append(self._once(name, f"round {number}"))
        table = ab.summary(found, self.reference)
        for name in good:
            if self.options.memory:
                run = self._once(name, "memory", memory=True)
                table[name]["pss_bytes"], self.processes[name] = run.pss_bytes, run.processes
        for name in set(self.says) & set(table):
            del table[name]
        for name in set(self.notes) & set(table):
            table[name]["note"] = self.notes[name]
        return table | {name: {"says": said} for name, said in self.says.items()}

    def _try(self, name):
        """The unmeasured run that warms caches; whether it says what the reference says."""
        if not runner.program(self.cache, self.suite, _runner(name)).exists():
            self.says[name] = "not prepared"
            return False
        self._once(name, "warm")
        return name not in self.says

    def _once(self, name, what, memory=False):
        found, counts = self.log.once(f"{name} {what}", lambda: self._run(name, memory))
        self.counts.setdefault(name, counts)
        self._judge(name, found, counts)
        if name == self.reference:
            self.slowest_s = max(self.slowest_s, found.wall_s)
        return found

    def _run(self, name, memory):
        traces = runner.Traces(self.cache, self.suite, f"{name}-time")
        workers = int(name.partition(":")[2] or self.options.workers)
        limit_s = max(PATIENCE_S, PATIENCE * self.slowest_s) if _runner(name) in PEERS else runner.TIMEOUT_S
        how = {"how": "only", "traces": traces, "memory": memory, "limit_s": limit_s}
        found = runner.run(self.cache, self.suite, _runner(name), workers, **how)
        traces.keep()
        counts = last_line(traces.output.read_text(encoding="utf-8", errors="replace"))
        return found, counts | {"exit": found.status}

    def _judge(self, name, found, counts):
        """Notes in what a run differs from the reference's first one."""
        want, have = _comparable(self.counts[self.reference]), _comparable(counts)
        if found.timed_out:
            self.says[name] = f"killed after {found.wall_s:.0f} s, {self.reference} took {self.slowest_s:.0f}"
        elif want != have and self._known(name, want, have):
            self.notes[name] = f"says {have}; known: see known_differences.toml"
        elif want != have:
            both = sorted(set(want) | set(have))
            parts = [f"{have.get(n, 0)} {n} ({want.get(n, 0)})" for n in both if have.get(n, 0) != want.get(n, 0)]
            self.says[name] = ", ".join(parts) + f"; in brackets {self.reference}'s"

    def _known(self, name, want, have):
        """The same number of tests, in a suite of which some are known to end otherwise in another order."""
        numbers = [sum(count for what, count in counts.items() if what != "exit") for counts in (want, have)]
        return numbers[0] == numbers[1] and self.known.may_fail(self.suite.name, _runner(name))


def _runner(name):
    return name.partition(":")[0]


def _comparable(counts):
    return {name: count for name, count in counts.items() if name not in NOT_COMPARED}


def last_line(output):
    """What the last line of pytest's summary counts: {"passed": 3}; empty when there is none."""
    for line in reversed(output.splitlines()):
        counts = {
            what.rstrip("s") if what.startswith(("error", "warning")) else what: int(count)
            for count, what in re.findall(r"(\d+) ([a-z ]+?)(?=,| in )", line)
        }
        if counts and " in " in line:
            return counts
    return {}


def print_table(table):
    """The rows that have figures, then what the others say."""
    ab.print_table({name: row for name, row in table.items() if "says" not in row})
    for name, row in table.items():
        if "says" in row:
            print(f"  {name}: no figures: {row['says']}")
        elif "note" in row:
            print(f"  {name}: {row['note']}")


def means(tables, names, reference):
    """Lines with each runner's geometric means over the suites in which it and the reference have figures."""
    lines = []
    for name in names:
        pairs = [
            (t[name], t[reference])
            for t in tables
            if all("says" not in t.get(n, {"says": ""}) for n in (name, reference))
        ]
        if name != reference and pairs:
            wall, cpu = (ab.geometric_mean([_ratio(a, b, what) for a, b in pairs]) for what in ("wall_s", "cpu_s"))
            lines.append(f"{name}: {wall:.2f} of {reference}'s wall time, {cpu:.2f} of its CPU ({len(pairs)} suites)")
    return lines


def _ratio(row, base, what):
    """The median of the ratios within each round that both took part in."""
    ratios = sorted(a / max(b, 1e-9) for a, b in zip(row[what + "_all"], base[what + "_all"], strict=False))
    middle = len(ratios) // 2
    return ratios[middle] if len(ratios) % 2 else (ratios[middle - 1] + ratios[middle]) / 2


def versions(cache, suite):
    """Of Python and of what is installed for each runner, and hasten's own commit."""
    code = (
        "import importlib.metadata as m, json, sys\n"
        "names = {d.name.lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({'python': sys.version.split()[0],"
        " **{n: names[n] for n in ('pytest', 'pluggy', 'pytest-xdist', 'hasten') if n in names}}))"
    )
    env = {"PYTHONPATH": str(cache.xdist)}
    python = cache.python(suite, "hasten")
    found = json.loads(subprocess.run([python, "-c", code], env=env, check=True, capture_output=True).stdout)
    here = pathlib.Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True)
    return found | {"commit": commit.stdout.strip()}


def add_options(verb, names):
    """Options of every measurement; settle() makes the rest of them."""
    verb.add_argument("-n", type=int, default=2, dest="workers")
    verb.add_argument("--pairs", type=int, help="interleaved rounds (5; 3 with --quick)")
    verb.add_argument("--peer-pairs", type=int, help="rounds in which peers take part (as --pairs; 1 with --quick)")
    verb.add_argument(
        "--with", default=names, dest="others", help="runners; the first is what others are compared with"
    )
    verb.add_argument("--quick", action="store_true", help="fewer rounds")
    verb.add_argument("--no-memory", action="store_false", dest="memory", help="no extra runs that sample memory")
    verb.add_argument("--resume", action="store_true", help="take over the runs of an interrupted measurement")
    verb.add_argument("--no-save", action="store_true", help="do not append to results/")


def settle(options):
    options.pairs = options.pairs or (3 if options.quick else 5)
    options.peer_pairs = options.peer_pairs or (1 if options.quick else options.pairs)
    options.names_of_runners = options.others.split(",")


def _digest(cache, suite):
    marker = cache.environment(suite, "hasten") / "hasten.sha256"
    return marker.read_text(encoding="utf-8")[:16] if marker.exists() else ""
