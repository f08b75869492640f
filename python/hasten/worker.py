"""A worker: takes tests, runs pytest's own protocol for each, publishes one record per test."""

from __future__ import annotations

import dis
import io
import os
import sys
from collections.abc import Callable, Generator
from typing import Any

import pytest
from _pytest.reports import TestReport

from hasten import _native, failures, fuse, known, switch, wire
from hasten.plugin import state

NO_ITEM = 0xFFFFFFFF
NOT_RUN, NO_MORE, STOPPED = 0, 1, 3  # what fuse.c says of a test or of the session
MOST_OUTPUT = int(os.environ.get("HASTEN_TEST_MOST_OUTPUT", 64 << 20))  # characters of one report section
DESCRIPTORS = "the test has closed file descriptors that are not its own (os.closerange?)"
PHASES = ("setup", "call", "teardown")


def _outcome(reports: list[Any]) -> int:
    """The one outcome of a test (store/record.h) from all its reports."""
    found = _native.OUTCOME_PASSED
    for report in reports:
        xfail = hasattr(report, "wasxfail")
        if report.outcome == "failed" and not xfail:
            if report.when == "call":
                return _native.OUTCOME_FAILED
            found = _native.OUTCOME_ERROR
        elif found == _native.OUTCOME_ERROR:
            continue
        elif report.outcome == "rerun":
            found = _native.OUTCOME_RERUN
        elif report.outcome == "skipped":
            found = _native.OUTCOME_XFAILED if xfail else _native.OUTCOME_SKIPPED
        elif xfail and report.outcome == "passed":
            found = _native.OUTCOME_XPASSED
        elif found == _native.OUTCOME_RERUN and report.when == "call":
            found = _native.OUTCOME_PASSED
    return found


def reads_nextitem(config: pytest.Config) -> bool:
    """A plugin looks at nextitem before the teardown (pytest-testmon saves when there is none): no guess will do."""
    for impl in config.hook.pytest_runtest_protocol.get_hookimpls():
        code = getattr(impl.function, "__code__", None)
        ours = impl.function.__module__.startswith(("_pytest.", "hasten."))
        if "nextitem" not in impl.argnames or code is None or ours:
            continue
        for instruction in dis.get_instructions(code):
            loaded = instruction.argval if instruction.opname.startswith("LOAD_FAST") else ()
            if loaded == "nextitem" or (isinstance(loaded, tuple) and "nextitem" in loaded):
                return True
    return False


