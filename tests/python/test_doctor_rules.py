"""Rules of `hasten doctor` and what stands behind them, without a suite: what was seen goes in, advice comes out."""

from __future__ import annotations

import itertools
import os
import random
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hasten.doctor import fix, interpreters, part, same_lines
from hasten.doctor.advice import Candidate, Facts, IniEdit, Note, Saving, weight
from hasten.doctor.conditions import SEEDS, Conditions
from hasten.doctor.examine import Examination
from hasten.doctor.interpreters import Found
from hasten.doctor.measure import Rounds
from hasten.doctor.rules import (
    coverage,
    databases,
    fixtures,
    idle,
    imports,
    logs,
    retries,
    rewriting,
    settings,
    tests,
)
from hasten.doctor.rules import interpreters as interpreter_rule
from hasten.doctor.suite import Run, Variant

INI = ("testpaths", "norecursedirs", "addopts", "log_level", "log_cli", "log_cli_level", "log_cli_format", "log_file",
       "log_file_level", "reruns", "reruns_delay")  # fmt: skip
OPTIONS = ("capture", "cov_source", "cov_branch", "no_cov", "cov_context", "cov_config", "log_cli_level", "log_level",
           "log_file", "reruns", "reruns_delay")  # fmt: skip


def facts(ini: dict[str, Any] | None = None, options: dict[str, Any] | None = None, **seen: Any) -> Facts:
    base: dict[str, Any] = {
        "rootdir": "/p", "inipath": "/p/pytest.ini", "named": [], "ini": dict.fromkeys(INI) | (ini or {}),
        "options": dict.fromkeys(OPTIONS) | {"capture": "fd"} | (options or {}), "sleeps": {}, "sleepers": {},
        "connections": [], "ports": {}, "written": {}, "folders": {}, "files": [], "plugins": [], "tests": {},
        "sqlite": {}, "loaded": [], "attempts": {}, "fixtures": [], "unused": {}, "gc": {"before": 0.0, "tests": 0.0},
        "rewriting": {}, "rewritten": {}, "unknown_settings": [], "empty_testpaths": [], "modules": {},
        "dont_write_bytecode": False,
    }  # fmt: skip
    known = {**base, **seen}
    found = Facts(known, {}, 10.0, 0.2, [], 2, dict.fromkeys(known["tests"], "passed"))
    found.n_tests = found.n_seen = len(known["tests"])
    return found


def keys(find: Callable[[Facts], Any], of: Facts) -> list[str]:
    return [one.key for one in find(of)]


def fixture(**more: Any) -> dict[str, Any]:
    return {"name": "db", "scope": "function", "place": "/p/conftest.py:3", "module": "conftest", "params": False,
            "n": 4, "setup_s": 0.4, "teardown_s": 1.2, "tests": ["a", "b"], **more}  # fmt: skip


# ---- rules


def test_retries_are_counted_with_what_they_lose() -> None:
    seen = facts(attempts={"t::a": [3, 1.5], "t::b": [2, 0.5]}, ini={"reruns": "2", "reruns_delay": "1"})
    seen.outcomes = {"t::a": "passed", "t::b": "failed"}
    candidate, note = retries.find(seen)
    assert isinstance(candidate, Candidate)
    assert candidate.title == "2 tests are run again when they fail; 1 of them pass then"
    assert candidate.details[0] == "1.50 s  t::a: 2 times again, passed in the end"
    assert weight(seen.seen, candidate.weight) == 2.0
    assert isinstance(note, Note)
    assert "each after 1 s (2.00 s here)" in note.text
    assert keys(retries.find, facts()) == []


def test_a_slow_teardown_is_for_a_person_to_judge() -> None:
    seen = facts(fixtures=[fixture()])
    found = {one.key: one for one in fixtures.find(seen) if isinstance(one, Candidate)}
    assert found.keys() == {"fixture scope db conftest.py:3", "teardown db conftest.py:3"}
    teardown = found["teardown db conftest.py:3"]
    assert (teardown.judge, teardown.where, weight(seen.seen, teardown.weight)) == (True, "seen", 1.2)
    assert weight(seen.seen, found["fixture scope db conftest.py:3"].weight) == pytest.approx(1.6 * 3 / 4)
    here = fixtures.find(facts(fixtures=[fixture(teardown_s=0.0)], unused={"db": ["b", "of another file"]}))
    unused = next(one for one in here if one.key == "unused fixture db conftest.py:3")
    assert isinstance(unused, Candidate)
    assert unused.variant.simulate == {"unused": {"db": ["b"]}}
    assert keys(fixtures.find, facts(fixtures=[fixture(setup_s=0.01, teardown_s=0.05)])) == []


