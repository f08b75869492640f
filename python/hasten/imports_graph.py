"""The graph that `hasten imports --json` hands over: what goes, and what is saved, without some statements.

The same question is answered by src/imports/whatif.c and by the page (imports_page.html); tests compare the three.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

Profile = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Saving:
    cpu_ns: int
    bytes: int
    gone: tuple[str, ...]  # modules by the order of their loading; those that failed to load are none


class Graph:
    """Nodes: 0 the root, then the profile's modules, then its statements, then what is listed in neither."""

    def __init__(self, profile: Profile) -> None:
        self.modules: list[dict[str, Any]] = profile["modules"]
        self.statements: list[dict[str, Any]] = profile["statements"]
        graph = profile["graph"]
        self.leads_to: list[list[int]] = graph["leads_to"]
        self.cpu_ns: list[int] = graph["cpu_ns"]
        self.bytes: list[int] = graph["bytes"]

    def reached(self, removed: Iterable[int]) -> bytearray:
        """removed: nodes. 1 for each node that the root still leads to."""
        seen = bytearray(len(self.leads_to))
        for node in removed:
            seen[node] = 2
        seen[0] = 1
        stack = [0]
        while stack:
            for node in self.leads_to[stack.pop()]:
                if not seen[node]:
                    seen[node] = 1
                    stack.append(node)
        for node in removed:
            seen[node] = 0
        return seen

    def without(self, statements: Iterable[int]) -> Saving:
        """statements: numbers in the profile's list."""
        first = 1 + len(self.modules)
        seen = self.reached([first + at for at in statements])
        gone = [at for at in range(len(self.modules)) if not seen[1 + at]]
        return Saving(
            sum(self.cpu_ns[at] for at in gone),
            sum(self.bytes[at] for at in gone),
            tuple(self.modules[at]["name"] for at in gone if not self.modules[at].get("failed")),
        )
