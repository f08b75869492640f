"""`hasten imports` on lines that do something else than import: which, how long, and whether they wait or compute."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from test_imports import BUSY, measure, modules, program, write

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="needs sys.monitoring")

SPIN = """
import time
def spin(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
"""


def work(profile: dict[str, Any]) -> dict[tuple[str, int], dict[str, Any]]:
    return {(Path(one["file"]).name, one["line"]): one for one in profile["work"]}


def test_lines_that_wait_and_lines_that_compute(tmp_path: Path) -> None:
    app = "import time\nfrom spin import spin\ntime.sleep(0.03)\nspin(0.02)\nclass A:\n    x = spin(0.01)\nimport sub\n"
    write(tmp_path, app=app, spin=SPIN, sub=BUSY.format(0.04))
    found = work(profile := measure(tmp_path, "app"))
    assert found["app.py", 3]["wall"] >= 0.03
    assert found["app.py", 3]["cpu"] < 0.01
    assert found["app.py", 4]["cpu"] >= 0.02
    assert found["app.py", 6]["cpu"] >= 0.01
    assert not found.keys() & {("app.py", 1), ("app.py", 2), ("app.py", 7)}  # what they load is somebody else's
    assert {one["module"] for one in profile["work"]} == {"app", "sub"}
    busy = sum(one["cpu"] for (file, _), one in found.items() if file == "sub.py")
    assert 0.04 <= busy <= 1.1 * modules(profile)["sub"]["cpu"]
    first = profile["work"][0]
    assert first["wall"] == max(one["wall"] for one in profile["work"])


def test_a_long_loop_is_counted_and_then_left(tmp_path: Path) -> None:
    write(tmp_path, app="x = 0\nfor i in range(300000):\n    x += i\n")
    profile = measure(tmp_path, "app")
    found = work(profile)
    in_loop = found.get(("app.py", 2), {"wall": 0})["wall"] + found.get(("app.py", 3), {"wall": 0})["wall"]
    assert in_loop >= 0.5 * modules(profile)["app"]["wall"]


def test_an_exception_ends_a_line_and_not_the_watch(tmp_path: Path) -> None:
    app = "from spin import spin\ntry:\n    import fails\nexcept ValueError:\n    spin(0.01)\n"
    write(tmp_path, app=app, spin=SPIN, fails="from spin import spin\nspin(0.02)\nraise ValueError\n")
    found = work(measure(tmp_path, "app"))
    assert found["fails.py", 2]["cpu"] >= 0.02
    assert found["app.py", 5]["cpu"] >= 0.01
    assert ("app.py", 3) not in found


def test_a_module_in_a_thread(tmp_path: Path) -> None:
    app = "import threading\nt = threading.Thread(target=__import__, args=('late',))\nt.start()\nt.join()\n"
    write(tmp_path, app=app, late=BUSY.format(0.03))
    found = work(measure(tmp_path, "app"))
    assert sum(one["cpu"] for (file, _), one in found.items() if file == "late.py") >= 0.03
    assert found["app.py", 4]["cpu"] < 0.5 * found["app.py", 4]["wall"]  # it waits for the thread


def test_libraries_have_no_lines(tmp_path: Path) -> None:
    library = tmp_path / "site-packages"
    write(library, far="import time\ntime.sleep(0.02)\n")
    write(tmp_path, app="import sys\nsys.path.append('site-packages')\nimport far\n")
    assert not work(measure(tmp_path, "app"))


def test_conftests_and_test_modules(tmp_path: Path) -> None:
    write(
        tmp_path,
        conftest="import time\ntime.sleep(0.02)\n",
        test_a="import time\ntime.sleep(0.03)\ndef test_a():\n    assert True\n",
    )
    for env in ({}, {"PYTHONDONTWRITEBYTECODE": "1"}):
        found = work(measure(tmp_path, "--collect", env=env))
        assert found["conftest.py", 2]["wall"] >= 0.02
        assert found["test_a.py", 2]["wall"] >= 0.03


def test_somebody_elses_tool_is_left_alone(tmp_path: Path) -> None:
    """With sitecustomize of the project: it comes after the watch has begun, and finds the number taken."""
    site = "import sys\ntry:\n    sys.monitoring.use_tool_id(4, 'mine')\nexcept ValueError:\n    pass\n"
    write(
        tmp_path,
        app="import sys\nprint(sys.monitoring.get_tool(4))\nimport time\ntime.sleep(0.01)\n",
        sitecustomize=site,
    )
    done = program(tmp_path, "--runs", "1", "app", env={"PYTHONPATH": str(tmp_path)})
    assert "hasten imports" in done.stdout + done.stderr
    assert "waits" in done.stdout


def test_what_is_shown(tmp_path: Path) -> None:
    write(tmp_path, app="import time\n\ntime.sleep(0.02)  # the line itself is shown\n")
    shown = program(tmp_path, "--runs", "1", "app").stdout
    assert "your lines that work while they are imported, imports aside:" in shown
    (line,) = [line for line in shown.splitlines() if "app.py:3" in line]
    assert line.split()[2] == "waits"
    assert line.endswith("time.sleep(0.02)  # the line itself is shown")
    page = tmp_path / "page.html"
    assert program(tmp_path, "--runs", "1", "--html", str(page), "app").returncode == 0
    data = page.read_text().partition('<script id="data" type="application/json">')[2].partition("</script>")[0]
    assert [(one["place"], one["does"]) for one in json.loads(data)["work"]] == [("app.py:3", "waits")]
    write(tmp_path, app="import json\n")
    assert "your lines that work" not in program(tmp_path, "--runs", "1", "app").stdout
