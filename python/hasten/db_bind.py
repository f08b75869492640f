"""The URL of a database that code keeps while it is imported, in a process from which workers are forked.

That process has databases of its own, real ones, under names that nobody else has. PostgreSQL's, ``hasten_<run>_main``,
is replaced by the worker's where a driver connects (db_drivers.py), after the fork. SQLite's file and Redis's socket
are handed out behind a link to /proc/self/fd, so that the same path leads to another place in every process: nothing
has to be replaced there, whoever opens it.

What the process has kept open, or changed in its databases, could not be shared: workers start early then. After that
its databases are closed to everybody. So a name that was not replaced, as it was made up in a way that is not seen
here or is used by something else than these drivers, gives an error. The test that meets it has no result: the worker
leaves, and what is left of the run goes to workers that start early. docs/decisions/0025 says more.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hasten import _native
from hasten.plugin import state

PROCESS = "main"  # whose databases the importing process has
REPORTER = "reporter"
COMMON = "own"  # in paths: of the process that asks
HIGH = 500  # descriptors that no suite looks at, where the system gives so many
CANNOT_OPEN = "unable to open database file"  # SQLite, which does not say which
MAINTENANCE = ("postgres", "template0", "template1")
# Redis commands after which a server is as it was before.
HARMLESS = frozenset(
    """
    acl|whoami auth client|getname client|id client|info client|list client|setinfo client|setname command
    command|count command|docs command|info config|get dbsize echo exists get getbit getrange hello hexists hget hgetall
    hkeys hlen hmget hscan hvals info keys lindex llen lrange mget memory|usage object|encoding ping pttl quit scan
    scard select sismember smembers sscan strlen time ttl type xlen xrange zcard zcount zrange zscan zscore
    """.split()  # noqa: SIM905 (a list of this length is better read so)
)

Parse = Callable[[str], dict[str, Any]]


def wanted() -> bool:
    """By the environment, else by the project's settings."""
    said = os.environ.get("HASTEN_DB_REBIND", "")
    return said != "0" if said else bool(state.db_rebind)


