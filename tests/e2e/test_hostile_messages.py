"""Messages between hasten's processes."""

from __future__ import annotations

import socket

import pytest

_native = pytest.importorskip("hasten._native")


def test_last_words_arrive_although_the_sender_has_left_messages_unread():
    """Linux reports ECONNRESET before what is queued then; a reporter's goodbye was lost, and the run not green."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    _native.send(ours.fileno(), _native.WIRE_ADVANCE, 0, 1)
    _native.send(theirs.fileno(), _native.WIRE_BYE, 0, 7)
    theirs.close()
    assert _native.recv(ours.fileno(), 0)[:3] == (_native.WIRE_BYE, 0, 7)
    assert _native.recv(ours.fileno(), 0) is None
    ours.close()


def test_more_workers_than_a_channel_has_room_for_messages(suite, run_hasten):
    """Supervisor and template waited for each other to read, for ever, and no SIGTERM ended the former."""
    test = "import pytest\n@pytest.mark.parametrize('i', range(450))\ndef test_a(i): pass\n"
    run = run_hasten(suite({"test_a.py": test}), "-n450", "-q", timeout=150)
    assert run.status == 0, run.describe()
    assert run.outcomes() == {f"test_a[{i}]": "passed" for i in range(450)}
