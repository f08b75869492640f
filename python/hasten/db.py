"""Databases for tests: ``[tool.hasten.db]``, the fixtures ``hasten_pg``, ``hasten_sqlite``, ``hasten_redis``.

The work is done by a process of its own, `hasten db keep` (src/db/keep.h): it is started here, before the first
conftest is imported, and asked here. Plain pytest without hasten's workers has the same fixtures.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shlex
import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from hasten import _native
from hasten.plugin import state

KINDS = ("postgres", "sqlite", "redis")
KEYS: dict[str, dict[str, type]] = {
    "postgres": {"setup": str, "env": str, "files": list, "reset": str, "scheme": str, "version": int, "locale": str},
    "sqlite": {"setup": str, "env": str, "files": list, "reset": str, "file": str, "form": str},
    "redis": {"setup": str, "env": str, "files": list, "reset": str, "file": str, "scheme": str},
}
CALLABLE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
INCLUDES = re.compile(rb"^\s*\\i", re.MULTILINE)  # psql's \i and \ir
RESETS = ("exact", "rollback", "clone")
SERVERS = ("worker", "run")  # the first is what is taken without a setting
END_LIMIT_MS = 40_000
KEEP_URL = "HASTEN_DB_KEEP_URL"  # a given server's, for the keeper alone


class DatabaseError(Exception):
    """No database could be had; str() says why, in one line."""


class _Nothing:
    """The type of no value: that of unknown settings."""


@dataclasses.dataclass
class Kind:
    """One table of settings, checked."""

    name: str
    settings: dict[str, Any]
    sql: str = ""
    command: str = ""
    key: str = ""  # "": this run's own

    @property
    def env(self) -> str:
        return str(self.settings.get("env", ""))


def read_settings(root: Path) -> tuple[list[Kind], str] | None:
    """The kinds of ``[tool.hasten.db]`` in root's pyproject.toml and the given server's URL; None: no kinds."""
    try:
        text = (root / "pyproject.toml").read_bytes()
    except OSError:
        return None
    if b"hasten" not in text:
        return None
    import tomllib

    try:
        tables = tomllib.loads(text.decode())
    except (ValueError, UnicodeDecodeError):
        return None  # pytest says it
    table = tables.get("tool", {}).get("hasten", {}).get("db")
    if table is None:
        return None
    found = _checked(root, table)
    return found if found[0] or "adapters" not in table else None


def _checked(root: Path, table: Any) -> tuple[list[Kind], str]:
    others = ("url", "adapters", "keep", "servers", "rebind", "pooler")
    unknown = sorted(set(table) - {*KINDS, *others}) if isinstance(table, dict) else ["(not a table)"]
    if unknown:
        raise pytest.UsageError(
            f"[tool.hasten.db]: unknown '{unknown[0]}'; known are {', '.join(KINDS)}, {', '.join(others)}"
        )
    state.db_servers = _servers(table)
    if not isinstance(table.get("rebind", True), bool):
        raise pytest.UsageError("[tool.hasten.db] rebind: true or false")
    state.db_rebind = table.get("rebind", True)
    state.db_pooler = _pooler(table)
    state.db_adapters = _adapters(table.get("adapters", True))
    state.db_keep = _limits(table.get("keep", {}))
    kinds = []
    for name in KINDS:
        if name in table:
            settings = table[name] if isinstance(table[name], dict) else {"": None}
            for key, value in settings.items():
                if not isinstance(value, KEYS[name].get(key, _Nothing)):
                    raise pytest.UsageError(
                        f"[tool.hasten.db] {name}: '{key}' is not known or has a value of the wrong type; known are "
                        f"{', '.join(KEYS[name])}"
                    )
            if settings.get("reset", "exact") not in RESETS:
                raise pytest.UsageError(f"[tool.hasten.db] {name}: reset is one of {', '.join(RESETS)}")
            kinds.append(_with_setup(root, Kind(name, settings)))
    return kinds, str(table.get("url", ""))


def _servers(table: dict[str, Any]) -> str:
    value = table.get("servers", "run" if "url" in table else SERVERS[0])
    if value not in SERVERS:
        raise pytest.UsageError(f"[tool.hasten.db] servers: '{value}' is none of {', '.join(SERVERS)}")
    if value == "worker" and "url" in table:
        raise pytest.UsageError(
            "[tool.hasten.db]: with a url there is one server for all workers; remove servers or url"
        )
    return str(value)


def _limits(value: Any) -> dict[str, int]:
    """What is kept for later runs at most (src/db/cache.h)."""
    names = ("days", "megabytes")
    if not isinstance(value, dict) or any(k not in names or type(v) is not int or v < 0 for k, v in value.items()):
        raise pytest.UsageError(f"[tool.hasten.db] keep: a table of {' and '.join(names)}, each a number")
    return value


def _pooler(table: dict[str, Any]) -> bool | None:
    value = table.get("pooler")
    if value is not None and not isinstance(value, bool):
        raise pytest.UsageError("[tool.hasten.db] pooler: true or false")
    if value and table.get("url"):
        raise pytest.UsageError("[tool.hasten.db] pooler: only for servers of the run's own, and not with url")
    return value


def _adapters(value: Any) -> list[str] | None:
    from hasten.db_adapt import ADAPTERS

    if value is True or value is False:
        return None if value else []
    if isinstance(value, list) and all(name in ADAPTERS for name in value):
        return value
    raise pytest.UsageError(f"[tool.hasten.db] adapters: true, false, or a list of {', '.join(ADAPTERS)}")


def _with_setup(root: Path, kind: Kind) -> Kind:
    setup = kind.settings.get("setup", "")
    if kind.name != "redis" and setup.endswith(".sql") and not any(c.isspace() for c in setup):
        kind.sql = str(root / setup)
    elif CALLABLE.fullmatch(setup):
        kind.command = shlex.join([sys.executable, "-m", "hasten.db_setup", setup])
    elif setup:
        kind.command = setup
    kind.key = _key(root, kind)
    return kind


def _key(root: Path, kind: Kind) -> str:
    """A hash of all that the template's content comes from; "" where that is not known: it is built in each run."""
    names = sorted({path for glob in kind.settings.get("files", []) for path in root.glob(glob) if path.is_file()})
    try:
        script = Path(kind.sql).read_bytes() if kind.sql else b""
        if not (kind.sql or kind.command) or (not names and (kind.command or INCLUDES.search(script))):
            return ""
        hashed = hashlib.sha256()
        given = [Path(root / kind.settings["file"])] if kind.settings.get("file") else []
        parts = [repr((kind.name, kind.command, sorted(kind.settings.items()))).encode(), script]
        for path in [*names, *given]:
            parts += [os.path.relpath(path, root).encode(), path.read_bytes()]
        for part in parts:
            hashed.update(b"%d:" % len(part) + part)
    except OSError:
        return ""
    return hashed.hexdigest()[:24]


