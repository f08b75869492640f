"""Adapters: where a tool of the suite builds a worker's database step by step, the worker takes a copy of a template.

An adapter takes the place of the slow step and of nothing else: names, servers, connections, settings and the suite's
own fixtures stay as they are. The first worker builds by the tool's own code, as it would under pytest-xdist; what it
has built becomes a template, named by a hash of what it came from (db_content.py); the others, and later runs, copy
that. Whatever is not recognised, or goes wrong with a template, is left to the tool.

Only workers do so, only for tools that the suite imports, and not with ``[tool.hasten.db] adapters = false``, a list
that leaves the tool out, or ``HASTEN_DB_ADAPTERS=0``.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from hasten import _native
from hasten.plugin import state

# Adapter -> (module of ours, {module of the tool: function of ours that is given it once it is imported}).
ADAPTERS: dict[str, tuple[str, dict[str, str]]] = {
    "django": (
        "hasten.db_django",
        {
            "django.db.backends.base.creation": "adapt_creation",
            "django.core.management.commands.migrate": "adapt_migrate",
        },
    ),
    "alembic": (
        "hasten.db_alembic",
        {"alembic.command": "adapt_command", "alembic.runtime.migration": "adapt_context"},
    ),
    "pytest-postgresql": (
        "hasten.db_pytest_postgresql",
        {"pytest_postgresql.janitor": "adapt_janitor", "pytest_postgresql.executors.proc": "adapt_executor"},
    ),
    "sqlalchemy": ("hasten.db_sqlalchemy", {"sqlalchemy.sql.schema": "adapt_schema"}),
}


def note(event: str, text: str) -> None:
    """A line of the trace."""
    _native.database_note(event, text)


def is_on() -> bool:
    """This process is a worker that may use templates."""
    return state.role == "worker"


def worker_id() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "")


class _Loader(importlib.abc.Loader):
    """Loads a module by its own loader, then adapts it."""

    def __init__(self, loader: Any, adapt: tuple[str, str]) -> None:
        self.loader = loader
        self.adapt = adapt

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: Any) -> Any:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        if spec is not None:
            spec.loader = self.loader
        module.__loader__ = self.loader
        self.loader.exec_module(module)
        _adapt(module, *self.adapt)


class _Finder(importlib.abc.MetaPathFinder):
    """Sees the modules of the table as they are imported; it finds them once and is out of the way then."""

    def __init__(self, wanted: dict[str, tuple[str, str]], is_of_adapters: bool) -> None:
        self.wanted = wanted
        self.is_of_adapters = is_of_adapters

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        adapt = self.wanted.pop(name, None)
        if adapt is None:
            return None
        if not self.wanted and self in sys.meta_path:
            sys.meta_path.remove(self)
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None) if finder is not self else None
            spec = find(name, path, target) if find is not None else None
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, adapt)
                return spec
        return None


def _adapt(module: ModuleType, own: str, function: str) -> None:
    try:
        getattr(importlib.import_module(own), function)(module)
    except (AttributeError, ImportError) as exc:  # not as the versions that we know
        note("db_adapter_off", f"{module.__name__}: {exc}")


def chosen() -> list[str]:
    """The adapters that the settings leave on."""
    if os.environ.get("HASTEN_DB_ADAPTERS") == "0":
        return []
    return [name for name in ADAPTERS if state.db_adapters is None or name in state.db_adapters]


def install() -> None:
    """In a process whose forks are workers, or in a worker: adapts what is imported, and what will be."""
    if any(isinstance(finder, _Finder) and finder.is_of_adapters for finder in sys.meta_path):
        return
    table = ((own, functions) for own, functions in (ADAPTERS[name] for name in chosen()))
    when_imported({target: (own, function) for own, functions in table for target, function in functions.items()}, True)


def when_imported(table: dict[str, tuple[str, str]], is_of_adapters: bool = False) -> None:
    """Module of a tool -> (module of ours, function): given that module now, or once it is imported."""
    later: dict[str, tuple[str, str]] = {}
    for target, (own, function) in table.items():
        module = sys.modules.get(target)
        if module is None:
            later[target] = (own, function)
        elif not getattr(module, "_hasten_adapted", False):
            _adapt(module, own, function)
    if later:
        sys.meta_path.insert(0, _Finder(later, is_of_adapters))
