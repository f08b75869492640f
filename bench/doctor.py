#!/usr/bin/env python3
"""`hasten doctor` on a project that is worse than it has to be, in ways that are known.

    doctor.py truth [--pairs 7] [--only NAMES]   each defect alone: what doctor says, and the truth
    doctor.py fix   [--pairs 5]                  all defects that --fix can mend: the gain, beside the possible one
    doctor.py healthy                            the project without defects: doctor must advise nothing
    doctor.py tail  [--pairs 5]                  a test longer than a worker's share: what is said of the run's end
    doctor.py corpus --only NAMES [--pairs 5]    suites of corpus.toml: each advice really followed, in a copy

Runs hasten beside this Python. Seconds are those of a plain run, without the time for which others had the processor.
"""

import argparse
import ast
import json
import os
import pathlib
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import entry_points

import suites
from hasten.doctor import fix, simulate
from hasten.doctor.advice import IniEdit
from hasten.doctor.suite import Suite, _end

PROGRAM = os.environ.get("HASTEN_PROGRAM") or str(pathlib.Path(sys.executable).with_name("hasten"))
BUSY = "import time\nend = time.thread_time() + {}\nwhile time.thread_time() < end:\n    pass\n"
TESTS = "import pytest\n\n\n@pytest.mark.parametrize('n', range(20))\ndef test_cheap_{}(n):\n    assert n >= 0\n"

# name -> (the key of the advice, whether --fix can mend it)
DEFECTS = {
    "testpaths": ("testpaths", True),
    "sleep": ("sleep tests/test_sleep.py:5", False),
    "import": ("import tests/test_import.py:1", False),
    "production": ("import app.py:1", False),
    "scope": ("fixture scope table tests/test_scope.py:6", False),
    "unused": ("unused fixture server tests/test_unused.py:6", False),
    "teardown": ("teardown server tests/test_teardown.py:6", False),
    "retries": ("retries", False),
    "bytecode": ("bytecode", False),
    "rewriting": ("rewriting", False),
    "plugins": ("plugins", True),
    "gc": ("gc", False),
    "thresholds": ("gc thresholds", False),
    "log_cli": ("log_cli", True),
    "log_level": ("log_level", False),
    "log_file": ("log_file", False),
    "capture": ("capture", False),
    "coverage": ("sysmon", True),
    "sqlite": ("sqlite", False),
    "lines": ("same lines", False),
    "interpreter": ("interpreter", False),
}
# Advice that belongs to a defect, too: the same time can be saved in other ways.
ALSO = {
    "rewriting": {"bytecode"},
    "bytecode": {"rewriting"},
    "coverage": {"hasten cov", "coverage"},
    "import": {"gc"},
    "gc": {"gc thresholds"},
    "log_file": {"gc thresholds"},
    "teardown": {"fixture scope server tests/test_teardown.py:6"},
    "retries": {"sleep tests/test_retries.py:8"},
}
BURN = "    end = time.thread_time() + {}\n    while time.thread_time() < end:\n        pass\n"
MANY = "\n".join(f"def test_many_{i}():\n    assert {i} == {i} and [{i}] == [{i}], 'never'\n" for i in range(600))
LOUD = (
    "import logging\n\nlog = logging.getLogger('app')\n\n\ndef test_loud():\n    for i in range({n}):\n"
    "        log.{how}('number %d of %s', i, 'many')\n"
)
PRINTS = "def test_prints():\n    for i in range({n}):\n        print('number', i)\n"
RETRIED = (
    "import time\n\nimport pytest\n\n\n@pytest.mark.flaky(reruns=2)\ndef test_retried(tries=[{tries}]):\n"
    + BURN.format(0.3)
    + "    tries.append(1)\n    assert len(tries) > 2\n"
)
SQLITE = (
    "import sqlite3\n\n\ndef test_rows(tmp_path):\n    data = sqlite3.connect(tmp_path / 'x.db')\n{pragma}"
    "    data.execute('CREATE TABLE t (i)')\n    for i in range(150):\n"
    "        with data:\n            data.execute('INSERT INTO t VALUES (?)', (i,))\n    data.close()\n"
)
GARBAGE = (
    "def test_garbage():\n    kept = []\n    for _ in range(30):\n"
    "        kept = [*kept[-5:], [[i] for i in range(100_000)]]\n        rows = [{'a': [i]} for i in range(60_000)]\n"
    "    assert rows\n"
)
THRESHOLDS = "    gc.set_threshold(50_000, 20, 20)\n"
LINES = "import time\n\n\ndef run(n):\n" + BURN.format(0.08) + "    return n\n"
COVERED = (
    "def steps(n):\n    total = 0\n    for i in range(n):\n        if i % 3 == 0:\n            total += i\n"
    "        else:\n            total -= 1\n    return total\n"
)


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def used(names):
    """Plugins that these defects are about."""
    return ({"pytest_cov"} if {"coverage", "lines"} & names else set()) | (
        {"rerunfailures"} if "retries" in names else set()
    )


