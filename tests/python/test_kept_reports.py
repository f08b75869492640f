"""Tests that stay records in the reporter: what is kept, what is made of it, and who makes it be made."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from _pytest.reports import TestReport

from hasten import _native, passed

IDS = [f"test_a.py::test_{n}" for n in range(6)]


class Terminal:
    """As much of pytest's terminal reporter as counts reports."""

    def __init__(self) -> None:
        self.stats: dict[str, list[Any]] = {}
        self._progress_nodeids_reported: set[Any] = set()

    def _add_stats(self, category: str, items: list[Any]) -> None:
        self.stats.setdefault(category, []).extend(items)


class Kept:
    """Stands for src/py/passed.c: tests 1, 2 and 4 are taken."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def passed_take(self, most: int) -> int:
        return most

    def passed_all(self, ids: list[str], make_id: Callable[[str], Any] | None) -> list[TestReport]:
        taken, self.taken = self.taken, []
        return [report(ids[item], when) for item in taken for when in ("setup", "call", "teardown")]

    def passed_items(self) -> list[int]:
        return sorted(self.taken)

    def passed_own(self, item: int) -> bool:
        return item in self.taken


def report(nodeid: str, when: Any) -> TestReport:
    return TestReport(nodeid, (nodeid, 1, nodeid), {}, "passed", None, when)


def node_id(text: str) -> Any:
    return (passed.node_id_maker() or str)(text)


def ids_of(reports: list[Any]) -> list[str]:
    return [f"{one.nodeid[-1]}{one.when[0]}" for one in reports]


@pytest.fixture
def kept(monkeypatch):
    """(terminal, passed): test 0 in Python, 1 and 2 records, 3 in Python, 4 a record."""
    native = Kept()
    monkeypatch.setattr(passed, "_native", native)
    monkeypatch.setattr(passed, "ADD_STATS", Terminal._add_stats.__code__)
    terminal = Terminal()
    store = passed.Passed.make(terminal, list(IDS))
    assert store is not None

    def in_python(item: int) -> None:
        store.own(item)
        terminal._add_stats("", [report(IDS[item], "setup")])
        terminal._add_stats("passed", [report(IDS[item], "call")])
        terminal._add_stats("", [report(IDS[item], "teardown")])
        terminal._progress_nodeids_reported.add(node_id(IDS[item]))

    in_python(0)
    for items in ((1, 2), (4,)):
        native.taken += items
        assert store.take(len(items)) == len(items)
        if items == (1, 2):
            in_python(3)
    return terminal, store


LISTS = {"": ["0s", "0t", "1s", "1t", "2s", "2t", "3s", "3t", "4s", "4t"], "passed": ["0c", "1c", "2c", "3c", "4c"]}

LOOKS = {
    "item": lambda stats: {key: stats[key] for key in stats},
    "get": lambda stats: {key: stats.get(key, ()) for key in stats},
    "items": lambda stats: dict(stats.items()),
    "values": lambda stats: dict(zip(stats, stats.values(), strict=True)),
    "dict": dict,
    "copy": lambda stats: stats.copy(),
    "copy.copy": copy.copy,
    "unpacked": lambda stats: {**stats},
    "or": lambda stats: stats | {},
    "ror": lambda stats: {} | stats,
    "update": lambda stats: [d := {}, d.update(stats)][0],
    "setdefault": lambda stats: {key: stats.setdefault(key, []) for key in ("", "passed")},
    "pickle": lambda stats: pickle.loads(pickle.dumps(stats)),
    "pop": lambda stats: {key: stats.pop(key) for key in list(stats)},
    "popitem": lambda stats: dict(stats.popitem() for _ in range(len(stats))),
    "comprehension": lambda stats: {key: list(stats[key]) for key in sorted(stats)},
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
def test_who_looks_sees_every_report_in_its_place(kept, look):
    terminal, store = kept
    assert list(terminal.stats) == ["", "passed"]
    assert store.n == 3
    assert not store.shown
    seen = look(terminal.stats)
    assert {key: ids_of(reports) for key, reports in seen.items()} == LISTS
    assert store.shown
    assert store.n == 0


@pytest.mark.parametrize("change", ["set", "delete", "clear", "repr", "equal"])
def test_who_changes_the_statistics_has_them_made_first(kept, change):
    terminal, store = kept
    stats = terminal.stats
    reports = dict.get(stats, "passed")
    if change == "set":
        stats["passed"] = []
    elif change == "delete":
        del stats["passed"]
    elif change == "clear":
        stats.clear()
    elif change == "repr":
        assert repr(stats).count("TestReport") == 15
    else:
        assert stats != {"": [], "passed": []}
    assert store.shown
    assert ids_of(reports) == LISTS["passed"]


def test_hypothesis_sees_the_reports_that_it_can_have_added_to(kept, tmp_path, monkeypatch):
    """By the names of the function with which it looks; another function of that file has all reports made."""
    terminal, store = kept
    path = str(tmp_path / "_hypothesis_pytestplugin.py")
    text = "def pytest_terminal_summary(tr):\n    return [r.__dict__.get('x') for r in tr.stats.values() for r in r]\n"
    namespace: dict[str, Any] = {}
    exec(compile(text, path, "exec"), namespace)
    look = namespace["pytest_terminal_summary"]
    names = frozenset(look.__code__.co_names)
    monkeypatch.setattr(passed, "HYPOTHESIS_NAMES", names | {"more"})
    monkeypatch.setattr(store, "show", lambda: asked.append(1))
    asked: list[int] = []
    look(terminal)
    assert asked
    asked.clear()
    monkeypatch.setattr(passed, "HYPOTHESIS_NAMES", names)
    look(terminal)
    assert not asked


def test_counting_makes_nothing(kept):
    terminal, store = kept
    assert len(terminal._progress_nodeids_reported) == 5
    assert len(terminal.stats) == 2
    assert "passed" in terminal.stats
    assert "failed" not in terminal.stats
    assert terminal.stats.get("failed", []) == []
    assert store.n == 3
    assert store.n_ids == 3
    assert not store.shown


def test_a_test_that_is_told_again_counts_once(kept):
    terminal, store = kept
    store.own(2)
    terminal._progress_nodeids_reported.add(node_id(IDS[2]))
    assert len(terminal._progress_nodeids_reported) == 5


WAYS = {
    "set": set,
    "frozenset": frozenset,
    "list": list,
    "unpacked": lambda ids: {*ids},
    "copy": lambda ids: ids.copy(),
    "or": lambda ids: ids | set(),
    "ror": lambda ids: set() | ids,
    "union": lambda ids: set().union(ids),
    "update": lambda ids: [s := set(), s.update(ids)][0],
    "pickle": lambda ids: pickle.loads(pickle.dumps(ids)),
    "comprehension": lambda ids: {one for one in ids if one in ids},
}


@pytest.mark.parametrize("look", WAYS.values(), ids=WAYS.keys())
def test_who_looks_at_the_ids_sees_all(kept, look):
    terminal, store = kept
    ids = terminal._progress_nodeids_reported
    assert isinstance(ids, set)
    assert sorted(map(str, look(ids))) == IDS[:5]
    assert len(ids) == 5
    assert store.n_ids == 0


def test_an_unexpected_id_does_not_count_twice(kept):
    terminal, store = kept
    store.reported.expected = "another"
    terminal._progress_nodeids_reported.add(node_id(IDS[1]))
    assert len(terminal._progress_nodeids_reported) == 5
    assert store.n_ids == 0


def test_a_dict_that_somebody_has_is_left_alone(monkeypatch):
    monkeypatch.setattr(passed, "ADD_STATS", Terminal._add_stats.__code__)
    terminal = Terminal()
    somebody = terminal.stats
    assert passed.Passed.make(terminal, IDS) is None
    assert terminal.stats is somebody


def test_ids_that_stand_for_two_tests_are_told_in_full(monkeypatch):
    monkeypatch.setattr(passed, "ADD_STATS", Terminal._add_stats.__code__)
    assert passed.Passed.make(Terminal(), ["a", "a"]) is None


def test_reports_made_in_c_are_those_that_pytest_makes():
    """In a process of its own, as what a report looks like is told to C once."""
    code = """
        import marshal
        from _pytest.reports import TestReport
        from hasten import _native, passed
        passed.prepare()
        location, keywords = ("a.py", 3, "test_x"), {"test_x": 1, "a.py": 1}
        made = _native.passed_reports(
            (passed.node_id_maker() or str)("a.py::test_x"), 1_700_000_000_123_456_789, 1_000, 2_000_500, 3,
            marshal.dumps((location, keywords), 4))
        at = 1_700_000_000_123_456_789 / 1e9
        for report, when, ns in zip(made, ("setup", "call", "teardown"), (1_000, 2_000_500, 3)):
            own = TestReport("a.py::test_x", location, keywords, "passed", None, when, (), ns / 1e9, at, at + ns / 1e9)
            at += ns / 1e9
            assert type(report) is TestReport
            assert list(vars(report)) == list(vars(own)), vars(report)
            assert vars(report) == vars(own), (vars(report), vars(own))
            assert repr(report) == repr(own)
        lists = [r.sections for r in made] + [r.user_properties for r in made]
        assert len(set(map(id, lists))) == 6
        for payload in (b"", b"i", marshal.dumps(1), marshal.dumps((1, 2, 3))):
            try:
                _native.passed_reports("a", 0, 0, 0, 0, payload)
            except (EOFError, ValueError):
                pass
            else:
                raise AssertionError(payload)
        print("same")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.stdout == "same\n", done.stderr


