"""A debugger in a worker: the terminal is lent to one worker at a time; the others go on until they need it.

``pytest.set_trace``, ``breakpoint()`` and ``--pdb`` all pass through ``pytestPDB._init_pdb``; a worker asks for the
terminal there, keeps it until its test is over, and has no time limit meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Generator
from typing import Any

import pytest

from hasten import _native


class Terminal:
    """The run's real terminal (or whatever standard output is), seen from a worker."""

    def __init__(self, config: pytest.Config, out: int, lock_folder: str) -> None:
        self.config = config
        self.out = out  # what fd 1 was before it was led nowhere; owned
        self.lock_path = os.path.join(lock_folder, "debugger")
        self.lock = -1
        self.foreground = -1
        self.file: Any = None
        self.quiet_file: Any = None

    def take(self) -> None:
        """Waits until no other worker debugs, then owns the terminal. Nothing when it is owned already."""
        if self.lock >= 0:
            return
        _native.worker_pause(True)
        self.lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self._lead_stdout_to(self.out)
        self._to_foreground()
        tr = self.config.pluginmanager.getplugin("terminalreporter")
        if tr is not None:
            self.quiet_file = tr._tw._file
            self.file = os.fdopen(os.dup(self.out), "w", encoding="utf-8", errors="replace", buffering=1)
            tr._tw._file = self.file

    def give(self) -> None:
        if self.lock < 0:
            return
        tr = self.config.pluginmanager.getplugin("terminalreporter")
        if tr is not None:
            tr._tw._file = self.quiet_file
            self.file.close()
        null = os.open(os.devnull, os.O_WRONLY)
        self._lead_stdout_to(null)
        os.close(null)
        self._to_background()
        os.close(self.lock)
        self.lock = -1
        _native.worker_pause(False)

    def _lead_stdout_to(self, fd: int) -> None:
        """Standard output outside of capture: fd 1 now, or what capture will put back at fd 1 when it is suspended."""
        capman = self.config.pluginmanager.getplugin("capturemanager")
        out = getattr(getattr(capman, "_global_capturing", None), "out", None)
        saved = getattr(out, "targetfd_save", -1)
        try:
            sys.stdout.flush()
        except ValueError:
            pass
        if saved >= 0:
            os.dup2(fd, saved, inheritable=False)
        shown = saved < 0 or getattr(out, "_state", "") == "suspended"
        if shown and self.config.getoption("capture", "fd") == "fd":
            os.dup2(fd, 1)

    def _to_foreground(self) -> None:
        try:
            self.foreground = os.tcgetpgrp(self.out)
            self._set_foreground(os.getpgrp())
        except OSError:
            self.foreground = -1  # no terminal: a pipe needs no owner

    def _to_background(self) -> None:
        if self.foreground >= 0:
            try:
                self._set_foreground(self.foreground)
            except OSError:
                pass

    def _set_foreground(self, group: int) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            os.tcsetpgrp(self.out, group)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Debugging:
    """Plugin of workers."""

    def __init__(self, terminal: Terminal) -> None:
        from _pytest.debugging import pytestPDB

        self.terminal = terminal
        original = pytestPDB._init_pdb.__func__  # type: ignore[attr-defined]

        def _init_pdb(cls: Any, method: str, *args: Any, **kwargs: Any) -> Any:
            terminal.take()
            return original(cls, method, *args, **kwargs)

        pytestPDB._init_pdb = classmethod(_init_pdb)  # type: ignore[method-assign,assignment]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_exception_interact(self, node: pytest.Item) -> Generator[None, Any, Any]:
        if node.config.pluginmanager.hasplugin("pdbinvoke"):
            self.terminal.take()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, Any, Any]:
        try:
            return (yield)
        finally:
            self.terminal.give()
