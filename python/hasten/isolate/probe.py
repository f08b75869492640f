"""Plugin of the processes that ``hasten isolate`` and ``hasten doctor`` start: runs chosen tests in a chosen order.

``HASTEN_PROBE`` is a JSON object. With ``fd`` the process collects, tells its node ids over that socket, and then forks
once for each request; the fork runs the tests that the request names and ends, without the end of a session. With
``order`` it runs those tests and ends as pytest does. Either way each report is a line in the file ``result``.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from typing import Any

import pytest

from hasten.seeds import Seeds


def category(when: str, outcome: str, wasxfail: bool) -> str:
    """One word for a report, '' where it decides nothing."""
    if outcome == "skipped":
        return "xfailed" if wasxfail else "skipped"
    if outcome == "failed":
        return "failed" if when == "call" else "error"
    if outcome == "passed" and when == "call":
        return "xpassed" if wasxfail else "passed"
    return ""


def last_line(report: Any) -> str:
    """Why it failed, in one line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr or "")
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:300]


class Probe:
    def __init__(self, config: pytest.Config, request: dict[str, Any]) -> None:
        self.config = config
        self.request = request
        self.result = -1  # descriptor of the file of results
        self.index: dict[int, int] = {}  # of an item by its id()
        self.running = -1
        self.seeds = Seeds()
        self.collect_errors: list[str] = []
        self.restart_capture: Any = None
        self.watch: Any = None  # state.Watch

    # ---- what is written

    def _write(self, **fields: Any) -> None:
        if self.result >= 0:
            os.write(self.result, json.dumps(fields).encode() + b"\n")

    def _open(self, path: str) -> None:
        self.result = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    # ---- hooks

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.collect_errors.append(f"{report.nodeid}: {last_line(report)}")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if "order" not in self.request or "plain" in self.request:
            return
        by_id = {item.nodeid: item for item in reversed(items)}
        items[:] = [by_id[nodeid] for nodeid in self.request["order"] if nodeid in by_id]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, Any, Any]:
        self.seeds.stop()
        self.index = {id(item): i for i, item in enumerate(session.items)}
        if "order" in self.request:
            self._open(self.request["result"])
            self._write(ids=[item.nodeid for item in session.items], errors=self.collect_errors)
            return (yield)
        serve(self, session)  # returns in a child, with its tests in session.items
        session.testsfailed = 0
        try:
            result = yield
        except BaseException as exc:
            self._write(ended=f"{type(exc).__name__}: {exc}")
            result = True
        self._leave()
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self.running = self.index.get(id(item), -1)
        self._write(start=self.running)
        return (yield)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "teardown" and report.passed:
            self._write(i=self.running, over=1)
            return
        word = category(report.when, report.outcome, hasattr(report, "wasxfail"))
        if word:
            self._write(i=self.running, o=word, t="" if report.passed else last_line(report))

    # ---- a fork

    def begin(self, session: pytest.Session, request: dict[str, Any]) -> None:
        """In the child: from here on this is a session of the chosen tests."""
        self.seeds.after_fork()
        self.request = request
        self._open(request["result"])
        self.restart_capture(self.config)
        self.config.option.maxfail = 0
        factory = getattr(self.config, "_tmp_path_factory", None)
        if factory is not None:
            factory._given_basetemp = type(factory._given_basetemp or _path())(request["result"] + ".tmp")
            factory._basetemp = None
        session.items = [session.items[i] for i in request["run"]]
        if request["watch"]:
            self.config.pluginmanager.register(self.watch(self.config, self._write, request["watch"], self.index))

    def _leave(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass
        self._write(end=1)
        os._exit(0)


def _path() -> Any:
    from pathlib import Path

    return Path()


class Child:
    def __init__(self, pid: int, number: int, limit_s: float) -> None:
        self.pid, self.number = pid, number
        self.fd = os.pidfd_open(pid)
        self.deadline = time.monotonic() + limit_s
        self.killed = ""


class Server:
    """The process that has collected. It reads requests, forks, and tells how its children end."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.queue: list[dict[str, Any]] = []
        self.children: dict[int, Child] = {}  # by pidfd
        self.most = 1

    def tell(self, **fields: Any) -> None:
        self.sock.sendall(json.dumps(fields).encode() + b"\n")

    def read(self) -> bool:
        """False when nobody asks any more."""
        try:
            data = self.sock.recv(1 << 20)
        except OSError:
            data = b""
        self.buffer += data
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "cancel" in request:
                if any(r["number"] == request["cancel"] for r in self.queue):
                    self.queue = [r for r in self.queue if r["number"] != request["cancel"]]
                    self.tell(number=request["cancel"], status=0, killed="cancelled")
                for child in self.children.values():
                    if child.number == request["cancel"]:
                        self.kill(child, "cancelled")
            else:
                self.most = request["most"]
                self.queue.append(request)
        return bool(data)

    def kill(self, child: Child, why: str) -> None:
        child.killed = child.killed or why
        try:
            os.kill(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def reap(self, child: Child) -> None:
        _, status = os.waitpid(child.pid, 0)
        os.close(child.fd)
        del self.children[child.fd]
        self.tell(number=child.number, status=os.waitstatus_to_exitcode(status), killed=child.killed)

    def wait(self) -> bool:
        """Until something has happened; False when nobody asks any more."""
        poll = select.poll()
        for fd in (self.sock.fileno(), *self.children):
            poll.register(fd, select.POLLIN)
        now = time.monotonic()
        ends = [child.deadline for child in self.children.values() if not child.killed]
        ready = [fd for fd, _ in poll.poll(max(0.0, min(ends) - now) * 1000 + 1 if ends else None)]
        for child in list(self.children.values()):
            if child.fd in ready:
                self.reap(child)
            elif time.monotonic() > child.deadline:
                self.kill(child, "too long")
        return self.sock.fileno() not in ready or self.read()


def serve(probe: Probe, session: pytest.Session) -> None:
    """Returns in children only; in this process it ends the process."""
    from hasten import output  # here, so that children find it imported
    from hasten.isolate import state

    probe.restart_capture, probe.watch = output.restart_capture, state.Watch
    server = Server(socket.socket(fileno=probe.request["fd"]))
    threads = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    probe.seeds.before_fork()
    server.tell(
        ids=[item.nodeid for item in session.items],
        errors=probe.collect_errors,
        threads=threads,
        rootdir=str(probe.config.rootpath),
        named=list(probe.config.option.file_or_dir),
    )
    while server.wait():
        while server.queue and len(server.children) < server.most:
            request = server.queue.pop(0)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            pid = os.fork()
            if pid == 0:
                server.sock.close()
                for fd in server.children:
                    os.close(fd)
                probe.begin(session, request)
                return
            child = Child(pid, request["number"], request["limit_s"])
            server.children[child.fd] = child
    for child in server.children.values():
        server.kill(child, "left")
    os._exit(0)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """A suite that is written for pytest-xdist finds its options and fixtures without it, as under ``hasten run``."""
    if importlib.util.find_spec("xdist") is None and not pluginmanager.is_blocked("xdist"):
        from hasten import xdist

        pluginmanager.register(sys.modules[xdist.__name__], "xdist")
        xdist.provide_import()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, Any, Any]:
    """No coverage: it would slow each probe down. By option, as a suite may have blocked the plugin."""
    if getattr(early_config.known_args_namespace, "cov_source", None):
        early_config.known_args_namespace.cov_source = []
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """One process, whatever pytest-xdist is asked for."""
    for name, value in (("numprocesses", None), ("distload", False), ("dist", "no"), ("tx", [])):
        if hasattr(config.option, name):
            setattr(config.option, name, value)
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    text = os.environ.pop("HASTEN_PROBE", None)
    if not text:
        return
    request = json.loads(text)
    config.pluginmanager.register(Probe(config, request), "hasten-probe")
