"""What a run has collected goes into coverage.py's data file: rows of its tables, in one order whoever writes them.

Two writers. In C (src/run/hitfile.h), past Python and SQLite, where the file is new and of the schema that we know; and
through coverage.py, for all others and for HASTEN_COV_WRITER=python. Both give the same rows.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from hasten import _native

SCHEMA = 7
SWITCH = "HASTEN_COV_WRITER"
ASIDE = ".hasten-coverage-"
OLD_S = 600
COLUMNS = {
    "line_bits": ("file_id", "context_id", "numbits"),
    "arc": ("file_id", "context_id", "fromno", "tono"),
}


def write(cov: Any, fd: int) -> tuple[set[str], int]:
    """Puts what lies in the memory into cov's data. -> (paths of what ran, how often there was no room)"""
    branch = bool(cov.config.branch)
    paths, contexts, own, n_lost = _native.covered_names(fd, branch)
    mapper: Callable[[str], str] = functools.cache(cov._file_mapper)
    ran = {path for path in paths if path is not None}
    data = cov._data
    data.set_context(cov.config.context)
    data.add_arcs({}) if branch else data.add_lines({})
    label = functools.partial(_label, cov.config.context)
    files = [path and mapper(path) for path in paths]
    labels = [None if context is None else label(context) for context in contexts]
    if not _write_directly(data, fd, branch, files, labels, label("") if own else None):
        lines, arcs, _n_lost = _native.covered(fd)
        found = arcs if branch else lines
        merged: dict[tuple[str, str], Any] = {}
        for (path, context), value in found.items():
            _join(merged, (mapper(path), label(context)), value)
        _write_slowly(data, merged, branch)
    return ran, n_lost


def _label(static: str | None, context: str) -> str:
    return "|".join(part for part in (static, context) if part)


# ---- in C


def _write_directly(
    data: Any, fd: int, branch: bool, files: list[str | None], labels: list[str | None], own: str | None
) -> bool:
    """files, labels: by number, None where nothing ran. own: what ran in no context. False: nothing was written."""
    from coverage import sqldata

    if os.environ.get(SWITCH) == "python" or sqldata.SCHEMA_VERSION != SCHEMA or not hasattr(data, "_hasher"):
        return False
    table = "arc" if branch else "line_bits"
    target = data.data_filename()
    with data._connect() as con:
        roots = _roots(con, table)
        if roots is None or data._no_disk:
            return False
        file_ids = _insert(con, "file", "path", {path for path in files if path is not None})
        context_ids = _insert(con, "context", "context", {label for label in [*labels, own] if label is not None})
        data._file_map.update(file_ids)
    digest = _write_aside(
        target,
        lambda path: _native.covered_write(
            fd,
            branch,
            [file_ids[file] if file is not None else 0 for file in files],
            [context_ids[label] if label is not None else 0 for label in labels],
            context_ids[own] if own is not None else 0,
            path,
            *roots,
        ),
    )
    if digest is None:
        return False
    _hash(data, [*sorted(file_ids), *sorted(context_ids), digest])
    return True


def _roots(con: Any, table: str) -> tuple[int, int] | None:
    """The pages where the table begins, and the index of its constraint. None: not as we know it, or not empty."""
    with con.execute(
        "SELECT name, rootpage FROM sqlite_master WHERE tbl_name = ? ORDER BY type DESC", (table,)
    ) as rows:
        found = list(rows)
    index = f"sqlite_autoindex_{table}_1"
    if [name for name, _root in found] != [table, index]:
        return None
    key = [column for column in COLUMNS[table] if column != "numbits"]
    with con.execute("SELECT name FROM pragma_table_info(?)", (table,)) as rows:
        columns = tuple(name for (name,) in rows)
    with con.execute("SELECT name FROM pragma_index_info(?)", (index,)) as rows:
        keys = [name for (name,) in rows]
    with con.execute(f"SELECT (SELECT count(*) FROM {table}), (SELECT count(*) FROM context)") as rows:
        counts = list(rows)
    if columns != COLUMNS[table] or keys != key or counts != [(0, 0)]:
        return None
    return found[0][1], found[1][1]


