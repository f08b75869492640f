"""`hasten imports` on small programs of known cost: what is measured, what is said to be saved, and whether it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from conftest import INHERITED, find_program, wait_until

BUSY = "import time\nend = time.thread_time() + {}\nwhile time.thread_time() < end:\n    pass\n"


def write(folder: Path, **files: str) -> None:
    """name__sub="text" is the file name/sub.py."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path = path.with_name("__init__.py") if path.name == "init.py" else path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def program(
    folder: Path, *args: str, env: dict[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    environment = {key: os.environ[key] for key in INHERITED if key in os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment |= env or {}
    command = [find_program(), "imports", "--python", sys.executable, *args]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def measure(folder: Path, *args: str, status: int = 0, env: dict[str, str] | None = None) -> dict[str, Any]:
    done = program(folder, "--json", "--runs", "2", *args, env=env)
    assert done.returncode == status, done.stderr + done.stdout
    return json.loads(done.stdout)


def modules(profile: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in profile["modules"]}


def at(profile: dict[str, Any], file: str, line: int) -> dict[str, Any]:
    found = [one for one in profile["statements"] if one["file"].endswith("/" + file) and one["line"] == line]
    assert len(found) == 1, (file, line, found)
    return found[0]


def test_own_time_goes_to_the_module_that_spends_it(tmp_path: Path) -> None:
    write(tmp_path, app="import small\nimport large\n", small=BUSY.format(0.01), large=BUSY.format(0.04))
    found = modules(profile := measure(tmp_path, "app"))
    assert 0.010 <= found["small"]["cpu"] < found["large"]["cpu"]
    assert found["large"]["cpu"] > 3 * found["small"]["cpu"]
    assert found["app"]["cpu"] < 0.3 * found["small"]["cpu"]
    assert found["app"]["saved"]["cpu"] >= 0.05
    assert found["large"]["at"]["line"] == 2
    assert found["large"]["within"] == "app"
    assert found["large"]["own"]
    assert not found["large"].get("package")
    assert profile["cpu"] >= profile["cpu_least"] >= 0.05


def test_what_two_need_is_saved_only_by_both(tmp_path: Path) -> None:
    write(
        tmp_path,
        app="import one\nimport two\n",
        one="import shared\n",
        two="import shared\n" + BUSY.format(0.01),
        shared=BUSY.format(0.03),
    )
    profile = measure(tmp_path, "app")
    assert at(profile, "app.py", 1)["saved"]["cpu"] < 0.01  # -X importtime would say 0.03
    assert at(profile, "two.py", 1)["saved"]["modules"] == 0
    assert modules(profile)["shared"]["saved"]["cpu"] >= 0.03
    assert modules(profile)["app"]["saved"]["modules"] == 4


@pytest.mark.parametrize("line", [1, 2, 3, 4])
def test_the_number_of_modules_saved_is_that_which_goes(tmp_path: Path, line: int) -> None:
    statements = ["import xml.dom.minidom", "from html import parser", "import http.client", "import json"]
    write(tmp_path, app="\n".join(statements))
    before = measure(tmp_path, "app")
    statements[line - 1] = f"def use():\n    {statements[line - 1]}"
    write(tmp_path, app="\n".join(statements))
    after = measure(tmp_path, "app")
    gone = {name for name in modules(before).keys() - modules(after).keys() if not modules(before)[name].get("failed")}
    assert at(before, "app.py", line)["saved"]["modules"] == len(gone) > 0


def test_all_that_comes_to_sys_modules_is_seen(tmp_path: Path) -> None:
    write(
        tmp_path,
        app="""
        import json, sys
        before = set(sys.modules)
        import asyncio, importlib, sqlite3, xml.dom.minidom
        importlib.import_module("wave")
        importlib.import_module("space.part")
        from email import policy
        __import__("mailbox")
        json.dump(sorted(set(sys.modules) - before), open("came.json", "w"))
        """,
        space__part="x = 1",
    )
    profile = measure(tmp_path, "app")
    came = set(json.loads((tmp_path / "came.json").read_text()))
    assert len(came) > 50
    # What a module puts into sys.modules itself was not loaded.
    assert {
        name for name in came - modules(profile).keys() if name in ("wave", "space.part", "space", "mailbox")
    } == set()
    assert len(came - modules(profile).keys()) <= len(came) * 0.02
    space = modules(profile)["space"]
    assert space["package"]
    assert not space["file"]
    called = [one for one in profile["statements"] if one["imports"] == ["wave"]]
    assert called[0]["call"]
    assert called[0]["line"] == 5


def test_extensions_and_their_loading_are_told(tmp_path: Path) -> None:
    write(tmp_path, app="import _ctypes\n")
    ctypes = modules(measure(tmp_path, "app"))["_ctypes"]
    if not ctypes["file"]:
        pytest.skip("_ctypes is built into this interpreter")
    assert ctypes["extension"]
    assert 0 < ctypes["loading_extension"] <= ctypes["cpu"]


def test_phases_are_parts_of_the_own_time(tmp_path: Path) -> None:
    write(tmp_path, app="import asyncio\n")
    profile = measure(tmp_path, "app")
    phases = ("finding", "reading", "unmarshalling", "compiling", "loading_extension")
    for one in profile["modules"]:
        assert sum(one.get(phase, 0) for phase in phases) <= one["cpu"] * 1.5 + 1e-5, one  # medians of each
    assert sum(one.get("unmarshalling", 0) for one in profile["modules"]) > 0
    assert all(one.get("compiling", 0) == 0 for one in profile["modules"])


def test_compiling_is_seen_where_bytecode_is_not_written(tmp_path: Path) -> None:
    write(tmp_path, app="\n".join(f"def f{i}(x=1): return [x for x in {{x: {i}}}]" for i in range(500)))
    app = modules(measure(tmp_path, "app", env={"PYTHONDONTWRITEBYTECODE": "1"}))["app"]
    assert app["compiling"] > app["cpu"] / 2
    assert not (tmp_path / "__pycache__").exists()


def test_a_module_that_is_imported_in_a_function(tmp_path: Path) -> None:
    write(tmp_path, app="import helper\nhelper.use()\n", helper="def use():\n    import late\n", late=BUSY.format(0.01))
    profile = measure(tmp_path, "app")
    statement = at(profile, "helper.py", 2)
    assert statement["function"] == "use"
    assert statement["reason"] == "in a function already"
    assert statement["saved"]["cpu"] >= 0.01
    assert "late" not in modules(measure(tmp_path, "helper"))


def test_an_import_that_fails_is_a_cost_and_no_module(tmp_path: Path) -> None:
    write(
        tmp_path,
        app="try:\n    import half\nexcept ImportError:\n    pass\n",
        half=BUSY.format(0.02) + "import nothing_like_it\n",
    )
    profile = measure(tmp_path, "app")
    half = modules(profile)["half"]
    assert half["failed"]
    assert half["cpu"] >= 0.02
    assert modules(profile)["nothing_like_it"]["failed"]
    assert at(profile, "app.py", 2)["reason"] == "inside try"
    assert at(profile, "app.py", 2)["saved"]["cpu"] >= 0.02


def test_what_was_measured_and_failed_is_shown_with_status_1(tmp_path: Path) -> None:
    write(tmp_path, app="import json\nimport nothing_like_it\n")
    done = program(tmp_path, "--runs", "1", "app")
    assert done.returncode == 1
    assert "No module named 'nothing_like_it'" in done.stderr  # its own traceback, once
    assert done.stderr.count("Traceback") == 1
    assert "what was measured ended with status 1" in done.stderr
    assert "json.decoder" in done.stdout


def test_circles_have_their_closing_statement(tmp_path: Path) -> None:
    write(
        tmp_path,
        pk__init="from pk import first, alone\n",
        pk__first="import pk.second\n",
        pk__second="x = 1\nimport pk.first\n",
        pk__alone="from pk import third\n",
        pk__third="def f():\n    import pk.alone\n",
    )
    (circle,) = measure(tmp_path, "pk")["circles"]
    assert circle["modules"] == ["pk.first", "pk.second"]
    (closed,) = circle["closed"]
    assert (closed["importer"], closed["line"], closed["partial"]) == ("pk.second", 2, "pk.first")


def test_a_heavy_package(tmp_path: Path) -> None:
    write(
        tmp_path,
        app="import pk.part\n",
        pk__init="import extra\n" + BUSY.format(0.01),
        pk__part=BUSY.format(0.01),
        extra=BUSY.format(0.02),
    )
    (heavy,) = measure(tmp_path, "app")["packages"]
    assert heavy["name"] == "pk"
    assert heavy["saved"]["cpu"] >= 0.03
    assert heavy["saved"]["modules"] >= 1


def test_a_package_is_beside_the_module_that_was_asked_for(tmp_path: Path) -> None:
    write(tmp_path, app="import pk.low.part\n", pk__init="import extra\n", pk__low__init="", pk__low__part="", extra="")
    found = modules(measure(tmp_path, "app"))
    assert [found[name]["within"] for name in ("pk", "pk.low", "pk.low.part", "extra")] == ["app", "app", "app", "pk"]


def test_groups_of_the_users_statements(tmp_path: Path) -> None:
    write(
        tmp_path / "lib",
        big__init=BUSY.format(0.03),
        big__part="",
        little=BUSY.format(0.01),
    )
    write(
        tmp_path / "app",
        app="import other\nimport big\nimport little\ndef f(): return big, little\n",
        other="import big.part\n",
    )
    profile = measure(tmp_path / "app", "app", env={"PYTHONPATH": str(tmp_path / "lib")})
    groups = {one["package"]: one for one in profile["groups"]}
    assert len(groups["big"]["statements"]) == 2
    assert groups["big"]["saved"]["cpu"] >= 0.03 > 0.02 > groups["little"]["saved"]["cpu"] >= 0.01
    assert at(profile, "app.py", 2)["saved"]["cpu"] < 0.01
    assert at(profile, "app.py", 2)["reason"] == ""
    assert not modules(profile)["big"].get("own")


def test_threads_have_times_of_their_own(tmp_path: Path) -> None:
    write(
        tmp_path,
        app="""
        import importlib, threading
        def load(i):
            importlib.import_module(f"part{i}")
            importlib.import_module("common")
        threads = [threading.Thread(target=load, args=(i,)) for i in range(8)]
        for one in threads: one.start()
        for one in threads: one.join()
        """,
        common=BUSY.format(0.02),
        **{f"part{i}": f"import common\nimport leaf{i}\n" + BUSY.format(0.01) for i in range(8)},
        **{f"leaf{i}": BUSY.format(0.005) for i in range(8)},
    )
    found = modules(measure(tmp_path, "app"))
    for i in range(8):
        assert 0.010 <= found[f"part{i}"]["cpu"] < 0.020
        assert 0.005 <= found[f"leaf{i}"]["cpu"] < 0.010
        assert found[f"leaf{i}"]["within"] == f"part{i}"
    assert found["common"]["loads"] == 1
    assert 0.020 <= found["common"]["cpu"] < 0.040
    assert all(one["cpu"] >= 0 and one["wall"] >= 0 for one in found.values())


def test_the_collector_is_apart(tmp_path: Path) -> None:
    write(
        tmp_path,
        app="import gc\nkeep = [[] for _ in range(200000)]\nimport hit\n",
        hit="import gc\nfor _ in range(5): gc.collect()\n",
    )
    profile = measure(tmp_path, "app")
    hit = modules(profile)["hit"]
    assert hit["gc"] > 5 * hit["cpu"]
    assert profile["gc"] >= hit["gc"]


def test_memory_goes_to_the_module_that_takes_it(tmp_path: Path) -> None:
    write(tmp_path, app="import taker\nimport other\n", taker="data = b'x' * 50_000_000\n", other="x = 1\n")
    profile = measure(tmp_path, "app")
    assert modules(profile)["taker"]["bytes"] >= 45_000_000
    assert modules(profile)["other"]["bytes"] < 2_000_000
    assert at(profile, "app.py", 1)["saved"]["bytes"] >= 45_000_000


def test_collecting_shows_conftests_and_test_modules(tmp_path: Path) -> None:
    write(
        tmp_path,
        conftest="import helper\n",
        helper=BUSY.format(0.02),
        test_one="import costly\ndef test_it(): assert costly\n",
        costly=BUSY.format(0.04),
    )
    profile = measure(tmp_path, "--collect", "-p", "no:cacheprovider", "-k", "it")
    found = modules(profile)
    assert found["test_one"]["own"]
    assert found["conftest"]["own"]
    assert found["conftest"]["saved"]["cpu"] >= 0.02
    assert at(profile, "test_one.py", 1)["saved"]["cpu"] >= 0.04
    assert at(profile, "test_one.py", 1)["reason"] == ""
    assert "import" in at(profile, "conftest.py", 1)["reason"]  # never used: for what it does


def test_collecting_nothing_is_no_failure_and_an_error_is(tmp_path: Path) -> None:
    measure(tmp_path, "--collect", "-p", "no:cacheprovider")
    write(tmp_path, test_wrong="import nothing_like_it\n")
    measure(tmp_path, "--collect", "-p", "no:cacheprovider", status=1)


def test_plugins_by_what_they_cost(tmp_path: Path) -> None:
    write(tmp_path, dear="import inner\n", inner=BUSY.format(0.03), cheap="")
    profile = measure(tmp_path, "--plugins", "-p", "dear", "-p", "cheap", env={"PYTHONPATH": str(tmp_path)})
    plugins = {one["module"]: one for one in profile["plugins"]}
    assert plugins["dear"]["saved"]["cpu"] >= 0.03
    assert plugins["dear"]["saved"]["modules"] >= 2
    assert plugins["cheap"]["saved"]["cpu"] < 0.01
    assert "_pytest.python" in plugins
    assert plugins["hasten.plugin"]["distribution"] == "hasten"


def test_a_command_and_the_sitecustomize_that_it_has(tmp_path: Path) -> None:
    write(
        tmp_path,
        site__sitecustomize="import customized\n",
        site__customized="",
        run="import sys, os\nimport json\nassert 'hasten-imports' not in ' '.join(sys.path)\nos._exit(0)\n",
    )
    env = {"PYTHONPATH": str(tmp_path / "site")}
    profile = measure(tmp_path, "--", sys.executable, "run.py", env=env)
    assert {"json", "customized"} <= modules(profile).keys()
    assert at(profile, "run.py", 2)["importer"] == "__main__"


def test_of_several_processes_the_one_that_imports_most(tmp_path: Path) -> None:
    write(
        tmp_path,
        heavy=BUSY.format(0.03),
        run="import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import heavy'])\n",
    )
    done = program(tmp_path, "--json", "--runs", "1", "--", sys.executable, "run.py")
    assert done.returncode == 0
    assert "heavy" in modules(json.loads(done.stdout))
    assert "1 more Python processes were started" in done.stderr


def test_a_forked_child_leaves_the_log_alone(tmp_path: Path) -> None:
    write(
        tmp_path,
        run="""
        import os
        child = os.fork()
        if not child:
            import wave
            os._exit(0)
        os.waitpid(child, 0)
        import mailbox
        """,
    )
    found = modules(measure(tmp_path, "--", sys.executable, "-W", "ignore", "run.py"))
    assert "mailbox" in found
    assert "wave" not in found


def test_a_budget(tmp_path: Path) -> None:
    write(tmp_path, app=BUSY.format(0.05))
    over = program(tmp_path, "--runs", "1", "--budget", "40ms", "app")
    assert over.returncode == 1
    assert "the budget is 40.0 ms" in over.stderr
    assert program(tmp_path, "--runs", "1", "--budget", "60s", "app").returncode == 0


def test_files_for_other_viewers(tmp_path: Path) -> None:
    write(tmp_path, app="import outer\nimport json\n", outer="import inner\n", inner=BUSY.format(0.01))
    measure(tmp_path, "--speedscope", "s.json", "--perfetto", "p.json", "app")
    scope = json.loads((tmp_path / "s.json").read_text())
    names = [frame["name"] for frame in scope["shared"]["frames"]]
    stack: list[str] = []
    seen, last = [], 0
    for event in scope["profiles"][0]["events"]:
        assert event["at"] >= last
        last = event["at"]
        if event["type"] == "O":
            stack.append(names[event["frame"]])
            seen.append("/".join(stack))
        else:
            assert stack.pop() == names[event["frame"]]
    assert not stack
    assert "app/outer/inner" in seen
    assert scope["profiles"][0]["endValue"] >= last
    events = {one["name"]: one for one in json.loads((tmp_path / "p.json").read_text())["traceEvents"]}
    assert events["inner"]["dur"] >= 10_000
    outer, inner = events["outer"], events["inner"]
    assert outer["ts"] <= inner["ts"]
    assert inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"]


def test_comparing_two_measurements(tmp_path: Path) -> None:
    write(tmp_path, app="import slow\nimport gone\n", slow=BUSY.format(0.01), gone="")
    (tmp_path / "a.json").write_text(json.dumps(measure(tmp_path, "app")))
    write(tmp_path, app="import slow\nimport fresh\n", slow=BUSY.format(0.055), fresh="")
    (tmp_path / "b.json").write_text(json.dumps(measure(tmp_path, "app")))
    command = [find_program(), "imports", "diff", "a.json", "b.json"]
    env = {**os.environ, "HASTEN_PYTHON": sys.executable}
    shown = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    assert "changed  slow" in shown
    assert "gone     gone" in shown
    assert "new      fresh" in shown
    told = json.loads(
        subprocess.run([*command, "--json"], cwd=tmp_path, env=env, capture_output=True, check=True).stdout
    )
    assert told["modules"][0]["module"] == "slow"
    assert told["modules"][0]["cpu"] > 0.03
    wrong = subprocess.run(
        [*command[:-1], "app.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 4


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "nothing to measure"),
        (("no-module",), "no module's name"),
        (("--",), "no command after --"),
        (("--collect", "--plugins"), "one at a time"),
        (("--runs", "0", "json"), "from 1 to 64"),
        (("--", "/bin/true"), "started no Python"),
        (("--", "./nothing-like-it"), "cannot start"),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_status_4(tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    done = program(tmp_path, *args)
    assert done.returncode == 4
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    write(tmp_path, app="import json\n")
    program(tmp_path, "--runs", "1", "app", env={"TMPDIR": str(tmp_path / "tmp")})
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    write(tmp_path, app="import signal\nopen('ready', 'w').close()\nsignal.pause()\n")
    process = subprocess.Popen(
        [find_program(), "imports", "--python", sys.executable, "app"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until((tmp_path / "ready").exists, 30, "the module is being imported")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert err.endswith("hasten: interrupted\n")
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.skipif(sys.version_info < (3, 15), reason="lazy imports came with 3.15")
def test_lazy_imports_and_where_they_are_made_real(tmp_path: Path) -> None:
    write(
        tmp_path,
        app="lazy import used\nlazy import unused\nimport json\nx = used.x\n",
        used="x = 1\n" + BUSY.format(0.01),
        unused="x = 1\n",
    )
    profile = measure(tmp_path, "app")
    used = modules(profile)["used"]
    assert used["lazy"]
    assert used["at"]["line"] == 4
    assert "unused" in profile["lazy_not_loaded"]
    assert "unused" not in modules(profile)


def test_what_a_function_imports_goes_with_who_calls_it(tmp_path: Path) -> None:
    """sqlalchemy.orm has sqlalchemy.util import what it names: without sqlalchemy.orm that is not loaded."""
    files = {
        "tools": "def load():\n    import late\n",
        "late": BUSY.format(0.01),
        "heavy": "import tools\ntools.load()\n",
    }
    write(tmp_path, app="import tools\nimport heavy\n", **files)
    before = measure(tmp_path, "app")
    write(tmp_path, app="import tools\ndef use():\n    import heavy\n", **files)
    after = measure(tmp_path, "app")
    assert modules(before).keys() - modules(after).keys() == {"heavy", "late"}
    assert at(before, "app.py", 2)["saved"]["modules"] == 2
    assert at(before, "app.py", 2)["saved"]["cpu"] >= 0.01
    assert at(before, "app.py", 1)["saved"]["modules"] == 0
