#!/usr/bin/env python3
"""`hasten doctor` on a project that is worse than it has to be, in ways that are known.

    doctor.py truth [--pairs 7] [--only NAMES]   each defect alone: what doctor says, and the truth
    doctor.py fix   [--pairs 5]                  all defects that --fix can mend: the gain, beside the possible one
    doctor.py healthy                            the project without defects: doctor must advise nothing

Runs hasten beside this Python. Seconds are those of a plain run, without the time for which others had the processor.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import entry_points

from hasten.doctor.suite import Suite

PROGRAM = os.environ.get("HASTEN_PROGRAM") or str(pathlib.Path(sys.executable).with_name("hasten"))
BUSY = "import time\nend = time.thread_time() + {}\nwhile time.thread_time() < end:\n    pass\n"
TESTS = "import pytest\n\n\n@pytest.mark.parametrize('n', range(20))\ndef test_cheap_{}(n):\n    assert n >= 0\n"

# name -> (the key of the advice, whether --fix can mend it)
DEFECTS = {
    "testpaths": ("testpaths", True),
    "sleep": ("sleep tests/test_sleep.py:5", False),
    "import": ("import tests/test_import.py:1", False),
    "scope": ("fixture scope table tests/test_scope.py:6", False),
    "unused": ("unused fixture server tests/test_unused.py:6", False),
    "bytecode": ("bytecode", False),
    "plugins": ("plugins", True),
    "gc": ("gc", False),
}


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make(folder, defects):
    """A small project; without defects it is healthy."""
    ini = ["[pytest]", "# kept", "pythonpath = ."]
    if "plugins" not in defects:
        ini.append(
            "addopts = "
            + " ".join(f"-p no:{one.name}" for one in entry_points(group="pytest11") if one.name != "hasten")
        )
    for i in range(4):
        write(folder, f"tests/test_{i}.py", TESTS.format(i))
    if "testpaths" in defects:
        for i in range(60):
            for j in range(40):
                write(folder, f"data/d{i}/e{j}/part.txt", "x")
    else:
        ini.append("testpaths = tests")
    if "gc" not in defects:
        write(folder, "conftest.py", "import gc\n\ngc.disable()\n\n\ndef pytest_collection_finish():\n"
              "    gc.freeze()\n    gc.enable()\n")  # fmt: skip
    sleep = "    time.sleep(0.08)\n" if "sleep" in defects else "    pass\n"
    write(folder, "tests/test_sleep.py", "import time\n\n\ndef wait():\n" + sleep + "\n\ndef test_wait():\n"
          "    for _ in range(5):\n        wait()\n")  # fmt: skip
    write(folder, "slow.py", BUSY.format(0.4) + "value = 1\n")
    if "import" in defects:
        body = "import slow\n\n\ndef unused():\n    return slow.value\n\n\ndef test_value():\n    pass\n"
    else:
        body = "def test_value():\n    pass\n"
    write(folder, "tests/test_import.py", body)
    scope = "function" if "scope" in defects else "session"
    write(folder, "tests/test_scope.py", f"import time\n\nimport pytest\n\n\n@pytest.fixture(scope='{scope}')\n"
          "def table():\n    end = time.thread_time() + 0.04\n    while time.thread_time() < end:\n        pass\n"
          "    return (1, 2)\n\n\n"
          "@pytest.mark.parametrize('n', range(12))\ndef test_table(table, n):\n    assert table\n")  # fmt: skip
    argument = "server" if "unused" in defects else ""
    write(folder, "tests/test_unused.py", "import time\n\nimport pytest\n\n\n@pytest.fixture\ndef server():\n"
          "    end = time.thread_time() + 0.4\n    while time.thread_time() < end:\n        pass\n\n\n"
          f"def test_no_server({argument}):\n    pass\n")  # fmt: skip
    if "bytecode" in defects:
        many = "\n".join(
            f"def test_many_{i}():\n    assert {i} == {i} and [{i}] == [{i}], 'never'\n" for i in range(600)
        )
        write(folder, "tests/test_many.py", many)
    write(folder, "pytest.ini", "\n".join(ini) + "\n")
    return folder


def plain_environment(defects):
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if "bytecode" in defects:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return environment


def doctor(folder, environment, *args):
    command = [PROGRAM, "doctor", "--python", sys.executable, "--json", "--no-orders", "-n", "1", *args]
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
    bad, good = make(base / "bad", {defect}), make(base / "good", set())
    if defect == "bytecode":
        shutil.copy(bad / "tests/test_many.py", good / "tests/test_many.py")
    environments = plain_environment({defect}), plain_environment(set())
    found = []
    for i in range(pairs + 1):
        times = {}
        for folder, environment in [(bad, environments[0]), (good, environments[1])][:: 1 if i % 2 else -1]:
            times[folder] = seconds(folder, environment)
        if i:  # the first pair fills caches
            found.append(times[bad] - times[good])
    return statistics.median(found)


def command_truth(options):
    wrong = []
    names = options.only.split(",") if options.only else list(DEFECTS)
    for name in names:
        key, _fixable = DEFECTS[name]
        with tempfile.TemporaryDirectory(prefix="hasten-bench-") as folder:
            base = pathlib.Path(folder)
            page = doctor(make(base / "seen", {name}), plain_environment({name}), "--pairs", str(options.pairs))
            real = truth(name, options.pairs, base)
        found = {c["key"]: c for c in page["candidates"] if c["advised"]}
        said = found[key]["saving"]["seconds"] if key in found else 0.0
        error = said / real - 1 if real else 0.0
        others = sorted(set(found) - {key})
        good = key in found and (abs(error) <= 0.2 or abs(said - real) <= 0.02) and not others
        wrong += [] if good else [name]
        also = f"; also advised: {others}" if others else ""
        print(f"{name:10} said {said:5.2f} s ({found.get(key, {}).get('saving', {}).get('sure', 'not found')}), "
              f"truth {real:5.2f} s, {error * 100:+4.0f} %{also}", flush=True)  # fmt: skip
    print(f"WRONG: {', '.join(wrong)}" if wrong else "each defect was found, its saving within 20 % or 20 ms")
    return 1 if wrong else 0


def command_fix(options):
    fixable = {name for name, (_key, can) in DEFECTS.items() if can}
    with tempfile.TemporaryDirectory(prefix="hasten-bench-") as folder:
        base = pathlib.Path(folder)
        environment = plain_environment(set())
        bad, fixed, good = (make(base / n, d) for n, d in (("bad", fixable), ("fixed", fixable), ("good", set())))
        page = doctor(fixed, environment, "--fix", "--pairs", str(options.pairs))
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
        page = doctor(make(pathlib.Path(folder), set()), plain_environment(set()), "--pairs", str(options.pairs))
    advised = [f"{c['key']}: {c['saving']['seconds']:.3f} s" for c in page["candidates"] if c["advised"]]
    print("\n".join(advised) or "no advice")
    return 1 if advised else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name, function, pairs in (
        ("truth", command_truth, 7),
        ("fix", command_fix, 5),
        ("healthy", command_healthy, 7),
    ):
        verb = verbs.add_parser(name)
        verb.add_argument("--pairs", type=int, default=pairs)
        verb.add_argument("--only", default="", help="some of " + ",".join(DEFECTS))
        verb.set_defaults(function=function)
    options = parser.parse_args()
    return options.function(options)


if __name__ == "__main__":
    sys.exit(main())
