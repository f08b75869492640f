"""Alembic's ``upgrade`` of an empty database (db_adapt.py).

Which database it is, only env.py knows. PostgreSQL: where a template is there, env.py is left in the moment when it
would run migrations; the database that it had connected to becomes a copy of the template, if nobody is connected to
it any more; and upgrade begins again, with nothing left to do. SQLite: the content is put into env.py's own
connection.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from hasten.db_adapt import is_on, note
from hasten.db_content import Content, Key, give_up
from hasten.db_files import FileTemplate, is_empty, usable
from hasten.db_server import Server
from hasten.db_sqlalchemy import empty_database, is_slow, raw_of, server_of, slot_of

MOST_DATABASES = 20  # of one env.py


class _Replace(BaseException):
    """Leaves env.py; no handler of ``Exception`` in it takes this for a failure."""


class _Upgrade:
    """One call of upgrade."""

    def __init__(self, config: Any, revision: str, tag: str | None, stack: contextlib.ExitStack) -> None:
        self.config = config
        self.revision = revision
        self.tag = tag
        self.stack = stack
        self.decided: set[str] = set()  # databases that are migrated as ever from now on
        self.building: set[str] = set()  # templates whose lock is ours
        self.replacing: tuple[Server, Key, str] | None = None
        self.to_keep: list[Callable[[], None]] = []

    def content(self, context: Any) -> Content:
        from alembic.script import ScriptDirectory

        script = ScriptDirectory.from_config(self.config)
        content = Content("alembic")
        content.add(self.revision, self.tag, context.dialect.name, context.dialect.driver)
        content.add(context.version_table, context.version_table_schema)
        content.add(getattr(getattr(self.config, "cmd_opts", None), "x", None))
        options = self.config.get_section(self.config.config_ini_section) or {}
        content.add({key: value for key, value in options.items() if key not in ("sqlalchemy.url", "here")})
        for folder in {script.dir, *script._version_locations}:
            content.add_tree(str(folder))
        if self.config.config_file_name:
            content.add_file(str(self.config.config_file_name))
        return content

    # ---- PostgreSQL

    def run_postgres(self, context: Any, run: Callable[[], None]) -> None:
        name = empty_database(context.connection)
        if not name or name in self.decided:
            run()
            return
        self.decided.add(name)
        server = self.stack.enter_context(server_of(context.connection.engine))
        key, found = self._find(context, server, name)
        if server is None or key is None:
            run()
            return
        if found == "use":
            self.replacing = (server, key, name)
            raise _Replace
        self.building.add(key.base)
        start = time.monotonic()
        try:
            with key.building():
                run()
        except BaseException as exc:
            if found == "build":
                give_up(key, str(exc))
            raise
        if found == "build":
            seconds, slot = time.monotonic() - start, slot_of("alembic", context.connection.engine)
            self.to_keep.append(lambda: self._keep(server, key, name, seconds, slot))

    def _find(self, context: Any, server: Server | None, name: str) -> tuple[Key | None, str]:
        """(the template's key, what await_template says); None: without one."""
        try:
            content = self.content(context)
            if server is not None and server.describe_empty(content, name):
                key = Key(content)
                if key.base not in self.building:  # else two databases of one env.py have the same migrations
                    return key, server.await_template(key)
        except Exception as exc:  # nobody's failure: it works as ever
            note("db_template_none", f"{type(exc).__name__}: {exc}")
        return None, "none"

    @staticmethod
    def _keep(server: Server, key: Key, name: str, seconds: float, slot: str) -> None:
        if not is_slow(seconds):
            give_up(key, "it is quick")
        elif not server.is_left(name):
            give_up(key, f"somebody stays connected to {name}")
        else:
            server.snapshot(key, name, slot)

    def replace(self) -> None:
        assert self.replacing is not None
        server, key, name = self.replacing
        self.replacing = None
        try:
            is_copy = server.is_left(name)
            if is_copy:
                server.replace(key, name)
        except Exception as exc:
            note("db_template_none", f"{type(exc).__name__}: {exc}")
            return
        if is_copy:
            key.warn()

    # ---- SQLite

    def run_sqlite(self, context: Any, run: Callable[[], None]) -> None:
        raw = raw_of(context.connection)
        if not usable(raw) or not is_empty(raw):
            run()
            return
        template = self._file(context, raw)
        if template is None:
            run()
            return
        key = template.key
        if template.put(raw):
            key.warn()
            run()
            return
        path = raw.execute("PRAGMA database_list").fetchone()[2]
        start = time.monotonic()
        with key.building():
            run()
        if template.must_keep and not is_slow(time.monotonic() - start):
            give_up(template.key, "it is quick")
        elif template.must_keep and path:
            self.to_keep.append(lambda: self._keep_file(template, path))
        elif template.must_keep:
            template.keep(raw)

    def _file(self, context: Any, raw: sqlite3.Connection) -> FileTemplate | None:
        try:
            content = self.content(context)
            content.add(sqlite3.sqlite_version)
            key = Key(content)
            if key.base in self.building:
                return None
            self.building.add(key.base)
            template = FileTemplate(key)
        except Exception as exc:
            note("db_template_none", f"{type(exc).__name__}: {exc}")
            return None
        self.stack.callback(template.close)
        return template

    @staticmethod
    def _keep_file(template: FileTemplate, path: str) -> None:
        with contextlib.closing(sqlite3.connect(path)) as raw:
            template.keep(raw)


_current: list[_Upgrade] = []


def adapt_command(module: ModuleType) -> None:
    original = module.upgrade

    @functools.wraps(original)
    def upgrade(config: Any, revision: str, sql: bool = False, tag: str | None = None) -> None:
        if not is_on() or sql or ":" in revision or _current:
            original(config, revision, sql, tag)
            return
        with contextlib.ExitStack() as stack:
            work = _Upgrade(config, revision, tag, stack)
            _current.append(work)
            stack.callback(_current.pop)
            for _ in range(MOST_DATABASES):
                try:
                    original(config, revision, sql, tag)
                except _Replace:
                    work.replace()
                    continue
                break
            else:
                original(config, revision, sql, tag)
            for keep in work.to_keep:
                keep()

    module.upgrade = upgrade  # type: ignore[attr-defined]


def adapt_context(module: ModuleType) -> None:
    context: Any = module.MigrationContext
    original = context.run_migrations

    @functools.wraps(original)
    def run_migrations(self: Any, **kwargs: Any) -> None:
        def run() -> None:
            original(self, **kwargs)

        work = _current[-1] if _current else None
        if work is None or self.as_sql or self.connection is None or self.purge:
            run()
        elif self.dialect.name == "postgresql":
            work.run_postgres(self, run)
        elif self.dialect.name == "sqlite":
            work.run_sqlite(self, run)
        else:
            run()

    context.run_migrations = run_migrations
