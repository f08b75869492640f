"""Free TCP ports that no other worker of any run of this user has (``hasten_port``, ``hasten_ports``).

A process leases ports in blocks, by locks that all runs see and that the kernel frees when it dies (os/bytelock.h).
They lie below those that the kernel gives out by itself, so that nobody's outgoing connection or ``bind(0)`` gets one
between the moment at which a test learns of it and that at which it binds it.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Iterator

from hasten import _native

BLOCK = 16
LOWEST, HIGHEST = 20000, 32768  # without what the kernel says of its own range


def _limits() -> tuple[int, int]:
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
            low, high = (int(word) for word in f.read().split())
    except (OSError, ValueError):
        return LOWEST, HIGHEST
    if low >= LOWEST + 1024:
        return LOWEST, low
    return (high + 1, 65536) if high < 65536 - 1024 else (LOWEST, HIGHEST)


def is_free(port: int) -> bool:
    """A server could bind it now, on all addresses."""
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                probe = socket.socket(family, kind)
            except OSError:
                continue  # no IPv6 here
            with probe:
                if kind == socket.SOCK_STREAM:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                try:
                    probe.bind((address, port))
                except OSError as exc:
                    if family == socket.AF_INET or exc.errno == errno.EADDRINUSE:  # else IPv6 is off
                        return False
    return True


class Ports:
    """This process's ports; a fork begins anew."""

    def __init__(self) -> None:
        self.owner = 0
        self.locks = -1
        self.free: deque[int] = deque()
        self.blocks: Iterator[int] = iter(())

    def _own(self) -> None:
        if self.owner == os.getpid():
            return
        if self.locks >= 0:
            os.close(self.locks)  # of the parent, which keeps its own
        self.owner = os.getpid()
        self.locks = _native.lock_open("ports")
        self.free.clear()
        low, high = _limits()
        n = (high - low) // BLOCK
        first = self.owner % n
        self.blocks = iter([low + (first + i) % n * BLOCK for i in range(n)])

    def _next(self) -> int:
        for _ in range(len(self.free)):
            port = self.free.popleft()
            if is_free(port):
                return port
            self.free.append(port)  # somebody else has it; perhaps not for ever
        for block in self.blocks:
            if _native.lock_take(self.locks, block, BLOCK):
                self.free.extend(range(block, block + BLOCK))
                return self._next()
        raise RuntimeError("hasten: no free TCP port is left")

    def take(self, n: int) -> list[int]:
        self._own()
        return [self._next() for _ in range(n)]

    def give(self, ports: list[int]) -> None:
        """They may be taken again by this process, after all others that it has."""
        if self.owner == os.getpid():
            self.free.extend(ports)


ports = Ports()
