"""The reporter: pytest's session as pytest-xdist's controller has it.

Collects nothing and runs nothing; reads the run's journal and calls the reporting hooks, once for each test, in one
process, so that reporting plugins work as in a plain run.
"""

from __future__ import annotations

import array
import marshal
import os
import shutil
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from _pytest.reports import TestReport
from _pytest.terminal import TerminalReporter

from hasten import _native, companions, fuse, junit, live, passed, switch, wire
from hasten.dots import Dots
from hasten.output import own_capture
from hasten.plugin import release_collector, shelter_objects, state
from hasten.scheduling import Scheduler
from hasten.xdist import Node, NodeManager

GONE = "the program has gone away (killed?); tests that were not reported have no result"
PHASES = ("setup", "call", "teardown")


def install(config: pytest.Config) -> None:
    """This process is the reporter from now on."""
    release_collector()
    shelter_objects(config)
    own_capture(config)
    reporter = Reporter(config)
    config.pluginmanager.register(reporter, "dsession")
    companions.install_in_reporter(config)
    settings = reporter.settings().encode("utf-8", "surrogateescape")
    try:
        _native.send(state.reporter_chan, _native.WIRE_CONFIG, 0, 0, 0, settings)
    except OSError:
        remove_crash_dir()
        print(f"hasten: {GONE}", file=sys.stderr)
        sys.exit(pytest.ExitCode.INTERNAL_ERROR)


def remove_crash_dir() -> None:
    """In the program's place, when that was killed: its workers ended with it."""
    if state.crash_dir:
        shutil.rmtree(state.crash_dir, ignore_errors=True)


def write_raw(tw: Any, text: str) -> None:
    """Text with its own control sequences; pytest 8.0's writer has no method for that."""
    getattr(tw, "write_raw", tw.write)(text)


class _RelayedRepr:
    """Stands for the exception of another process: prints its text."""

    def __str__(self) -> str:
        return str(self.relayed)  # type: ignore[attr-defined]


class RelayedError(Exception):
    """An internal error of a worker or of the template."""


class Deselected:
    """Stands for an item that the template has deselected: there is nothing to ask of it but its id."""

    def __init__(self, nodeid: str) -> None:
        self.nodeid = nodeid


