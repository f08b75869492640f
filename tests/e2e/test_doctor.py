"""`hasten doctor` on a suite that is worse than it has to be: each defect is seen, and a fix is measured and kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import INHERITED, find_program

from hasten.doctor.advice import Candidate
from hasten.doctor.examine import Examination
from hasten.doctor.suite import Suite, Variant

BURN = "import time\nend = time.thread_time() + {}\nwhile time.thread_time() < end:\n    pass\n"
# Plugins that happen to be installed take most of a small suite's time, and no test here is about them.
NO_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
FILES = {
    "pytest.ini": "[pytest]\npythonpath = .\nlog_cli = true\nlog_level = DEBUG\n",
    "slow.py": BURN.format(0.2) + "value = 1\n",
    "tests/test_import.py": "import slow\n\ndef later():\n    return slow.value\n\ndef test_import():\n    pass\n",
    "tests/test_sleep.py": "import time\n\ndef test_sleep():\n    time.sleep(0.3)\n",
    "tests/test_fixtures.py": (
        "import time\nimport pytest\n\ndef burn():\n    end = time.thread_time() + 0.1\n"
        "    while time.thread_time() < end:\n        pass\n\n"
        "@pytest.fixture\ndef table():\n    burn()\n    return 1\n\n"
        "@pytest.fixture\ndef server():\n    burn()\n    yield 2\n\n"
        "def test_one(table):\n    assert table\n\ndef test_two(table):\n    assert table\n\n"
        "def test_no_server(server):\n    pass\n"
    ),
    "tests/test_files.py": (
        "def write():\n    open('shared.txt', 'a').close()\n\ndef test_file_one():\n    write()\n\n"
        "def test_file_two():\n    write()\n"
    ),
    **{f"data/d{i}/part.txt": "x" for i in range(25)},
}


def environment(**more: str) -> dict[str, str]:
    kept = {key: os.environ[key] for key in INHERITED if key in os.environ}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | NO_PLUGINS | more


def doctor(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [find_program(), "doctor", "--python", sys.executable, *args]
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600, check=False
    )


def test_each_defect_is_seen(suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = suite(FILES)
    monkeypatch.chdir(folder)
    for name, value in {**NO_PLUGINS, "PYTHONDONTWRITEBYTECODE": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("PYTEST_ADDOPTS", "COVERAGE_CORE"):
        monkeypatch.delenv(name, raising=False)
    with Suite(find_program(), ["-p", "no:cacheprovider"], "2") as measured:
        examination = Examination(measured, 2, 3, 600.0, lambda text: None)
        facts = examination.look()
        found = examination.propose(facts)
    candidates = {one.key: one for one in found if isinstance(one, Candidate)}
    assert facts.outcomes.keys() == {f"tests/{name}" for name in (
        "test_import.py::test_import", "test_sleep.py::test_sleep", "test_fixtures.py::test_one",
        "test_fixtures.py::test_two", "test_fixtures.py::test_no_server", "test_files.py::test_file_one",
        "test_files.py::test_file_two")}  # fmt: skip
    expected = {
        "parallel",
        "testpaths",
        "bytecode",
        "log_cli",
        "log_level",
        "import tests/test_import.py:1",
        "sleep tests/test_sleep.py:4",
        "fixture scope table tests/test_fixtures.py:9",
        "unused fixture server tests/test_fixtures.py:14",
    }
    assert expected <= candidates.keys()
    table = next(f for f in facts.seen["fixtures"] if f["name"] == "table")
    assert (table["n"], table["scope"]) == (2, "function")
    assert table["setup_s"] >= 0.2
    notes = {note.key: note for note in examination.notes}
    assert notes["shared"].details == [
        "shared.txt: written by tests/test_files.py::test_file_one, tests/test_files.py::test_file_two"
    ]
    # what rules propose can be tried: the same tests pass with all of it
    simulate = {key: value for one in candidates.values() for key, value in one.variant.simulate.items()}
    simulate = {"collector": True, **simulate}
    for name in ("thresholds", "not rewritten"):  # where these take long enough
        simulate.pop(name, None)
    assert simulate.keys() == {"sleeps", "scopes", "unused", "collector", "lazy"}
    with Suite(find_program(), ["-p", "no:cacheprovider"], "2") as measured:
        run = measured.run(Variant(simulate=simulate), observe=True)
    assert run.outcomes == facts.outcomes
    assert run.cpu_s > 0
    made = {f["name"]: f for f in run.facts["fixtures"] if f["place"]}
    assert made["table"]["n"] == 1
    assert made["server"]["setup_s"] < 0.1  # asked for, not made
    assert sum(seconds for _n, seconds in run.facts["sleeps"].values()) == 0


def test_a_test_that_depends_on_the_order_is_named_with_the_one_that_does_it(
    suite: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = suite(
        {
            "test_a.py": "import os\n\ndef test_victim():\n    assert 'MODE' not in os.environ\n",
            "test_b.py": "import os\n\ndef test_culprit():\n    os.environ['MODE'] = 'x'\n\ndef test_c():\n    pass\n",
        }
    )
    monkeypatch.chdir(folder)
    for name, value in NO_PLUGINS.items():
        monkeypatch.setenv(name, value)
    with Suite(find_program(), ["-p", "no:cacheprovider"], "2") as measured:
        examination = Examination(measured, 2, 3, 600.0, lambda text: None)
        examination.plain = measured.run().outcomes
        examination.orders()
    (note,) = examination.notes
    assert note.text == "test_a.py::test_victim depends on the order of tests"
    assert note.details[1] == "test_b.py::test_culprit"


def test_a_fix_is_measured_and_kept(suite: Callable[..., Path]) -> None:
    folder = suite(
        {
            "pytest.ini": "[pytest]\n# mine\nxfail_strict = true\n",
            "tests/test_a.py": "def test_a():\n    pass\n",
            "data/conftest.py": BURN.format(0.25),
            **{f"data/d{i}/part.txt": "x" for i in range(25)},
        }
    )
    done = doctor(
        folder, "--fix", "--json", "--pairs", "3", "-n", "1", "--no-orders", "--no-lines", "--no-interpreters"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = json.loads(done.stdout)
    found = {one["key"]: one for one in page["candidates"]}
    assert found["testpaths"]["advised"]
    assert found["testpaths"]["saving"]["seconds"] > 0.12
    assert found["testpaths"]["fixed"].startswith("kept in pytest.ini")
    assert (folder / "pytest.ini").read_text().startswith("[pytest]\n")
    assert {"testpaths = tests", "# mine"} <= set((folder / "pytest.ini").read_text().splitlines())
    assert "+testpaths = tests" in page["diff"]
    assert page["total_s"] > 0.25
    assert {"collection", "tests"} <= {part["name"] for part in page["parts"]}


def test_bad_input_is_one_line(suite: Callable[..., Path]) -> None:
    folder = suite({"test_a.py": "def helper():\n    pass\n"})
    cases = {
        (): "pytest ended with status 5",
        ("--budget", "soon"): "'soon' is no time",
        ("--pairs", "2"): "at least 3",
    }
    for args, said in cases.items():
        done = doctor(folder, *args)
        assert done.returncode == 4, done.stdout + done.stderr
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
