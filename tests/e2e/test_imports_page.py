"""The page of `hasten imports --html`: it says what the program says, needs nothing else, and works in a browser."""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until
from test_imports import measure, program, write

from hasten.imports_graph import Graph
from hasten.imports_page import page


def app(folder: Path) -> None:
    write(
        folder,
        app="import one, two\nimport three\nfrom xml.dom import minidom\nimport json\n",
        one="import shared\nimport json.decoder\n",
        two="import shared\nimport three\n",
        three="import sqlite3\n",
        shared="import xml.etree.ElementTree\n",
    )


def made_up(n: int, seed: int) -> dict[str, Any]:
    """A profile of n modules; each is imported by some that were loaded before it."""
    dice = random.Random(seed)
    leads_to: list[list[int]] = [[1]] + [[] for _ in range(3 * n)]
    modules, statements = [], []
    for at in range(n):
        name = f"pk{at % 40}.mod{at}" if at else "</script><b>root"
        within = dice.randrange(max(0, at - 30), at) if at else -1
        saved = {"cpu": 1e-4, "bytes": 4096, "modules": 1}
        place = {"file": f"/p/mod{within}.py", "line": 1 + at}
        modules.append({"name": name, "file": f"/p/mod{at}.py", "saved": saved, "own": at % 3 == 0, "at": place})
        if at:
            modules[-1]["within"] = modules[within]["name"]
            for importer in {within, *(dice.randrange(at) for _ in range(dice.randrange(3)))}:
                leads_to[1 + importer].append(1 + n + len(statements))
                leads_to[1 + n + len(statements)].append(1 + at)
                one = {"file": f"/p/mod{importer}.py", "line": 1 + at, "imports": [name], "saved": saved, "own": True}
                statements.append(one)
                leads_to.append([])
    graph = {
        "cpu_ns": [dice.randrange(10**6) for _ in range(n)],
        "bytes": [dice.randrange(10**5) for _ in range(n)],
        "leads_to": leads_to,
    }
    totals = {"cpu": sum(graph["cpu_ns"]) / 1e9, "gc": 0.0, "bytes": sum(graph["bytes"])}
    return {
        "target": "t",
        "processes": 1,
        **totals,
        "modules": modules,
        "statements": statements,
        "work": [],
        "graph": graph,
    }


