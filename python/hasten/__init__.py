"""hasten runs an existing pytest suite, unchanged, in parallel on a C engine.

The command is a program of its own (``hasten run``); this package is its half inside of pytest's processes.

PYTEST_DONT_REWRITE: pytest would else warn that this package, which has a plugin, was imported before pytest could
rewrite its asserts (it has none), and suites that turn warnings into errors would not start.
"""

from __future__ import annotations

from typing import TypeVar

__all__ = ["session_once"]

T = TypeVar("T")


def session_once(function: T) -> T:
    """Marks a session fixture's function: hasten sets it up once for all workers, before they are forked.

    Write it under ``@pytest.fixture(scope="session")``. Without hasten it does nothing. The value must survive a fork:
    no connection, no thread, nothing that depends on the worker; otherwise every worker makes its own, and a line
    says why.
    """
    function.__hasten_session_once__ = True  # type: ignore[attr-defined]
    return function