@pytest.mark.parametrize(
    ("ini", "options", "expected"),
    [
        ({}, {}, []),
        ({"log_cli": "true"}, {}, ["log_cli"]),
        ({"log_level": "DEBUG"}, {}, ["log_level"]),
        ({}, {"log_level": "debug"}, ["log_level"]),
        ({"log_level": "INFO"}, {}, []),
        ({"log_file": "x.log"}, {}, ["log_file"]),
        ({}, {"capture": "tee-sys"}, ["capture"]),
    ],
)
def test_log_and_capture_settings(ini: dict[str, Any], options: dict[str, Any], expected: list[str]) -> None:
    assert keys(logs.find, facts(ini, options)) == expected


def test_settings_without_effect_are_named() -> None:
    seen = facts(
        {"log_cli_level": "INFO", "log_file_level": "INFO", "reruns_delay": "2",
         "addopts": ["-p", "no:cacheprovider", "-p", "no:nobody_has_this", "-p", "no:junitxml"]},
        unknown_settings=["asyncio_mode"], empty_testpaths=["spec"],
    )  # fmt: skip
    (note,) = idle.find(seen)
    assert isinstance(note, Note)
    assert note.details == [
        "asyncio_mode: nothing that is installed reads it",
        "testpaths: 'spec' is not there",
        "log_cli_level: log_cli is off",
        "log_file_level: there is no log_file",
        "reruns_delay: without reruns only tests with a mark of their own are run again",
        "-p no:nobody_has_this: no plugin that is installed has this name",
    ]
    assert keys(idle.find, facts({"log_cli_level": "INFO", "log_cli": "true"})) == []


def test_the_collector_is_looked_at_where_it_takes_time() -> None:
    assert keys(settings.find, facts(gc={"before": 0.3, "tests": 0.0})) == ["gc"]
    assert keys(settings.find, facts(gc={"before": 0.0, "tests": 0.3})) == ["gc", "gc thresholds"]


def test_large_plugins_are_proposed_and_small_ones_are_not() -> None:
    assert keys(rewriting.find, facts(rewriting={"small": 3})) == []
    (found,) = rewriting.find(facts(rewriting={"small": 3, "big": 40}))
    assert isinstance(found, Candidate)
    assert found.variant.simulate == {"not rewritten": ["big"]}
    slow = facts(rewriting={"small": 3}, rewritten={"/lib/small/a.py": 0.5})
    assert keys(rewriting.find, slow) == ["rewriting"]


def test_databases_are_named_with_what_gives_each_worker_its_own(tmp_path: Path) -> None:
    (tmp_path / "app.db").touch()
    seen = facts(rootdir=str(tmp_path), loaded=["django.db", "psycopg", "redis"], sqlite={
        str(tmp_path / "app.db"): ["a", "b"], str(tmp_path / "gone.db"): ["c", "d"]})  # fmt: skip
    candidate, shared, server = databases.find(seen)
    assert isinstance(candidate, Candidate)
    assert isinstance(shared, Note)
    assert isinstance(server, Note)
    assert candidate.key == "sqlite"
    assert candidate.tests == ["a", "b", "c", "d"]
    assert shared.details == ["app.db: a, b"]
    assert server.text.startswith("PostgreSQL and Redis: each worker")
    assert "Django" in server.text


@pytest.mark.parametrize(
    ("python", "branches", "contexts", "why"),
    [
        ((3, 11), False, False, "it needs CPython 3.12"),
        ((3, 13), False, False, ""),
        ((3, 13), True, False, "branches are measured, which needs CPython 3.14"),
        ((3, 14), True, False, ""),
        ((3, 14), True, True, "contexts are asked for"),
    ],
)
def test_when_sysmon_has_no_effect(python: tuple[int, int], branches: bool, contexts: bool, why: str) -> None:
    assert coverage.why_not_sysmon(python, branches, contexts) == why


