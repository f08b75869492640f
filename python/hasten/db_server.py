"""Templates on the PostgreSQL server that a suite's own settings name, by a connection of the suite's own driver.

As src/db/pg.h has it: a template is ``hasten_t_<key>`` and takes no connections, what is half made is
``hasten_<run>_build``, and its maker holds an advisory lock of that run's number as long as it lives. Nothing else on
the server is touched, the worker's own database aside.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator

from hasten.db_adapt import note
from hasten.db_content import WAIT_S, Content, Key, Rows, give_up, is_given_up, quote, quote_name

LOCK_RUN = 0x687352  # src/db/pg_own.h
LOCK_TEMPLATE = 0x687354
WAL_LOG_MOST = 100 << 20  # bytes, as in src/db/pg.c
KEPT = 6  # templates of one database of one project
LISTS = (
    "local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
    "temp_tablespaces", "unix_socket_directories",
)  # fmt: skip


def _number(name: str) -> int:
    number = int(name[:8], 16)
    return number - (1 << 32) if number >= 1 << 31 else number


class Server:
    """run: executes a statement outside of a transaction, in a database that is nobody's, and returns its rows."""

    def __init__(self, run: Callable[[str], Rows]) -> None:
        self.run = run
        self.version = int(self.one("SELECT current_setting('server_version_num')"))
        self.durable = self.one("SHOW fsync") != "off"

    def one(self, sql: str) -> str:
        rows = self.run(sql)
        return str(rows[0][0]) if rows else ""

    def describe(self, content: Content, source: str) -> None:
        """What of the server a database's content depends on. source: what CREATE DATABASE copies."""
        content.add(self.version, self.one("SELECT session_user || ' ' || current_user"))
        content.add(
            self.one(
                "SELECT concat_ws(' ', oid, encoding, datcollate, datctype, pg_catalog.pg_database_size(oid)) "
                f"FROM pg_catalog.pg_database WHERE datname = {quote(source)}"
            )
        )

    def describe_empty(self, content: Content, name: str) -> bool:
        """The same of a database that is there. False: it has something of its own that a copy would lose."""
        content.add(self.version, self.one("SELECT session_user || ' ' || current_user"))
        own = self.one(
            "SELECT CASE WHEN datacl IS NULL AND datconnlimit = -1 AND NOT EXISTS (SELECT 1 FROM "
            "pg_catalog.pg_db_role_setting s WHERE s.setdatabase = d.oid) "
            "THEN concat_ws(' ', encoding, datcollate, datctype) ELSE '' END "
            f"FROM pg_catalog.pg_database d WHERE datname = {quote(name)}"
        )
        content.add(own)
        return own != ""

    def is_left(self, name: str) -> bool:
        """Nobody is connected to it; one who is leaving is waited for."""
        end = time.monotonic() + 2
        while self.sessions(name):
            if time.monotonic() > end:
                return False
            time.sleep(WAIT_S)
        return True

    def has(self, name: str) -> bool:
        """A whole template of that name."""
        return bool(
            self.run(
                "SELECT 1 FROM pg_catalog.pg_database WHERE datistemplate AND NOT datallowconn "
                f"AND datname = {quote(name)}"
            )
        )

    def sessions(self, name: str) -> int:
        return int(self.one(f"SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = {quote(name)}"))

    # ---- locks: of the session, so that they end with their owner

    def try_lock(self, kind: int, name: str) -> bool:
        return self.one(f"SELECT pg_catalog.pg_try_advisory_lock({kind}, {_number(name)})") in ("True", "t", "true")

    def unlock(self, kind: int, name: str) -> None:
        self.run(f"SELECT pg_catalog.pg_advisory_unlock({kind}, {_number(name)})")

    def await_template(self, key: Key) -> str:
        """ "use": it is there. "build": this session holds the lock of its build now. "none": without it."""
        while not self.has(template_name(key.refresh())):
            if is_given_up(key):
                return "none"
            if self.try_lock(LOCK_TEMPLATE, key.base):
                if not self.has(template_name(key.refresh())):
                    return "build"
                self.unlock(LOCK_TEMPLATE, key.base)
                return "use"
            time.sleep(WAIT_S)
        return "use"

    # ---- copies

    def strategy(self, source: str) -> str:
        if self.version < 150000:
            return ""
        if not self.durable:
            return " STRATEGY FILE_COPY"
        size = int(self.one(f"SELECT pg_catalog.pg_database_size({quote(source)})") or 0)
        return f" STRATEGY {'FILE_COPY' if size > WAL_LOG_MOST else 'WAL_LOG'}"

    def copy_settings(self, source: str, target: str) -> None:
        """What ALTER DATABASE ... SET has said: CREATE DATABASE leaves it out."""
        rows = self.run(
            "SELECT (SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.oid = s.setrole), c "
            "FROM pg_catalog.pg_db_role_setting s JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, "
            f"unnest(s.setconfig) c WHERE d.datname = {quote(source)}"
        )
        for role, setting in rows:
            name, _, value = setting.partition("=")
            whose = f"ROLE {quote_name(role)} IN DATABASE" if role else "DATABASE"
            text = value if name in LISTS and value else quote(value)
            self.run(f"ALTER {whose} {quote_name(target)} SET {quote_name(name)} TO {text}")

    def drop(self, name: str) -> None:
        self.run(f"ALTER DATABASE {quote_name(name)} WITH IS_TEMPLATE false")
        self.run(f"DROP DATABASE IF EXISTS {quote_name(name)}")

    def clone(self, key: Key, target: str) -> None:
        """A new database, target; there is none of that name."""
        source = template_name(key)
        self.run(f"CREATE DATABASE {quote_name(target)} TEMPLATE {quote_name(source)}{self.strategy(source)}")
        self.finish_clone(key, target)

    def finish_clone(self, key: Key, target: str) -> None:
        self.copy_settings(template_name(key), target)
        note("db_template_use", f"{template_name(key)} {target}")

    def replace(self, key: Key, target: str, is_template: bool = False) -> None:
        """The template's content in place of target's, to which nobody is connected."""
        owner = self.one(
            "SELECT r.rolname FROM pg_catalog.pg_database d JOIN pg_catalog.pg_roles r ON r.oid = d.datdba "
            f"WHERE d.datname = {quote(target)}"
        )
        with self.half() as half:
            self.clone(key, half)
            if owner != self.one("SELECT current_user"):
                self.run(f"ALTER DATABASE {half} OWNER TO {quote_name(owner)}")
            if is_template:
                self.run(f"ALTER DATABASE {half} WITH IS_TEMPLATE true")
                self.run(f"ALTER DATABASE {quote_name(target)} WITH IS_TEMPLATE false")
            self.run(f"DROP DATABASE {quote_name(target)}")
            self.run(f"ALTER DATABASE {half} RENAME TO {quote_name(target)}")

    @contextlib.contextmanager
    def half(self) -> Iterator[str]:
        """A name for what is not whole yet: who finds it can tell whether we live."""
        self.sweep()
        run = uuid.uuid4().hex[:8]
        self.try_lock(LOCK_RUN, run)
        try:
            yield f"hasten_{run}_build"
        except BaseException:
            with contextlib.suppress(Exception):
                self.drop(f"hasten_{run}_build")
            raise
        finally:
            self.unlock(LOCK_RUN, run)

    # ---- templates

    def snapshot(self, key: Key, source: str, slot: str) -> bool:
        """Keeps what was built in source, to which nobody is connected any more. slot: whose database it is."""
        try:
            name = "hasten_t_" + key.after_build()
            if not self.has(name):
                with self.half() as half:
                    self._keep(source, half, name, slot)
            note("db_template_kept", name)
            self.prune(slot)
        except Exception as exc:  # whatever the driver raises
            give_up(key, f"{source}: {exc}")
            return False
        return True

    def _keep(self, source: str, half: str, name: str, slot: str) -> None:
        """The name comes last: what has it is whole."""
        self.run(f"CREATE DATABASE {half} TEMPLATE {quote_name(source)}{self.strategy(source)}")
        self.copy_settings(source, half)
        comment = f"template of hasten (adapter), built {int(time.time())}, for {slot}"
        self.run(f"COMMENT ON DATABASE {half} IS {quote(comment)}")
        self.run(f"ALTER DATABASE {half} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true")
        self.run(f"ALTER DATABASE {half} RENAME TO {name}")

    def sweep(self) -> None:
        """Drops what builders that are dead have left half made; whose cannot be dropped stays for another one."""
        rows = self.run("SELECT datname FROM pg_catalog.pg_database WHERE datname ~ '^hasten_[0-9a-f]{8}_build$'")
        for (name,) in rows:
            run = name[7:15]
            if self.try_lock(LOCK_RUN, run):
                try:
                    self.drop_left(name)
                finally:
                    self.unlock(LOCK_RUN, run)

    def drop_left(self, name: str) -> None:
        """With its lock held. It may be whole by now: its builder was alive when it was seen."""
        try:
            if self.run(f"SELECT 1 FROM pg_catalog.pg_database WHERE datname = {quote(name)}"):
                self.drop(name)
        except Exception as exc:  # another user's, or somebody is connected to it
            note("db_template_busy", f"{name}: {exc}")

    def prune(self, slot: str) -> None:
        """Of one project's database only the newest templates are kept."""
        end = f", for {slot}"
        rows = self.run(
            "SELECT datname, substring(c from ', built ([0-9]+),') FROM (SELECT datname, "
            "pg_catalog.shobj_description(oid, 'pg_database') AS c FROM pg_catalog.pg_database "
            f"WHERE datname ~ '^hasten_t_[0-9a-f]+$') t WHERE right(c, {len(end)}) = {quote(end)} ORDER BY 2 DESC, 1"
        )
        for name, _built in rows[KEPT:]:
            try:
                self.drop(name)
            except Exception as exc:  # another run copies it just now
                note("db_template_busy", f"{name}: {exc}")


def template_name(key: Key) -> str:
    return f"hasten_t_{key.name}"
