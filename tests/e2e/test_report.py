"""The closing line says what is true."""

from __future__ import annotations

import os
import re

SPIN = """
    import pytest, time

    @pytest.mark.parametrize("n", range(8))
    def test_spins(n):
        end = time.process_time() + 0.25
        while time.process_time() < end: pass
"""
SLEEP = SPIN.replace("process_time", "monotonic").replace(": pass", ": time.sleep(0.25)")


def closing(run):
    assert run.status == 0, run.describe()
    (line,) = [line for line in run.out.split("\n") if line.startswith("hasten: ")]
    return line


def test_waiting_for_a_core_is_no_gain(suite, run_hasten):
    core = min(os.sched_getaffinity(0))
    run = run_hasten(suite({"test_a.py": SPIN}), "-n4", preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    line = closing(run)
    assert "4 workers" in line
    found = re.search(r"\((\d+\.\d)x\)", line)
    assert not found or float(found[1]) <= 1.2, line  # 3.5 when waiting counts


def test_sleeping_at_the_same_time_is_a_gain(suite, run_hasten):
    line = closing(run_hasten(suite({"test_a.py": SLEEP.replace("0.25", "0.9")}), "-n4"))
    found = re.search(r"one worker would take about (\d\.\d) s \((\d\.\d)x\); 4 workers, \d+% idle", line)
    assert found, line
    assert float(found[1]) >= 2.0, line
    assert float(found[2]) >= 1.2, line


def test_a_tiny_suite_is_not_compared(suite, run_hasten):
    line = closing(run_hasten(suite({"test_a.py": "def test_a(): pass\ndef test_b(): pass\n"}), "-n2"))
    assert re.fullmatch(r"hasten: [\d.]+ m?s; 2 workers, \d+% idle", line), line


def test_quiet_has_no_closing_line(suite, run_hasten):
    run = run_hasten(suite({"test_a.py": SLEEP}), "-n4", "-q")
    assert run.status == 0
    assert "hasten" not in run.out + run.err


def test_resumed_tests_do_not_count_as_time_saved(suite, start_hasten, run_hasten):
    folder = suite(
        {
            "test_a.py": SLEEP
            + "    def test_last():\n        while not __import__('os').path.exists('go'): time.sleep(0.01)\n"
        }
    )
    run = start_hasten(folder, "-n2")
    run.wait_event("result", n=8)
    run.process.kill()
    run.process.communicate()
    (folder / "go").touch()
    line = closing(run_hasten(folder, "-n2", "--resume"))
    assert "one worker" not in line, line


def test_a_failure_in_code_without_a_file_shows_no_line_of_ours(suite, run_hasten):
    text = "def test_a(): exec('raise ValueError(1)')\ndef test_b(): exec('def f():\\n  raise KeyError(2)\\nf()')\n"
    for n in ("0", "2"):
        run = run_hasten(suite({"test_a.py": text}), "-n", n)
        assert run.out.count(">   ???\n") == 2, run.describe()
        assert "import sys" not in run.out
