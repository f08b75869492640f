"""What `hasten run --cov` measures is what plain pytest with pytest-cov measures: lines, branches, contexts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import measured
import pytest

pytest.importorskip("pytest_cov")

Suite = Callable[..., Path]

SHOP = {
    "pytest.ini": "[pytest]\npythonpath = src\n",
    "src/shop/__init__.py": """
        from shop.price import total

        VERSION = "1"
        if VERSION == "2":
            NEWER = True
    """,
    "src/shop/price.py": '''
        """Prices."""
        import contextlib


        def total(items, sale=False):
            """Sum."""
            found = 0
            for item in items:
                if item < 0:
                    raise ValueError(
                        item,
                    )
                found += item
            else:
                found += 0
            if sale: return found // 2
            return found


        def each(items):
            with contextlib.suppress(KeyError):
                for item in items:
                    yield item
                raise KeyError


        def risky(value):
            try:
                return 10 // value
            except ZeroDivisionError:
                return None
            finally:
                value = 0


        def kind(value):
            match value:
                case int():
                    return "number"
                case [first, *_]:
                    return first
                case _:
                    return "other"


        class Basket:
            limit = 3

            def __init__(self):
                self.items = []

            def add(self, item):
                while len(self.items) >= self.limit:
                    self.items.pop()
                self.items.append(item)
                return [x for x in self.items if x]

            @property
            def unused(self):
                return 1
    ''',
    "src/shop/never.py": "def nobody():\n    return 1\n",
    "src/shop/later.py": "def lazily(x):\n    return 1 if x else 2\n",
    "tests/conftest.py": """
        import os

        import pytest
        import shop

        STARTED = [x for x in range(3) if x]
        if os.environ.get("NOT_SET"):
            STARTED = []


        def pytest_configure(config):
            config.addinivalue_line("markers", "own: a mark of this suite")


        @pytest.fixture
        def basket():
            made = shop.price.Basket()
            yield made
            made.add(1)
    """,
    "tests/test_price.py": """
        import pytest
        from shop import price, total


        def test_total():
            assert total([1, 2]) == 3


        def test_negative():
            with pytest.raises(ValueError):
                total([-1])


        @pytest.mark.parametrize("n", range(4))
        def test_basket(basket, n):
            for i in range(n + 1):
                basket.add(i)
            assert basket.items


        @pytest.mark.parametrize("value", [0, 5])
        def test_risky(value):
            assert price.risky(value) in (None, 2)


        def test_each():
            assert list(price.each([1])) == [1]


        @pytest.mark.parametrize("value", [1, [7], "x"])
        def test_kind(value):
            assert price.kind(value)
    """,
    "tests/test_more.py": """
        import asyncio
        import threading
        import unittest


        def test_in_a_thread():
            from shop import later

            seen = []
            thread = threading.Thread(target=lambda: seen.append(later.lazily(0)))
            thread.start()
            thread.join()
            assert seen == [2]


        async def steps():
            for i in range(2):
                await asyncio.sleep(0)
                yield i


        def test_async():
            async def collect():
                return [x async for x in steps()]

            assert asyncio.run(collect()) == [0, 1]


        def test_executed():
            exec(compile("x = 1\\nif x:\\n    y = 2\\n", "made up", "exec"), {})


        class TestOld(unittest.TestCase):
            def test_case(self):
                self.assertTrue(True)
    """,
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import textwrap

    folder = tmp_path_factory.mktemp("shop")
    for name, text in SHOP.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    return folder


KINDS = {
    "lines": ("--cov=shop", "--cov=tests"),
    "branches": ("--cov=shop", "--cov=tests", "--cov-branch"),
    "contexts": ("--cov=shop", "--cov-context=test"),
    "contexts-and-branches": ("--cov=shop", "--cov-context=test", "--cov-branch"),
}
PLAIN: dict[str, Any] = {}


def plain_result(shop: Path, kind: str) -> tuple[Any, Any]:
    if kind not in PLAIN:
        run = measured.plainly(shop, *KINDS[kind], measured.REPORT)
        assert run.status == 0, run.text()
        PLAIN[kind] = run.files(), run.lines_by_context()
    return PLAIN[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("engine", "variant"), measured.EVERYWHERE)
def test_what_is_measured_is_the_same(shop: Path, kind: str, engine: str, variant: str) -> None:
    files, contexts = plain_result(shop, kind)
    run = measured.hasten(
        shop, *KINDS[kind], measured.REPORT, *measured.VARIANTS[variant], env=measured.ENGINES[engine]
    )
    assert run.status == 0, run.text()
    assert run.files() == files, run.text()
    assert run.lines_by_context() == contexts, run.text()
    assert run.left() == [".coverage"]
    assert "Warning" not in run.err, run.text()


def test_a_package_of_which_only_workers_know_is_not_said_to_be_unimported(shop: Path) -> None:
    """The reporter imports no test: what coverage.py warns of was decided there once."""
    run = measured.hasten(shop, "--cov=shop", "--cov=nowhere", measured.REPORT, "-n2")
    plain = measured.plainly(shop, "--cov=shop", "--cov=nowhere", measured.REPORT)
    assert "Module nowhere was never imported" in run.err, run.text()
    assert "Module shop" not in run.err, run.text()
    assert run.files() == plain.files()


@pytest.mark.parametrize("engine", measured.ENGINES)
def test_hooks_of_a_conftest_count_in_every_process(suite: Suite, engine: str) -> None:
    """The reporter's hooks run there only, those of a worker there only: a plain run has them in one process."""
    folder = suite(
        {
            "conftest.py": """
                def pytest_runtest_logreport(report):
                    if report.when == "call":
                        SEEN.append(report.nodeid)

                def pytest_runtest_setup(item):
                    SEEN.append(item.name)

                def pytest_terminal_summary(terminalreporter):
                    terminalreporter.write_line("after coverage has ended")

                SEEN = []
            """,
            "test_a.py": "def test_a(): pass\ndef test_b(): pass\n",
        }
    )
    plain = measured.plainly(folder, "--cov=.", "--cov-branch", measured.REPORT)
    for variant in ("n2", "early"):
        run = measured.hasten(
            folder, "--cov=.", "--cov-branch", measured.REPORT, *measured.VARIANTS[variant],
            env=measured.ENGINES[engine],
        )  # fmt: skip
        assert run.files() == plain.files(), run.text()


