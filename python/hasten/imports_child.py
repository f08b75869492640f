"""Inside the processes that `hasten imports` measures: begins to watch, and names pytest's plugins."""

from __future__ import annotations

import os
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

from hasten import _native

if TYPE_CHECKING:
    import pytest

NOTE_PLUGIN, NOTE_LAZY = 1, 2


def begin(name: str) -> None:
    """Watches from here on. name: that of the module that calls, which gives its place to the one it hid."""
    path = os.path.join(os.environ["HASTEN_IMPORTS"], f"{os.getpid()}.log")
    _native.imports_start(path, os.environ.get("HASTEN_IMPORTS_ROOT", ""))
    if hasattr(sys, "lazy_modules"):
        import atexit

        atexit.register(note_lazy)
    ours = sys.modules.pop(name)
    try:
        if PathFinder.find_spec(name):
            __import__(name)
    finally:
        sys.modules.setdefault(name, ours)


def note_lazy() -> None:
    """What was declared lazy (PEP 810) and was never made real."""
    for name in sorted(str(one) for one in getattr(sys, "lazy_modules", ())):
        if name not in sys.modules:
            _native.imports_note(NOTE_LAZY, name)


def note_plugins(config: pytest.Config) -> None:
    manager = config.pluginmanager
    distributions = {id(plugin): dist.project_name for plugin, dist in manager.list_plugin_distinfo()}
    for name, plugin in manager.list_name_plugin():
        if isinstance(plugin, type(sys)):
            _native.imports_note(NOTE_PLUGIN, str(name), plugin.__name__, distributions.get(id(plugin)))


def plugins() -> None:
    """Loads what pytest loads before it looks for tests: its own plugins, the installed ones, the first conftests."""
    from _pytest.config import _prepareconfig

    config = _prepareconfig(sys.argv[1:])
    note_plugins(config)
    config._ensure_unconfigure()
