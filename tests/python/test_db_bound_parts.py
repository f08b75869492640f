"""What db_bind.py asks of a server and of the system, where they do not answer as usual."""

from __future__ import annotations

import resource
import socket
import threading
from pathlib import Path

import pytest

from hasten import db_bind


def serve(path: Path, answers: list[bytes]) -> threading.Thread:
    """A server that says this to one client, in pieces, and goes."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def run() -> None:
        with listener, listener.accept()[0] as client:
            client.recv(100)
            for answer in answers:
                client.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def changes(path: Path, *answers: bytes) -> dict[str, int]:
    thread = serve(path, list(answers))
    try:
        return db_bind._changes_of_redis(str(path))
    finally:
        thread.join()


def test_commands_that_change_something_are_counted(tmp_path: Path) -> None:
    text = b"# Commandstats\r\ncmdstat_set:calls=3,usec=1\r\ncmdstat_get:calls=9,usec=1\r\n"
    head = b"$%d\r\n" % len(text)
    assert changes(tmp_path / "one", head + text + b"\r\n") == {"set": 3}
    assert changes(tmp_path / "two", head[:2], head[2:] + text[:20], text[20:] + b"\r\n") == {"set": 3}


@pytest.mark.parametrize("answer", [b"", b"$1000\r\ncmd", b"-NOAUTH Authentication required.\r\n"])
def test_a_server_that_does_not_answer_is_no_endless_loop(tmp_path: Path, answer: bytes) -> None:
    with pytest.raises(OSError, match="does not say what was done"):
        changes(tmp_path / "socket", answer)


@pytest.mark.parametrize(("limit", "high"), [(100_000, 500), (900, 450), (256, 128), (resource.RLIM_INFINITY, 500)])
def test_descriptors_are_taken_where_there_are_some(monkeypatch: pytest.MonkeyPatch, limit: int, high: int) -> None:
    monkeypatch.setattr(db_bind.resource, "getrlimit", lambda _what: (limit, limit))
    assert db_bind._high() == high
