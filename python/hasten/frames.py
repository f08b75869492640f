"""Functions that call a test or a fixture from the place from which pytest calls it.

``warnings.warn(..., stacklevel=2)`` in a test, and what else looks at its caller, finds pytest's file and line there.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from hasten import known


def _call(function: Callable[..., Any], kwargs: dict[str, Any]) -> Any: return function(**kwargs)  # fmt: skip


def _next(generator: Any) -> Any: return next(generator)  # fmt: skip


def _at(function: types.FunctionType, like: types.FunctionType, place: str) -> types.FunctionType:
    """function, as if it were the line of pytest's function ``like`` that ``place`` names in the table."""
    code = function.__code__.replace(
        co_filename=like.__code__.co_filename,
        co_name=like.__code__.co_name,
        co_qualname=like.__code__.co_qualname,
        co_firstlineno=known.line_of(like.__module__, f"{like.__qualname__}:{place}"),
    )
    return types.FunctionType(code, like.__globals__, like.__name__)


def callers() -> dict[str, types.FunctionType]:
    """``call_test`` and ``call_fixture`` (function, keyword arguments), ``next_of_fixture`` (generator)."""
    from _pytest import fixtures, python

    return {
        "call_test": _at(_call, python.pytest_pyfunc_call, "call"),  # type: ignore[arg-type]
        "call_fixture": _at(_call, fixtures.call_fixture_func, "call"),  # type: ignore[arg-type]
        "next_of_fixture": _at(_next, fixtures.call_fixture_func, "next"),  # type: ignore[arg-type]
    }
