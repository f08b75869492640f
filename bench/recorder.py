"""pytest plugin that writes what the reporting process is told, as JSON lines, to the file HASTEN_BENCH_RECORD.

Loaded with `-p recorder`. The module has one hook, which does nothing in a worker (its config has `workerinput`), so
that what runs the tests does not see a plugin that listens. HASTEN_BENCH_ORDER (`reverse` or `shuffle:SEED`) changes
the order of plain pytest's tests: the witness that a difference is the suite's own dependence on order.
"""

import json
import os
import random

import pytest


def pytest_configure(config):
    path = os.environ.get("HASTEN_BENCH_RECORD")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(config, path), "hasten-bench-recorder")
    order = os.environ.get("HASTEN_BENCH_ORDER")
    if order and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Order(order), "hasten-bench-order")


class Order:
    def __init__(self, order):
        self.order = order

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items):
        if self.order == "reverse":
            items.reverse()
        else:
            random.Random(self.order).shuffle(items)


class Recorder:
    def __init__(self, config, path):
        self.config = config
        self.pid = os.getpid()
        self.file = open(path, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115

    def write(self, event, **fields):
        if os.getpid() == self.pid:  # a test that forks takes a copy of this object along
            self.file.write(json.dumps({"e": event, **fields}, default=repr) + "\n")
            self.file.flush()

    def pytest_runtest_logreport(self, report):
        context = getattr(report, "context", None)  # of a subtest
        self.write(
            "test",
            id=report.nodeid,
            when=report.when,
            outcome=report.outcome,
            kind=type(report).__name__,
            xfail=getattr(report, "wasxfail", None),
            long=text_of(report.longrepr),
            sections=[list(section) for section in report.sections],
            keywords=sorted(str(name) for name in report.keywords),
            location=list(report.location),
            properties=[[str(name), repr(value)] for name, value in report.user_properties],
            context=None if context is None else [repr(context.msg), sorted(map(repr, context.kwargs.items()))],
        )

    def pytest_collectreport(self, report):
        # The reporting process of a parallel run is told of what went wrong only.
        if report.outcome != "passed":
            self.write("collect", id=report.nodeid, outcome=report.outcome, long=text_of(report.longrepr))

    def pytest_warning_recorded(self, warning_message, when, nodeid, location):
        self.write(
            "warning",
            id=nodeid,
            when=when,
            category=warning_message.category.__name__,
            text=str(warning_message.message),
            place=[warning_message.filename, warning_message.lineno],
        )

    def pytest_internalerror(self, excrepr):
        self.write("internal", long=text_of(excrepr))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus):
        self.write("finish", status=int(exitstatus))

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter):
        stats = {name: len(reports) for name, reports in terminalreporter.stats.items() if name}
        self.write("stats", counts=stats)

    def pytest_unconfigure(self):
        self.file.close()


def text_of(representation):
    """A report's text. A skip's is a tuple of path, line and reason."""
    if isinstance(representation, (tuple, list)):
        return [str(part) for part in representation]
    return None if representation is None else str(representation)