@pytest.mark.parametrize(
    ("name", "text", "after"),
    [
        (".coveragerc", "[run]\nbranch = no\n", "[run]\ncore = sysmon\nbranch = no\n"),
        ("setup.cfg", "[coverage:run]\n# x\n", "[coverage:run]\ncore = sysmon\n# x\n"),
        ("tox.ini", "[pytest]\nx = 1\n", "[pytest]\nx = 1\n\n[coverage:run]\ncore = sysmon\n"),
    ],
)
def test_coverage_settings_are_edited_where_they_stand(name: str, text: str, after: str) -> None:
    edit = IniEdit("core", "sysmon", "coverage:run", name)
    assert fix.target("/p", "/p/pytest.ini", edit) == f"/p/{name}"
    assert fix.edited(f"/p/{name}", text, edit) == after


def test_the_tail_says_how_much_later_a_run_ends_and_where_to_cut() -> None:
    seen = facts(tests={"long": [0.0, 4.0, 0.0], "b": [0.0, 1.0, 0.0], "c": [0.0, 1.0, 0.0]})
    seen.splits = {"long": "split before line 7"}
    (note,) = tests.find(seen)
    assert isinstance(note, Note)
    assert "each would have 3.00 s" in note.text
    assert "1.00 s later" in note.text
    assert note.details == ["4.00 s  long; split before line 7"]
    seen = facts(tests={"long": [3.5, 0.5, 0.0], "b": [0.0, 1.0, 0.0]})
    (note,) = tests.find(seen)
    assert isinstance(note, Note)
    assert note.details == ["4.00 s  long; set-up takes 3.50 s of it"]


def test_lines_of_a_long_test_give_the_place_to_cut(tmp_path: Path) -> None:
    path = tmp_path / "lines.json"
    path.write_text('{"a": {"3": 1.0, "4": 0.001, "7": 0.9, "9": 0.2}, "b": {"3": 2.0}}')
    assert tests.splits(str(path)) == {
        "a": "split before line 7: 1.00 s until then, 1.10 s from there",
        "b": "nearly all of it in line 3",
    }
    assert tests.splits(str(tmp_path / "none")) == {}


def test_tests_that_run_the_same_lines_are_left_out_unless_they_have_failed() -> None:
    seen = facts(tests={name: [0.0, 0.3, 0.0] for name in "abcde"})
    seen.same_lines = [["a", "b", "c"], ["d", "e"]]
    seen.failed_before = {"c": 1, "d": 2}
    candidate = next(one for one in tests.find(seen) if one.key == "same lines")
    assert isinstance(candidate, Candidate)
    assert (candidate.left_out, candidate.judge) == (["b"], True)
    assert candidate.details == ["0.30 s  1 that run what a runs: b"]
    seen.same_lines = []
    assert "same lines" not in keys(tests.find, seen)


def test_interpreters_that_lack_something_are_named() -> None:
    seen = facts()
    seen.interpreters = [
        Found("/x/python3.15", (3, 15, 0), True, [], False),
        Found("/y/python3.14t", (3, 14, 0), False, ["pytest", "attr"], False),
    ]
    candidate, note = interpreter_rule.find(seen)
    assert isinstance(candidate, Candidate)
    assert candidate.title == "CPython 3.15.0 runs the suite faster"
    assert candidate.variant.python == "/x/python3.15"
    assert isinstance(note, Note)
    assert note.details == ["CPython 3.14.0t (/y/python3.14t) lacks pytest, attr"]


# ---- interpreters


def test_an_interpreter_is_asked_what_it_is() -> None:
    found = interpreters.ask(sys.executable, ["json", "no_such_package"])
    assert found is not None
    assert found.version == tuple(sys.version_info[:3])
    assert found.missing == ["no_such_package"]
    assert interpreters.ask("/bin/true", []) is None
    assert interpreters.ask("/no/such/python", []) is None


def test_the_newer_interpreter_that_lacks_least_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    minor = sys.version_info[1]
    there = {
        "/a": Found("/a", (3, minor + 1, 0), True, ["x"], False),
        "/b": Found("/b", (3, minor + 1, 2), True, [], False),
        "/c": Found("/c", (3, minor - 1, 2), True, [], False),
        "/d": Found("/d", (3, minor, 9), True, [], False),
        "/e": Found("/e", (3, minor + 2, 0), False, [], False),
    }
    monkeypatch.setattr(interpreters, "places", lambda _root: list(there))
    monkeypatch.setattr(interpreters, "ask", lambda path, _names: there[path])
    assert [found.path for found in interpreters.newer("/p", [])] == ["/b", "/e"]


