"""The fused path: every effect of a test is as under plain pytest, in every mode; what leaves the path is said."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hasten import verify

SUITE = Path(__file__).parents[1] / "suites/fuse"
# Failures that come from pytest's code alone show its frames, and there are fewer (docs/reference/differences.md).
# The list of fixtures that there are, where one is not found, has worker_id in it (there, too).
KNOWN = (
    "test_noyield [setup]: longrepr",
    "TestInner::test_i [setup]: longrepr",
    "TestInner::test_j",
    "longrepr: file",
)
if pytest.version_tuple < (9, 2):  # the same, of these pytest showed its frames until then
    KNOWN += ("test_boomdown_both [teardown]: longrepr", "test_xnorun [setup]: longrepr")
# pytest's terminal writes the letter of a failing subTest into what is captured (there, too).
LETTER = re.compile(
    r"TestSub::\w+ \[\w+\]: sections: \[\['Captured stdout call', '(u+'\]\]|SUB[A-Z]+.*) \| \[\]$|TestAsync::test_sub "
)
# Warnings of pytest's own code that are errors: the same, of these only pytest's frames are shown.
WARNED = (
    "TestC::test_b",
    "TestC::test_c",
    "test_recprop",
    "test_returns",
    "test_thread",
    "test_unraisable",
    "TestFixtures::test_a",
    "TestFixtures::test_b",
    "TestReports::test_finalizer",
    "TestReports::test_keyword",
    "TestReports::test_marker",
    "TestReports::test_property",
)
MODES = {
    "default": (),
    "sys": ("--capture=sys",),
    "tee-sys": ("--capture=tee-sys",),
    "no capture": ("-s",),
    "log level": ("--log-level=DEBUG",),
    "high log level": ("--log-level=ERROR", "--capture=sys"),
    "runxfail": ("--runxfail",),
    "verbose": ("-vv", "--durations=3"),
    "no logging": ("-p", "no:logging"),
    "no warnings": (
        "-p",
        "no:warnings",
        "test_effects.py",
        "test_doc.py",
    ),  # filters stay: no other file in that process
    "no skipping": ("-p", "no:skipping"),
    "no threads": ("-p", "no:threadexception", "-p", "no:unraisableexception"),
    "strict": ("-o", "xfail_strict=true"),
    "errors": ("-W", "error::UserWarning"),
    "first": ("-x",),
    "fault handler": ("-o", "faulthandler_timeout=60"),
}


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(SUITE, tmp_path / "suite", ignore=shutil.ignore_patterns("__pycache__", ".*")))


def record_plain(folder: Path, *args: str):
    record = folder.parent / "plain.jsonl"
    command = [sys.executable, "-m", "pytest", "-p", "no:hasten", "-p", "no:xdist", "-p", "hasten.recorder", *args,
               f"--junitxml={folder.parent}/plain.xml"]  # fmt: skip
    done = subprocess.run(command, cwd=folder, env={**os.environ, "HASTEN_RECORD": str(record)}, capture_output=True)
    return done.returncode, verify._read(str(record))


def without_last(found: verify.Reports) -> verify.Reports:
    """Without what the session's fixture says at its end: each worker has another last test."""
    for reports in found.values():
        for report in reports:
            said = [(name, text.replace("sess down\n", "")) for name, text in report["sections"]]
            report["sections"] = [[name, text] for name, text in said if text]
    return found


def record_hasten(run_hasten, folder: Path, *args: str, fuse: bool = True, addopts: str = ""):
    record = folder.parent / f"hasten-{int(fuse)}.jsonl"
    env = {"HASTEN_RECORD": str(record), "HASTEN_FUSE": str(int(fuse)), "PYTEST_ADDOPTS": addopts}
    run = run_hasten(folder, "-n2", "--dist=loadfile", "-p", "hasten.recorder", *args, env=env, timeout=120)
    return run, verify._read(str(record))


@pytest.mark.parametrize("mode", MODES)
def test_every_effect_is_as_with_plain_pytest(folder, run_hasten, mode):
    status, plain = record_plain(folder, "--doctest-modules", *MODES[mode])
    run, fused = record_hasten(run_hasten, folder, "--doctest-modules", *MODES[mode])
    if mode == "first":  # the other worker may have ended a test or two more
        fused = {key: value for key, value in fused.items() if key in plain}
    known = KNOWN + (tuple(f"{name} [" for name in WARNED) if mode == "errors" else ())
    lines = verify.compare(without_last(plain), without_last(fused))
    differences = [line for line in lines if not LETTER.search(line) and not any(text in line for text in known)]
    assert not differences, "\n".join(differences)
    assert run.status == status
    assert mode == "first" or len(plain) > (300 if mode == "no warnings" else 600)


def test_a_suite_is_fused_and_what_is_not_is_said(folder, run_hasten):
    run = run_hasten(folder, "-n2", "--explain-fuse", "--doctest-modules", timeout=120)
    lines = run.out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip("= ") == "fused path")
    fused, by_hooks = (int(lines[at + 1].split()[i]) for i in (0, 3))
    assert fused > 100 > by_hooks > 0, run.describe()
    assert any("doctest" in line for line in lines[at:])


