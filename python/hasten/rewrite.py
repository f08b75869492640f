"""A cache of assertion-rewritten test files by what they say: ``.hasten/cache`` in pytest's rootdir.

pytest keeps such code beside the sources, unless bytecode is not to be written (PYTHONDONTWRITEBYTECODE is usual in
containers), and up to 9.1 by the time of the source, which every checkout changes. This cache is asked only where
pytest has nothing and would rewrite; what pytest writes itself stays as it is. docs/decisions/0011 has the reasons.

An entry is one file, named after everything that its content depends on, put there by one atomic rename and read only
if its checksum is right. Losing any of them costs time. Whatever goes wrong with the disk, pytest rewrites as ever.
"""

from __future__ import annotations

import _imp
import functools
import hashlib
import importlib.util
import marshal
import os
import sys
import time
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hasten import collect, switch

FORMAT = b"hasten rewrite 1\n"
DIGEST = 20  # bytes
MAX_BYTES = 256 * 2**20  # of all entries
MAX_AGE_S = 30 * 86400  # since an entry was last of use
DAY_S = 86400
LEFT_OVER_S = 3600  # a temporary file this old belongs to nobody
# Shows what compilation depends on in this process: -O, -OO, -X no_debug_ranges, the format of marshal.
SAMPLE = "def f(a):\n    'doc'\n    assert a, 'text'\n    if __debug__:\n        return [b + 1 for b in a]\n"


def install(pluginmanager: pytest.PytestPluginManager) -> Rewrites | None:
    """Puts the cache into pytest's rewriting of this run's modules; None when it is off or pytest's is not known."""
    config = pluginmanager.getplugin("pytestconfig")
    if config is None or switch.is_off():
        return None
    from _pytest.assertion import rewrite

    original = getattr(rewrite, "_rewrite_test", None)
    if not isinstance(original, types.FunctionType) or _answers(original) is None:
        return None
    from hasten import _native

    rewrites = Rewrites(config, rewrite)
    rewrite._rewrite_test = _native.through(rewrites.find, original, rewrites.keep)
    rewrites.undo.append(("_rewrite_test", original))
    config.add_cleanup(rewrites.stop)
    if collect.is_known():
        read = rewrite._read_pyc
        quick = functools.partial(read_pyc, rewrites.with_hash, "_fix_code_filename" in read.__code__.co_names)
        rewrite._read_pyc = _native.through(quick, read, lambda *_: None)
        rewrites.undo.append(("_read_pyc", read))
    pluginmanager.register(rewrites, "hasten-rewrites")
    return rewrites


def _answers(rewrite_test: types.FunctionType) -> str | None:
    """What pytest's function answers beside the code: the source's 'hash' (from 9.2) or its 'stat'."""
    code = rewrite_test.__code__
    if code.co_argcount != 2 or "rewrite_asserts" not in code.co_names:
        return None
    if "source_hash" in code.co_names:
        return "hash"
    return "stat" if "stat" in code.co_names else None


def read_pyc(with_hash: bool, moves: bool, source: Path, pyc: Path, _trace: object = None) -> types.CodeType | None:
    """The code of pytest's own file, if it is valid: read at once, where pytest lets marshal read from the file, piece
    by piece (50 files of 100 tests: 8 ms instead of 49). None: pytest looks itself, and says what is wrong."""
    try:
        stat = None if with_hash else os.stat(source)
        with open(pyc, "rb") as f:
            data = f.read()
        if len(data) < 16 or data[:4] != importlib.util.MAGIC_NUMBER:
            return None
        if stat is None:
            valid = data[4:8] == b"\x03\0\0\0" and data[8:16] == importlib.util.source_hash(source.read_bytes())[:8]
        else:
            time_and_size = (int(stat.st_mtime) & 0xFFFFFFFF).to_bytes(4, "little") + (
                stat.st_size & 0xFFFFFFFF
            ).to_bytes(4, "little")
            valid = data[4:8] == b"\0\0\0\0" and data[8:16] == time_and_size
        code = marshal.loads(memoryview(data)[16:]) if valid else None
    except Exception:
        return None
    if not isinstance(code, types.CodeType):
        return None
    if moves and code.co_filename != str(source):
        _imp._fix_co_filename(code, str(source))  # type: ignore[attr-defined]
    return code