# ---- same lines


def brute(ran: dict[str, frozenset[int]]) -> set[str]:
    """Tests that some other one makes needless, by the definition; of equal ones the first stays."""
    order = list(ran)
    return {
        a
        for i, a in enumerate(order)
        if any((ran[a] < ran[b]) or (ran[a] == ran[b] and j < i) for j, b in enumerate(order) if b != a)
    }


def test_groups_are_those_of_the_definition() -> None:
    dice = random.Random(7)
    for _ in range(200):
        ran = {f"t{i}": frozenset(dice.sample(range(7), dice.randint(1, 5))) for i in range(dice.randint(1, 14))}
        found = same_lines.groups(ran, list(ran))
        assert {test for group in found for test in group[1:]} == brute(ran)
        for first, *others in found:
            assert first not in brute(ran)
            assert all(ran[other] <= ran[first] for other in others)
    assert same_lines.groups({"a": frozenset(), "b": frozenset()}, ["a", "b"]) == []


def test_contexts_are_read_by_test_without_the_tests_own_files(tmp_path: Path) -> None:
    path = str(tmp_path / "data")
    with sqlite3.connect(path) as data:
        data.execute("CREATE TABLE file (id INTEGER, path TEXT)")
        data.execute("CREATE TABLE context (id INTEGER, context TEXT)")
        data.execute("CREATE TABLE arc (file_id INTEGER, context_id INTEGER, fromno INTEGER, tono INTEGER)")
        data.executemany("INSERT INTO file VALUES (?, ?)", [(1, "/p/app.py"), (2, "/p/test_a.py")])
        data.executemany("INSERT INTO context VALUES (?, ?)", [(1, "t::a|setup"), (2, "t::a|run"), (3, "t::b[x|y]|run"),
                                                               (4, "")])  # fmt: skip
        data.executemany("INSERT INTO arc VALUES (?, ?, ?, ?)", [
            (1, 1, -1, 2), (1, 2, 2, 3), (1, 3, 2, 3), (2, 2, 1, 9), (1, 4, 7, 8)])  # fmt: skip
    data.close()
    found = same_lines.by_test(path, ["/p/test_a.py"])
    assert found.keys() == {"t::a", "t::b[x|y]"}
    assert (len(found["t::a"]), found["t::b[x|y]"] < found["t::a"]) == (2, True)
    assert same_lines.failures(str(tmp_path)) == ({}, 0)


# ---- a part for the whole


def many(n_files: int, each: int, seconds: float) -> dict[str, list[float]]:
    return {f"t{i}.py::test_{j}": [0.0, seconds, 0.0] for i in range(n_files) for j in range(each)}


def test_the_whole_is_estimated_with_its_error() -> None:
    total, error = part.estimated({"tests": many(5, 10, 0.1)}, 600)
    assert (total, error) == (pytest.approx(60.0), pytest.approx(0.0, abs=1e-9))
    uneven = many(4, 5, 0.1) | {f"u{i}.py::test": [0.0, 2.0, 0.0] for i in range(4)}
    total, error = part.estimated({"tests": uneven}, 240)
    assert total == pytest.approx(100.0)
    assert error > 20
    assert part.estimated({"tests": uneven}, 24)[1] == 0.0  # all of them


def test_a_random_part_estimates_the_whole_within_its_error() -> None:
    dice = random.Random(3)
    files = [[dice.expovariate(10) for _ in range(dice.randint(1, 20))] for _ in range(100)]
    true, n = sum(map(sum, files)), sum(map(len, files))
    near = 0
    for _ in range(200):
        sample = dice.sample(files, 20)
        seen = {f"{i}.py::{j}": [0.0, s, 0.0] for i, one in enumerate(sample) for j, s in enumerate(one)}
        total, error = part.estimated({"tests": seen}, n)
        near += abs(total - true) <= 2 * error
    assert near >= 170  # 95 % of 200 would be 190


