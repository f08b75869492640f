"""`hasten imports --fix`: makes imports of the user's own files lazy, and keeps what passes and really saves time."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from typing import Any, NoReturn
from xml.etree import ElementTree

from hasten.imports_choose import Candidate, Chooser, Edit
from hasten.imports_edit import FORMS, Refused
from hasten.imports_graph import Graph, Profile
from hasten.imports_journal import Busy, Journal
from hasten.imports_pairs import Ratio, State, compare
from hasten.imports_used import Needs, functions_that_use


class Failure(Exception):  # noqa: N818
    """One line for the user."""


@dataclasses.dataclass
class Result:
    edit: Edit
    outcome: str  # predicted, kept or taken back
    reason: str = ""
    ratio: Ratio | None = None


@dataclasses.dataclass
class Check:
    """A command that must end as it did before the changes; of a suite, with the same outcome of each test."""

    command: list[str]
    suite: bool
    root: str = ""

    def run(self, needs: str = "") -> tuple[int, dict[str, str], str]:
        """
        Its exit status, the outcome of each test, and the end of what it printed. needs: a folder in which it is to be
        written down what the tests call.
        """
        environment = {**os.environ, "HASTEN_PYTHON": sys.executable}
        more: list[str] = []
        if needs:
            environment |= {"HASTEN_NEEDS": needs, "HASTEN_NEEDS_ROOT": self.root}
            more = ["-p", "hasten.imports_needs"]
        with tempfile.TemporaryDirectory(prefix="hasten-check-") as folder:
            report = os.path.join(folder, "junit.xml")
            command = [*self.command, *more, f"--junit-xml={report}"] if self.suite else self.command
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
            return done.returncode, outcomes(report), "\n".join(lines[-12:])


def outcomes(path: str) -> dict[str, str]:
    try:
        cases = ElementTree.parse(path).iter("testcase")
    except (OSError, ElementTree.ParseError):
        return {}
    found: dict[str, str] = {}
    for case in cases:
        name = f"{case.get('classname')}::{case.get('name')}"
        kinds = sorted(child.tag for child in case if child.tag in ("failure", "error", "skipped"))
        found[name] = "+".join(kinds) or "passed"
    return found


def changed(before: dict[str, str], after: dict[str, str]) -> str:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            return f"{name}: {before.get(name, 'not there')} before, {after.get(name, 'not there')} now"
    return ""


class Fix:
    def __init__(self, options: argparse.Namespace, rest: list[str]) -> None:
        self.options, self.rest = options, rest
        self.root: str = options.root
        self.form: str = options.form
        self.journal = Journal(self.root)
        self.results: list[Result] = []
        self.files: dict[str, bytes] = {}  # that are changed in the end
        self.notes: list[str] = []
        self.say_lines = not options.json

    def say(self, text: str) -> None:
        if self.say_lines:
            print(text, flush=True)

    # ---- what is measured

    def arguments(self) -> list[str]:
        return ["--collect", *self.rest] if self.options.kind == "collect" else self.rest

    def command(self) -> list[str]:
        """The measured one, as `hasten imports` makes it."""
        if self.options.kind == "collect":
            return [sys.executable, "-m", "pytest", "--collect-only", "-q", *self.rest]
        if self.rest[:1] == ["--"]:
            return self.rest[1:]
        return [sys.executable, "-c", "".join(f"import {name}\n" for name in self.rest)]

    def measure(self, runs: int) -> Profile:
        command = [self.options.program, "imports", "--python", sys.executable, "--root", self.root, "--json"]
        done = subprocess.run(
            [*command, "--runs", str(runs), *self.arguments()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        try:
            profile = json.loads(done.stdout)
        except ValueError:
            raise Failure(
                f"it cannot be measured any more: {done.stderr.decode(errors='replace').strip()[-300:]}"
            ) from None
        if done.returncode not in (0, 1):
            raise Failure("it cannot be measured any more")
        return dict(profile)

    def check(self) -> Check:
        if self.options.check:
            return Check(["/bin/sh", "-c", self.options.check], suite=False)
        if self.options.kind == "collect":
            return Check([self.options.program, "run", *self.rest], True, self.root)
        return Check(self.command(), suite=False)

    # ---- the work

    def run(self) -> int:
        profile = self._profile()
        if not self.options.dry_run:
            profile = self._recover(profile)
        chooser = Chooser(profile, self.root, self.form)
        chooser.look()
        if self.options.kind == "collect":
            self._look_at_tests(chooser)
        edits = chooser.choose(self.options.edits)
        if self.form == "function" and edits:
            self._need_libcst()
        if self.options.dry_run:
            self._predict(chooser, edits)
        elif edits:
            self._apply(chooser, edits)
        self._report(profile, chooser)
        return 0

    def _look_at_tests(self, chooser: Chooser) -> None:
        """
        An import that tests need is not saved but moved, from before the fork into each worker: it stays, unless few
        need it and the user says so.
        """
        check = Check([self.options.program, "run", *self.rest], True, self.root)
        with tempfile.TemporaryDirectory(prefix="hasten-needs-") as folder:
            self.say("running the tests, to see which imports they need")
            _, _, output = check.run(folder)
            needs = Needs(folder)
        if not needs.tests:
            raise Failure(f"no test was run:\n{output}")
        for one in list(chooser.candidates):
            file = chooser.files[one.path]
            assert not isinstance(file, str)
            n = len(needs.by(functions_that_use(file, one.line)))
            if n * 100 > self.options.needed * len(needs.tests):
                one.reason = f"{n} of {len(needs.tests)} tests need it: lazy, each worker would pay for it"
                chooser.candidates.remove(one)
                chooser.refused.append(one)

    def _profile(self) -> Profile:
        with open(self.options.profile, encoding="utf-8") as file:
            profile = json.load(file)
        os.unlink(self.options.profile)
        return dict(profile)

    def _recover(self, profile: Profile) -> Profile:
        try:
            self.journal.open()
        except Busy:
            raise Failure(f"another --fix is at work below {self.root}") from None
        if not self.journal.running:
            return profile
        self._give_back("the last --fix was ended in the middle")
        return self.measure(self.options.runs)

    def _give_back(self, why: str) -> bool:
        given, left = self.journal.restore_all()
        for path in given:
            self.say(f"{why}: {os.path.relpath(path, self.root)} is as it was before")
        for path in left:
            copy = self.journal.files[path]["copy"]
            print(f"hasten: {path} was changed since and stays; as it was before: {copy}", file=sys.stderr)
        return not left

    @staticmethod
    def _need_libcst() -> None:
        try:
            import libcst  # noqa: F401
        except ImportError:
            raise Failure(
                f"--fix moves imports with libcst, which is not installed: {sys.executable} -m pip install libcst"
            ) from None

    def _contents(self, chooser: Chooser, candidates: Iterable[Candidate]) -> dict[str, bytes]:
        """The files that these edits change, as they are then. Refused."""
        by_file: dict[str, list[int]] = {}
        for one in candidates:
            by_file.setdefault(one.path, []).append(one.line)
        found = {}
        for path, lines in by_file.items():
            file = chooser.files[path]
            assert not isinstance(file, str)
            found[path] = file.edited(lines, self.form, chooser.has_typing)
        return found

    def _predict(self, chooser: Chooser, edits: list[Edit]) -> None:
        done: list[Candidate] = []
        for edit in edits:
            try:
                self._contents(chooser, [*done, *edit.candidates])
            except Refused as reason:
                self.results.append(Result(edit, "refused", str(reason)))
                continue
            done += edit.candidates
            self.results.append(Result(edit, "predicted"))
        self.files = self._contents(chooser, done)

    def _dirty(self, paths: Iterable[str]) -> None:
        for path in sorted(paths):
            with contextlib.suppress(OSError):
                done = subprocess.run(
                    ["git", "status", "--porcelain", "--", os.path.basename(path)],
                    cwd=os.path.dirname(path), capture_output=True, text=True, check=False,
                )  # fmt: skip
                if done.returncode == 0 and done.stdout.strip() and not done.stdout.startswith("??"):
                    self.notes.append(
                        f"{os.path.relpath(path, self.root)} has changes that are not committed; --undo keeps them"
                    )

    def _apply(self, chooser: Chooser, edits: list[Edit]) -> None:
        check = self.check()
        self.say(f"checking by: {shlex.join(check.command)}")
        status, before, output = check.run()
        if status != 0 and not (check.suite and before):
            raise Failure(f"the check fails before any change (status {status}):\n{output}")
        paths = {one.path for edit in edits for one in edit.candidates}
        self._dirty(paths)
        self.journal.begin()
        try:
            for path in sorted(paths):
                self.journal.keep(path)
            accepted: list[Candidate] = []
            gone: set[str] = set()
            for edit in edits:
                result = self._try(chooser, edit, accepted, (check, status, before), gone)
                self.results.append(result)
                self.say(self._line(result))
                if result.outcome == "kept":
                    accepted += edit.candidates
                    gone |= set(edit.predicted.gone)
            self.files = self._contents(chooser, accepted)
            State(self._whole(self.files)).enter(self.journal)
            self.journal.end()
        except BaseException:
            self.journal.restore_all()
            raise

    def _whole(self, files: dict[str, bytes]) -> dict[str, bytes]:
        """With the originals of all the files that any edit may touch."""
        return {path: files.get(path) or self.journal.original(path) for path in self.journal.files}

    def _try(
        self,
        chooser: Chooser,
        edit: Edit,
        accepted: list[Candidate],
        expected: tuple[Check, int, dict[str, str]],
        gone: set[str],
    ) -> Result:
        """Leaves the files with the edit when it is kept, else without."""
        check, status, before = expected
        old = State(self._whole(self._contents(chooser, accepted)))
        try:
            new = State(self._whole(self._contents(chooser, [*accepted, *edit.candidates])))
        except Refused as refused:
            return Result(edit, "taken back", str(refused))
        new.enter(self.journal)
        reason = self._loaded_still(edit, gone) or self._fails(check, status, before)
        if reason:
            old.enter(self.journal)
            return Result(edit, "taken back", reason)
        ratio = compare(self.command(), old, new, self.journal)
        if ratio.high >= 1:
            old.enter(self.journal)
            return Result(edit, "taken back", "no saving that is sure", ratio)
        return Result(edit, "kept", "", ratio)

    def _loaded_still(self, edit: Edit, gone: set[str]) -> str:
        """Why nothing is saved: who imports what should have gone. "" when at least half of it is gone."""
        try:
            profile = self.measure(1)
        except Failure as failure:
            return str(failure)
        there = {one["name"]: one for one in profile["modules"]}
        left = [there[name] for name in edit.predicted.gone if name in there]
        if len(left) * 2 <= len(edit.predicted.gone) or not edit.predicted.gone:
            return ""
        place = left[0].get("at", {})
        where = f"{os.path.relpath(place['file'], self.root)}:{place['line']}" if place.get("file") else "somebody"
        return f"{where} imports {left[0]['name']} at once all the same"

    @staticmethod
    def _fails(check: Check, status: int, before: dict[str, str]) -> str:
        now, after, output = check.run()
        difference = changed(before, after) if check.suite else ""
        if difference:
            return f"the check: {difference}"
        if now != status:
            return f"the check ended with status {now}: {output.splitlines()[-1] if output else 'no output'}"
        return ""

    # ---- what is shown

    def diff(self) -> str:
        parts: list[str] = []
        for path, data in sorted(self.files.items()):
            name = os.path.relpath(path, self.root)
            old = self.journal.original(path) if path in self.journal.files else _read(path)
            parts += difflib.unified_diff(_lines(old), _lines(data), f"a/{name}", f"b/{name}")
        return "".join(part if part.endswith("\n") else part + "\n\\ No newline at end of file\n" for part in parts)

    def _line(self, result: Result) -> str:
        edit = result.edit
        places = ", ".join(f"{os.path.relpath(one.path, self.root)}:{one.line}" for one in edit.candidates)
        cpu, memory = edit.predicted.cpu_ns / 1e6, edit.predicted.bytes / 1048576
        sizes = f"{cpu:8.1f} ms {memory:6.1f} MB {len(edit.predicted.gone):5} modules"
        line = f"{result.outcome:10} {sizes}  {edit.name} ({places})"
        if result.ratio:
            saved = result.ratio.a * (1 - result.ratio.middle) * 1e3
            line += f"\n           measured: {saved:.1f} ms of {result.ratio.a * 1e3:.1f}, ratio {result.ratio}"
        if result.reason:
            line += f"\n           {result.reason}"
        return line

    def _report(self, profile: Profile, chooser: Chooser) -> None:
        if self.options.json:
            print(json.dumps(self._json(profile, chooser), indent=1))
            return
        if self.options.dry_run:
            for result in self.results:
                print(self._line(result))
        for note in self.notes:
            print(note)
        self._say_refused(chooser)
        if self.files:
            print()
            print(self.diff(), end="")
        self._say_end()

    def _say_end(self) -> None:
        done = [one for one in self.results if one.outcome in ("kept", "predicted")]
        if not done:
            print("nothing that can be changed safely saves enough" if not self.results else "nothing was changed")
        elif self.options.dry_run:
            cpu_ns = sum(one.edit.predicted.cpu_ns for one in done)
            print(f"\n{cpu_ns / 1e6:.1f} ms less are predicted; nothing was changed")
        else:
            first, last = done[0].ratio, done[-1].ratio
            if first and last:
                print(f"\nkept: {first.a * 1e3:.1f} ms of CPU time before, {last.b * 1e3:.1f} ms now; back by --undo")

    def _say_refused(self, chooser: Chooser) -> None:
        """Statements that would save something and cannot be changed, the dearest first."""
        savings = [(chooser.graph.without([one.at]).cpu_ns, one) for one in chooser.refused]
        dear = sorted((one for one in savings if one[0] >= 1_000_000), key=lambda one: -one[0])
        for cpu_ns, one in dear[:10]:
            place = f"{os.path.relpath(one.path, self.root)}:{one.line}"
            print(f"not safe   {cpu_ns / 1e6:8.1f} ms  {one.words} ({place}): {one.reason}")

    def _json(self, profile: Profile, chooser: Chooser) -> dict[str, Any]:
        graph = Graph(profile)

        def place(one: Candidate) -> dict[str, Any]:
            return {"file": one.path, "line": one.line, "statement": one.words}

        def described(result: Result) -> dict[str, Any]:
            predicted = result.edit.predicted
            found: dict[str, Any] = {
                "statements": [place(one) for one in result.edit.candidates],
                "outcome": result.outcome,
                "reason": result.reason,
                "predicted": {"cpu": predicted.cpu_ns / 1e9, "bytes": predicted.bytes, "modules": list(predicted.gone)},
            }
            if result.ratio:
                found["measured"] = dataclasses.asdict(result.ratio)
            return found

        return {
            "format": 1,
            "target": profile["target"],
            "form": self.form,
            "cpu": profile["cpu"],
            "edits": [described(one) for one in self.results],
            "refused": [
                {**place(one), "reason": one.reason, "cpu": graph.without([one.at]).cpu_ns / 1e9}
                for one in chooser.refused
            ],
            "notes": self.notes,
            "diff": self.diff(),
        }


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", errors="replace").splitlines(keepends=True)


# ---- options


def chosen_form(asked: str, root: str) -> str:
    """The form that this interpreter, and those that the project names, can read."""
    newer = sys.version_info >= (3, 15)
    if asked != "auto":
        if asked != "function" and not newer:
            raise Failure(f"--form {asked} needs Python 3.15; this is {sys.version_info[0]}.{sys.version_info[1]}")
        return asked
    if not newer:
        return "function"
    return "lazy" if only_newer(root) else "lazy-modules"


def only_newer(root: str) -> bool:
    """requires-python leaves out what cannot read `lazy import`."""
    import re
    import tomllib

    try:
        with open(os.path.join(root, "pyproject.toml"), "rb") as file:
            wanted = str(tomllib.load(file).get("project", {}).get("requires-python", ""))
    except (OSError, ValueError):
        return False
    return any(int(minor) >= 15 for minor in re.findall(r"(?:>=|==|~=)\s*3\.(\d+)", wanted))


def undo(root: str) -> int:
    fix = Journal(root)
    if not os.path.exists(fix.path):
        print("nothing to give back")
        return 0
    try:
        fix.open()
    except Busy:
        raise Failure(f"a --fix is at work below {root}") from None
    given, left = fix.restore_all()
    for path in given:
        print(f"{os.path.relpath(path, root)} is as it was")
    for path in left:
        print(
            f"hasten: {path} was changed since and stays; as it was before: {fix.files[path]['copy']}", file=sys.stderr
        )
    if not given and not left:
        print("nothing to give back")
    return 1 if left else 0


def stop(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: list[str]) -> int:
    at = argv.index("--") if "--" in argv else len(argv)
    parser = argparse.ArgumentParser(prog="hasten imports --fix")
    parser.add_argument("--root", required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--profile")
    parser.add_argument("--kind", choices=("collect", "program"), default="program")
    parser.add_argument("--edits", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--form", choices=("auto", *FORMS), default="auto")
    parser.add_argument("--check")
    parser.add_argument("--needed", type=int, default=0)
    for flag in ("--undo", "--dry-run", "--json"):
        parser.add_argument(flag, action="store_true")
    options = parser.parse_args(argv[:at])
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    try:
        if options.undo:
            return undo(options.root)
        options.form = chosen_form(options.form, options.root)
        return Fix(options, argv[at + 1 :]).run()
    except KeyboardInterrupt:
        print("hasten: interrupted; the files are as they were", file=sys.stderr)
        return 2
    except (Failure, OSError) as failure:
        print(f"hasten: {failure}", file=sys.stderr)
        return 4
    finally:
        if options.profile:
            with contextlib.suppress(OSError):
                os.unlink(options.profile)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
