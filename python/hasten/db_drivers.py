"""PostgreSQL's drivers, at the lowest place in Python through which all their connections are made.

Whoever has taken a driver's ``connect`` by name, or keeps it in a pool or an engine, comes through here: what is
replaced are functions that the drivers look up in a module of theirs whenever they connect.
"""

from __future__ import annotations

import importlib
from collections.abc import Generator
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from hasten.db_adapt import when_imported
from hasten.plugin import state

# Module of a driver -> function of ours that is given it once it is imported.
DRIVERS = {
    "psycopg.generators": "bind_psycopg",
    "psycopg2": "bind_psycopg2",
    "asyncpg.connect_utils": "bind_asyncpg",
}


def install() -> None:
    when_imported({name: (__name__, function) for name, function in DRIVERS.items()})


def _bound() -> Any:
    return state.db.bound if state.db is not None else None


def bind_psycopg(generators: ModuleType) -> None:
    """conninfo is libpq's, of keywords and values, made from whatever the caller has given."""
    original = generators.connect

    def connect(conninfo: str, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        __tracebackhide__ = True
        bound = _bound()
        if bound is None:
            return (yield from original(conninfo, *args, **kwargs))
        parse = importlib.import_module("psycopg.conninfo").conninfo_to_dict
        try:
            return (yield from original(bound.connecting(conninfo, parse), *args, **kwargs))
        except Exception:
            bound.failed(conninfo, parse)
            raise

    generators.connect = connect  # type: ignore[attr-defined]


def bind_psycopg2(psycopg2: ModuleType) -> None:
    """dsn: keywords and values, or the caller's URL."""
    original = psycopg2._connect

    def _connect(dsn: Any, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        bound = _bound()
        if bound is None or not isinstance(dsn, str):
            return original(dsn, *args, **kwargs)
        parse = importlib.import_module("psycopg2.extensions").parse_dsn
        try:
            return original(bound.connecting(dsn, parse), *args, **kwargs)
        except Exception:
            bound.failed(dsn, parse)
            raise

    psycopg2._connect = _connect  # type: ignore[attr-defined]


def bind_asyncpg(connect_utils: ModuleType) -> None:
    """It knows the database once it has parsed what the caller has given; addresses: of sockets, or (host, port)."""
    parse, connect = connect_utils._parse_connect_dsn_and_args, connect_utils._connect
    asking: ContextVar[list[tuple[str, Any]]] = ContextVar("hasten_asking")  # what this connection was to be to

    def _parse_connect_dsn_and_args(*args: Any, **kwargs: Any) -> Any:
        addresses, params = parse(*args, **kwargs)
        bound = _bound()
        if bound is None or not params.database:
            return addresses, params
        hosts = " ".join(str(one) for one in addresses)

        def target(text: str) -> dict[str, Any]:
            return {"dbname": text, "host": hosts}

        asking.get([]).append((params.database, target))
        database = bound.connecting(params.database, target)
        addresses = [bound.rebound(one) if isinstance(one, str) else one for one in addresses]
        return addresses, params._replace(database=database)

    async def _connect(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        asked: list[tuple[str, Any]] = []
        asking.set(asked)
        try:
            return await connect(*args, **kwargs)
        except Exception:
            bound = _bound()
            for name, target in asked if bound is not None else ():
                bound.failed(name, target)
            raise

    connect_utils._parse_connect_dsn_and_args = _parse_connect_dsn_and_args  # type: ignore[attr-defined]
    connect_utils._connect = _connect  # type: ignore[attr-defined]
