"""The template: configures as a worker, imports and collects once, then forks workers on request.

A fork happens inside the innermost ``pytest_runtestloop``; the child returns from there through pytest's own stack.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest

from hasten import _native, companions, db_adapt, junit, parts, split, wire
from hasten.columns import Columns, marked_group
from hasten.debug import Debugging, Terminal
from hasten.division import Doubt
from hasten.once import Once
from hasten.output import Held, restart_capture
from hasten.plugin import release_collector, shelter_objects, state


def serve_early() -> None:
    """The early start: waits for forks here; returns in each worker with its identity in the environment."""
    split.close_life()
    _hello()
    fork = _native.template_serve(state.template_chan)
    if isinstance(fork, bool):
        _native.template_end_orphans()
        os._exit(0)
    state.role = "worker"
    state.fork = fork
    os.close(state.template_chan)
    state.template_chan = -1
    inputs = wire.loads(_native.blob_read(fork[3]))
    _set_environment(_input_of(inputs, fork[0]))


def spawned_worker(slot: int) -> None:
    """The spawn start: this process is worker `slot` from its first moment on."""
    segment_fd, inputs = _receive_inputs()
    fd = _native.blob(wire.dumps(inputs))
    state.role = "worker"
    state.fork = (slot, state.template_chan, segment_fd, fd, -1)
    state.template_chan = -1
    _set_environment(_input_of(inputs, slot))


def _hello() -> None:
    _native.send(state.template_chan, _native.WIRE_HELLO, 0, os.getpid())


def _input_of(inputs: list[dict[str, Any]], slot: int) -> dict[str, Any]:
    """The workerinput of a slot: replacements take over what plugins gave the worker they replace."""
    own = dict(inputs[slot % len(inputs)])
    own["workerid"] = f"gw{slot}"
    return own


def _set_environment(workerinput: dict[str, Any]) -> None:
    os.environ["PYTEST_XDIST_TESTRUNUID"] = workerinput["testrunuid"]
    os.environ["PYTEST_XDIST_WORKER"] = workerinput["workerid"]
    os.environ["PYTEST_XDIST_WORKER_COUNT"] = str(workerinput["workercount"])
    if state.db is not None:
        state.db.identity(workerinput["workerid"])
    db_adapt.install()


def _mute_terminal(config: pytest.Config) -> None:
    """The terminal reporter stays (assertion details ask for its writer) and reports nothing."""
    tr = config.pluginmanager.getplugin("terminalreporter")
    if tr is None:
        return
    for caller in config.pluginmanager.get_hookcallers(tr) or []:
        if caller.name not in ("pytest_report_teststatus", "pytest_report_header"):
            caller._remove_plugin(tr)


def install(config: pytest.Config) -> None:
    """This process is the template from now on: identity of the first worker, a worker's options and plugins."""
    wire.Trust.freeze()
    _hello()
    segment_fd, inputs = _receive_inputs()
    template = Template(config, segment_fd, inputs)
    _set_environment(_input_of(inputs, 0))
    _become(config, template, _input_of(inputs, 0))
    if state.watch:
        template.watch = state.watch
        state.watch.identity_of_first(config, inputs)


def install_early_worker(config: pytest.Config) -> None:
    """The same in a worker that was forked before the conftests were imported."""
    wire.Trust.freeze()
    assert state.fork is not None
    slot, _chan, segment_fd, inputs_fd, _plan = state.fork
    inputs = wire.loads(_native.blob_read(inputs_fd))
    os.close(inputs_fd)
    template = Template(config, segment_fd, inputs)
    _become(config, template, _input_of(inputs, slot))


def _receive_inputs() -> tuple[int, list[dict[str, Any]]]:
    segment_fd = -1
    while True:
        message = _native.recv(state.template_chan)
        if message is None:
            os._exit(0)  # the supervisor is gone, or has no use for a template
        kind, _slot, _a, _b, _data, fd = message
        if kind == _native.WIRE_SEGMENT:
            segment_fd = fd
        elif kind == _native.WIRE_INPUTS:
            inputs = wire.loads(_native.blob_read(fd))
            os.close(fd)
            return segment_fd, inputs
        elif kind == _native.WIRE_QUIT:
            os._exit(0)


