"""Where a process's output goes: pytest's capture files after a fork, and standard output outside of capture."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Generator
from typing import Any

import pytest

from hasten import split


def own_capture(config: pytest.Config) -> None:
    """New capture files for the reporter; what was captured before the split is for the template to report."""
    with _suspended(config) as both:
        for one in both:
            _own_file(one, keep_text=False)


def restart_capture(
    config: pytest.Config, meanwhile: Callable[[], object] = lambda: None, keep_text: bool = True
) -> None:
    """New capture files for a process that reports no results itself: outside of capture its stdout leads nowhere.

    meanwhile: what is to be done to standard output and error, which are nobody's at one moment.
    keep_text: whether what was captured and not yet reported is for this process to report.
    """
    with _suspended(config) as both:
        for one in both:
            _own_file(one, keep_text)
        meanwhile()
        if both and config.getoption("capture", "fd") == "fd":
            _quiet_stdout()
            for one in both:
                os.dup2(one.targetfd, one.targetfd_save, inheritable=False)


@contextlib.contextmanager
def _suspended(config: pytest.Config) -> Generator[list[Any]]:
    """Global capture of standard output and error, suspended; empty without one."""
    capman = config.pluginmanager.getplugin("capturemanager")
    capturing = getattr(capman, "_global_capturing", None)
    running = capturing is not None and capturing.is_started()
    if running:
        capman.suspend_global_capture()
    yield [one for one in (getattr(capturing, "out", None), getattr(capturing, "err", None)) if one is not None]
    if running:
        capman.resume_global_capture()


def _own_file(capture: Any, keep_text: bool) -> None:
    """Another file in place of the one whose offset is shared since the fork; nothing is done to that one.

    The file object stays: tests and loggers may hold what `sys.stdout` was while they were imported.
    """
    if not hasattr(capture, "targetfd_save"):
        if not keep_text:
            capture.snap()
        return
    fd = capture.tmpfile.fileno()
    with tempfile.TemporaryFile(buffering=0) as fresh:
        if keep_text:
            fresh.write(os.pread(fd, os.fstat(fd).st_size, 0))
        os.dup2(fresh.fileno(), fd, inheritable=False)


def _quiet_stdout() -> None:
    """Outside of capture a worker's stdout leads nowhere: the reporter alone writes results."""
    try:
        sys.stdout.flush()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    except (OSError, ValueError):
        pass


class Held:
    """While this process does what another one does too, what it writes leads nowhere."""

    def __init__(self) -> None:
        self.real: dict[int, int] = {}
        split.flush()
        null = os.open(os.devnull, os.O_WRONLY)
        for fd in (1, 2):
            try:
                self.real[fd] = os.dup(fd)
                os.dup2(null, fd)
            except OSError:
                pass  # closed by whoever started us
        os.close(null)

    def release(self, config: pytest.Config) -> None:
        split.flush()
        for fd, real in self.real.items():
            os.dup2(real, fd)
            os.close(real)
        if 2 in self.real:
            self._show_faults(config)
        self.real.clear()

    @staticmethod
    def _show_faults(config: pytest.Config) -> None:
        """pytest's faulthandler plugin has taken a duplicate of stderr meanwhile."""
        try:
            from _pytest.faulthandler import fault_handler_stderr_fd_key as key
        except ImportError:
            return
        fd = config.stash.get(key, -1)
        if fd >= 0:
            os.dup2(2, fd, inheritable=False)
