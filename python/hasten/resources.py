"""Exclusive things: ``[tool.hasten.resources]``, the mark ``hasten_resource`` and the fixture ``hasten_resources``.

Which tests need what is found out here, after collection, and goes to the supervisor with the catalog
(src/sched/needs.h). Who gets what and when is decided in C (src/run/leases.h); here a process learns what its test has.
Where pytest runs everything in one process, the tests of that wait for what they need in pytest's order (`Alone`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import struct
import sys
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest

from hasten import _native
from hasten.plugin import state

MARK = "hasten_resource"
FIXTURE = "hasten_resources"
KEYS: dict[str, tuple[type, ...]] = {
    "units": (int, list), "rate": (str,), "burst": (int,), "fixtures": (list,), "shared_fixtures": (list,),
    "scope": (str,),
}  # fmt: skip
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
RATE = re.compile(r"\s*(\d+)\s*/\s*(s|min|h)\s*")
SECONDS = {"s": 1, "min": 60, "h": 3600}
TEST, CLASS, MODULE, SESSION = 0, 1, 2, 4  # enum needs_level
LEVELS = {"function": TEST, "class": CLASS, "module": MODULE, "package": SESSION, "session": SESSION}
MACHINE, READERS, SHARED = 1, 2, 1  # enum needs_resource_flags, needs_flags
MOST_RESOURCES, MOST_UNITS, MOST_SETS, MOST_NEEDS = 64, 1024, 256, 8  # sched/needs.h
POLL = 0.02  # seconds between two looks at what another run holds
_HEAD, _RESOURCE, _ONE = struct.Struct("=4I"), struct.Struct("=48s4I"), struct.Struct("=3H2B")


@dataclasses.dataclass
class Resource:
    """One entry of the table, checked."""

    name: str
    index: int
    units: list[str]
    interval_us: int = 0  # of the rate; 0: none
    burst: int = 1
    fixtures: tuple[str, ...] = ()
    shared_fixtures: tuple[str, ...] = ()
    machine: bool = False
    readers: bool = False

    @property
    def variable(self) -> str:
        return "HASTEN_RESOURCE_" + re.sub(r"[^A-Za-z0-9]", "_", self.name).upper()

    def key(self, unit: str, of: str = "") -> int:
        """The byte that stands for this unit in the file of locks (os/bytelock.h)."""
        text = f"{of}\0{self.name}\0{unit}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 2


@dataclasses.dataclass
class Need:
    """What a test needs of one resource."""

    count: int = 0
    calls: int = 0
    shared: bool = True
    level: int = TEST

    def add(self, count: int, calls: int, shared: bool, level: int) -> None:
        self.count = max(self.count, count)
        self.calls = max(self.calls, calls)
        self.shared = self.shared and shared
        self.level = max(self.level, level)


Needs = dict[int, Need]


def _wrong(name: str, what: str) -> pytest.UsageError:
    return pytest.UsageError(f"[tool.hasten.resources] {name}: {what}")


def read_settings(root: Path) -> list[Resource]:
    """The entries of ``[tool.hasten.resources]`` in root's pyproject.toml; [] without such a table."""
    try:
        text = (root / "pyproject.toml").read_bytes()
    except OSError:
        return []
    if b"hasten" not in text or b"resources" not in text:
        return []
    import tomllib

    try:
        tables = tomllib.loads(text.decode())
    except (ValueError, UnicodeDecodeError):
        return []  # pytest says it
    table = tables.get("tool", {}).get("hasten", {}).get("resources", {})
    if not isinstance(table, dict):
        raise pytest.UsageError("[tool.hasten.resources] is not a table")
    found = [_checked(name, index, value) for index, (name, value) in enumerate(sorted(table.items()))]
    if len(found) > MOST_RESOURCES or sum(len(one.units) for one in found) > MOST_UNITS:
        raise pytest.UsageError(
            f"[tool.hasten.resources]: at most {MOST_RESOURCES} resources with {MOST_UNITS} units together"
        )
    return found


def _checked(name: str, index: int, value: Any) -> Resource:
    if not NAME.fullmatch(name):
        raise _wrong(repr(name), "a name has letters, digits, '_' and '-', and 40 characters at most")
    settings = value if isinstance(value, dict) else {"units": value}
    for key, given in settings.items():
        if key not in KEYS or not isinstance(given, KEYS[key]) or isinstance(given, bool):
            raise _wrong(name, f"'{key}' is not known or has a value of the wrong type; known are {', '.join(KEYS)}")
        if isinstance(given, list) and not all(isinstance(one, str) and one for one in given):
            raise _wrong(name, f"'{key}' is not a list of names")
    if settings.get("scope", "run") not in ("run", "machine"):
        raise _wrong(name, "'scope' is 'run' or 'machine'")
    interval, burst = _rate(name, settings)
    return Resource(
        name,
        index,
        _units(name, settings),
        interval,
        burst,
        tuple(settings.get("fixtures", ())),
        tuple(settings.get("shared_fixtures", ())),
        settings.get("scope") == "machine",
    )


