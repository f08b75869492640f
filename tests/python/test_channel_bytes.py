"""Messages of the channel as Python sees them: any bytes are a message or an OSError, and no descriptor stays open."""

from __future__ import annotations

import array
import errno
import os
import random
import socket
import struct

import pytest

from hasten import _native

HEAD = struct.Struct("=IIQQ")
MOST = 16384


@pytest.fixture
def channel():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def send(to, data, fds=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
    to.sendmsg([data], rights)


def count_open():
    return len(os.listdir("/proc/self/fd"))


def test_any_bytes_are_a_message_or_an_error(channel):
    ours, theirs = channel
    choose = random.Random(20261121)
    before = count_open()
    kinds = {"message": 0, "error": 0}
    for _ in range(2000):
        data = choose.randbytes(choose.choice([1, 7, 23, 24, 25, 200, 24 + MOST, 25 + MOST]))
        fds = [2] * choose.randrange(4)
        send(theirs, data, fds)
        if len(fds) > 1 or not 24 <= len(data) <= 24 + MOST:
            with pytest.raises(OSError, match=os.strerror(errno.EBADMSG)):
                _native.recv(ours.fileno(), 1000)
            kinds["error"] += 1
            continue
        kind, slot, a, b, rest, fd = _native.recv(ours.fileno(), 1000)
        assert (kind, slot, a, b) == HEAD.unpack(data[:24])
        assert rest == data[24:]
        assert (fd >= 0) == bool(fds)
        if fd >= 0:
            os.close(fd)
        kinds["message"] += 1
    assert count_open() == before
    assert min(kinds.values()) > 100, "both were tried"


def test_a_closed_channel_is_no_error(channel):
    ours, theirs = channel
    send(theirs, HEAD.pack(1, 2, 3, 4) + b"last words")
    theirs.close()
    assert _native.recv(ours.fileno()) == (1, 2, 3, 4, b"last words", -1)
    assert _native.recv(ours.fileno()) is None


def test_what_does_not_fit_is_refused_before_it_is_sent(channel):
    ours, theirs = channel
    with pytest.raises(ValueError, match="over 16384 bytes"):
        _native.send(ours.fileno(), 1, 0, 0, 0, bytes(MOST + 1))
    _native.send(ours.fileno(), 1, 0, 0, 0, bytes(MOST))
    assert len(theirs.recv(2 * MOST)) == 24 + MOST


@pytest.mark.parametrize("fd", [-1, 1 << 20])
def test_a_descriptor_that_is_not_open_is_an_oserror(fd):
    for function in (_native.recv, _native.blob_read, _native.die_with):
        with pytest.raises(OSError, match="Bad file descriptor"):
            function(fd)