def test_a_part_has_tests_of_each_candidate_and_fits_the_time() -> None:
    seen = facts(tests=many(50, 10, 0.1), named=["tests/x.py"], inipath="/p/pytest.ini")
    seen.args = ["-q", "tests/x.py"]
    rare = ["t49.py::test_9", "t48.py::test_8", "t47.py::test_7"]
    found = part.chosen(seen, [Candidate("k", "", "", tests=rare)], 3.0)
    assert len(set(rare) & set(found.ids)) >= 2
    assert sum(sum(seen.seen["tests"][test]) for test in found.ids) <= 3.0
    assert found.options == ["-q", "--rootdir=/p", "-c", "/p/pytest.ini"]
    assert set(found.files) == {f"/p/{test.partition('::')[0]}" for test in found.ids}
    assert part.chosen(seen, [], 0.0).ids  # never nothing


def test_what_a_part_saves_is_scaled_by_what_it_is_about() -> None:
    whole = facts(tests=many(10, 10, 0.1), sleeps={"/p/a.py:3": [50, 5.0]})
    whole.n_tests, whole.n_seen = 1000, 100
    of_part = facts(tests=many(1, 10, 0.1), sleeps={"/p/a.py:3": [10, 1.0]}).seen
    sleep = Candidate("s", "", "", weight=("sleep", "/p/a.py:3"))
    assert part.scale(sleep, whole, of_part) == pytest.approx(5 * 10)
    assert part.scale(Candidate("t", "", ""), whole, of_part) == pytest.approx(10 * 10)
    assert part.scale(Candidate("i", "", "", weight=("once",)), whole, of_part) == 1.0
    assert part.scale(Candidate("n", "", "", weight=("sleep", "/p/b.py:1")), whole, of_part) == 0.0


