"""Random small programs: hasten's collector sees in them what coverage.py's C tracer sees, line by line, way by way.

`make fuzz-programs` runs many more. A difference found there becomes, made small, a file in tests/programs/found/.
"""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import pytest

pytest.importorskip("coverage")
pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="no sys.monitoring")

PROGRAMS = Path(__file__).parent.parent / "programs"
sys.path.append(str(PROGRAMS))

from program_runner import compare  # noqa: E402
from program_shrink import minimise  # noqa: E402
from program_writer import make  # noqa: E402

SEEDS = 500
AT_ONCE = 100
FOUND = sorted((PROGRAMS / "found").glob("*.py"))
KNOWN = sorted((PROGRAMS / "known").glob("*.py"))


def differing(programs: list[tuple[str, str]], folder: Path) -> dict[str, list[str]]:
    jobs = min(multiprocessing.cpu_count(), len(programs), 8)
    answers = dict(compare(sys.executable, folder, programs, jobs=jobs))
    assert len(answers) == len(programs)
    return {name: said for name, said in answers.items() if said}


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_random_programs_are_measured_as_by_coverage(first: int, tmp_path: Path) -> None:
    assert differing([(f"seed{i}", make(i)) for i in range(first, first + AT_ONCE)], tmp_path) == {}


def test_what_was_found_once_is_measured_as_by_coverage(tmp_path: Path) -> None:
    assert FOUND
    assert differing([(path.stem, path.read_text()) for path in FOUND], tmp_path) == {}


@pytest.mark.skipif(sys.version_info < (3, 13), reason="3.12 compiles it to something else")
def test_known_differences_are_still_there(tmp_path: Path) -> None:
    """docs/reference/coverage.md has a line for each."""
    assert KNOWN
    assert set(differing([(path.stem, path.read_text()) for path in KNOWN], tmp_path)) == {path.stem for path in KNOWN}


def test_a_difference_is_found_and_made_small(tmp_path: Path) -> None:
    """The comparison itself: a program that knows who measures it."""
    program = """
import sys
if sys.gettrace():
    for i in range(3):
        x = 1
else:
    x = 2
"""
    found = differing([("knows", program)], tmp_path)["knows"]
    assert {one.partition(":")[0] for one in found} >= {
        "lines raw lines",
        "branch executed_lines",
        "branch executed_branches",
    }

    def differs(text: str) -> bool:
        return bool(differing([("smaller", text)], tmp_path))

    assert minimise(program, differs, 60).count("\n") < program.count("\n")


def test_a_worker_that_dies_is_a_difference(tmp_path: Path) -> None:
    programs = [("dies", "import os\nos._exit(3)\n"), ("lives", "x = 1\n")]
    ((name, said),) = differing(programs, tmp_path).items()
    assert name == "dies"
    assert said[0].startswith("died: 3")


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_the_same_seed_gives_the_same_program() -> None:
    assert make(7) == make(7)
    assert make(7) != make(8)
