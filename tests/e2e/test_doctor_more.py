"""`hasten doctor` on suites that are worse in rarer ways, and on one that is too long for the time it has."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import INHERITED, find_program

from hasten.doctor.advice import Candidate
from hasten.doctor.conditions import Conditions
from hasten.doctor.examine import Examination, Extras
from hasten.doctor.suite import Suite, Variant

BURN = "    end = time.thread_time() + {}\n    while time.thread_time() < end:\n        pass\n"
# Runs a test that failed again, twice at the most, as plugins do that are made for it.
RETRY = (
    "from _pytest.runner import runtestprotocol\n\n"
    "def pytest_runtest_protocol(item, nextitem):\n"
    "    for attempt in range(3):\n"
    "        item._initrequest()\n"
    "        reports = runtestprotocol(item, nextitem=nextitem, log=False)\n"
    "        if not any(report.failed for report in reports):\n"
    "            break\n"
    "    for report in reports:\n"
    "        item.ihook.pytest_runtest_logreport(report=report)\n"
    "    return True\n"
)
FILES = {
    "pytest.ini": "[pytest]\npythonpath = .\nlog_file = all.log\nlog_cli_level = INFO\nnobody_knows = 1\n",
    "conftest.py": RETRY,
    "slow.py": "import time\nend = time.thread_time() + 0.15\nwhile time.thread_time() < end:\n    pass\n",
    "app.py": (
        "import slow\n\n\ndef pay():\n    return slow.end\n\n\n"
        "def price(n):\n    if n < 0:\n        return 0\n    return 2 * n\n"
    ),
    "tests/test_app.py": (
        "import time\n\nimport pytest\n\nimport app\n\n\n@pytest.fixture\ndef server():\n    yield 1\n"
        + BURN.format(0.06)
        + "\n\n@pytest.mark.parametrize('n', (1, 2, 3, 4))\ndef test_price(n):\n"
        + BURN.format(0.05)
        + "    assert app.price(n) == 2 * n\n\n\ndef test_nothing():\n    assert app.price(-1) == 0\n\n\n"
        "def test_one(server):\n    pass\n\n\ndef test_two(server):\n    pass\n\n\n"
        "def test_retried(tries=[]):\n" + BURN.format(0.05) + "    tries.append(1)\n    assert len(tries) > 2\n"
    ),
    "tests/test_long.py": "import time\n\n\ndef test_long():\n    time.sleep(0.4)\n    x = 1\n    time.sleep(0.4)\n",
    "tests/test_rows.py": (
        "import sqlite3\n\n\ndef test_rows(tmp_path):\n    data = sqlite3.connect(tmp_path / 'x.db')\n"
        "    data.execute('CREATE TABLE t (i)')\n    data.close()\n"
    ),
}


def test_rarer_defects_are_seen_and_what_is_proposed_can_be_tried(
    suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = suite(FILES)
    monkeypatch.chdir(folder)
    for name in ("PYTEST_ADDOPTS", "COVERAGE_CORE", "PYTHONHASHSEED", "COVERAGE_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    wrapper = folder / "other-python"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    wrapper.chmod(0o755)
    extras = Extras(lines=True, interpreters=[str(wrapper)], no_interpreters=False)
    with Suite(find_program(), ["-p", "no:cacheprovider"], "2") as measured:
        examination = Examination(measured, 2, 3, 600.0, lambda text: None, extras)
        facts = examination.look()
        found = {one.key: one for one in examination.propose(facts) if isinstance(one, Candidate)}
        notes = {note.key: note for note in examination.notes}
        retried = "tests/test_app.py::test_retried"
        assert facts.outcomes[retried] == "passed"
        expected = {
            "log_file",
            "retries",
            "sqlite",
            "teardown server tests/test_app.py:8",
            "import app.py:1",
            f"interpreter {wrapper}",
        }
        assert expected <= found.keys()
        assert "only production needs it" in found["import app.py:1"].do
        n, lost = facts.seen["attempts"][retried]
        assert n == 3
        assert lost >= 0.1
        effects = " ".join(notes["no effect"].details)
        assert "nobody_knows: nothing" in effects
        assert "log_cli_level: log_cli is off" in effects
        assert notes["tail"].details[0].endswith("  tests/test_long.py::test_long") or "split before line 7" in str(
            notes["tail"].details[0]
        )
        if sys.version_info >= (3, 12):
            assert "split before line 7" in notes["tail"].details[0]
        if importlib.util.find_spec("coverage"):
            same = found["same lines"].left_out
            assert set(same) == {f"tests/test_app.py::test_price[{n}]" for n in (2, 3, 4)}
        # what is proposed can be tried: nothing ends differently, and what was left out is not there
        simulate = {key: value for one in found.values() for key, value in one.variant.simulate.items()}
        left_out = set(simulate.get("left out", ()))
        run = measured.run(Variant(simulate={**simulate, "thresholds": [50_000, 20, 20], "not rewritten": ["json"]}))
        assert run.outcomes == {test: word for test, word in facts.outcomes.items() if test not in left_out}
        other = measured.run(found[f"interpreter {wrapper}"].variant)
        assert other.outcomes == facts.outcomes


def test_tests_that_follow_the_hash_seed_are_named(suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = suite(
        {
            "test_a.py": "import pytest\n\n@pytest.mark.parametrize('text', list('abcdefgh'))\ndef test_hash(text):\n"
            "    assert hash(text) % 2\n\ndef test_steady():\n    pass\n",
            "test_b.py": "import pytest\n\n@pytest.mark.parametrize('n', {'a', 'b', 'c', 'd'})\n"
            "def test_set(n):\n    pass\n",
        }
    )
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    with Suite(find_program(), ["-p", "no:cacheprovider"], "1") as measured:
        conditions = Conditions(measured, 1, {}, set(), dict, lambda text: None)
        notes = {note.key: note for note in conditions.seeds()}
    assert notes.keys() == {"hash seed", "hash seed collection"}
    assert "depend on the hash seed" in notes["hash seed"].text
    assert all(detail.startswith("test_a.py::test_hash[") for detail in notes["hash seed"].details)


def test_a_suite_that_is_too_long_is_estimated_from_a_part_in_bounded_time(suite: Callable[..., Path]) -> None:
    """360 tests of 0.1 s: 36 s, of which the doctor has a third."""
    one = (
        "import pytest\nfrom wait import wait\n\n@pytest.mark.parametrize('n', range(10))\n"
        "def test_waits(n):\n    wait()\n"
    )
    folder = suite(
        {
            "pytest.ini": "[pytest]\npythonpath = .\ntestpaths = tests\n",
            "wait.py": "import time\n\ndef wait():\n    time.sleep(0.1)\n",
            **{f"tests/test_{i:02}.py": one for i in range(36)},
        }
    )
    command = [find_program(), "doctor", "--python", sys.executable, "--json", "--within", "12s", "-n", "1"]
    environment = {key: os.environ[key] for key in INHERITED if key in os.environ}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    start = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    took = time.monotonic() - start
    assert done.returncode == 0, done.stdout + done.stderr
    page = json.loads(done.stdout)
    assert page["n_tests"] == 360
    assert page["total_s"] == pytest.approx(36, rel=0.3)
    assert took < 45, f"took {took:.0f} s of 12"  # the run under way may end, and the machine may be busy
    (sleep,) = [one for one in page["candidates"] if one["key"] == "sleep wait.py:4"]
    if sleep["saving"]["sure"]:
        assert sleep["saving"]["seconds"] == pytest.approx(36, rel=0.3)
        assert sleep["saving"]["scale"] > 5
    else:  # a machine so busy that there was no time for pairs: what was seen is said all the same
        details = [detail for note in page["notes"] if note["key"] == "time" for detail in note["details"]]
        assert any("wait.py:4 sleeps" in detail and "cannot save more than about" in detail for detail in details)


def test_a_suite_that_does_not_end_is_one_clear_line(suite: Callable[..., Path]) -> None:
    folder = suite({"test_a.py": "import time\n\ndef test_hangs():\n    time.sleep(600)\n"})
    command = [find_program(), "doctor", "--python", sys.executable, "--within", "2s"]
    environment = {key: os.environ[key] for key in INHERITED if key in os.environ}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert "could not be ended in time" in done.stderr
    assert len(done.stderr.splitlines()) == 1
