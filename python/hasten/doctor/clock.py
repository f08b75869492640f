"""Plugin of every run that the doctor measures: outcomes and a few marks of time, nothing that costs.

``HASTEN_DOCTOR`` names a file with a JSON object: ``out`` names the file of the answer, ``start`` is when the process
was started and ``stop_at`` when it has to end (the clock of ``time.monotonic``), ``only`` are the tests to run,
``observe`` loads :mod:`hasten.doctor.watch`, ``simulate`` loads :mod:`hasten.doctor.simulate`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import pytest

from hasten.isolate.probe import category

_WORST = ("error", "failed", "xpassed", "xfailed", "skipped", "passed", "collected", "")


def quiet_time() -> float:
    """time.monotonic() without the time for which this process was ready and others had the processor."""
    try:
        fd = os.open("/proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            waited = int(os.read(fd, 100).split()[1]) / 1e9
        finally:
            os.close(fd)
    except (OSError, ValueError, IndexError):
        waited = 0.0
    return time.monotonic() - waited


class Clock:
    def __init__(self, asked: dict[str, Any]) -> None:
        self.asked = asked
        self.pid = os.getpid()
        self.outcomes: dict[str, str] = {}
        self.marks: dict[str, float] = {"loaded": self.now()}
        self.watch: Any = None
        self.session: pytest.Session | None = None
        self.stopped = False

    def now(self) -> float:
        return quiet_time() - float(self.asked["start"])

    def n_items(self) -> int:
        """The tests that are to run. 0 where another process has collected."""
        return len(getattr(self.session, "items", ()))

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        self.marks["configured"] = self.now()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        self.marks["collects"] = self.now()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        if "only" not in self.asked:
            return
        only = set(self.asked["only"])
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in only])
        items[:] = [item for item in items if item.nodeid in only]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.session = session
        self.marks["collected"] = self.now()
        if session.config.option.collectonly:
            self.outcomes = {item.nodeid: "collected" for item in session.items}

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.outcomes[report.nodeid] = "error"

    def pytest_runtest_logreport(self, report: Any) -> None:
        word = category(report.when, report.outcome, hasattr(report, "wasxfail"))
        old = self.outcomes.get(report.nodeid, "")
        if _WORST.index(word) < _WORST.index(old):
            self.outcomes[report.nodeid] = word
        stop_at = self.asked["stop_at"]
        if stop_at is not None and report.when == "teardown" and time.monotonic() > stop_at and self.session:
            self.stopped = len(self.outcomes) < self.n_items()
            self.session.shouldstop = "the time that hasten doctor has is up"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self.marks["ran"] = self.now()

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        if hasattr(config, "workerinput") or os.getpid() != self.pid:
            return
        self.marks["ends"] = self.now()
        facts: dict[str, Any] = {"outcomes": self.outcomes, "marks": self.marks, "stopped": self.stopped}
        facts["n_items"] = self.n_items()
        facts["gil"] = getattr(sys, "_is_gil_enabled", lambda: True)()
        if self.watch is not None:
            facts |= self.watch.facts(config)
        with open(self.asked["out"], "w", encoding="utf-8") as file:
            json.dump(facts, file)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    path = os.environ.pop("HASTEN_DOCTOR", None)
    if path is None:
        return
    with open(path, encoding="utf-8") as file:
        asked = json.load(file)
    clock = Clock(asked)
    if asked["observe"]:
        from hasten.doctor import watch

        clock.watch = watch.Watch()
        pluginmanager.register(clock.watch, "hasten-doctor-watch")
    if asked["simulate"]:
        from hasten.doctor import simulate

        simulate.install(pluginmanager, asked["simulate"])
    pluginmanager.register(clock, "hasten-doctor-clock")
