"""Plugin of every run that the doctor measures: outcomes and a few marks of time, nothing that costs.

``HASTEN_DOCTOR`` is a JSON object: ``out`` names the file, ``start`` is when the process was started (the clock of
``time.monotonic``), ``observe`` loads :mod:`hasten.doctor.watch`, ``simulate`` loads :mod:`hasten.doctor.simulate`.
"""

from __future__ import annotations

import json
import os
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

    def now(self) -> float:
        return quiet_time() - float(self.asked["start"])

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        self.marks["configured"] = self.now()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        self.marks["collects"] = self.now()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
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

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        self.marks["ran"] = self.now()

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        if hasattr(config, "workerinput") or os.getpid() != self.pid:
            return
        self.marks["ends"] = self.now()
        facts: dict[str, Any] = {"outcomes": self.outcomes, "marks": self.marks}
        if self.watch is not None:
            facts |= self.watch.facts(config)
        with open(self.asked["out"], "w", encoding="utf-8") as file:
            json.dump(facts, file)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    text = os.environ.pop("HASTEN_DOCTOR", None)
    if text is None:
        return
    asked = json.loads(text)
    clock = Clock(asked)
    if asked["observe"]:
        from hasten.doctor import watch

        clock.watch = watch.Watch()
        pluginmanager.register(clock.watch, "hasten-doctor-watch")
    if asked["simulate"]:
        from hasten.doctor import simulate

        simulate.install(pluginmanager, asked["simulate"])
    pluginmanager.register(clock, "hasten-doctor-clock")
