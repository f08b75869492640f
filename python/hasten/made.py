"""What modules make while they are imported and two workers must not share: temporary files, ports, names from a pid.

Where every worker imports for itself these differ by themselves. Only what the user's own code makes counts: libraries
probe ports and keep folders of their own. The replaced functions are in place from `begin` to `end`; a module that
took one by name keeps it, and it does what the original does.
"""

from __future__ import annotations

import functools
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from typing import Any

Note = Callable[[str, Any], None]
_STDLIB = os.path.realpath(os.path.dirname(os.__file__)) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_INTERNET = (socket.AF_INET, socket.AF_INET6)


class _Asked:
    """os.getpid while modules are imported; as a builtin function, no method of a class that holds it."""

    def __init__(self, made: Made) -> None:
        self.made = made
        functools.update_wrapper(self, made.getpid)

    def __call__(self) -> int:
        self.made.tell("the process's number is asked for", directly=True)  # logging asks for every record
        return self.made.getpid()


class Made:
    """note(what, frame) is called for what cannot be undone; `left` tells of files that still exist."""

    def __init__(self, note: Note) -> None:
        self.note: Note | None = note
        self.files: list[tuple[str, Any]] = []
        self.getpid = os.getpid
        self.mkdtemp, self.mkstemp = tempfile.mkdtemp, getattr(tempfile, "_mkstemp_inner", None)
        os.getpid = self.asked = _Asked(self)
        tempfile.mkdtemp = self.folder = self._watched(self.mkdtemp, lambda made: made)
        if self.mkstemp is not None:
            self.file = self._watched(self.mkstemp, lambda made: made[1])
            tempfile._mkstemp_inner = self.file  # type: ignore[attr-defined]
        if "bind" not in vars(socket.socket):
            socket.socket.bind = self._bind()  # type: ignore[method-assign]

    def end(self) -> None:
        self.note = None
        if os.getpid is self.asked:
            os.getpid = self.getpid
        if tempfile.mkdtemp is self.folder:
            tempfile.mkdtemp = self.mkdtemp
        if self.mkstemp is not None and getattr(tempfile, "_mkstemp_inner", None) is self.file:
            tempfile._mkstemp_inner = self.mkstemp  # type: ignore[attr-defined]
        if getattr(vars(socket.socket).get("bind"), "made", None) is self:
            del socket.socket.bind

    def left(self) -> None:
        """Notes the first file or folder that is still there."""
        for path, frame in self.files:
            if self.note is not None and os.path.lexists(path):
                self.note("a temporary file or folder is made", frame)
        self.files.clear()

    def tell(self, what: str, directly: bool = False) -> None:
        frame = _user(sys._getframe(2), directly) if self.note is not None else None
        if frame is not None and self.note is not None:
            self.note(what, frame)

    def _watched(self, function: Callable[..., Any], path: Callable[[Any], str]) -> Callable[..., Any]:
        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            made = function(*args, **kwargs)
            frame = _user(sys._getframe(1)) if self.note is not None else None
            if frame is not None:
                self.files.append((os.path.abspath(path(made)), _Place(frame)))
            return made

        return watched

    def _bind(self) -> Any:
        made, bind = self, socket.socket.bind

        def watched(self: socket.socket, address: Any, /) -> None:
            bind(self, address)
            if self.family in _INTERNET:
                made.tell("a port is taken")

        watched.__name__ = "bind"
        watched.made = made  # type: ignore[attr-defined]
        return watched


class _Place:
    """What a note needs of a frame, which is not kept with all its variables."""

    def __init__(self, frame: Any) -> None:
        self.f_code, self.f_lineno, self.f_globals = frame.f_code, frame.f_lineno, frame.f_globals


def _user(frame: Any, directly: bool = False) -> Any:
    """The frame that called, directly or through the standard library, if it is the user's own code; else None."""
    while frame is not None:
        path = os.path.realpath(frame.f_code.co_filename)
        if any(part in path for part in _INSTALLED) or _is_ours(frame):
            return None
        if not path.startswith(_STDLIB) and os.path.exists(path):
            return frame
        frame = None if directly else frame.f_back
    return None


def _is_ours(frame: Any) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in ("hasten", "pytest", "_pytest", "pluggy")
