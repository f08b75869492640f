"""Finds out, before the first fork, what cannot be shared by forks: then workers start early, each for itself.

Four things: a worker's identity was read as a value while it was not known yet; a connected socket, a pipe, an epoll
descriptor, shared memory or an open SQLite file; a thread, or a library whose native threads do not survive a fork
once used; a temporary folder, a port or a name that every worker would have made for itself (made.py).
"""

from __future__ import annotations

import os
import stat
import sys
import threading
import types
import weakref
from typing import Any

import pytest

from hasten.made import Made
from hasten.plugin import state

NAME = "PYTEST_XDIST_WORKER"
# Readers that use the identity as a label only, or for a role: (top module, function).
ALLOWED = {
    ("pytest_cov", "pytest_sessionstart"),
    ("pytest_cov", "start"),
    ("pytest_benchmark", "__init__"),
    ("syrupy", "is_xdist_worker"),
    ("syrupy", "is_xdist_controller"),
}
# Threads of these are restarted by their own at-fork handlers.
SAFE_THREADS = ("sentry", "OtelBatch", "tqdm", "pymongo", "loguru", "prometheus")
FRAGILE_LIBRARIES = ("polars", "jax", "jaxlib", "temporalio")

_environ_class = type(os.environ)
_active: Watch | None = None


def _reader(depth: int = 2) -> Any:
    """The frame that asked, past os and collections' own."""
    frame: types.FrameType | None = sys._getframe(depth)
    own = ("os", "collections.abc", "_collections_abc", __name__)
    while frame is not None and frame.f_globals.get("__name__") in own:
        frame = frame.f_back
    return frame


def _place(frame: Any) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _is_allowed(frame: Any) -> bool:
    top = frame.f_globals.get("__name__", "").partition(".")[0]
    return top == "hasten" or (top, frame.f_code.co_name) in ALLOWED


class Identity(str):
    """A worker's id that tells when somebody looks at more than whether there is one."""

    def _noted(name: str) -> Any:  # noqa: N805
        plain = getattr(str, name)

        def method(self: Identity, *args: Any, **kwargs: Any) -> Any:
            if _active is not None:
                _active.note(f"{NAME} is used", sys._getframe(1))
            return plain(str.__str__(self), *args, **kwargs)

        method.__name__ = name
        return method

    for _name in ("__str__", "__format__", "__add__", "__mod__", "__getitem__", "__eq__", "__ne__", "__hash__",
                  "__lt__", "__gt__", "__iter__", "__contains__", "replace", "split", "partition", "rpartition",
                  "startswith", "endswith", "strip", "lstrip", "rstrip", "removeprefix", "removesuffix", "join",
                  "format", "encode", "lower", "upper", "isdigit", "find", "index"):  # fmt: skip
        locals()[_name] = _noted(_name)
    del _name, _noted

    def __radd__(self, before: str) -> str:
        """``"db_" + worker_id``; str itself has no such method."""
        if _active is not None:
            _active.note(f"{NAME} is used", sys._getframe(1))
        return before + str.__str__(self)


class _WatchedEnviron(_environ_class):  # type: ignore[misc, valid-type]
    def __getitem__(self, key: str) -> str:
        if _active is not None and key in _active.varying:
            _active.read_varying(key)
        if key != NAME or _active is None:
            return str(super().__getitem__(key))
        return _active.read_environment(super().__getitem__)

    def get(self, key: str, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key: object) -> bool:
        if key == NAME and _active is not None:
            _active.asked_for_role()
        return bool(super().__contains__(key))


class WorkerInput(dict[str, Any]):
    """config.workerinput of the template: notes who reads what differs between workers."""

    differing: frozenset[str] = frozenset()

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        return _active.read_input(key, value) if _active is not None and key in self.differing else value

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401 (dict.get would not ask __getitem__)


