"""SQLAlchemy: ``MetaData.create_all`` on an empty database; what Alembic's adapter shares with it (db_adapt.py).

Only for an engine, not for a connection, whose transaction is the suite's; only where nobody else is connected; and
only for so many tables that a copy is quicker than the statements.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from hasten.db_adapt import is_on, note
from hasten.db_content import Content, Key, Rows, give_up
from hasten.db_files import FileTemplate, is_empty, usable
from hasten.db_server import Server
from hasten.plugin import state

LEAST_TABLES = 30
EVENTS = ("before_create", "after_create")
# Nothing but what CREATE DATABASE brings along from an ordinary template1.
EMPTY = """
    SELECT NOT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_'
                       AND nspname NOT IN ('public', 'information_schema'))
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                       WHERE n.nspname = 'public')
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                       WHERE n.nspname = 'public')
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
                       WHERE n.nspname = 'public')
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql')
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_largeobject_metadata)
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_event_trigger)
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_publication), current_database()
"""


def is_slow(seconds: float) -> bool:
    """Worth a template: to drop and to copy a database takes some tenths of a second where the server has a disk."""
    return seconds >= float(os.environ.get("HASTEN_TEST_DB_SLOW", "0.4"))


def empty_database(connection: Any) -> str:
    """The name of the PostgreSQL database that it is connected to, when that is empty; else ''."""
    is_new, name = connection.exec_driver_sql(EMPTY).fetchone()
    return str(name) if is_new else ""


def raw_of(connection: Any) -> Any:
    return getattr(connection.connection, "dbapi_connection", None)


@contextlib.contextmanager
def server_of(engine: Any) -> Iterator[Server | None]:
    """A connection beside the suite's, to the database from which others are made; None when there is no way to one."""
    import sqlalchemy

    url, connection, server = engine.url, None, None
    drivers = [] if engine.dialect.is_async else [url.drivername]
    for driver in [*drivers, "postgresql+psycopg", "postgresql+psycopg2"]:
        query = {key: value for key, value in url.query.items() if driver == url.drivername or key in ("host", "port")}
        try:
            other = url.set(drivername=driver, database="postgres", query=query)
            admin = sqlalchemy.create_engine(other, poolclass=sqlalchemy.pool.NullPool, isolation_level="AUTOCOMMIT")
            connection = admin.connect()
            server = Server(functools.partial(_run, connection))
            break
        except Exception as exc:  # whatever the driver raises
            note("db_no_server", f"{driver}: {type(exc).__name__}")
    try:
        yield server
    finally:
        if connection is not None:
            connection.close()


def _run(connection: Any, sql: str) -> Rows:
    result = connection.exec_driver_sql(sql)
    return [tuple(row) for row in result.fetchall()] if result.returns_rows else []


def slot_of(kind: str, engine: Any) -> str:
    text = f"{os.path.realpath(state.db_root)} {engine.url.drivername} {engine.url.host}"
    return f"{kind}-" + hashlib.sha256(text.encode()).hexdigest()[:12]


# ---- create_all


def _has_listeners(metadata: Any) -> bool:
    """Functions of the suite's own that are called while tables are created."""
    for target in (metadata, *metadata.tables.values()):
        for event in EVENTS:
            for listener in getattr(target.dispatch, event):
                module = getattr(listener, "__module__", None) or type(listener).__module__
                if not module.startswith("sqlalchemy."):
                    return True
    return False


def _statements(metadata: Any, engine: Any) -> list[str]:
    import sqlalchemy

    found: list[str] = []

    def take(statement: Any, *_args: Any, **_kwargs: Any) -> None:
        found.append(str(statement.compile(dialect=engine.dialect)))

    mock: Any = sqlalchemy.create_mock_engine(f"{engine.dialect.name}://", take)
    metadata.create_all(mock, checkfirst=False)
    return found


def _may_replace(metadata: Any, bind: Any, tables: Any) -> bool:
    import sqlalchemy

    least = int(os.environ.get("HASTEN_TEST_DB_TABLES", LEAST_TABLES))
    return (
        is_on()
        and isinstance(bind, sqlalchemy.Engine)
        and tables is None
        and len(metadata.tables) >= least
        and bind.dialect.name in ("postgresql", "sqlite")
        and not bind.dialect.is_async
        and not _has_listeners(metadata)
    )


def _create_sqlite(metadata: Any, engine: Any, create: Any) -> bool:
    with engine.connect() as connection:
        raw = raw_of(connection)
        if not usable(raw) or not is_empty(raw):
            return False
        content = Content("sqlalchemy")
        content.add(_statements(metadata, engine), raw.execute("SELECT sqlite_version()").fetchone()[0])
        template = FileTemplate(Key(content))
        try:
            if template.put(raw):
                template.key.warn()
                return True
        finally:
            if not template.must_keep:
                template.close()
    if not template.must_keep:
        return False
    try:
        start = time.monotonic()
        with template.key.building():
            create()
        with engine.connect() as connection:
            if is_slow(time.monotonic() - start) and usable(raw_of(connection)):
                template.keep(raw_of(connection))
            else:
                give_up(template.key, "it is quick")
    finally:
        template.close()
    return True


def _find(metadata: Any, engine: Any, server: Server | None, name: str) -> tuple[Key | None, str]:
    """As Server.await_template; "use": it is a copy now."""
    try:
        content = Content("sqlalchemy")
        if server is None or not server.describe_empty(content, name):
            return None, "none"
        content.add(_statements(metadata, engine))
        key = Key(content)
        found = server.await_template(key)
        if found == "none":
            return None, found
        engine.dispose()
        if not server.is_left(name):
            if found == "build":
                give_up(key, f"others are connected to {name}")
            return None, "none"
        if found == "use":
            server.replace(key, name)
        return key, found
    except Exception as exc:  # nobody's failure: it works as ever
        note("db_template_none", f"{type(exc).__name__}: {exc}")
        return None, "none"


def _create_postgres(metadata: Any, engine: Any, create: Any) -> bool:
    with engine.connect() as connection:
        name = empty_database(connection)
        connection.rollback()
    if not name or getattr(engine.pool, "checkedout", lambda: 0)():
        return False
    with server_of(engine) as server:
        key, found = _find(metadata, engine, server, name)
        if server is None or key is None or found == "none":
            return False
        if found == "use":
            key.warn()
            return True
        start = time.monotonic()
        try:
            with key.building():
                create()
        except BaseException as exc:
            give_up(key, str(exc))
            raise
        engine.dispose()
        if is_slow(time.monotonic() - start) and server.is_left(name):
            server.snapshot(key, name, slot_of("sqlalchemy", engine))
        else:
            give_up(key, "it is quick")
        return True


def adapt_schema(module: ModuleType) -> None:
    metadata: Any = module.MetaData
    create_all = metadata.create_all

    @functools.wraps(create_all)
    def create(self: Any, bind: Any, tables: Any = None, *args: Any, **kwargs: Any) -> None:
        def original() -> None:
            create_all(self, bind, tables, *args, **kwargs)

        if not _may_replace(self, bind, tables):
            original()
            return
        adapted = _create_postgres if bind.dialect.name == "postgresql" else _create_sqlite
        if not adapted(self, bind, original):
            original()

    metadata.create_all = create
