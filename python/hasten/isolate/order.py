"""In which order tests ran: from a file of node ids, or from the journal of a run."""

from __future__ import annotations

import glob
import os
import sys

from hasten import _native, wire


class OrderError(Exception):
    """One line for people."""


def from_file(path: str) -> list[str]:
    try:
        if path == "-":
            text = sys.stdin.read()
        else:
            with open(path, encoding="utf-8") as file:
                text = file.read()
    except (OSError, UnicodeDecodeError) as exc:
        raise OrderError(f"cannot read the order in '{path}': {exc}") from None
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def last_journal(rootdir: str) -> str:
    found = glob.glob(os.path.join(rootdir, ".hasten", "runs", "*.journal"))
    if not found:
        raise OrderError(f"no run of hasten has left a journal in {rootdir}/.hasten/runs")
    return max(found, key=lambda path: (int(os.path.basename(path).split("-")[0]), path))


def from_journal(path: str, nodeid: str) -> list[str]:
    """The tests that ran on the worker of nodeid before it, in their order, and nodeid itself."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise OrderError(f"cannot read the journal '{path}': {exc}") from None
    ids: list[str] = []
    ran: dict[int, list[int]] = {}  # by worker; its records come in the order of its tests
    place = None
    try:
        _native.journal_attach(fd)  # takes it over
        while records := _native.journal_read():
            for kind, _outcome, _flags, item, slot, *_times, payload in records:
                if kind == _native.RECORD_CATALOG:
                    ids, _python = wire.catalog_read(payload)
                elif kind in (_native.RECORD_TEST, _native.RECORD_CRASH) and item < len(ids):
                    ran.setdefault(slot, []).append(item)
                    if ids[item] == nodeid:
                        place = slot
    except (OSError, RuntimeError, ValueError) as exc:
        raise OrderError(f"'{path}' is no journal of hasten: {exc}") from None
    if place is None:
        raise OrderError(f"the run of '{path}' has no result of {nodeid}")
    names = [ids[item] for item in ran[place]]
    return names[: names.index(nodeid) + 1]
