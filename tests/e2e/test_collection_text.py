"""What is printed when collection ends badly, and with -v: line for line what plain pytest prints."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
from twins import Result, Twins, normal

GOOD = {"test_a.py": "def test_a(): pass\ndef test_b(): pass\n", "test_c.py": "def test_c(): pass\n"}
USAGE = "import pytest\ndef {}: raise pytest.UsageError('used wrongly')\n"
SUB = {"sub/conftest.py": "raise RuntimeError('broken')\n", "sub/test_d.py": "def test_d(): pass\n"}
CASES: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "usage_in_modifyitems": ({"conftest.py": USAGE.format("pytest_collection_modifyitems(items)")}, ()),
    "usage_in_modifyitems_q": ({"conftest.py": USAGE.format("pytest_collection_modifyitems(items)")}, ("-q",)),
    "usage_in_modifyitems_v": ({"conftest.py": USAGE.format("pytest_collection_modifyitems(items)")}, ("-v",)),
    "usage_in_collection": ({"conftest.py": USAGE.format("pytest_collection(session)")}, ()),
    "usage_in_collection_finish": ({"conftest.py": USAGE.format("pytest_collection_finish(session)")}, ()),
    "usage_in_collect_file": ({"conftest.py": USAGE.format("pytest_collect_file(file_path)")}, ()),
    "usage_in_itemcollected": ({"conftest.py": USAGE.format("pytest_itemcollected(item)")}, ()),
    "usage_after_a_skipped_file": (
        {
            "test_s.py": "import pytest\npytest.skip('not here', allow_module_level=True)\n",
            "conftest.py": USAGE.format("pytest_collection_modifyitems(items)"),
        },
        (),
    ),
    "usage_after_a_broken_file": (
        {"test_s.py": "import nope_x\n", "conftest.py": USAGE.format("pytest_collection_modifyitems(items)")},
        (),
    ),
    "exit_in_modifyitems": (
        {"conftest.py": "import pytest\ndef pytest_collection_modifyitems(items): pytest.exit('enough', 3)\n"},
        (),
    ),
    "error_in_modifyitems": (
        {"conftest.py": "def pytest_collection_modifyitems(items): raise RuntimeError('q')\n"},
        (),
    ),
    "error_in_collection": ({"conftest.py": "def pytest_collection(session): raise RuntimeError('q')\n"}, ()),
    "file_not_found_beside_a_good_one": ({}, ("test_a.py", "no_such.py")),
    "test_not_found_beside_a_good_one": ({}, ("test_a.py", "test_c.py::test_no_such")),
    "error_in_a_conftest_below": (SUB, ()),
    "error_in_a_conftest_that_is_asked_for": (SUB, ("sub", "test_a.py")),
    "k_that_cannot_be_read": ({}, ("-k", "a b c (")),
    "k_that_cannot_be_read_vv": ({}, ("-vv", "-k", "a b c (")),
    "m_that_cannot_be_read": ({}, ("-m", "a b c (")),
    "broken_file": ({"test_s.py": "import nope_x\n"}, ()),
}


def both(
    tmp_path: Path, files: dict[str, str], *args: str, workers: tuple[str, ...] = ("-n", "2")
) -> tuple[Result, Result]:
    source = tmp_path / "source"
    for name, text in ({"pytest.ini": "[pytest]\n"} | files).items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return Twins(tmp_path, source).run(*args, workers=workers)


def shape(result: Result) -> str:
    """The text without frames between the first and the last line of an internal error: they name who calls hooks."""
    lines = re.sub(r"={3,}", "===", result.text()).split("\n")
    return "\n".join(
        line for line in lines if not line.startswith(("INTERNALERROR>  ", "INTERNALERROR> Trace", "hasten: "))
    )


FAST = ("usage_in_modifyitems", "error_in_modifyitems", "file_not_found_beside_a_good_one", "k_that_cannot_be_read_vv")


@pytest.mark.parametrize(
    "case", [case if case in FAST else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_bad_end_of_collection_reads_as_in_pytest(tmp_path: Path, case: str) -> None:
    files, args = CASES[case]
    plain, hasten = both(tmp_path, GOOD | files, *args)
    assert hasten.status == plain.status, plain.raw + hasten.raw
    assert shape(hasten) == shape(plain), plain.raw + hasten.raw
    assert normal(hasten.err, str(hasten.folder)) == normal(plain.err, str(plain.folder))


def test_early_workers_tell_of_a_bad_end_once(tmp_path: Path) -> None:
    plain, _ = both(tmp_path, GOOD | CASES["usage_in_modifyitems"][0])
    again = Twins(tmp_path / "early", tmp_path / "source").run(workers=("-n", "2", "--start=early"))[1]
    assert again.status == plain.status
    assert shape(again) == shape(plain), again.raw


LINES = """
import pytest

def test_passes(): pass
def test_fails(): assert 0
@pytest.mark.skip(reason="not here " * 20)
def test_skips(): pass
@pytest.mark.xfail(reason="known")
def test_xfails(): assert 0
@pytest.mark.xfail
def test_xpasses(): pass
@pytest.fixture
def bad(): 1 / 0
@pytest.fixture
def late():
    yield
    1 / 0
def test_errs(bad): pass
def test_errs_late(late): pass
@pytest.mark.parametrize("x", ["a", "b" * 150, "c\\nd"])
def test_many(x): pass
@pytest.fixture
def talks():
    import logging
    log = logging.getLogger()
    log.info("set up")
    yield log
    log.info("torn down")
def test_logs(talks):
    talks.info("said")
    talks.warning("twice")
class TestClass:
    def test_method(self): pass
"""
VERBOSE = {
    "v": ("-v",),
    "vv": ("-vv", "-ra"),
    "count": ("-v", "-o", "console_output_style=count"),
    "classic": ("-v", "-o", "console_output_style=classic"),
    "log_cli": ("-v", "--log-cli-level=INFO"),
    "log_cli_q": ("-q", "--log-cli-level=INFO"),
    "colour": ("-v", "--color=yes"),
}


@pytest.mark.parametrize(
    "case", [case if case == "v" else pytest.param(case, marks=pytest.mark.slow) for case in VERBOSE]
)
def test_verbose_lines_are_pytests_own(tmp_path: Path, case: str) -> None:
    files = {"test_a.py": LINES, "test_b.py": "def test_b(): pass\n"}
    plain, hasten = both(tmp_path, files, *VERBOSE[case], workers=("-n", "1"))
    assert hasten.status == plain.status == 1
    assert progress(hasten) == progress(plain), plain.raw + hasten.raw
    assert shape(hasten) == shape(plain)


def progress(result: Result) -> list[str]:
    """Lines up to the first failure in full, colours and all."""
    return re.sub(r"={3,}", "===", result.out.replace(str(result.folder), "DIR")).partition("= ERRORS =")[0].split("\n")


def test_verbose_lines_of_two_workers_are_one_for_each_test(tmp_path: Path) -> None:
    tests = "import pytest\n@pytest.mark.parametrize('i', range(20))\ndef test_m(i): pass\n"
    plain, hasten = both(tmp_path, {"test_a.py": tests, "test_b.py": tests}, "-v")
    found = [re.findall(r"(?m)^(test_\w\.py::test_m\[\d+\]) PASSED +\[ *(\d+)%\]$", r.out) for r in (plain, hasten)]
    assert sorted(name for name, _ in found[1]) == sorted(name for name, _ in found[0])
    assert [percent for _, percent in found[1]] == [percent for _, percent in found[0]]
    assert len(found[0]) == 40
