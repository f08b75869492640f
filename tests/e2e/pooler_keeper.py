"""A keeper with a pooler, for tests of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import asker, keeper_of

psycopg = pytest.importorskip("psycopg")

SCHEMA = (
    "CREATE TABLE t(id serial PRIMARY KEY, a int, b text);\nCREATE TABLE kind(name text);\nGRANT ALL ON t TO PUBLIC;\n"
)


class Keeper:
    """One with a pooler, and the database of worker gw0."""

    def __init__(self, control: str, trace: Path, process: subprocess.Popen[str]) -> None:
        self.control = control
        self.trace = trace
        self.process = process
        self.url = self.ask("lease")
        self.name = self.url.partition("?")[0].rpartition("/")[2]

    def ask(self, verb: str, worker: str = "gw0") -> str:
        return asker(self.control)(verb, worker)

    def begin_anew(self) -> None:
        """The database as its template, without roles of tests, and one idle session in the pool."""
        self.ask("reset")
        with psycopg.connect(self.straight, autocommit=True) as connection:
            connection.execute("DROP ROLE IF EXISTS app")
            connection.execute("DROP ROLE IF EXISTS other")
        connection.close()
        assert self.run("SELECT 1") == self.run("SELECT 1")

    def url_of(self, name: str) -> str:
        return self.url.replace(self.name, name)

    @property
    def straight(self) -> str:
        """To the server itself."""
        return self.url.replace("/p&", "/s&")

    def connect(self, **options: Any) -> Any:
        return psycopg.connect(self.url, autocommit=True, **options)

    def run(self, *statements: str, **options: Any) -> int:
        """The session's number. It is not asked for: the server said it."""
        connection = self.connect(**options)
        try:
            for statement in statements:
                connection.execute(statement)
            return int(connection.info.backend_pid)
        finally:
            connection.close()

    def events(self, name: str) -> list[str]:
        return [line for line in self.trace.read_text().splitlines() if f'"ev":"{name}"' in line]


@contextlib.contextmanager
def keeping(folder: Path, cache: dict[str, str], *args: str) -> Iterator[Keeper]:
    schema = folder / "schema.sql"
    schema.write_text(SCHEMA)
    env = os.environ | cache | {"HASTEN_TRACE": str(folder / "trace")}
    about = ("--workers", "2", "--postgres", f"--postgres-sql={schema}", "--postgres-key=pooler")
    with keeper_of(*about, *args, env=env) as (process, facts):
        yield Keeper(facts["control"], folder / "trace", process)


def state_of(connection: Any) -> dict[str, Any]:
    """What a client could see of its own session."""
    questions = {
        "settings": "SELECT name, setting, source FROM pg_settings WHERE name <> 'transaction_isolation' ORDER BY 1",
        "prepared": "SELECT name FROM pg_prepared_statements",
        "channels": "SELECT * FROM pg_listening_channels()",
        "cursors": "SELECT name FROM pg_cursors",
        "locks": "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
        "temporary": "SELECT count(*) FROM pg_class WHERE relpersistence = 't'",
        "user": "SELECT session_user, current_user, current_schemas(true)",
        "rows": "SELECT * FROM t",
    }
    with connection.cursor() as cursor:
        found = {name: cursor.execute(sql).fetchall() for name, sql in questions.items()}
    for name, sql in (("last", "SELECT lastval()"), ("placeholder", "SELECT current_setting('app.tenant')")):
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(sql)
        found[name] = str(caught.value)
    names = ("TimeZone", "DateStyle", "client_encoding", "is_superuser", "session_authorization", "application_name")
    return found | {name: connection.info.parameter_status(name) for name in names}


def look(url: str, **options: Any) -> tuple[int, dict[str, Any]]:
    connection = psycopg.connect(url, autocommit=True, **options)
    try:
        return connection.info.backend_pid, state_of(connection)
    finally:
        connection.close()
