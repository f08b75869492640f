"""pytest's entry to hasten: options, which role this process plays, and the split into reporter and template.

Loaded in every pytest run of an environment where hasten is installed; without ``hasten run`` or ``--hasten`` it adds
its options and nothing else, so it imports nothing that pytest has not imported already.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest


class State:
    """This process's part in a run. One per process; forks change it."""

    role: str = ""  # "", "plain", "reporter", "template" or "worker"
    live: bool = False  # the program draws a screen of its own below what pytest prints
    started_by_program: bool = False  # by `hasten run`: this process may leave by _exit
    reporter_chan: int = -1  # to the supervisor
    template_chan: int = -1
    life: int = -1  # its end of file means that the supervisor is gone
    hits: int = -1  # coverage's shared memory (src/run/hits.h)
    crash_dir: str = ""  # where workers leave the stacks of crashes
    start: str = "template"  # or "early"
    terminal_out: int = -1  # a worker's standard output as it was before capture and /dev/null
    n_workers: int = 0
    asked: int | str = 0  # workers as asked for: a number, "auto" or "logical"
    fork: tuple[int, int, int, int, int] | None = None  # what template_serve told a worker
    gc_thresholds: tuple[int, int, int] | None = None
    watch: Any = None  # watch.Watch while somebody could read a worker's identity too early
    worker: Any = None
    parts: Any = None  # parts.Parts while several processes may collect
    seeds: Any = None  # seeds.Seeds from before the conftests are imported
    slow_exit: bool = False
    late: bool = False  # started in the course of a run, beside or in the place of another process
    manager: Any = None  # the plugin manager of the run that was asked for: the first one in this process
    wants_coverage: bool = False  # `hasten cov`
    cov: Any = None  # cov.Controller of a run that is measured
    db: Any = None  # db.Databases of a project that has settings for them
    db_rebind: bool = True  # URLs that were read at import are a worker's after the fork (db_bind.py)
    db_adapters: list[str] | None = None  # those that the project's settings allow; None: all (db_adapt.py)
    db_keep: dict[str, int] | None = None  # limits of what is kept of databases for later runs
    db_pooler: bool | None = None  # None: where connections turn out to be short
    db_servers: str = ""  # "worker", "run": which of them has a PostgreSQL server (db.py)
    db_root: str = ""  # the project's folder
    resources: Any = None  # resources.Controller of a project that has some
    db_pid: int = 0  # the process for which databases are kept, where that is not the supervisor


state = State()


def _adopt_channels() -> None:
    """Takes the supervisor's channels over from the environment, before anything else can inherit them."""
    state.crash_dir = os.environ.pop("HASTEN_CRASH_DIR", "")
    text = os.environ.pop("HASTEN_CHANNELS", None)
    state.start = os.environ.pop("HASTEN_START", "") or ""
    state.hits = int(os.environ.pop("HASTEN_HITS", "-1"))
    state.live = os.environ.pop("HASTEN_LIVE", None) is not None
    state.wants_coverage = os.environ.pop("HASTEN_COV", None) is not None
    state.db_pid = int(os.environ.pop("HASTEN_DB_PID", "0"))
    if text is None:
        return
    state.reporter_chan, state.template_chan, state.life = (int(part) for part in text.split(","))
    for fd in (state.reporter_chan, state.template_chan, state.life, state.hits):
        if fd >= 0:
            os.set_inheritable(fd, False)
    state.started_by_program = True
    if state.life >= 0:
        from hasten import _native

        _native.die_with(state.life)  # while plugins and conftests are imported nobody reads the channels


def _forget_command() -> None:
    """CPython 3.13 and later keep the text of ``-c`` for tracebacks, and show it for what a suite passes to exec()."""
    lines = sys.modules.get("linecache")
    for cache in (getattr(lines, "cache", {}), getattr(lines, "_interactive_cache", {})):
        for key in [key for key in cache if key == "<string>" or key[:1] == ("<string>",)]:
            del cache[key]


def console_main() -> int:
    """pytest's console entry for processes that the hasten program starts. Returns pytest's exit status."""
    from _pytest import config

    _adopt_channels()
    _forget_command()
    hold_collector()
    sys.argv[0] = os.path.join(os.path.dirname(sys.executable), "pytest")
    try:
        if hasattr(config, "_main"):  # 9.1 and later: names the program in usage errors
            code = int(config._main(plugins=["hasten"], prog="pytest"))
        else:
            code = int(config.main(plugins=["hasten"]))
        sys.stdout.flush()
    except KeyboardInterrupt:  # pytest itself answers those that come later
        when = "after the tests" if state.role else "while plugins and conftests were imported"
        sys.stderr.write(f"hasten: interrupted {when}\n")
        code = 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    if state.reporter_chan >= 0:
        _say_bye()
    if state.started_by_program and not state.slow_exit:
        leave(code)
    return code


