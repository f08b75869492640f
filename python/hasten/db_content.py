"""Names of templates: a hash of everything that their content comes from, as far as that can be known.

A template is used only while all of this is as it was: what the adapter adds (files of migrations, settings, versions
of the server), which distributions are installed, and every module of the project that was imported when it was
built, test modules aside. The list of the latter is kept in the cache: it is not the same in each worker, as tests
import, too. What is read elsewhere, of the environment or the clock, is not seen.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import site
import stat
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from hasten.db_adapt import note, worker_id
from hasten.plugin import state

FORMAT = "1"
TEST_MODULE = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|tests)\.py$")
DATA = (".py", ".sql", ".json", ".yaml", ".yml", ".xml", ".csv", ".txt", ".toml", ".ini", ".mako", ".jsonl", ".gz")
NOT_IN = {"__pycache__", "node_modules", "static", "staticfiles", "templates", "locale", "media", "tests", "test"}
LARGE = 4 << 20  # bytes; of larger files size and time are taken for their content
WAIT_S = 0.02


def cache_folder() -> Path:
    """The same folder as src/db/place.c's; made if it is not there. OSError."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):
        home = os.environ.get("HOME", "")
        base = f"{home}/.cache" if home.startswith("/") else f"{tempfile.gettempdir()}/hasten-cache-{os.geteuid()}"
    folder = Path(base, "hasten", "db")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _installed() -> tuple[list[str], list[str]]:
    """(folders that hold what is installed, the names of all distributions in them)."""
    folders = {os.path.realpath(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    folders.update(os.path.realpath(path) for path in [*site.getsitepackages(), site.getusersitepackages()])
    folders.update(os.path.realpath(path) for path in sys.path if path.endswith(("site-packages", "dist-packages")))
    names = []
    for folder in sorted(folders):
        try:
            names += sorted(name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info", ".pth")))
        except OSError:
            continue
    library = [os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    return [*sorted(folders), *library], names


def plain(value: object, depth: int = 0) -> str:
    """A text of a value of settings that is the same in every worker and every run that means the same."""
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value) if isinstance(value, os.PathLike) else value
        if isinstance(text, str):
            text = re.sub(rf"\b{re.escape(worker_id())}\b", "<worker>", text) if worker_id() else text
            temporary = tempfile.gettempdir()
            return repr("<tmp>" if text.startswith(temporary + "/") else text)
        return repr(text)
    if value is None or isinstance(value, bool | int | float | bytes):
        return repr(value)
    if depth < 12 and isinstance(value, dict):
        pairs = sorted(f"{plain(k, depth + 1)}:{plain(v, depth + 1)}" for k, v in value.items())
        return "{" + ",".join(pairs) + "}"
    if depth < 12 and isinstance(value, list | tuple | set | frozenset):
        texts = [plain(item, depth + 1) for item in value]
        return "[" + ",".join(sorted(texts) if isinstance(value, set | frozenset) else texts) + "]"
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def _warning_filters() -> str:
    """They decide which warnings a build shows, and which of them fail it."""
    config = getattr(state.worker, "config", None)
    if config is None:
        return repr(sys.warnoptions)
    options = getattr(config.known_args_namespace, "pythonwarnings", None)
    return repr((sys.warnoptions, config.getini("filterwarnings"), options))


class Content:
    """Gathers what a template comes from."""

    def __init__(self, adapter: str, root: Path | None = None) -> None:
        self.root = os.path.realpath(root or (state.db_root or os.getcwd()))
        self.parts: list[str] = [FORMAT, adapter, sys.version, sys.platform]
        self.library, names = _installed()
        self.files: dict[str, str] = {}
        self.parts += [repr(names), _warning_filters()]

    def add(self, *parts: object) -> None:
        self.parts.extend(plain(part) for part in parts)

    def is_ours(self, path: str) -> bool:
        """Not of an installed distribution, nor of Python."""
        inside = any(path.startswith(folder + "/") for folder in self.library)
        return not inside and not path.startswith(os.path.realpath(os.path.dirname(__file__)) + "/")

    def add_file(self, path: str) -> None:
        path = os.path.realpath(path)
        if path in self.files:
            return
        try:
            about = os.stat(path)
            if not stat.S_ISREG(about.st_mode):
                return
            if about.st_size > LARGE or not self.is_ours(path):
                self.files[path] = f"{about.st_size} {about.st_mtime_ns}"
                return
            with open(path, "rb") as f:
                self.files[path] = hashlib.sha256(f.read()).hexdigest()
        except OSError:
            return

    def add_tree(self, folder: str) -> None:
        """Code and data below a folder, tests aside."""
        for place, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if name not in NOT_IN and not name.startswith(".")]
            for name in names:
                if name.endswith(DATA) and not TEST_MODULE.search("/" + name):
                    self.add_file(os.path.join(place, name))

    def add_modules(self) -> None:
        """Those of the project that are imported."""
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if isinstance(path, str) and not TEST_MODULE.search(path):
                path = os.path.realpath(path)
                if self.is_ours(path):
                    self.add_file(path)

    def _name_of(self, path: str) -> str:
        return os.path.relpath(path, self.root)

    def base(self) -> str:
        """A name for this content that does not know yet what building it reads beside."""
        hashed = hashlib.sha256()
        for part in [*self.parts, *(f"{self._name_of(path)} {text}" for path, text in sorted(self.files.items()))]:
            data = part.encode("utf-8", "surrogatepass")
            hashed.update(b"%d:" % len(data) + data)
        return hashed.hexdigest()[:24]


class Key:
    """The name of a template. base: of what is known before; name: with the modules that building it has imported."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.base = content.base()
        self.name = self.base
        self.warnings: list[list[Any]] = []  # of a build by this worker
        self.refresh()

    def notes(self) -> dict[str, Any]:
        try:
            found = json.loads(self._memory().read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _memory(self) -> Path:
        return cache_folder() / f"{self.base}.json"

    def refresh(self) -> Key:
        """Another worker may have built it meanwhile, and have seen what it needs."""
        notes = self.notes()
        self.name = self._with(os.path.join(self.content.root, name) for name in notes["files"]) if notes else self.base
        return self

    def _with(self, paths: Iterable[str]) -> str:
        more = Content("more", Path(self.content.root))
        for path in paths:
            more.add_file(path)
            more.files.setdefault(os.path.realpath(path), "gone")
        texts = (f"{os.path.relpath(path, self.content.root)} {text}" for path, text in sorted(more.files.items()))
        return hashlib.sha256("\n".join([self.base, *texts]).encode("utf-8", "surrogatepass")).hexdigest()[:24]

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Around a build: notes the warnings that it shows."""
        show = warnings._showwarnmsg_impl  # type: ignore[attr-defined]

        def noted(message: Any) -> None:
            category = message.category
            self.warnings.append(
                [category.__module__, category.__qualname__, str(message.message), message.filename, message.lineno]
            )
            show(message)

        warnings._showwarnmsg_impl = noted  # type: ignore[attr-defined]
        try:
            yield
        finally:
            if warnings._showwarnmsg_impl is noted:  # type: ignore[attr-defined]
                warnings._showwarnmsg_impl = show  # type: ignore[attr-defined]

    def warn(self) -> None:
        """Who takes a copy shows the warnings of the build, too, or fails of them where they are errors."""
        for module, name, text, filename, line in self.notes().get("warnings", ()):
            category = getattr(sys.modules.get(module), name, UserWarning)
            warnings.warn_explicit(text, category, filename, line)

    def after_build(self) -> str:
        """The name for what was built now."""
        now = Content("now", Path(self.content.root))
        now.add_modules()
        paths = sorted(set(now.files) - set(self.content.files))
        names = [os.path.relpath(path, self.content.root) for path in paths]
        _write(self._memory(), json.dumps({"files": names, "warnings": self.warnings}).encode())
        return self.refresh().name


def _write(path: Path, data: bytes) -> None:
    half = path.with_name(f"{path.name}.{os.getpid()}")
    half.write_bytes(data)
    half.replace(path)


# ---- what was found not to work in this run, so that workers do not wait for each other in vain


def _run_id() -> str:
    return os.environ.get("PYTEST_XDIST_TESTRUNUID", "")


def give_up(key: Key, why: str) -> None:
    """No worker of this run waits for this template."""
    note("db_template_none", why)
    try:
        _write(cache_folder() / f"{key.base}.none", _run_id().encode())
    except OSError:
        pass


def is_given_up(key: Key) -> bool:
    try:
        return (cache_folder() / f"{key.base}.none").read_text(encoding="utf-8") == _run_id()
    except OSError:
        return False


class FileLock:
    """One builder of a template in the cache."""

    def __init__(self, name: str) -> None:
        self.fd = os.open(cache_folder() / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, is_done: Callable[[], bool]) -> bool:
        """True when it is ours; False when is_done, asked again and again, was true first."""
        while not is_done():
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except OSError:
                time.sleep(WAIT_S)
        return False

    def close(self) -> None:
        os.close(self.fd)


def quote(text: str) -> str:
    """Text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


Rows = list[tuple[Any, ...]]