class Reporter:
    """Plugin "dsession" of the reporting process."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.chan = state.reporter_chan
        self.session: pytest.Session | None = None
        self.nodes: dict[int, Node] = {}
        self.announced: set[int] = set()
        self.manager: NodeManager | None = None
        self.ids: list[str] = []
        self.interrupt: dict[str, Any] | None = None
        self.blocked = False
        self.collected = False
        self.asks = 0
        self.pending: set[str] = set()  # tests that are to run again after a crash
        self.verbosity = 0
        self.collecting = False  # a line says so and is not ended
        self.ended = False
        self.stop_sent = False
        self.relayed = ""
        self.dots: Dots | None = None
        self.passed: passed.Passed | None = None  # once there are tests of which only a record is kept
        self.in_c = not switch.is_off(config)
        self.make_id: Callable[[str], Any] = passed.node_id_maker() or str
        passed.prepare()
        self.live: live.Live | None = None
        self.junit = junit.Player(config)
        self.unfused: Counter[str] = Counter()  # why tests were run by pytest's hooks
        self.n_run = 0
        self.testrunuid = config.getoption("testrunuid", None) or uuid.uuid4().hex
        self.handlers: dict[int, Callable[..., None]] = {
            _native.RECORD_CATALOG: self.on_catalog,
            _native.RECORD_NODE_UP: self.on_node_up,
            _native.RECORD_TEST: self.on_test,
            _native.RECORD_CRASH: self.on_crash,
            _native.RECORD_EXTRA: self.on_extra,
            _native.RECORD_NODE_DOWN: self.on_node_down,
            _native.RECORD_INTERRUPT: self.on_interrupt,
            _native.RECORD_NOTE: self.on_note,
            _native.RECORD_END: self.on_end,
        }

    # ---- what the supervisor wants to know (run/options.h)

    def settings(self) -> str:
        option = self.config.option
        from hasten.options import parse_size

        restart = option.maxworkerrestart if getattr(option, "maxworkerrestart", None) is not None else ""
        try:
            restart_n = int(restart) if restart != "" else 4 * state.n_workers
        except ValueError:
            raise pytest.UsageError(f"--max-worker-restart: '{restart}' is not a number") from None
        timeout = getattr(option, "timeout", None)
        own_timeout = timeout if timeout and not self.config.pluginmanager.hasplugin("timeout") else 0
        if not 0 <= float(own_timeout) < 1e9:
            raise pytest.UsageError(f"--timeout: {timeout} is no time limit; write seconds, 0 for none")
        in_order = any(getattr(option, name, None) for name in ("failedfirst", "newfirst"))
        if option.dist == "each":
            state.asked = state.n_workers  # as many as asked for, whatever pays
        values = {
            "workers": state.n_workers,
            "dist": option.dist,
            "max_fail": option.maxfail or 0,
            "max_restarts": restart_n,
            "timeout_ms": int(float(own_timeout) * 1000),
            "worker_memory": parse_size(getattr(option, "worker_memory", None)),
            "rootdir": self.config.rootpath,
            "in_order": int(in_order),
            "start": state.start or "template",
            "python": ".".join(map(str, sys.version_info[:3])),
            "pytest": pytest.__version__,
            "own_screen": int(live.has_own_screen(self.config)),
            "quiet": int(self.config.getoption("verbose", 0) < 0),
            "pid": os.getpid(),
            "auto": int(isinstance(state.asked, str)),
            "key": f"{sys.implementation.cache_tag}-{sys.platform} pytest-{pytest.__version__}",
        }
        return "".join(f"{key}={value}\n" for key, value in values.items())

    # ---- session

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        tr = config.pluginmanager.getplugin("terminalreporter")
        if tr is not None:
            tr.showfspath = False

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self.session = session
        config = self.config
        if state.live:
            self.live = live.Live.make(config)
        live.own_lines(config)
        specs: list[Any] = []
        self.manager = NodeManager(config, self.testrunuid, specs)
        nodes = [Node(self.manager, f"gw{i}", state.n_workers) for i in range(state.n_workers)]
        specs.extend(node.gateway.spec for node in nodes)
        config.hook.pytest_xdist_setupnodes(config=config, specs=specs)
        inputs = []
        for slot, node in enumerate(nodes):
            config.hook.pytest_xdist_newgateway(gateway=node.gateway)
            config.hook.pytest_configure_node(node=node)
            self.nodes[slot] = node
            inputs.append(self._input(node))
        self._say_what_is_asked()
        fd = _native.blob(wire.dumps(inputs))
        self._send(_native.WIRE_INPUTS, 0, 0, 0, b"", fd)
        os.close(fd)

    def _send(self, *message: Any) -> None:
        try:
            _native.send(self.chan, *message)
        except OSError:
            self._end_alone()

    def _end_alone(self) -> NoReturn:
        remove_crash_dir()
        self.relayed = f"hasten: {GONE}"
        raise RelayedError(self.relayed)

    def _say_what_is_asked(self) -> None:
        """Plugins decide what only this process can ask them: groups (not of copies of all tests), and crashes."""
        hook = self.config.hook
        if self.config.option.dist != "each" and hook.pytest_xdist_make_scheduler.get_hookimpls():
            self.asks |= _native.WIRE_ASKS_GROUPS
        if hook.pytest_handlecrashitem.get_hookimpls():
            self.asks |= _native.WIRE_ASKS_CRASHES
        self._send(_native.WIRE_ASKS, 0, self.asks)

    def _send_groups(self, marks: dict[int, str]) -> None:
        if not self.ids or not self.asks & _native.WIRE_ASKS_GROUPS:
            return
        scheduler = Scheduler(self.config)
        groups = scheduler.groups(self.ids, marks)
        if scheduler.note:
            self._write_line(f"hasten: pytest_xdist_make_scheduler: {scheduler.note}")
        fd = _native.blob((groups or array.array("I", [0])).tobytes())
        self._send(_native.WIRE_GROUPS, 0, int(groups is not None), 0, b"", fd)
        os.close(fd)

    def _input(self, node: Node) -> dict[str, Any]:
        base = os.getcwd()
        factory = getattr(self.config, "_tmp_path_factory", None)
        if factory is not None:
            base = str(factory.getbasetemp())
        return {**node.workerinput, "hasten_basetemp": base, "hasten_crash_dir": state.crash_dir}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> bool:
        tr = self.config.pluginmanager.getplugin("terminalreporter")
        self.verbosity = self.config.getoption("verbose", 0)  # live logs raise it when tests begin
        if isinstance(tr, TerminalReporter) and self.live is None:
            tr.pytest_collection()  # "collecting ... " with -v or on a terminal; the line goes on when that is over
            self.collecting = tr.hasmarkup or self.config.getoption("verbose", 0) > 0
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        while not self.ended:
            message = _native.recv(self.chan)
            if message is None:
                self._end_alone()
            kind, _slot, _a, _b, _data, fd = message
            if kind == _native.WIRE_JOURNAL:
                _native.journal_attach(fd)
            elif kind == _native.WIRE_ADVANCE:
                self._read_journal()
        self._raise_interrupt(session)
        return True

    def _read_journal(self) -> None:
        while True:
            kept = self.dots.take_all() if self.dots is not None else 0
            records = _native.journal_read()
            if not records and not kept:
                break
            for record in records:
                handler = self.handlers.get(record[0])
                if handler is not None:
                    handler(*record[1:])
                if self.live is not None:
                    self.live.show()
        if self.dots is not None:
            self.dots.tr.flush()
        assert self.session is not None
        if (self.session.shouldfail or self.session.shouldstop) and not self.stop_sent:
            self.stop_sent = True
            text = str(self.session.shouldfail or self.session.shouldstop)
            self._send(_native.WIRE_STOP, 0, 0, 0, text.encode("utf-8", "replace")[:4000])

    def _raise_interrupt(self, session: pytest.Session) -> None:
        """Ends the session as a single process would have ended it."""
        interrupt = self.interrupt
        if interrupt is not None and interrupt["kind"] not in ("shouldfail", "shouldstop"):
            self._raise(interrupt)
        if self.blocked and session.testsfailed and not self.config.option.continue_on_collection_errors:
            s = "s" if session.testsfailed != 1 else ""
            raise session.Interrupted(f"{session.testsfailed} error{s} during collection")
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        if interrupt is not None:
            setattr(session, interrupt["kind"], interrupt["text"])  # the summary prints it
            raise (session.Failed if interrupt["kind"] == "shouldfail" else session.Interrupted)(interrupt["text"])

    def _raise(self, interrupt: dict[str, Any]) -> None:
        kind, text = interrupt["kind"], interrupt["text"]
        if kind == "usage":
            raise pytest.UsageError(*text.split(wire.SEPARATOR))
        if kind == "exit":
            raise pytest.exit.Exception(text, interrupt["code"])
        if kind == "keyboard":
            self.relayed = text
            raise KeyboardInterrupt
        self.relayed = text
        raise RelayedError(text)

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: Any, excinfo: Any) -> None:
        if self.relayed and isinstance(excinfo.value, RelayedError):
            excrepr.relayed = self.relayed
            excrepr.__class__ = type("RelayedRepr", (_RelayedRepr, type(excrepr)), {})

    @pytest.hookimpl(trylast=True)
    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        tr = self.config.pluginmanager.getplugin("terminalreporter")
        memo = getattr(tr, "_keyboardinterrupt_memo", None)
        if self.interrupt and self.interrupt["kind"] == "keyboard" and not self.relayed and memo is not None:
            memo.reprcrash.toterminal = lambda tw: tw.line("while tests " + ("ran" if self.ids else "were collected"))
        if self.relayed and memo is not None:
            memo.relayed = self.relayed
            crash = self.relayed.strip().rpartition("\n")[2]
            if getattr(memo, "reprcrash", None) is not None and crash:
                path, line, message = [*crash.split(":", 2), "", ""][:3]
                if line.isdigit():
                    memo.reprcrash.path, memo.reprcrash.lineno = path, int(line)
                    memo.reprcrash.message = message.strip()

    # ---- one method per record

    def on_catalog(self, _outcome: int, flags: int, *rest: Any) -> None:
        self.ids, data = wire.catalog_read(rest[-1])
        assert self.session is not None
        self.blocked = data["blocked"]
        self.session.testscollected = len(self.ids)
        self._update_cached_ids()
        self._show_collected(data)
        self._send_groups(data["marks"])
        self._look_who_listens()

    def _show_collected(self, data: dict[str, Any]) -> None:
        """What template or worker have collected: once, though each early worker may tell of it."""
        assert self.session is not None
        if self.collected:
            return
        self.collected = True
        self._play(data["events"], "", None)
        self._play(data["warnings"], "", None)
        for name in ("shouldfail", "shouldstop"):
            if data[name] and not getattr(self.session, name):
                setattr(self.session, name, data[name])
        for note in data["notes"]:
            self._write_line(f"hasten: {note}")
        tr = self.config.pluginmanager.getplugin("terminalreporter")
        if tr is None or not hasattr(tr, "report_collect"):
            return
        tr._numcollected = data["n_collected"]
        self.collecting = False
        if data["deselected"]:
            tr._add_stats("deselected", [Deselected(nodeid) for nodeid in data["deselected"]])
        if data["text"]:
            write_raw(tr._tw, data["text"])
        if self.verbosity >= 0:
            tr.report_collect(True)
            if data["lines"] and hasattr(tr, "_write_report_lines_from_hooks"):
                tr._write_report_lines_from_hooks(data["lines"])

    def _update_cached_ids(self) -> None:
        """--nf: the collected ids are known here as in a single process."""
        plugin = self.config.pluginmanager.getplugin("nfplugin")
        if plugin is not None and hasattr(plugin, "cached_nodeids"):
            passed.cache_ids(plugin, self.ids, lazily=self.in_c)

    @pytest.hookimpl(trylast=True)
    def pytest_plugin_registered(self) -> None:
        if self.dots is not None:
            self._look_who_listens()

    def _look_who_listens(self) -> None:
        if self.dots is not None:
            self.dots.stop()
        self.dots = Dots.make(self.config, self.live is None)
        if self.dots is not None:
            self.passed = self.dots.keep(self.passed, self.config, self.ids)

    def on_node_up(self, _outcome: int, _flags: int, _item: int, slot: int, *rest: Any) -> None:
        self._look_who_listens()
        if slot in self.announced:
            return
        # All that will come, at once and before any result, as it is with pytest-xdist: plugins count them.
        together = range(min(state.n_workers, len(self.ids))) if not self.announced else range(0)
        slots = sorted({slot, *together})
        info = wire.loads(rest[-1]) if rest[-1] else {}
        ids = list(dict.fromkeys(self.ids))
        for one in slots:
            node = self._node(one)
            node.workerinfo = {**info, "id": node.gateway.id, "spec": node.gateway.spec}
            self.config.hook.pytest_testnodeready(node=node)
        collected = self.config.hook.pytest_xdist_node_collection_finished
        for one in slots if collected.get_hookimpls() else ():
            collected(node=self._node(one), ids=list(ids))
        self.announced.update(slots)

    def _node(self, slot: int) -> Node:
        if slot not in self.nodes:
            assert self.manager is not None
            node = Node(self.manager, f"gw{slot}", state.n_workers)
            self.config.hook.pytest_configure_node(node=node)
            self.nodes[slot] = node
        return self.nodes[slot]

    def on_test(
        self, _: int, flags: int, item: int, slot: int, start: int, setup: int, call: int, teardown: int, raw: bytes
    ) -> None:
        nodeid = self.ids[item]
        if self.passed is not None:
            self.passed.own(item)
        if not flags & _native.RECORD_PLAIN:
            self._play(wire.loads(raw), nodeid, self._node(slot), item)
            return
        if self.in_c:
            reports = _native.passed_reports(self.make_id(nodeid), start, setup, call, teardown, raw)
        else:
            location, keywords = marshal.loads(raw)
            reports = self._plain_reports(nodeid, location, keywords, start, (setup, call, teardown))
        if self.dots is not None and self._tell_passed(self.dots, nodeid, reports, slot, item):
            return
        hook = self.config.hook
        node = self._node(slot)
        location = reports[0].location
        hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
        for report in reports:
            self._log(report, node, item)
        hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)

    def _tell_passed(self, dots: Dots, nodeid: str, reports: list[Any], slot: int, item: int) -> bool:
        if dots.tells_others:
            for report in reports:
                self._say_where(report, self._node(slot), item)
        told = dots.take(nodeid, reports)
        if not told:
            self._look_who_listens()
        return told

    @staticmethod
    def _plain_reports(nodeid: str, location: Any, keywords: Any, start: int, spent: tuple[int, int, int]) -> list[Any]:
        """The three reports of a passing test; the second and third are copies, as building one takes 3 us."""
        at = start / 1e9
        stop = at + spent[0] / 1e9
        setup = TestReport(nodeid, location, keywords, "passed", None, "setup", (), spent[0] / 1e9, at, stop)
        reports = [setup]
        for when, ns in (("call", spent[1]), ("teardown", spent[2])):
            report = TestReport.__new__(TestReport)
            own = report.__dict__
            own.update(setup.__dict__)
            own.update(when=when, duration=ns / 1e9, start=stop, stop=stop + ns / 1e9, sections=[], user_properties=[])
            stop += ns / 1e9
            reports.append(report)
        return reports

    def _say_where(self, report: Any, node: Node, item: int) -> None:
        report.node = node
        report.worker_id = node.gateway.id
        report.testrun_uid = self.testrunuid
        report.item_index = item

    def _log(self, report: Any, node: Node | None, item: int) -> None:
        if node is not None:
            self._say_where(report, node, item)
        self.config.hook.pytest_runtest_logreport(report=report)

    def _play(self, events: list[tuple[Any, ...]], nodeid: str, node: Node | None, item: int = -1) -> None:
        hook = self.config.hook
        location: Any = (nodeid.split("::", 1)[0], None, nodeid)
        for event in events:
            if event[0] == "r" and "location" in event[1]:
                location = event[1]["location"]
                break
        for event in events:
            kind = event[0]
            if kind == "r":
                self._play_report(event[1], node, item)
            elif kind == "s":
                id_, at = event[1:] or (nodeid, location)
                hook.pytest_runtest_logstart(nodeid=id_, location=at)
            elif kind == "f":
                id_, at = event[1:] or (nodeid, location)
                hook.pytest_runtest_logfinish(nodeid=id_, location=at)
            elif kind == "w":
                hook.pytest_warning_recorded.call_historic(
                    kwargs={
                        "warning_message": wire.load_warning(event[1]),
                        "when": event[2],
                        "nodeid": event[3],
                        "location": event[4],
                    }
                )
            elif kind == "c":
                self._show_collected(event[1])
            elif kind in ("g", "a"):
                self.junit.play(event, node)
            elif kind == "t":
                self._write(event[1])

    def _play_report(self, data: dict[str, Any], node: Node | None, item: int) -> None:
        extras = wire.take_extras(data)
        report = self.config.hook.pytest_report_from_serializable(config=self.config, data=data)
        wire.apply_extras(report, extras, self.config)
        if isinstance(report, pytest.CollectReport):
            self.config.hook.pytest_collectreport(report=report)
            return
        self._log(report, node, item)

    def _write(self, text: str) -> None:
        tr = self.config.pluginmanager.getplugin("terminalreporter")
        if tr is None:
            return
        if not self._has_live_logs():  # these end the line that names the test, and let its word follow
            self._end_line(tr)
        tr._tw.write(text)

    def _has_live_logs(self) -> bool:
        plugin = self.config.pluginmanager.getplugin("logging-plugin")
        return plugin is not None and bool(plugin._log_cli_enabled())

    def _end_line(self, tr: Any) -> None:
        tr.ensure_newline()
        if self.collecting:
            self.collecting = False
            tr._tw.line()

    def on_crash(self, outcome: int, flags: int, item: int, slot: int, *rest: Any) -> None:
        text = rest[-1].decode("utf-8", "replace")
        if item >= len(self.ids):
            self._write_line(text)
            return
        nodeid = self.ids[item]
        if self.passed is not None:
            self.passed.own(item)
        path = nodeid.split("::", 1)[0]
        when: Any = "teardown" if flags & _native.RECORD_AFTER else "call"
        report = TestReport(nodeid, (path, None, nodeid), {}, "failed", text, when, duration=rest[2] / 1e9)
        if not flags & _native.RECORD_AFTER:  # else the test itself has its result
            self._ask_about_crash(item, nodeid, report)
        self.config.hook.pytest_runtest_logstart(nodeid=nodeid, location=report.location)
        self._log(report, self._node(slot), item)
        self.config.hook.pytest_runtest_logfinish(nodeid=nodeid, location=report.location)

    def _ask_about_crash(self, item: int, nodeid: str, report: TestReport) -> None:
        self.pending.discard(nodeid)
        self.config.hook.pytest_handlecrashitem(crashitem=nodeid, report=report, sched=self)
        if self.asks & _native.WIRE_ASKS_CRASHES:
            again = nodeid in self.pending
            self._send(_native.WIRE_CRASH_SEEN, 0, item, int(again))

    def mark_test_pending(self, nodeid: str) -> None:
        """pytest_handlecrashitem asks for another run of the test that has killed its worker."""
        self.pending.add(nodeid)

    def on_extra(self, _outcome: int, _flags: int, _item: int, slot: int, *rest: Any) -> None:
        self._play(wire.loads(rest[-1]), "", self.nodes.get(slot))

    def on_node_down(self, outcome: int, _flags: int, _item: int, slot: int, *rest: Any) -> None:
        node = self._node(slot)
        error = None
        if rest[-1] and not outcome:
            node.workeroutput = wire.loads(rest[-1])
            n_run, unfused = node.workeroutput.pop("hasten_fuse", (0, {}))
            self.n_run += n_run
            self.unfused.update(unfused)
        else:
            error = rest[-1].decode("utf-8", "replace") or "Not properly terminated"
        self.config.hook.pytest_testnodedown(node=node, error=error)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.config.getoption("explain_fuse", False):
            terminalreporter.section("fused path")
            for line in fuse.explain(self.unfused, self.n_run):
                terminalreporter.write_line(line)

    def on_interrupt(self, *rest: Any) -> None:
        found = wire.load_interrupt(rest[-1])
        if self.interrupt is None or self.interrupt["kind"] == "keyboard":
            self.interrupt = found

    def on_note(self, *rest: Any) -> None:
        self._write_line(rest[-1].decode("utf-8", "replace"))

    def _write_line(self, text: str) -> None:
        tr = self.config.pluginmanager.getplugin("terminalreporter")
        if tr is not None and self.config.getoption("verbose", 0) >= 0:
            self._end_line(tr)
            tr.write_line(text)
        elif tr is None:
            print(text, file=sys.stderr)

    def on_end(self, *_rest: Any) -> None:
        self.ended = True