def make(folder, defects, like=()):
    """A small project; without defects it is healthy. like: it has what these are about, and nothing wrong with it."""
    about = set(defects) | set(like)
    ini, addopts = ["[pytest]", "# kept", "pythonpath = ."], []
    if "plugins" not in defects:
        names = {one.name for one in entry_points(group="pytest11")} - {"hasten"} - used(about)
        addopts += [f"-p no:{name}" for name in sorted(names)]
    for i in range(4):
        write(folder, f"tests/test_{i}.py", TESTS.format(i))
    if "testpaths" in defects:
        for i in range(60):
            for j in range(40):
                write(folder, f"data/d{i}/e{j}/part.txt", "x")
    else:
        ini.append("testpaths = tests")
    collector = "import gc\n\ngc.disable()\n\n\n" if "gc" not in defects else "import gc\n\n\n"
    thresholds = THRESHOLDS if "thresholds" in like else ""
    write(folder, "conftest.py", collector + "def pytest_collection_finish():\n    gc.freeze()\n    gc.enable()\n"
          + thresholds)  # fmt: skip
    if "gc" in defects:
        (folder / "conftest.py").unlink()
    for name in about:
        if name in MAKERS:
            MAKERS[name](folder, name in defects, ini, addopts)
    write(folder, "slow.py", BUSY.format(0.4) + "value = 1\n")
    if addopts:
        ini.append("addopts = " + " ".join(addopts))
    write(folder, "pytest.ini", "\n".join(ini) + "\n")
    return folder


def make_sleep(folder, bad, ini, addopts):
    sleep = "    time.sleep(0.08)\n" if bad else "    pass\n"
    write(folder, "tests/test_sleep.py", "import time\n\n\ndef wait():\n" + sleep + "\n\ndef test_wait():\n"
          "    for _ in range(5):\n        wait()\n")  # fmt: skip


def make_import(folder, bad, ini, addopts):
    body = "import slow\n\n\ndef unused():\n    return slow.value\n\n\n" if bad else ""
    write(folder, "tests/test_import.py", body + "def test_value():\n    pass\n")


def make_production(folder, bad, ini, addopts):
    if bad:
        app = "import slow\n\n\ndef pay():\n    return slow.value\n"
    else:
        app = "def pay():\n    import slow\n\n    return slow.value\n"
    write(folder, "app.py", app + "\n\ndef price():\n    return 2\n")
    write(folder, "tests/test_app.py", "import app\n\n\ndef test_price():\n    assert app.price() == 2\n")


def make_scope(folder, bad, ini, addopts):
    scope = "function" if bad else "session"
    write(folder, "tests/test_scope.py", f"import time\n\nimport pytest\n\n\n@pytest.fixture(scope='{scope}')\n"
          "def table():\n" + BURN.format(0.04) + "    return (1, 2)\n\n\n"
          "@pytest.mark.parametrize('n', range(12))\ndef test_table(table, n):\n    assert table\n")  # fmt: skip


def make_unused(folder, bad, ini, addopts):
    argument = "server" if bad else ""
    write(folder, "tests/test_unused.py", "import time\n\nimport pytest\n\n\n@pytest.fixture\ndef server():\n"
          + BURN.format(0.4) + f"\n\ndef test_no_server({argument}):\n    pass\n")  # fmt: skip


def make_teardown(folder, bad, ini, addopts):
    end = BURN.format(0.1) if bad else "    pass\n"
    write(folder, "tests/test_teardown.py", "import time\n\nimport pytest\n\n\n@pytest.fixture\ndef server():\n"
          "    yield 1\n" + end + "\n\n@pytest.mark.parametrize('n', range(4))\ndef test_server(server, n):\n"
          "    assert server\n")  # fmt: skip


