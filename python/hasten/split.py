"""Who is who: one pytest process becomes the reporter and the template, and the template's forks become workers.

The template is split off in ``pytest_cmdline_main``, before ``pytest_configure``, so that the reporter configures as
pytest-xdist's controller does and the template as a worker; ``early`` splits before the first conftest is imported.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import Any

import pytest

from hasten import _native, options, together
from hasten.plugin import leave, state
from hasten.seeds import Seeds

STARTS = ("template", "early", "spawn")
# What clears away, at its start, what it takes for an earlier run's: pytest-cov's data files (of all workers, as under
# pytest-xdist), allure's results, pytest's cache. The first process has done it before any other was there.
KEEPING = {"cov_append": True, "clean_alluredir": False, "cacheclear": False}


def _auto(option: Any) -> int:
    limits = _native.cpu_limits()
    for name in ("PYTEST_XDIST_AUTO_NUM_WORKERS", "PYTHON_CPU_COUNT"):
        if os.environ.get(name, "").isdigit():
            return max(1, int(os.environ[name]))
    n = int(limits["logical" if options.requested(option) == "logical" else "physical"])
    return max(1, min(n, limits["quota"] or n))


def flush() -> None:
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass


def _start_file(config: pytest.Config) -> str:
    return os.path.join(config.rootpath, ".hasten", "start")


def _remembered_start(config: pytest.Config) -> str:
    try:
        with open(_start_file(config), encoding="utf-8") as f:
            mode, why = f.readline().strip(), f.readline()
    except OSError:
        return ""
    return "" if state.db is not None and state.db.is_served(why) else mode


def _connect(config: pytest.Config) -> None:
    """``pytest --hasten``: start the supervisor from here."""
    if state.reporter_chan >= 0 or state.template_chan >= 0 or state.role:
        return
    from hasten import launch

    state.reporter_chan, state.template_chan, state.life = launch.start_supervisor(
        [os.fspath(arg) for arg in config.invocation_params.args]
    )


def before_conftests(config: pytest.Config) -> None:
    """Shows plugins the options of a distributed run; forks here when the start is early."""
    known = config.known_args_namespace
    if state.role or getattr(known, "help", False) or getattr(known, "version", 0):
        return
    state.asked = options.requested(known)
    state.late = (state.reporter_chan < 0) is not (state.template_chan < 0)
    if state.late:
        _keep(known)
    plan = options.resolve(known, _auto(known))
    if plan.plain or together.serial_reason(config, known):
        return
    wanted = getattr(known, "start", "auto")
    usual = "early" if together.wants_early(known) else "template"
    start = wanted if wanted != "auto" else state.start or _remembered_start(config) or usual
    spawned = state.start.startswith("spawn:")
    if not spawned:
        state.start = start if start in STARTS else "template"
    if state.start == "early" and state.reporter_chan >= 0 and threading.active_count() > 1:
        state.start = "spawn"  # a plugin has started threads already: no fork of this process is safe
    _show_controller(known, plan.n_workers)
    if state.reporter_chan >= 0 and state.template_chan < 0:
        return  # a reporter in the place of one that was killed: there is nothing to split
    if spawned:
        from hasten import template

        state.n_workers = plan.n_workers
        template.spawned_worker(int(state.start.partition(":")[2]))
        _show_worker(known)
        return
    if state.start == "spawn":
        _connect(config)
        state.n_workers = plan.n_workers
        state.role = "reporter"
        close_life()
        os.close(state.template_chan)
        state.template_chan = -1
        return
    if state.start != "early":
        if state.template_chan >= 0 or not state.started_by_program:
            from hasten import watch

            state.seeds = Seeds()
            if state.db is not None:
                state.db.bind()
            state.watch = watch.Watch()
            state.watch.identity_absent()
        return
    _connect(config)
    state.n_workers = plan.n_workers
    if state.reporter_chan >= 0 and _split() == "reporter":
        return
    state.role = "template"
    from hasten import template

    template.serve_early()
    _show_worker(known)


def _show_controller(option: Any, n: int) -> None:
    option.numprocesses = n
    if getattr(option, "dist", "no") == "no":
        option.dist = "load"
    option.tx = ["popen"] * n


def _show_nobody(option: Any) -> None:
    """One process after all: as with -n 0."""
    option.numprocesses = 0
    option.dist = "no"
    option.tx = []


def _keep(option: Any) -> None:
    """What lies there may be the work of workers that have ended."""
    for name, value in KEEPING.items():
        if hasattr(option, name):
            setattr(option, name, value)


def _show_worker(option: Any) -> None:
    _keep(option)
    option.loadgroup = getattr(option, "dist", "no") == "loadgroup"
    option.hasten_dist = getattr(option, "dist", "no")
    option.dist = "no"
    option.distload = False
    option.numprocesses = None
    option.maxprocesses = None
    option.tx = []


def _split() -> str:
    """Forks the template off. Returns this process's role."""
    flush()
    if state.seeds:
        state.seeds.before_fork()
    pid = _native.fork()
    if pid:
        state.role = "reporter"
        close_life()
        os.close(state.template_chan)
        state.template_chan = -1
        if state.db is not None and state.db.bound is not None:
            state.db.identity("reporter")
        return state.role
    state.role = "template"
    if state.seeds:
        state.seeds.after_split()
    atexit._clear()
    os.close(state.reporter_chan)
    state.reporter_chan = -1
    return state.role


