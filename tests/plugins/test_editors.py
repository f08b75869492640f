"""VS Code's channel: one message for each test, with its right id, never mixed with another.

(PyCharm's channel is that of teamcity-messages: see cases_reports.py.)
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

SUITE = """
    import pytest

    @pytest.fixture
    def broken():
        raise RuntimeError("broken")

    @pytest.mark.parametrize("n", range(12))
    def test_passes(n):
        pass

    @pytest.mark.parametrize("n", range(6))
    def test_fails_at_length(n):
        assert "x" * 20000 == n

    def test_error(broken):
        pass

    @pytest.mark.skip
    def test_skipped():
        pass

    class TestClass:
        @pytest.mark.xfail
        def test_known(self):
            assert 0
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "sub" / "test_a.py").write_text(textwrap.dedent(SUITE))
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    shutil.copy(Path(__file__).with_name("vscode_channel.py"), plugins / "vscode_pytest.py")
    return folder


def listen(project: Path, command: list[str], **variables: str) -> tuple[list[dict[str, Any]], str]:
    """Runs the command with a pipe as the extension makes one; the messages that came, and the output."""
    pipe = project.parent / "pipe"
    os.mkfifo(pipe)
    received: list[bytes] = []

    def read() -> None:
        with pipe.open("rb") as f:
            received.append(f.read())

    keep_open = os.open(pipe, os.O_RDWR)  # so that the reader is there first, and ends when the run has ended
    reader = threading.Thread(target=read)
    reader.start()
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
    environment |= {
        "TEST_RUN_PIPE": str(pipe),
        "PYTHONPATH": str(project.parent / "plugins"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment |= variables
    try:
        done = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
    finally:
        os.close(keep_open)
        reader.join()
    messages = []
    rest = b"".join(received)
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        messages.append(json.loads(rest[:length]))
        rest = rest[length:]
    pipe.unlink()
    return messages, done.stdout + done.stderr


def results(messages: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    found = []
    for message in messages:
        for identity, result in message["params"]["result"].items():
            message = re.sub(r"^\[gw\d\] [^\n]*\n\n", "", result["message"] or "").strip()  # which worker it was
            found.append((identity, result["outcome"], message))
    return sorted(found)


@pytest.mark.parametrize("start", ["template", "early"])
def test_vscode_gets_one_message_for_each_test(project: Path, start: str) -> None:
    options = ["-p", "vscode_pytest", "--rootdir", str(project)]
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plain, out = listen(project, [sys.executable, "-m", "pytest", *options], **alone)
    expected = results(plain)
    assert len(expected) == 21, out
    program = str(Path(sys.executable).with_name("hasten"))
    own, out = listen(project, [program, "run", "--no-live", "-n", "2", "--start", start, *options], **alone)
    assert results(own) == expected, out


def test_vscode_gets_one_message_for_each_test_of_pytest_hasten(project: Path) -> None:
    """The extension runs pytest itself; --hasten stands in the project's addopts then."""
    (project / "pytest.ini").write_text("[pytest]\naddopts = --hasten=2\n")
    own, out = listen(project, [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "vscode_pytest"])
    found = results(own)
    assert len(found) == 21, out
    assert {identity.partition("::")[0] for identity, _, _ in found} == {str(project / "sub" / "test_a.py")}, out