def make_rewriting(folder, bad, ini, addopts):
    """A package beside the project, loaded as a plugin, with many modules that assert."""
    docstring = "" if bad else '"""PYTEST_DONT_REWRITE"""\n'
    body = "".join(f"def check_{i}(a):\n    assert a == {i} and [a] == [{i}], a\n\n" for i in range(25))
    for i in range(24):
        write(folder.parent / f"lib-{folder.name}", f"big/part_{i}.py", docstring + body)
    write(folder.parent / f"lib-{folder.name}", "big/__init__.py", "".join(f"import big.part_{i}\n" for i in range(24)))
    addopts.append("-p big")


def make_coverage(folder, bad, ini, addopts):
    addopts.append("--cov=covered --cov-report=")
    write(folder, "covered.py", COVERED)
    write(folder, "tests/test_covered.py", "import covered\n\n\ndef test_steps():\n"
          "    assert covered.steps(3_000_000)\n")  # fmt: skip
    write(folder, "pyproject.toml", "[tool.coverage.run]\n# kept\n" + ("" if bad else 'core = "sysmon"\n'))


def make_lines(folder, bad, ini, addopts):
    write(folder, "covered.py", LINES)
    write(folder, "tests/test_lines.py", "import pytest\n\nimport covered\n\n\n"
          f"@pytest.mark.parametrize('n', range({6 if bad else 1}))\ndef test_run(n):\n"
          "    assert covered.run(n) == n\n")  # fmt: skip


def make_log_cli(folder, bad, ini, addopts):
    write(folder, "tests/test_loud.py", LOUD.format(n=12_000, how="warning"))
    if bad:
        ini.append("log_cli = true")


def make_log_level(folder, bad, ini, addopts):
    write(folder, "tests/test_loud_level.py", LOUD.format(n=40_000, how="debug"))
    if bad:
        ini.append("log_level = DEBUG")


def make_log_file(folder, bad, ini, addopts):
    write(folder, "tests/test_loud_file.py", LOUD.format(n=100_000, how="warning"))
    if bad:
        ini.append("log_file = all.log")


def make_capture(folder, bad, ini, addopts):
    write(folder, "tests/test_prints.py", PRINTS.format(n=400_000))
    if bad:
        addopts.append("--capture=tee-sys")


def make_file(name, text):
    return lambda folder, bad, ini, addopts: write(folder, f"tests/test_{name}.py", text[bad])


def make_interpreter(folder, bad, ini, addopts):
    """Another interpreter is faster: it stands in for a newer one."""
    write(folder, "tests/test_fast.py", "import os\nimport time\n\n\ndef test_fast():\n"
          "    if 'FAST' in os.environ:\n        return\n" + (BURN.format(0.4) if bad else ""))  # fmt: skip
    write(folder, "other-python", f'#!/bin/sh\nFAST=1 exec {shlex.quote(sys.executable)} "$@"\n')
    (folder / "other-python").chmod(0o755)


MAKERS = {
    "sleep": make_sleep,
    "import": make_import,
    "production": make_production,
    "scope": make_scope,
    "unused": make_unused,
    "teardown": make_teardown,
    "rewriting": make_rewriting,
    "coverage": make_coverage,
    "lines": make_lines,
    "log_cli": make_log_cli,
    "log_level": make_log_level,
    "log_file": make_log_file,
    "capture": make_capture,
    "interpreter": make_interpreter,
    "retries": make_file("retries", [RETRIED.format(tries="1, 1"), RETRIED.format(tries="")]),
    "bytecode": make_file("many", [MANY, MANY]),
    "thresholds": make_file("garbage", [GARBAGE, GARBAGE]),
    "sqlite": make_file("sqlite", [
        SQLITE.format(pragma="    data.execute('PRAGMA synchronous = OFF')\n"), SQLITE.format(pragma="")]),
}  # fmt: skip


def plain_environment(defects, folder=None):
    """folder: the project, where a package beside it is needed."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if folder is not None and (lib := folder.parent / f"lib-{folder.name}").is_dir():
        environment["PYTHONPATH"] = str(lib)
    if {"bytecode", "rewriting"} & set(defects):
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return environment


def doctor(folder, environment, *args):
    command = [PROGRAM, "doctor", "--python", sys.executable, "--json", "--no-orders"]
    command += ["-n", "1", *args]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"doctor ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def seconds(folder, environment):
    """One plain run, in its own process's folder and environment."""
    here = os.getcwd()
    before = dict(os.environ)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    try:
        with Suite(PROGRAM, [], "1") as suite:
            return suite.run().quiet_s
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)


