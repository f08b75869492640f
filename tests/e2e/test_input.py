"""Wrong input: one clear line, pytest's exit status, and no traceback of ours."""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest
from conftest import Run

OK = {"test_a.py": "def test_a(): pass\ndef test_b(): pass\n"}


def said(run: Run, *words: str) -> None:
    run.no_traceback_of_ours()
    assert "Traceback" not in run.err, run.describe()
    lines = [line for line in (run.out + run.err).split("\n") if all(word in line for word in words)]
    assert len(lines) == 1, run.describe()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--no-such-option"], ["unrecognized arguments", "--no-such-option"]),
        (["-n", "x"], ["error:", "-n", "'x'"]),
        (["-n", "-1"], ["error:", "-n"]),
        (["-n", "2", "--timeout", "abc"], ["error:", "--timeout", "abc"]),
        (["-n", "2", "--timeout=-3"], ["--timeout", "-3"]),
        (["-n", "2", "--dist", "wild"], ["error:", "--dist", "wild"]),
        (["-n", "2", "--max-worker-restart", "x"], ["--max-worker-restart", "'x'"]),
        (["-n", "2", "--worker-memory", "lots"], ["--worker-memory", "'lots'"]),
        (["-n", "100000"], ["100000"]),
        (["--python", "/nonexistent/python"], ["hasten:", "/nonexistent/python"]),
        (["--python"], ["hasten:", "--python"]),
        (["no_such_file.py"], ["ERROR: file or directory not found", "no_such_file.py"]),
        (["test_a.py::test_nothing"], ["ERROR: not found", "test_nothing"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value and value[0][0] == "-" else "",
)
def test_wrong_options_are_usage_errors(suite, run_hasten, args, words):
    run = run_hasten(suite(OK), *args)
    assert run.status == 4, run.describe()
    said(run, *words)


@pytest.mark.parametrize("args", [["-n2"], ["-n0"], ["-n2", "--start=early"]], ids=" ".join)
def test_no_tests_is_5(suite, run_hasten, args):
    run = run_hasten(suite({"test_none.py": ""}), *args)
    assert run.status == 5, run.describe()
    said(run, "no tests ran")


@pytest.mark.parametrize("text", ["raise RuntimeError('broken conftest')", "import no_such_module_x", "def ("])
def test_failing_conftest_is_4(suite, run_hasten, text):
    run = run_hasten(suite(OK | {"conftest.py": text + "\n"}), "-n2")
    assert run.status == 4, run.describe()
    assert "conftest.py" in run.err
    run.no_traceback_of_ours()


@pytest.mark.parametrize("args", [["-n2"], ["-n2", "--start=early"]], ids=" ".join)
@pytest.mark.parametrize("text", ["def (:", "raise ValueError('at import')", "import no_such_module_x"])
def test_error_at_collection_is_2(suite, run_hasten, text, args):
    run = run_hasten(suite(OK | {"test_bad.py": text + "\n"}), *args)
    assert run.status == 2, run.describe()
    said(run, "Interrupted: 1 error during collection")
    assert {case.outcome for case in run.cases()} == {"error"}


def test_error_at_collection_with_continue_runs_the_rest(suite, run_hasten):
    run = run_hasten(suite(OK | {"test_bad.py": "def (:\n"}), "-n2", "--continue-on-collection-errors")
    assert run.status == 1, run.describe()
    assert sorted(case.outcome for case in run.cases()) == ["error", "passed", "passed"]


def test_usage_error_in_a_hook_is_4(suite, run_hasten):
    conftest = "import pytest\ndef pytest_configure(config): raise pytest.UsageError('not like this')\n"
    run = run_hasten(suite(OK | {"conftest.py": conftest}), "-n2")
    assert run.status == 4, run.describe()
    said(run, "ERROR: not like this")


# ---- the disk


def test_small_tmpfs_that_is_full(suite, run_hasten, tmp_path_factory):
    place = tmp_path_factory.mktemp("small")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        many = "import pytest\n@pytest.mark.parametrize('i', range(60))\ndef test_m(i): assert i != 7, 'x' * 3000\n"
        (place / "pytest.ini").write_text("[pytest]\n")
        (place / "test_m.py").write_text(many)
        (place / ".e2e").symlink_to(suite({}))
        (place / "fill").write_bytes(b"x" * 44 * 1024)
        run = run_hasten(place, "-n2")
        assert "1 failed, 59 passed" in run.out, run.describe()
        assert run.err.count("no journal on disk") == 1, run.describe()
        assert run.status == 1
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_folder_that_cannot_be_made_is_said_once(suite, run_hasten):
    folder = suite(OK)
    (folder / ".hasten").write_text("a file is in the way")
    run = run_hasten(folder, "-n2")
    assert run.status == 0, run.describe()
    assert "2 passed" in run.out
    assert (run.out + run.err).count("hasten: no ") == 1, run.describe()


# ---- --resume


def newest_journal(folder: Path) -> Path:
    return max((folder / ".hasten" / "runs").glob("*.journal"), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flip"])
def test_damaged_journal_is_one_line_and_the_run_goes_on(suite, run_hasten, damage):
    folder = suite(OK)
    run_hasten(folder, "-n2")
    path = newest_journal(folder)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 0xFF
    path.write_bytes({"empty": b"", "text": b"no journal at all, but long enough", "cut": data[:40]}.get(damage, data))
    run = run_hasten(folder, "-n2", "--resume")
    assert run.status == 0, run.describe()
    assert run.outcomes() == {"test_a": "passed", "test_b": "passed"}
    run.no_traceback_of_ours()
    assert "resume" in run.out


def test_resume_of_nothing_runs_everything(suite, run_hasten):
    run = run_hasten(suite(OK), "-n2", "--resume")
    assert run.status == 0
    said(run, "nothing to resume")


def test_environment_of_the_program_may_be_empty(suite, run_hasten):
    run = run_hasten(suite(OK), "-n2", env={"HOME": "/nonexistent", "TMPDIR": "/nonexistent", "PATH": os.defpath})
    assert run.status == 0, run.describe()


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
def test_small_limit_of_file_sizes(suite, run_hasten, hard):
    """Shared memory is files to the kernel: a limit of the suite's files is no end of the run."""
    if hard and os.geteuid() == 0:
        pytest.skip("root lifts every limit")
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096 if hard else most))

    tests = "import pytest\n@pytest.mark.parametrize('i', range(40))\ndef test_many(i): pass\n"
    folder = suite({"test_a.py": tests})
    run = run_hasten(folder, "-n2", preexec_fn=limit, env={"HASTEN_TRACE": "/dev/null"})
    assert "40 passed" in run.out, run.describe()
    assert ("run in one process: files" in run.out) == hard


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_closed_standard_descriptors(suite, run_hasten, closed):
    """What is opened next must not take their place."""
    run = run_hasten(
        suite({"test_a.py": "def test_a(): print('out')\ndef test_b(): assert 0\n"}),
        "-n2",
        preexec_fn=lambda: [os.close(fd) for fd in closed] and None,
    )
    assert run.outcomes() == {"test_a": "passed", "test_b": "failed"}, run.describe()
    assert run.status == 1
