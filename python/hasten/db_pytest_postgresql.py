"""pytest-postgresql (db_adapt.py): initdb once for all workers and runs, copies of its template as files, loads once.

Its executors start a server for each worker: their data folder is a copy of one that initdb has made. Its janitors
make a template for each worker and load it: on a server that is given ("noproc") what one worker has loaded is copied
by the others, step by step, as nobody says which step is the last. A step is known by the file that it reads, or the
function that it calls.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from hasten.db_adapt import is_on, note
from hasten.db_content import Content, Key, Rows, cache_folder, give_up
from hasten.db_server import Server, template_name
from hasten.db_sqlalchemy import is_slow
from hasten.plugin import state

_own_servers: set[tuple[str, str]] = set()  # host and port of servers that this worker has started
_facts: dict[tuple[str, str], tuple[int, bool]] = {}  # (version, waits for its disk)


def _place(it: Any) -> tuple[str, str]:
    return str(it.host), str(it.port)


# ---- executors


def _cluster_key(executor: Any, command: list[str]) -> str:
    program = os.path.realpath(shutil.which(command[0]) or command[0])
    about = os.stat(program)
    words = [word.replace(str(Path(executor.datadir).resolve()), "<data>") for word in command]
    locale = sorted((key, value) for key, value in os.environ.items() if key.startswith(("LC_", "LANG", "TZ", "PG")))
    parts = (program, about.st_size, about.st_mtime_ns, words, locale, os.geteuid())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def adapt_executor(module: ModuleType) -> None:
    executor: Any = module.PostgreSQLExecutor
    run_initdb = executor._run_initdb
    start = executor.start

    @functools.wraps(run_initdb)
    def run(self: Any, command: Any, *args: Any, **kwargs: Any) -> Any:
        if not is_on() or not isinstance(command, list) or self.password:
            return run_initdb(self, command, *args, **kwargs)
        data = Path(self.datadir).resolve()
        cached = cache_folder() / f"initdb-{_cluster_key(self, command)}"
        if cached.is_dir() and not data.exists():
            shutil.copytree(cached, data, symlinks=True)
            data.chmod(0o700)
            note("db_template_use", cached.name)
            return None
        result = run_initdb(self, command, *args, **kwargs)
        _keep_cluster(data, cached)
        return result

    @functools.wraps(start)
    def started(self: Any, *args: Any, **kwargs: Any) -> Any:
        _own_servers.add(_place(self))
        return start(self, *args, **kwargs)

    executor._run_initdb = run
    executor.start = started


def _keep_cluster(data: Path, cached: Path) -> None:
    half = cached.with_name(f"{cached.name}.{os.getpid()}")
    try:
        shutil.copytree(data, half, symlinks=True)
        half.rename(cached)
        note("db_template_kept", cached.name)
    except OSError as exc:  # another worker was first, or the disk is full
        note("db_template_none", str(exc))
        shutil.rmtree(half, ignore_errors=True)


# ---- janitors


@contextlib.contextmanager
def _server(janitor: Any) -> Iterator[Server]:
    with janitor.cursor() as cursor:

        def run(sql: str) -> Rows:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

        yield Server(run)


def _copies_files(janitor: Any) -> bool:
    """The server has a choice, and does not wait for its disk."""
    place = _place(janitor)
    if place not in _facts:
        with _server(janitor) as server:
            _facts[place] = server.version, server.durable
    version, durable = _facts[place]
    return version >= 150000 and not durable


def _describe_step(content: Content, step: Any) -> bool:
    if isinstance(step, os.PathLike):
        content.add("file")
        content.add_file(os.fspath(step))
        return bool(content.files)
    if isinstance(step, str):
        content.add(step)
        return True
    module, name = getattr(step, "__module__", None), getattr(step, "__qualname__", "<")
    path = getattr(sys.modules.get(module or ""), "__file__", None)
    if not path or "<" in name:  # a lambda or an inner function: what it knows beside its code cannot be told
        return False
    content.add(module, name)
    content.add_file(path)
    return True


class _Steps:
    """What was loaded into one template so far; name: of the content, "" when it cannot be told any more."""

    def __init__(self) -> None:
        self.name = "empty"
        self.n = 0

    @property
    def _slot(self) -> str:
        text = f"{os.path.realpath(state.db_root)} {self.n}"
        return "pytest-postgresql-" + hashlib.sha256(text.encode()).hexdigest()[:12]

    def load(self, janitor: Any, step: Any, load: Callable[[], Any]) -> Any:
        content = Content("pytest-postgresql")
        content.add(self.name)
        before, self.name = self.name, ""
        self.n += 1
        if not before or janitor.autocommit or not _describe_step(content, step):
            return load()
        with _server(janitor) as server:
            server.describe(content, "template1")
            key = Key(content)
            found = server.await_template(key)
            if found == "use" and server.is_left(janitor.dbname):
                server.replace(key, janitor.dbname, is_template=True)
                key.warn()
                self.name = key.name
                return None
            start = time.monotonic()
            try:
                with key.building():
                    result = load()
            except BaseException as exc:
                if found == "build":
                    give_up(key, str(exc))
                raise
            if found == "build":
                if not is_slow(time.monotonic() - start) or not server.is_left(janitor.dbname):
                    give_up(key, "it is quick, or still in use")
                elif server.snapshot(key, janitor.dbname, self._slot):
                    self.name = template_name(key).removeprefix("hasten_t_")
            return result


def adapt_janitor(module: ModuleType) -> None:
    from psycopg import sql

    base: Any = module.BaseDatabaseJanitor
    janitor: Any = module.DatabaseJanitor
    build_sql, init, load = base._build_create_database_sql, janitor.init, janitor.load

    @functools.wraps(build_sql)
    def create_sql(self: Any) -> Any:
        query = build_sql(self)
        if is_on() and self.template_dbname and isinstance(self, janitor) and _copies_files(self):
            query = query + sql.SQL(" STRATEGY = file_copy")
        return query

    @functools.wraps(init)
    def initialise(self: Any) -> None:
        init(self)
        if is_on() and self.is_template() and not self.template_dbname and _place(self) not in _own_servers:
            self._hasten_steps = _Steps()

    @functools.wraps(load)
    def load_step(self: Any, step: Any) -> Any:
        steps = self.__dict__.get("_hasten_steps")
        if steps is None or self.isolation_level is not None:
            return load(self, step)
        return steps.load(self, step, lambda: load(self, step))

    base._build_create_database_sql = create_sql
    janitor.init = initialise
    janitor.load = load_step