def _become(config: pytest.Config, template: Template, workerinput: dict[str, Any]) -> None:
    from hasten.worker import Worker

    state.terminal_out = os.dup(1)
    restart_capture(config)
    config.workerinput = workerinput  # type: ignore[attr-defined]
    config.workeroutput = {}  # type: ignore[attr-defined]
    config.option.basetemp = os.path.join(workerinput["hasten_basetemp"], f"popen-{workerinput['workerid']}")
    template.held = Held()
    template.worker = Worker(config)
    template.worker.before_abort = template.tell_collected
    state.worker = template.worker
    config.pluginmanager.register(template, "hasten-template")
    config.pluginmanager.register(template.worker, "hasten-worker")
    companions.install_in_template(config)
    kept_in = workerinput.get("hasten_crash_dir") or workerinput["hasten_basetemp"]
    terminal = Terminal(config, state.terminal_out, kept_in)
    config.pluginmanager.register(Debugging(terminal), "hasten-debugging")


class Template:
    """Plugin of the template and, after the fork, of its workers."""

    def __init__(self, config: pytest.Config, segment_fd: int, inputs: list[dict[str, Any]]) -> None:
        self.config = config
        self.segment_fd = segment_fd
        self.inputs = inputs
        self.worker: Any = None
        self.watch: Any = None
        self.has_begun = False  # to collect
        self.parts: parts.Parts | None = None  # several processes do
        self.held: Held | None = None
        self.events: list[tuple[Any, ...]] = []  # of collection, for the reporter
        self.n_collected = 0
        self.deselected: list[str] = []
        self.notes: list[str] = []  # lines of ours for people
        self.finished: pytest.Session | None = None  # collection has come to its end, be it a bad one
        self.told = False
        self.cut_short = False  # collection has ended before its end

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        _mute_terminal(config)
        self.worker.take_terminal()
        junit.install(config, self.worker.events)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        if self.held is not None:
            self.held.release(self.config)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectstart(self, collector: pytest.Collector) -> None:
        if isinstance(collector, pytest.Session) and state.fork is None and not self.has_begun:
            self.has_begun = True
            self.parts = parts.begin(self.config, self)
            if self.parts is not None:
                self.worker.gives_way = self.parts.gives_way

    @pytest.hookimpl(tryfirst=True)
    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.n_collected += sum(isinstance(x, pytest.Item) for x in report.result or ())
        if not report.passed or report.sections:
            data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
            self.events.append(("r", wire.with_extras(data, report, self.config)))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """-x, --maxfail and session.shouldstop end it at once: the reporter hears what was found and ends likewise."""
        try:
            return (yield)
        except (session.Failed, session.Interrupted):
            self.cut_short = True
            session.items = []
            return True

    def _blocked(self, session: pytest.Session) -> bool:
        """Errors of collection are why no test runs."""
        return bool(session.testsfailed) and not self.cut_short and not self.config.option.continue_on_collection_errors

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.finished = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.deselected.extend(getattr(item, "nodeid", "") for item in items)  # plugins pass stand-ins

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        release_collector()
        blocked = self._blocked(session)
        if state.fork is not None:
            return self._run_early(session)
        if self._must_start_over(session, blocked):
            return True  # nothing of this process is used: it unconfigures and leaves
        once = Once(self.config, session)
        if self.parts is not None and self.parts.index:
            limits = self.parts.limits
        else:
            if not blocked:
                once.set_up()
            self.notes.extend(once.notes)
            limits = self._send_catalog(session, state.template_chan, blocked, once.active)
        fork = self._serve()
        if isinstance(fork, bool):
            return self._end(once, fork)
        once.in_worker()
        items, order = self._become_worker(session, fork, limits)
        if order:
            self.worker.run(session, items, order)
        return True

    def _must_start_over(self, session: pytest.Session, blocked: bool) -> bool:
        """Tells the supervisor why this template is not the right one. Parts that were collected come together here."""
        alarm = self.watch.before_fork() if self.watch else None
        if self.parts is not None and not self.parts.forked:
            self.parts = None
        try:
            if self.parts is not None:
                alarm = self.parts.gather(session, alarm)
        except Doubt as doubt:
            assert self.parts is not None
            self.parts.ask_anew(doubt)
            return True
        is_auto = self.config.getoption("start", "auto") == "auto"
        if not (alarm and is_auto) and (self.parts is None or not self.parts.index):  # the others have collected, too
            alarm = (state.db.before_fork() if state.db is not None else None) or alarm
        n_items = len(self.parts.order) if self.parts is not None else len(session.items)
        blame = self._blame() if blocked and is_auto else None
        alarm = blame or alarm
        if not alarm or not is_auto or (not blame and (not n_items or blocked)):
            return False
        if self.parts is not None:
            self.parts.end_peers()
        _native.send(state.template_chan, _native.WIRE_EARLY, 0, 0, 0, alarm.encode("utf-8", "replace")[:4000])
        return True

    def _blame(self) -> str | None:
        """Why errors of collection may be none of the suite's."""
        if state.db is None or self.parts is not None:
            return None
        return state.db.is_to_blame(str(event) for event in self.events)  # type: ignore[no-any-return]

    def _serve(self) -> tuple[int, int, int, int, int] | bool:
        shelter_objects(self.config)
        if state.seeds:
            state.seeds.stop()
            state.seeds.before_fork()
        split.close_life()
        if state.cov is not None:
            state.cov.before_workers()
        if self.parts is None:
            return _native.template_serve(state.template_chan, self.segment_fd)
        if not self.parts.index:
            peers = [(peer.chan, peer.pid) for peer in self.parts.peers]
            return _native.template_serve(state.template_chan, self.segment_fd, -1, peers)
        return _native.template_serve(self.parts.chan, self.segment_fd, -1, [], state.template_chan)

    def _end(self, once: Once, proper: bool) -> bool:
        """No worker is left, and none is wanted."""
        report = once.last_teardown() if once.active else None
        if state.cov is not None and once.active:
            state.cov.after_workers()
        if report is not None:
            self._send_extra(state.template_chan, ("r", self.worker._written(report)))
        _native.template_end_orphans()
        if proper:
            os._exit(0)  # a worker has ended the session for this process too
        return True

    def _become_worker(
        self, session: pytest.Session, fork: tuple[int, ...], limits: dict[int, int]
    ) -> tuple[list[pytest.Item], list[Any]]:
        """(this worker's tests, index in the catalog -> index in them); [] in place of the latter as _match does."""
        slot, chan, segment_fd, _inputs_fd, plan_fd = fork
        state.role = "worker"
        os.close(state.template_chan)
        state.template_chan = -1
        items = session.items
        order: list[Any] = list(range(len(items))) * self._n_copies()
        if self.parts is not None:
            items, order = self.parts.enter_worker(session), self.parts.order
        if state.late:  # tests keep the numbers that the first template gave them
            order = self._match(session, slot, chan, self._receive_plan(chan)[1])
            if not order:
                return items, order
            limits = {at: limits[i] for at, i in enumerate(order) if i in limits}
        _native.die_with(chan)
        if state.seeds:
            state.seeds.after_fork()
        own = _input_of(self.inputs, slot)
        if self.watch:
            self.watch.stop()
        workerinput = self.config.workerinput  # type: ignore[attr-defined]
        dict.clear(workerinput)
        dict.update(workerinput, own)
        _set_environment(own)
        companions.reconnect(self.config)
        restart_capture(self.config, keep_text=slot == 0 and not state.late)  # the first test's, as plain pytest's
        self._own_basetemp(own)
        self.worker.chan = chan
        self.worker.attach(slot, segment_fd, plan_fd, limits)
        for fd in (segment_fd, plan_fd):
            os.close(fd)
        return items, order

    @staticmethod
    def _match(session: pytest.Session, slot: int, chan: int, reference: bytes) -> list[int]:
        """Index in the catalog `reference` -> index in session.items; [] when this process lacks one of its tests."""
        own = {item.nodeid: i for i, item in enumerate(session.items)}
        ids, _python = wire.catalog_read(reference)
        order = [own.get(nodeid, -1) for nodeid in ids]
        _native.send(chan, _native.WIRE_MISSING, slot, order.count(-1))
        return [] if -1 in order else order

    def _own_basetemp(self, own: dict[str, Any]) -> None:
        factory = getattr(self.config, "_tmp_path_factory", None)
        path = os.path.join(own["hasten_basetemp"], f"popen-{own['workerid']}")
        self.config.option.basetemp = path
        if factory is not None:
            factory._given_basetemp = self.config.rootpath.__class__(path)
            factory._basetemp = None

    def _run_early(self, session: pytest.Session) -> bool:
        assert state.fork is not None
        slot, chan, segment_fd, _inputs, _plan = state.fork
        blocked = self._blocked(session)
        limits = self._send_catalog(session, chan, blocked)
        plan_fd, reference = self._receive_plan(chan)
        if plan_fd < 0:
            return True
        order = self._match(session, slot, chan, reference)
        if not order:
            return True
        _native.die_with(chan)
        limits = {at: limits[i] for at, i in enumerate(order) if i in limits}
        self.worker.attach(slot, segment_fd, plan_fd, limits)
        for fd in (segment_fd, plan_fd):
            os.close(fd)
        self.worker.run(session, session.items, order)
        return True

    def _receive_plan(self, chan: int) -> tuple[int, bytes]:
        plan_fd = -1
        while True:
            message = _native.recv(chan)
            if message is None:
                os._exit(3)
            kind, _slot, _a, _b, _data, fd = message
            if kind == _native.WIRE_PLAN:
                plan_fd = fd
            elif kind == _native.WIRE_CATALOG:
                blob = _native.blob_read(fd)
                os.close(fd)
                return plan_fd, blob
            elif kind == _native.WIRE_QUIT:
                return -1, b""

    def _n_copies(self) -> int:
        """How often each test is run: once, or by each worker."""
        return len(self.inputs) if getattr(self.config.option, "hasten_dist", "load") == "each" else 1

    def _send_catalog(
        self, session: pytest.Session, chan: int, blocked: bool, wait_for_me: bool = False
    ) -> dict[int, int]:
        """Returns the time limits (ns) of the items that have one of their own."""
        collected = self._collected(session, blocked)
        if self.parts is None:
            ids, columns, n_groups = self._table(session)
        else:
            ids, columns, n_groups = self.parts.table
            self.parts.merge(collected)
        needs = state.resources.blob(session.items * self._n_copies()) if state.resources else b""
        fd = _native.blob(wire.catalog_build(ids, columns, n_groups, wire.dumps(collected), needs))
        nothing = blocked or not ids
        self.told = True
        _native.send(chan, _native.WIRE_CATALOG, 0, int(nothing), int(wait_for_me), b"", fd)
        os.close(fd)
        return {i: c[3] * 1_000_000 for i, c in enumerate(columns) if c[3]}

    def _table(self, session: pytest.Session) -> tuple[list[str], list[tuple[int, int, int, int]], int]:
        """(ids, columns, number of groups) of all tests."""
        copies = range(self._n_copies())
        ids = [item.nodeid for item in session.items] * len(copies)
        table = Columns(self.config, session.items)
        columns = [table.of(item, item.nodeid, copy) for copy in copies for item in session.items]
        return ids, columns, table.n_groups()

    def _collected(self, session: pytest.Session, blocked: bool) -> dict[str, Any]:
        """What the reporter has to know of collection, the tests themselves aside."""
        lines = []
        if not blocked and self.config.getoption("verbose", 0) >= 0:
            lines = self.config.hook.pytest_report_collectionfinish(
                config=self.config, start_path=self.config.invocation_params.dir, startdir=None, items=session.items
            )
        return {
            "events": self.events,
            "warnings": self.worker.take_warnings(),
            "text": self.worker.take_text(),
            "lines": lines,
            "notes": self.notes,
            "n_collected": self.n_collected,
            "deselected": self.deselected,
            "blocked": blocked,
            "marks": self._marks(session),
            "shouldfail": session.shouldfail,
            "shouldstop": session.shouldstop,
        }

    def _marks(self, session: pytest.Session) -> dict[int, str]:
        """--dist loadgroup: the group of each test that has one, for a plugin's scheduler."""
        if getattr(self.config.option, "hasten_dist", "") != "loadgroup":
            return {}
        groups = ((i, marked_group(item)) for i, item in enumerate(session.items))
        return {i: group for i, group in groups if group}

    def tell_collected(self, chan: int) -> None:
        """Collection ends with an exception (a usage error, a hook's): pytest counts all the same, if it got there."""
        session = self.finished
        if session is None or self.told:
            return
        self.told = True
        try:
            collected = self._collected(session, bool(session.testsfailed))
        except Exception:
            return  # the exception that is on its way says more than a second one
        self._send_extra(chan, ("c", collected))

    @staticmethod
    def _send_extra(chan: int, event: tuple[Any, ...]) -> None:
        fd = _native.blob(wire.dumps([event]))
        _native.send(chan, _native.WIRE_EXTRA, 0, 0, 0, b"", fd)
        os.close(fd)
