"""Plugins that report: files, formats, progress, coverage, measurements."""

from __future__ import annotations

import html
import json
import re
import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing

from plugin_case import Case, Result, count

OUTCOMES = """
    import sys, warnings, pytest

    @pytest.fixture
    def broken():
        raise RuntimeError("broken")

    @pytest.fixture
    def late():
        yield
        raise RuntimeError("late")

    @pytest.mark.parametrize("n", range(4))
    def test_passes(n):
        pass

    def test_fails():
        print("to stdout")
        print("to stderr", file=sys.stderr)
        assert [1, 2] == [1, 3]

    def test_error(broken):
        pass

    def test_late(late):
        pass

    @pytest.mark.skip(reason="not now")
    def test_skipped():
        pass

    @pytest.mark.xfail(reason="known")
    def test_xfail():
        assert 0

    @pytest.mark.xfail
    def test_xpass():
        pass

    def test_warns():
        warnings.warn("careful")

    def test_property(record_property):
        record_property("answer", 42)
"""
MODULE = """
    def used(n):
        if n > 2:
            return "big"
        return "small"

    def unused():
        return 1
"""
USES_MODULE = """
    import os, pytest, module

    @pytest.mark.parametrize("n", range(6))
    def test_used(n):
        assert module.used(n) == ("big" if n > 2 else "small")
"""
FAILS = """
    def test_bad():
        assert 0
"""
CRASH = """
    import os, pytest

    @pytest.mark.parametrize("n", range(5))
    def test_dies(n):
        if n == 2:
            os._exit(3)
"""
SAYS_WHERE = """
    import os, module

    def test_where():
        print("on", os.environ.get("PYTEST_XDIST_WORKER"))

    def test_used():
        module.used(1)
"""


def junit(result: Result) -> object:
    root = ET.fromstring(result.read("j.xml"))
    suite = root if root.tag == "testsuite" else root[0]
    cases = [
        (
            case.get("classname"),
            case.get("name"),
            [(child.tag, result.clean(child.get("message") or "")) for child in case],
            [(p.get("name"), p.get("value")) for p in case.iter("property")],
        )
        for case in suite.iter("testcase")
    ]
    return {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}, sorted(map(str, cases))


def html_report(result: Result) -> object:
    blob = re.search(r'data-jsonblob="([^"]*)"', result.read("r.html"))
    assert blob, result.text()
    data = json.loads(html.unescape(blob[1]))
    rows = {
        nodeid: sorted(result.clean(json.dumps([t["result"], t["log"], t["extras"]])) for t in tests)
        for nodeid, tests in data["tests"].items()
    }
    return rows, sorted(data["environment"])


def json_report(result: Result) -> object:
    data = result.json("r.json")
    tests = {
        t["nodeid"]: [
            t["outcome"],
            *(result.clean(json.dumps(t.get(w, {}).get("longrepr"))) for w in ("setup", "call")),
            t.get("metadata"),
            t.get("call", {}).get("stdout"),
        ]
        for t in data["tests"]
    }
    return tests, data["exitcode"], data["summary"], len(data.get("warnings", []))


def log_lines(result: Result) -> object:
    found = []
    for line in result.read("r.jsonl").splitlines():
        data = json.loads(line)
        kind = data.get("$report_type", "other")
        if kind != "CollectReport":
            found.append((kind, data.get("nodeid"), data.get("when"), data.get("outcome"), data.get("category")))
    return count(found)


def allure(result: Result) -> object:
    def of(name: str) -> object:
        data = result.json(name)
        detail = result.clean(json.dumps(data.get("statusDetails", {}).get("message")))
        labels = sorted((x["name"], x["value"]) for x in data["labels"] if x["name"] not in ("host", "thread"))
        return (
            data["fullName"],
            data["status"],
            detail,
            [s["name"] for s in data.get("steps", [])],
            labels,
            data["historyId"],
        )

    results = result.names("allure/*-result.json")
    assert len({result.json(name)["uuid"] for name in results}) == len(results), "uuids are not unique"
    attachments = sorted(result.read(name) for name in result.names("allure/*-attachment.txt"))
    return sorted(str(of(name)) for name in results), attachments, len(result.names("allure/*-container.json")) > 0


def teamcity(result: Result) -> object:
    messages = re.findall(r"##teamcity\[(\w+)([^\n]*)\]", result.out)
    kinds = ("testStarted", "testFinished", "testFailed", "testIgnored", "testStdOut", "testStdErr", "testCount")
    names = [(kind, (re.search(r"name='([^']*)'", rest) or [0, ""])[1]) for kind, rest in messages if kind in kinds]
    return count(names)