def _insert(con: Any, table: str, column: str, names: set[str]) -> dict[str, int]:
    con.executemany_void(f"INSERT OR IGNORE INTO {table} ({column}) VALUES (?)", [(name,) for name in sorted(names)])
    with con.execute(f"SELECT {column}, id FROM {table}") as rows:
        return dict(rows)


def name_aside(target: str) -> str:
    """A name of this process beside the target. Those of processes that were killed are removed.

    Another machine's process may write to the same folder: its file counts as left when it is old, too.
    """
    prefix = os.path.join(os.path.dirname(target), ASIDE)
    for path in glob.glob(glob.escape(prefix) + "*"):
        pid = path[len(prefix) :].partition("-")[0]
        with contextlib.suppress(OSError):
            if pid.isdigit() and time.time() - os.stat(path).st_mtime > OLD_S and not os.path.exists(f"/proc/{pid}"):
                os.unlink(path)
    return f"{prefix}{os.getpid()}"


def _write_aside(target: str, write_to: Callable[[str], str | None]) -> str | None:
    """Under a name that nobody takes for a data file: what a killed process leaves must not look like one."""
    aside = name_aside(target)
    os.replace(target, aside)
    try:
        digest = write_to(aside)
        os.replace(aside, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise
    return digest


# ---- through coverage.py


def _join(merged: dict[tuple[str, str], Any], key: tuple[str, str], value: Any) -> None:
    """Two paths may be one to the data file."""
    from coverage.numbits import numbits_union

    if key not in merged:
        merged[key] = value
    elif isinstance(value, set):
        merged[key] = merged[key] | value
    else:
        merged[key] = numbits_union(bytes(merged[key]), bytes(value))


def _write_slowly(data: Any, found: dict[tuple[str, str], Any], branch: bool) -> None:
    """One transaction; by coverage.py's own functions where its tables are not those that we know."""
    from coverage import sqldata

    if sqldata.SCHEMA_VERSION != SCHEMA:
        _add(data, found, branch)
        return
    ordered = sorted((key, value) for key, value in found.items() if value)
    with data._connect() as con:
        contexts = _insert(con, "context", "context", {context for (_path, context), _value in ordered})
        files = {path: data._file_id(path, add=True) for path in dict.fromkeys(path for (path, _), _ in ordered)}
        rows = [(files[path], contexts[context], value) for (path, context), value in ordered]
        if branch:
            _write_arcs(con, [(file, context, *arc) for file, context, arcs in rows for arc in _needed(arcs)])
        else:
            _write_lines(con, [(file, context, bytes(bits)) for file, context, bits in rows])
    _hash(data, [*sorted(files), *sorted(contexts), repr([row[2] for row in rows])])


def _add(data: Any, found: dict[tuple[str, str], Any], branch: bool) -> None:
    from coverage.numbits import numbits_to_nums

    for (path, label), value in found.items():
        data.set_context(label)
        if branch:
            data.add_arcs({path: _needed(value)})
        else:
            data.add_lines({path: numbits_to_nums(bytes(value))})


def _hash(data: Any, parts: list[str]) -> None:
    """coverage.py tells equal data files apart from others by this."""
    data._hasher.update(hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest())


def _write_arcs(con: Any, rows: list[Any]) -> None:
    con.executemany_void("INSERT OR IGNORE INTO arc (file_id, context_id, fromno, tono) VALUES (?, ?, ?, ?)", rows)


def _write_lines(con: Any, rows: list[Any]) -> None:
    from coverage.numbits import numbits_union

    with con.execute("SELECT file_id, context_id, numbits FROM line_bits") as cursor:
        old = {(file, context): bits for file, context, bits in cursor}
    if old:  # appended to
        rows = [(f, c, numbits_union(bits, old[f, c]) if (f, c) in old else bits) for f, c, bits in rows]
    con.executemany_void("INSERT OR REPLACE INTO line_bits (file_id, context_id, numbits) VALUES (?, ?, ?)", rows)


def _needed(arcs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without (line, line) where another arc leaves that line: it says no more than that the line ran."""
    known = set(arcs)
    leaving = {a for a, b in known if a != b}
    return sorted(arc for arc in known if arc[0] != arc[1] or arc[0] not in leaving)