def truth(defect, pairs, base):
    """What the project without the defect saves: the median over interleaved pairs."""
    bad, good = make(base / "bad", {defect}), make(base / "good", set(), {defect})
    environments = {
        bad: plain_environment({defect}, bad),
        good: plain_environment({defect} - {"bytecode"}, good),
    }
    found = []
    for i in range(pairs + 1):
        times = {}
        for folder in (bad, good)[:: 1 if i % 2 else -1]:
            times[folder] = seconds(folder, environments[folder])
        if i:  # the first pair fills caches
            found.append(times[bad] - times[good])
    return statistics.median(found), 1.4826 * statistics.median(abs(d - statistics.median(found)) for d in found)


def command_truth(options):
    wrong = []
    names = options.only.split(",") if options.only else list(DEFECTS)
    for name in names:
        key, _fixable = DEFECTS[name]
        with tempfile.TemporaryDirectory(prefix="hasten-bench-") as folder:
            base = pathlib.Path(folder)
            seen = make(base / "seen", {name})
            more = [] if name == "lines" else ["--no-lines"]
            other = str(seen / "other-python")
            more += ["--interpreter", other] if name == "interpreter" else ["--no-interpreters"]
            page = doctor(seen, plain_environment({name}, seen), "--pairs", str(options.pairs), *more)
            real, noise = truth(name, options.pairs, base)
        found = {
            c["key"].replace(f" {other}", ""): c
            for c in page["candidates"]
            if c["saving"]["sure"] and not c["differences"]
        }
        said = found[key]["saving"]["seconds"] if key in found else 0.0
        error = said / real - 1 if real else 0.0
        others = sorted(set(found) - {key} - ALSO.get(name, set()))
        stated = found[key]["saving"]["spread"] + noise if key in found else 0.0
        good = key in found and (abs(error) <= 0.2 or abs(said - real) <= max(0.02, stated)) and not others
        wrong += [] if good else [name]
        if key not in found:
            print(f"{name}: notes: {[note['text'] for note in page['notes']]}")
            print(f"{name}: tried: {[(c['key'], c['saving'], c['differences'][:2]) for c in page['candidates']]}")
        also = f"; also advised: {others}" if others else ""
        print(f"{name:10} said {said:5.2f} s ({found.get(key, {}).get('saving', {}).get('sure', 'not found')}), "
              f"truth {real:5.2f} s +-{noise:.2f}, {error * 100:+4.0f} %{also}", flush=True)  # fmt: skip
    print(f"WRONG: {', '.join(wrong)}" if wrong else "each defect was found, its saving within 20 % or the noise")
    return 1 if wrong else 0


def command_fix(options):
    fixable = {name for name, (_key, can) in DEFECTS.items() if can}
    fixable &= set(options.only.split(",")) if options.only else fixable
    with tempfile.TemporaryDirectory(prefix="hasten-bench-") as folder:
        base = pathlib.Path(folder)
        environment = plain_environment(set())
        bad, fixed = make(base / "bad", fixable), make(base / "fixed", fixable)
        good = make(base / "good", set(), fixable)
        page = doctor(
            fixed,
            environment,
            "--fix",
            "--no-lines",
            "--no-interpreters",
            "--within",
            "1h",
            "--pairs",
            str(options.pairs),
        )
        rounds = []
        for i in range(options.pairs + 1):
            times = [seconds(folder, environment) for folder in (bad, fixed, good)]
            if i:
                rounds.append(times)
        possible = statistics.median(b - g for b, _f, g in rounds)
        gained = statistics.median(b - f for b, f, _g in rounds)
        print(page["diff"])
    for candidate in page["candidates"]:
        if candidate["fixed"]:
            print(f"{candidate['key']}: {candidate['fixed']}")
    print(f"possible {possible:.2f} s, gained {gained:.2f} s: {gained / possible * 100:.0f} %")
    return 0 if gained >= 0.95 * possible else 1


