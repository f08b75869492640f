"""The switch of everything that does pytest's own work faster: ``HASTEN_FUSE=0``, ``--no-fuse``.

Asked twice: on the command line alone while plugins are loaded, and again when the options are known, those of
``addopts`` and ``PYTEST_ADDOPTS`` among them.
"""

from __future__ import annotations

import itertools
import os
import sys

import pytest

FLAGS = ("--full-trace", "--fulltrace", "--tb=native", "--debug", "--traceconfig", "--trace-config")


def is_off(config: pytest.Config | None = None) -> bool:
    """config: one whose options are known."""
    if os.environ.get("HASTEN_FUSE") == "0" or "--no-fuse" in sys.argv:
        return True
    return config is not None and bool(config.getoption("no_fuse", False))


def shows_own_frames(config: pytest.Config | None = None) -> bool:
    """Options under which texts show pytest's and pluggy's own frames: they are to look as ever."""
    if any(arg in FLAGS for arg in sys.argv) or ("--tb", "native") in itertools.pairwise(sys.argv):
        return True
    if config is None:
        return False
    option = config.option
    shown = any(getattr(option, name, None) for name in ("fulltrace", "debug", "traceconfig"))
    return shown or getattr(option, "tbstyle", "") == "native"
