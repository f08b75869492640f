"""`hasten imports --fix`: edits that pass and save time are kept, the rest is taken back, and a kill breaks nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import find_program, wait_until
from test_imports import BUSY, measure, modules, program, write

pytest.importorskip("libcst")

COLLECT = ("--collect", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:pytest_cov")
FIX = ("--fix", "--form", "function")  # what `auto` is before 3.15
TESTS = """\
import app


def test_it():
    assert app.other() == "went"


def test_count():
    assert app.tools.seen == [1]


def test_slow():
    assert app.want()
"""


def make(folder: Path) -> None:
    """One import can go, one is needed at once after all, one breaks a test, one is what a test needs."""
    write(
        folder,
        app="""\
        import good  # good
        import needed
        import counted
        import tools
        import wanted


        def go():
            return good.x


        def other():
            return "went"


        def want():
            return wanted.x


        def early():
            return needed.x


        def count():
            return counted.x


        early()
        """,
        good=BUSY.format(0.07) + "x = 1\n",
        needed=BUSY.format(0.05) + "x = 1\n",
        counted=BUSY.format(0.04) + "import tools\ntools.seen.append(1)\nx = 1\n",
        tools="seen = []\n",
        wanted=BUSY.format(0.03) + "x = 1\n",
        test_app=TESTS,
    )


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.py")}


def leftovers(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if ".hasten-new" in path.name]


def fix(folder: Path, *args: str, status: int = 0, form: str = "function") -> dict[str, Any]:
    done = program(folder, "--fix", "--form", form, "--json", "--runs", "1", *args, timeout=600)
    assert done.returncode == status, done.stderr + done.stdout
    return json.loads(done.stdout) if done.stdout else {"stderr": done.stderr}


def test_what_passes_and_saves_is_kept(tmp_path: Path) -> None:
    make(tmp_path)
    before = files(tmp_path)
    dry = fix(tmp_path, "--dry-run", *COLLECT)
    assert files(tmp_path) == before
    assert not (tmp_path / ".hasten/imports-fix").exists()
    assert [one["outcome"] for one in dry["edits"]] == ["predicted"] * 3
    assert "-import good  # good\n" in dry["diff"]
    assert dry["edits"][0]["predicted"]["cpu"] >= 0.05

    done = fix(tmp_path, *COLLECT)
    told = {one["statements"][0]["statement"]: one for one in done["edits"]}
    assert told["import good"]["outcome"] == "kept"
    assert told["import good"]["measured"]["high"] < 1
    assert told["import needed"]["outcome"] == "taken back"
    assert "app.py:20 imports needed at once" in told["import needed"]["reason"]
    assert told["import counted"]["outcome"] == "taken back"
    assert "test_count" in told["import counted"]["reason"]
    reasons = {one["statement"]: one["reason"] for one in done["refused"] if not one["file"].endswith("/counted.py")}
    assert "never used here" in reasons["import tools"]
    assert reasons["import wanted"].startswith("1 of 3 tests need it")
    assert reasons["import app"].startswith("3 of 3 tests need it")

    after = files(tmp_path)
    assert {name for name in after if after[name] != before[name]} == {"app.py"}
    assert after["app.py"] == before["app.py"].replace("import good  # good\n", "", 1).replace(
        "def go():\n", "def go():\n    import good  # good\n"
    )
    assert "good" not in modules(measure(tmp_path, "app"))
    assert leftovers(tmp_path) == []

    (tmp_path / "good.py").write_text("x = 2\n")
    assert program(tmp_path, "--undo").stdout == "app.py is as it was\n"
    assert files(tmp_path)["app.py"] == before["app.py"]
    assert program(tmp_path, "--undo").stdout == "nothing to give back\n"


def test_a_check_of_ones_own(tmp_path: Path) -> None:
    make(tmp_path)
    before = files(tmp_path)
    done = fix(tmp_path, "--check", "grep -q '^import good' app.py", "--edits", "1", "app")
    assert [one["outcome"] for one in done["edits"]] == ["taken back"]
    assert "the check ended with status 1" in done["edits"][0]["reason"]
    assert files(tmp_path) == before
    failed = fix(tmp_path, "--check", "echo no such luck; false", "app", status=4)
    assert "the check fails before any change (status 1):\nno such luck\n" in failed["stderr"]
    assert files(tmp_path) == before


def test_what_somebody_else_changed_is_not_undone(tmp_path: Path) -> None:
    write(tmp_path, app="import good\ndef go(): return good\n", good=BUSY.format(0.05))
    assert fix(tmp_path, "app")["edits"][0]["outcome"] == "kept"
    with (tmp_path / "app.py").open("a") as file:
        file.write("x = 1\n")
    done = program(tmp_path, "--undo")
    assert done.returncode == 1
    assert "was changed since and stays" in done.stderr
    assert (tmp_path / "app.py").read_text().endswith("x = 1\n")
    copy = done.stderr.strip().rpartition(" ")[2]
    assert Path(copy).read_text() == "import good\ndef go(): return good\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_in_the_middle(tmp_path: Path, number: signal.Signals) -> None:
    """The check of the changed file stops it there."""
    write(tmp_path, app="import good\ndef go(): return good\n", good=BUSY.format(0.05))
    before = files(tmp_path)
    check = "if grep -q '^import' app.py; then exit 0; fi; touch changed; while test -e changed; do sleep 0.05; done"
    process = subprocess.Popen(
        [find_program(), "imports", "--python", sys.executable, "--runs", "1", *FIX, "--check", check, "app"],
        cwd=tmp_path, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until((tmp_path / "changed").exists, 180, "the changed file is being checked")
    assert files(tmp_path) != before
    process.send_signal(number)
    if number == signal.SIGKILL:
        (tmp_path / "changed").unlink()
    else:
        wait_until(lambda: files(tmp_path) == before or process.poll() is not None, 180, "it is given back")
        (tmp_path / "changed").unlink(missing_ok=True)
    _, err = process.communicate(timeout=180)
    if number == signal.SIGKILL:
        assert (tmp_path / "app.py").read_text() == "def go():\n    import good\n    return good\n"
        done = program(tmp_path, *FIX, "--runs", "1", "--edits", "1", "--check", "true", "app", timeout=600)
        assert done.returncode == 0, done.stderr
        assert "the last --fix was ended in the middle: app.py is as it was before\n" in done.stdout
        assert "-import good\n" in done.stdout
        program(tmp_path, "--undo")
    else:
        assert process.returncode == 2
        assert "interrupted; the files are as they were" in err
    assert files(tmp_path) == before
    assert leftovers(tmp_path) == []


def test_changes_that_are_not_committed_are_said(tmp_path: Path) -> None:
    write(tmp_path, app="import good\ndef go(): return good\n", good=BUSY.format(0.05))
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    assert fix(tmp_path, "app")["notes"] == []
    program(tmp_path, "--undo")
    with (tmp_path / "app.py").open("a") as file:
        file.write("x = 1\n")
    assert "app.py has changes that are not committed" in fix(tmp_path, "app")["notes"][0]
    assert (tmp_path / "app.py").read_text().endswith("x = 1\n")


def test_nothing_to_change(tmp_path: Path) -> None:
    write(tmp_path, app="import good\nx = good\n", good=BUSY.format(0.05))
    done = program(tmp_path, *FIX, "--runs", "1", "app")
    assert done.returncode == 0
    assert "import good (app.py:1): good is used at module level, line 2" in done.stdout
    assert done.stdout.endswith("nothing that can be changed safely saves enough\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--dry-run", "app"), "--dry-run is for --fix"),
        (("--fix", "--plugins"), "--plugins are not yours"),
        (("--fix", "--undo", "app"), "one at a time"),
        (("--fix", "--runs", "1", "wrong"), "nothing is changed"),
        (("-n", "2", "app"), "with --collect"),
        (("--fix", "--form", "odd", "app"), "--form"),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    write(tmp_path, app="", wrong="raise SystemExit(3)\n")
    done = program(tmp_path, *args)
    assert done.returncode == 4
    assert message in done.stderr.splitlines()[-1]


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="that one can")
def test_forms_that_this_interpreter_cannot_read(tmp_path: Path) -> None:
    write(tmp_path, app="")
    done = program(tmp_path, "--fix", "--form", "lazy", "--runs", "1", "app")
    assert done.returncode == 4
    assert "needs Python 3.15" in done.stderr


def test_without_libcst_it_says_what_to_install(tmp_path: Path) -> None:
    write(
        tmp_path,
        app="import good\ndef go(): return good\n",
        good=BUSY.format(0.05),
        block__libcst="raise ImportError\n",
    )
    done = program(tmp_path, *FIX, "--runs", "1", "app", env={"PYTHONPATH": str(tmp_path / "block")})
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "-m pip install libcst" in done.stderr


@pytest.mark.skipif(sys.version_info < (3, 15), reason="lazy imports came with 3.15")
@pytest.mark.parametrize("requires", ["", '[project]\nname = "x"\nrequires-python = ">=3.15"\n'])
def test_lazy_imports_where_the_interpreter_has_them(tmp_path: Path, requires: str) -> None:
    write(tmp_path, app="import good\ndef go(): return good\n", good=BUSY.format(0.05))
    (tmp_path / "pyproject.toml").write_text(requires)
    assert fix(tmp_path, "app", form="auto")["edits"][0]["outcome"] == "kept"
    text = (tmp_path / "app.py").read_text()
    assert text.startswith("lazy import good\n" if requires else '__lazy_modules__ = ["good"]\nimport good\n')
    profile = measure(tmp_path, "app")
    assert "good" not in modules(profile)
    assert "good" in profile["lazy_not_loaded"]


def test_sets_of_statements_together(tmp_path: Path) -> None:
    """--without, and the graph that other programs get, say the same."""
    from hasten.imports_graph import Graph

    write(
        tmp_path, app="import one\nimport two\nimport json\n", one="import shared\n", two="import shared\n", shared=""
    )
    profile = measure(tmp_path, "--without", "app.py:1", "--without", "./app.py:2", "app")
    numbers = [i for i, one in enumerate(profile["statements"]) if one["file"].endswith("/app.py") and one["line"] < 3]
    saving = Graph(profile).without(numbers)
    assert set(profile["without"]["gone"]) == set(saving.gone) == {"one", "two", "shared"}
    assert profile["without"]["saved"]["cpu"] == saving.cpu_ns / 1e9
    assert profile["without"]["saved"]["bytes"] == saving.bytes
    for at, one in enumerate(profile["statements"]):
        alone = Graph(profile).without([at])
        assert (alone.cpu_ns / 1e9, len(alone.gone)) == (one["saved"]["cpu"], one["saved"]["modules"])
    done = program(tmp_path, "--without", "app.py:9", "app")
    assert done.returncode == 4
    assert "no import was executed at 'app.py:9'" in done.stderr


def test_what_the_tests_of_a_run_need(tmp_path: Path) -> None:
    make(tmp_path)
    with (tmp_path / "test_app.py").open("a") as file:
        file.write("\n\ndef load():\n    import late\n    return late\n\n")
        file.write("".join(f"\ndef test_late{i}(tmp_path):\n    assert load().wait(tmp_path)\n" for i in range(2)))
    late = """
    import os, pathlib, time
    def wait(path):
        # Both workers are in one of these tests at the same time.
        (path.parent / f"here{os.getpid()}").touch()
        end = time.monotonic() + 60
        while len(list(path.parent.parent.glob("*/here*"))) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        return True
    """
    write(tmp_path, late=late + BUSY.format(0.03).replace("\n", "\n    "))
    run = measure(tmp_path, *COLLECT, "-n", "2", "--basetemp", str(tmp_path / "t"))["run"]
    assert (run["workers"], run["tests"]) == (2, 5)
    moves = {one["statements"][0]["statement"]: one for one in run["moves"]}
    assert moves["import good"]["tests"] == 0
    assert moves["import good"]["advice"] == "move"
    assert moves["import good"]["saved_per_run"] >= 0.05
    assert moves["import wanted"]["tests"] == 1
    assert moves["import wanted"]["workers"] == 1
    assert moves["import app"]["tests"] == 3
    (one,) = run["late"]
    assert (one["imports"], one["function"], one["workers"]) == (["late"], "load", 2)
    assert one["cpu"] >= 0.03
    assert one["saved_per_run"] >= 0.03
