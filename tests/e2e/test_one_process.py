"""Options whose text has an order run in one process, and print byte for byte what plain pytest prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import INHERITED, find_program

SUITE = {
    "pytest.ini": "[pytest]\n",
    "conftest.py": "import pytest\n@pytest.fixture(scope='session')\ndef sess(tmp_path_factory): yield 1\n",
    "test_a.py": """import pytest
@pytest.fixture(scope="module", params=[1, 2])
def mod(request, sess): return request.param
@pytest.fixture
def fn(mod): yield mod
def test_a(fn): pass
def test_b(mod): assert mod == 1
def test_c(): pass
""",
    "test_b.py": "import unittest\nclass T(unittest.TestCase):\n    def test_u(self): pass\n",
}
CASES = {  # how often it runs, with which options
    "setup_show": (1, "--setup-show"),
    "setup_show_v_s": (1, "--setup-show -v -s -k test_b"),
    "setup_show_x": (1, "--setup-show -x --tb=short -rA"),
    "setup_show_q": (1, "--setup-show -q --color=yes"),
    "setup_only": (1, "--setup-only"),
    "setup_only_q": (1, "--setup-only -q test_a.py"),
    "setup_plan": (1, "--setup-plan"),
    "setup_plan_vv": (1, "--setup-plan -vv test_a.py::test_a"),
    "stepwise": (2, "--stepwise"),
    "stepwise_skip": (2, "--sw --sw-skip -q"),
    "stepwise_x": (2, "--sw -x --no-header"),
    "trace": (1, "--trace"),
    "trace_s": (1, "--trace -s -k test_c"),
    "trace_q": (1, "--trace -q test_b.py"),
}
FAST = ("setup_show", "stepwise", "trace_s")


def texts(folder: Path, command: list[str], args: str, times: int) -> list[str]:
    """Output, errors and status of each run in a fresh copy of the suite; times and the time of a cache aside."""
    folder.mkdir(parents=True)
    for name, text in SUITE.items():
        (folder / name).write_text(text)
    environment = {key: os.environ[key] for key in INHERITED if key in os.environ} | {"COLUMNS": "100"}
    found = []
    for _ in range(times):
        done = subprocess.run(
            [*command, *args.split()], cwd=folder, env=environment, input="c\n" * 20,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        text = f"{done.stdout}\n{done.stderr}\n{done.returncode}"
        for pattern, instead in ((r"\d+\.\d\ds", "N s"), (r"={3,}", "==="), (r"0:00:\d\d ago", "N ago")):
            text = re.sub(pattern, instead, text)
        found.append(text.replace(str(folder), "DIR"))
    return found


@pytest.mark.parametrize(
    "case", [case if case in FAST else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_text_is_byte_for_byte_pytests(tmp_path: Path, case: str) -> None:
    times, args = CASES[case]
    of_pytest = str(Path(sys.executable).with_name("pytest"))
    plain = texts(tmp_path / "plain" / "suite", [of_pytest], args, times)
    assert "test_" in plain[0]
    ours = [find_program(), "run", "--python", sys.executable, "-n2"]
    assert texts(tmp_path / "ours" / "suite", ours, args, times) == plain