class Rewrites:
    """The cache of one config. pytest's function asks find first, and after a miss shows its own answer to keep."""

    def __init__(self, config: pytest.Config, rewrite: types.ModuleType) -> None:
        self.config = config
        self.rewriter = rewrite.AssertionRewriter
        self.parts = (rewrite.rewrite_asserts, self.rewriter.__init__, self.rewriter.run, self.rewriter.visit_Assert)
        self.module = rewrite
        self.with_hash = _answers(rewrite._rewrite_test) == "hash"
        self.environment = b""
        self.warning_types: tuple[type[Warning], ...] = ()
        self.pending: tuple[str, os.stat_result, Any] | None = None
        self.warned = False
        self.writes = True  # until the disk refuses
        self.written_bytes = 0
        self.counts = {"hit": 0, "miss": 0, "kept": 0}
        self.undo: list[tuple[str, Any]] = []  # pytest's own functions, by name

    def stop(self) -> None:
        while self.undo:
            setattr(self.module, *self.undo.pop())

    # ---- called by pytest in place of its own function

    def find(self, path: Path, config: pytest.Config) -> tuple[Any, types.CodeType] | None:
        self.pending = None
        try:
            return self._find(path, config)
        except Exception:
            return None  # pytest comes upon the same trouble, and says it in its own words

    def _find(self, path: Path, config: pytest.Config) -> tuple[Any, types.CodeType] | None:
        if config is not self.config or not self._is_own():
            return None
        filters = self._filters()
        if filters is None:
            return None
        stat = os.stat(path)
        source = path.read_bytes()
        name = self._name(source, filters)
        code = self._load(name)
        if code is not None:
            self.counts["hit"] += 1
            _imp._fix_co_filename(code, str(path))  # type: ignore[attr-defined]
            return (importlib.util.source_hash(source) if self.with_hash else stat), code
        self.counts["miss"] += 1
        show = warnings._showwarnmsg  # type: ignore[attr-defined]
        self.pending = name, stat, show
        self.warned = False

        def seen(message: Any) -> None:
            self.warned = True
            show(message)

        warnings._showwarnmsg = seen  # type: ignore[attr-defined]
        return None

    def keep(self, path: Path, _config: pytest.Config, result: tuple[Any, types.CodeType] | None) -> None:
        if self.pending is None:
            return
        name, stat, show = self.pending
        self.pending = None
        warnings._showwarnmsg = show  # type: ignore[attr-defined]
        if result is None or self.warned or not self.writes:
            return  # a file whose compilation warns is to warn in each run
        try:
            after = os.stat(path)
            fields = ("st_ino", "st_dev", "st_size", "st_mtime_ns", "st_ctime_ns")
            if all(getattr(stat, field) == getattr(after, field) for field in fields):
                self._store(name, result[1])
        except (OSError, ValueError):
            self.writes = False

    # ---- what an entry depends on

    def _is_own(self) -> bool:
        rewriter = self.rewriter
        return self.module.AssertionRewriter is rewriter and self.parts == (
            self.module.rewrite_asserts,
            rewriter.__init__,
            rewriter.run,
            rewriter.visit_Assert,
        )

    def _filters(self) -> str | None:
        """The warning filters that a warning of compiling or rewriting could meet; None: with memory, do not cache."""
        if not self.warning_types:
            from _pytest.warning_types import PytestAssertRewriteWarning

            self.warning_types = (SyntaxWarning, DeprecationWarning, FutureWarning, PytestAssertRewriteWarning)
        get = getattr(warnings, "_get_filters", None)  # 3.14: may be a context's own
        found = [warnings.defaultaction]  # type: ignore[attr-defined]
        for action, message, category, module, line in get() if get else warnings.filters:
            if any(issubclass(kind, category) for kind in self.warning_types):
                if action == "once":
                    return None
                found.append(f"{action} {message} {category} {module} {line}")
        return "\n".join(found)

    def _name(self, source: bytes, filters: str) -> str:
        if not self.environment:
            self.environment = self._describe_environment()
        digest = hashlib.blake2b(self.environment, digest_size=DIGEST)
        for part in (filters.encode("utf-8", "backslashreplace"), source):
            digest.update(b"%d\n" % len(part))
            digest.update(part)
        return digest.hexdigest()

    def _describe_environment(self) -> bytes:
        facts = (
            sys.implementation.cache_tag,
            sys.version,
            getattr(sys, "abiflags", ""),
            importlib.util.MAGIC_NUMBER,
            pytest.__version__,
            self.config.getini("enable_assertion_pass_hook"),
        )
        rewriting = Path(str(self.module.__file__)).read_bytes()
        sample = marshal.dumps(compile(SAMPLE, "sample", "exec", dont_inherit=True))
        return b"".join((FORMAT, repr(facts).encode(), hashlib.blake2b(rewriting).digest(), sample))

    # ---- files

    def _folder(self) -> str:
        return os.path.join(self.config.rootpath, ".hasten", "cache")

    def _load(self, name: str) -> types.CodeType | None:
        path = os.path.join(self._folder(), name)
        try:
            with open(path, "rb") as f:
                data = f.read()
                used = os.fstat(f.fileno()).st_mtime
        except OSError:
            return None
        start = len(FORMAT) + DIGEST
        if data[: len(FORMAT)] != FORMAT or data[len(FORMAT) : start] != _checksum(name, data[start:]):
            return None
        code = marshal.loads(data[start:])
        if time.time() - used > DAY_S:
            try:
                os.utime(path)
            except OSError:
                pass
        return code if isinstance(code, types.CodeType) else None

    def _store(self, name: str, code: types.CodeType) -> None:
        payload = marshal.dumps(code)
        data = b"".join((FORMAT, _checksum(name, payload), payload))
        folder = self._folder()
        if not os.path.isdir(folder):
            _make_folder(folder)
        _write(folder, name, data)
        self.written_bytes += len(data)
        self.counts["kept"] += 1

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        """Keeps the folder within its bounds: looks at most once a day, or when a quarter of it is new."""
        written, self.written_bytes = self.written_bytes, 0
        if not written or not self.writes:
            return
        try:
            settle(self._folder(), written)
        except (OSError, ValueError):
            self.writes = False


