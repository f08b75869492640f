"""What bench/ says about a run: nothing is measured that was not the same run, and nothing measured is lost."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """bench("timing") -> the module; forgotten afterwards, as its siblings have names that others may use."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCH))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and Path(sys.modules[name].__file__ or "").parent == BENCH:
            del sys.modules[name]


def run(bench: Any, status: int = 0, wall_s: float = 1.0, timed_out: bool = False) -> Any:
    return bench("measure").Run(status, wall_s, 0.5, 0.1, 0, [], timed_out)


def timing_of(bench: Any, tmp_path: Path, runs: dict[str, list[Any]], **options: Any) -> tuple[Any, list[str]]:
    """A measurement whose runs are given: name -> (Run, counts), the last of them again and again; and the order."""
    module, order = bench("timing"), []
    cache = bench("suites").Cache(tmp_path)
    suite = bench("suites").Suite("some", "1", [])
    settings = argparse.Namespace(
        **{"workers": 2, "pairs": 2, "peer_pairs": 1, "memory": False, "resume": True} | options
    )

    class Timing(module.Timing):  # type: ignore[misc,name-defined]
        def _run(self, name: str, memory: bool) -> Any:
            order.append(name)
            found, counts = runs[name][0] if len(runs[name]) == 1 else runs[name].pop(0)
            return found, {**counts, "exit": found.status}

    for name in runs:
        program = bench("runner").program(cache, suite, name)
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch()
    return Timing(cache, suite, list(runs), settings), order


def test_a_runner_with_other_outcomes_has_no_figures(bench: Any, tmp_path: Path) -> None:
    same = (run(bench), {"passed": 3})
    runs = {"plain": [same], "hasten": [same], "zygote": [(run(bench, 1), {"passed": 2, "failed": 1})]}
    table = timing_of(bench, tmp_path, runs)[0].measure()
    assert table["zygote"] == {"says": "1 exit (0), 1 failed (0), 2 passed (3); in brackets plain's"}
    assert table["hasten"]["wall_ratio"] == 1.0


def test_a_runner_that_differs_once_has_no_figures(bench: Any, tmp_path: Path) -> None:
    same = (run(bench), {"passed": 3})
    runs = {"plain": [same], "xdist": [same, same, (run(bench), {"passed": 2})]}
    assert timing_of(bench, tmp_path, runs)[0].measure()["xdist"]["says"].startswith("2 passed (3)")


@pytest.mark.parametrize(
    ("known", "passed", "failed", "counts"), [(False, 2, 1, False), (True, 2, 1, True), (True, 2, 0, False)]
)
def test_only_a_suite_with_known_differences_may_differ(
    bench: Any, tmp_path: Path, known: bool, passed: int, failed: int, counts: bool
) -> None:
    runs = {"plain": [(run(bench), {"passed": 3})], "hasten": [(run(bench, 1), {"passed": passed, "failed": failed})]}
    measurement, _ = timing_of(bench, tmp_path, runs)
    if known:
        measurement.known.entries.append({"suite": "some", "runner": "any", "field": "outcome"})
    assert ("says" not in measurement.measure()["hasten"]) is counts


def test_a_peer_that_hangs_runs_once(bench: Any, tmp_path: Path) -> None:
    same = (run(bench), {"passed": 3})
    runs = {"plain": [same], "bistra": [(run(bench, -9, 60, timed_out=True), {})]}
    measurement, order = timing_of(bench, tmp_path, runs)
    assert "killed after 60 s" in measurement.measure()["bistra"]["says"]
    assert order.count("bistra") == 1


def test_an_interrupted_measurement_goes_on_where_it_stopped(bench: Any, tmp_path: Path) -> None:
    same = (run(bench), {"passed": 3})
    first, order = timing_of(bench, tmp_path, {"plain": [same], "hasten": [same]}, pairs=1)
    table = first.measure()
    again, repeated = timing_of(bench, tmp_path, {"plain": [same], "hasten": [same]}, pairs=1)
    assert again.measure() == table
    assert (order, repeated) == (["plain", "hasten", "plain", "hasten"], [])
    more, added = timing_of(bench, tmp_path, {"plain": [same], "hasten": [same]}, pairs=2)
    more.measure()
    assert sorted(added) == ["hasten", "plain"]


def test_runs_of_another_number_of_workers_are_not_taken_over(bench: Any, tmp_path: Path) -> None:
    same = (run(bench), {"passed": 3})
    timing_of(bench, tmp_path, {"plain": [same]}, pairs=1)[0].measure()
    other, order = timing_of(bench, tmp_path, {"plain": [same]}, pairs=1, workers=4)
    other.measure()
    assert order == ["plain", "plain"]


def test_cpu_time_of_an_orphan_is_counted(bench: Any) -> None:
    assert bench("measure").self_check() >= 0.6


def test_the_last_line_is_counted(bench: Any) -> None:
    last_line = bench("timing").last_line
    assert last_line("x\n=== 2 failed, 3 passed, 1 error in 0.1s ===\n") == {"failed": 2, "passed": 3, "error": 1}
    assert last_line("no summary") == {}


def test_processes_of_a_run_have_roles(bench: Any) -> None:
    tree = [(10, 1), (11, 10), (12, 11), (13, 12), (14, 12)]
    processes = [{"pid": pid, "parent": parent, "pss_bytes": pid, "cpu_s": 1.0} for pid, parent in tree]
    roles = bench("synthetic")._roles(processes)
    assert roles == {"supervisor": (10, 1.0), "reporter": (11, 1.0), "template": (12, 1.0), "workers": (27, 2.0)}
