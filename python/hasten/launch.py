"""``pytest --hasten``: this process becomes the reporter, and starts the hasten program as its supervisor."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable

import pytest


def start_supervisor(args: Iterable[str]) -> tuple[int, int, int]:
    """This side's descriptors: the channels of reporter and template, and a pipe that ends with the supervisor.

    args: pytest's, for processes that the supervisor starts later.
    """
    from hasten.__main__ import find_program
    from hasten.plugin import state

    program = find_program()
    if program is None:
        raise pytest.UsageError("--hasten: the hasten program is not installed beside this Python")
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    life, held = os.pipe()
    theirs = [*(pair[1].detach() for pair in pairs), held]
    environment = {**os.environ, "HASTEN_PYTHON": sys.executable, "HASTEN_DB_PID": str(os.getpid())}
    for name in state.cov.for_subprocesses if state.cov else ():  # ours have a part in this run
        environment.pop(name, None)
    kept = theirs
    if state.hits >= 0:  # coverage is measured already
        environment["HASTEN_HITS"] = str(state.hits)
        kept = [*theirs, state.hits]
    process = subprocess.Popen(
        [program, "engine", ",".join(map(str, theirs)), *args],
        pass_fds=kept,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    process.returncode = 0  # it ends with its channels; nobody waits for it, and no ResourceWarning either
    for fd in theirs:
        os.close(fd)
    return pairs[0][0].detach(), pairs[1][0].detach(), life
