"""Collection through the cache of rewritten files, as a person meets it."""

from __future__ import annotations

import marshal
import os
import re
import subprocess
import sys
from pathlib import Path

from conftest import INHERITED

PASSING = {
    "conftest.py": "import pytest\n\n@pytest.fixture\ndef three():\n    assert 1\n    return 3\n",
    "test_a.py": "def test_a(three):\n    assert three == 4\n\ndef test_b():\n    assert True\n",
    "test_w.py": "def test_w():\n    assert (1, 'always true')\n",
    "test_d.py": "r'''PYTEST_DONT_REWRITE'''\ndef test_d():\n    x = 1\n    assert x == 2\n",
}


def pytest_run(folder: Path, *args: str, **env: str) -> str:
    environment = {key: os.environ[key] for key in INHERITED if key in os.environ and key != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *args]
    return subprocess.run(command, cwd=folder, env=environment | env, capture_output=True, text=True).stdout


def text(out: str) -> str:
    """Without what differs from run to run."""
    out = re.sub(r"=* ([^=]*) in \d+\.\d+s.*", r"\1", out)
    return "\n".join(line for line in out.splitlines() if not re.match("plugins:|-+ generated xml file", line))


def pycs(folder: Path) -> dict[str, tuple[bytes, object]]:
    """Each file that pytest has written: header without the time, and its code."""
    found = {}
    for path in sorted((folder / "__pycache__").glob("*-pytest-*.pyc")):
        data = path.read_bytes()
        found[path.name] = data[:8], marshal.loads(data[16:])
    return found


def test_a_cold_and_a_warm_run_say_what_pytest_says(suite, run_hasten):
    folder = suite(PASSING)
    plain = text(pytest_run(folder, PYTHONDONTWRITEBYTECODE="1"))
    assert "assertion is always true" in plain
    assert "assert 3 == 4" in plain
    for _ in range(2):
        run = run_hasten(folder, "-n", "0", env={"PYTHONDONTWRITEBYTECODE": "1"})
        assert text(run.out) == plain
    assert not list(folder.glob("__pycache__/*"))
    assert [p for p in (folder / ".hasten" / "cache").iterdir() if len(p.name) == 40]


def test_workers_use_the_cache_too(suite, run_hasten):
    folder = suite(PASSING)
    for start in ("template", "early", "template", "early"):
        run = run_hasten(folder, "-n", "2", f"--start={start}", env={"PYTHONDONTWRITEBYTECODE": "1"})
        assert run.outcomes() == {"test_a": "failed", "test_b": "passed", "test_w": "passed", "test_d": "failed"}
        assert "assert 3 == 4" in run.text_of("test_a")


def test_what_pytest_writes_beside_the_sources_stays_the_same(suite, run_hasten, tmp_path_factory):
    reference = tmp_path_factory.mktemp("plain")
    folder = suite(PASSING)
    for name, content in PASSING.items():
        (reference / name).write_text(content)
    pytest_run(reference)
    expected = pycs(reference)
    assert len(expected) == len(PASSING)
    for _ in range(2):  # the second time from our cache
        run_hasten(folder, "-n", "0", env={"PYTHONDONTWRITEBYTECODE": ""})
        assert pycs(folder) == expected
        for path in folder.glob("__pycache__/*"):
            path.unlink()


def test_a_file_that_does_not_compile_is_shown_as_ever(suite, run_hasten):
    folder = suite({"test_a.py": "def test_a(:\n    pass\n", "test_b.py": "import nothing_of_that_name\n"})
    plain = text(pytest_run(folder, PYTHONDONTWRITEBYTECODE="1"))
    assert "rewrite.py" in plain  # pytest shows its own frames here
    run = run_hasten(folder, "-n", "0", env={"PYTHONDONTWRITEBYTECODE": "1"})
    assert text(run.out) == plain


def test_one_switch_turns_it_off(suite, run_hasten):
    folder = suite(PASSING)
    run_hasten(folder, "-n", "0", "--no-fuse")
    run_hasten(folder, "-n", "0", env={"HASTEN_FUSE": "0"})
    assert not (folder / ".hasten" / "cache").exists()
