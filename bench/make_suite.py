#!/usr/bin/env python3
"""Writes a synthetic suite into a folder.

make_suite.py trivial FOLDER [--tests 5000]    tests that need nothing, 100 to a file
make_suite.py fixtures FOLDER [--tests 2000]   fixtures of all scopes, parameters, capsys, monkeypatch, tmp_path
make_suite.py uneven FOLDER [--scale 1]        300 tests that burn 21.6 s of CPU, 2 s at most, the longest ones last
make_suite.py uneven-sleep FOLDER [--scale 1]  the same, asleep: scheduling without the noise of a busy machine
make_suite.py heavy FOLDER [--generated]       340 tests behind a slow import: numpy, pandas and sqlalchemy if all
                                               are there, else (or with --generated) a package made for it
make_suite.py collect FOLDER [--tests 5000]    25 parametrized tests to a file, which works for 20 ms to make the values

--hold S: every worker stays for S seconds after its last test, so that all are there at one moment, with all that
their tests touched; plain pytest does not wait.
"""

import argparse
import pathlib
import random
import sys

UNEVEN_TESTS, UNEVEN_TOTAL_S, GIANTS, GIANT_S = 300, 21.6, 3, 2.0


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--tests", type=int)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the durations of the uneven suites")
    parser.add_argument("--generated", action="store_true")
    parser.add_argument("--hold", type=float, metavar="S")
    options = parser.parse_args(arguments)
    if options.folder.exists() and any(options.folder.iterdir()):
        parser.error(f"{options.folder} is not empty")
    write(options.folder / "pytest.ini", "[pytest]\n")
    KINDS[options.kind](options)
    if options.hold:
        with open(options.folder / "conftest.py", "a", encoding="utf-8") as conftest:
            conftest.write(HOLD.format(seconds=options.hold))
    return 0


HOLD = """

def pytest_sessionfinish(session):
    import time

    if hasattr(session.config, "workerinput"):
        time.sleep({seconds})
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def make_trivial(options):
    total = options.tests or 5000
    for first in range(0, total, 100):
        numbers = range(first, min(first + 100, total))
        tests = [f"def test_{number}():\n    assert {number} >= 0\n" for number in numbers]
        write(options.folder / f"test_{first // 100:04}.py", "\n\n".join(tests))


FIXTURES_CONFTEST = """\
import pytest

CLOSED = []


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    yield folder
    CLOSED.append("store")


@pytest.fixture(scope="package")
def catalogue(store):
    path = store / "catalogue"
    path.write_text("catalogue")
    yield path
    CLOSED.append("catalogue")


@pytest.fixture(scope="module")
def shelf(catalogue, request):
    shelf = {"module": request.module.__name__, "books": []}
    yield shelf
    assert shelf["books"], "a module's fixture is torn down after its tests"
    CLOSED.append("shelf")


@pytest.fixture(scope="class")
def row(shelf):
    yield []
    CLOSED.append("row")


@pytest.fixture
def book(shelf):
    book = {"title": len(shelf["books"])}
    shelf["books"].append(book)
    yield book
    book.clear()


@pytest.fixture(params=["hard", "soft"])
def cover(request):
    return request.param


@pytest.fixture(autouse=True)
def nothing_open(request):
    yield
    assert "store" not in CLOSED
"""

# 100 tests: 20 + 20 + 20 + 10 + 10 + 20
FIXTURES_MODULE = """\
import os

import pytest


@pytest.mark.parametrize("number", range(20))
def test_book(book, number):
    assert book["title"] >= 0


@pytest.mark.parametrize("text", [f"text {{n}}" for n in range(10)])
def test_cover(cover, text, capsys):
    print(cover, text)
    assert capsys.readouterr().out == f"{{cover}} {{text}}\\n"


@pytest.mark.parametrize(("left", "right"), [(n, n + 1) for n in range(20)])
def test_environment(monkeypatch, left, right):
    monkeypatch.setenv("HASTEN_BENCH_VALUE", str(left))
    assert int(os.environ["HASTEN_BENCH_VALUE"]) + 1 == right


@pytest.mark.parametrize("name", [f"name{{n}}" for n in range(10)])
def test_file(tmp_path, name):
    (tmp_path / name).write_text(name)
    assert (tmp_path / name).read_text() == name


@pytest.mark.parametrize("book", range(10))
def test_override(book, request):
    assert request.getfixturevalue("book") == book