class Databases:
    """This process's view of the run's databases. One per process; forks go on with it."""

    def __init__(self, root: Path, kinds: list[Kind], url: str, n_workers: int) -> None:
        self.root = root
        self.kinds = {kind.name: kind for kind in kinds}
        self.given = url
        self.n_workers = n_workers
        self.worker = "main"
        self.control = ""
        self.urls: dict[str, str] = {}
        self.keeper = 0  # our child; 0: another's
        self.owner = 0  # the process whose child it is
        self.failed = ""
        self.in_use: set[str] = set()  # kinds that this process or the one it was forked from has asked for
        self.starts: dict[str, int] = dict.fromkeys(self.kinds, 0)
        self.manager: Any = None  # plugin manager of the session that these are for
        self.bound: Any = None  # db_bind.Bound of a run whose workers are forked with everything imported

    # ---- the keeper

    @property
    def names(self) -> list[str]:
        """Variables that differ between workers."""
        return [kind.env for kind in self.kinds.values() if kind.env]

    def _watched(self) -> int:
        """The process with which the run ends: the supervisor, or the pytest process that has started one."""
        return state.db_pid or (os.getppid() if state.started_by_program else os.getpid())

    def start(self) -> None:
        """DatabaseError when not even the keeper can be started."""
        from hasten.__main__ import find_program

        if self.control:
            return
        program = find_program()
        if program is None:
            raise DatabaseError("the hasten program is not installed beside this Python")
        if self.given:
            os.environ[KEEP_URL] = self.given  # not an argument: everybody could read a password that is in it
        try:
            self.keeper, facts = _native.database_start([program, "db", "keep", *self._arguments()])
        except OSError as exc:
            raise DatabaseError(str(exc).removeprefix("hasten: ")) from None
        finally:
            os.environ.pop(KEEP_URL, None)
        self.owner = os.getpid()
        self._learn(facts)

    def join(self) -> None:
        """A process that was started in the course of a run: the keeper lives already."""
        folder = _native.database_place(self._watched())
        try:
            self._learn(Path(folder, "info").read_text(encoding="utf-8"))
        except OSError:
            self.failed = "the process that keeps this run's databases has ended"

    def _arguments(self) -> list[str]:
        args = ["--pid", str(self._watched()), "--root", str(self.root), "--workers", str(self.n_workers)]
        args += [f"--keep-{name}={value}" for name, value in (state.db_keep or {}).items()]
        if state.db_pooler is not None:
            args += [f"--pooler={str(state.db_pooler).lower()}"]
        for kind in self.kinds.values():
            given = {"key": kind.key, "sql": kind.sql, "command": kind.command, "env": kind.env}
            given |= {
                key: kind.settings[key] for key in ("scheme", "version", "locale", "reset") if key in kind.settings
            }
            if kind.settings.get("file"):
                given["file"] = str(self.root / kind.settings["file"])
            if kind.name == "postgres" and state.db_servers == "worker":
                args += ["--postgres-each"]
            args += [f"--{kind.name}", *([f"--{kind.name}-early"] if kind.env else [])]
            args += [f"--{kind.name}-{key}={value}" for key, value in given.items() if value]
        return args

    def _learn(self, facts: str) -> None:
        for line in facts.splitlines():
            word, _, value = line.partition(" ")
            if word == "control":
                self.control = value
            elif word in KINDS:
                self.urls[word] = value

    def end(self) -> None:
        if self.keeper and self.owner == os.getpid():
            _native.database_end(self.keeper, END_LIMIT_MS)
            self.keeper = 0

    def trouble(self) -> str:
        """What went wrong so far, with the output of a set-up that failed."""
        try:
            return Path(self.control).with_name("trouble").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    # ---- asking it

    def _ask(self, request: str) -> str:
        self.start()
        try:
            answer = _native.database_ask(self.control, request)
        except OSError as exc:
            raise DatabaseError(str(exc)) from None
        word, _, text = answer.partition(" ")
        if word.strip() != "ok":
            raise DatabaseError(text.rstrip("\n"))
        return text.rstrip("\n")

    def lease(self, name: str, verb: str = "lease") -> str:
        """The URL (SQLite: path) of this worker's database."""
        if name not in self.kinds:
            raise DatabaseError(f"[tool.hasten.db] of pyproject.toml has no '{name}'")
        self.in_use.add(name)
        return self._ask(f"{verb} {name} {self.worker} {os.getpid()}")

    def has_restarted(self) -> bool:
        """Since it was last asked: a server in use has died and is there again."""
        before = dict(self.starts)
        try:
            for name in self.in_use:
                self.starts[name] = int(self._ask(f"starts {name}"))
        except DatabaseError:
            return False
        return self.starts != before

    def clean(self, kind: Kind) -> str:
        """Between two tests: as its template again. What the test had changed, "" for nothing."""
        return self._ask(f"clean {kind.name} {self.worker} {os.getpid()}")

    # ---- the variable

    def value(self, kind: Kind, worker: str) -> str:
        """What the variable is set to for a worker: known before there is such a database."""
        url = self.urls.get(kind.name, "").replace("%s", re.sub(r"[^A-Za-z0-9]", "_", worker))
        return f"sqlite:///{url}" if kind.name == "sqlite" and kind.settings.get("form", "url") == "url" else url

    def bind(self) -> None:
        """What is imported from here on may keep the URLs: a worker's databases take their place after the fork."""
        from hasten import db_bind, db_drivers

        if not self.names or not self.control or not db_bind.wanted():
            return
        try:
            self.bound = db_bind.Bound(self)
        except (DatabaseError, OSError) as exc:
            self.failed = str(exc)
            return
        for kind in self.kinds.values():
            if kind.env:
                os.environ[kind.env] = self.bound.value(kind, db_bind.PROCESS)
        db_drivers.install()

    def before_fork(self) -> str | None:
        """The reason not to fork workers from here, or None: what was had at import is everybody's no more."""
        return self.bound.before_fork() if self.bound is not None else None

    def is_to_blame(self, texts: Iterable[str]) -> str | None:
        """The reason for another start when what could not be collected shows a database of the importing process."""
        return self.bound.is_to_blame(texts) if self.bound is not None else None

    def is_served(self, why: str) -> bool:
        """An early start that was remembered for this reason is not needed any more."""
        from hasten import db_bind

        return db_bind.wanted() and any(f"{name} is read at" in why for name in self.names)

    def missed(self) -> str:
        """Why this worker cannot go on: it has met a name of the time before it was forked. "": it has not."""
        return self.bound.missed if self.bound is not None else ""

    def identity(self, worker: str) -> None:
        """From here on this process is that worker, and its variables say so; its databases are there then."""
        if self.bound is not None and state.role == "template":
            self.worker = "template"  # and its variables are still those of everybody
            return
        self.worker = worker
        for kind in self.kinds.values():
            if not kind.env or not self.control:
                continue
            os.environ[kind.env] = self.value(kind, worker)
            if state.role == "worker" and not self.failed:
                try:
                    self.lease(kind.name)
                except DatabaseError as exc:
                    self.failed = str(exc)
        if self.bound is not None and not self.failed:
            try:
                self.bound.become(worker)
            except (DatabaseError, OSError) as exc:
                self.failed = str(exc)

    def check(self) -> None:
        """Before tests are run here, or workers are forked from here: UsageError when they would have no database."""
        try:
            if self.failed:
                raise DatabaseError(self.failed)
            for kind in self.kinds.values() if self.control else ():
                if kind.env and state.role != "worker":
                    self._ask(f"ready {kind.name}")
        except DatabaseError as exc:
            raise pytest.UsageError(f"hasten: no database for the tests: {exc}") from None