def command_healthy(options):
    with tempfile.TemporaryDirectory(prefix="hasten-bench-") as folder:
        page = doctor(
            make(pathlib.Path(folder), set(), set(DEFECTS) - {"rewriting"}),
            plain_environment(set()),
            "--no-interpreters",
            "--pairs",
            str(options.pairs),
        )
    advised = [f"{c['key']}: {c['saving']['seconds']:.3f} s" for c in page["candidates"] if c["advised"]]
    print("\n".join(advised) or "no advice")
    return 1 if advised else 0


def command_tail(options):
    """One test is longer than a worker's share: how much later two workers end than if it were split in two."""
    one = "import time\n\n\ndef test_{}():\n    time.sleep({})\n"
    with tempfile.TemporaryDirectory(prefix="hasten-bench-") as name:
        base = pathlib.Path(name)
        for kind, parts in (("bad", [2.4]), ("good", [1.2, 1.2])):
            for i, slept in enumerate([*parts, *[0.15] * 8]):
                write(base / kind, f"test_{i}.py", one.format(i, slept))
        command = [PROGRAM, "doctor", "--python", sys.executable, "--json", "--no-orders", "--no-lines", "-n", "2"]
        done = subprocess.run(command, cwd=base / "bad", capture_output=True, text=True, check=True)
        (note,) = [note for note in json.loads(done.stdout)["notes"] if note["key"] == "tail"]
        found = []
        for i in range(options.pairs + 1):
            times = {}
            for kind in ("bad", "good")[:: 1 if i % 2 else -1]:
                start = time.monotonic()
                run = [PROGRAM, "run", "--python", sys.executable, "--no-live", "-n", "2"]
                subprocess.run(run, cwd=base / kind, capture_output=True, check=True)
                times[kind] = time.monotonic() - start
            if i:
                found.append(times["bad"] - times["good"])
    said = float(re.search(r"ends ([0-9.]+) s later", note["text"])[1])
    real = statistics.median(found)
    print(f"tail: said {said:.2f} s, truth {real:.2f} s; {note['details'][0]}")
    return 0 if abs(said - real) <= 0.2 * real else 1


def followed(folder, candidate, say):
    """Does what was advised, in files of this copy. What is left for the command: (arguments, environment), or None."""
    key, variant = candidate["key"], candidate["variant"]
    if candidate["edits"]:
        for edit in candidate["edits"]:
            edit = IniEdit(**edit)
            path = fix.target(str(folder), say["inipath"], edit)
            fix.write(path, fix.edited(path, fix.read(path), edit))
        return [], {}
    if key in ("gc", "gc thresholds"):
        conftest = folder / "conftest.py"
        old = conftest.read_text() if conftest.exists() else ""
        start = "import gc\n\ngc.disable()\n" if key == "gc" else "import gc\n\n"
        then = "gc.enable()" if key == "gc" else f"gc.set_threshold(*{variant['simulate']['thresholds']})"
        hook = f"\n\ndef pytest_collection_finish():\n    gc.freeze()\n    {then}\n"
        conftest.write_text(start + old + hook)
        return [], {}
    if key.startswith("import "):
        file, _, line = key.removeprefix("import ").rpartition(":")
        path = folder / file
        tree = ast.parse(path.read_text())
        lazy = simulate.Lazy.__new__(simulate.Lazy)
        lazy.lines = {str(path): {int(line)}}
        lazy.edit(tree, path)
        path.write_text(ast.unparse(tree))
        return [], {}
    if key.startswith("sleep "):
        file, _, line = key.removeprefix("sleep ").rpartition(":")
        lines = (folder / file).read_text().splitlines(keepends=True)
        lines[int(line) - 1] = re.sub(r"\b(time\.)?sleep\(.*\)", "None", lines[int(line) - 1])
        (folder / file).write_text("".join(lines))
        return [], {}
    if variant["simulate"] or variant["python"]:
        return None
    return variant["args"], dict(variant["env"])


def corpus_seconds(folder, command, environment, changes, clock):
    """One run of a command: by the doctor's clock of this candidate."""
    environment = dict(environment)
    for name, value in changes.items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value.replace("{folder}", f"{folder}.kept")
    start, process = (
        time.monotonic(),
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ),
    )
    waited, cpu, status, _late = _end(process.pid, None)
    process.returncode = status
    if status not in (0, 1):
        raise SystemExit(f"{shlex.join(command)} ended with status {status}")
    wall = time.monotonic() - start
    return {"quiet_s": wall - waited, "wall_s": wall, "cpu_s": cpu}[clock]