class Bound:
    """Made before the first conftest is imported; forks go on with it."""

    def __init__(self, databases: Any) -> None:
        self.databases = databases
        self.kinds = {name: kind for name, kind in databases.kinds.items() if kind.env and name in databases.urls}
        self.pid = os.getpid()  # the databases of PROCESS belong to it and to its forks
        self.folder = Path(databases.control).parent
        self.pattern = databases.urls.get("postgres", "") if "postgres" in self.kinds else ""
        found = re.search(r"hasten_[0-9a-f]{8}_(?=%s)", self.pattern)
        self.prefix = found.group() if found else ""
        self.token = self.prefix + PROCESS if self.prefix else ""
        found = None if databases.given else re.search(r"[?&]host=([^&]+)", self.pattern)
        self.host = unquote(found.group(1)) if found else ""  # of a server of the run's own; %s: of each worker's
        self.own = ""  # what takes the token's place; "": nothing, before the fork
        self.leased: set[str] = set()
        self.replaced: list[tuple[str, str]] = []
        self.log_at = 0  # where the server's log ended when this process became a worker
        self.missed = ""  # why this worker cannot go on
        self.files = [kind for kind in self.kinds.values() if kind.name != "postgres"]
        self.fd = -1
        self.before: dict[str, Any] = {}
        if self.files:
            self._lend()

    # ---- the paths

    def _path(self, name: str, worker: str) -> str:
        """SQLite: the folder; Redis: the socket."""
        url = str(self.databases.urls[name]).replace("%s", worker)
        return os.path.dirname(url) if name == "sqlite" else urlsplit(url).path

    def _lend(self) -> None:
        """The databases of PROCESS behind the common paths."""
        for kind in self.files:
            main = self._path(kind.name, PROCESS)
            if os.path.isfile(main):  # closed by a template that has died since
                os.unlink(main)
            self.databases._ask(f"lease {kind.name} {PROCESS} {self.pid}")
            self.before[kind.name] = self._content(kind.name)
        self._enter(PROCESS)
        for kind in self.files:
            self._link(self._path(kind.name, COMMON), f"/proc/self/fd/{self.fd}/{kind.name}")

    @staticmethod
    def _link(path: str | Path, target: str) -> None:
        if not os.path.lexists(path) or os.readlink(path) != target:
            Path(path).unlink(missing_ok=True)
            os.symlink(target, path)

    def _enter(self, worker: str) -> None:
        """From here on the common paths lead to what this worker has."""
        folder = self.folder / "own" / worker
        folder.mkdir(parents=True, exist_ok=True)
        for kind in self.files:
            self._link(folder / kind.name, self._path(kind.name, worker))
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if self.fd < 0:
                self.fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _high())
            else:
                os.dup2(fd, self.fd, inheritable=False)
        finally:
            os.close(fd)

    def value(self, kind: Any, worker: str) -> str:
        """The URL as workers have it, with the common path in it where there is one, until there are workers."""
        common = kind.name != "postgres" and worker == PROCESS
        return str(self.databases.value(kind, COMMON if common else worker))

    # ---- before the fork

    def before_fork(self) -> str | None:
        """Closes what this process has had. The reason not to fork from here, or None."""
        reasons = [self._close(kind) for kind in self.kinds.values()]
        return next((reason for reason in reasons if reason), None)

    def _close(self, kind: Any) -> str | None:
        when = "before the workers are forked"
        name = "PostgreSQL" if kind.name == "postgres" else kind.name
        if kind.name == "postgres":
            try:
                what = self.databases._ask(f"seal {kind.name} {PROCESS} {self.pid}")
            except Exception as exc:
                return f"the {name} database of {kind.env} cannot be closed: {exc}"
            return f"{what} {when} ({name}, {kind.env})" if what else None
        main = self._path(kind.name, PROCESS)
        opened = [fd for fd, path in _open_files() if path.startswith(main)]
        after, why = None, ""
        try:
            after = self._content(kind.name)
        except OSError as exc:
            why = str(exc)
        with contextlib.suppress(FileNotFoundError):
            os.rename(main, f"{main}.closed-{os.getpid()}")
        os.close(os.open(main, os.O_WRONLY | os.O_CREAT, 0o600))  # nobody makes a folder there
        if opened:
            return f"a file of the database of {kind.env} was opened {when}"
        if why:
            return f"the {name} database of {kind.env} cannot be looked at {when}: {why}"
        if after != self.before[kind.name]:
            return f"the database of {kind.env} was changed {when} ({name})"
        return None

    def _content(self, name: str) -> Any:
        main = self._path(name, PROCESS)
        if name == "redis":
            return _changes_of_redis(main)
        digests = {}
        for file in sorted(os.listdir(main)):
            with open(os.path.join(main, file), "rb") as f:
                digests[file] = hashlib.file_digest(f, "blake2b").hexdigest()
        return digests

    def is_to_blame(self, texts: Iterable[str]) -> str | None:
        """A driver or a program that does not come by here found no database yet, perhaps."""
        for text in texts:
            for name in self._names():
                if name in text:
                    return f"'{name}' is shown by what could not be collected before the workers are forked"
            if self.files and CANNOT_OPEN in text:
                return "a database could not be opened before the workers are forked"
        return None

    # ---- after it

    def become(self, worker: str) -> None:
        """This process has databases of its own now: a worker's are there, the reporter's come when it asks."""
        self.replaced = []
        if self.prefix:
            self.own = self.prefix + worker
            self.replaced.append((self.token, self.own))
        if "%s" in self.host:
            self.replaced.append((self._host(PROCESS), self._host(worker)))
        for kind in self.files:
            if worker == REPORTER:
                self.databases._ask(f"lease {kind.name} {worker} {os.getpid()}")
            self.replaced.append((self._path(kind.name, COMMON), self._path(kind.name, worker)))
        if self.files:
            self._enter(worker)
        for name, value in list(os.environ.items()):
            if (new := self.rebound(value)) != value:
                os.environ[name] = new
        self._rebind_django()
        self._rebind_programs()
        self.log_at = self._log_size()

    def rebound(self, text: str) -> str:
        """Every name that was handed out, and names that begin with one, as this process has them."""
        for old, new in self.replaced:
            if old in text:
                text = text.replace(old, new)
        return text

    def _host(self, worker: str) -> str:
        return self.host.replace("%s", worker)

    def _rebind_programs(self) -> None:
        """Arguments and environments of other programs may have been made when the suite was imported, too."""
        start = subprocess.Popen._execute_child  # type: ignore[attr-defined]

        def _execute_child(  # type: ignore[no-untyped-def]
            popen, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest, **more
        ) -> Any:
            __tracebackhide__ = True
            args, env = self._rebound_arguments(args), self._rebound_environment(env)
            return start(popen, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest, **more)

        subprocess.Popen._execute_child = _execute_child  # type: ignore[attr-defined]

    def _rebound_arguments(self, args: Any) -> Any:
        if isinstance(args, str):
            return self.rebound(args)
        if isinstance(args, bytes):
            return os.fsencode(self.rebound(os.fsdecode(args)))
        if type(args) in (list, tuple):
            return [self._rebound_arguments(one) for one in args]
        if isinstance(args, os.PathLike) and self.rebound(text := os.fsdecode(args)) != text:
            return self.rebound(text)
        return args

    def _rebound_environment(self, env: Any) -> Any:
        if type(env) is not dict:
            return env
        return {name: self._rebound_arguments(value) for name, value in env.items()}

    def _rebind_django(self) -> None:
        """Its settings name databases in statements, too: CREATE DATABASE."""
        conf, database = sys.modules.get("django.conf"), sys.modules.get("django.db")
        if conf is None or not conf.settings.configured:
            return
        for name in ("DATABASES", "CACHES"):
            self._rebind_in(getattr(conf.settings, name, None))
        if database is not None:
            self._rebind_in(database.connections.settings)
            for connection in database.connections.all(initialized_only=True):
                self._rebind_in(connection.settings_dict)

    def _rebind_in(self, holder: Any) -> None:
        pairs = holder.items() if isinstance(holder, dict) else enumerate(holder) if isinstance(holder, list) else ()
        for key, value in list(pairs):
            if isinstance(value, str):
                holder[key] = self.rebound(value)
            else:
                self._rebind_in(value)

    # ---- where a driver connects

    def connecting(self, text: str, parse: Parse) -> str:
        """What names a PostgreSQL database, before it is connected to. The same as this process has it."""
        if not self.token:
            return text
        if not self.own:
            if self.token in text or self.token in os.environ.get("PGDATABASE", ""):
                self._await(PROCESS, self.pid)
            return text
        rebound = self.rebound(text)
        if state.role == "reporter" and rebound != text:
            self._await(REPORTER, os.getpid())
        if state.role == "worker":
            self._judge(rebound, parse)
        return rebound

    def _await(self, worker: str, pid: int) -> None:
        if worker not in self.leased:
            self.leased.add(worker)
            try:
                self.databases._ask(f"lease postgres {worker} {pid}")
            except Exception as exc:  # the driver says that there is no such database
                _native.database_note("db_unleased", str(exc))

    def _judge(self, text: str, parse: Parse) -> None:
        """A database of a server of all that is neither this worker's nor nobody's: a name from a name, perhaps."""
        if "%s" in self.host:
            return
        name, host = self._target(text, parse)
        at_home = not self.host or self.host in host
        if at_home and name and self.own not in name and name not in MAINTENANCE:
            self.miss(f"a test connects to database '{name}', which every worker would")

    def _target(self, text: str, parse: Parse) -> tuple[str, str]:
        try:
            target = parse(text)
        except Exception:  # the driver says so
            return "", ""
        name = target.get("dbname") or os.environ.get("PGDATABASE") or target.get("user") or ""
        return str(name), str(target.get("host") or os.environ.get("PGHOST", ""))

    def failed(self, text: str, parse: Parse) -> None:
        """There is no connection to what was asked for: a name from a name may be one that only statements know."""
        name = self._target(self.rebound(text), parse)[0] if self.own and self.token in text else ""
        if name and name != self.own:
            self.miss(f"there is no database '{name}': statements of the suite may have made it under another name")

    # ---- what was not seen

    def _names(self) -> Iterator[str]:
        if self.token:
            yield self.token
        if "%s" in self.host:
            yield self._host(PROCESS)
        for kind in self.files:
            yield self._path(kind.name, COMMON)
            yield self._path(kind.name, PROCESS)

    def look_at(self, report: Any) -> None:
        """A test that has not passed and shows a name of the other process has used it, perhaps."""
        if self.missed or state.role != "worker" or not self.replaced:
            return
        text = "\n".join([str(report.longrepr), *(part for _name, part in report.sections)])
        for name in self._names():
            if name in text:
                self.miss(f"{report.nodeid} used '{name}', a database of the time before the workers were forked")
                return
        if self.files and CANNOT_OPEN in text:
            self.miss(f"{report.nodeid} could not open a database, perhaps one of the time before the fork")
        elif self._is_in_log():
            self.miss(f"'{self.token}', a database of the time before the workers were forked, was asked for")
        elif self.token and (other := self._other()):
            self.miss(other)

    def _other(self) -> str:
        """A database on the server that is nobody's own: it failed to be made a second time, perhaps."""
        try:
            return str(self.databases._ask(f"seal postgres {PROCESS} {self.pid}"))
        except Exception:  # the server is gone, which is another matter
            return ""

    def _log(self) -> str:
        """Of a server of the run's own."""
        return os.path.join(os.path.dirname(self._host(PROCESS)), "log") if self.host else ""

    def _log_size(self) -> int:
        try:
            return os.stat(self._log()).st_size
        except OSError:
            return 0

    def _is_in_log(self) -> bool:
        """The server has refused somebody since the fork: another driver, another program."""
        try:
            with open(self._log(), "rb") as f:
                f.seek(self.log_at)
                return self.token.encode() in f.read()
        except OSError:
            return False

    def miss(self, why: str) -> None:
        worker = state.worker
        if self.missed or state.role != "worker" or worker is None:
            return
        if worker.config.getoption("start", "auto") != "auto":
            return
        self.missed = why
        worker.events.append(("h",))  # the test comes back from C (fuse.c)


def _high() -> int:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return HIGH if most == resource.RLIM_INFINITY else min(HIGH, most // 2)


def _open_files() -> Iterator[tuple[int, str]]:
    for name in os.listdir("/proc/self/fd"):
        try:
            yield int(name), os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue


def _changes_of_redis(path: str) -> dict[str, int]:
    """How often commands were called that may have changed something."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(path)
        s.sendall(b"INFO commandstats\r\n")
        answer = b""
        while part := s.recv(65536):
            answer += part
            head, _, rest = answer.partition(b"\r\n")
            if head[:1] != b"$" or (rest and len(rest) >= int(head[1:])):
                break
        if answer[:1] != b"$" or not part:
            text = answer[:80].decode(errors="replace").strip()
            raise OSError(f"the Redis server does not say what was done ('{text}')")
    called = re.findall(r"cmdstat_([^:]+):calls=(\d+)", answer.decode(errors="replace"))
    return {name: int(calls) for name, calls in called if name not in HARMLESS}