class SlowSuite:
    """Each run takes its time, by a clock that the test has."""

    def __init__(self, costs: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
        self.costs, self.now, self.n = costs, 0.0, 0
        monkeypatch.setattr("hasten.doctor.measure.time.monotonic", lambda: self.now)

    def run(self, variant: Variant) -> Run:
        self.n += 1
        cost = self.costs[variant.args[0] if variant.args else ""]
        self.now += cost
        return Run(quiet_s=cost, outcomes={"t": "passed"})

    collect = run


@pytest.mark.parametrize("until", [0.0, 5.0, 11.0, 23.0, 41.0, 100.0])
def test_rounds_end_in_time_and_say_what_was_not_tried(until: float, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = SlowSuite({"": 6.0, "good": 4.0}, monkeypatch)
    candidate = Candidate("good", "", "", Variant(("good",)))
    rounds = Rounds(suite, 6.0, 0.1, 5, until, lambda text: None)  # type: ignore[arg-type]
    rounds.measure([candidate])
    assert suite.now <= until + 10.0  # never more than the first round, or the run under way
    assert (candidate.saving.sure == "certain") == (candidate.saving.n >= 3) == (rounds.untried == [])
    assert candidate.saving.n == min(5, max(1, int(until // 10)))


# ---- other hash seeds


class SeededSuite:
    def __init__(self, outcome: Callable[[int, int], dict[str, str]]) -> None:
        self.outcome, self.n = outcome, itertools.count()

    def run(self, variant: Variant) -> Run:
        return Run(outcomes=self.outcome(int(variant.env["PYTHONHASHSEED"] or 0), next(self.n)))


def seeds(outcome: Callable[[int, int], dict[str, str]]) -> dict[str, Note]:
    suite: Any = SeededSuite(outcome)
    return {note.key: note for note in Conditions(suite, 1, {}, set(), dict, lambda text: None).seeds()}


def test_tests_that_follow_the_hash_seed_are_told_from_flaky_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    word = {True: "passed", False: "failed"}
    assert seeds(lambda seed, n: {"a": "passed", "b": "passed"}) == {}
    found = seeds(lambda seed, n: {"a": word[seed % 2 == 0], "flaky": word[n < 6], "b": "passed"})
    assert found.keys() == {"hash seed"}
    assert found["hash seed"].details == ["a: failed with 1, passed with 2, failed with 3, passed with 4"]
    found = seeds(lambda seed, n: {"a": "passed", "b": "passed"} if seed % 2 else {"b": "passed", "a": "passed"})
    assert found.keys() == {"hash seed collection"}
    assert found["hash seed collection"].details[0] == f"a with seed {SEEDS[0]}"
    shuffled = seeds(lambda seed, n: {"a": "passed", "b": "passed"} if n % 3 else {"b": "passed", "a": "passed"})
    assert shuffled == {}  # somebody shuffles the tests in every run


def test_places_of_interpreters_are_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".tox" / "py315" / "bin"
    folder.mkdir(parents=True)
    program = folder / "python"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(program) in interpreters.places(str(tmp_path))
    assert os.path.abspath(program) == str(program)


class Quiet:
    """A suite that is never run."""

    until = grace_s = 0.0
    part = None


def test_where_time_is_short_what_promises_most_is_tried() -> None:
    seen = facts(sleeps={"/p/a.py:3": [50, 5.0], "/p/b.py:4": [50, 0.3]})
    candidates = [
        Candidate("small", "b sleeps", "", weight=("sleep", "/p/b.py:4")),
        Candidate("other", "something", ""),
        Candidate("big", "a sleeps", "", weight=("sleep", "/p/a.py:3")),
    ]
    suite: Any = Quiet()
    examination = Examination(suite, 1, 5, 60.0, lambda text: None)
    assert examination._affordable(seen, candidates, 1.0, 12.0) == candidates  # three of each, and of the plain run
    assert examination._affordable(seen, candidates, 1.0, 11.0) == [candidates[2], candidates[1]]
    assert examination.left_out == [candidates[0]]
    assert examination._affordable(seen, candidates, 1.0, -5.0) == [candidates[2]]
    said = [examination._untried(seen, candidate) for candidate in candidates]
    assert said == ["b sleeps: it cannot save more than about 0.3 s", "something",
                    "a sleeps: it cannot save more than about 5.0 s"]  # fmt: skip


def test_lines_that_work_while_they_are_imported_are_named() -> None:
    of = facts()
    assert not keys(imports.find, of)
    of.imports = {
        "work": [
            {"file": "/p/conftest.py", "line": 3, "wall": 1.5, "cpu": 0.1, "waits": True},
            {"file": "/p/app.py", "line": 7, "wall": 0.5, "cpu": 0.4},
            {"file": "/p/app.py", "line": 8, "wall": 0.1, "cpu": 0.1},  # less than is said
            {"file": "/p/site-packages/far.py", "line": 1, "wall": 2.0, "cpu": 2.0},
        ]
    }
    (note,) = imports.find(of)
    assert isinstance(note, Note)
    assert note.details == ["conftest.py:3 waits 1.50 s", "app.py:7 computes 0.50 s"]


# ---- fixes


class NoisySuite:
    """A run is as long as its settings say, give or take a tenth."""

    def __init__(self, path: Path, gains: dict[str, float]) -> None:
        self.path, self.gains, self.dice, self.until, self.grace_s = path, gains, random.Random(5), 0.0, 0.0
        self.part, self.n = None, 0

    def run(self, variant: Variant | None = None, whole: bool = False) -> Run:
        self.n += 1
        text = self.path.read_text()
        seconds = 2.0 - sum(gain for setting, gain in self.gains.items() if setting in text)
        return Run(quiet_s=seconds * self.dice.gauss(1, 0.1), outcomes={"t": "passed"})

    collect = run


def test_fixes_below_the_noise_of_a_few_pairs_are_kept_when_more_show_them(tmp_path: Path) -> None:
    path = tmp_path / "pytest.ini"
    path.write_text("[pytest]\n# mine\n")
    suite: Any = NoisySuite(path, {"large = 1": 0.9, "small = 1": 0.12, "nothing = 1": 0.0, "worse = 1": -0.2})
    examination = Examination(suite, 1, 5, 600.0, lambda text: None)
    examination.plain = {"t": "passed"}
    candidates = [Candidate(n, n, "", edits=[IniEdit(n, "1")]) for n in ("worse", "nothing", "small", "large")]
    candidates[-1].saving = Saving(0.9, 0.1, 5, "certain")
    seen = facts(rootdir=str(tmp_path), inipath=str(path))
    examination.fix(seen, candidates)
    found = {one.key: one for one in candidates}
    assert found["large"].fixed.startswith("kept in pytest.ini")
    assert found["small"].fixed.startswith("kept in pytest.ini")
    assert (found["small"].saving.n > 5, bool(found["small"].saving.sure)) == (True, True)
    assert found["nothing"].fixed.startswith("taken back")
    assert found["worse"].fixed.startswith("taken back")
    assert set(path.read_text().splitlines()) == {"[pytest]", "# mine", "large = 1", "small = 1"}
    (note,) = [note for note in examination.notes if note.key == "together"]
    assert "together: certain" in note.text
    assert suite.n < 5 + 2 * (4 * 20 + 20)