class TestRow:
    @pytest.fixture(autouse=True)
    def fill(self, row, book):
        row.append(book)
        yield

    def setup_method(self, method):
        self.ready = method.__name__

    @pytest.mark.parametrize("number", range(10))
    def test_row(self, row, number):
        assert row and self.ready == "test_row"

    @pytest.mark.parametrize("number", range(10))
    def test_caplog(self, caplog, number):
        import logging

        logging.getLogger("{module}").warning("number %d", number)
        assert caplog.messages == [f"number {{number}}"]
"""


def make_fixtures(options):
    write(options.folder / "conftest.py", FIXTURES_CONFTEST)
    for number in range((options.tests or 2000) // 100):
        package = options.folder / f"package{number // 5}"
        write(package / "__init__.py", "")
        write(package / f"test_{number:03}.py", FIXTURES_MODULE.format(module=f"module{number}"))


def uneven_durations():
    """Seconds of each test in the order of the files: many short ones, a long tail, and giants at the end."""
    chance = random.Random(20261121)
    durations = [min(chance.lognormvariate(-3.5, 1.1), 0.8) for _ in range(UNEVEN_TESTS - GIANTS)]
    factor = (UNEVEN_TOTAL_S - GIANTS * GIANT_S) / sum(durations)
    return [duration * factor for duration in durations] + [GIANT_S] * GIANTS


UNEVEN_BURN = """\
import time


def spend(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
"""

UNEVEN_SLEEP = """\
import time


def spend(seconds):
    time.sleep(seconds)
"""


def make_uneven(options):
    write(options.folder / "spend.py", UNEVEN_SLEEP if options.kind == "uneven-sleep" else UNEVEN_BURN)
    durations = [duration * options.scale for duration in uneven_durations()]
    for first in range(0, len(durations), 10):
        tests = [
            f"def test_{first + number}():\n    spend({duration:.6f})\n"
            for number, duration in enumerate(durations[first : first + 10])
        ]
        write(options.folder / f"test_{first // 10:02}.py", "from spend import spend\n\n\n" + "\n\n".join(tests))


HEAVY_CONFTEST = """\
try:
    {attempt}
except ImportError:
    import slow

    LIBRARIES = slow.LIBRARIES
"""

HEAVY_ATTEMPT = """import numpy
    import pandas
    import sqlalchemy

    LIBRARIES = [numpy, pandas, sqlalchemy]"""

# Classes that are made when they are imported cost what real libraries cost: time, objects and memory.
SLOW_MODULE = """\
import dataclasses
import enum


class Kind{number}(enum.Enum):
{members}

"""

SLOW_CLASS = """\

@dataclasses.dataclass(order=True)
class Record{number}_{index}:
{fields}

"""


def make_heavy(options):
    attempt = "raise ImportError" if options.generated else HEAVY_ATTEMPT
    write(options.folder / "conftest.py", HEAVY_CONFTEST.format(attempt=attempt))
    modules = 150
    imports = "\n".join(f"from slow import part{number}" for number in range(modules))
    listed = ", ".join(f"part{number}" for number in range(modules))
    write(options.folder / "slow" / "__init__.py", f"{imports}\n\nLIBRARIES = [{listed}]\n")
    for number in range(modules):
        text = SLOW_MODULE.format(number=number, members="\n".join(f"    M{m} = {m}" for m in range(30)))
        for index in range(6):
            fields = "\n".join(f"    field{f}: int = {f}" for f in range(10))
            text += SLOW_CLASS.format(number=number, index=index, fields=fields)
        write(options.folder / "slow" / f"part{number}.py", text)
    for number in range(17):
        tests = [
            f"def test_{index}():\n    assert LIBRARIES[{index} % len(LIBRARIES)].__name__\n" for index in range(20)
        ]
        text = "from conftest import LIBRARIES\n\n\n" + "\n\n".join(tests)
        write(options.folder / f"test_heavy_{number:02}.py", text)


COLLECT = """import pytest


def make_cases(n):
    seen, at = [], {number}
    while len(seen) < n:
        at = (at * 1103515245 + 12345) % 2**31
        if all(at % small for small in range(3, 4000)):
            seen.append(at)
    return seen


@pytest.mark.parametrize("case", make_cases({n}))
def test_case(case):
    assert case % 3
"""


def make_collect(options):
    total = options.tests or 5000
    for first in range(0, total, 25):
        text = COLLECT.format(number=first + 1, n=min(25, total - first))
        write(options.folder / f"area{first // 500:02}" / f"test_collect_{first // 25:03}.py", text)


KINDS = {
    "collect": make_collect,
    "trivial": make_trivial,
    "fixtures": make_fixtures,
    "uneven": make_uneven,
    "uneven-sleep": make_uneven,
    "heavy": make_heavy,
}

if __name__ == "__main__":
    sys.exit(main())
