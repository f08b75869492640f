"""Drives the built program on tiny suites, as a person would, and looks at what it leaves: results, trace, process."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import uuid
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TAG = "HASTEN_E2E_TAG"
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONDONTWRITEBYTECODE", "ASAN_OPTIONS")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes seconds; left out of a quick check (-m 'not slow').")


def find_program() -> str:
    """$HASTEN_PROGRAM, or the program beside this interpreter."""
    beside = Path(sys.executable).with_name("hasten")
    program = os.environ.get("HASTEN_PROGRAM") or (str(beside) if beside.exists() else shutil.which("hasten"))
    if not program:
        pytest.exit("hasten is not installed beside this Python; name the built program in HASTEN_PROGRAM", 4)
    return os.path.abspath(program)


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true answer of condition; fails the test when there is none in time."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.01)
    return answer


def tagged(tag: str) -> list[str]:
    """Every process (zombies aside) that carries this run's tag in its environment: 'pid command'."""
    wanted = f"{TAG}={tag}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                found.append(f"{folder.name} {command[:120]!r}")
        except OSError:
            continue
    return found


MODULES = "|".join(path.stem for path in Path(__file__).parents[2].glob("python/hasten/*.py"))
# A frame of the package in a Python traceback. The stacks that faulthandler prints have no comma after the line.
OWN_FRAME = re.compile(rf'/hasten/(?:{MODULES})\.py(?:", line \d+, in|:\d+:)')


@dataclasses.dataclass
class Case:
    """One <testcase> of the JUnit file."""

    name: str
    file: str
    outcome: str  # passed, failed, error or skipped; "failed+error" when it has both
    text: str


def read_cases(path: Path) -> list[Case]:
    cases = []
    for case in ET.parse(path).getroot().iter("testcase"):
        kinds = {"failure": "failed", "error": "error", "skipped": "skipped"}
        found = [kinds[child.tag] for child in case if child.tag in kinds]
        text = "\n".join((child.get("message") or "") + "\n" + (child.text or "") for child in case)
        cases.append(Case(case.get("name", ""), case.get("classname", ""), "+".join(found) or "passed", text))
    return cases


