"""A PostgreSQL server for a module's tests, and the Python that has the tools that they are about."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import find_program, read_cases

HAS_POSTGRES = bool(shutil.which("initdb") or glob.glob("/usr/lib/postgresql/*/bin/initdb"))


def python_with(*modules: str) -> str:
    """That of the plugins' environment, or this one, if it has these modules; else the tests are skipped."""
    code = f"import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, {modules!r})))"
    for python in (os.environ.get("HASTEN_PLUGIN_PYTHON", ""), sys.executable):
        if python and subprocess.run([python, "-c", code], check=False).returncode == 0:
            return python
    pytest.skip(f"none of the environments has {', '.join(modules)}", allow_module_level=True)


def ask(control: str, request: str) -> str:
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(control)
        s.sendall(request.encode() + b"\n")
        answer = b""
        while part := s.recv(4096):
            answer += part
    return answer.decode().rstrip("\n")


def asker(control: str, kind: str = "postgres") -> Callable[..., str]:
    """ask(verb, worker="gw0", pid=1) of a keeper: what follows "ok "."""

    def say(verb: str, worker: str = "gw0", pid: int = 1) -> str:
        answer = ask(control, f"{verb} {kind} {worker} {pid}")
        assert answer.startswith("ok"), answer
        return answer[3:]

    return say


@contextlib.contextmanager
def keeper_of(*args: str, program: str = "", **options: Any) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A keeper for a process that only waits, and what it has said of itself. options: Popen's. Both end here."""
    held = subprocess.Popen(["sleep", "3600"])
    command = [program or find_program(), "db", "keep", "--pid", str(held.pid), "--root", "/", *args]
    keeper = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    try:
        assert keeper.stdout is not None
        yield keeper, dict(line.rstrip("\n").split(" ", 1) for line in keeper.stdout if " " in line)
    finally:
        for process in (keeper, held):
            process.terminate()
            process.wait(60)
        if keeper.stdout is not None:
            keeper.stdout.close()


def plain_outcomes(python: str, folder: Path, env: dict[str, str], *options: str) -> dict[str, str]:
    """Of each test by its name, without hasten."""
    path = folder / "plain.xml"
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={path}", *options]
    subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, check=False)
    return {case.name: case.outcome for case in read_cases(path)}


class Server:
    def __init__(self, url: str) -> None:
        self.url = url
        self.sockets = url.partition("host=")[2].partition("&")[0]
        self.user = "postgres"

    def rows(self, sql: str, database: str = "postgres") -> list[str]:
        """By psql: this process needs no driver."""
        command = ["psql", "-X", "-q", "-A", "-t", "-h", self.sockets, "-U", self.user, "-d", database, "-c", sql]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]

    def databases(self) -> set[str]:
        return set(self.rows("SELECT datname FROM pg_database")) - {"postgres", "template0", "template1"}

    def templates(self) -> set[str]:
        return {name for name in self.databases() if name.startswith("hasten_")}

    def clear(self) -> None:
        for name in self.databases():
            self.rows(f'ALTER DATABASE "{name}" WITH IS_TEMPLATE false')
            self.rows(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextlib.contextmanager
def postgres(cache: Path) -> Iterator[Server]:
    """A server as a project has one: it runs already, and knows nothing of a run."""
    env = os.environ | {"XDG_CACHE_HOME": str(cache), "HASTEN_DB_POOLER": "0"}
    with keeper_of("--postgres", env=env) as (_keeper, facts):
        assert ask(facts["control"], "ready postgres") == "ok"
        yield Server(facts["postgres"].replace("hasten_" + facts["run"] + "_%s", "postgres"))