def covered(result: Result) -> object:
    data = result.json("coverage.json")
    files = {
        name: (f["executed_lines"], f["missing_lines"], f.get("missing_branches")) for name, f in data["files"].items()
    }
    return (
        files,
        data["totals"]["percent_covered"],
        result.lines(r"^(module\.py|TOTAL|test_a\.py) +\d|^(FAIL|Required)"),
    )


def crash_is_one_failure(result: Result) -> None:
    """A worker that died has left no workeroutput: pytest-metadata asks for it, and ended the run once."""
    assert result.status == 1, result.text()
    assert "1 failed, 4 passed" in result.out, result.text()
    rows, _environment = html_report(result)  # type: ignore[misc]
    assert {f"test_a.py::test_dies[{n}]" for n in (0, 1, 3, 4)} <= set(rows), result.text()


def ran_in_workers(result: Result) -> None:
    """coverage's tracer was taken for a debugger once, and only the time showed that the run was not parallel."""
    assert "on gw" in result.out, result.text()


def contexts(result: Result) -> object:
    with closing(sqlite3.connect(result.folder / ".coverage")) as db:
        return sorted(row[0] for row in db.execute("select context from context"))


def benchmarks(result: Result) -> object:
    data = result.json("b.json")
    return sorted((b["fullname"], b["group"], b["stats"]["rounds"] > 0) for b in data["benchmarks"])


def cucumber(result: Result) -> object:
    def clean(value: object) -> object:
        if isinstance(value, dict):
            return {k: clean(v) for k, v in sorted(value.items()) if k != "duration"}
        return [clean(v) for v in value] if isinstance(value, list) else value

    features = json.loads(result.clean(result.read("c.json")))
    for feature in features:
        feature["elements"].sort(key=lambda e: e["id"])
    return clean(sorted(features, key=lambda f: f["uri"]))


def testmon_rows(result: Result) -> object:
    with closing(sqlite3.connect(result.folder / ".testmondata")) as db:
        check = db.execute("pragma integrity_check").fetchone()[0]
        rows = sorted(db.execute("select test_name, failed from test_execution"))
    return check, rows, result.lines("testmon:")


def profiled(result: Result) -> object:
    return result.names("prof/*.prof"), sorted(re.findall(r"\(called_(\w+)\)", result.out))


BDD = {
    "shop.feature": """
        Feature: Shop
            Scenario: Buying
                Given a shop
                When somebody buys 2 things
                Then 3 things are left

            Scenario: Failing
                Given a shop
                When somebody buys 1 things
                Then 3 things are left

            Scenario Outline: Many
                Given a shop
                When somebody buys <n> things
                Then <left> things are left

                Examples:
                | n | left |
                | 0 | 5    |
                | 5 | 0    |
    """,
    "test_shop.py": """
        from pytest_bdd import given, parsers, scenarios, then, when

        scenarios("shop.feature")

        @given("a shop", target_fixture="shop")
        def shop():
            return {"things": 5}

        @when(parsers.parse("somebody buys {n:d} things"))
        def buys(shop, n):
            shop["things"] -= n

        @then(parsers.parse("{n:d} things are left"))
        def left(shop, n):
            assert shop["things"] == n
    """,
}
ALLURE = """
    import allure, pytest

    @allure.feature("shop")
    @pytest.mark.parametrize("n", range(4))
    def test_steps(n):
        with allure.step("open"):
            pass
        allure.attach(f"text {n}", name="note", attachment_type=allure.attachment_type.TEXT)

    @pytest.fixture
    def thing():
        yield 1

    def test_fails(thing):
        with allure.step("broken"):
            assert 0

    @pytest.mark.skip(reason="not now")
    def test_skipped():
        pass
"""
BENCHMARK = """
    import pytest

    @pytest.mark.benchmark(group="sums", max_time=0.01, min_rounds=3, warmup=False)
    @pytest.mark.parametrize("n", [10, 20])
    def test_sum(benchmark, n):
        assert benchmark(sum, range(n)) == n * (n - 1) / 2

    def test_other():
        pass
"""
BENCHMARK_NOTE = "hasten: tests run in one process: pytest-benchmark's times are worth nothing beside other tests"
SUGAR_LINES = r"^(Results|FAILED|\s+\d+ (passed|failed|error|skipped))|^\s*- "