@pytest.mark.parametrize("engine", measured.ENGINES)
@pytest.mark.parametrize("how", ["marker", "fixture", "marker added by a fixture"])
def test_no_cover_leaves_a_test_out(suite: Suite, engine: str, how: str) -> None:
    mark = "@pytest.mark.no_cover" if how == "marker" else ""
    argument = {"marker": "", "fixture": "no_cover"}.get(how, "adds")
    folder = suite(
        {
            "thing.py": "def f(x):\n    if x:\n        return 1\n    return 2\n",
            "test_a.py": f"""
                import pytest, thing

                @pytest.fixture
                def adds(request):
                    request.node.add_marker("no_" + "cover")

                def test_measured():
                    assert thing.f(1) == 1

                {mark}
                def test_left_out({argument}):
                    assert thing.f(0) == 2

                def test_measured_again():
                    assert thing.f(1) == 1
            """,
        }
    )
    plain = measured.plainly(folder, "--cov=.", measured.REPORT)
    run = measured.hasten(folder, "--cov=.", measured.REPORT, "-n1", env=measured.ENGINES[engine])
    assert run.status == 0, run.text()
    assert run.files()["thing.py"]["missing_lines"] == [4]
    assert run.files() == plain.files(), run.text()


@pytest.mark.parametrize(("engine", "variant"), [("own", "n2"), ("ctrace", "n2"), ("ctrace", "early"), ("own", "one")])
def test_suites_that_turn_warnings_into_errors_pass(suite: Suite, engine: str, variant: str) -> None:
    folder = suite(
        {
            "pytest.ini": "[pytest]\nfilterwarnings = error\n",
            "test_a.py": "import gc\ndef test_a(): gc.collect()\ndef test_b(): gc.collect()\n",
        }
    )
    run = measured.hasten(
        folder, "--cov=.", "--cov=nowhere", "--cov-context=test", *measured.VARIANTS[variant],
        env=measured.ENGINES[engine],
    )  # fmt: skip
    assert run.status == 0, run.text()
    assert "2 passed" in run.out, run.text()
    assert "Module nowhere was never imported" in run.err


def test_once_fixtures_are_measured_in_the_process_that_makes_them(suite: Suite) -> None:
    folder = suite(
        {
            "conftest.py": """
                import hasten, pytest

                @hasten.session_once
                @pytest.fixture(scope="session")
                def once():
                    made = 1
                    yield made
                    made = 2
            """,
            "test_a.py": "def test_a(once): pass\ndef test_b(once): pass\n",
        }
    )
    for env in measured.ENGINES.values():
        run = measured.hasten(folder, "--cov=.", measured.REPORT, "-n2", env=env)
        assert run.files()["conftest.py"]["missing_lines"] == [], run.text()


@pytest.mark.parametrize("engine", measured.ENGINES)
def test_a_killed_worker_loses_no_more_than_its_own(suite: Suite, engine: str) -> None:
    folder = suite(
        {
            "thing.py": "def f(n):\n    if n == 1:\n        return 1\n    if n == 2:\n        return 2\n    return 3\n",
            "test_a.py": """
                import os, signal
                import thing

                def test_one(): assert thing.f(1)

                def test_dies():
                    thing.f(2)
                    os.kill(os.getpid(), signal.SIGKILL)

                def test_three(): assert thing.f(3)
            """,
        }
    )
    run = measured.hasten(folder, "--cov=thing", measured.REPORT, "-n1", env=measured.ENGINES[engine])
    assert run.status == 1, run.text()
    missing = set(run.files()["thing.py"]["missing_lines"])
    assert not missing & {1, 2, 4, 6}, run.text()
    if "coverage: hasten's collector" in run.out:
        assert missing == set(), "the collector's memory is not the worker's"
    else:
        assert "coverage: failed workers" in run.out
        assert "gw0" in run.lines("gw0"), run.text()
    assert run.left() == [".coverage"]


@pytest.mark.parametrize("engine", measured.ENGINES)
def test_a_killed_template_takes_nothing_with_it(suite: Suite, engine: str) -> None:
    """What ran before the fork is its: coverage.py's tracer has saved it before there were workers."""
    folder = suite(
        {
            "thing.py": "import sys\n\ndef f(n):\n    if n == 1:\n        return 1\n    return 2\n",
            "test_a.py": """
                import os, signal
                import thing

                def test_kills():
                    thing.f(1)
                    os.kill(os.getppid(), signal.SIGKILL)

                def test_dies():
                    os.kill(os.getpid(), signal.SIGKILL)

                def test_last(): thing.f(2)
            """,
        }
    )
    run = measured.hasten(
        folder, "--cov=thing", measured.REPORT, "-n1", "--start=template", env=measured.ENGINES[engine]
    )
    assert "1 failed, 2 passed" in run.out, run.text()
    missing = set(run.files()["thing.py"]["missing_lines"])
    assert not missing & {1, 3, 4, 6}, run.text()
    assert run.left() == [".coverage"]