def _say_bye() -> None:
    from hasten import _native

    try:
        _native.send(state.reporter_chan, _native.WIRE_BYE)
    except OSError:
        pass  # the supervisor is gone: nobody asks for the status


def leave(code: int) -> None:
    """Ends this process as the interpreter would for the suite's sake, without taking the interpreter apart."""
    import atexit
    import threading

    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    os._exit(code)


def hold_collector() -> None:
    """No cyclic collections until collection of tests is over; ``gc.isenabled()`` stays as the suite has it."""
    import gc

    if state.gc_thresholds is None:
        state.gc_thresholds = gc.get_threshold()
        gc.set_threshold(HELD_THRESHOLD)


HELD_THRESHOLD = 2_000_000_000


def release_collector() -> None:
    """Gives the collector back as the suite has it; what exists by now counts as old."""
    import gc

    if state.gc_thresholds is None:
        return
    if gc.get_threshold()[0] == HELD_THRESHOLD:  # else the suite has set its own
        gc.set_threshold(*state.gc_thresholds)
    if gc.get_freeze_count() == 0:
        gc.freeze()
        gc.unfreeze()
    state.gc_thresholds = None


def shelter_objects(config: pytest.Config) -> None:
    """Keeps what exists now out of the collector's sight until the suite asks the collector for anything."""
    import gc

    from hasten import _native

    if gc.get_freeze_count() or not _native.collector_hold():
        return
    try:
        from _pytest import threadexception, unraisableexception
    except ImportError:
        return
    original = getattr(unraisableexception, "gc_collect_harder", None)
    if original is None:
        return

    def gc_collect_harder(iterations: int) -> None:
        if gc.isenabled():
            _native.collector_collect(iterations)
        else:
            original(iterations)

    for module in (unraisableexception, threadexception):
        if getattr(module, "gc_collect_harder", None) is original:
            module.gc_collect_harder = gc_collect_harder  # type: ignore[attr-defined]


def _wanted(manager: pytest.PytestPluginManager) -> bool:
    """Whether this is the run that was asked for; a session that a test starts in its own process is plain pytest's."""
    if state.started_by_program or "--hasten" in sys.argv or any(a.startswith("--hasten=") for a in sys.argv):
        state.manager = state.manager or manager
    return state.manager is manager


@pytest.fixture(scope="session")
def hasten_ports() -> Callable[[int], list[int]]:
    """hasten_ports(n): free TCP ports that no other worker of any run has, for the rest of the session."""
    from hasten.ports import ports

    return ports.take


@pytest.fixture
def hasten_port() -> Iterator[int]:
    """A free TCP port that no other worker of any run has."""
    from hasten.ports import ports

    found = ports.take(1)
    yield found[0]
    ports.give(found)


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    group = parser.getgroup("hasten", "parallel runs (hasten)")
    group.addoption(
        "--hasten",
        nargs="?",
        const="auto",
        default=None,
        metavar="N",
        help="Run in parallel with hasten: 'auto' or a number of workers.",
    )
    if not _wanted(pluginmanager):
        return
    from hasten import collect, fuse, options, rewrite

    fuse.install(pluginmanager)
    collect.install(pluginmanager)
    rewrite.install(pluginmanager)
    options.add(parser, group, pluginmanager)


def _project(config: pytest.Config) -> bytes:
    """pyproject.toml, which may have tables of ours: only looked at here, as every pytest run does so."""
    try:
        with open(os.path.join(config.rootpath, "pyproject.toml"), "rb") as f:
            return f.read()
    except OSError:
        return b""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, Any, Any]:
    project = _project(early_config)
    if b"hasten" in project and b"resources" in project:
        from hasten import resources

        resources.begin(early_config)
    if b"hasten.db" in project:
        from hasten import db

        db.begin(early_config, _wanted(early_config.pluginmanager))
    if _wanted(early_config.pluginmanager):
        from hasten import cov_options, split

        state.db_root = str(early_config.rootpath)

        if cov_options.is_asked_for(early_config):
            from hasten import cov

            cov.begin(early_config)
        split.before_conftests(early_config)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    if not _wanted(config.pluginmanager):
        return (yield)
    from hasten import fuse, split

    fuse.reconsider(config)
    split.before_configure(config)
    try:
        result = yield
    except BaseException as exc:
        if state.role in ("template", "worker"):
            split.leave_after_error(config, exc)
        raise
    if state.role in ("template", "worker"):
        config._ensure_unconfigure()
        if state.worker is not None:
            state.worker.watch_exit()
        leave(0)
    return result