CASES = [
    Case("pytest-cov", ("pytest_cov",), {"module.py": MODULE, "test_a.py": USES_MODULE},
         args=("--cov=.", "--cov-branch", "--cov-report=json", "--cov-report=term-missing"), artefacts=covered),
    Case("pytest-cov", ("pytest_cov",), {"module.py": MODULE, "test_a.py": USES_MODULE}, variant="fail-under",
         args=("--cov=module", "--cov-report=json", "--cov-report=term", "--cov-fail-under=90"), artefacts=covered),
    Case("pytest-cov", ("pytest_cov",), {"module.py": MODULE, "test_a.py": USES_MODULE}, variant="contexts",
         args=("--cov=module", "--cov-context=test"), artefacts=contexts),
    Case("pytest-cov", ("pytest_cov",), {"module.py": MODULE, "test_a.py": SAYS_WHERE}, variant="workers",
         args=("--cov=module", "-rP"), against="", holds=ran_in_workers),
    Case("pytest-html", ("html", "html_fixtures", "metadata"), {"test_a.py": OUTCOMES},
         args=("--html=r.html", "--self-contained-html", "--junitxml=j.xml"),
         artefacts=lambda r: (html_report(r), junit(r)), against="xdist",  # names the platform of the worker
         counts_differ=True),  # pytest-xdist loses a warning about record_property
    Case("pytest-html", ("html", "html_fixtures", "metadata"), {"test_a.py": CRASH}, variant="crash",
         args=("--html=r.html", "--self-contained-html"), against="", holds=crash_is_one_failure),
    Case("pytest-metadata", ("metadata",), {"test_a.py": OUTCOMES},
         args=("--metadata", "shop", "open", "--junitxml=j.xml", "-v"),
         artefacts=lambda r: (junit(r), [re.findall(r"'shop': 'open'", line) for line in r.lines("^metadata:")])),
    Case("pytest-json-report", ("pytest_jsonreport", "metadata"), {"test_a.py": OUTCOMES},
         args=("--json-report", "--json-report-file=r.json"), artefacts=json_report,
         against="xdist"),  # names the platform of the worker
    Case("pytest-reportlog", ("pytest_reportlog",), {"test_a.py": OUTCOMES}, args=("--report-log=r.jsonl",),
         artefacts=log_lines),
    Case("allure-pytest", ("allure_pytest",), {"test_a.py": ALLURE}, args=("--alluredir=allure",), artefacts=allure),
    Case("pytest-sugar", ("sugar",), {"test_a.py": OUTCOMES}, artefacts=lambda r: r.lines(SUGAR_LINES)),
    Case("pytest-instafail", ("instafail",), {"test_a.py": OUTCOMES}, args=("--instafail",),
         artefacts=lambda r: r.lines("^_+ .* _+$|^E ")),
    Case("pytest-benchmark", ("benchmark",), {"test_a.py": BENCHMARK}, args=("--benchmark-json=b.json",),
         artefacts=benchmarks, note=BENCHMARK_NOTE),
    Case("pytest-benchmark", ("benchmark",), {"test_a.py": BENCHMARK},
         args=("--benchmark-disable",), variant="disabled"),
    Case("pytest-bdd", ("pytest-bdd",), BDD, args=("--cucumberjson=c.json",), artefacts=cucumber),
    Case("pytest-bdd", ("pytest-bdd",), BDD, args=("--gherkin-terminal-reporter", "-vv"), variant="terminal",
         note="hasten: tests run in one process: pytest-bdd's terminal reporter refuses parallel runs",
         artefacts=lambda r: r.lines(r"^\s*(Feature|Scenario|Given|When|Then)")),
    Case("teamcity-messages", ("pytest-teamcity",), {"test_a.py": OUTCOMES}, args=("--teamcity",), artefacts=teamcity,
         against="xdist"),  # the number of tests is not told beforehand
    Case("pytest-testmon", ("pytest-testmon",), {"module.py": MODULE, "test_a.py": USES_MODULE}, args=("--testmon",),
         starts=("auto", "early"), artefacts=testmon_rows),
    Case("pytest-testmon", ("pytest-testmon",), {"module.py": MODULE, "test_a.py": USES_MODULE + FAILS},
         args=("--testmon",), starts=("auto", "early"), artefacts=testmon_rows, passes=2, variant="again"),
    Case("pytest-profiling", ("profiling",), {
             "test_a.py": "import pytest\n\ndef called_one():\n    pass\n\ndef called_two():\n    pass\n\n"
                          "def test_one():\n    called_one()\n\ndef test_two():\n    called_two()\n"},
         args=("--profile",), artefacts=profiled),
]  # fmt: skip
