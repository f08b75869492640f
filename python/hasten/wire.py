"""What travels in a record's payload: events of one test, collect reports, worker outputs, the catalog's Python part.

An event is a tuple whose first element names it:

``("s",)`` log start, ``("f",)`` log finish (of the record's item), ``("s", nodeid, location)`` the same of another id,
``("r", data)`` a report as ``pytest_report_to_serializable`` gives it, ``("w", warning, when, nodeid, location)`` a
recorded warning, ``("t", text)`` what the worker's terminal reporter wrote, ``("c", data)`` what was collected before
collection ended with an exception.
"""

from __future__ import annotations

import array
import io
import pickle
import struct
import sys
import warnings
from collections.abc import Iterable
from typing import Any

import pytest
from _pytest._code.code import TerminalRepr
from _pytest._io import TerminalWriter

SEPARATOR = "\x1e"  # of the messages of one usage error
CATALOG_MAGIC = b"hscat 01"
_CATALOG_HEAD = struct.Struct("=8sIIQQQQQQ")


def _root(module: str | None) -> str:
    return (module or "").partition(".")[0]


class Trust:
    """Which classes the reporter can load: the interpreter's own and what was imported before the split."""

    roots: frozenset[str] = frozenset(sys.stdlib_module_names)

    @classmethod
    def freeze(cls) -> None:
        cls.roots = frozenset(sys.stdlib_module_names) | {_root(name) for name in sys.modules} - {"__main__"}


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        cls = obj if isinstance(obj, type) else type(obj)
        if _root(cls.__module__) in Trust.roots and "<locals>" not in cls.__qualname__:
            return NotImplemented
        return (str, (_text(obj),))


def _text(obj: Any) -> str:
    try:
        return repr(obj)
    except BaseException as exc:
        return f"<unprintable {type(obj).__name__}: {type(exc).__name__}>"


def _plain(obj: Any) -> Any:
    """A copy in basic types; what is no basic type becomes its repr."""
    if obj is None or isinstance(obj, (bool, int, float, bytes)):
        return obj
    if isinstance(obj, str):
        return str(obj)
    if isinstance(obj, dict):
        return {_plain(k): _plain(v) for k, v in obj.items()}
    if isinstance(obj, tuple):
        return tuple(_plain(v) for v in obj)
    if isinstance(obj, (list, set, frozenset)):
        return [_plain(v) for v in obj]
    return _text(obj)


def dumps(obj: Any) -> bytes:
    """obj as bytes, whatever is in it: objects that cannot travel are replaced by their repr."""
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, 5).dump(obj)
        return buffer.getvalue()
    except Exception:
        return pickle.dumps(_plain(obj), 5)


def loads(payload: bytes) -> Any:
    return pickle.loads(payload)


def dump_interrupt(kind: str, text: str, code: int | None = None) -> bytes:
    """Why the run stops, as text that the supervisor can write too: kind, exit status or nothing, message."""
    return f"{kind}\n{'' if code is None else code}\n{text}".encode("utf-8", "surrogateescape")


def load_interrupt(payload: bytes) -> dict[str, Any]:
    kind, code, text = payload.decode("utf-8", "surrogateescape").split("\n", 2)
    return {"kind": kind, "code": int(code) if code else None, "text": text}


def dump_warning(message: warnings.WarningMessage) -> dict[str, Any]:
    inner = message.message
    category = message.category
    return {
        "text": str(inner),
        "message": (type(inner).__module__, type(inner).__qualname__, getattr(inner, "args", ()))
        if isinstance(inner, Warning)
        else None,
        "category": (category.__module__, category.__qualname__) if category else None,
        "filename": message.filename,
        "lineno": message.lineno,
        "line": message.line,
        # of a ResourceWarning and the like: pytest's text of the warning has two lines more when there is one
        "source": None if message.source is None else _text(message.source),
    }


def _find_class(module: str, qualname: str) -> Any:
    """A class that is loaded here already or belongs to the interpreter; None otherwise."""
    if module not in sys.modules and _root(module) in sys.stdlib_module_names:
        try:
            __import__(module)
        except ImportError:
            return None
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) and issubclass(found, Warning) else None


def load_warning(data: dict[str, Any]) -> warnings.WarningMessage:
    """The WarningMessage again; a class that only the worker knows becomes one of the same name."""
    category = None
    if data["category"]:
        module, qualname = data["category"]
        category = _find_class(module, qualname)
        if category is None:
            category = type(qualname.rpartition(".")[2], (UserWarning,), {"__module__": module})
    message: Any = data["text"]
    if data["message"]:
        module, qualname, args = data["message"]
        cls = _find_class(module, qualname) or category or UserWarning
        try:
            message = cls(*args)
            if str(message) != data["text"]:
                message = cls(data["text"])
        except Exception:
            message = UserWarning(data["text"])
    return warnings.WarningMessage(
        message=message,
        category=category or UserWarning,
        filename=data["filename"],
        lineno=data["lineno"],
        line=data["line"],
        source=data["source"],
    )


