"""Django's test databases: what ``migrate`` has built in one worker is copied for the others (db_adapt.py).

PostgreSQL: ``create_test_db`` executes its own CREATE DATABASE, of the template and not of template1, and ``migrate``
has nothing to do then. SQLite: the template's content is put into the new, empty database by SQLite's own backup.

Signals: where only Django's own receivers listen to pre_migrate and post_migrate, the template is what the whole
command left, their rows among it. Otherwise the command runs in every worker with the signals that it sends on an
empty database, and only the migrations themselves are replaced.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import os
import sqlite3
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from hasten.db_adapt import is_on, note
from hasten.db_content import Content, Key, Rows, give_up
from hasten.db_files import FileTemplate, is_empty, usable
from hasten.db_server import Server, template_name
from hasten.plugin import state

NOT_SETTINGS = {"DATABASES", "MIGRATION_MODULES", "LOGGING"}
NOT_CONNECTION = {"NAME", "HOST", "PORT", "PASSWORD", "TEST", "CONN_MAX_AGE", "CONN_HEALTH_CHECKS"}

_under_way: list[_Work] = []


class _Work:
    """One database, from its creation to its being migrated."""

    def __init__(self, creation: Any, stack: contextlib.ExitStack) -> None:
        self.creation = creation
        self.connection = creation.connection
        self.stack = stack
        self.name = ""  # PostgreSQL: of the database
        self.key: Key | None = None
        self.server: Server | None = None
        self.file: FileTemplate | None = None
        self.has_begun = False
        self.is_new = False
        self.is_copy = False
        self.found = "none"  # or "use", "build", as Server.await_template says
        self.must_keep = False  # this worker builds the template
        self.with_signals = _has_other_receivers()
        self.any_migrations = True

    @property
    def slot(self) -> str:
        text = f"{os.path.realpath(state.db_root)} {self.connection.alias}"
        return "django-" + hashlib.sha256(text.encode()).hexdigest()[:12]

    def make_key(self, server: Server | None, suffix: str) -> Key:
        content = Content("django")
        self.any_migrations = _describe(content, self.connection)
        content.add(suffix, self.with_signals)
        if server is not None:
            source = self.connection.settings_dict["TEST"].get("TEMPLATE") or "template1"
            server.describe(content, source)
        else:
            content.add(sqlite3.sqlite_version)
        return Key(content)

    # ---- PostgreSQL

    def open_server(self) -> Server:
        """By a connection of Django's own, to the database from which it makes and drops others."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Django says what it has to say when it connects itself
            cursor = self.stack.enter_context(self.creation._nodb_cursor())

        def run(sql: str) -> Rows:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

        return Server(run)

    def create(self, parameters: dict[str, str], create: Callable[[dict[str, str]], None]) -> None:
        """In the place of Django's CREATE DATABASE: it is that, or a copy of the template."""
        self.is_new = True
        if not self.has_begun:  # else Django has dropped what was in its way
            self.attempt(lambda: self.begin(parameters["suffix"]))
        if self.server is None or self.key is None or self.found != "use" or self.with_signals:
            create(parameters)
            return
        key, server = self.key, self.server
        template = template_name(key)
        quoted = self.creation.connection.ops.quote_name(template)
        try:
            create({**parameters, "suffix": f"TEMPLATE {quoted}{server.strategy(template)}"})
        except Exception as exc:
            if "DuplicateDatabase" in type(exc.__cause__).__name__:
                raise
            note("db_template_none", str(exc))
            create(parameters)
            return
        self.is_copy = self.attempt(lambda: server.finish_clone(key, self.name))
        if not self.is_copy:
            server.run(f"DROP DATABASE {self.connection.ops.quote_name(self.name)}")
            create(parameters)

    def attempt(self, action: Callable[[], object]) -> bool:
        """What goes wrong with a template is nobody's failure: without one it works as ever."""
        try:
            action()
        except Exception as exc:
            note("db_template_none", f"{type(exc).__name__}: {exc}")
            return False
        return True

    def begin(self, suffix: str) -> None:
        self.has_begun = True
        self.name = self.creation._get_test_db_name()
        self.server = self.open_server()
        self.key = self.make_key(self.server, suffix)
        if self.any_migrations or not self.with_signals:
            self.found = self.server.await_template(self.key)
            self.must_keep = self.found == "build"

    def _leave(self) -> None:
        """This worker's own connections to the database end."""
        self.connection.close()
        if hasattr(self.connection, "close_pool"):
            self.connection.close_pool()

    def _forget_types(self) -> None:
        """What Django has learned of the types of extensions from the database that was there before."""
        signals = sys.modules.get("django.contrib.postgres.signals")
        for name in ("get_hstore_oids", "get_citext_oids", "get_type_oids"):
            clear = getattr(getattr(signals, name, None), "cache_clear", None)
            if clear is not None:
                clear()

    # ---- SQLite

    def raw(self) -> Any:
        self.connection.ensure_connection()
        return self.connection.connection

    def begin_sqlite(self) -> None:
        raw = self.raw()
        if not usable(raw) or not is_empty(raw):
            return  # kept from an earlier run
        self.is_new = True
        self.key = self.make_key(None, "")
        if self.any_migrations or not self.with_signals:
            self.file = FileTemplate(self.key)
            self.stack.callback(self.file.close)
            self.must_keep = self.file.must_keep

    # ---- both

    @property
    def has_template(self) -> bool:
        if self.key is None or self.must_keep:
            return False
        if self.server is not None:
            return self.server.has(template_name(self.key))
        return self.file is not None and self.file.exists

    def put(self) -> None:
        """The template's content into the database that is there, which is empty."""
        assert self.key is not None
        if self.server is not None:
            self._leave()
            self.server.replace(self.key, self.name)
            self._forget_types()
        elif self.file is None or not self.file.put(self.raw()):
            raise FileNotFoundError("no template")

    def keep(self) -> None:
        """What was built here becomes the template."""
        self.must_keep = False
        if self.key is None or self.connection.in_atomic_block:
            return
        if self.server is not None:
            self._leave()
            self.server.snapshot(self.key, self.name, self.slot)
        elif self.file is not None:
            self.file.keep(self.raw())


