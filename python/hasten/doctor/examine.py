"""The examination, step by step: what there is, what rules propose, what is measured, proved and fixed."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hasten.doctor import fix, interpreters, part, same_lines
from hasten.doctor.advice import Candidate, Facts, Note, Saving, weight
from hasten.doctor.conditions import Conditions
from hasten.doctor.measure import LEAST_PAIRS, Rounds, differing, is_open, judge, volatile
from hasten.doctor.report import Page, parts
from hasten.doctor.rules import RULES, tests
from hasten.doctor.suite import GRACE_S, Run, Suite, SuiteError, Variant

SHARE = 0.02  # of the whole time: less is not said
LEAST_S = 0.02
# Shares of the time that the doctor has.
FIRST = 0.25  # the first run; a suite that needs longer is known by a part of it
LOOK = 0.25  # the run that is looked at, of such a suite
ROUNDS = 0.75  # of what is left then: pairs of runs
SHORT = 12  # runs that must fit for a suite to be run as often as one likes


@dataclasses.dataclass
class Extras:
    """What else is looked at."""

    lines: bool = False
    interpreters: list[str] | None = None  # those to try; None: those that are found
    no_interpreters: bool = True


def _n_runs(candidates: Sequence[Candidate]) -> float:
    """Two rounds of all, a third one of half of them, and one run for a look."""
    n = len(candidates)
    return 1 + 2 * (1 + n) + (1 + n / 2) + sum(candidate.warm for candidate in candidates)


class Examination:
    def __init__(
        self,
        suite: Suite,
        workers: int,
        pairs: int,
        within_s: float,
        say: Callable[[str], None],
        extras: Extras | None = None,
    ) -> None:
        self.suite, self.workers, self.pairs, self.say = suite, workers, pairs, say
        self.extras = extras or Extras()
        self.start = time.monotonic()
        self.within_s = within_s
        self.until = suite.until = self.start + within_s
        suite.grace_s = min(GRACE_S, max(2.0, 0.5 * within_s))
        self.unstable: set[str] = set()
        self.plain: dict[str, str] = {}
        self.collected: dict[str, str] = {}
        self.reversed: dict[str, str] | None = None
        self.notes: list[Note] = []
        self.diff = ""
        self.whole_s = 0.0  # wall time of one run of the whole suite; inf: it was never run as a whole
        self.busy = 1.0  # wall time for each second of CPU time: others use the machine, too
        self.left_out: list[Candidate] = []  # for which there is no time
        self.scales: dict[str, float] = {}

    def left(self) -> float:
        return self.until - time.monotonic()

    # ---- what there is

    def look(self) -> Facts:
        self.say("running the suite as it is")
        first = self._whole(self.start + FIRST * self.within_s)  # fills caches; its time does not count
        self.whole_s = math.inf if first.stopped else first.wall_s
        asleep = max(first.quiet_s - first.cpu_s, 0.0)
        self.busy = max(1.0, (first.wall_s - asleep) / first.cpu_s) if first.cpu_s else 1.0
        second = self._whole(self.until) if self.whole_s * SHORT <= self.left() else first
        self.plain = dict(second.outcomes)
        self._find_unstable(first.outcomes, second.outcomes)
        seen = self._seen(first.stopped)
        facts = self._facts(second, seen)
        facts.imports = self._imports(facts)
        facts.interpreters = self._interpreters(facts)
        facts.failed_before, known = same_lines.failures(facts.rootdir)
        self._same_lines(facts, known)
        self._splits(facts)
        return facts

    def _find_unstable(self, one: dict[str, str], other: dict[str, str]) -> None:
        both = one.keys() & other.keys() if self.whole_s == math.inf else one.keys() | other.keys()
        lines = differing({t: one[t] for t in both if t in one}, {t: other[t] for t in both if t in other}, set())
        found = {line.rpartition(": ")[0] for line in lines} - self.unstable
        self.unstable |= found
        if self.whole_s != math.inf:
            self.unstable |= volatile(one, other)
        self.notes = [note for note in self.notes if note.key != "flaky"]
        if self.unstable:
            self.notes.append(
                Note("flaky", "equal runs end differently", sorted(t for t in self.unstable if t[-1] != "[")[:5])
            )

    def _whole(self, stop_at: float) -> Run:
        run = self.suite.run(stop_at=stop_at)
        if not run.outcomes or not (run.status in (0, 1) or run.stopped):
            if run.stopped:
                raise SuiteError("a run could not be ended in time: a test hangs, or --within is too short for it")
            raise SuiteError(f"pytest ended with status {run.status}: {run.tail}")
        return run

    def _seen(self, is_long: bool) -> Run:
        self.say("looking at one run from inside")
        variant = Variant(simulate={"order": "files"}) if is_long else Variant()
        stop_at = time.monotonic() + LOOK * self.within_s if is_long else self.until
        seen = self.suite.run(variant, observe=True, stop_at=stop_at)
        if "fixtures" not in seen.facts:
            why = "it did not end in time" if seen.stopped else seen.tail
            raise SuiteError(f"the suite cannot be looked at: {why}")
        self._find_unstable(self.plain, seen.outcomes if is_long else self.plain)
        self.plain |= {test: word for test, word in seen.outcomes.items() if test not in self.plain}
        return seen

    def _facts(self, plain: Run, seen: Run) -> Facts:
        marks, total, spread = {**plain.facts["marks"], "ended": plain.quiet_s}, plain.quiet_s, 0.0
        n_tests = n_seen = len(seen.facts["tests"])
        if self.whole_s == math.inf or seen.stopped:
            n_tests = seen.facts["n_items"]
            in_tests, spread = part.estimated(seen.facts, n_tests)
            marks = dict(seen.facts["marks"])
            after = max(seen.quiet_s - marks["ran"], 0.0)
            marks["ran"] = marks["collected"] + in_tests
            marks["ended"] = total = marks["ran"] + after
        floor = max(SHARE * total, LEAST_S) * (n_seen / n_tests if n_tests else 1.0)
        facts = Facts(seen.facts, marks, total, floor, self.suite.args, self.workers, self.plain)
        facts.n_tests, facts.n_seen, facts.total_spread_s = n_tests, n_seen, spread
        return facts

    def _has_time(self, seconds: float, what: str) -> bool:
        if seconds <= self.left():
            return True
        self.notes.append(Note(f"time {what}", f"{what}: not looked at, --within leaves no time for it"))
        return False

    def _imports(self, facts: Facts) -> dict[str, Any]:
        if not self._has_time(25 * facts.marks["collected"] * self.busy, "imports"):
            return {}
        self.say("measuring imports")
        options = ["--python", sys.executable, "--collect", "--json", "--runs", "2"]
        said = ""
        try:
            done = subprocess.run(
                [self.suite.program, "imports", *options, *self.suite.args],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            found: dict[str, Any] = json.loads(done.stdout)
        except (OSError, ValueError) as exc:
            said = said or str(exc)
            self.notes.append(Note("imports", f"imports could not be measured: {said}"))
            return {}
        cpu = f"{found['cpu']:.2f} s of CPU time in the whole process"
        self.notes.append(Note("imports", f"imports take {cpu}; `hasten imports --collect` shows them"))
        return found

    def _interpreters(self, facts: Facts) -> list[interpreters.Found]:
        if self.extras.no_interpreters:
            return []
        names = facts.seen["libraries"]
        if self.extras.interpreters:
            found, wrong = interpreters.given(self.extras.interpreters, names)
            if wrong:
                raise SuiteError(f"--interpreter: '{wrong[0]}' is no CPython 3.11 or later")
            return found
        return interpreters.newer(facts.rootdir, names)

    def _same_lines(self, facts: Facts, known: int) -> None:
        if not self.extras.lines or not self._has_time(6 * self.whole_s, "tests that run the same lines"):
            return
        self.say("which tests run the same lines")
        path, why = same_lines.measured(self.suite, facts.rootdir)
        if not path:
            self.notes.append(Note("same lines", f"tests that run the same lines were not looked for: {why}"))
            return
        tests_own = {*facts.seen["files"], *(f for f in facts.seen["modules"].values() if f.endswith("conftest.py"))}
        facts.same_lines = same_lines.groups(same_lines.by_test(path, tests_own), list(self.plain))
        if facts.same_lines and not known:
            self.notes.append(Note("history", "no history: which tests have ever failed is known after `hasten run`"))

    def _splits(self, facts: Facts) -> None:
        """Where tests that are too long for one worker could be cut."""
        found = tests.long(facts)
        if not found or sys.version_info < (3, 12):
            return
        path = os.path.join(self.suite.folder.name, "lines.json")
        long = {test: facts.seen["tests"][test] for test in found}
        again = part.chosen(dataclasses.replace(facts, seen={**facts.seen, "tests": long}), [], math.inf)
        seconds = sum(map(sum, long.values())) + facts.marks["collected"]
        if not self._has_time(3 * seconds, "where long tests can be split"):
            return
        self.say("where long tests can be split")
        self.suite.part = again
        try:
            self.suite.run(Variant(simulate={"lines": {"tests": found, "out": path}}))
        finally:
            self.suite.part = None
        facts.splits = tests.splits(path)

    # ---- what is proposed, and whether it is so

    def propose(self, facts: Facts) -> list[Candidate]:
        candidates = []
        for _family, find in RULES:
            for found in find(facts):
                if isinstance(found, Candidate):
                    candidates.append(found)
                else:
                    self.notes.append(found)
        return candidates

    def measure(self, facts: Facts, candidates: list[Candidate]) -> None:
        self._narrow(facts, candidates)
        until = time.monotonic() + ROUNDS * self.left()
        rounds = Rounds(
            self.suite, facts.total_s, facts.floor_s * facts.scale, self.pairs, until, self.say, self.scales
        )
        rounds.measure([c for c in candidates if c.where != "seen" and c not in self.left_out])
        self.collected = rounds.collected
        if rounds.plain and self.suite.part is None:
            facts.total_s = statistics.median(run.quiet_s for run in rounds.plain)
        for run in rounds.plain:
            same = self.plain if self.suite.part is None else {t: w for t, w in self.plain.items() if t in run.outcomes}
            self._find_unstable(same, run.outcomes)
        self._measure_seen(facts, [c for c in candidates if c.where == "seen"])
        for candidate in candidates:
            self._weigh(facts, candidate, rounds)
            if candidate.saving.sure and candidate.where != "seen":
                self._prove(candidate, rounds)
        if rounds.untried or self.left_out:
            titles = [self._untried(facts, candidate) for candidate in (*rounds.untried, *self.left_out)]
            self.notes.append(Note("time", "there was no time to say something about", titles))
        candidates.sort(key=lambda c: -c.saving.seconds)

    def _untried(self, facts: Facts, candidate: Candidate) -> str:
        """What is known of it all the same."""
        if candidate.weight[0] not in ("sleep", "again", "fixture", "gc"):
            return candidate.title
        return f"{candidate.title}: it cannot save more than about {self._most(facts, candidate):.1f} s"

    @staticmethod
    def _most(facts: Facts, candidate: Candidate) -> float:
        """Seconds that can be saved at most, where that is known; a tenth of all elsewhere."""
        known = candidate.weight[0] in ("sleep", "again", "fixture", "gc", "some tests")
        return weight(facts.seen, candidate.weight) * facts.scale if known else facts.total_s / 10

    def _affordable(self, facts: Facts, candidates: list[Candidate], each: float, left: float) -> list[Candidate]:
        """Those that promise most, if not all can be tried in the seconds that are left; each: one run's."""
        n = int(left / (LEAST_PAIRS * each)) - 1
        if n >= len(candidates):
            return candidates
        ranked = sorted(candidates, key=lambda candidate: -self._most(facts, candidate))
        self.left_out += ranked[max(n, 1) :]
        return ranked[: max(n, 1)]

    def _narrow(self, facts: Facts, candidates: Sequence[Candidate]) -> None:
        """Where not all can be run often enough in the time that is left: a part of it is."""
        early = [c for c in candidates if c.where == "collect"]
        runs = [c for c in candidates if c.where == "run"]
        left = ROUNDS * self.left()
        collecting = facts.marks["collected"] * self.busy
        early = self._affordable(facts, early, collecting, left / 2) if early else []
        left -= LEAST_PAIRS * (len(early) + 1) * collecting if early else 0.0
        if not runs or self.whole_s * _n_runs(runs) <= left:
            return
        start = (facts.marks["configured"] + LEAST_S) * self.busy
        runs = self._affordable(facts, runs, 2 * start, left)
        each = (left / _n_runs(runs) - start) / self.busy
        self.suite.part = part.chosen(facts, runs, max(each * 0.8, 0.0))
        self.say("looking at a part of the suite")
        seen = self.suite.run(observe=True)
        if "fixtures" not in seen.facts or seen.stopped:
            self.until = time.monotonic()  # there was no time for a part of it: what is known is all there will be
            return
        for candidate in candidates:
            if candidate.where == "run":
                self.scales[candidate.key] = part.scale(candidate, facts, seen.facts)
        n = len(self.suite.part.ids)
        self.notes.append(
            Note("part", f"changes were tried on {n} of {facts.n_tests} tests, and stand for all of them")
        )

    def _measure_seen(self, facts: Facts, candidates: list[Candidate]) -> None:
        """What watched runs tell by themselves. Several of them where there is time."""
        values = {c.key: [weight(facts.seen, c.weight) * facts.scale] for c in candidates}
        if not any(value >= max(SHARE * facts.total_s, LEAST_S) for (value,) in values.values()):
            return
        while len(values[candidates[0].key]) < LEAST_PAIRS and self.whole_s * 2 < self.left():
            self.say("looking once more from inside")
            seen = self.suite.run(observe=True, whole=True)
            if "fixtures" not in seen.facts or seen.stopped:
                break
            for candidate in candidates:
                values[candidate.key].append(weight(seen.facts, candidate.weight))
        for candidate in candidates:
            found = values[candidate.key]
            candidate.saving = judge(found, facts.total_s)
            if len(found) < LEAST_PAIRS:
                candidate.saving = Saving(statistics.median(found), max(found) - min(found), len(found), "likely")
            candidate.saving.scale = facts.scale

    def _weigh(self, facts: Facts, candidate: Candidate, rounds: Rounds) -> None:
        """From what was measured to what the whole suite would save; nothing below the threshold is sure."""
        saving = candidate.saving
        if candidate.key in self.scales:
            saving.scale = self.scales[candidate.key]
            saving.seconds *= saving.scale
            saving.spread *= saving.scale
        if saving.scale != 1.0 and facts.total_s:
            saving.spread = math.hypot(saving.spread, saving.seconds * facts.total_spread_s / facts.total_s)
        whole = facts.total_s
        if candidate.clock in ("wall_s", "cpu_s") and rounds.plain:  # of a plain run, by the candidate's clock
            clocks = [getattr(run, candidate.clock) / run.quiet_s for run in rounds.plain if run.quiet_s]
            whole *= statistics.median(clocks)
        saving.share = saving.seconds / whole if whole else 0.0
        if saving.seconds < max(SHARE * whole, LEAST_S):
            saving.sure = ""

    def _prove(self, candidate: Candidate, rounds: Rounds) -> None:
        self.say(f"are the outcomes the same: {candidate.title}")
        if candidate.where == "run":
            run = rounds.last[candidate.key]
        else:
            run = self.suite.run(candidate.variant)
        candidate.differences = self._differing(run.outcomes, candidate.left_out)
        if candidate.where == "collect" and self.suite.part is not None:
            found = rounds.last[candidate.key].outcomes
            candidate.differences = candidate.differences or differing(self.collected, found, set())
        if candidate.variant.runner == "run":  # how long its workers were idle
            candidate.details += [s.partition("; slowest")[0] for s in run.tail.split(" | ") if "workers, " in s]
        if candidate.variant.python and run.facts.get("gil") and candidate.title.partition(" runs")[0].endswith("t"):
            candidate.details.append("the GIL was on again: an extension module needs it")
        if candidate.variant.runner == "run" and candidate.differences:
            test = candidate.differences[0].rpartition(": ")[0]
            self.notes.append(
                Note("parallel", f"`hasten isolate {test} --journal` looks for what changes it in parallel")
            )
        if candidate.must_hold_reversed and not candidate.differences:
            variant = Variant(simulate={**candidate.variant.simulate, "order": "reversed"})
            other = self.suite.run(variant).outcomes
            candidate.differences = differing(self._in_reverse(), other, self.unstable)

    def _differing(self, outcomes: dict[str, str], left_out: Sequence[str] = ()) -> list[str]:
        plain = self.plain
        if self.suite.part is not None:
            only = set(self.suite.part.ids)
            plain = {test: word for test, word in plain.items() if test in only}
        if not plain.keys() & outcomes.keys():
            return ["no test was run"]
        return differing(plain, outcomes, self.unstable | set(left_out))

    def _in_reverse(self) -> dict[str, str]:
        if self.reversed is None:
            self.reversed = self.suite.run(Variant(simulate={"order": "reversed"})).outcomes
        return self.reversed

    # ---- order

    def orders(self) -> None:
        """Tests that end differently in another order or with other hash seeds, and which test does it to them."""
        if self.suite.part is not None or not self._has_time(3 * self.whole_s, "other orders of the tests"):
            return
        conditions = Conditions(self.suite, self.workers, self.plain, self.unstable, self._in_reverse, self.say)
        self.notes += conditions.orders()
        if self._has_time(10 * self.whole_s, "other hash seeds"):
            self.notes += conditions.seeds()

    # ---- fixes

    def fix(self, facts: Facts, candidates: list[Candidate]) -> None:
        """One change at a time: kept when the outcomes are the same and time is saved."""
        before: dict[str, str] = {}
        todo = sorted((c for c in candidates if c.edits and not c.differences), key=lambda c: -c.saving.seconds)
        self._fix_all(facts, [c for c in todo if c.saving.sure], before)
        again = [c for c in todo if not c.fixed.startswith("kept") and not c.differences]
        if len(again) < len(todo):  # the suite is faster by now, and what was below its noise may be above it
            self._fix_all(facts, again, before)
            self._together(before, facts)
        candidates.sort(key=lambda c: -c.saving.seconds)
        for path, old in before.items():
            name = os.path.relpath(path, facts.rootdir)
            new = fix.read(path)
            lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"a/{name}", f"b/{name}")
            self.diff += "".join(line if line.endswith("\n") else line + "\n" for line in lines)

    def _fix_all(self, facts: Facts, candidates: Sequence[Candidate], before: dict[str, str]) -> None:
        for candidate in candidates:
            try:
                self._fix(facts, candidate, before)
            except fix.FixError as exc:
                candidate.fixed = f"not made: {exc}"

    def _together(self, before: dict[str, str], facts: Facts) -> None:
        """What all that was kept saves, by runs of their own: each alone may have saved the same time."""
        after = {path: fix.read(path) for path in before}
        if before == after or 2 * LEAST_PAIRS * self.whole_s > self.left():
            return
        self.say("what was kept, together")
        try:
            saving = judge(self._pairs(before, after, Candidate("together", "", "")), facts.total_s)
        finally:
            self._write(after)
        if saving.n:
            text = f"what was kept saves {saving.seconds:.2f} s +-{saving.spread:.2f} together"
            self.notes.append(Note("together", f"{text}: {saving.sure or 'not above the noise'}"))

    def _fix(self, facts: Facts, candidate: Candidate, before: dict[str, str]) -> None:
        (edit,) = candidate.edits
        if self.whole_s * 1.5 > self.left():
            raise fix.FixError("--within leaves no time for a whole run, which has to end as before")
        path = fix.target(facts.rootdir, str(facts.seen["inipath"]), edit)
        old = fix.read(path)
        new = fix.edited(path, old, edit)
        before.setdefault(path, old)
        kept = False
        self.say(f"trying in {os.path.basename(path)}: {candidate.title}")
        try:
            fix.write(path, new)
            different = differing(self.plain, self.suite.run(whole=True).outcomes, self.unstable)
            if different:
                candidate.fixed = f"taken back: outcomes differ ({different[0]})"
                candidate.differences = different
                return
            saving = judge(self._pairs({path: old}, {path: new}, candidate), facts.total_s)
            kept = saving.seconds > 0 and bool(saving.sure)
            if kept and not candidate.saving.sure:  # on the suite as it was, it was below the noise
                candidate.saving = saving
            how = f"{saving.seconds:.2f} s saved, {saving.sure or 'not above the noise'}"
            candidate.fixed = f"kept in {os.path.basename(path)}: {how}" if kept else f"taken back: {how}"
        finally:
            fix.write(path, new if kept else old)

    @staticmethod
    def _write(texts: Mapping[str, str]) -> None:
        for path, text in texts.items():
            fix.write(path, text)

    def _pairs(self, old: Mapping[str, str], new: Mapping[str, str], candidate: Candidate) -> list[float]:
        """Seconds that the new files save. Twice and four times as many pairs where the first leave it open."""
        found: list[float] = []
        least, until = max(self.pairs, LEAST_PAIRS), time.monotonic() + self.left() / 2
        for most in (least, 2 * least, 4 * least):
            while len(found) < most and (len(found) < least or time.monotonic() < until):
                seconds = []
                for texts in (old, new) if len(found) % 2 else (new, old):
                    self._write(texts)
                    run = self.suite.collect() if candidate.where == "collect" else self.suite.run()
                    if run.stopped:
                        return found
                    seconds.append(getattr(run, candidate.clock))
                found.append((seconds[0] - seconds[1]) * (1 if len(found) % 2 else -1))
            if not is_open(found):
                break
        return found

    def page(self, facts: Facts, candidates: list[Candidate]) -> Page:
        took = time.monotonic() - self.start
        rows = parts(facts, candidates)
        n, spread = facts.n_tests or len(self.plain), facts.total_spread_s
        return Page(n, facts.total_s, rows, candidates, self.notes, self.suite.n_runs, took, self.diff, spread)
