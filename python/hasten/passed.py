"""Tests that passed with nothing to say: a few numbers each (src/py/passed.c), reports when somebody asks for them.

``terminalreporter.stats`` stays the dict of lists that plugins know. While reports are numbers only, the dict and the
set of reported ids are subclasses: whoever looks into the lists of passed reports has them made first, in their places
between the others. What pytest's own terminal reporter does in passing (add a report, count them for the last line)
does not count as looking.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from _pytest.cacheprovider import NFPlugin
from _pytest.reports import TestReport
from _pytest.terminal import TerminalReporter

from hasten import _native

LAZY = frozenset(("", "passed"))
LOOKING = (  # methods of a dict that show all of its values
    *("items", "copy", "pop", "popitem", "clear", "update", "__setitem__", "__delitem__"),
    *("__eq__", "__ne__", "__or__", "__ror__", "__ior__", "__repr__"),
)
LOOKING_AT_IDS = (  # methods of a set that show what is in it; not add() and len()
    *("__contains__", "__iter__", "__eq__", "__ne__", "__le__", "__lt__", "__ge__", "__gt__"),
    *("__repr__", "__reduce_ex__"),
    *("__and__", "__rand__", "__iand__", "__or__", "__ror__", "__ior__", "__sub__", "__rsub__", "__isub__"),
    *("__xor__", "__rxor__", "__ixor__", "copy", "discard", "remove", "pop", "clear", "update", "union"),
    *("difference", "difference_update", "intersection", "intersection_update", "isdisjoint", "issubset", "issuperset"),
    *("symmetric_difference", "symmetric_difference_update"),
)


def node_id_maker() -> Callable[[str], Any] | None:
    """From the text of a node id to what pytest's own tables have: a class of its own since 9.2, None before."""
    try:
        from _pytest.nodeid import NodeId
    except ImportError:
        return None
    return NodeId.parse


def is_held_elsewhere(holder: object, name: str) -> bool:
    """Somebody but holder refers to its attribute of that name, as far as reference counts can tell."""

    class Alone:
        pass

    alone = Alone()
    setattr(alone, name, {})
    expected = sys.getrefcount(getattr(alone, name))
    return sys.getrefcount(getattr(holder, name)) > expected


# All the names in the function with which Hypothesis (6.170) looks at every report for two attributes that it has added
# in makereport: a test with one of them was no plain one.
_NAMES = """
    Exception FAILING_EXAMPLES_KEY PRINT_STATISTICS_OPTION STATS_KEY _WROTE_TO __dict__ append config gc_patches get
    getoption hypothesis.extra._patching hypothesis.internal.observability json loads make_patch save_patch section
    sorted stats values write_line
"""
HYPOTHESIS_NAMES = frozenset(_NAMES.split())


def _wants_additions_only(asker: Any) -> bool:
    """This code asks the reports' dicts for what its plugin has put there, and for nothing else."""
    return (
        asker.co_name == "pytest_terminal_summary"
        and asker.co_filename.endswith("_hypothesis_pytestplugin.py")
        and frozenset(asker.co_names) == HYPOTHESIS_NAMES
    )


