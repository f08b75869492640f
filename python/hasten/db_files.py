"""Templates of SQLite databases, in the cache: read and written by SQLite's own backup, into an open connection."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Any

from hasten.db_adapt import note
from hasten.db_content import FileLock, Key, cache_folder, give_up, is_given_up


def usable(raw: Any) -> bool:
    """Its content may be read and replaced as a whole."""
    return isinstance(raw, sqlite3.Connection) and not raw.in_transaction


def is_empty(raw: sqlite3.Connection) -> bool:
    cursor = sqlite3.Cursor(raw)
    cursor.row_factory = None
    return sqlite3.Cursor.execute(cursor, "SELECT 1 FROM sqlite_master").fetchone() is None


class FileTemplate:
    """The template of one content. must_keep: this worker builds it."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.lock = FileLock(key.base)
        self.must_keep = self.lock.take(lambda: self.exists or is_given_up(key)) and not self.exists

    def close(self) -> None:
        self.lock.close()

    @property
    def path(self) -> Path:
        return cache_folder() / f"sqlite-{self.key.refresh().name}.db"

    @property
    def exists(self) -> bool:
        return self.path.exists()

    def put(self, raw: sqlite3.Connection) -> bool:
        """False: there is none, or it cannot be read; the database is empty as before."""
        path = self.path
        if not path.exists():
            return False
        try:
            with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as template:
                template.backup(raw)
        except sqlite3.Error as exc:
            note("db_template_none", f"{path.name}: {exc}")
            return False
        note("db_template_use", path.name)
        return True

    def keep(self, raw: Any) -> None:
        self.must_keep = False
        if not usable(raw):
            give_up(self.key, "the connection is in a transaction")
            return
        try:
            half = cache_folder() / f"half-{os.getpid()}.db"
            self.key.after_build()
            with contextlib.closing(sqlite3.connect(half)) as target:
                raw.backup(target)
            half.replace(self.path)
            note("db_template_kept", self.path.name)
        except (OSError, sqlite3.Error) as exc:
            give_up(self.key, str(exc))
            half.unlink(missing_ok=True)
