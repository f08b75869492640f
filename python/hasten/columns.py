"""What the planner wants to know of each test (store/catalog.h)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hasten import together, wire

NO_LIMIT = 0xFFFFFFFF  # ms, 50 days
_GROUP_OF: dict[str, Callable[[str], str]] = {
    "loadscope": lambda nodeid: nodeid.rsplit("::", 1)[0],
    "loadfile": lambda nodeid: nodeid.split("::", 1)[0],
}


class Columns:
    """Of each item its file, group, affinity and time limit."""

    def __init__(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        self.dist = getattr(config.option, "hasten_dist", "load")
        self.together = together.Groups(config, items)
        self.files: dict[str, int] = {}
        self.groups: dict[str, int] = {}
        self.affinities: dict[str, int] = {}
        self.scopes: dict[int, str] = {}
        self.late = together.late(config, items) if self.dist in ("load", "worksteal", "no") else set()
        self.timeouts = hasattr(config.option, "timeout") and not config.pluginmanager.hasplugin("timeout")

    def of(self, item: pytest.Item, nodeid: str, copy: int = 0) -> tuple[int, int, int, int]:
        path = nodeid.split("::", 1)[0]
        file = self.files.setdefault(path, len(self.files))
        affinity = self._affinity(item, nodeid, path)
        key = None
        if self.dist == "each":
            key = str(copy)
        elif self.together and (item in self.together.keys or not self._has_groups()):
            key = self.together.of(item, path, affinity)
        elif self._has_groups():
            key = self._group(item, nodeid)
        group = 0 if key is None else self.groups.setdefault(key, len(self.groups))
        if item in self.late and item not in self.together.keys:
            affinity |= wire.LATE
        return file, group, affinity, self._timeout_ms(item)

    def _has_groups(self) -> bool:
        return self.dist in _GROUP_OF or self.dist == "loadgroup"

    def n_groups(self) -> int:
        """More than one: groups are kept together, whatever --dist says."""
        return max(1, len(self.groups)) + bool(self.together)

    def _group(self, item: pytest.Item, nodeid: str) -> str:
        if self.dist != "loadgroup":
            return _GROUP_OF[self.dist](nodeid)
        group = marked_group(item)
        return f"@{group}" if group else nodeid

    def _affinity(self, item: pytest.Item, nodeid: str, path: str) -> int:
        info = getattr(item, "_fixtureinfo", None)
        if info is None:
            return 0
        scope = self.scopes.get(id(info))
        if scope is None:
            scope = self.scopes[id(info)] = _widest_scope(info)
        if not scope:
            return 0
        key = nodeid.rsplit("::", 1)[0] if scope == "class" else path
        return self.affinities.setdefault(key, len(self.affinities) + 1)

    def _timeout_ms(self, item: pytest.Item) -> int:
        if not self.timeouts:
            return 0
        mark = item.get_closest_marker("timeout")
        if mark is None:
            return 0
        try:
            seconds = float(mark.args[0] if mark.args else mark.kwargs["timeout"])
        except (ValueError, TypeError, KeyError, IndexError):
            return 0
        if not 0 < seconds * 1000 < NO_LIMIT:  # 0, as with pytest-timeout: none, whatever --timeout says
            return NO_LIMIT
        return max(1, int(seconds * 1000))


def marked_group(item: pytest.Item) -> str:
    names = set()
    for mark in item.iter_markers("xdist_group"):
        names.add(str(mark.args[0] if mark.args else mark.kwargs.get("name", "default")))
    return "_".join(sorted(names))


def _widest_scope(info: Any) -> str:
    """``module`` or ``class`` when the tests of this function share a set-up of that scope, else ''."""
    widest = ""
    for defs in info.name2fixturedefs.values():
        scope = defs[-1].scope if defs else ""
        if scope in ("module", "package"):
            return "module"
        if scope == "class":
            widest = "class"
    return widest
