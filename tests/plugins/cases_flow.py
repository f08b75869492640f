"""Plugins that decide which tests run, in which order, how often and how long."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from plugin_case import Case, Result

MANY = """
    import pytest

    @pytest.mark.parametrize("n", range(12))
    def test_many(n):
        assert n != 5
"""


def random_numbers(result: Result) -> object:
    """What the tests drew from `random`: the same for the same seed."""
    return {nodeid: [s for r in reports for s in r["sections"]] for nodeid, reports in result.reports.items()}


def seed_line(result: Result) -> object:
    return result.lines(r"^Using --random")


FLAKY = """
    import pathlib, pytest

    TRIED = pathlib.Path(__file__).parent / "tried"

    def attempt(name):
        TRIED.mkdir(exist_ok=True)
        path = TRIED / name
        n = len(path.read_text()) if path.exists() else 0
        path.write_text("x" * (n + 1))
        return n

    @pytest.mark.parametrize("n", range(4))
    def test_second_time(n):
        print("attempt")
        assert attempt(f"second{n}") == 1

    def test_never():
        attempt("never")
        assert 0

    def test_always():
        pass
"""


def attempts(result: Result) -> object:
    return {name: len(result.read(name)) for name in result.names("tried/*")}


def suite_reruns(result: Result) -> None:
    """The limit counts for the run, not for each worker: three attempts more, whoever made them."""
    assert sum(attempts(result).values()) == 5 + 3, result.text()


DEPENDENCY = """
    import pytest
    from pytest_dependency import depends

    @pytest.mark.dependency()
    def test_base():
        pass

    @pytest.mark.dependency()
    def test_broken():
        assert 0

    def test_between():
        pass

    @pytest.mark.dependency(depends=["test_base"])
    def test_on_base():
        pass

    @pytest.mark.dependency(depends=["test_broken"])
    def test_on_broken():
        pass

    @pytest.mark.dependency(depends=["test_on_base"])
    @pytest.mark.parametrize("n", range(4))
    def test_on_that(n):
        pass

    def test_at_run_time(request):
        depends(request, ["test_on_base"])

    class TestClass:
        @pytest.mark.dependency()
        def test_one(self):
            pass

        @pytest.mark.dependency(depends=["test_one"], scope="class")
        def test_two(self):
            pass
"""
DEPENDENCY_SESSION = """
    import pytest

    @pytest.mark.dependency(depends=["test_a.py::test_base"], scope="session")
    @pytest.mark.parametrize("n", range(3))
    def test_far(n):
        pass
"""

ORDER = """
    import pathlib, pytest

    LOG = pathlib.Path(__file__).parent / "log"

    def log(name):
        with LOG.open("a") as f:
            f.write(name + "\\n")

    @pytest.mark.order(3)
    def test_three():
        log("three")
        assert LOG.read_text().split() == ["one", "two", "three"]

    @pytest.mark.order(1)
    def test_one():
        log("one")

    @pytest.mark.order(2)
    def test_two():
        log("two")
        assert LOG.read_text().split() == ["one", "two"]

    @pytest.mark.order(after="test_three")
    def test_after():
        log("after")
        assert LOG.read_text().split()[2:] == ["three", "after"]

    @pytest.mark.parametrize("n", range(6))
    def test_anywhere(n):
        pass
"""


def log_of(result: Result) -> object:
    return result.read("log")


def make_repository(folder: Path) -> None:
    def git(*args: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
        subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True)

    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    (folder / "test_b.py").write_text("def test_new():\n    pass\n\n\ndef test_newer():\n    assert 0\n")


def stored_durations(result: Result) -> object:
    return sorted(result.json(".test_durations"))


TIMEOUT = """
    import time, pytest

    @pytest.mark.timeout(0.5)
    def test_hangs():
        time.sleep(30)

    @pytest.mark.parametrize("n", range(4))
    def test_quick(n):
        pass

    @pytest.fixture
    def slow():
        time.sleep(30)

    @pytest.mark.timeout(0.5)
    def test_hangs_in_setup(slow):
        pass