class Stats(dict[str, list[Any]]):
    """``terminalreporter.stats`` whose lists of passed reports are made when they are looked at."""

    passed: Passed | None = None

    def raw(self, key: str) -> Any:
        """The list as it is, with no report made."""
        return dict.get(self, key, ())

    def get(self, key: str, default: Any = None) -> Any:
        if key in LAZY and self.passed is not None and key in self:
            return self._shown(key)
        return dict.get(self, key, default)

    def __getitem__(self, key: str) -> Any:
        if key in LAZY and self.passed is not None and key in self:
            return self._shown(key)
        return dict.__getitem__(self, key)

    def values(self) -> Any:
        if self.passed is not None and not _wants_additions_only(sys._getframe(1).f_code):
            self.passed.show()
        return dict.values(self)

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key in LAZY and self.passed is not None and sys._getframe(1).f_code is not ADD_STATS:
            self.passed.show()
        return dict.setdefault(self, key, default)

    def __iter__(self) -> Iterator[str]:  # without it dict(stats) would copy what is in the lists now
        return dict.__iter__(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (dict, (dict(self),))

    def _shown(self, key: str) -> Any:
        passed = self.passed
        assert passed is not None
        frame = sys._getframe(2)
        if _is_called_by(frame, TO_DISPLAY, SUMMARY_LINE):
            return [*dict.__getitem__(self, key), *[None] * (passed.n if key else 2 * passed.n)]  # it counts them
        if not _is_called_by(frame, GET_REPORTS, TEARDOWN_REPORTS, TEARDOWN_SECTIONS):
            passed.show()  # else it prints sections: reports that are not made have none
        return dict.__getitem__(self, key)


def _is_called_by(frame: Any, *codes: Any) -> bool:
    for code in codes:
        if frame is None or frame.f_code is not code:
            return False
        frame = frame.f_back
    return True


def _looks(name: str) -> Any:
    original = getattr(dict, name)

    def look(self: Stats, *args: Any, **kwargs: Any) -> Any:
        if self.passed is not None:
            self.passed.show()
        return original(self, *args, **kwargs)

    look.__name__ = name
    return look


for _name in LOOKING:
    setattr(Stats, _name, _looks(_name))


class LateSet:
    """A set to everybody, whose last members are put in when somebody looks.

    No subclass: ``set(x)`` and ``x.union(y)`` would copy what is in a subclass's table, and ask none of its methods.
    """

    __hash__ = None  # type: ignore[assignment]
    __class__ = property(lambda self: set)

    fill: Callable[[], None]  # puts the last members in; each of the two below has its own

    def __init__(self, ids: set[Any]) -> None:
        self.ids = ids


def _looks_at_ids(name: str) -> Any:
    original = getattr(set, name)

    def look(self: LateSet, *args: Any) -> Any:
        self.fill()
        return original(self.ids, *args)

    look.__name__ = name
    return look


for _name in LOOKING_AT_IDS:
    setattr(LateSet, _name, _looks_at_ids(_name))


class Reported(LateSet):
    """The ids whose result is on the screen; it knows how many they are without having all of them."""

    def __init__(self, ids: set[Any], passed: Passed) -> None:
        super().__init__(ids)
        self.passed = passed
        self.expected = ""  # the test whose reports are being told now

    def fill(self) -> None:
        self.passed.fill_ids()

    def __len__(self) -> int:
        return len(self.ids) + self.passed.n_ids

    def add(self, node_id: Any) -> None:
        if str(node_id) != self.expected:
            self.fill()
        self.ids.add(node_id)


def _code(name: str) -> Any:
    return getattr(getattr(TerminalReporter, name, None), "__code__", None)


ADD_STATS = _code("_add_stats")
TO_DISPLAY = _code("_get_reports_to_display")
SUMMARY_LINE = _code("_build_normal_summary_stats_line")
GET_REPORTS = _code("getreports")
TEARDOWN_REPORTS = _code("_get_teardown_reports")
TEARDOWN_SECTIONS = _code("_handle_teardown_sections")


class Passed:
    """Keeps passed tests for a terminal reporter until somebody looks."""

    def __init__(self, tr: Any, ids: list[str]) -> None:
        self.tr = tr
        self.ids = ids
        self.make_id = node_id_maker()
        self.n = 0  # tests whose reports are not made
        self.n_ids = 0  # tests whose ids are not in the set
        self.marks: list[tuple[int, int, int]] = []  # (from this test on, place in the list of "", in that of "passed")
        self.shown = False  # somebody has the lists and may look into them at any time
        self.stats = Stats(tr.stats)
        self.stats.passed = self
        tr.stats = self.stats
        self.reported = Reported(tr._progress_nodeids_reported, self)
        tr._progress_nodeids_reported = self.reported

    @classmethod
    def make(cls, tr: Any, ids: list[str]) -> Passed | None:
        """None where it would be seen: another one has the dict already, or an id stands for two tests."""
        if None in (ADD_STATS, TO_DISPLAY, SUMMARY_LINE):
            return None
        if type(tr.stats) is not dict or type(tr._progress_nodeids_reported) is not set or LAZY & tr.stats.keys():
            return None
        if is_held_elsewhere(tr, "stats") or is_held_elsewhere(tr, "_progress_nodeids_reported"):
            return None
        if len(set(ids)) != len(ids):
            return None
        return cls(tr, ids)

    def is_in_place(self) -> bool:
        return not self.shown and self.tr.stats is self.stats and self.tr._progress_nodeids_reported is self.reported

    def take(self, most: int) -> int:
        """The next plain passes, at most that many; how many they were."""
        got = _native.passed_take(most)
        if got:
            for key in ("", "passed"):
                if key not in self.stats:
                    self.tr._add_stats(key, [])
            mark = (len(self.stats.raw("")), len(self.stats.raw("passed")))
            if not self.marks or self.marks[-1][1:] != mark:
                self.marks.append((self.n, *mark))
            self.n += got
            self.n_ids += got
        return got

    def own(self, item: int) -> None:
        """What is told about this test from here on goes through Python."""
        self.reported.expected = self.ids[item]
        if _native.passed_own(item):
            self.n_ids -= 1
            self.reported.ids.add(self._id(item))

    def _id(self, item: int) -> Any:
        return self.make_id(self.ids[item]) if self.make_id else self.ids[item]

    def fill_ids(self) -> None:
        if self.n_ids:
            self.n_ids = 0
            self.reported.ids.update([self._id(item) for item in _native.passed_items()])

    def show(self) -> None:
        """Every report is an object in its list from here on."""
        self.shown = True
        if not self.n:
            return
        reports = _native.passed_all(self.ids, self.make_id)
        passed = reports[1::3]
        del reports[1::3]  # set-ups and teardowns are left
        for key, made, per_test, column in (("", reports, 2, 1), ("passed", passed, 1, 2)):
            self._merge(dict.__getitem__(self.stats, key), made, per_test, column)
        self.n = 0
        self.marks.clear()

    def _merge(self, into: list[Any], made: list[Any], per_test: int, column: int) -> None:
        merged: list[Any] = []
        done = 0
        ends = [mark[0] for mark in self.marks[1:]] + [self.n]
        for mark, end in zip(self.marks, ends, strict=True):
            merged += into[done : mark[column]]
            done = mark[column]
            merged += made[mark[0] * per_test : end * per_test]
        merged += into[done:]
        into[:] = merged


def prepare() -> None:
    """Shows C what a passed report looks like."""
    _native.passed_are_like(TestReport("", ("", None, ""), {}, "passed", None, "call"))


class CachedIds(LateSet):
    """NFPlugin's set of ids that were ever collected: those of this run are put in when somebody looks."""

    def __init__(self, ids: set[Any], waiting: list[str]) -> None:
        super().__init__(ids)
        self.waiting = waiting

    def fill(self) -> None:
        waiting, self.waiting = self.waiting, []
        self.ids.update(map(node_id_maker() or str, waiting))

    def __iter__(self) -> Iterator[Any]:
        asker = sys._getframe(1).f_code
        if asker is NF_FINISH or (NF_FINISH is not None and asker in NF_FINISH.co_consts):
            return iter({*map(str, self.ids), *self.waiting})  # it sorts their texts
        self.fill()
        return iter(self.ids)

    def __len__(self) -> int:
        self.fill()
        return len(self.ids)

    def add(self, node_id: Any) -> None:
        self.ids.add(node_id)


NF_FINISH = getattr(getattr(NFPlugin, "pytest_sessionfinish", None), "__code__", None)


def cache_ids(plugin: Any, ids: list[str], lazily: bool) -> None:
    """Adds these ids to those that pytest's plugin nfplugin has."""
    make_id = node_id_maker()
    if not lazily or type(plugin) is not NFPlugin or type(plugin.cached_nodeids) is not set:
        plugin.cached_nodeids.update(map(make_id, ids) if make_id else ids)
    else:
        known: Any = plugin
        known.cached_nodeids = CachedIds(plugin.cached_nodeids, ids)