def corpus_suite(options, suite):
    """Rows (key, said, its spread, truth, its spread) of what was advised."""
    python = str(options.cache.python(suite, "hasten"))
    program = str(pathlib.Path(python).with_name("hasten"))
    rows = []
    with tempfile.TemporaryDirectory(prefix="hasten-bench-") as name:
        base = pathlib.Path(name)
        for kind in ("seen", "bad"):
            shutil.copytree(options.cache.source(suite), base / kind)

        def environment(folder):
            plain = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON"))}
            return {**plain, "PYTHONPATH": str(folder / suite.src)}

        tests = [*suite.tests, *suite.args]
        command = [program, "doctor", "--json", "--no-orders", "--no-lines", "--no-interpreters", "-n", "2"]
        command += ["--within", options.within, "--pairs", str(options.pairs), *tests]
        done = subprocess.run(
            command, cwd=base / "seen", env=environment(base / "seen"), capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"{suite.name}: doctor ended with {done.returncode}: {done.stderr}")
        page = json.loads(done.stdout)
        for note in page["notes"]:
            if note["key"] in ("time", "part"):
                print(f"  {note['text']} {note['details']}", flush=True)
        inipath = next((str(base / "good" / n) for n in ("pytest.ini", "tox.ini") if (base / "seen" / n).exists()), "")
        plain = [python, "-m", "pytest", *tests]
        for candidate in (one for one in page["candidates"] if one["advised"]):
            said = candidate["saving"]
            shutil.rmtree(base / "good", ignore_errors=True)
            shutil.copytree(base / "bad", base / "good")
            more = followed(base / "good", candidate, {"inipath": inipath})
            if more is None:
                print(f"{suite.name:14} {candidate['key']:20} said {said['seconds']:5.2f} s, cannot be followed here")
                continue
            found = []
            good = [*plain, *more[0]]
            if candidate["variant"]["runner"] == "run":
                good = [program, "run", "--no-live", "-n", "2", *tests]
            sides = {"bad": (plain, {}), "good": (good, more[1])}
            for i in range(options.pairs + 1):
                times = {}
                for kind in ("bad", "good")[:: 1 if i % 2 else -1]:
                    run, changes = sides[kind]
                    folder = base / kind
                    times[kind] = corpus_seconds(folder, run, environment(folder), changes, candidate["clock"])
                if i:
                    found.append(times["bad"] - times["good"])
            real = statistics.median(found)
            noise = 1.4826 * statistics.median(abs(d - real) for d in found)
            rows.append((candidate["key"], said["seconds"], said["spread"], real, noise, page["total_s"]))
            print(f"{suite.name:14} {candidate['key']:20} said {said['seconds']:5.2f} s +-{said['spread']:.2f} of "
                  f"{page['total_s']:.2f} s, truth {real:5.2f} s +-{noise:.2f}", flush=True)  # fmt: skip
    if not rows:
        print(f"{suite.name:14} no advice ({page['total_s']:.2f} s)", flush=True)
    return rows


def command_corpus(options):
    options.cache = suites.Cache(options.cache)
    rows = [row for suite in suites.load(options.only.split(",")) for row in corpus_suite(options, suite)]
    wrong = [key for key, said, spread, real, noise, _total in rows
             if abs(said - real) > max(0.2 * abs(real), 0.02, spread + noise)]  # fmt: skip
    idle = [key for key, _said, _spread, real, noise, _total in rows if real + noise <= 0]
    print(f"{len(rows)} advised; {len(wrong)} not within 20 % or the noise: {wrong}; {len(idle)} did not pay: {idle}")
    return 1 if wrong or idle else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, function, pairs in (
        ("truth", command_truth, 7),
        ("fix", command_fix, 5),
        ("healthy", command_healthy, 7),
        ("tail", command_tail, 5),
        ("corpus", command_corpus, 5),
    ):
        verb = verbs.add_parser(name)
        verb.add_argument("--pairs", type=int, default=pairs)
        verb.add_argument("--only", default="", help="some of " + ",".join(DEFECTS) + "; of corpus: suites")
        verb.set_defaults(function=function)
    verb.add_argument("--cache", default=suites.DEFAULT_CACHE, help="of corpus.py prepare --hasten")
    verb.add_argument("--within", default="10m", help="the time that the doctor has for each suite")
    options = parser.parse_args()
    return options.function(options)


if __name__ == "__main__":
    sys.exit(main())
