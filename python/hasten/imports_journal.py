"""What `hasten imports --fix` changed, so that one that is killed leaves whole files behind.

A folder, ``.hasten/imports-fix`` below the root: copies of the files as they were, and ``journal.json``, which is
replaced in one step; the next --fix, or --undo, gives the old files back. A file is changed by writing a new one beside
it and renaming that: at any moment it is an old or a new one. Before a file gets a content, the journal has its
checksum: what has none of these was changed by somebody else.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from typing import Any

NEW = ".hasten-new"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def replace(path: str, data: bytes, mtime_ns: int | None = None) -> None:
    """Atomically; mode and owner stay."""
    there = os.stat(path) if os.path.exists(path) else None
    new = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}{NEW}")
    with open(new, "wb") as file:
        file.write(data)
        file.flush()
        if there:
            os.fchmod(file.fileno(), there.st_mode & 0o7777)
            if (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()):
                try:
                    os.fchown(file.fileno(), there.st_uid, there.st_gid)
                except OSError:
                    pass
        os.fsync(file.fileno())
    if mtime_ns is not None:
        os.utime(new, ns=(mtime_ns, mtime_ns))
    os.replace(new, path)


class Busy(Exception):  # noqa: N818
    """Another one is at work."""


class Journal:
    def __init__(self, root: str) -> None:
        self.folder = os.path.join(root, ".hasten", "imports-fix")
        self.path = os.path.join(self.folder, "journal.json")
        self.files: dict[str, dict[str, Any]] = {}
        self.running = False
        self.used: dict[str, set[int]] = {}  # seconds of modification times: .pyc files know sources by these
        self._lock = -1

    def open(self) -> None:
        """Takes the lock and reads what the last one left. Busy; OSError."""
        os.makedirs(self.folder, exist_ok=True)
        ignore = os.path.join(os.path.dirname(self.folder), ".gitignore")
        if not os.path.exists(ignore):
            with open(ignore, "w", encoding="utf-8") as file:
                file.write("*\n")
        self._lock = os.open(os.path.join(self.folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy from None
        try:
            state = json.loads(read(self.path))
            self.files, self.running = dict(state["files"]), bool(state["running"])
        except (OSError, ValueError, KeyError, TypeError):
            self.files, self.running = {}, False

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _save(self) -> None:
        replace(self.path, json.dumps({"running": self.running, "files": self.files}, indent=1).encode())

    def begin(self) -> None:
        """A new set of changes; the last one's originals go with the first of them."""
        self.files, self.running = {}, True

    def keep(self, path: str) -> None:
        """Copies a file's original before its first change."""
        if path in self.files:
            return
        data = read(path)
        copy = os.path.join(self.folder, f"{len(self.files)}.original")
        replace(copy, data)
        self.files[path] = {
            "copy": copy,
            "original": digest(data),
            "mtime_ns": os.stat(path).st_mtime_ns,
            "written": [],
        }
        self._save()

    def original(self, path: str) -> bytes:
        return read(self.files[path]["copy"])

    def write(self, path: str, data: bytes) -> int:
        """Gives a kept file a new content, with a time of its own. That time."""
        entry = self.files[path]
        if digest(data) == entry["original"]:
            self.restore(path)
            return int(entry["mtime_ns"])
        if digest(data) not in entry["written"]:
            entry["written"].append(digest(data))
            self._save()
        used = self.used.setdefault(path, {entry["mtime_ns"] // 10**9})
        second = int(time.time())
        while second in used:
            second += 1
        used.add(second)
        replace(path, data, second * 10**9)
        return second * 10**9

    def restore(self, path: str) -> bool:
        """False: somebody else has changed the file; it stays."""
        entry = self.files[path]
        new = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}{NEW}")
        if os.path.exists(new):
            os.unlink(new)
        try:
            there = digest(read(path))
        except OSError:
            return False
        if there == entry["original"]:
            return True
        if there not in entry["written"]:
            return False
        replace(path, self.original(path), entry["mtime_ns"])
        return True

    def restore_all(self) -> tuple[list[str], list[str]]:
        """Files that are as they were, and files that somebody else has changed since."""
        given: list[str] = []
        left: list[str] = []
        for path in self.files:
            (given if self.restore(path) else left).append(path)
        self.running = False
        if not left:
            self.files = {}
        self._save()
        return given, left

    def end(self) -> None:
        """What is written stays, and can be undone."""
        self.running = False
        self._save()