# ---- the fixtures


class Database:
    """A worker's own database. url: for drivers; params: arguments of the driver's ``connect`` or ``redis.Redis``."""

    def __init__(self, databases: Databases, kind: str) -> None:
        self._databases = databases
        self._kind = kind
        self._leased: tuple[int, str] = (0, "")

    @property
    def _text(self) -> str:
        if self._leased[0] != os.getpid():
            self._take("lease")
        return self._leased[1]

    def _take(self, verb: str) -> None:
        reason = ""
        try:
            self._leased = (os.getpid(), self._databases.lease(self._kind, verb))
        except DatabaseError as exc:
            reason = str(exc)
        if reason:
            pytest.fail(f"hasten: {reason}", pytrace=False)

    @property
    def url(self) -> str:
        return f"sqlite:///{self._text}" if self._kind == "sqlite" else self._text

    @property
    def path(self) -> str:
        """SQLite: the file."""
        if self._kind != "sqlite":
            raise AttributeError("path: only of an SQLite database")
        return self._text

    @property
    def params(self) -> dict[str, Any]:
        if self._kind == "redis":
            return {"unix_socket_path": urlsplit(self._text).path}
        return {"database": self._text} if self._kind == "sqlite" else parameters(self._text)

    def reset(self) -> None:
        """The template's content again; connections to it are ended (SQLite: have the old file; Redis: stay)."""
        self._take("reset")


