"""Annotations of GitHub Actions: failed tests at their lines in the review.

A line on standard output that the runner of the workflow reads; it shows ten of a step and drops the rest.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

MOST = 10
MOST_CHARACTERS = 2000  # of one message
OTHERS = ("pytest_github_actions_annotate_failures",)  # plugins that do the same, by entry point


def install(config: pytest.Config) -> None:
    """In a step of GitHub Actions, where no other plugin does it."""
    if os.environ.get("GITHUB_ACTIONS") == "true" and not any(map(config.pluginmanager.hasplugin, OTHERS)):
        config.pluginmanager.register(Annotations(config), "hasten-annotations")


class Annotations:
    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.top = _repository(config.rootpath)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        stats = terminalreporter.stats
        reports = [report for category in ("error", "failed") for report in stats.get(category, ())]
        if reports:
            terminalreporter.ensure_newline()
        for report in reports[:MOST]:
            terminalreporter._tw.line(self.line(report))

    def line(self, report: Any) -> str:
        """``::error file=...,line=...,title=...::message`` for one failed report."""
        path, number = self._place(report)
        properties = {"file": path, "line": str(number) if path and number else "", "title": report.nodeid}
        text = ",".join(f"{key}={_escape(value, ':,')}" for key, value in properties.items() if value)
        return f"::error {text}::{_escape(_message(report))}"

    def _place(self, report: Any) -> tuple[str, int]:
        """The last line of the repository that the failure went through; else the test's own."""
        entries = getattr(getattr(report.longrepr, "reprtraceback", None), "reprentries", ())
        for entry in reversed(entries):
            place = getattr(entry, "reprfileloc", None)
            if place is not None and (path := self._inside(place.path)):
                return path, place.lineno
        path, number, _ = getattr(report, "location", None) or (report.nodeid.split("::", 1)[0], None, "")
        return self._inside(self.config.rootpath / path), (number or 0) + 1

    def _inside(self, path: str | os.PathLike[str]) -> str:
        """From the top of the repository; "" for what lies outside or where an environment is installed."""
        full = Path(os.path.abspath(self.config.invocation_params.dir / path))
        try:
            inside = full.relative_to(self.top)
        except ValueError:
            return ""
        return "" if "site-packages" in inside.parts or not full.is_file() else inside.as_posix()


def _repository(start: Path) -> Path:
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if workspace:
        return Path(os.path.abspath(workspace))
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), start)


def _message(report: Any) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr or "failed")
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}\n..."


def _escape(text: str, also: str = "") -> str:
    """The runner undoes exactly these; in properties ':' and ',' separate."""
    for character in "%\r\n" + also:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
