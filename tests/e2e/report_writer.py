"""pytest plugin: writes what the reporting process is told as JSON lines into $REPORTS."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if "REPORTS" in os.environ and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Writer(os.environ["REPORTS"]), "report-writer")


class Writer:
    def __init__(self, path: str) -> None:
        self.file = open(path, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115

    def write(self, **fields: Any) -> None:
        self.file.write(json.dumps(fields, default=repr) + "\n")

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        context = getattr(report, "context", None)
        self.write(
            id=report.nodeid,
            when=report.when,
            outcome=report.outcome,
            wasxfail=getattr(report, "wasxfail", None),
            text=str(report.longrepr or ""),
            sections=report.sections,
            location=report.location,
            keywords=sorted(report.keywords),
            properties=report.user_properties,
            head=report.head_line,
            context=None if context is None else [context.msg, {k: repr(v) for k, v in dict(context.kwargs).items()}],
        )

    @pytest.hookimpl(trylast=True)
    def pytest_collectreport(self, report: Any) -> None:
        if not report.passed:
            self.write(id=report.nodeid, when="collect", outcome=report.outcome, text=report.longreprtext)

    def pytest_warning_recorded(self, warning_message: Any, when: str, nodeid: str, location: Any) -> None:
        self.write(id=nodeid, when=f"warning in {when}", category=warning_message.category.__name__,
                   text=str(warning_message.message), line=warning_message.lineno)  # fmt: skip

    def pytest_deselected(self, items: list[Any]) -> None:
        for item in items:
            self.write(id=item.nodeid, when="deselected")

    def pytest_unconfigure(self) -> None:
        self.file.close()
