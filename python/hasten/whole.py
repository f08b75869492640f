"""``session.items`` of a worker that has a part of the tests (parts.py)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, SupportsIndex


class Whole(list[Any]):
    """session.items of a worker that has a part of them: complete as soon as anybody looks."""

    def __init__(self, items: list[Any], find_all: Callable[[list[Any]], list[Any]]) -> None:
        super().__init__(items)
        self._find_all: Callable[[list[Any]], list[Any]] | None = find_all

    def complete(self) -> None:
        find_all, self._find_all = self._find_all, None
        if find_all is not None:
            self[:] = find_all(list.copy(self))

    def __len__(self) -> int:
        self.complete()
        return super().__len__()

    def __iter__(self) -> Iterator[Any]:
        self.complete()
        return super().__iter__()

    def __reversed__(self) -> Iterator[Any]:
        self.complete()
        return super().__reversed__()

    def __contains__(self, item: object) -> bool:
        self.complete()
        return super().__contains__(item)

    def __getitem__(self, index: Any) -> Any:
        self.complete()
        return super().__getitem__(index)

    def __eq__(self, other: object) -> bool:
        self.complete()
        return super().__eq__(other)

    __hash__ = None

    def __add__(self, other: Any) -> Any:
        self.complete()
        return super().__add__(other)

    def __repr__(self) -> str:
        self.complete()
        return super().__repr__()

    def copy(self) -> list[Any]:
        self.complete()
        return super().copy()

    def index(self, item: Any, start: SupportsIndex = 0, stop: SupportsIndex = sys.maxsize) -> int:
        self.complete()
        return super().index(item, start, stop)

    def count(self, item: Any) -> int:
        self.complete()
        return super().count(item)