def test_cached_ids_are_written_as_text_and_shown_as_pytest_has_them(tmp_path):
    class Plugin(passed.NFPlugin):
        def __init__(self) -> None:
            self.cached_nodeids = set(map(passed.node_id_maker() or str, ["b", "a"]))

    plugin = passed.NFPlugin.__new__(passed.NFPlugin)
    plugin.cached_nodeids = set(map(passed.node_id_maker() or str, ["b", "a"]))
    passed.cache_ids(plugin, ["c", "a"], lazily=True)
    written = {}

    class Config:
        cache = type("Cache", (), {"set": staticmethod(lambda key, value: written.update({key: json.dumps(value)}))})

        def getoption(self, name: str) -> bool:
            return False

    plugin.config = Config()  # type: ignore[assignment]
    plugin.pytest_sessionfinish()
    assert written == {"cache/nodeids": '["a", "b", "c"]'}
    assert isinstance(plugin.cached_nodeids, passed.CachedIds)
    assert plugin.cached_nodeids.waiting or not passed.node_id_maker()  # writing them down made no object
    assert plugin.cached_nodeids == set(map(passed.node_id_maker() or str, "abc"))
    own = Plugin()
    passed.cache_ids(own, ["c"], lazily=True)
    assert type(own.cached_nodeids) is set
    assert len(own.cached_nodeids) == 3


def test_native_module_has_what_the_stand_in_has():
    assert all(hasattr(_native, name) for name in dir(Kept) if name.startswith("passed_"))
