"""Random small suites: hasten says what plain pytest says, to the letter, and what suites see is the same.

`make fuzz-suites` runs many more. A mismatch found there becomes a folder in tests/suites/found/, whose name says what
was wrong; each of them is a test here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import find_program

SUITES = Path(__file__).parent.parent / "suites"
sys.path.append(str(SUITES))

from generator import Suite, make  # noqa: E402
from generator.differential import Mode, Stage, check, modes_of  # noqa: E402
from generator.suite import with_copies  # noqa: E402

SEEDS = range(50)
# Of suites whose modules do not depend on each other.
APART = (
    0,
    2,
    5,
    6,
    15,
    19,
    20,
    22,
    23,
    24,
    26,
    27,
    37,
    38,
    42,
    46,
    52,
    53,
    54,
    56,
    62,
    68,
    69,
    70,
    74,
    77,
    78,
    84,
    86,
    93,
)
FOUND = sorted(path.parent for path in (SUITES / "found").glob("*/suite.json"))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("stage"), find_program()) as stage:
        yield stage


def same(stage: Stage, suite: Suite, seed: int, modes: int, open_too: bool = False) -> None:
    for verdict in check(stage, suite, modes_of(seed, suite, modes), open_too):
        if verdict.found:
            lines = [str(difference) for difference in verdict.found[:10]]
            outputs = (f"--- {run.raw.status}\n{run.output[-3000:]}" for run in (verdict.plain, verdict.other))
            pytest.fail("\n".join((f"differs: {verdict.mode}", *lines, *outputs)), pytrace=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_suite_is_as_with_pytest(stage: Stage, seed: int) -> None:
    same(stage, make(seed), seed, 1)


@pytest.mark.slow
@pytest.mark.parametrize("recorded", [True, False], ids=["records", "text"])
@pytest.mark.parametrize("seed", APART)
def test_what_several_collect_is_as_with_pytest(stage: Stage, seed: int, recorded: bool) -> None:
    """Copies of modules meet where modules do not (a cache, a session fixture): one collector shows that, too."""
    suite = with_copies(make(seed), 2)
    if not recorded and any(".subTest(" in text for text in suite.files.values()):
        pytest.skip("known.is_letters() needs records")
    (verdict,) = check(stage, suite, [Mode(3, recorded=recorded, collectors=3)])
    if verdict.found:
        (once,) = check(stage, suite, [Mode(3, recorded=recorded)])
        left = {(d.field, d.key) for d in verdict.found} - {(d.field, d.key) for d in once.found}
        assert not left, f"differs: {verdict.mode}\n{verdict.other.output[-3000:]}"


@pytest.mark.parametrize("folder", FOUND, ids=lambda folder: folder.name)
def test_what_was_found_once_is_as_with_pytest(stage: Stage, folder: Path, request: pytest.FixtureRequest) -> None:
    """suite.json may say why it is still open; who puts it right removes that, and its line in generator/known.py."""
    reason = json.loads((folder / "suite.json").read_text()).get("open")
    if reason:
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    same(stage, Suite.load(folder), 0, 3, open_too=True)


def test_the_same_seed_gives_the_same_suite() -> None:
    assert make(7) == make(7)
    assert make(7) != make(8)


def test_a_difference_is_found(stage: Stage) -> None:
    """The comparison itself: a test that knows who runs it is told apart in its report, its steps and the status."""
    text = "import os\nfrom steps import step\n\ndef test_who():\n    own = 'PYTEST_XDIST_WORKER' in os.environ\n"
    text += "    step('own', own)\n    assert not own\n"
    suite = make(0)
    suite = Suite({name: suite.files[name] for name in ("steps.py", "helper.py")}, [], True)
    suite.files |= {"test_who.py": text, "pytest.ini": "[pytest]\npythonpath = .\n"}
    (verdict,) = check(stage, suite, modes_of(0, suite, 1))
    assert {"outcome", "long", "steps.log", "exit", "junit", "stats"} <= verdict.fields