# ---- what a test database comes from


def _import_management() -> None:
    """As ``migrate`` and ``flush`` do, so that receivers that are declared there listen."""
    from django.apps import apps
    from django.utils.module_loading import module_has_submodule

    for app in apps.get_app_configs():
        if module_has_submodule(app.module, "management"):
            importlib.import_module(".management", app.name)


def _receivers() -> list[str]:
    from django.db.models.signals import post_migrate, pre_migrate

    names = []
    for signal in (pre_migrate, post_migrate):
        for entry in signal.receivers:
            receiver = entry[1]
            if isinstance(receiver, weakref.ReferenceType):
                receiver = receiver()
            if receiver is not None:
                module = getattr(receiver, "__module__", type(receiver).__module__)
                names.append(f"{module}.{getattr(receiver, '__qualname__', '')}")
    return sorted(names)


def _has_other_receivers() -> bool:
    _import_management()
    return any(not name.startswith("django.") for name in _receivers())


def _describe(content: Content, connection: Any) -> bool:
    """Whether there are any migrations to run."""
    import django
    from django.apps import apps
    from django.conf import settings
    from django.db.migrations.loader import MigrationLoader

    content.add(django.VERSION, connection.alias, connection.vendor, _receivers())
    own = connection.settings_dict
    content.add({key: value for key, value in own.items() if key not in NOT_CONNECTION})
    content.add({key: value for key, value in own["TEST"].items() if key != "NAME"})
    for name in sorted(set(dir(settings)) - NOT_SETTINGS):
        if name.isupper():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                content.add(name, getattr(settings, name, None))
    any_migrations = False
    for app in apps.get_app_configs():
        place = "" if own["TEST"].get("MIGRATE") is False else MigrationLoader.migrations_module(app.label)[0]
        any_migrations = any_migrations or bool(place)
        content.add(app.label, app.name, place or None)
        content.add_tree(app.path)
        module = sys.modules.get(place) if place else None
        for folder in getattr(module, "__path__", ()):
            content.add_tree(folder)
    for model in apps.get_models(include_auto_created=True, include_swapped=True):
        path = getattr(sys.modules.get(model.__module__), "__file__", None)
        content.add(model._meta.label, model._meta.db_table)
        if path:
            content.add_file(path)
    return any_migrations