"""


def killed_by_timeout(result: Result) -> None:
    """The thread method ends the process: one result for that test, and the others run."""
    outcomes = result.outcomes()
    assert len(outcomes) == 5, result.text()
    failed = [nodeid for nodeid, outcome in outcomes.items() if "failed" in outcome]
    assert failed == ["test_a.py::test_hangs"], result.text()
    assert result.status == 1
    assert re.search(r"Timeout|crash|ended", str(result.reports["test_a.py::test_hangs"])), result.text()


CASES = [
    Case("pytest-timeout", ("timeout",), {"test_a.py": TIMEOUT}, args=("--timeout=20",)),
    Case(
        "pytest-timeout",
        ("timeout",),
        {
            "test_a.py": TIMEOUT.partition("    @pytest.fixture")[0].replace(
                "timeout(0.5)", 'timeout(0.5, method="thread")'
            )
        },
        against="",  # plain pytest ends with it, pytest-xdist loses the result
        holds=killed_by_timeout,
        variant="thread",
    ),
    Case("pytest-timeout", ("timeout",), {"test_a.py": MANY}, args=("--session-timeout=60",), variant="session"),
    Case(
        "pytest-randomly",
        ("randomly",),
        {
            "test_a.py": """
                import random, pytest

                @pytest.mark.parametrize("n", range(8))
                def test_draw(n):
                    print(random.random())
                    assert n != 3
            """
        },
        args=("-p", "no:cacheprovider", "--randomly-seed=7", "-rP"),
        artefacts=lambda r: (random_numbers(r), seed_line(r)),
    ),
    Case(
        "pytest-random-order",
        ("random_order",),
        {"test_a.py": MANY},
        args=("--random-order", "--random-order-seed=7"),
        artefacts=seed_line,
    ),
    Case("pytest-rerunfailures", ("rerunfailures",), {"test_a.py": FLAKY}, args=("--reruns=2",), artefacts=attempts),
    Case(
        "pytest-rerunfailures",
        ("rerunfailures",),
        {"test_a.py": FLAKY.partition("    def test_never")[0].replace("== 1", "== 9").replace("range(4)", "range(5)")},
        args=("--reruns=2", "--max-suite-reruns=3"),
        starts=("auto", "early"),
        against="",  # which tests get the three is chance
        holds=suite_reruns,
        variant="suite",
    ),
    Case(
        "pytest-retry",
        ("pytest-retry",),
        {"test_a.py": FLAKY},
        args=("--retries=2",),
        starts=("auto", "early"),
        artefacts=lambda r: (attempts(r), r.lines("(failed on attempt|passed on attempt)")),
    ),
    Case("pytest-order", ("pytest_order",), {"test_a.py": ORDER}, artefacts=log_of),
    Case(
        "pytest-dependency",
        ("dependency",),
        {"test_a.py": DEPENDENCY, "test_b.py": MANY},
    ),
    Case(
        "pytest-dependency",
        ("dependency",),
        {"test_a.py": DEPENDENCY, "test_b.py": DEPENDENCY_SESSION, "test_c.py": MANY},
        variant="session",
    ),
    Case("pytest-repeat", ("repeat",), {"test_a.py": MANY}, args=("--count=3",)),
    Case("pytest-split", ("pytest-split",), {"test_a.py": MANY}, args=("--splits=2", "--group=1")),
    Case(
        "pytest-split",
        ("pytest-split",),
        {"test_a.py": MANY},
        args=("--store-durations",),
        artefacts=stored_durations,
        variant="store",
    ),
    Case(
        "pytest-picked",
        ("picked",),
        {"test_a.py": MANY},
        args=("--picked",),
        prepare=make_repository,
        artefacts=lambda r: r.lines("Changed test"),
    ),
]