def script(text: str, name: str) -> str:
    found = re.search(rf'<script id="{name}"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert found
    return found[1]


def test_a_page_that_needs_nothing_else(tmp_path: Path) -> None:
    app(tmp_path)
    assert program(tmp_path, "--runs", "1", "--html", "page.html", "app").returncode == 0
    text = (tmp_path / "page.html").read_text()
    assert not re.search(r"""(?:src|href|action)\s*=|url\(|@import|https?://""", text)
    assert "default-src 'none'" in text
    assert text.count("sha256-") == 2
    data = json.loads(script(text, "data"))
    assert data["target"] == "app"
    assert {"app", "one", "shared"} <= {one["name"] for one in data["modules"]}
    wrong = program(tmp_path, "--runs", "1", "--html", "no/such/folder.html", "app")
    assert wrong.returncode == 4
    assert "no/such/folder.html" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_a_name_ends_no_element() -> None:
    text = page(made_up(5, 1), "/p")
    assert text.count("</script>") == 3
    assert json.loads(script(text, "data"))["modules"][0]["name"] == "</script><b>root"


def test_the_page_and_the_program_answer_the_same(tmp_path: Path) -> None:
    """For every pair of the user's statements: what goes, and how much that is."""
    quickjs = pytest.importorskip("quickjs", reason="no interpreter of JavaScript is installed here")
    app(tmp_path)
    places = [f"app.py:{line}" for line in (1, 2, 3)]
    for pair in itertools.chain(itertools.combinations(places, 1), [places, ["one.py:1", "two.py:1", "app.py:3"]]):
        args = [word for one in pair for word in ("--without", one)]
        profile = measure(tmp_path, "--html", "page.html", *args, "app")
        text = (tmp_path / "page.html").read_text()
        context = quickjs.Context()
        context.eval(script(text, "model") + f";var model = makeModel({script(text, 'data')});")
        data = json.loads(script(text, "data"))
        chosen = [at for at, one in enumerate(data["statements"]) if one["place"] in pair]
        told = json.loads(context.eval(f"JSON.stringify(model.without({chosen}))"))
        assert told["cpu_ns"] / 1e9 == pytest.approx(profile["without"]["saved"]["cpu"], abs=2e-9)
        assert told["bytes"] == profile["without"]["saved"]["bytes"]
        assert told["count"] == profile["without"]["saved"]["modules"]
        names = {data["modules"][at]["name"] for at in told["gone"] if not data["modules"][at]["failed"]}
        assert names == set(profile["without"]["gone"])


def test_the_page_and_the_package_answer_the_same_for_large_graphs() -> None:
    quickjs = pytest.importorskip("quickjs", reason="no interpreter of JavaScript is installed here")
    for seed in range(5):
        profile = made_up(400, seed)
        text = page(profile, "/p")
        context = quickjs.Context()
        context.eval(script(text, "model") + f";var model = makeModel({script(text, 'data')});")
        dice = random.Random(seed)
        for _ in range(20):
            chosen = dice.sample(range(len(profile["statements"])), 30)
            told = json.loads(context.eval(f"JSON.stringify(model.without({chosen}))"))
            expected = Graph(profile).without(chosen)
            assert (told["cpu_ns"], told["bytes"]) == (expected.cpu_ns, expected.bytes)
            assert [profile["modules"][at]["name"] for at in told["gone"]] == list(expected.gone)
        total = context.eval("model.tree('cpu').root.total")
        assert total == sum(profile["graph"]["cpu_ns"])
        rects = json.loads(
            context.eval("JSON.stringify(model.layout(model.tree('cpu').root, 1000, 0).map(r => [r.x, r.w, r.row]))")
        )
        assert len(rects) == 401
        for row in {one[2] for one in rects}:
            ends = sorted((x, x + w) for x, w, at in rects if at == row)
            assert all(a[1] <= b[0] + 1e-6 for a, b in itertools.pairwise(ends))
            assert ends[-1][1] <= 1000 + 1e-6


# ---- in Chromium: apt install chromium chromium-driver; pip install selenium


@pytest.fixture
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromium-driver are not installed")
    os.environ["SE_OFFLINE"] = "true"
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,1000"):
        options.add_argument(argument)
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield opened
        assert opened.get_log("browser") == []
    finally:
        opened.quit()


def test_in_chromium_search_zoom_and_switches_at_5000_modules(tmp_path: Path, browser: Any) -> None:
    profile = made_up(5000, 3)
    (tmp_path / "page.html").write_text(page(profile, "/p"))
    browser.get(f"file://{tmp_path}/page.html")
    assert browser.title == "imports of t"

    def run(code: str) -> Any:
        return browser.execute_script("const h = window.hastenImports, at = id => document.getElementById(id);" + code)

    # The switches: two of them, together, as the package has it; and how long one takes.
    boxes = browser.find_elements("css selector", "#statements input[type=checkbox]")
    assert len(boxes) == 100
    chosen = [int(one.get_attribute("data-statement")) for one in boxes[:2]]
    for one in boxes[:2]:
        one.click()
    expected = Graph(profile).without(chosen)
    words = f"{expected.cpu_ns / 1e6:.1f} ms, {expected.bytes / 1048576:.1f} MB and {len(expected.gone)} modules less"
    assert browser.find_element("id", "saved").text == f"without 2 statements: {words}"
    assert run("return h.state.gone.size") == len(expected.gone)
    took = run(
        "const t = performance.now(); for (let i = 9; i < 19; i++) h.choose(i, true); return performance.now() - t"
    )
    assert took / 10 < 1000
    browser.find_element("id", "none").click()
    assert run("return h.state.gone.size") == 0
    assert not any(one.is_selected() for one in browser.find_elements("css selector", "#statements input"))

    # Search.
    browser.find_element("id", "search").send_keys("MOD77")
    found = [one for one in profile["modules"] if "mod77" in one["file"]]
    assert browser.find_element("id", "found").text.startswith(f"{len(found)} modules, ")
    rows = 'return document.querySelectorAll("#modules tbody tr").length'
    wait_until(lambda: run(rows) == min(100, len(found)), 30, "the table shows what was found")

    # Zoom, by a click on the flame graph, and out again.
    spot = run(
        "const r = h.state.rects.find(r => r.row === 4 && r.w > 20); return [r.node.at, r.x + r.w / 2, 4 * 19 + 9]"
    )
    event = f"{{clientX: b.left + {spot[1]}, clientY: b.top + {spot[2]}}}"
    run(f"const f = at('flame'), b = f.getBoundingClientRect(); f.dispatchEvent(new MouseEvent('click', {event}))")
    assert run("return h.state.zoom") == spot[0]
    assert run("return h.state.rects.filter(r => r.w > at('flame').clientWidth - 1).length") >= 5
    assert profile["modules"][spot[0]]["name"] in browser.find_element("id", "tip").text
    browser.find_element("id", "out").click()
    assert run("return h.state.zoom") == -1

    # A name that is markup stays a text; columns sort.
    assert run("return document.querySelectorAll('b').length") == 0
    browser.find_element("id", "search").send_keys("\b" * 5)
    wait_until(lambda: run(rows) == 100, 30, "the table shows all modules again")
    browser.find_element("css selector", "#modules th:nth-child(2)").click()
    first = browser.find_element("css selector", "#modules tbody td:nth-child(2)").text
    assert first == f"{max(profile['graph']['cpu_ns']) / 1e6:.1f}"