class Run:
    """One run of the program: started at once, over after finish()."""

    def __init__(self, folder: Path, args: tuple[str, ...], env: dict[str, str] | None, options: dict[str, Any]):
        self.folder = folder
        self.tag = uuid.uuid4().hex
        self.scratch = folder / ".e2e"
        self.scratch.mkdir(exist_ok=True)
        self.trace_path = self.scratch / f"trace-{self.tag}"
        self.junit_path = self.scratch / f"junit-{self.tag}.xml"
        environment = {key: os.environ[key] for key in INHERITED if key in os.environ}
        environment |= {TAG: self.tag, "HASTEN_TRACE": str(self.trace_path), "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= env or {}
        command = [find_program(), "run", "-p", "no:cacheprovider", f"--junitxml={self.junit_path}", *args]
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        self.process = subprocess.Popen(command, cwd=folder, env=environment, errors="replace", text=True, **options)
        self.status = -1
        self.out = self.err = ""

    def finish(self, timeout: float = 30) -> Run:
        """Waits for its end; nothing of it may be left then."""
        try:
            self.out, self.err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.end()
            self.out, self.err = self.process.communicate()
            pytest.fail(f"still running after {timeout} s\n{self.describe()}")
        self.status = self.process.returncode
        left = tagged(self.tag)
        assert not left, f"left behind: {left}\n{self.describe()}"
        return self

    def end(self) -> None:
        self.process.kill()
        for line in tagged(self.tag):
            try:
                os.kill(int(line.split()[0]), signal.SIGKILL)
            except ProcessLookupError:
                pass

    def describe(self) -> str:
        trace = self.trace_path.read_text() if self.trace_path.exists() else ""
        return f"status {self.status}\n{self.out}\n{self.err}\n{trace}"

    # ---- what it did

    def events(self, name: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """Events of the trace so far, in order of their clock."""
        if not self.trace_path.exists():
            return []
        lines = self.trace_path.read_text(errors="replace").split("\n")[:-1]
        events = sorted((json.loads(line) for line in lines), key=lambda event: event["t"])
        return [e for e in events if name in (None, e["ev"]) and all(e.get(k) == v for k, v in fields.items())]

    def wait_event(self, name: str, n: int = 1, seconds: float = 20, **fields: Any) -> dict[str, Any]:
        """The n-th event of that name, as soon as it is there."""
        wait_until(lambda: len(self.events(name, **fields)) >= n or self.process.poll() is not None, seconds, name)
        events = self.events(name, **fields)
        assert len(events) >= n, f"ended without {name}\n{self.describe()}"
        return events[n - 1]

    def wait_file(self, name: str, seconds: float = 20) -> str:
        """The content of a file that a test of the suite writes as a sign."""
        path = self.folder / name
        wait_until(lambda: path.exists() and path.read_text(), seconds, f"file {name}")
        return path.read_text()

    @property
    def reporter_pid(self) -> int:
        return int(self.wait_event("pytest_start")["pytest_pid"])

    def template_pid(self) -> int:
        """The child that the reporter has split off."""
        path = Path(f"/proc/{self.reporter_pid}/task/{self.reporter_pid}/children")
        pids = wait_until(lambda: path.read_text().split(), 20, "the template")
        return int(pids[0])

    def cases(self) -> list[Case]:
        assert self.junit_path.exists(), f"no JUnit file\n{self.describe()}"
        return read_cases(self.junit_path)

    def outcomes(self) -> dict[str, str]:
        """Outcome of each test by its name; fails the test when one was reported more than once."""
        cases = [case for case in self.cases() if case.name]  # pytest writes nameless ones for interrupted tests
        twice = [name for name, n in Counter((c.file, c.name) for c in cases).items() if n > 1]
        assert not twice, f"reported more than once: {twice}\n{self.describe()}"
        return {case.name: case.outcome for case in cases}

    def text_of(self, name: str) -> str:
        (case,) = [case for case in self.cases() if case.name == name]
        return case.text

    def no_traceback_of_ours(self) -> Run:
        for text in (self.out, self.err):
            assert not OWN_FRAME.search(text), self.describe()
            assert "INTERNALERROR" not in text, self.describe()
        return self


@pytest.fixture
def suite(tmp_path: Path) -> Callable[..., Path]:
    """Writes a suite: suite({"test_a.py": "..."}); returns its folder."""

    def write(files: dict[str, str]) -> Path:
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return tmp_path

    return write


@pytest.fixture
def start_hasten() -> Iterator[Callable[..., Run]]:
    """start_hasten(folder, *args, env=..., **Popen's options) -> Run that is under way."""
    runs: list[Run] = []

    def start(folder: Path, *args: str, env: dict[str, str] | None = None, **options: Any) -> Run:
        runs.append(Run(folder, args, env, options))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None or tagged(run.tag):
            run.end()
            run.process.communicate()


@pytest.fixture
def run_hasten(start_hasten: Callable[..., Run]) -> Callable[..., Run]:
    """run_hasten(folder, *args, timeout=30, env=...) -> Run that is over."""

    def run(folder: Path, *args: str, timeout: float = 30, env: dict[str, str] | None = None, **options: Any) -> Run:
        return start_hasten(folder, *args, env=env, **options).finish(timeout)

    return run


# ---- databases


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with one cache for a module: initdb takes seconds."""
    return {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")), "PYTHONPATH": "."}


@pytest.fixture
def keepers() -> Iterator[Callable[..., tuple[subprocess.Popen[str], dict[str, str]]]]:
    """keepers(*arguments, **Popen's): as servers.keeper_of, until the test's end."""
    from servers import keeper_of

    with contextlib.ExitStack() as stack:
        yield lambda *args, **options: stack.enter_context(keeper_of(*args, **options))


@pytest.fixture(scope="module")
def shared_keeper(tmp_path_factory: pytest.TempPathFactory, cache: dict[str, str]) -> Iterator[Any]:
    from pooler_keeper import keeping

    with keeping(tmp_path_factory.mktemp("keeper"), cache, "--pooler=true", "--postgres-reset=exact") as keeper:
        yield keeper


@pytest.fixture
def pooled(shared_keeper: Any) -> Any:
    """A keeper with a pooler: a database as its template, and one idle session in the pool."""
    shared_keeper.begin_anew()
    return shared_keeper