class Worker:
    """Plugin: records what happens to the running test. attach() makes this process a worker."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.session: pytest.Session | None = None
        self.attached = False
        self.events: list[tuple[Any, ...]] = []
        self.reports: list[Any] = []
        self.item_index = NO_ITEM
        self.nodeid = ""
        self.aborted = False
        self.has_fault_handler = False
        self.cuts: dict[int, tuple[str, str]] = {}  # id of a text -> the text, and what is left of it
        self.before_abort: Callable[[int], None] = lambda chan: None  # tells the supervisor what was collected
        self.gives_way: Callable[[str, str], bool] = lambda kind, text: False  # others collect: this is not the end
        self.limits: dict[int, int] = {}
        self.text = io.StringIO()
        self.fuse: fuse.Fuse | None = None
        self.unfused = ""  # why no test is fused
        self.n_run = 0
        self.n_attributes = 0  # of a report
        self.chan = -1  # of a fork of the template, to the supervisor
        self.has_left = False  # what is left of the run is for workers that start early
        if not switch.is_off(config):
            known.other_files()  # once, before the workers are forked: it reads pytest's files

    # ---- becoming a worker

    def take_terminal(self) -> None:
        """What the terminal reporter still writes (live logs, plugins) travels with the running test's record."""
        tr = self.config.pluginmanager.getplugin("terminalreporter")
        if tr is not None:
            tr._tw._file = self.text

    def attach(self, slot: int, segment_fd: int, plan_fd: int, limits: dict[int, int]) -> None:
        _native.worker_attach(segment_fd, plan_fd, slot)
        example = TestReport("", ("", None, ""), {}, "passed", None, "call")
        self.n_attributes = len(vars(example))
        _native.worker_plain_is(example)
        self.attached = True
        self.limits = limits
        self.events.clear()
        self._own_fault_handler()
        failures.install(self.config)
        info = {
            "version": sys.version,
            "version_info": tuple(sys.version_info),
            "sysplatform": sys.platform,
            "platform": "",
            "executable": sys.executable,
            "cwd": os.getcwd(),
        }
        self._publish(_native.RECORD_NODE_UP, payload=wire.dumps(info))
        if state.db is not None:
            state.db.check()

    def _own_fault_handler(self) -> None:
        """Python stacks of a crash go to this worker's own file, where the supervisor finds them."""
        try:
            from _pytest.faulthandler import fault_handler_stderr_fd_key as key
        except ImportError:
            return
        fd = self.config.stash.get(key, -1)
        own = self._open_stack_file() if fd >= 0 else -1
        if own < 0:
            return
        import faulthandler

        os.dup2(own, fd, inheritable=False)
        os.close(own)
        faulthandler.enable(file=fd)
        self.has_fault_handler = True

    def _open_stack_file(self) -> int:
        folder = self.config.workerinput.get("hasten_crash_dir")  # type: ignore[attr-defined]
        if not folder:
            return -1
        try:
            return os.open(os.path.join(folder, str(os.getpid())), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError:
            return -1

    def watch_exit(self) -> None:
        """pytest has taken its fault handler back; what still runs at exit has one all the same."""
        own = self._open_stack_file() if self.has_fault_handler else -1
        if own >= 0:
            import faulthandler

            faulthandler.enable(file=own)

    # ---- the loop

    def run(self, session: pytest.Session, items: list[pytest.Item], items_of: list[Any]) -> None:
        """items_of: index in the catalog -> index in items."""
        self.session = session
        setupstate = session._setupstate
        _native.loop_set(session, items, items_of, setupstate.teardown_exact)
        setupstate.teardown_exact = _native.loop_teardown_exact  # type: ignore[method-assign,assignment]
        self.fuse = fuse.Fuse.make(self.config, self, session)
        at_once = reads_nextitem(self.config)
        leased = state.resources is not None and state.resources.enter(session)
        index = _native.worker_take()
        try:
            while index >= 0:
                done, index, nextitem = self._run_tests(index, at_once)
                if done == NO_MORE:
                    break
                if done != STOPPED:
                    self._end_test(items[items_of[index]], index, nextitem, done)
                if self.has_left:
                    _native.loop_end()
                    break
                if done == STOPPED or _native.loop_end():
                    self._stop(session)
                    break
                index = _native.loop_next()
        finally:
            if self.fuse is not None:
                _native.fuse_leave()
                self.n_run += _native.fuse_count()
        self.item_index = NO_ITEM
        if leased:
            self._last_teardown(setupstate)
        _native.worker_leave()

    def _last_teardown(self, setupstate: Any) -> None:
        """This worker has waited for another test, with its session set up, and there was none."""
        item = _native.loop_current()
        call = pytest.CallInfo.from_call(lambda: setupstate.teardown_exact(None), "teardown")
        if call.excinfo is not None and item is not None:
            report = item.ihook.pytest_runtest_makereport(item=item, call=call)
            self.events.append(("r", self._written(report)))

    def _run_tests(self, index: int, at_once: bool) -> tuple[int, int, pytest.Item | None]:
        """Up to one that needs more than fuse.c does: what is left of it, its index, and what comes next."""
        if self.fuse is not None:
            return self.fuse.run(index, self.limits, at_once)
        return NOT_RUN, index, _native.loop_begin(index, self.limits.get(index, 0), at_once)

    def _end_test(self, item: pytest.Item, index: int, nextitem: pytest.Item | None, done: int) -> None:
        self.n_run += 1
        if done == NOT_RUN:
            self.item_index = index
            self.nodeid = item.nodeid
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
        if state.db is not None and any(report.failed for report in self.reports) and state.db.has_restarted():
            self._run_again(item, nextitem)
        if state.db is not None and state.db.missed():
            self._leave()
        else:
            self._publish_test()

    def _leave(self) -> None:
        """The test that has just run has no result: it runs again in a worker that has imported by itself."""
        self._forget_test()
        self.has_left = True
        why = state.db.missed()
        _native.send(self.chan, _native.WIRE_EARLY, 0, 0, 0, why.encode("utf-8", "replace")[:4000])

    def _forget_test(self) -> None:
        """As if the test that has just run had not."""
        assert self.session is not None
        self.session.testsfailed -= sum(report.failed and not hasattr(report, "wasxfail") for report in self.reports)
        self.session.shouldfail = False
        self.events.clear()
        self.reports = []
        self.take_text()

    def _run_again(self, item: pytest.Item, nextitem: pytest.Item | None) -> None:
        """Its database's server died under it; that has been said."""
        self._forget_test()
        if hasattr(item, "_initrequest"):
            item._initrequest()
        self.nodeid = item.nodeid
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)

    def _stop(self, session: pytest.Session) -> None:
        _native.worker_stop()
        if session.shouldfail:
            self._interrupt("shouldfail", str(session.shouldfail))
        else:
            self._interrupt("shouldstop", str(session.shouldstop))

    # ---- what happens

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self.events.append(("s",) if nodeid == self.nodeid else ("s", nodeid, location))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logfinish(self, nodeid: str, location: tuple[str, int | None, str]) -> None:
        self.events.append(("f",) if nodeid == self.nodeid else ("f", nodeid, location))

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        if self.fuse is not None:
            self.fuse.flush_held()
        if self.text.tell():
            self.events.append(("t", self.take_text()))
        # What is not a plain pass is written down at once: pytest-retry changes reports that it has sent.
        self.events.append(("r", report if report.outcome == "passed" else self._written(report)))
        self.reports.append(report)
        if state.db is not None and state.db.bound is not None and report.outcome != "passed":
            state.db.bound.look_at(report)
        if report.failed and not hasattr(report, "wasxfail") and self.attached and not self._is_void():
            _native.worker_failed()

    @staticmethod
    def _is_void() -> bool:
        return state.db is not None and bool(state.db.missed())

    @pytest.hookimpl(trylast=True)
    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
        if when != "config":  # the reporter has those from its own configuration
            self.events.append(("w", wire.dump_warning(warning_message), when, nodeid, location))

    @pytest.hookimpl(trylast=True)
    def pytest_internalerror(self, excrepr: object) -> bool:
        self._interrupt("internal", str(excrepr))
        return True  # shown by the reporter

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        value = excinfo.value
        if isinstance(value, pytest.exit.Exception):
            self._interrupt("exit", str(value.msg), value.returncode)
        elif type(value).__name__ != "Interrupted":
            self._interrupt("keyboard", str(excinfo.getrepr(funcargs=True)))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> Generator[None, Any, Any]:
        output = self.config.workeroutput  # type: ignore[attr-defined]
        output["exitstatus"] = int(exitstatus)
        output["shouldfail"] = session.shouldfail
        output["shouldstop"] = session.shouldstop
        output["hasten_fuse"] = (self.n_run, fuse.unfused(self))
        try:
            return (yield)
        finally:
            if self.attached:
                self._flush_extra()
                self._publish(_native.RECORD_NODE_DOWN, payload=wire.dumps(output))

    # ---- publishing

    def take_warnings(self) -> list[tuple[Any, ...]]:
        """Warnings recorded so far (of collection)."""
        taken = [event for event in self.events if event[0] == "w"]
        self.events.clear()
        return taken

    def take_text(self) -> str:
        text = self.text.getvalue()
        if text:
            self.text.seek(0)
            self.text.truncate()
        return text

    def _publish(self, kind: int, item: int = NO_ITEM, payload: bytes = b"") -> None:
        _native.worker_publish(kind, 0, 0, item, 0, 0, 0, 0, payload)

    def _serialized(self) -> list[tuple[Any, ...]]:
        text = self.take_text()
        if text:
            self.events.append(("t", text))
        return [("r", self._written(e[1])) if e[0] == "r" and type(e[1]) is not dict else e for e in self.events]

    def _written(self, report: Any) -> dict[str, Any]:
        data = self._plainly_written(report)
        if data is None:
            data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        sections = data.get("sections") if data else None
        if sections and any(len(text) > MOST_OUTPUT for _name, text in sections):
            data["sections"] = [(name, self._cut(text)) for name, text in sections]
        return wire.with_extras(data, report, self.config)

    def _plainly_written(self, report: Any) -> dict[str, Any] | None:
        """What pytest makes of a report that has passed and that nobody has added an attribute to."""
        if type(report) is not TestReport or report.longrepr is not None or len(vars(report)) != self.n_attributes:
            return None
        if self.fuse is None or not self.fuse.writes_reports():
            return None
        data = dict(vars(report))
        if "_id" in data:
            data["nodeid"] = str(data.pop("_id"))
        data["$report_type"] = "TestReport"
        return data

    def _cut(self, text: str) -> str:
        """Output that nobody could read is not carried through three processes; one cut for all reports of a test."""
        if len(text) <= MOST_OUTPUT:
            return text
        if id(text) not in self.cuts:
            part = MOST_OUTPUT // 2
            said = f"\n[hasten: {len(text) - 2 * part} characters of {len(text)} are left out here]\n"
            self.cuts[id(text)] = (text, text[:part] + said + text[-part:])
        return self.cuts[id(text)][1]

    def _end_damaged(self, why: str = DESCRIPTORS) -> None:
        """No later test could run as it should: another worker takes over, the reason goes with the crash."""
        folder = self.config.workerinput.get("hasten_crash_dir")  # type: ignore[attr-defined]
        if folder:
            with open(os.path.join(folder, str(os.getpid())), "a", encoding="utf-8") as f:
                f.write(f"{why}\n")
        os._exit(1)

    def _publish_test(self) -> None:
        if not _native.intact():
            self._end_damaged()
        if not self._publish_plain():
            self._publish_reports()
            self.cuts.clear()
        self.events.clear()
        self.reports = []

    def _publish_plain(self) -> bool:
        """The usual test: start, three passed reports with nothing in them, finish."""
        events = self.events
        return (
            len(events) == 5
            and len(events[0]) == 1
            and len(events[4]) == 1
            and not self.text.tell()
            and len(self.reports) == 3
            and self.reports[0].nodeid == self.nodeid
            and _native.worker_publish_plain(self.reports, self.item_index)
        )

    def _publish_reports(self) -> None:
        reports = self.reports
        times = [0, 0, 0]
        for report in reports:
            at = PHASES.index(report.when) if report.when in PHASES else 1
            times[at] += int(report.duration * 1e9)
        start = int(reports[0].start * 1e9) if reports else 0
        kind, payload = _native.RECORD_TEST, wire.dumps(self._serialized())
        if len(payload) > _native.RECORD_MAX_PAYLOAD:
            self._end_damaged(f"the reports of this test have {len(payload)} bytes; hasten carries 1 GiB at most")
        setup, call, teardown = times
        _native.worker_publish(kind, _outcome(reports), 0, self.item_index, start, setup, call, teardown, payload)

    def _flush_extra(self) -> None:
        """Reports and warnings of no test: session teardown, unraisable exceptions found late."""
        if self.events or self.text.tell():
            self._publish(_native.RECORD_EXTRA, payload=wire.dumps(self._serialized()))
            self.events.clear()
            self.reports = []

    def _interrupt(self, kind: str, text: str, code: int | None = None) -> None:
        """The run stops here: the reporter raises what a single process would have raised."""
        if self.aborted or (not self.attached and self.gives_way(kind, text)):
            return
        self.aborted = True
        payload = wire.dump_interrupt(kind, text, code)
        if self.attached:
            if not _native.intact():
                self._end_damaged()
            self._flush_extra()
            _native.worker_stop()
            self._publish(_native.RECORD_INTERRUPT, payload=payload)
            return
        chan = state.template_chan if state.fork is None else state.fork[1]
        fd = _native.blob(payload)
        try:
            self.before_abort(chan)
            _native.send(chan, _native.WIRE_ABORT, 0, 0, 0, b"", fd)
        except OSError:
            pass  # nobody is left who could report it
        os.close(fd)

    def abort(self, exc: BaseException) -> None:
        """pytest ended with this exception before or after its own session wrapper."""
        if isinstance(exc, pytest.UsageError):
            self._interrupt("usage", wire.SEPARATOR.join(str(arg) for arg in exc.args))
        else:
            self._interrupt("internal", f"{type(exc).__name__}: {exc}")
