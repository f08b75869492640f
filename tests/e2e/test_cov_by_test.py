"""`dynamic_context = test_function`: the contexts are those that coverage.py's C tracer finds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import measured
import pytest

pytest.importorskip("pytest_cov")

Suite = Callable[..., Path]

FILES = {
    "pytest.ini": "[pytest]\n",
    "lib.py": """
        def one(x):
            if x:
                return 1
            return 2


        def test_helper(x):
            y = one(x)
            return y


        class Case:
            def test_it(self):
                return one(1)

            @staticmethod
            def test_static():
                return one(0)
    """,
    "test_all.py": """
        import asyncio
        import contextlib
        import threading
        import unittest

        import lib
        import pytest


        @pytest.fixture
        def helped():
            lib.one(1)
            yield lib.test_helper(0)
            lib.one(0)


        def test_plain(helped):
            assert helped == 2
            for x in range(3):
                lib.one(x)


        def test_of_one_line(): pass


        class TestMethods:
            def setup_method(self):
                lib.one(1)

            def test_method(self):
                assert lib.one(0) == 2

            @classmethod
            def test_class(cls):
                assert lib.Case.test_static() == 2

            @staticmethod
            def test_static():
                assert lib.Case().test_it() == 1


        class TestUnit(unittest.TestCase):
            def setUp(self):
                lib.one(0)

            def test_unit(self):
                self.assertEqual(lib.one(1), 1)

            def runTest(self):
                pass


        @pytest.mark.xfail(strict=True)
        def test_that_fails():
            lib.one(1)
            raise ValueError(lib.one(0))


        def test_with_a_thread():
            def test_inner():
                return lib.one(0)

            thread = threading.Thread(target=test_inner)
            thread.start()
            thread.join()
            lib.one(1)


        async def test_cancelled():
            await asyncio.sleep(0)
            lib.one(1)
            try:
                await asyncio.Event().wait()
            finally:
                lib.one(0)


        test_cancelled.__test__ = False


        @pytest.fixture
        def cancelled():
            async def main():
                task = asyncio.create_task(test_cancelled())
                for _ in range(3):
                    await asyncio.sleep(0)
                lib.one(1)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                lib.one(0)

            asyncio.run(main())


        def test_after_a_coroutine(cancelled):
            pass


        @pytest.fixture
        def suspended():
            def test_generator():
                yield lib.one(1)
                yield lib.one(0)

            generator = test_generator()
            next(generator)
            lib.one(1)
            generator.close()
            yield
            lib.one(0)


        def test_after_a_generator(suspended):
            assert lib.one(1)


        @pytest.mark.parametrize("a", [0, 1])
        def test_parameters(a):
            assert lib.one(a) in (1, 2)


        @pytest.mark.no_cover
        def test_left_out():
            lib.one(1)


        @pytest.mark.skip
        def test_skipped():
            pass
    """,
}
VARIANTS = ("one", "n2", "early")
PLAIN: dict[str, Any] = {}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by_test")
    for name, text in FILES.items():
        (folder / name).write_text(dedent(text).lstrip("\n"))
    for branch in ("false", "true"):
        (folder / f"branch_{branch}.cfg").write_text(f"[run]\nbranch = {branch}\ndynamic_context = test_function\n")
    return folder


def arguments(branch: str) -> tuple[str, ...]:
    return ("--cov=.", f"--cov-config=branch_{branch}.cfg", measured.REPORT)


@pytest.mark.parametrize("branch", ["false", "true"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_contexts_are_those_of_the_c_tracer(project: Path, branch: str, variant: str) -> None:
    if branch not in PLAIN:
        plain = measured.plainly(project, *arguments(branch))
        assert plain.status == 0, plain.text()
        PLAIN[branch] = plain.files(), plain.lines_by_context()
    run = measured.hasten(project, *arguments(branch), *measured.VARIANTS[variant])
    assert run.status == 0, run.text()
    files, lines = PLAIN[branch]
    assert {context for context, _file, _line in lines} >= {
        "test_all.TestUnit.test_unit",
        "test_all.test_cancelled",
        "lib.test_helper",
    }
    assert run.lines_by_context() == lines, run.text()
    assert run.files() == files, run.text()
    if sys.version_info >= (3, 12):
        assert "coverage: hasten's collector" in run.out, run.text()


def test_contexts_of_phases_beside_it_are_left_to_coverage_py(project: Path) -> None:
    run = measured.hasten(project, *arguments("false"), "--cov-context=test", "-n2")
    plain = measured.plainly(project, *arguments("false"), "--cov-context=test")
    assert run.status == plain.status == 0, run.text()
    assert run.files() == plain.files(), run.text()
    if sys.version_info >= (3, 12):
        assert "dynamic_context=test_function is set beside --cov-context" in run.out, run.text()
