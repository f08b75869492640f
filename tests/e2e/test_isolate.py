"""`hasten isolate` on suites whose culprit is known: what it names, what it says, and with which status it ends."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import INHERITED, find_program

FILLER = "import pytest\n\n@pytest.mark.parametrize('n', range(12))\ndef test_nothing(n):\n    pass\n"


def environment(**more: str) -> dict[str, str]:
    kept = {key: os.environ[key] for key in INHERITED if key in os.environ}
    # Plugins that happen to be installed take most of the time of each probe's process.
    return kept | {"PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | more


def isolate(folder: Path, test: str, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [find_program(), "isolate", test, "--python", sys.executable, "-n", "2", "--tries", "1", *args]
    return subprocess.run(
        command, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=240, check=False
    )


def answer(folder: Path, test: str, *args: str, status: int = 0, **more: str) -> dict[str, Any]:
    done = isolate(folder, test, "--json", *args, **more)
    assert done.returncode == status, done.stderr + done.stdout
    return json.loads(done.stdout)


def words(outcomes: list[dict[str, str]]) -> set[str]:
    return {outcome["word"] for outcome in outcomes}


POLLUTERS = {
    "module global": (
        {"shop.py": "debug = False\n"},
        "import shop\n\ndef test_culprit():\n    shop.debug = True\n",
        "import shop\n\ndef test_victim():\n    assert not shop.debug\n",
        "shop.debug: False -> True",
    ),
    "environment variable": (
        {},
        "import os\n\ndef test_culprit():\n    os.environ['MODE'] = 'test'\n",
        "import os\n\ndef test_victim():\n    assert 'MODE' not in os.environ\n",
        "os.environ['MODE'] = 'test'  (was not there)",
    ),
    "current folder": (
        {"data.txt": "1\n"},
        "import os\n\ndef test_culprit(tmp_path):\n    os.chdir(tmp_path)\n",
        "def test_victim():\n    assert open('data.txt').read() == '1\\n'\n",
        "the current folder: ",
    ),
    "sys.modules": (
        {"shop.py": "price = 1\n"},
        "import sys\nimport types\n\ndef test_culprit():\n    sys.modules['shop'] = types.ModuleType('shop')\n",
        "def test_victim():\n    import shop\n    assert shop.price == 1\n",
        "imported for the first time: shop",
    ),
    "builtin": (
        {},
        "import builtins\n\ndef test_culprit():\n    builtins.divmod = max\n",
        "def test_victim():\n    assert divmod(7, 2) == (3, 1)\n",
        "builtins.divmod: ",
    ),
}


@pytest.mark.parametrize("what", POLLUTERS)
def test_the_culprit_is_named_with_what_it_leaves_behind(suite: Callable[..., Path], what: str) -> None:
    files, culprit, victim, left = POLLUTERS[what]
    tests = {"test_a.py": FILLER, "test_b.py": FILLER + culprit, "test_c.py": FILLER, "test_d.py": FILLER + victim}
    folder = suite(files | tests | {"pytest.ini": "[pytest]\npythonpath = .\n"})
    found = answer(folder, "test_d.py::test_victim")
    assert found["culprits"] == ["test_b.py::test_culprit"]
    assert (words(found["alone"]), words(found["after"]), found["n_before"]) == ({"passed"}, {"failed"}, 49)
    lines = found["left"]["test_b.py::test_culprit"]
    assert any(line.startswith(left) for line in lines), lines
    assert found["command"] == ["pytest", "test_b.py::test_culprit", "test_d.py::test_victim"]
    again = subprocess.run(
        [sys.executable, "-m", *found["command"]], cwd=folder, env=environment(), capture_output=True, check=False
    )
    assert again.returncode == 1, again.stdout


def test_two_culprits_that_only_work_together(suite: Callable[..., Path]) -> None:
    folder = suite(
        {
            "pytest.ini": "[pytest]\npythonpath = .\n",
            "shop.py": "seen = set()\n",
            "test_a.py": "import shop\n" + FILLER + "def test_one():\n    shop.seen.add(1)\n",
            "test_b.py": "import shop\n" + FILLER + "def test_two():\n    shop.seen.add(2)\n",
            "test_c.py": "import shop\n\ndef test_victim():\n    assert shop.seen != {1, 2}\n",
        }
    )
    found = answer(folder, "test_victim")
    assert found["culprits"] == ["test_a.py::test_one", "test_b.py::test_two"]
    assert found["test"] == "test_c.py::test_victim"


def test_a_test_that_needs_another_one(suite: Callable[..., Path]) -> None:
    folder = suite(
        {
            "pytest.ini": "[pytest]\npythonpath = .\n",
            "shop.py": "ready = False\n",
            "test_a.py": FILLER + "def test_helper():\n    import shop\n    shop.ready = True\n",
            "test_b.py": "import shop\n" + FILLER + "def test_needy():\n    assert shop.ready\n",
        }
    )
    found = answer(folder, "test_b.py::test_needy")
    assert found["culprits"] == ["test_a.py::test_helper"]
    assert words(found["alone"]) == {"failed"}
    assert "needs one test before it" in found["verdict"]


def test_a_flaky_test_is_called_flaky(suite: Callable[..., Path]) -> None:
    body = """
        import pathlib

        def test_flaky():
            place = pathlib.Path(__file__).with_name("count")
            with place.open("a") as file:
                file.write("x")
            assert len(place.read_text()) % 2
    """
    folder = suite({"test_a.py": FILLER, "test_b.py": body})
    found = answer(folder, "test_b.py::test_flaky", "-n", "1", "--tries", "2", status=5)
    assert "flaky" in found["verdict"]
    assert words(found["alone"]) == {"passed", "failed"}


def test_a_test_that_depends_on_nobody(suite: Callable[..., Path]) -> None:
    folder = suite({"test_a.py": FILLER, "test_b.py": "def test_bad():\n    assert 0, 'always'\n", "test_c.py": FILLER})
    found = answer(folder, "test_b.py::test_bad", status=1)
    assert "does not depend" in found["verdict"]
    assert found["culprits"] == []
    assert any("12 tests that come after it" in note for note in found["notes"])


def test_what_comes_after_it_is_found_too(suite: Callable[..., Path]) -> None:
    folder = suite(
        {
            "test_a.py": "import os\n\ndef test_victim():\n    assert 'MODE' not in os.environ\n",
            "test_b.py": FILLER + "import os\n\ndef test_culprit():\n    os.environ['MODE'] = 'x'\n",
        }
    )
    found = answer(folder, "test_a.py::test_victim")
    assert found["culprits"] == ["test_b.py::test_culprit"]
    assert any("after it" in note for note in found["notes"])


def test_a_file_whose_import_is_enough(suite: Callable[..., Path]) -> None:
    folder = suite(
        {
            "test_a.py": FILLER,
            "test_b.py": "import os\nos.environ['MODE'] = 'imported'\n" + FILLER,
            "test_c.py": FILLER,
            "test_d.py": "import os\n\ndef test_victim():\n    assert 'MODE' not in os.environ\n",
        }
    )
    found = answer(folder, "test_d.py::test_victim")
    assert (found["files"], found["culprits"]) == (["test_b.py"], [])
    assert found["command"] == ["pytest", "test_b.py", "test_d.py::test_victim"]


def test_a_file_on_disk_outlives_the_processes(suite: Callable[..., Path]) -> None:
    folder = suite(
        {
            "test_a.py": FILLER + "def test_culprit():\n    open('flag', 'w').close()\n",
            "test_b.py": "import os\n\ndef test_victim():\n    assert not os.path.exists('flag')\n",
        }
    )
    found = answer(folder, "test_b.py::test_victim", status=6)
    assert "outlives their processes" in found["verdict"]


def test_a_test_before_it_that_kills_the_process_is_left_out(suite: Callable[..., Path]) -> None:
    folder = suite(
        {
            "test_a.py": FILLER + "import os\n\ndef test_deadly():\n    os.kill(os.getpid(), 9)\n",
            "test_b.py": FILLER + "import os\n\ndef test_culprit():\n    os.environ['MODE'] = 'x'\n",
            "test_c.py": "import os\n\ndef test_victim():\n    assert 'MODE' not in os.environ\n",
        }
    )
    found = answer(folder, "test_c.py::test_victim")
    assert found["culprits"] == ["test_b.py::test_culprit"]
    assert any("test_deadly" in note and "crashed" in note for note in found["notes"])


@pytest.mark.skipif("HASTEN_TEST_HEAVY" not in os.environ, reason="waits for time limits: HASTEN_TEST_HEAVY=1 runs it")
def test_a_hang_is_an_outcome(suite: Callable[..., Path]) -> None:
    folder = suite(
        {
            "test_a.py": FILLER + "import os\n\ndef test_culprit():\n    os.environ['MODE'] = 'x'\n",
            "test_b.py": "import os, signal\n\ndef test_victim():\n    'MODE' not in os.environ or signal.pause()\n",
        }
    )
    found = answer(folder, "test_b.py::test_victim", "--limit", "10s")
    assert found["culprits"] == ["test_a.py::test_culprit"]
    assert words(found["after"]) == {"hung"}


def test_fresh_processes_and_forks_find_the_same(suite: Callable[..., Path]) -> None:
    folder = suite(
        {
            "test_a.py": "import os\n\ndef test_culprit():\n    os.environ['MODE'] = 'x'\n",
            "test_b.py": "import os\n\ndef test_victim():\n    assert 'MODE' not in os.environ\n",
        }
    )
    found = answer(folder, "test_b.py::test_victim", "--fresh")
    assert found["culprits"] == ["test_a.py::test_culprit"]


def test_an_order_from_a_file_and_one_that_is_given(suite: Callable[..., Path]) -> None:
    folder = suite(
        {
            "test_a.py": "import os\n\ndef test_victim():\n    assert 'MODE' not in os.environ\n",
            "test_b.py": FILLER + "import os\n\ndef test_culprit():\n    os.environ['MODE'] = 'x'\n",
            "order": "test_b.py::test_nothing[3]\ntest_b.py::test_culprit\ntest_b.py::gone\ntest_a.py::test_victim\n",
        }
    )
    found = answer(folder, "test_a.py::test_victim", "--order", "order")
    assert (found["culprits"], found["n_before"]) == (["test_b.py::test_culprit"], 2)
    assert any("1 tests of the order were not collected" in note for note in found["notes"])
    given = answer(folder, "test_a.py::test_victim", "--after", "test_b.py::test_culprit")
    assert given["culprits"] == ["test_b.py::test_culprit"]


def test_options_of_plugins_in_the_configuration(suite: Callable[..., Path]) -> None:
    pytest.importorskip("pytest_cov")
    body = "import os\n\ndef test_culprit(worker_id):\n    assert worker_id == 'master'\n    os.environ['MODE'] = 'x'\n"
    folder = suite(
        {
            "pytest.ini": "[pytest]\naddopts = -n 2 --dist loadfile --cov=. --cov-report=term -x\n",
            "test_a.py": body,
            "test_b.py": "import os\n\ndef test_victim():\n    assert 'MODE' not in os.environ\n",
        }
    )
    installed = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": ""}
    found = answer(folder, "test_b.py::test_victim", **installed)
    assert found["culprits"] == ["test_a.py::test_culprit"]
    assert not (folder / ".coverage").exists()
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:pytest_cov -p no:xdist\n")
    (folder / "test_a.py").write_text(body.replace("worker_id", "tmp_path").replace("== 'master'", ""))
    assert answer(folder, "test_b.py::test_victim", **installed)["culprits"] == ["test_a.py::test_culprit"]


def test_the_order_of_the_worker_in_the_last_run(suite: Callable[..., Path]) -> None:
    folder = suite(
        {
            "test_a.py": "import os\n\ndef test_culprit():\n    os.environ['MODE'] = 'x'\n" + FILLER,
            "test_b.py": "import os\n\ndef test_victim():\n    assert 'MODE' not in os.environ\n",
        }
    )
    command = [find_program(), "run", "--python", sys.executable, "-n", "2", "--dist", "loadgroup", "-q"]
    (folder / "conftest.py").write_text(  # in the run, no worker goes on before both have a test
        "import os, pytest, time\n\n@pytest.fixture(autouse=True)\ndef both(request):\n"
        "    if worker := os.environ.get('PYTEST_XDIST_WORKER'):\n"
        "        ran = request.config.rootpath / 'ran'\n        ran.mkdir(exist_ok=True)\n"
        "        (ran / worker).touch()\n        end = time.monotonic() + 100\n"
        "        while len(os.listdir(ran)) < 2 and time.monotonic() < end:\n            time.sleep(0.01)\n\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        if 'nothing' not in item.name or '[5]' in item.name:\n"
        "            item.add_marker(pytest.mark.xdist_group('together'))\n"
    )
    ran = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    found = answer(folder, "test_b.py::test_victim", "--journal")
    assert found["culprits"] == ["test_a.py::test_culprit"]
    assert found["n_before"] < 13


def test_bad_input_is_one_line(suite: Callable[..., Path]) -> None:
    folder = suite(
        {"test_a.py": "import pytest\n\n@pytest.mark.parametrize('n', [1, 2])\ndef test_some(n):\n    pass\n"}
    )
    cases = {
        ("test_a.py::test_sme[1]",): "did you mean test_a.py::test_some[1]",
        ("test_a.py::test_some",): "is 2 tests; name one of them",
        ("test_a.py::test_some[1]", "--bogus-option"): "before it ran a test",
        ("test_a.py::test_some[1]", "--order", "nowhere"): "cannot read the order in 'nowhere'",
        ("test_a.py::test_some[1]", "--journal"): "no run of hasten has left a journal",
        ("test_a.py::test_some[1]", "-n", "many"): "'many' is no number",
        ("test_a.py::test_some[1]", "--journal=x", "--order=y"): "one at a time",
        ("--fresh",): "name the test first",
        ("test_a.py::test_some[1]", "--tries", "0"): "--tries is at least 1",
    }
    for args, said in cases.items():
        done = (
            isolate(folder, *args)
            if args[0] != "--fresh"
            else subprocess.run(
                [find_program(), "isolate", *args],
                cwd=folder,
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
            )
        )
        assert done.returncode == 4, shlex.join(args) + done.stdout + done.stderr
        assert said in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