def close_life() -> None:
    """From here on this process sees at its channel that the supervisor is gone."""
    if state.life >= 0:
        os.close(state.life)
        state.life = -1


def before_configure(config: pytest.Config) -> None:
    """Called with everything imported and nothing configured: takes up this process's role."""
    state.slow_exit = bool(config.getoption("slow_exit", False))
    if state.hits >= 0 and "hasten.monitor" not in sys.modules:
        os.close(state.hits)  # nobody measures
        state.hits = -1
    if state.role == "":
        _choose(config)
    if state.watch and state.role in ("plain", "reporter"):
        state.watch.stop()
        state.seeds.stop()
    if state.role in ("plain", "reporter"):
        from hasten import github

        github.install(config)
    if state.role == "plain":
        from hasten.plugin import release_collector

        release_collector()
    elif state.role == "reporter":
        from hasten import reporter

        _show_controller(config.option, state.n_workers)
        if state.late:
            _keep(config.option)
        reporter.install(config)
    elif state.role == "template":
        from hasten import template

        _show_worker(config.option)
        if state.life >= 0:
            _native.die_with(state.life)
        template.install(config)
    elif state.role == "worker":
        from hasten import template

        _show_worker(config.option)
        template.install_early_worker(config)


def _choose(config: pytest.Config) -> None:
    option = config.option
    auto = _auto(option)
    if isinstance(options.requested(option), str) and not options.plain_reason(option):
        asked = config.hook.pytest_xdist_auto_num_workers(config=config) if _has_auto_hook(config) else auto
        auto = int(asked) if asked is not None else auto
    if state.n_workers and option.numprocesses == state.n_workers:
        plan = options.Plan(state.n_workers)
    else:
        plan = options.resolve(option, auto)
        reason = None if plan.plain else together.serial_reason(config, option)
        if reason:
            plan = options.Plan(0, reason)
            config.pluginmanager.register(together.Note(reason), "hasten-note")
    if plan.plain:
        state.role = "plain"
        _show_nobody(option)
        if state.reporter_chan >= 0:
            _native.send(state.reporter_chan, _native.WIRE_PLAIN, 0, 0, 0, plan.plain.encode())
            _to_foreground()
        return
    state.n_workers = plan.n_workers
    alarm = state.watch.before_split() if state.watch else None
    _connect(config)
    if state.reporter_chan < 0:
        state.role = "template"  # started again: the reporter lives already
    elif state.template_chan < 0:
        state.role = "reporter"
    elif alarm and config.getoption("start", "auto") == "auto":
        state.role = "reporter"
        os.close(state.template_chan)
        _native.send(state.reporter_chan, _native.WIRE_EARLY, 0, 0, 0, alarm.encode("utf-8", "replace")[:4000])
    else:
        _split()


def _to_foreground() -> None:
    """Everything happens in this process: where the program draws no screen, the terminal's keys are for it."""
    if state.started_by_program and not state.live:
        try:
            os.setpgid(0, os.getpgid(os.getppid()))
        except OSError:
            pass  # in another session: whoever has made it knows why


def _has_auto_hook(config: pytest.Config) -> bool:
    return hasattr(config.hook, "pytest_xdist_auto_num_workers")


def leave_after_error(config: pytest.Config, exc: BaseException) -> None:
    """A template or worker whose pytest ended with an exception: what it is goes to the reporter, then the end."""
    if state.worker is not None:
        state.worker.abort(exc)
    try:
        config._ensure_unconfigure()
    finally:
        if state.worker is not None:
            state.worker.watch_exit()
        leave(1)