def _units(name: str, settings: dict[str, Any]) -> list[str]:
    units = settings.get("units", [] if "rate" in settings else None)
    if units is None:
        raise _wrong(name, "it needs 'units' (a number, or a list of names) or a 'rate'")
    if isinstance(units, int):
        if not 1 <= units <= MOST_UNITS:
            raise _wrong(name, f"'units' is a number from 1 to {MOST_UNITS}")
        return [str(i) for i in range(units)]
    if len(set(units)) != len(units) or (not units and "units" in settings):
        raise _wrong(name, "'units' names nothing, or one thing twice")
    return list(units)


def _rate(name: str, settings: dict[str, Any]) -> tuple[int, int]:
    burst = settings.get("burst", 1)
    if "rate" not in settings:
        if "burst" in settings:
            raise _wrong(name, "'burst' makes sense with a 'rate' only")
        return 0, 1
    match = RATE.fullmatch(settings["rate"])
    if match is None or not 1 <= int(match[1]) <= 1_000_000 or not 1 <= burst <= 10_000:
        raise _wrong(name, '\'rate\' is as "5/s", "100/min" or "20/h", and \'burst\' from 1 to 10000')
    return max(1, -(-SECONDS[match[2]] * 1_000_000 // int(match[1]))), burst


class Resources:
    """What ``hasten_resources`` gives: ``[name]`` is the unit that the running test has, as text."""

    def __init__(self, owner: Controller) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> str:
        return self.all(name)[0]

    def __contains__(self, name: object) -> bool:
        return name in self._owner.held

    def all(self, name: str) -> tuple[str, ...]:
        """All units of a resource that the running test has."""
        resource = self._owner.find(name)
        if not resource.units:
            raise LookupError(f"hasten: '{name}' has a rate and no units")
        if name not in self._owner.held:
            raise LookupError(
                f"hasten: this test does not hold '{name}': mark it with @pytest.mark.{MARK}({name!r}), or name one of "
                "its fixtures in [tool.hasten.resources]"
            )
        return self._owner.held[name]

    def take(self, name: str, calls: int = 1) -> None:
        """Waits until so many calls more are allowed by the rate."""
        resource = self._owner.find(name)
        if not resource.interval_us:
            raise LookupError(f"hasten: '{name}' has no rate")
        while (wait := self._owner.pace(resource, calls)) > 0:
            time.sleep(wait)


class Controller:
    """The resources of a project, in one process; forks go on with it."""

    def __init__(self, found: list[Resource]) -> None:
        self.found = found
        self.names = {one.name: one for one in found}
        self.held: dict[str, tuple[str, ...]] = {}
        self.fixtures: dict[str, list[tuple[Resource, bool]]] = {}
        self.manager: Any = None
        self.kept: dict[pytest.Item, Needs] = {}
        for one in found:
            for shared, names in ((False, one.fixtures), (True, one.shared_fixtures)):
                for name in names:
                    self.fixtures.setdefault(name, []).append((one, shared))

    def find(self, name: str) -> Resource:
        if name not in self.names:
            raise LookupError(f"hasten: [tool.hasten.resources] has no '{name}'; it has {', '.join(self.names)}")
        return self.names[name]

    def pace(self, resource: Resource, calls: int) -> float:
        return _native.lease_pace(
            resource.index, resource.name, resource.machine, resource.interval_us, resource.burst, calls
        )

    # ---- what tests need

    def needs(self, item: pytest.Item) -> Needs:
        if item not in self.kept:
            self.kept[item] = self._needs(item)
        return self.kept[item]

    def _needs(self, item: pytest.Item) -> Needs:
        found: Needs = {}
        self._add_marks(item, found)
        defs = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        for name, wanted in self.fixtures.items():
            if name in getattr(item, "fixturenames", ()):
                level = _level(item, defs[name][-1].scope if defs.get(name) else "function")
                for resource, shared in wanted:
                    self._add(found, resource, None, 1, shared, level)
        if found:
            users = [one[-1] for name, one in defs.items() if one and FIXTURE in one[-1].argnames]
            level = max((_level(item, one.scope) for one in users), default=TEST)
            for need in found.values():
                need.level = max(need.level, level)
        if len(found) > MOST_NEEDS:
            raise pytest.UsageError(f"{item.nodeid} needs {len(found)} resources; {MOST_NEEDS} at most are possible")
        return dict(sorted(found.items()))

    def _add_marks(self, item: pytest.Item, found: Needs) -> None:
        for mark in item.iter_markers(MARK):
            count, calls = mark.kwargs.get("count"), mark.kwargs.get("calls", 1)
            unknown = sorted({*mark.kwargs} - {"count", "calls", "shared"})
            if unknown or not mark.args or not all(isinstance(name, str) for name in mark.args):
                raise pytest.UsageError(
                    f"{item.nodeid}: the mark {MARK} takes names of resources and count, calls, shared"
                )
            numbers = [number for number in (count, calls) if number is not None]
            if not all(isinstance(number, int) and 0 <= number <= MOST_UNITS for number in numbers) or count == 0:
                raise pytest.UsageError(f"{item.nodeid}: count and calls of the mark {MARK} are numbers of them")
            for name in mark.args:
                if name not in self.names:
                    raise pytest.UsageError(
                        f"{item.nodeid} needs '{name}', which [tool.hasten.resources] has not; it has "
                        f"{', '.join(self.names)}"
                    )
                self._add(found, self.names[name], count, calls, bool(mark.kwargs.get("shared", False)), TEST, item)

    @staticmethod
    def _add(
        found: Needs,
        resource: Resource,
        count: int | None,
        calls: int,
        shared: bool,
        level: int,
        item: pytest.Item | None = None,
    ) -> None:
        n = min(1, len(resource.units)) if count is None else count
        if n > len(resource.units):
            where = item.nodeid if item is not None else "a test"
            raise pytest.UsageError(f"{where} needs {n} of '{resource.name}', and there are {len(resource.units)}")
        found.setdefault(resource.index, Need()).add(n, calls if resource.interval_us else 0, shared, level)

    def blob(self, items: Iterable[pytest.Item]) -> bytes:
        """What src/sched/needs.h reads; b"" when no test needs anything."""
        sets: dict[bytes, int] = {}
        blocks: dict[tuple[str, int], int] = {}
        rows = []
        for item in items:
            needs = self.needs(item)
            if not needs:
                rows.append((0, 0))
                continue
            for index, need in needs.items():
                self.found[index].readers |= need.shared
            number = sets.setdefault(_packed(needs), len(sets) + 1)
            level = max(need.level for need in needs.values())
            node = _node(item, level)
            key = (node.nodeid, number) if node is not None else None
            rows.append((number, 0 if key is None else blocks.setdefault(key, len(blocks) + 1)))
        if not sets:
            return b""
        if len(sets) > MOST_SETS:
            raise pytest.UsageError(
                f"tests need {len(sets)} combinations of resources; {MOST_SETS} at most are possible"
            )
        resources = [
            _RESOURCE.pack(
                one.name.encode(),
                len(one.units),
                MACHINE * one.machine | READERS * one.readers,
                one.interval_us,
                one.burst,
            )
            for one in self.found
        ]
        head = _HEAD.pack(len(self.found), len(sets), len(rows), 0)
        return b"".join((head, *resources, *sets, *(struct.pack("=2I", *row) for row in rows)))

    # ---- a worker

    def enter(self, session: pytest.Session) -> bool:
        """False: no test of this run needs anything."""
        keys = [one.key(unit) for one in self.found for unit in one.units]
        return _native.lease_set(self.tell, cut, session, keys)

    def tell(self, units: Iterable[tuple[int, int, int]], item: pytest.Item | None) -> None:
        """The process has these now: (resource, unit, level). A test sees what it needs, and what wider fixtures do."""
        for name in self.held:
            os.environ.pop(self.names[name].variable, None)
        own = self.needs(item) if item is not None else {}
        held: dict[str, tuple[str, ...]] = {}
        for index, unit, level in units:
            one = self.found[index]
            had = held.get(one.name, ())
            if level > TEST or (index in own and len(had) < own[index].count):
                held[one.name] = (*had, one.units[unit])
        self.held = held
        for name, names in held.items():
            os.environ[self.names[name].variable] = ",".join(names)


def _packed(needs: Needs) -> bytes:
    ones = [_ONE.pack(index, n.count, n.calls, SHARED * n.shared, n.level) for index, n in needs.items()]
    return struct.pack("=2I", len(ones), 0) + b"".join(ones).ljust(MOST_NEEDS * _ONE.size, b"\0")


def _node(item: pytest.Item, level: int) -> Any:
    """The node that a fixture of this level lives with; None for those of a test or a session."""
    if level == CLASS:
        return item.getparent(pytest.Class)
    return item.getparent(pytest.File) if level == MODULE else None


def _level(item: pytest.Item, scope: str) -> int:
    level = LEVELS.get(scope, SESSION)
    return TEST if level == CLASS and _node(item, CLASS) is None else level


def cut(item: pytest.Item, nextitem: pytest.Item, level: int) -> Any:
    """What pytest's teardown is told to come next, so that fixtures of this level go away."""
    node = _node(item, level)
    return node.parent if node is not None and node in nextitem.listchain() else nextitem


# ---- one process for all tests


class Alone:
    """Plugin of a process that runs tests in pytest's order: each waits for what it needs."""

    def __init__(self, owner: Controller, config: pytest.Config) -> None:
        self.owner = owner
        self.run = ""  # "": of this process alone
        if hasattr(config, "workerinput"):  # pytest-xdist's, which share what there is
            self.run = str(config.workerinput.get("testrunuid", "xdist"))
        self.locks = -1
        self.held: dict[tuple[int, int], tuple[int, bool]] = {}  # (resource, unit) -> (level, shared)
        self.last: pytest.Item | None = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        needs = self.owner.needs(item)
        if needs:
            self._take(item, needs)
        self.owner.tell([(*held, level) for held, (level, _shared) in sorted(self.held.items())], item)
        self.last = item
        try:
            return (yield)
        finally:
            self._leave(item, nextitem)

    def pytest_sessionfinish(self) -> None:
        for held in list(self.held):
            self._put(held)
        self.owner.tell((), None)

    def _key(self, index: int, unit: int) -> int | None:
        one = self.owner.found[index]
        if not (one.machine or self.run):
            return None
        return one.key(one.units[unit], "" if one.machine else self.run)

    def _file(self) -> int:
        if self.locks < 0:
            self.locks = _native.lock_open("units")
        return self.locks

    def _take(self, item: pytest.Item, needs: Needs) -> None:
        while not self._take_units(needs):
            if self.held:
                self._tear_down()  # nobody waits while he has something that another one may wait for
            time.sleep(POLL)
        for index, need in needs.items():
            while need.calls and (wait := self.owner.pace(self.owner.found[index], need.calls)) > 0:
                time.sleep(wait)

    def _take_units(self, needs: Needs) -> bool:
        taken: list[tuple[int, int]] = []
        for index, need in needs.items():
            n = 0
            for unit in range(len(self.owner.found[index].units)):
                if n == need.count:
                    break
                if self._take_unit(index, unit, need, taken):
                    n += 1
            if n < need.count:
                for one in taken:
                    self._put(one)
                return False
        return True

    def _take_unit(self, index: int, unit: int, need: Need, taken: list[tuple[int, int]]) -> bool:
        level, shared = self.held.get((index, unit), (TEST, need.shared))
        key = self._key(index, unit)
        has = (index, unit) in self.held and (need.shared or not shared)
        if not has and key is not None and not _native.lock_take(self._file(), key, 1, need.shared):
            return False
        if (index, unit) not in self.held:
            taken.append((index, unit))
        self.held[index, unit] = (max(level, need.level), need.shared and shared)
        return True

    def _put(self, held: tuple[int, int]) -> None:
        key = self._key(*held)
        if key is not None:
            _native.lock_put(self.locks, key, 1)
        del self.held[held]

    def _leave(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        chain = nextitem.listchain() if nextitem is not None else []
        for held, (level, _shared) in list(self.held.items()):
            if level == TEST or not chain or (level != SESSION and _node(item, level) not in chain):
                self._put(held)

    def _tear_down(self) -> None:
        item = self.last
        assert item is not None
        call = pytest.CallInfo.from_call(lambda: item.session._setupstate.teardown_exact(None), "teardown")
        if call.excinfo is not None:
            report = item.ihook.pytest_runtest_makereport(item=item, call=call)
            item.ihook.pytest_runtest_logreport(report=report)
        for held in list(self.held):
            self._put(held)


# ---- this module as a plugin of every process of a project with such settings


@pytest.fixture(scope="session")
def hasten_resources() -> Resources:
    """The units that the running test has: ``hasten_resources["bench"]``; ``.all(name)``, ``.take(name)`` for rates."""
    return Resources(state.resources)


def _is_ours(config: pytest.Config) -> bool:
    return state.resources is not None and state.resources.manager is config.pluginmanager


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{MARK}(*names, count=1, shared=False, calls=1): the test needs this of [tool.hasten.resources] (hasten)",
    )
    if _is_ours(config) and state.role in ("", "plain"):
        config.pluginmanager.register(Alone(state.resources, config), "hasten-resources-alone")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if _is_ours(config):
        for item in items:
            state.resources.needs(item)


def begin(config: pytest.Config) -> None:
    """Called before the first conftest is imported."""
    if state.resources is None:
        found = read_settings(config.rootpath)
        if not found:
            return
        state.resources = Controller(found)
        state.resources.manager = config.pluginmanager
    if not config.pluginmanager.hasplugin("hasten-resources"):
        config.pluginmanager.register(sys.modules[__name__], "hasten-resources")