class Watch:
    """Watches from its creation to stop(). alarm: one line, or None."""

    def __init__(self) -> None:
        global _active
        self.alarm: str | None = None
        self.absent = False
        self.issued: list[tuple[weakref.ref[Identity], str]] = []
        # Other variables that differ between workers.
        self.varying = frozenset(state.db.names if state.db and not state.db.bound else ())
        self.sockets = _open_things()
        self.inherited = {what for what in self.sockets.values() if what[0] == "a pipe"}  # under whatever number
        self.memory = _shared_memory()
        self.made = Made(self.note)
        _active = self
        if type(os.environ) is _environ_class:
            os.environ.__class__ = _WatchedEnviron

    def stop(self) -> None:
        global _active
        _active = None
        self.made.end()
        if type(os.environ) is _WatchedEnviron:
            os.environ.__class__ = _environ_class  # type: ignore[assignment]

    def own(self, fds: list[int]) -> None:
        """Descriptors that hasten itself has made since."""
        found = _open_things()
        self.sockets.update({fd: found[fd] for fd in fds if fd in found})

    def note(self, what: str, frame: Any) -> None:
        if self.alarm is None and not _is_allowed(frame):
            self.alarm = f"{what} at {_place(frame)} before the workers are forked"

    def identity_absent(self) -> None:
        """While conftests are imported nobody is a worker yet: any question is an alarm."""
        self.absent = True

    def asked_for_role(self) -> None:
        if self.absent:
            self._absent_read(_reader(3))

    def _absent_read(self, frame: Any) -> None:
        if frame is not None and NAME in frame.f_code.co_consts:
            self.note(f"{NAME} is read", frame)

    def read_environment(self, read: Any) -> str:
        frame = _reader(3)
        if self.absent:
            self._absent_read(frame)
            return str(read(NAME))
        value = read(NAME)
        if frame is None or NAME not in frame.f_code.co_consts or _is_allowed(frame):
            return str(value)
        return self._issue(value, frame)

    def read_varying(self, key: str) -> None:
        """Whoever has read it may have kept it."""
        frame = _reader(3)
        if frame is not None and not frame.f_globals.get("__name__", "").startswith("_pytest."):
            self.note(f"{key} is read", frame)

    def _issue(self, value: str, frame: Any) -> Identity:
        identity = Identity(value)
        self.issued.append((weakref.ref(identity), _place(frame)))
        return identity

    def read_input(self, key: str, value: Any) -> Any:
        frame = _reader(3)
        if frame is None or _is_allowed(frame):
            return value
        if isinstance(value, str):
            return self._issue(value, frame)
        self.note(f'workerinput["{key}"] is read', frame)
        return value

    def identity_of_first(self, config: pytest.Config, inputs: list[dict[str, Any]]) -> None:
        """From here on this process has the first worker's identity."""
        self.absent = False
        first = inputs[0]
        own = WorkerInput(config.workerinput)  # type: ignore[attr-defined]
        own.differing = frozenset(k for k in first if any(other.get(k) != first[k] for other in inputs[1:]))
        config.workerinput = own  # type: ignore[attr-defined]
        self.sockets = _open_things()

    def before_split(self) -> str | None:
        """The reason not to fork the template off here, with the conftests imported, or None."""
        self.made.left()
        return self.alarm or self._new_resource() or _threads()

    def before_fork(self) -> str | None:
        """The reason not to fork here, or None."""
        self.made.left()
        if self.alarm is None:
            self.alarm = self._kept_identity() or self._new_resource() or _threads()
        return self.alarm

    def _kept_identity(self) -> str | None:
        for ref, place in self.issued:
            if ref() is not None:
                return f"the worker's id was kept at {place} before the workers are forked"
        return None

    def _new_resource(self) -> str | None:
        for fd, what in _open_things().items():
            if self.sockets.get(fd) != what and what not in self.inherited:
                return f"{what[0]} was opened before the workers are forked (a plugin, a conftest or a test module)"
        if _shared_memory() - self.memory:
            return "memory that forks would share was mapped before the workers are forked (multiprocessing, mmap)"
        return None


def _open_things() -> dict[int, tuple[str, int]]:
    """Descriptors that two processes must not share: fd -> (what, inode)."""
    found: dict[int, tuple[str, int]] = {}
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return found
    for name in names:
        fd = int(name)
        try:
            mode = os.fstat(fd)
            if stat.S_ISSOCK(mode.st_mode):
                if _is_connected(fd):
                    found[fd] = ("a connected socket", mode.st_ino)
            elif stat.S_ISREG(mode.st_mode):
                if mode.st_size >= 100 and os.pread(fd, 15, 0) == b"SQLite format 3":
                    found[fd] = ("an SQLite database", mode.st_ino)
            elif stat.S_ISFIFO(mode.st_mode):
                found[fd] = ("a pipe", mode.st_ino)
            elif os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:[eventpoll]":
                found[fd] = ("an epoll descriptor", fd)
        except OSError:
            continue
    return found


def _shared_memory() -> set[str]:
    """Inodes and names of mappings that forks would share; not semaphores: libraries make locks of them."""
    try:
        with open("/proc/self/maps", "rb") as maps:
            lines = [line for line in maps if b" rw-s " in line]
    except OSError:
        return set()
    found = {line.split(None, 4)[4].decode(errors="replace").strip() for line in lines}
    return {name for name in found if "/dev/shm/sem." not in name and "/memfd:hasten" not in name}


def _is_connected(fd: int) -> bool:
    import socket

    try:
        probe = socket.socket(fileno=os.dup(fd))
    except OSError:
        return False
    try:
        probe.getpeername()
        return True
    except OSError:
        return False
    finally:
        probe.close()


def _threads() -> str | None:
    for thread in threading.enumerate():
        if thread is threading.main_thread() or thread.name.startswith(SAFE_THREADS):
            continue
        return f"thread '{thread.name}' was started before the workers are forked"
    try:
        native = len(os.listdir("/proc/self/task"))
    except OSError:
        return None
    if native > 1:
        for name in FRAGILE_LIBRARIES:
            if name in sys.modules:
                return f"{name} has started threads, which do not survive a fork"
        if "sklearn" in sys.modules or "numba" in sys.modules:
            return _openmp()
    return None


def _openmp() -> str | None:
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as f:
            if any("libgomp" in line for line in f):
                return "OpenMP (libgomp) is loaded and has started threads, which do not survive a fork"
    except OSError:
        pass
    return None