REPLACES = """
import _pytest.runner as r
def call_and_report(*args, _own=r.call_and_report, **kwargs): return _own(*args, **kwargs)
r.call_and_report = call_and_report
"""


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        (REPLACES, "runner.call_and_report is replaced"),
        ("import pytest; pytest.__version__ = '9.99'\n", "is not in the table of known versions"),
        ("import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_runtest_protocol(item, nextitem): pass\n",
         "runs tests itself"),
        ("def pytest_assertion_pass(item, lineno, orig, expl): pass\n", "pytest_assertion_pass is listened to"),
    ],
)  # fmt: skip
def test_unknown_pytest_runs_tests_by_its_hooks(suite, run_hasten, patch, why):
    run = run_hasten(suite({"conftest.py": patch, "test_a.py": "def test_a(): pass\ndef test_b(): pass\n"}),
                     "-n2", "--explain-fuse")  # fmt: skip
    assert run.status == 0, run.describe()
    assert "0 tests fused, 2 run by pytest's hooks" in run.out, run.describe()
    assert why in run.out


@pytest.mark.parametrize("addopts", ["--tb=native", "--full-trace", "--no-fuse"])
@pytest.mark.parametrize("by", ["ini", "environment"])
def test_options_that_are_not_on_the_command_line_count(suite, run_hasten, monkeypatch, addopts, by):
    """Texts that show pytest's own frames are pytest's."""
    tests = (
        "import pytest\n@pytest.fixture\ndef f(): raise ValueError(1)\ndef test_a(f): pass\ndef test_b(): assert 0\n"
    )
    folder = suite({"test_a.py": tests, "pytest.ini": f"[pytest]\naddopts = {addopts if by == 'ini' else ''}\n"})
    if by == "environment":
        monkeypatch.setenv("PYTEST_ADDOPTS", addopts)
    given = addopts if by == "environment" else ""
    run, own = record_hasten(run_hasten, folder, "--explain-fuse", addopts=given)
    assert "0 tests fused, 2 run by pytest's hooks" in run.out, run.describe()
    if addopts == "--no-fuse":
        assert "switched off" in run.out
        return
    _status, plain = record_plain(folder)
    shown = []
    for found in (plain, own):  # a descriptor's number is in the repr of the capture manager
        shown.append({key: re.sub(r"oldfd=\d+", "", str(reports)) for key, reports in found.items()})
    assert shown[0] == shown[1]


LISTENER = """
    import pytest
    seen = []
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(item, call):
        report = yield
        seen.append((item.name, call.when, report.outcome, report.duration >= 0))
        setattr(item, "rep_" + report.when, report)
        return report
    def pytest_runtest_logreport(report):
        if hasattr(report, "node"): return
        seen.append((report.nodeid.rpartition("::")[2], report.when))
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(item):
        print("before", item.name)
        outcome = yield
        outcome.get_result()
        print("after", item.name)
    def pytest_runtest_teardown(item, nextitem):
        seen.append((item.name, "teardown hook"))
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(item, nextitem):
        seen.append((item.name, "protocol"))
        return (yield)
    @pytest.fixture
    def look(request):
        yield
        assert request.node.rep_call.passed and request.node.rep_setup.passed
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_logstart(nodeid):
        outcome = yield
        seen.append((nodeid.rpartition("::")[2], outcome.get_result()))
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(report):
        seen.append((report.nodeid, "around"))
        return (yield)
    def pytest_runtest_logfinish(nodeid, location):
        seen.append((nodeid.rpartition("::")[2], location[2]))
"""


NOISY = """
    import logging, pytest, sys
    log = logging.getLogger("outside")
    levels = []
    def noise(where):
        levels.append((where, logging.getLogger().level))
        print("noise", where); print("noise", where, file=sys.stderr)
        log.debug("noise %s", where); log.error("noise %s", where)
    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(item, call):
        caplog = (getattr(item, "funcargs", None) or {}).get("caplog") if call.when != "teardown" else None
        levels.append(caplog and [caplog.text, len(caplog.get_records(call.when))])
        noise("before the report"); outcome = yield; noise("after " + outcome.get_result().when)
    def pytest_runtest_logreport(report):
        if hasattr(report, "when"): noise("logreport " + report.when)
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(item):
        noise("before the call"); yield; noise("after the call")
    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_teardown(item):
        print("in teardown"); log.warning("in teardown"); yield; print("after teardown")
    def pytest_runtest_logstart(nodeid): noise("logstart")
    def pytest_runtest_logfinish(nodeid): noise("logfinish")
    @pytest.fixture
    def around(): print("up"); log.info("up"); yield; print("down"); log.info("down")
"""
NOISY_TESTS = """
    import json, logging, unittest, warnings, pytest
    log = logging.getLogger("inside")
    def test_nothing(): pass
    def test_print(): print("inside"); log.warning("inside")
    def test_fixture(around): pass
    def test_capsys(capsys, around): print("caught"); assert "caught" in capsys.readouterr().out; print("left")
    def test_late_capsys(request): request.getfixturevalue("capfd"); print("left")
    def test_caplog(caplog): log.warning("one"); assert len(caplog.records) == 1; caplog.set_level(5)
    def test_caplog_after(caplog): log.debug("one"); print(len(caplog.records), caplog.get_records("setup"))
    def test_warning(): warnings.warn("w")
    def test_root(): logging.getLogger().setLevel(logging.CRITICAL)
    def test_root_after(): log.error("seen?"); logging.getLogger().setLevel(logging.WARNING)
    def test_fails(around): print("inside"); assert 0
    @pytest.mark.skip
    def test_skipped(): pass
    @pytest.mark.xfail
    def test_xfails(): assert 0
    class TestCase(unittest.TestCase):
        def test_passes(self): print("inside")
        def test_fails(self): assert 0
        def test_sub(self):
            with self.subTest(1): print("sub")
    def test_last():
        from conftest import levels
        with open("levels", "w") as f: json.dump(levels, f)
"""