class RelayedRepr(TerminalRepr):
    """A failure's representation that can only print itself (of a doctest, a missing fixture): its print, twice."""

    def __init__(self, plain: str, coloured: str) -> None:
        self.plain = plain
        self.coloured = coloured

    def toterminal(self, tw: Any) -> None:
        tw.write(self.coloured if tw.hasmarkup else self.plain)


def _printed(representation: Any, markup: bool) -> str:
    text = io.StringIO()
    writer = TerminalWriter(text)
    writer.hasmarkup = markup
    representation.toterminal(writer)
    return text.getvalue()


def _subtest_counts(config: pytest.Config) -> Any:
    """pytest's count of failed subtests by test; None before pytest 9.0."""
    try:
        from _pytest.subtests import failed_subtests_key
    except ImportError:
        return None
    return config.stash.get(failed_subtests_key, None)


def with_extras(data: dict[str, Any], report: Any, config: pytest.Config) -> dict[str, Any]:
    """data, a serialized report, with what pytest's serialization loses."""
    longrepr = report.longrepr
    if isinstance(data.get("longrepr"), str) and not isinstance(longrepr, str) and hasattr(longrepr, "toterminal"):
        data["hasten_longrepr"] = (_printed(longrepr, False), _printed(longrepr, True))
    if type(report).__name__ == "SubtestReport":
        counts = _subtest_counts(config)
        key = getattr(report, "id", report.nodeid)
        data["hasten_subtest"] = (dict(report.context.kwargs), counts[key] if counts and key in counts else 0)
    return data


def take_extras(data: dict[str, Any]) -> dict[str, Any]:
    return {key: data.pop(key) for key in ("hasten_longrepr", "hasten_subtest") if key in data}


def apply_extras(report: Any, extras: dict[str, Any], config: pytest.Config) -> None:
    """Gives report, made from data without them, what with_extras has added."""
    if "hasten_longrepr" in extras:
        report.longrepr = RelayedRepr(*extras["hasten_longrepr"])
    if "hasten_subtest" in extras:
        kwargs, n_failed = extras["hasten_subtest"]
        object.__setattr__(report.context, "kwargs", kwargs)  # pytest 9.2 takes the repr of them once more
        counts = _subtest_counts(config)
        if counts is not None and n_failed:
            counts[getattr(report, "id", report.nodeid)] = n_failed


LATE = 0x80000000  # beside an affinity: CATALOG_LATE of store/catalog.h


def catalog_build(
    ids: list[str], columns: Iterable[tuple[int, int, int, int]], n_groups: int, python: bytes, needs: bytes = b""
) -> bytes:
    """The catalog of store/catalog.h. columns: (file, group, affinity, timeout_ms) of each id, in the same order."""
    encoded = [nodeid.encode("utf-8", "surrogatepass") for nodeid in ids]
    table = array.array("I")
    at = 0
    for raw, (file, group, affinity, timeout_ms) in zip(encoded, columns, strict=True):
        table.extend((at, len(raw), file, group, affinity, timeout_ms))
        at += len(raw)
    needs_at = _CATALOG_HEAD.size + len(table) * table.itemsize
    strings_at = needs_at + len(needs)
    places = (strings_at + at, len(python), strings_at, at, needs_at, len(needs))
    head = _CATALOG_HEAD.pack(CATALOG_MAGIC, len(ids), n_groups, *places)
    return b"".join((head, table.tobytes(), needs, *encoded, python))


def catalog_read(blob: bytes) -> tuple[list[str], Any]:
    """(node ids, Python part) of a catalog."""
    magic, n, _groups, python_at, python_size, strings_at, *_rest = _CATALOG_HEAD.unpack_from(blob)
    if magic != CATALOG_MAGIC:
        raise ValueError("not a catalog")
    table = array.array("I")
    table.frombytes(blob[_CATALOG_HEAD.size : _CATALOG_HEAD.size + n * 6 * table.itemsize])
    ids = [
        blob[strings_at + table[i] : strings_at + table[i] + table[i + 1]].decode("utf-8", "surrogatepass")
        for i in range(0, n * 6, 6)
    ]
    return ids, loads(blob[python_at : python_at + python_size])