def parameters(url: str) -> dict[str, Any]:
    """libpq's keywords from a URL."""
    parts = urlsplit(url)
    found: dict[str, Any] = dict(parse_qsl(parts.query))
    named = {"user": parts.username, "password": parts.password, "host": parts.hostname, "dbname": parts.path[1:]}
    found |= {key: unquote(value) for key, value in named.items() if value}
    port = parts.port or found.get("port")
    return found | ({"port": int(port)} if port else {})


def _database(kind: str) -> Database:
    database = Database(state.db, kind)
    database.url  # noqa: B018 (waits for it)
    return database


@pytest.fixture(scope="session")
def hasten_pg() -> Database:
    """This worker's own PostgreSQL database, a copy of the template: .url, .params, .reset()."""
    return _database("postgres")


@pytest.fixture(scope="session")
def hasten_sqlite() -> Database:
    """This worker's own SQLite database, a copy of the template: .url, .path, .params, .reset()."""
    return _database("sqlite")


@pytest.fixture(scope="session")
def hasten_redis() -> Database:
    """This worker's own Redis server, with the template's content: .url, .params, .reset()."""
    return _database("redis")


# ---- this module as a plugin of every process of a project with settings


def _is_ours(config: pytest.Config) -> bool:
    """Not a session that a test starts in its own process."""
    return state.db is not None and state.db.manager is config.pluginmanager


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, Any, Any]:
    """A worker asks when it is attached (worker.py), so that the answer has a way to people."""
    if (
        _is_ours(session.config)
        and state.role in ("", "plain", "template")
        and session.items
        and not session.testsfailed
    ):
        state.db.check()
    return (yield)