@pytest.mark.parametrize("args", [(), ("--log-level=DEBUG",), ("--capture=sys", "--log-level=INFO")], ids=str)
def test_noise_of_others_is_no_test_s(suite, run_hasten, args):
    """What hooks around the phases write, log and see of the loggers."""
    folder = suite({"conftest.py": NOISY, "test_a.py": NOISY_TESTS})
    found = []
    for fuse in (True, False):
        run, reports = record_hasten(run_hasten, folder, "-n1", *args, fuse=fuse)
        found.append((reports, run.status, (folder / "levels").read_text()))
    assert not (differences := verify.compare(found[1][0], found[0][0])), "\n".join(differences)
    assert found[0][1:] == found[1][1:]


WATCHER = """
    import os, pytest
    seen = []
    def look(where): seen.append((where, os.environ.get("PYTEST_CURRENT_TEST"), "PYTEST_CURRENT_TEST" in os.environ))
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol():
        look("before"); result = yield; look("after"); return result
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup():
        look("before setup"); yield; look("after setup")
    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown():
        look("before teardown"); yield; look("after teardown")
"""


def test_hooks_of_others_see_the_variable_of_the_running_test_only(suite, run_hasten):
    tests = (
        "def test_a(): pass\ndef test_b(): print(1)\n"
        "def test_last():\n    from conftest import seen\n    import json; json.dump(seen, open('seen', 'w'))\n"
    )
    folder = suite({"conftest.py": WATCHER, "test_a.py": tests})
    found = []
    for fuse in ("1", "0"):
        run = run_hasten(folder, "-n2", "--dist=loadfile", "--explain-fuse", env={"HASTEN_FUSE": fuse})
        assert ("3 tests fused" in run.out) == (fuse == "1"), run.describe()
        found.append((folder / "seen").read_text())
    assert found[0] == found[1]
    assert "after teardown" in found[0]


def test_hooks_of_others_are_called_at_their_places(suite, run_hasten):
    tests = (
        "def test_a(look): pass\ndef test_b(): pass\ndef test_c(): assert 0\n"
        "def test_order(request):\n"
        "    from conftest import seen\n"
        "    import json, os; json.dump(seen, open(os.environ['SEEN'], 'w'))\n"
    )
    folder = suite({"conftest.py": LISTENER, "test_a.py": tests})
    found = []
    for fuse in ("1", "0"):
        path = folder / f"seen-{fuse}"
        run = run_hasten(folder, "-n2", "--dist=loadfile", "-rP", "--explain-fuse",
                         env={"SEEN": str(path), "HASTEN_FUSE": fuse})  # fmt: skip
        assert run.status == 1, run.describe()
        assert ("4 tests fused" in run.out) == (fuse == "1"), run.describe()
        found.append((path.read_text(), run.outcomes()))
    assert found[0] == found[1]


def test_nothing_of_a_test_is_kept_for_those_who_heard_of_it(suite, run_hasten):
    listener = (
        "import sys\ndef pytest_runtest_logreport(report): pass\n"
        "def pytest_sessionfinish(session):\n"
        "    with open('counts', 'a') as f:\n"
        "        for item in getattr(session, 'items', []):\n"
        "            f.write(f'{sys.getrefcount(item.location)}\\n')\n"
    )
    tests = "import pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_a(n): pass\n"
    folder = suite({"conftest.py": listener, "test_a.py": tests})
    found = []
    for fuse in ("1", "0"):
        (folder / "counts").unlink(missing_ok=True)
        run = run_hasten(folder, "-n1", "--explain-fuse", env={"HASTEN_FUSE": fuse})
        assert ("20 tests fused" in run.out) == (fuse == "1"), run.describe()
        found.append(max(map(int, (folder / "counts").read_text().split())))
    assert found[0] <= found[1]
