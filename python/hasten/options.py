"""hasten's options as pytest knows them, and what they add up to for one run."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from typing import Any

import pytest


def add(parser: pytest.Parser, group: Any, pluginmanager: pytest.PytestPluginManager) -> None:
    """Adds the options of a run that hasten drives, and takes pytest-xdist's place."""
    from hasten import cov_options, xdist

    cov_options.install(parser, pluginmanager)
    if not pluginmanager.hasplugin("xdist") and not pluginmanager.is_blocked("xdist"):
        pluginmanager.register(sys.modules[xdist.__name__], "xdist")
        pluginmanager.set_blocked("xdist.looponfail")
    if importlib.util.find_spec("xdist") is None:
        xdist.provide_import()
    group.addoption(
        "--start",
        choices=("auto", "template", "early", "spawn"),
        default="auto",
        help="Where workers come from: forks after collection (template), forks before conftests are imported (early), "
        "processes of their own (spawn). Default: template, unless the suite needs another.",
    )
    group.addoption(
        "--collect",
        choices=("auto", "once", "parallel"),
        default="once",
        help="Who collects: one process (once), or several side by side, each a part of the files (parallel), or the "
        "latter where collection took long in earlier runs and nothing speaks against it (auto). Default: once.",
    )
    group.addoption("--worker-memory", metavar="SIZE", help="End a test whose worker uses more memory (e.g. 2G).")
    group.addoption(
        "--no-fuse", action="store_true", help="All of pytest's work by pytest itself (also: HASTEN_FUSE=0)."
    )
    group.addoption("--explain-fuse", action="store_true", help="Say which tests pytest's hooks ran, and why.")
    group.addoption("--slow-exit", action="store_true", help="Leave through the interpreter's own finalization.")
    group.addoption(
        "--session-once",
        action="append",
        default=[],
        metavar="NAME",
        help="Set this session fixture up once, before the workers are forked.",
    )
    if importlib.util.find_spec("pytest_timeout") is None:
        group.addoption("--timeout", type=float, default=None, metavar="S", help="Time limit of each test in seconds.")


MAX_WORKERS = 1000  # run/options.c


def parse_size(text: str | None) -> int:
    """Bytes of ``512M``, ``2G``, ``1.5GiB``; 0 for None. UsageError for anything else."""
    if not text:
        return 0
    units = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
    raw = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = raw[-1:] if raw[-1:] in "kmgt" else ""
    try:
        size = int(float(raw.removesuffix(unit) if unit else raw) * units[unit])
    except (ValueError, KeyError, OverflowError):
        size = 0
    if size <= 0:
        raise pytest.UsageError(f"--worker-memory: '{text}' is not a size; write for example 512M or 2G")
    return size


@dataclasses.dataclass
class Plan:
    """How one run is to be run. plain: why this process runs everything itself, None when workers do."""

    n_workers: int
    plain: str | None = None


def _is_coverage(tracer: Any) -> bool:
    """pytest-cov measures from the start; its tracer is one of coverage's, in C or in Python."""
    module = getattr(tracer, "__module__", None) or type(tracer).__module__
    return str(module).partition(".")[0] == "coverage"


def debugger_here() -> bool:
    """A debugger traces this process: breakpoints would be lost in a fork."""
    tracer = sys.gettrace()
    traced = tracer is not None and not _is_coverage(tracer)
    if traced or "debugpy" in sys.modules or "pydevd" in sys.modules:
        return True
    monitoring = getattr(sys, "monitoring", None)
    return monitoring is not None and monitoring.get_tool(monitoring.DEBUGGER_ID) is not None


_PLAIN_OPTIONS = (
    ("collectonly", "--collect-only"),
    ("showfixtures", "--fixtures"),
    ("show_fixtures_per_test", "--fixtures-per-test"),
    ("markers", "--markers"),
    ("cacheshow", "--cache-show"),
    ("setuponly", "--setup-only"),
    ("setupplan", "--setup-plan"),
    ("setupshow", "--setup-show"),
    ("trace", "--trace"),
    ("stepwise", "--stepwise"),
)


def plain_reason(option: Any) -> str | None:
    """Why a run with these options takes place in one process, in order; None when it need not."""
    for name, text in _PLAIN_OPTIONS:
        if getattr(option, name, None):
            return text
    if debugger_here():
        return "a debugger is attached"
    return None


def requested(option: Any) -> int | str:
    """The wanted number of workers: a number, 'auto' or 'logical'."""
    n = getattr(option, "numprocesses", None)
    if n is None and getattr(option, "hasten", None) not in (None, "auto"):
        text = option.hasten
        if text == "logical":
            return "logical"
        try:
            n = int(text)
        except ValueError:
            n = -1
        if n < 0:
            raise pytest.UsageError(f"--hasten: '{text}' is not 'auto', 'logical' or a number of workers")
    if n is None:
        tx = getattr(option, "tx", None) or []
        return sum(_tx_count(spec) for spec in tx) if tx else "auto"
    return int(n) if not isinstance(n, str) else n


def _tx_count(spec: str) -> int:
    head, star, _ = spec.partition("*")
    return int(head) if star and head.isdigit() else 1


def resolve(option: Any, auto: int) -> Plan:
    """auto: what 'auto' and 'logical' stand for here."""
    reason = plain_reason(option)
    if reason:
        return Plan(0, reason)
    wanted = requested(option)
    n = auto if isinstance(wanted, str) else wanted
    most = getattr(option, "maxprocesses", None)
    if most and isinstance(wanted, str):
        n = min(n, most)
    if n > MAX_WORKERS:
        raise pytest.UsageError(f"-n: {n} workers asked for, at most {MAX_WORKERS} are possible")
    if n == 0:
        return Plan(0, "-n 0")
    if n == 1 and isinstance(wanted, str):
        return Plan(0, "one core")
    return Plan(n)