class Cleaner:
    """A plugin of projects whose settings say ``reset``: every test finds the template's content."""

    def __init__(self) -> None:
        self.dirty: dict[str, Kind] = {}  # what could not be put back after the last test

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """No test begins with what another one has left."""
        reason = self._put_back() if self.dirty and _is_ours(item.config) else ""
        if reason:
            pytest.fail(f"hasten: the database could not be put back after an earlier test: {reason}", pytrace=False)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """After all that the test has set up is taken down, well or not."""
        try:
            result = yield
        except (KeyboardInterrupt, pytest.exit.Exception):
            raise
        except BaseException:
            self._clean_all(item)
            raise
        reason = self._clean_all(item)
        if reason:
            pytest.fail(f"hasten: the test's database could not be put back: {reason}", pytrace=False)
        return result

    def _clean_all(self, item: pytest.Item) -> str:
        """Why one of them could not be cleaned, "" for none. All have been tried before anybody hears of anything."""
        reasons, left = [], []
        for kind in state.db.kinds.values() if _is_ours(item.config) else ():
            if "reset" not in kind.settings or not (kind.env or kind.name in state.db.in_use):
                continue
            try:
                what = state.db.clean(kind)
                self.dirty.pop(kind.name, None)
            except DatabaseError as exc:
                self.dirty[kind.name] = kind
                reasons.append(str(exc))
                continue
            if what and kind.settings["reset"] == "rollback":
                left.append(f"hasten: the test left changes in its {kind.name} database: {what}")
        for text in left:
            item.warn(pytest.PytestWarning(text))
        return "; ".join(reasons)

    def _put_back(self) -> str:
        for name, kind in list(self.dirty.items()):
            try:
                try:
                    state.db.clean(kind)  # connections may stay
                except DatabaseError:
                    state.db.lease(name, "reset")
            except DatabaseError as exc:
                return str(exc)
            del self.dirty[name]
        return ""


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    trouble = state.db.trouble() if _is_ours(config) and state.db.owner == os.getpid() else ""
    if trouble:
        terminalreporter.section("databases (hasten)")
        terminalreporter.write_line(trouble.rstrip("\n"))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_unconfigure(config: pytest.Config) -> Generator[None, Any, Any]:
    try:
        return (yield)
    finally:
        if _is_ours(config) and state.role not in ("template", "worker"):
            state.db.end()
            if state.role == "":
                state.db = None  # a session of pytest alone; the next one in this process may be of another project


def begin(config: pytest.Config, driven: bool) -> None:
    """Called before the first conftest is imported. driven: by hasten, with workers perhaps; else by pytest alone."""
    if state.db is None:
        found = read_settings(config.rootpath)
        if found is None:
            return
        state.db = Databases(config.rootpath, *found, n_workers=1)
        state.db.manager = config.pluginmanager
        _set_up(config, state.db, driven)
    if not config.pluginmanager.hasplugin("hasten-db"):
        config.pluginmanager.register(sys.modules[__name__], "hasten-db")
        if any("reset" in kind.settings for kind in state.db.kinds.values()):
            config.pluginmanager.register(Cleaner(), "hasten-db-cleaner")


def _set_up(config: pytest.Config, databases: Databases, driven: bool) -> None:
    known = config.known_args_namespace
    names = ("help", "version", "collectonly", "showfixtures", "show_fixtures_per_test", "markers", "cacheshow")
    if any(getattr(known, name, False) for name in names):
        return
    if driven and state.started_by_program and (state.reporter_chan < 0) is not (state.template_chan < 0):
        databases.join()
    elif driven or databases.names:
        if driven:
            from hasten import options, split

            databases.n_workers = max(1, options.resolve(known, split._auto(known)).n_workers)
        try:
            databases.start()
        except DatabaseError as exc:
            raise pytest.UsageError(f"hasten: {exc}") from None
    databases.identity("main")
