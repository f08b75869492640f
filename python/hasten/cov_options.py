"""pytest-cov's options, marker and fixtures for a run that hasten drives, and how its place is taken.

Where pytest-cov is not installed this module stands in for its plugin, under its name; where it is, its own options and
fixtures stay and only the hook that would start a second measurement goes. Semantics are those of pytest-cov 7.1.
Imports nothing of coverage: most runs measure nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from typing import Any

import pytest

OWN_NAME = "hasten-cov-options"
NAME = "pytest_cov"  # of pytest-cov's entry point
FILES = ("annotate", "html", "xml", "json", "markdown", "markdown-append", "lcov")
TERMINAL = ("term", "term-missing")
CONTEXTS = ("test", "item", "function")


def report_kind(text: str) -> tuple[str, str | None]:
    """``TYPE[:DEST]`` -> (type, destination or modifier)."""
    kind, colon, rest = text.partition(":")
    if kind not in ("", *TERMINAL, *FILES):
        raise argparse.ArgumentTypeError(f'invalid choice: "{text}" (choose from "{[*TERMINAL, *FILES]}")')
    if not colon:
        return kind, None
    if kind in FILES or (kind in TERMINAL and rest == "skip-covered"):
        return kind, rest
    raise argparse.ArgumentTypeError(f'output specifier not supported for: "{text}" (choose from "{list(FILES)}")')


def least_percentage(text: str) -> float:
    """An int where it is written as one: the message repeats what was asked for."""
    number: float
    try:
        number = int(text)
    except ValueError:
        try:
            number = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError("An integer or float value is required.") from None
    if number > 100:
        raise argparse.ArgumentTypeError(f"{text} is more than 100, which no run can reach.")
    return number


def context_kind(text: str) -> str:
    if text not in CONTEXTS:
        raise argparse.ArgumentTypeError(f"'{text}' is none of {', '.join(CONTEXTS)}.")
    return text


class _Collect(argparse.Action):
    """--cov-report: type -> destination of all that are wanted."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        kind, where = values
        wanted = namespace.cov_report
        if where is None and kind.startswith("markdown"):
            where = "coverage.md"
        wanted[kind] = where
        if "markdown" in wanted and wanted["markdown"] == wanted.get("markdown-append"):
            parser.error(
                f"markdown and markdown-append options cannot point to the same file: '{wanted['markdown']}'. "
                "Please redirect one of them using :DEST (e.g. --cov-report=markdown:dest_file.md)"
            )


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cov", "coverage (hasten)")
    group.addoption(
        "--cov",
        action="append",
        default=[],
        metavar="SOURCE",
        nargs="?",
        const=True,
        dest="cov_source",
        help="Folder or package to measure (may be repeated); without a value what the configuration says, --cov= "
        "everything.",
    )
    group.addoption(
        "--cov-reset", action="store_const", const=[], dest="cov_source", help="Forget every --cov before this one."
    )
    group.addoption(
        "--cov-report",
        action=_Collect,
        default={},
        metavar="TYPE",
        type=report_kind,
        help="Report to make (may be repeated): term, term-missing (each also with :skip-covered), annotate, html, "
        "xml, json, lcov, markdown, markdown-append (each also with :DEST). --cov-report= makes none.",
    )
    group.addoption(
        "--cov-config", default=".coveragerc", metavar="PATH", help="coverage.py's configuration. Default: .coveragerc"
    )
    group.addoption("--no-cov-on-fail", action="store_true", default=False, help="No report when a test has failed.")
    group.addoption("--no-cov", action="store_true", default=False, help="Measure nothing, whatever else is asked for.")
    group.addoption(
        "--cov-fail-under", metavar="MIN", type=least_percentage, help="Fail when the whole is covered less than this."
    )
    group.addoption(
        "--cov-append", action="store_true", default=False, help="Add to the data that is there, do not delete it."
    )
    group.addoption("--cov-branch", action="store_true", default=None, help="Measure branches.")
    group.addoption("--cov-precision", type=int, default=None, help="Digits after the point in reports.")
    group.addoption(
        "--cov-context",
        metavar="CONTEXT",
        type=context_kind,
        help="Note which test ran a line: test (its setup, run and teardown apart), item (as one), function (only "
        "which functions each test entered).",
    )


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec(NAME) is not None
    except ImportError:  # somebody's finder hides it
        return False


def install(parser: pytest.Parser, manager: pytest.PytestPluginManager) -> None:
    """Called while options are added, before or after pytest-cov was loaded."""
    autoload = not os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD") and "--disable-plugin-autoload" not in sys.argv
    told = [*sys.argv, os.environ.get("PYTEST_PLUGINS", ""), os.environ.get("PYTEST_ADDOPTS", "")]
    named = any(NAME in text and f"no:{NAME}" not in text for text in told)
    installed = _is_installed()
    loads_itself = (autoload or named) and installed
    if not loads_itself and not manager.has_plugin(NAME) and not manager.is_blocked(NAME):
        # Its name keeps a conftest from loading it beside us; where it is not installed nobody is to find it.
        manager.register(sys.modules[__name__], NAME if installed else OWN_NAME)
    manager.register(Place(parser), "hasten-cov")


def is_asked_for(config: pytest.Config) -> bool:
    """Whether this run is to be measured or to say that it is not."""
    from hasten.plugin import state

    known = config.known_args_namespace
    if not hasattr(known, "cov_source"):
        if state.wants_coverage:
            raise pytest.UsageError("hasten cov: pytest-cov is switched off (-p no:pytest_cov?), and so is coverage")
        return False
    if state.wants_coverage and not known.cov_source:
        known.cov_source = [True]
    asked = bool(known.cov_source)
    return asked and not getattr(known, "help", False) and not getattr(known, "version", 0)


class Place:
    """Plugin: takes pytest-cov's place, and begins where that would."""

    def __init__(self, parser: pytest.Parser) -> None:
        self.parser = parser

    def pytest_plugin_registered(self, plugin: object, manager: pytest.PytestPluginManager) -> None:
        if getattr(plugin, "__name__", "") == f"{NAME}.plugin":
            manager.hook.pytest_load_initial_conftests._remove_plugin(plugin)
            self._widen()

    def _widen(self) -> None:
        """pytest-cov's own option knows one kind of contexts."""
        parser: Any = getattr(self.parser, "optparser", None)  # since pytest 9.1
        if parser is not None:
            parser._option_string_actions["--cov-context"].type = context_kind
            return
        for group in self.parser._groups:
            for option in group.options:
                if getattr(option, "dest", "") == "cov_context":
                    option._attrs["type"] = context_kind  # type: ignore[attr-defined]

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config, args: Sequence[str]) -> None:
        if is_asked_for(early_config):
            from hasten import cov, cov_fixtures

            manager = early_config.pluginmanager
            if manager.is_registered(sys.modules[__name__]):
                manager.register(cov_fixtures, "hasten-cov-fixtures")
            cov.install(early_config, list(map(str, args)))
