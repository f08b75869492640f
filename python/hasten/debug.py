"""A debugger in a worker, or a test that reads: the terminal is lent to one worker at a time; the others go on until
they need it.

``pytest.set_trace``, ``breakpoint()`` and ``--pdb`` all pass through ``pytestPDB._init_pdb``; a worker asks for the
terminal there, keeps it until its test is over, and has no time limit meanwhile.
"""

from __future__ import annotations

import os
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
        self.tty = -1  # owned; the terminal that is read, -1 while not asked for
        self.leads = False  # standard output and the terminal reporter lead to it
        self.file: Any = None
        self.quiet_file: Any = None

    def open(self) -> None:
        """In a worker, before its first test. A test that reads from the terminal borrows it, too."""
        if self.tty >= 0:
            os.close(self.tty)
        self.tty = os.dup(0) if _is_terminal(0) else os.dup(self.out)
        _native.terminal_open(self.tty, self.lock_path)
        if _is_terminal(0):
            _native.terminal_when_read()

    def take(self) -> None:
        """Waits until no other worker debugs, then owns the terminal. Nothing when it is owned already."""
        if self.leads:
            return
        if self.tty < 0:
            self.open()
        _native.terminal_take()
        self.leads = True
        self._lead_stdout_to(self.out)
        tr = self.config.pluginmanager.getplugin("terminalreporter")
        if tr is not None:
            self.quiet_file = tr._tw._file
            self.file = os.fdopen(os.dup(self.out), "w", encoding="utf-8", errors="replace", buffering=1)
            tr._tw._file = self.file

    def give(self) -> None:
        if self.leads:
            self.leads = False
            tr = self.config.pluginmanager.getplugin("terminalreporter")
            if tr is not None:
                tr._tw._file = self.quiet_file
                self.file.close()
            null = os.open(os.devnull, os.O_WRONLY)
            self._lead_stdout_to(null)
            os.close(null)
        if self.tty >= 0:
            _native.terminal_give()

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
        at_once = saved < 0 or getattr(out, "_state", "") == "suspended"
        if at_once and self.config.getoption("capture", "fd") == "fd":
            os.dup2(fd, 1)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


class Debugging:
    """Plugin of workers."""

    def __init__(self, terminal: Terminal) -> None:
        from _pytest.debugging import pytestPDB

        self.terminal = terminal
        self.opened = False
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

    def before_test(self) -> None:
        if not self.opened:
            self.opened = True
            self.terminal.open()

    def after_test(self) -> None:
        if self.terminal.leads or self.terminal.tty >= 0:
            self.terminal.give()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, Any, Any]:
        """Of a test that is not fused; fuse.py calls the two otherwise."""
        self.before_test()
        try:
            return (yield)
        finally:
            self.after_test()

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        self.terminal.give()
