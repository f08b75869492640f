"""What generated programs stand on: answers that follow a pattern, so that some lines run, some do not, some once.

This file is not measured. Everything is the same in each run of a program: reset() before it.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any


class OddError(Exception):
    """An exception of the programs' own."""


class Point:
    __match_args__ = ("x", "y")

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y


class State:
    def __init__(self) -> None:
        self.counts: collections.Counter[tuple[str, int]] = collections.Counter()
        self.depth = self.calls = 0
        self.kept: list[Any] = []


state = State()


def reset() -> None:
    state.__init__()  # type: ignore[misc]


def turn(kind: str, k: int) -> int:
    """How often this was asked before."""
    state.counts[kind, k] += 1
    return state.counts[kind, k] - 1


def pattern(kind: str, k: int) -> bool:
    n = turn(kind, k)
    return (True, False, n % 2 == 0, n % 2 == 1, n == 0, n > 0, n % 3 == 1, n % 3 != 2)[k % 8]


EXCEPTIONS = (ValueError, KeyError, OddError, TypeError, ZeroDivisionError)


def c(k: int) -> bool:
    """A condition."""
    return pattern("c", k)


def e(k: int) -> Any:
    return EXCEPTIONS[k % 5]


def r(k: int) -> int:
    """Raises, now and then."""
    n = turn("r", k)
    if (False, False, False, n % 3 == 2, n == 0, n > 0, n == 1, True)[k % 8]:
        raise EXCEPTIONS[k % 5](k)
    return k % 3


def g(k: int) -> Any:
    """A group of exceptions."""
    return ExceptionGroup("g", [EXCEPTIONS[i % 5](i) for i in range(k % 3 + 1)])


def xs(k: int) -> list[int]:
    return list(range((k + turn("xs", k)) % 4))


def m(k: int) -> Any:
    """Something to match."""
    some = (1, 2, "a", [1], [1, 2], [3, 4, 5], {"k": 1}, {"k": 2, "l": 3}, Point(0, 1), Point(2, 2), None, 1.5, True)
    return some[(k + 5 * turn("m", k)) % len(some)]


def ys(k: int) -> Iterator[int]:
    """Raises at its end, now and then."""
    yield from range(k % 3)
    r(k)


def same(*args: Any, **_named: Any) -> Any:
    return args[0] if args else None


def dec(*_args: Any) -> Callable[[Any], Any]:
    return lambda object: object


class Manager:
    def __init__(self, k: int) -> None:
        self.k = k

    def __enter__(self) -> int:
        if self.k % 9 == 8:
            r(self.k)
        return self.k

    def __exit__(self, kind: Any, value: Any, _trace: Any) -> bool:
        if self.k % 11 == 10:
            r(self.k)
        return value is not None and isinstance(value, Exception) and self.k % 3 == 0

    async def __aenter__(self) -> int:
        await pause(self.k)
        return self.__enter__()

    async def __aexit__(self, kind: Any, value: Any, trace: Any) -> bool:
        await pause(self.k)
        return self.__exit__(kind, value, trace)


class Pause:
    def __init__(self, k: int) -> None:
        self.k = k

    def __await__(self) -> Generator[int, Any, int]:
        if self.k % 2:
            yield self.k
        r(self.k * 5 + 1)
        return self.k


cm = acm = Manager
pause = Pause


async def axs(k: int) -> AsyncIterator[int]:
    for i in xs(k):
        await pause(2 * i * 8)
        yield i
    r(k)


def close(iterator: Any, k: int) -> None:
    """A generator or a coroutine: run to its end, or not."""
    if hasattr(iterator, "__anext__"):
        for i in range(5):
            if k % 4 == i:
                return drive(iterator.aclose() if k % 2 else iterator.athrow(EXCEPTIONS[k % 5](k)), k * 2)
            drive(iterator.asend(i if i else None), k * 2)
        return None
    return drive(iterator, k)


def drive(iterator: Any, k: int) -> None:
    value = None
    for i in range(12):
        if k % 7 == i + 1:
            iterator.throw(EXCEPTIONS[k % 5](k))
        elif k % 7 == i + 3:
            iterator.close()
            return
        value = iterator.send(value)


def run(function: Callable[..., Any], *args: Any) -> Any:
    """Calls it, whatever it is; nothing gets out."""
    state.calls += 1
    k = state.calls
    if state.depth > 6 or state.calls > 60:
        return 0
    state.depth += 1
    try:
        result = function(*args)
        if hasattr(result, "send") or hasattr(result, "__anext__"):
            if k % 5 == 4:
                state.kept.append(result)
            close(result, k)
        return result
    except BaseException:
        return None
    finally:
        state.depth -= 1


def thread(function: Callable[..., Any], *args: Any) -> None:
    other = threading.Thread(target=run, args=(function, *args))
    other.start()
    other.join()


def finish() -> None:
    """Suspended generators are closed now."""
    while state.kept:
        try:
            kept = state.kept.pop()
            kept.close()
        except BaseException:
            pass
