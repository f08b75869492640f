"""What cannot be shared by forks is noticed, what can be is not."""

from __future__ import annotations

import _socket
import logging
import mmap
import multiprocessing
import os
import socket
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

watch = pytest.importorskip("hasten.watch", reason="hasten is not built in this environment")


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A watch of a process that is the first worker."""
    monkeypatch.setenv(watch.NAME, "gw0")
    before, was = watch._active, type(os.environ)
    found = watch.Watch()
    yield found
    found.stop()
    watch._active, os.environ.__class__ = before, was


def test_a_role_is_no_use_of_the_identity(own: Any) -> None:
    assert os.environ.get("PYTEST_XDIST_WORKER")
    assert os.environ.get("PYTEST_XDIST_WORKER") is not None
    assert "PYTEST_XDIST_WORKER" in os.environ
    assert own.before_fork() is None


@pytest.mark.parametrize(
    "use",
    [
        lambda x: "db_" + x, lambda x: f"{x}", lambda x: f"{x}!", lambda x: "%s" % x, lambda x: x[2:],  # noqa: UP031
        lambda x: x == "gw0", lambda x: x.replace("gw", ""), lambda x: {x: 1}, lambda x: x + "_", lambda x: str(x),
        lambda x: x.removeprefix("gw"), lambda x: list(x), lambda x: "g" in x, lambda x: x < "z", lambda x: x.encode(),
        lambda x: "_".join(["a", x]),
    ],
)  # fmt: skip
def test_a_use_as_a_value_is_an_alarm(own: Any, use: Any) -> None:
    kept = use(os.environ["PYTEST_XDIST_WORKER"])
    alarm = own.before_fork()
    if alarm is None and isinstance(kept, str):
        pytest.xfail("str.join and the like take the characters without asking")
    assert alarm is not None
    assert "test_watch.py:" in alarm


def test_keeping_the_identity_is_an_alarm(own: Any) -> None:
    kept = os.environ["PYTEST_XDIST_WORKER"]
    assert "was kept at" in own.before_fork()
    del kept


def test_copies_of_the_environment_are_none(own: Any) -> None:
    assert dict(os.environ)["PATH"]
    assert os.environ.copy()["PATH"]
    assert own.before_fork() is None


def test_a_connected_socket_is_an_alarm_and_a_library_s_listening_one_is_none(own: Any) -> None:
    listening = _socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    assert own.before_fork() is None
    pair = socket.socketpair()
    assert "a connected socket" in own.before_fork()
    for end in (*pair, listening):
        end.close()


def test_an_sqlite_file_is_an_alarm_and_another_file_is_none(own: Any, tmp_path: Path) -> None:
    with open(tmp_path / "log", "w") as log:
        log.write("x" * 500)
        assert own.before_fork() is None
        db = sqlite3.connect(tmp_path / "x.db")
        db.execute("create table t (a)")
        db.commit()
        assert "an SQLite database" in own.before_fork()
        db.close()


def test_a_thread_is_an_alarm_unless_it_restarts_itself(own: Any) -> None:
    event = threading.Event()
    for name, safe in (("sentry.monitor", True), ("mine", False)):
        thread = threading.Thread(target=event.wait, name=name, daemon=True)
        thread.start()
        assert (own.before_fork() is None) is safe
        if safe:
            event.set()
            thread.join()
            event.clear()
    event.set()
    thread.join()


def test_the_environment_is_as_before_when_it_stops(own: Any) -> None:
    assert type(os.environ) is not watch._environ_class
    own.stop()
    assert type(os.environ) is watch._environ_class
    assert type(os.environ["PYTEST_XDIST_WORKER"]) is str


def test_a_temporary_folder_that_stays_is_an_alarm(own: Any) -> None:
    with tempfile.TemporaryDirectory():
        pass
    assert own.before_fork() is None
    folder = tempfile.mkdtemp()
    line = sys._getframe().f_lineno - 1
    assert own.before_fork() == f"a temporary file or folder is made at {__file__}:{line} before the workers are forked"
    os.rmdir(folder)


@pytest.mark.parametrize(
    "make",
    [lambda: tempfile.mkstemp()[1], lambda: tempfile.NamedTemporaryFile(delete=False).name],  # noqa: SIM115
)
def test_a_temporary_file_that_stays_is_an_alarm(own: Any, make: Any) -> None:
    with tempfile.NamedTemporaryFile(), tempfile.TemporaryFile():
        pass
    assert own.before_fork() is None
    path = make()
    assert "a temporary file or folder is made" in own.before_fork()
    os.unlink(path)


def test_a_port_that_was_looked_for_is_an_alarm(own: Any) -> None:
    with socket.socket(socket.AF_UNIX) as local:
        local.bind(f"\0hasten-test-{own.made.getpid()}")
    assert own.before_fork() is None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
    assert "a port is taken at" in own.before_fork()


def test_a_name_from_the_process_s_number_is_an_alarm(own: Any) -> None:
    logging.getLogger("a").debug("the standard library asks, too")
    logging.LogRecord("a", 10, "f", 1, "m", (), None)
    assert own.before_fork() is None
    assert f"db_{os.getpid()}" == f"db_{own.made.getpid()}"
    assert "the process's number is asked for at" in own.before_fork()


def test_nothing_is_replaced_after_the_end(own: Any) -> None:
    during = os.getpid, tempfile.mkdtemp, tempfile._mkstemp_inner, socket.socket.bind
    own.stop()
    after = os.getpid, tempfile.mkdtemp, tempfile._mkstemp_inner, socket.socket.bind
    assert not set(map(id, during)) & set(map(id, after))
    assert "bind" not in vars(socket.socket)
    assert os.getpid.__class__ is len.__class__
    assert during[0]() == os.getpid()
    os.rmdir(during[1]())
    assert own.alarm is None


def test_a_class_that_keeps_the_function_calls_it_as_before(own: Any) -> None:
    class Keeps:
        number = os.getpid

    assert Keeps().number() == own.made.getpid()


@pytest.mark.parametrize("make", [lambda: mmap.mmap(-1, 4096), lambda: multiprocessing.Value("i", 0)])
def test_shared_memory_is_an_alarm_and_a_lock_is_none(own: Any, make: Any) -> None:
    lock = multiprocessing.Lock()
    private = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    assert own.before_fork() is None
    shared = make()
    assert "memory that forks would share" in own.before_fork()
    del lock, private, shared


def test_a_pipe_is_an_alarm_and_one_of_hasten_s_is_none(own: Any) -> None:
    ours = os.pipe()
    own.own(list(ours))
    assert own.before_fork() is None
    theirs = os.pipe()
    assert "a pipe was opened" in own.before_fork()
    for fd in (*ours, *theirs):
        os.close(fd)
