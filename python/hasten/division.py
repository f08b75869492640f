"""Whether several processes may collect, and which of them collects which file (parts.py; docs/decisions/0016)."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any, NamedTuple

import pytest

from hasten import _native, together
from hasten.plugin import state

# Hooks that see tests or collectors of a whole session. pytest's own do the same to a part as to the whole.
WHOLE = (
    "pytest_collection",
    "pytest_collection_modifyitems",
    "pytest_collection_finish",
    "pytest_itemcollected",
    "pytest_deselected",
    "pytest_collectstart",
    "pytest_make_collect_report",
    "pytest_collectreport",
    "pytest_report_collectionfinish",
    "pytest_runtestloop",
    "pytest_exception_interact",
)
# Of plugins, (module, hook): looks at each test alone.
EACH_ALONE = {("_hypothesis_pytestplugin", "pytest_collection_modifyitems")}
# Options that need all tests, or all that collection does, in one process.
OPTIONS = (
    ("lf", "--lf"),
    ("failedfirst", "--ff"),
    ("newfirst", "--nf"),
    ("keepduplicates", "--keep-duplicates"),
    ("session_once", "--session-once"),
    ("cov_source", "--cov"),
    ("usepdb", "--pdb"),
    ("log_file", "--log-file"),
    ("log_cli_level", "--log-cli-level"),
)
HEAD = 16  # the files of this part of all work, one at least, are collected before the fork: what they import is shared
LEAST_NS, LEAST_SHARE = 1_000_000_000, 3  # of a run's collection, for --collect=auto


class Doubt(Exception):  # noqa: N818
    """Why several processes cannot stand for one; lasting: in the next run neither."""

    def __init__(self, why: str, lasting: bool = True) -> None:
        super().__init__(why)
        self.lasting = lasting


def foreign_hook(config: pytest.Config) -> str:
    """A hook of a plugin or conftest that must see all tests together, or ''."""
    for name in WHOLE:
        hook = getattr(config.pluginmanager.hook, name)  # config.hook wraps some of them up to pytest 8
        for impl in hook.get_hookimpls():
            module = getattr(impl.function, "__module__", None) or ""
            if not module.startswith(("_pytest.", "hasten.")) and (module, name) not in EACH_ALONE:
                return f"{name} of {impl.plugin_name}"
    return ""


def once_reason(config: pytest.Config) -> str:
    """Known beforehand: why one process has to collect everything; '' when nothing speaks against several."""
    option = config.option
    if state.late:
        return "this template was started in the place of another one"
    if state.n_workers < 2:
        return "one worker"
    if getattr(option, "hasten_dist", "load") in ("loadgroup", "each"):
        return f"--dist {option.hasten_dist}"
    if any("::" in str(arg) for arg in config.args):
        return "single tests are named"
    for name, text in OPTIONS:
        if getattr(option, name, None):
            return text
    if getattr(option, "capture", "fd") not in ("fd", "sys"):
        return f"--capture={option.capture}"
    if config.pluginmanager.hasplugin("logging") and (config.getini("log_cli") or config.getini("log_file")):
        return "live logs or a log file"
    if _is_measured():
        return "coverage is measured"
    if any(together.loaded(config, *plugins) for plugins, _rule in together.RULES):
        return "a plugin makes tests depend on each other"
    scheduler = getattr(config.pluginmanager.hook, "pytest_xdist_make_scheduler", None)
    if scheduler is not None and scheduler.get_hookimpls():
        return "pytest_xdist_make_scheduler"
    if state.resources is not None:
        return "tests need resources"
    if warning_log() is None:
        return "warnings are not recorded"
    hook = foreign_hook(config)
    return f"{hook} may have to see all tests" if hook else ""


def _is_measured() -> bool:
    if state.cov is not None:
        return True
    monitoring = getattr(sys, "monitoring", None)
    if monitoring is not None and monitoring.get_tool(monitoring.COVERAGE_ID) is not None:
        return True
    return sys.gettrace() is not None


def warning_log() -> list[Any] | None:
    """Where pytest has warnings recorded while it collects; None when it does not."""
    log = getattr(getattr(warnings, "_showwarnmsg_impl", None), "__self__", None)
    return log if type(log) is list else None


def _remembered(config: pytest.Config) -> tuple[int, int, str]:
    """(collection, run, doubt): ns that the last runs took, and why one process had to collect (src/run/remember.c)."""
    try:
        with open(os.path.join(config.rootpath, ".hasten", "collect"), encoding="utf-8") as f:
            took, doubt = f.readline().split(), f.readline().strip()
        return int(took[0]), int(took[1]), doubt
    except (OSError, ValueError, IndexError):
        return 0, 0, ""


def pays(config: pytest.Config) -> tuple[bool, str]:
    """--collect=auto: whether several processes are worth it, and why."""
    collection, run, doubt = _remembered(config)
    if doubt:
        return False, f"in an earlier run: {doubt}"
    text = f"collection took {collection / 1e9:.2f} of {run / 1e9:.2f} s"
    if not run:
        return False, "no history"
    return collection > LEAST_NS and collection * LEAST_SHARE > run, text


class Split(NamedTuple):
    """Which process collects which file."""

    owner: dict[str, int]
    n_head: int  # files before the fork
    n: int  # processes

    @classmethod
    def make(cls, config: pytest.Config, most: int) -> Split:
        """Neighbours stay together, as they import the same; every part has about as many bytes of source."""
        patterns = [*config.getini("python_files"), *(getattr(config.option, "doctestglob", None) or ())]
        if getattr(config.option, "doctestmodules", False):
            patterns.append("*.py")
        paths = {os.path.realpath(path): 0 for path in together.test_files(config, config.option, patterns)}
        for path in paths:
            try:
                paths[path] = 1000 + os.stat(path).st_size
            except OSError:
                paths[path] = 1000
        ordered = sorted(paths, key=lambda path: path.split(os.sep))
        total = sum(paths.values())
        n_head, done = 0, 0
        while n_head < len(ordered) and (n_head == 0 or done + paths[ordered[n_head]] <= total // HEAD):
            done += paths[ordered[n_head]]
            n_head += 1
        rest = ordered[n_head:]
        n = max(1, min(most, len(rest)))
        left, at = sum(paths[path] for path in rest), 0
        owner = dict.fromkeys(ordered[:n_head], 0)
        for part in range(n):
            share, mine = left / (n - part), 0
            last = len(rest) - (n - part - 1)  # each of the others gets a file, too
            while at < last and (mine == 0 or mine + paths[rest[at]] / 2 <= share or part == n - 1):
                owner[rest[at]] = part
                mine += paths[rest[at]]
                at += 1
            left -= mine
        return cls(owner, n_head, n)


def n_most() -> int:
    """As many as can work at the same time."""
    wanted = os.environ.get("HASTEN_TEST_COLLECTORS", "")
    limits = _native.cpu_limits()
    cores = min(limits["logical"], limits["quota"] or limits["logical"])
    return min(state.n_workers, int(wanted) if wanted.isdigit() else cores)


def tell(how: int, why: str, lasting: bool = False) -> None:
    why = " ".join(why.split())
    _native.send(state.template_chan, _native.WIRE_COLLECT, 0, how, int(lasting), why.encode("utf-8", "replace")[:4000])
