"""Plugin of ``--verify-against-pytest``: writes what the reporting process is told, as JSON lines, into a file.

``HASTEN_RECORD`` names the file. Nothing happens in a worker.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

import pytest

_NORMAL = (
    (re.compile(r"0x[0-9a-fA-F]{4,}"), "0x0"),
    (re.compile(r"pytest-of-[^/\\\s]+/pytest-\d+(/popen-gw\d+)?"), "TMP"),
    (re.compile(r"\b\d+\.\d+( ?s\b| ?seconds)"), "N s"),
    (re.compile(r"\b[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\b"), "UUID"),
)


def normal(text: object) -> str:
    """Text without what differs between any two runs: addresses, temporary folders, durations, uuids."""
    result = "" if text is None else str(text)
    for pattern, instead in _NORMAL:
        result = pattern.sub(instead, result)
    return result


def pytest_configure(config: pytest.Config) -> None:
    path = os.environ.get("HASTEN_RECORD")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(path), "hasten-recorder")


class Recorder:
    def __init__(self, path: str) -> None:
        self.pid = os.getpid()
        self.file = open(path, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115

    def _write(self, **fields: Any) -> None:
        if os.getpid() == self.pid:
            self.file.write(json.dumps(fields) + "\n")
            self.file.flush()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: Any) -> None:
        context = getattr(report, "context", None)
        self._write(
            id=report.nodeid,
            when=report.when,
            outcome=report.outcome,
            xfail=normal(getattr(report, "wasxfail", None)),
            longrepr=normal(report.longrepr),
            sections=[[name, normal(text)] for name, text in report.sections],
            context="" if context is None else normal(f"{context.msg} {dict(context.kwargs)}"),
        )

    @pytest.hookimpl(trylast=True)
    def pytest_collectreport(self, report: Any) -> None:
        if not report.passed:
            self._write(id=report.nodeid, when="collect", outcome=report.outcome, longrepr=normal(report.longrepr))

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        self.file.close()
