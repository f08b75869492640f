"""A process that comes up in the middle of a run clears nothing away that another one has saved already.

pytest-cov deletes all data files, allure its results and pytest its cache when a process starts; so a worker that was
late, or in the place of one that had died, took the work of the others away. The orders are forced: tests and hooks
wait for each other by files and by the trace.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plugin_case import Case, Result, run

WAITING = """
    import json, os, signal, time

    def events():
        with open(os.environ["HASTEN_TRACE"]) as f:
            return [json.loads(line) for line in f.read().split("\\n")[:-1]]

    def has(name, n=1):
        return sum(event["ev"] == name for event in events()) >= n

    def wait(condition):
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.005)
"""
SHOP = """
    def first():
        return 1

    def second():
        return 2
"""
# Each file on a worker of its own: the first ends its session, then the second makes its trouble.
FIRST = """
    import os, shop, waiting

    def test_first(cache):
        waiting.wait(lambda: os.path.exists("second"))
        cache.set("shop/first", shop.first())
"""
SECOND = """
    import os, signal, shop, waiting

    def test_trouble(cache):
        open("second", "w").close()
        waiting.wait(lambda: waiting.has("worker_end"))
        trouble = os.environ["SHOP_TROUBLE"]
        if trouble == "template":
            os.kill(os.getppid(), signal.SIGKILL)
        if trouble == "reporter":
            os.kill(next(e["pytest_pid"] for e in waiting.events() if e["ev"] == "pytest_start"), signal.SIGKILL)
            waiting.wait(lambda: waiting.has("pytest_start", 2))
        else:
            os._exit(1)

    def test_second(cache):
        cache.set("shop/second", shop.second())
"""
SUITE = {"waiting.py": WAITING, "shop.py": SHOP, "test_first.py": FIRST, "test_second.py": SECOND}


def covered(result: Result) -> set[str]:
    """Functions of the shop that ran, as coverage says."""
    lines = result.json("coverage.json")["files"]["shop.py"]["executed_lines"]
    return {name for name, line in (("first", 2), ("second", 5)) if line in lines}


def allure(result: Result) -> set[str]:
    names = {json.loads(result.read(name))["name"] for name in result.names("allure/*-result.json")}
    return {name.removeprefix("test_") for name in names} & {"first", "second"}


def cached(result: Result) -> set[str]:
    return {Path(name).name for name in result.names(".pytest_cache/v/shop/*")}


KINDS = {
    "cov": (("pytest_cov",), ("--cov=shop", "--cov-report=json"), covered),
    "allure": (("allure_pytest",), ("--alluredir=allure", "--clean-alluredir"), allure),
    "cache": ((), ("--cache-clear",), cached),
}
TROUBLES = [("early", "worker"), ("spawn", "worker"), ("early", "template"), ("template", "template"),
            ("template", "reporter"), ("early", "reporter")]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("start", "trouble"), TROUBLES)
def test_the_next_process_keeps_what_ended_workers_have_saved(
    start: str, trouble: str, kind: str, plugin_python: str, tmp_path: Path
) -> None:
    plugins, args, found = KINDS[kind]
    env = {"HASTEN_TRACE": str(tmp_path / "trace"), "SHOP_TROUBLE": trouble}
    case = Case(kind, plugins, SUITE, args=("--dist=loadfile", "--override-ini=pythonpath=.", *args), env=env)
    result = run(case, plugin_python, start, tmp_path / "suite")
    assert result.status == (0 if trouble == "reporter" else 1), result.text()
    assert len(result.outcomes()) == 3, result.text()
    assert found(result) == {"first", "second"}, result.text()


LATE = """
    import os, waiting, pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests():
        if os.environ.get("PYTEST_XDIST_WORKER") == "gw1":
            waiting.wait(lambda: waiting.has("gather") or waiting.has("worker_end"))
"""
EVERY = """
    import shop

    def test_first(cache):
        cache.set("shop/first", shop.first())

    def test_second(cache):
        cache.set("shop/second", shop.second())
"""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", ["early", "spawn"])
def test_a_late_worker_keeps_what_the_others_have_saved(
    start: str, kind: str, plugin_python: str, tmp_path: Path
) -> None:
    plugins, args, found = KINDS[kind]
    files = {"waiting.py": WAITING, "shop.py": SHOP, "late.py": LATE, "test_every.py": EVERY}
    env = {"HASTEN_TRACE": str(tmp_path / "trace"), "PYTHONPATH": "."}
    case = Case(kind, (*plugins, "late"), files, args=args, env=env)
    result = run(case, plugin_python, start, tmp_path / "suite")
    assert result.status == 0, result.text()
    assert found(result) == {"first", "second"}, result.text()


SLOW = """
    import waiting, pytest

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtestloop(session):
        result = yield
        if hasattr(session.config, "workerinput"):
            waiting.wait(lambda: waiting.has("await_template") or waiting.has("reporter_end"))
        return result
"""


def test_data_of_a_run_without_tests_is_there_before_the_report(plugin_python: str, tmp_path: Path) -> None:
    """The template alone has measured anything: what ran when test files were imported. It saves that when it ends."""
    files = {"waiting.py": WAITING, "shop.py": SHOP, "conftest.py": SLOW, "test_every.py": EVERY}
    args = ("--cov=shop", "--cov-report=json", "-k", "no_such_test", "--override-ini=pythonpath=.")
    case = Case("cov", ("pytest_cov",), files, args=args, env={"HASTEN_TRACE": str(tmp_path / "trace")})
    result = run(case, plugin_python, "template", tmp_path / "suite")
    assert result.status == 5, result.text()
    assert result.json("coverage.json")["files"]["shop.py"]["executed_lines"] == [1, 4], result.text()
