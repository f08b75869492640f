"""``--collect=parallel``: forks of the template collect test files beside it, each its part (docs/decisions/0016).

The template forks in the middle of its own collection, before the second file or a later one. Each process then goes
on through pytest's own walk over folders, conftests and files, in pytest's order, and collects the files of its part;
those of others stay empty. What is found comes together in the order of the walk, and workers are forked from the
process that has their tests. Whatever might show that several processes are not one is a doubt: then all of it is
thrown away and another template collects alone.
"""

from __future__ import annotations

import array
import hashlib
import os
import signal
import socket
import sys
from collections.abc import Generator, Iterable, Iterator
from typing import Any, NamedTuple

import pytest

from hasten import _native, split, wire
from hasten.columns import Columns
from hasten.division import Doubt, Split, foreign_hook, n_most, once_reason, pays, tell, warning_log
from hasten.once import MARK
from hasten.output import Held, restart_capture
from hasten.plugin import state
from hasten.whole import Whole

Entry = tuple[int, str, tuple[int, int, int, int]]  # position of the file, node id, columns


class Peer(NamedTuple):
    """A fork that collects; chan: to it; life: a pipe that ends with this process."""

    chan: int
    pid: int
    life: int


class _Off(Exception):  # noqa: N818
    """Why this process goes on alone, having forked nobody yet."""


def begin(config: pytest.Config, template: Any) -> Parts | None:
    """Before collection: decides, says so in the trace, and installs what several processes need."""
    wanted = config.getoption("collect", "once")
    worth, why = pays(config) if wanted == "auto" else (wanted == "parallel", "asked for")
    reason = once_reason(config) if worth else ""
    plan = Split.make(config, n_most()) if worth and not reason else None
    if plan is not None and plan.n > 1:
        parts = Parts(config, template, plan, why)
        config.pluginmanager.register(parts, "hasten-parts")
        state.parts = parts
        return parts
    why = reason or ("too few files or cores" if plan is not None else why)
    tell(_native.WIRE_COLLECT_ONCE, why)
    if wanted == "parallel" and not state.late:  # else the supervisor has said it
        template.notes.append(f"tests were collected by one process: {why}")
    return None


