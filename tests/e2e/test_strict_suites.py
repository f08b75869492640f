"""Suites that turn every warning into an error start and pass, as with plain pytest."""

import pathlib
import subprocess
import sys

import pytest

SUITE = {
    "pytest.ini": "[pytest]\nfilterwarnings = error\n",
    "test_one.py": "def test_one():\n    pass\n\n\ndef test_two():\n    pass\n",
}


@pytest.fixture
def suite(tmp_path: pathlib.Path) -> pathlib.Path:
    for name, text in SUITE.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def program() -> pathlib.Path:
    """The hasten that is installed beside this Python."""
    return pathlib.Path(sys.executable).parent / "hasten"


def test_hasten_was_imported_before_pytest_is_no_warning(suite: pathlib.Path) -> None:
    done = subprocess.run([program(), "run", "-n", "2"], cwd=suite, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "arning" not in done.stdout + done.stderr