# ---- in Django's place


def _work_of(alias: object) -> _Work | None:
    for work in reversed(_under_way):
        if work.connection.alias == alias and work.connection.settings_dict is not None:
            return work
    return None


@contextlib.contextmanager
def _begun(creation: Any) -> Iterator[_Work | None]:
    work = None
    with contextlib.ExitStack() as stack:
        if is_on() and creation.connection.vendor in ("postgresql", "sqlite"):
            work = _Work(creation, stack)
            _under_way.append(work)
        try:
            yield work
        finally:
            if work is not None:
                if work.must_keep and work.key is not None:
                    give_up(work.key, str(sys.exc_info()[1] or "nothing was migrated"))
                _under_way.remove(work)


def adapt_creation(module: ModuleType) -> None:
    base: Any = module.BaseDatabaseCreation
    create_test_db = base.create_test_db
    execute = base._execute_create_test_db

    @functools.wraps(create_test_db)
    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _begun(self):
            return create_test_db(self, *args, **kwargs)

    @functools.wraps(execute)
    def execute_create(self: Any, cursor: Any, parameters: dict[str, str], *args: Any, **kwargs: Any) -> Any:
        work = _work_of(self.connection.alias)
        if work is None or work.creation is not self or self.connection.vendor != "postgresql":
            return execute(self, cursor, parameters, *args, **kwargs)
        work.create(parameters, lambda given: execute(self, cursor, given, *args, **kwargs))
        return None

    base.create_test_db = create
    base._execute_create_test_db = execute_create


def adapt_migrate(module: ModuleType) -> None:
    command: Any = module.Command
    executor: Any = module.MigrationExecutor
    handle = command.handle
    migrate = executor.migrate

    @functools.wraps(handle)
    def handle_adapted(self: Any, *args: Any, **options: Any) -> Any:
        work = _work_of(options.get("database"))
        if work is None or options.get("app_label") or options.get("plan"):
            return handle(self, *args, **options)
        if work.connection.vendor == "sqlite":
            work.attempt(work.begin_sqlite)
        if work.with_signals:
            return handle(self, *args, **options)
        if work.has_template and work.server is None:
            work.is_copy = work.attempt(work.put)
        if work.is_copy and work.key is not None:
            work.key.warn()
            return None
        if not work.must_keep or work.key is None:
            return handle(self, *args, **options)
        with work.key.building():
            result = handle(self, *args, **options)
        work.keep()
        return result

    @functools.wraps(migrate)
    def migrate_adapted(self: Any, targets: Any, plan: Any = None, state: Any = None, *args: Any, **kwargs: Any) -> Any:
        work = _work_of(self.connection.alias)
        if work is None or not work.is_new or not work.with_signals or not plan or state is None:
            return migrate(self, targets, plan, state, *args, **kwargs)
        if work.has_template and work.key is not None and work.attempt(work.put):
            work.key.warn()
            for migration, _backwards in plan:
                state = migration.mutate_state(state, preserve=False)
            return state
        if not work.must_keep or work.key is None:
            return migrate(self, targets, plan, state, *args, **kwargs)
        with work.key.building():
            result = migrate(self, targets, plan, state, *args, **kwargs)
        work.keep()
        return result

    command.handle = handle_adapted
    executor.migrate = migrate_adapted
