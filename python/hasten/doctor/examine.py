"""The examination, step by step: what there is, what rules propose, what is measured, proved and fixed."""

from __future__ import annotations

import difflib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from hasten.doctor import fix
from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.measure import LEAST_PAIRS, Rounds, differing, judge
from hasten.doctor.report import Page, parts
from hasten.doctor.rules import RULES
from hasten.doctor.suite import Run, Suite, SuiteError, Variant
from hasten.isolate.hunt import Hunt
from hasten.isolate.lab import Lab, LabError

SHARE = 0.02  # of the whole time: less is not said
LEAST_S = 0.02
VICTIMS = 3  # order-dependent tests that are looked into


class Examination:
    def __init__(self, suite: Suite, workers: int, pairs: int, within_s: float, say: Callable[[str], None]) -> None:
        self.suite, self.workers, self.pairs, self.say = suite, workers, pairs, say
        self.start = time.monotonic()
        self.until = self.start + within_s
        self.unstable: set[str] = set()
        self.plain: dict[str, str] = {}
        self.reversed: dict[str, str] | None = None
        self.notes: list[Note] = []
        self.diff = ""

    # ---- what there is

    def look(self) -> Facts:
        self.say("running the suite as it is")
        first = self._whole()  # fills caches; its time does not count
        second = self._whole()
        self.plain = second.outcomes
        self.unstable = {line.rpartition(": ")[0] for line in differing(first.outcomes, second.outcomes, set())}
        if self.unstable:
            self.notes.append(Note("flaky", "equal runs end differently", sorted(self.unstable)[:5]))
        self.say("looking at one run from inside")
        seen = self.suite.run(observe=True)
        if "fixtures" not in seen.facts:
            raise SuiteError(f"the suite cannot be looked at: {seen.tail}")
        total = second.quiet_s
        floor = max(SHARE * total, LEAST_S)
        return Facts(
            seen.facts,
            {**second.facts["marks"], "ended": second.quiet_s},
            total,
            floor,
            self.suite.args,
            self.workers,
            self.plain,
            self._imports(),
        )

    def _whole(self) -> Run:
        run = self.suite.run()
        if run.status not in (0, 1) or not run.outcomes:
            raise SuiteError(f"pytest ended with status {run.status}: {run.tail}")
        return run

    def _imports(self) -> dict[str, Any]:
        self.say("measuring imports")
        command = [
            self.suite.program,
            "imports",
            "--python",
            sys.executable,
            "--collect",
            "--json",
            "--runs",
            "2",
            *self.suite.args,
        ]
        said = ""
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            found: dict[str, Any] = json.loads(done.stdout)
        except (OSError, ValueError) as exc:
            said = said or str(exc)
            self.notes.append(Note("imports", f"imports could not be measured: {said}"))
            return {}
        cpu = f"{found['cpu']:.2f} s of CPU time in the whole process"
        self.notes.append(Note("imports", f"imports take {cpu}; `hasten imports --collect` shows them"))
        return found

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
        rounds = Rounds(self.suite, facts.total_s, facts.floor_s, self.pairs, self.until, self.say)
        rounds.measure(candidates)
        if rounds.plain:
            facts.total_s = statistics.median(run.quiet_s for run in rounds.plain)
            for run in rounds.plain:
                self.unstable |= {line.rpartition(": ")[0] for line in differing(self.plain, run.outcomes, set())}
        for candidate in candidates:
            whole = self._whole_time(candidate, rounds, facts)
            candidate.saving.share = candidate.saving.seconds / whole
            if candidate.saving.seconds < max(SHARE * whole, LEAST_S):
                candidate.saving.sure = ""
            if candidate.saving.sure:
                self._prove(candidate, rounds)
        candidates.sort(key=lambda c: -c.saving.seconds)

    @staticmethod
    def _whole_time(candidate: Candidate, rounds: Rounds, facts: Facts) -> float:
        """Of a plain run, by the candidate's clock."""
        if candidate.clock == "quiet_s" or not rounds.plain:
            return facts.total_s
        return float(statistics.median(getattr(run, candidate.clock) for run in rounds.plain))

    def _prove(self, candidate: Candidate, rounds: Rounds) -> None:
        self.say(f"are the outcomes the same: {candidate.title}")
        run = rounds.last[candidate.key] if candidate.where == "run" else self.suite.run(candidate.variant)
        candidate.differences = self._differing(run.outcomes)
        if candidate.variant.runner == "run":  # how long its workers were idle
            candidate.details += [s.partition("; slowest")[0] for s in run.tail.split(" | ") if "workers, " in s]
        if candidate.variant.runner == "run" and candidate.differences:
            test = candidate.differences[0].rpartition(": ")[0]
            self.notes.append(
                Note("parallel", f"`hasten isolate {test} --journal` looks for what changes it in parallel")
            )
        if candidate.must_hold_reversed and not candidate.differences:
            variant = Variant(simulate={**candidate.variant.simulate, "order": "reversed"})
            other = self.suite.run(variant).outcomes
            candidate.differences = differing(self._in_reverse(), other, self.unstable)

    def _differing(self, outcomes: dict[str, str]) -> list[str]:
        if self.plain.keys() - outcomes.keys() == self.plain.keys():
            return ["no test was run"]
        return differing(self.plain, outcomes, self.unstable)

    def _in_reverse(self) -> dict[str, str]:
        if self.reversed is None:
            self.reversed = self.suite.run(Variant(simulate={"order": "reversed"})).outcomes
        return self.reversed

    # ---- order

    def orders(self) -> None:
        """Tests that end differently in another order, and which test does it to them."""
        self.say("the tests in reverse order")
        found: dict[str, list[str]] = {}  # the order in which it happened, by test
        shuffled = self.suite.run(Variant(simulate={"order": "shuffled"})).outcomes
        for outcomes in (self._in_reverse(), shuffled):
            for line in differing(self.plain, outcomes, self.unstable):
                found.setdefault(line.rpartition(": ")[0], list(outcomes))
        for test, order in list(found.items())[:VICTIMS]:
            self.notes.append(
                Note(f"order {test}", f"{test} depends on the order of tests", self._isolated(test, order))
            )
        if len(found) > VICTIMS:
            self.notes.append(Note("order", f"{len(found) - VICTIMS} more tests depend on the order", list(found)[3:8]))

    def _isolated(self, test: str, order: list[str]) -> list[str]:
        try:
            with Lab(self.suite.args, self.workers, 600.0) as lab:
                hunt = Hunt(lab, test, 2, False, self.say)
                hunt.find_target()
                answer = hunt.hunt(order, False)
        except LabError as exc:
            return [str(exc)]
        return [answer.verdict, *answer.culprits, f"hasten isolate {test} says more"]

    # ---- fixes

    def fix(self, facts: Facts, candidates: list[Candidate]) -> None:
        """One change at a time: kept when the outcomes are the same and time is saved."""
        before: dict[str, str] = {}
        for candidate in candidates:
            if not candidate.edits or not candidate.saving.sure or candidate.differences:
                continue
            try:
                self._fix(facts, candidate, before)
            except fix.FixError as exc:
                candidate.fixed = f"not made: {exc}"
        for path, old in before.items():
            name = os.path.relpath(path, facts.rootdir)
            new = fix.read(path)
            lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"a/{name}", f"b/{name}")
            self.diff += "".join(line if line.endswith("\n") else line + "\n" for line in lines)

    def _fix(self, facts: Facts, candidate: Candidate, before: dict[str, str]) -> None:
        (edit,) = candidate.edits
        path = fix.target(facts.rootdir, str(facts.seen["inipath"]), edit)
        old = fix.read(path)
        new = fix.edited(path, old, edit)
        before.setdefault(path, old)
        kept = False
        self.say(f"trying in {os.path.basename(path)}: {candidate.title}")
        try:
            fix.write(path, new)
            different = self._differing(self.suite.run().outcomes)
            if different:
                candidate.fixed = f"taken back: outcomes differ ({different[0]})"
                return
            saving = judge(self._pairs(path, old, new, candidate), facts.total_s)
            kept = saving.seconds > 0 and bool(saving.sure)
            how = f"{saving.seconds:.2f} s saved, {saving.sure or 'not above the noise'}"
            candidate.fixed = f"kept in {os.path.basename(path)}: {how}" if kept else f"taken back: {how}"
        finally:
            fix.write(path, new if kept else old)

    def _pairs(self, path: str, old: str, new: str, candidate: Candidate) -> list[float]:
        found = []
        for i in range(max(self.pairs, LEAST_PAIRS)):
            seconds = {}
            for text in (old, new) if i % 2 else (new, old):
                fix.write(path, text)
                run = self.suite.collect() if candidate.where == "collect" else self.suite.run()
                seconds[text] = getattr(run, candidate.clock)
            found.append(seconds[old] - seconds[new])
        return found

    def page(self, facts: Facts, candidates: list[Candidate]) -> Page:
        took = time.monotonic() - self.start
        rows = parts(facts)
        return Page(len(self.plain), facts.total_s, rows, candidates, self.notes, self.suite.n_runs, took, self.diff)