class Parts:
    """Plugin of the template and of the processes that collect beside it. index 0 is the template."""

    def __init__(self, config: pytest.Config, template: Any, plan: Split, why: str) -> None:
        log = warning_log()
        assert log is not None  # division.once_reason
        from _pytest import doctest, python

        self.config = config
        self.template = template
        self.plan = plan
        self.why = why
        self.index = 0
        self.off = False  # this process collects everything from here on
        self.forked = False
        self.merged = False
        self.doubt: Doubt | None = None
        self.peers: list[Peer] = []
        self.handed: list[dict[str, Any] | None] = []  # of peers, so far
        self.chan = -1  # of a peer: to the template
        self.life = -1
        self.known = (python.Module, doctest.DoctestModule, doctest.DoctestTextfile)
        self.imported = (python.Module, doctest.DoctestModule)
        self.log = log
        self.n_warned = 0  # before the fork
        self.first = 0  # position of the first file after the fork
        self.walk = hashlib.blake2b(digest_size=16)  # what was walked over, in order
        self.position = -1
        self.path = ""
        self.owner = 0
        self.skips = False
        self.seen: set[tuple[type, str]] = set()
        self.names: dict[str, str] = {}  # module name -> file
        self.at: dict[Any, int] = {}  # file's node -> position
        self.deferred: list[tuple[int, Any]] = []  # files of others
        self.marks: list[tuple[int, int, int]] = []  # position, events and warnings before it
        self.deselected: list[tuple[int, str]] = []
        self.n_before = 0  # tests collected before the fork
        self.held: Any = None  # Held, of a peer
        self.order: list[int | None] = []  # index in the catalog -> index in session.items
        self.limits: dict[int, int] = {}

    # ---- the walk

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        if self.off or not isinstance(collector, pytest.File):
            return
        try:
            self._enter(collector)
        except Doubt as doubt:
            self._give_up(doubt)
        except _Off as reason:
            self._stay_alone(str(reason))

    def _enter(self, file: Any) -> None:
        path = os.fspath(file.path)
        kind = type(file)
        if kind not in self.known:
            raise self._no(f"{path} is collected by a plugin ({kind.__name__})")
        if (kind, path) in self.seen:
            raise self._no(f"{path} is collected twice")
        self.seen.add((kind, path))
        if path != self.path:
            self.path = path
            self.position += 1
            self.owner = self.plan.owner.get(path, self.owner)
        if not self.forked and (self.position >= max(1, self.plan.n_head) or self.owner):
            self._fork()
        self.walk.update(f"{kind.__name__} {path}\n".encode("utf-8", "surrogateescape"))
        self.at[file] = self.position
        self.skips = self.forked and (self.owner != self.index or bool(self.doubt))
        self._name(file, kind)
        if self.skips:
            self.deferred.append((self.position, file))
            return
        self.marks.append((self.position, len(self.template.events), len(self.log)))
        if self.forked:
            self._listen()

    def _no(self, why: str) -> Exception:
        return Doubt(why) if self.forked else _Off(why)

    def _name(self, file: Any, kind: type) -> None:
        """sys.path as importing the file has left it, and no two modules of one name."""
        if kind not in self.imported:
            return
        from _pytest.pathlib import CouldNotResolvePathError, ImportMode, resolve_pkg_root_and_module_name

        mode = ImportMode(self.config.getoption("importmode"))
        namespaces = self.config.getini("consider_namespace_packages")
        try:
            root, name = resolve_pkg_root_and_module_name(file.path, consider_namespace_packages=namespaces)
        except CouldNotResolvePathError:
            if mode is ImportMode.importlib:
                return
            root, name = file.path.parent, file.path.stem
        if self.names.setdefault(name, self.path) != self.path:
            raise self._no(f"{self.names[name]} and {self.path} have the same module name")
        if self.skips and file.path.name != "conftest.py":
            _extend_path(str(root), mode is ImportMode.prepend, mode is ImportMode.append)

    @pytest.hookimpl(tryfirst=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> pytest.CollectReport | None:
        if self.off or not self.skips or not isinstance(collector, pytest.File):
            return None
        return pytest.CollectReport(collector.nodeid, "passed", None, [])

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if self.off:
            return
        if report.failed:
            why = f"{report.nodeid or 'the session'} has an error"
            if self.forked:
                self._give_up(Doubt(why, lasting=False))
            else:
                self._stay_alone(why)

    @pytest.hookimpl(tryfirst=True)
    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        if self.forked and not self.off:
            self.deselected.extend((self._place(item), item.nodeid) for item in items)

    def _place(self, item: Any) -> int:
        """The position of an item's file."""
        node = item
        while node is not None:
            if node in self.at:
                return self.at[node]
            node = node.parent
        raise Doubt(f"{item.nodeid} belongs to no file")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session) -> Generator[None, Any, Any]:
        if self.forked and not self.off:
            hook = foreign_hook(self.config)
            if hook:
                self._give_up(Doubt(f"{hook} may have to see all tests"))
            if self.doubt:
                raise session.Interrupted(str(self.doubt))
        return (yield)

    # ---- several processes

    def _stay_alone(self, why: str) -> None:
        """Nothing has happened yet that one process would not have done."""
        self.off = True
        self.skips = False
        tell(_native.WIRE_COLLECT_ONCE, why)
        if self.config.getoption("collect") == "parallel":
            self.template.notes.append(f"tests were collected by one process: {why}")

    def _fork(self) -> None:
        alarm = self.template.watch.before_fork() if self.template.watch else None
        hook = foreign_hook(self.config)
        if alarm or hook or self.template.worker.text.tell():
            raise _Off(alarm or (hook and f"{hook} may have to see all tests") or "collection writes to the terminal")
        self.forked = True
        self.first = self.position
        self.n_warned = len(self.log)
        split.flush()
        tell(_native.WIRE_COLLECT_PARALLEL, f"{self.plan.n} processes from {self.path} on; {self.why}")
        for index in range(1, self.plan.n):
            if not self._fork_peer(index):
                return
        self.handed = [None] * len(self.peers)
        if self.template.watch:
            self.template.watch.own([fd for peer in self.peers for fd in (peer.chan, peer.life)])

    def _fork_peer(self, index: int) -> bool:
        """False in the new process."""
        chan, theirs = (end.detach() for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        ends, life = os.pipe()
        if state.seeds:
            state.seeds.before_fork()
        pid = _native.fork()
        if pid:
            os.close(theirs)
            os.close(ends)
            self.peers.append(Peer(chan, pid, life))
            return True
        for peer in (*self.peers, Peer(chan, 0, life)):
            os.close(peer.chan)
            os.close(peer.life)
        self.peers = []
        self.index, self.chan, self.life = index, theirs, ends
        self._begin_as_peer()
        return False

    def _begin_as_peer(self) -> None:
        _native.die_with(self.life)
        split.close_life()
        if state.seeds:
            state.seeds.after_split()
        if self.template.watch:
            self.template.watch.own([self.chan, self.life])
        restart_capture(self.config, lambda: setattr(self, "held", Held()))  # conftests are imported everywhere
        self.template.events.clear()
        self.marks.clear()
        self.n_before = self.template.n_collected

    def _listen(self) -> None:
        """A doubt of others ends this process's collection, too."""
        for i, peer in enumerate(self.peers):
            if self.handed[i] is None:
                message = _native.recv(peer.chan, 0)
                if message is not False:
                    self._receive(i, message)

    def _receive(self, i: int, message: Any) -> None:
        if message is None:
            raise Doubt("a process that collected has died", lasting=False)
        data = wire.loads(_native.blob_read(message[5]))
        os.close(message[5])
        self.handed[i] = data
        if data["doubt"]:
            raise Doubt(*data["doubt"])

    def _give_up(self, doubt: Doubt) -> None:
        """Several processes cannot stand for one. Does not return in a peer."""
        self.doubt = self.doubt or doubt
        self.skips = True
        if self.index:
            self._hand_over({"doubt": (str(self.doubt), self.doubt.lasting)})
            os._exit(0)

    def _hand_over(self, data: dict[str, Any]) -> None:
        fd = _native.blob(wire.dumps(data))
        try:
            _native.send(self.chan, _native.WIRE_CATALOG, 0, 0, 0, b"", fd)
        except OSError:
            os._exit(1)  # the template is gone
        os.close(fd)

    def end_peers(self) -> None:
        """They have nothing that anybody needs."""
        for peer in self.peers:
            os.kill(peer.pid, signal.SIGKILL)
            os.waitpid(peer.pid, 0)
            os.close(peer.chan)
            os.close(peer.life)
        self.peers = []

    def gives_way(self, kind: str, text: str) -> bool:
        """Collection has ended with an exception: True when another template shall find that by itself."""
        if not self.forked or self.merged or self.off:
            return False
        doubt = Doubt(f"collection ended with {kind}: {text.strip().rpartition(chr(10))[2]}", lasting=False)
        self._give_up(doubt)
        self.ask_anew(doubt)
        return True

    def ask_anew(self, doubt: Doubt) -> None:
        """In the template: has another one collect alone."""
        self.doubt = self.doubt or doubt
        self.end_peers()
        self.merged = True
        tell(_native.WIRE_COLLECT_ANEW, str(self.doubt), self.doubt.lasting)

    # ---- together again

    def gather(self, session: pytest.Session, alarm: str | None) -> str | None:
        """After collection, in every process. The alarm of the first that has one; Doubt when they cannot be as one."""
        if self.index:
            self._hand_in(session, alarm)
            return None
        alarm = self._take_in(session, alarm)
        self.table = self._catalog(session)
        return alarm

    def _hand_in(self, session: pytest.Session, alarm: str | None) -> None:
        """In a peer, after its collection; returns when the template has put everything together."""
        restart_capture(self.config, lambda: self.held.release(self.config))
        try:
            data = self._part(session, alarm)
        except Doubt as doubt:
            self._give_up(doubt)
        self._hand_over(data)
        message = _native.recv(self.chan)
        if message is None or message[0] != _native.WIRE_CATALOG:
            os._exit(0)
        n, mine, self.limits = wire.loads(_native.blob_read(message[5]))
        os.close(message[5])
        self._take_order(n, mine, [i for i, _item in self._own_items(session)])

    def _take_order(self, n: int, mine: list[int], local: list[int]) -> None:
        """mine: indices in the catalog of this part's tests; local: of the same in session.items."""
        self.merged = True
        self.order = [None] * n
        for index, i in zip(mine, local, strict=True):
            self.order[index] = i

    def _take_in(self, session: pytest.Session, alarm: str | None) -> str | None:
        """In the template: waits for the others."""
        if self.doubt:
            raise self.doubt
        own = self._part(session, alarm)
        for i, peer in enumerate(self.peers):
            if self.handed[i] is None:
                self._receive(i, _native.recv(peer.chan))
        self.parts: list[dict[str, Any]] = [own, *(data for data in self.handed if data)]
        if any(part["walk"] != own["walk"] for part in self.parts):
            raise Doubt("not all processes have found the same files")
        self._check_warnings()
        return next((part["alarm"] for part in self.parts if part["alarm"]), None)

    def _own_items(self, session: pytest.Session) -> Iterator[tuple[int, Any]]:
        """(index in session.items, item) of this part: what was collected before the fork is the template's."""
        for i, item in enumerate(session.items):
            if not self.index or self._place(item) >= self.first:
                yield i, item

    def _part(self, session: pytest.Session, alarm: str | None) -> dict[str, Any]:
        items = [item for _i, item in self._own_items(session)]
        positions = [self._place(item) for item in items]
        self._check_items(session, items, positions)
        table = Columns(self.config, items)
        entries: list[Entry] = [
            (at, item.nodeid, table.of(item, item.nodeid)) for at, item in zip(positions, items, strict=True)
        ]
        warned = self.template.worker.take_warnings()
        if len(warned) != len(self.log):
            raise Doubt("not all warnings are known")
        return {
            "doubt": None,
            "alarm": alarm,
            "walk": self.walk.hexdigest(),
            "entries": entries,
            "groups": len(table.groups),
            "events": list(self._placed(self.template.events, 1)),
            "warnings": list(self._placed(warned, 2))[self.n_warned if self.index else 0 :],
            "n_collected": self.template.n_collected - self.n_before,
            "deselected": [one for one in self.deselected if not self.index or one[0] >= self.first],
        }

    def _check_items(self, session: pytest.Session, items: list[Any], positions: list[int]) -> None:
        if session.testsfailed or session.shouldfail or session.shouldstop:
            raise Doubt("collection has errors", lasting=False)
        if self.template.worker.text.tell():
            raise Doubt("collection writes to the terminal")
        if positions != sorted(positions):
            raise Doubt("tests are not in the order of their files")
        for item in items:
            spec = getattr(item, "callspec", None)
            if spec is not None and any(scope.value in ("session", "package") for scope in spec._arg2scope.values()):
                raise Doubt(f"{item.nodeid} has parameters of a scope that orders tests of several files")
            info = getattr(item, "_fixtureinfo", None)
            for defs in info.name2fixturedefs.values() if info else ():
                if defs and getattr(defs[-1].func, MARK, False):
                    raise Doubt("a fixture is session_once")

    def _placed(self, events: list[Any], column: int) -> Iterator[tuple[int, Any]]:
        """Each event with the position of the file in which it came."""
        marks = iter([*self.marks[1:], (0, sys.maxsize, sys.maxsize)])
        here, following = self.marks[0][0] if self.marks else 0, next(marks)
        for i, event in enumerate(events):
            while i >= following[column]:
                here, following = following[0], next(marks)
            yield here, event

    def _check_warnings(self) -> None:
        """One process would perhaps have shown it once, perhaps twice."""
        seen: dict[Any, int] = {}
        for i, part in enumerate(self.parts):
            for _at, event in part["warnings"]:
                warning = event[1]
                key = (warning["category"], warning["filename"], warning["lineno"], warning["text"])
                if seen.setdefault(key, i) != i:
                    raise Doubt(f"several processes have warned of {warning['text'][:100]}")

    def _catalog(self, session: pytest.Session) -> tuple[list[str], list[tuple[int, int, int, int]], int]:
        """(ids, columns, number of groups) of all parts in the order of one collector; tells everybody theirs."""
        rows: list[tuple[int, int, str, tuple[int, int, int, int]]] = []
        n_files = n_groups = n_affinities = 0
        for number, part in enumerate(self.parts):
            entries = part["entries"]
            for at, nodeid, (file, group, affinity, limit) in entries:
                low = affinity & ~wire.LATE
                moved = (low and low + n_affinities) | (affinity & wire.LATE)
                columns = (file + n_files, group + n_groups, moved, limit)
                rows.append((at, number, nodeid, columns))
            n_files += 1 + max((entry[2][0] for entry in entries), default=0)
            n_affinities += max((entry[2][2] & ~wire.LATE for entry in entries), default=0)
            n_groups += part["groups"]
        rows.sort(key=lambda row: row[0])
        self.limits = {i: row[3][3] * 1_000_000 for i, row in enumerate(rows) if row[3][3]}
        self._give_orders(session, [row[1] for row in rows])
        return [row[2] for row in rows], [row[3] for row in rows], max(1, n_groups)

    def _give_orders(self, session: pytest.Session, numbers: list[int]) -> None:
        mine: list[list[int]] = [[] for _ in self.parts]
        for index, number in enumerate(numbers):
            mine[number].append(index)
        self._take_order(len(numbers), mine[0], list(range(len(session.items))))
        for peer, own in zip(self.peers, mine[1:], strict=True):
            fd = _native.blob(wire.dumps((len(numbers), own, self.limits)))
            try:
                _native.send(peer.chan, _native.WIRE_CATALOG, 0, 0, 0, b"", fd)
            except OSError:
                pass  # dead: template_serve sees it
            os.close(fd)
        fd = _native.blob(array.array("I", numbers).tobytes())  # nothing but what follows is sent in between
        _native.send(state.template_chan, _native.WIRE_PARTS, 0, len(self.parts), 0, b"", fd)
        os.close(fd)

    def merge(self, collected: dict[str, Any]) -> None:
        """What the reporter has to know of collection (Template._collected), from all parts."""
        for name in ("events", "warnings"):
            collected[name] = [event for _at, event in self._sorted(part[name] for part in self.parts)]
        collected["deselected"] = [nodeid for _at, nodeid in self._sorted(part["deselected"] for part in self.parts)]
        collected["n_collected"] = sum(part["n_collected"] for part in self.parts)

    @staticmethod
    def _sorted(lists: Iterable[list[tuple[int, Any]]]) -> list[tuple[int, Any]]:
        return sorted((one for several in lists for one in several), key=lambda one: one[0])

    # ---- in a worker

    def enter_worker(self, session: pytest.Session) -> list[Any]:
        """The worker's own tests. Whoever asks the session for its items gets all of them."""
        for peer in self.peers:
            os.close(peer.life)
        for fd in (self.chan, self.life):
            if fd >= 0:
                os.close(fd)
        self.chan = self.life = -1
        items = list(session.items)
        session.items = Whole(items, self.all_items)
        session.testscollected = len(self.order)
        self.off = True
        return items

    def all_items(self, items: list[Any]) -> list[Any]:
        """items, and those of files that others have collected: collected here as well."""
        deferred, self.deferred = self.deferred, []
        rows = [(self._place(item), item) for item in items]
        for at, node in deferred:
            found = list(node.session.genitems(node))
            self.config.hook.pytest_collection_modifyitems(session=node.session, config=self.config, items=found)
            rows.extend((at, item) for item in found)
        rows.sort(key=lambda row: row[0])
        return [item for _at, item in rows]


def _extend_path(root: str, first: bool, last: bool) -> None:
    """What pytest's import_path does to sys.path."""
    if last and root not in sys.path:
        sys.path.append(root)
    elif first and root != sys.path[0]:
        sys.path.insert(0, root)
