"""The hunt: is a test's outcome its own, and if not, which tests make it."""

from __future__ import annotations

import dataclasses
import difflib
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from hasten.isolate.lab import NOT_RUN, Lab, LabError, Outcome, Result
from hasten.isolate.search import smallest

FOUND, INDEPENDENT, INTERRUPTED, INTERNAL, USAGE, FLAKY, OUTLIVES = range(7)


@dataclasses.dataclass
class Answer:
    """What is told."""

    test: str
    status: int = INTERNAL
    verdict: str = ""  # one sentence
    alone: list[Outcome] = dataclasses.field(default_factory=list)
    after: list[Outcome] = dataclasses.field(default_factory=list)
    n_before: int = 0
    culprits: list[str] = dataclasses.field(default_factory=list)  # in the order in which they have to run
    files: list[str] = dataclasses.field(default_factory=list)  # whose import does it
    left: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    command: list[str] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    n_probes: int = 0
    seconds: float = 0.0


class Hunt:
    def __init__(self, lab: Lab, test: str, tries: int, fresh: bool, say: Callable[[str], None]) -> None:
        self.lab, self.tries, self.say = lab, tries, say
        self.is_fresh = fresh
        self.answer = Answer(test)
        self.target = -1
        self.known: dict[tuple[int, ...], Outcome] = {}
        self.bad: set[int] = set()  # tests that end the process before the target has its turn

    # ---- runs

    def run(self, orders: Sequence[tuple[int, ...]], enough: Any = None, watch: Sequence[int] = ()) -> list[Any]:
        """Results of the orders, each with the target behind it."""
        whole = [(*order, self.target) for order in orders]
        if not self.is_fresh or watch:
            return self.lab.forks(whole, enough, watch)
        done: list[bool] = []

        def job(order: tuple[int, ...]) -> Result | None:
            if done:
                return None
            result = self.lab.fresh([self.lab.ids[i] for i in order])
            if enough is not None and enough(result):
                done.append(True)
            return result

        return self.lab.side_by_side([lambda order=order: job(order) for order in whole])

    def tried(self, order: tuple[int, ...], n: int) -> list[Outcome]:
        return [result.of(self.target) for result in self.run([order] * n)]

    def alone_fresh(self, n: int) -> list[Outcome]:
        test = self.lab.ids[self.target]
        jobs = [lambda: self.lab.fresh([test], [self._path(test)])] * n
        return [result.of(self.target) for result in self.lab.side_by_side(jobs)]

    def _path(self, nodeid: str) -> str:
        """A node id as an argument: relative to the current folder."""
        file, sep, rest = nodeid.partition("::")
        return os.path.relpath(os.path.join(self.lab.rootdir, file)) + sep + rest

    # ---- steps

    def find_target(self) -> None:
        lab, test = self.lab, self.answer.test
        lab.collect()
        if lab.errors:
            self.answer.notes.append(f"{len(lab.errors)} files could not be collected: {lab.errors[0]}")
        wanted = (
            os.path.relpath(os.path.abspath(test.partition("::")[0]), lab.rootdir)
            + test[len(test.partition("::")[0]) :]
        )
        for name in (test, wanted):
            if name in lab.ids:
                self.target = lab.ids.index(name)
                self.answer.test = name
                return
        ends = [nodeid for nodeid in lab.ids if nodeid.endswith(("::" + test, "/" + test))]
        inner = [nodeid for nodeid in lab.ids if nodeid.startswith((wanted + "[", wanted + "::"))]
        if len(ends) == 1:
            self.target = lab.ids.index(ends[0])
            self.answer.test = ends[0]
        elif inner or ends:
            shown = ", ".join((inner or ends)[:3])
            raise LabError(f"'{test}' is {len(inner or ends)} tests; name one of them: {shown} ...")
        else:
            near = difflib.get_close_matches(wanted, lab.ids, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; {len(lab.ids)} tests were collected"
            raise LabError(f"no test '{test}' was collected{hint}")

    def order_before(self, names: Sequence[str] | None) -> tuple[int, ...]:
        """The tests that ran before it. names: an order with node ids; None: that of collection."""
        if names is None:
            return tuple(range(self.target))
        place = {nodeid: i for i, nodeid in enumerate(self.lab.ids)}
        missing = [name for name in names if name not in place]
        if missing:
            self.answer.notes.append(f"{len(missing)} tests of the order were not collected, the first is {missing[0]}")
        known = [place[name] for name in names if name in place]
        return tuple(known[: known.index(self.target)] if self.target in known else known)

    def settle(self) -> str | None:
        """Its outcome alone, or None when there is no one outcome. Chooses forks or fresh processes."""
        self.say("alone, in fresh processes")
        self.answer.alone = alone = self.alone_fresh(self.tries)
        if len(words := {o.word for o in alone}) > 1:
            self._flaky("alone", words)
            return None
        if alone[0].word == NOT_RUN.word:
            raise LabError(f"pytest does not run {self.answer.test} when it is named alone")
        if self.is_fresh:
            return alone[0].word
        if self.lab.threads:
            self._go_fresh(f"the suite has threads once it is collected ({', '.join(self.lab.threads[:3])})")
            return alone[0].word
        self.say("alone, after collecting everything")
        forked = self.tried((), self.tries)
        if len(words := {o.word for o in forked}) > 1:
            self._flaky("alone in a fork", words)
            return None
        if forked[0].word != alone[0].word:
            whole = self.lab.fresh([self.answer.test]).of(self.target)
            if whole.word == forked[0].word:
                self._hunt_files(alone[0].word, forked[0])
                return None
            self._go_fresh("it ends differently in a fork")
        return alone[0].word

    def _go_fresh(self, why: str) -> None:
        self.answer.notes.append(f"each probe is a fresh process: {why}")
        self.is_fresh = True

    def _flaky(self, where: str, words: set[str]) -> None:
        self.answer.status = FLAKY
        self.answer.verdict = f"it is flaky: {where}, equal runs end differently ({', '.join(sorted(words))})"

    def _hunt_files(self, alone: str, outcome: Outcome) -> None:
        """It is enough that other files are collected: which of them?"""
        self.answer.after = [outcome]
        own = self.answer.test.partition("::")[0]
        files = [file for file in dict.fromkeys(i.partition("::")[0] for i in self.lab.ids) if file != own]
        self.say(f"importing {len(files)} other files is enough: which?")

        def job(part: tuple[int, ...]) -> bool:
            names = [files[i] for i in part]
            paths = [self._path(name) for name in [*names, own]]
            return self.lab.fresh([self.answer.test], paths).of(self.target).word == outcome.word

        def changes(parts: list[tuple[int, ...]]) -> int | None:
            found = self.lab.side_by_side([lambda part=part: job(part) for part in parts])
            return found.index(True) if True in found else None

        every = tuple(range(len(files)))
        if changes([every]) is None:
            self.answer.status = FLAKY
            self.answer.verdict = "it ends differently when all files are collected, but not every time"
            return
        self.answer.files = [files[i] for i in smallest(every, changes, self.lab.n)]
        self.answer.status = FOUND
        self.answer.verdict = f"it {outcome.word} as soon as other files are imported; alone it is {alone}"
        self.answer.command = ["pytest", *self.lab.options, *map(self._path, [*self.answer.files, self.answer.test])]

    def whole(self, before: tuple[int, ...], alone: str) -> tuple[tuple[int, ...], Outcome] | None:
        """The order and the outcome that is not the one alone; None when there is none, or no single one."""
        self.answer.n_before = len(before)
        self.say(f"after {len(before)} tests")
        first = self._first(before)
        self.answer.after = [first]
        if first.word == alone:
            return None
        self.answer.after += self.tried(self._usable(before), self.tries - 1)
        if len(words := {o.word for o in self.answer.after}) > 1:
            self._flaky(f"after {len(before)} tests", words)
            return None
        again = self.alone_fresh(1)[0]
        if again.word != alone:
            self.answer.status = OUTLIVES
            self.answer.verdict = (
                f"alone it was {alone} before other tests ran and is {again.word} since: what they leave outlives "
                "their processes (a file, a database, a server)"
            )
            return None
        return self._usable(before), first

    def _usable(self, order: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(i for i in order if i not in self.bad)

    def _first(self, before: tuple[int, ...]) -> Outcome:
        """The outcome behind all of them, tests aside that end the process."""
        while True:
            result: Result = self.run([self._usable(before)])[0]
            outcome = result.of(self.target)
            if outcome.word != NOT_RUN.word:
                return outcome
            if result.last < 0 or result.last == self.target or len(self.bad) > 50:
                raise LabError(
                    f"the tests before {self.answer.test} do not run to their end: {result.ended or 'no reason'}"
                )
            self.bad.add(result.last)
            what = result.of(result.last).word
            self.answer.notes.append(f"left out, as its process ends with it ({what}): {self.lab.ids[result.last]}")

    def reduce(self, before: tuple[int, ...], outcome: Outcome) -> tuple[int, ...]:
        def is_it(result: Result) -> bool:
            return result.of(self.target).word == outcome.word

        def changes(orders: list[tuple[int, ...]]) -> int | None:
            for i, order in enumerate(orders):
                if self.known.get(order, NOT_RUN).word == outcome.word:
                    return i
            asked = [order for order in orders if order not in self.known]
            self.say(f"{len(asked)} probes of about {len(orders[0])} tests")
            for order, result in zip(asked, self.run(asked, is_it), strict=True):
                if result is not None:
                    self.known[order] = result.of(self.target)
            return next((i for i, o in enumerate(orders) if self.known.get(o, NOT_RUN).word == outcome.word), None)

        return smallest(before, changes, self.lab.n)

    def confirm(self, culprits: tuple[int, ...], outcome: Outcome, alone: str) -> bool:
        self.say("again, to be sure")
        words = [o.word for o in self.tried(culprits, self.tries)]
        alone_words = [o.word for o in self.tried((), self.tries)]
        if set(words) == {outcome.word} and set(alone_words) == {alone}:
            return True
        names = " and ".join(self.lab.ids[i] for i in culprits)
        n = words.count(outcome.word)
        self.answer.status = FLAKY
        self.answer.verdict = f"it is flaky: after {names} it is {outcome.word} in {n} of {len(words)} tries"
        return False

    def explain(self, culprits: tuple[int, ...]) -> None:
        if self.lab.threads:
            return
        for result in self.run([culprits], watch=culprits):
            for entry in result.left if result else ():
                if entry["lines"]:
                    self.answer.left[self.lab.ids[entry["left"]]] = entry["lines"]

    def make_command(self, culprits: tuple[int, ...], outcome: Outcome) -> None:
        """pytest's own command when it shows the same, else ours."""
        names = [self._path(self.lab.ids[i]) for i in (*culprits, self.target)]
        result = self.lab.fresh([], names, plain=True)
        ran = [place for place in (self._place(i) for i in result.ids) if place >= 0]
        if result.of(self.target).word == outcome.word and ran == [*culprits, self.target]:
            self.answer.command = ["pytest", *self.lab.options, *names]
            return
        after = [word for i in culprits for word in ("--after", self.lab.ids[i])]
        self.answer.command = ["hasten", "isolate", self.answer.test, *after, *self.lab.args]

    def _place(self, nodeid: str) -> int:
        return self.lab.ids.index(nodeid) if nodeid in self.lab.ids else -1

    # ---- all of it

    def hunt(self, names: Sequence[str] | None, only: bool) -> Answer:
        """names: an order. only: it is not searched, just run."""
        start = time.monotonic()
        try:
            self._hunt(names, only)
        finally:
            self.answer.n_probes = self.lab.n_probes
            self.answer.seconds = time.monotonic() - start
        return self.answer

    def _hunt(self, names: Sequence[str] | None, only: bool) -> None:
        before = self.order_before(names)
        alone = self.settle()
        if alone is None:
            return
        found = self.whole(before, alone)
        if found is None and not self.answer.verdict and not only:
            found = self._others(before, alone)
        if found is None:
            if not self.answer.verdict:
                self.answer.status = INDEPENDENT
                self.answer.verdict = f"its outcome does not depend on these tests: it is {alone} alone and after them"
            return
        order, outcome = found
        culprits = order if only else self.reduce(order, outcome)
        if not self.confirm(culprits, outcome, alone):
            return
        self.answer.culprits = [self.lab.ids[i] for i in culprits]
        self.answer.status = FOUND
        needs = outcome.word in ("passed", "xpassed") and alone not in ("passed", "xpassed")
        n = len(culprits)
        if needs:
            one = "it" if n == 1 else "them"
            self.answer.verdict = f"it needs {_tests(n)} before it: alone it is {alone}, after {one} {outcome.word}"
        else:
            makes = "makes" if n == 1 else "make"
            self.answer.verdict = f"{_tests(n)} before it {makes} it {outcome.word}; alone it is {alone}"
        self.explain(culprits)
        self.make_command(culprits, outcome)

    def _others(self, before: tuple[int, ...], alone: str) -> tuple[tuple[int, ...], Outcome] | None:
        """Nothing before it matters: perhaps a test that comes after it does, in another order."""
        rest = tuple(i for i in range(len(self.lab.ids)) if i != self.target and i not in set(before))
        if not rest:
            return None
        kept = self.answer.after, self.answer.n_before
        found = self.whole((*before, *rest), alone)
        if found is None:
            if not self.answer.verdict:
                self.answer.after, self.answer.n_before = kept
                self.answer.notes.append(f"the {len(rest)} tests that come after it do not change it either")
            return None
        self.answer.notes.append("in the given order it is well: what changes it comes after it there")
        return found


def _tests(n: int) -> str:
    return "one test" if n == 1 else f"{n} tests, together,"