def _checksum(name: str, payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=DIGEST, key=name.encode()).digest()


def _make_folder(folder: str) -> None:
    """Also ``.hasten`` itself, which ignores itself in git."""
    os.makedirs(folder, exist_ok=True)
    ignore = os.path.join(os.path.dirname(folder), ".gitignore")
    if not os.path.exists(ignore):
        with open(ignore, "w", encoding="ascii") as f:
            f.write("*\n")


def _write(folder: str, name: str, data: bytes) -> None:
    """Complete or not at all, whoever else writes the same name."""
    path = os.path.join(folder, name)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as f:
            f.write(data)
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise


def settle(folder: str, written: int, now: float | None = None) -> None:
    """Notes how many bytes are new in the folder, and prunes it when that is due."""
    now = time.time() if now is None else now
    marker = os.path.join(folder, "pruned")
    try:
        with open(marker, encoding="ascii") as f:
            at, new = (int(part) for part in f.read().split())
    except (OSError, ValueError):
        at, new = 0, 0
    new += written
    if now - at > DAY_S or at > now or new > MAX_BYTES // 4:
        prune(folder, now)
        at, new = int(now), 0
    _write(folder, "pruned", b"%d %d\n" % (at, new))


def prune(folder: str, now: float) -> None:
    """Removes what nobody used for long, then the longest unused until the rest fits."""
    kept = []
    for used, size, path, is_temporary in _entries(folder):
        if now - used > (LEFT_OVER_S if is_temporary else MAX_AGE_S):
            _remove(path)
        elif not is_temporary:
            kept.append((used, size, path))
    excess = sum(size for _, size, _ in kept) - MAX_BYTES * 3 // 4
    if excess <= MAX_BYTES // 4:
        return
    for _, size, path in sorted(kept):
        if excess <= 0:
            return
        _remove(path)
        excess -= size


def _entries(folder: str) -> Iterator[tuple[float, int, str, bool]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                stat = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # somebody else removes it
            is_temporary = entry.name.endswith(".tmp")
            if is_temporary or len(entry.name) == 2 * DIGEST:
                yield stat.st_mtime, stat.st_size, entry.path, is_temporary


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
