"""Faults outside of tests: at import, in hooks, in session fixtures. The run ends, says why, leaves nothing."""

from __future__ import annotations

import os
import signal

import pytest
from conftest import OWN_FRAME

FAULTS = {
    "segv": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "exit0": ("import os; os._exit(0)", "exit status 0"),
    "exit3": ("import os; os._exit(3)", "exit status 3"),
    "sigkill": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    "sysexit": ("import sys; sys.exit(5)", ""),
}
TESTS = "import pytest\n@pytest.mark.parametrize('i', range(4))\ndef test_quick(i): pass\n"
WORKER_ONLY = "if hasattr(config, 'workerinput'): "


def ended_with_a_word(run, *statuses):
    assert run.status in statuses, run.describe()
    assert not OWN_FRAME.search(run.err), run.describe()
    return run.out + run.err


@pytest.mark.parametrize("start", ["template", "early"])
@pytest.mark.parametrize("fault", ["segv", "exit0", "exit3", "sigkill"])
def test_fault_at_import_of_a_test_module(suite, run_hasten, fault, start):
    """Nothing can be collected: an internal error that says so, never a green run."""
    files = {"test_a.py": TESTS, "test_bad.py": FAULTS[fault][0] + "\n"}
    run = run_hasten(suite(files), "-n2", f"--start={start}")
    text = ended_with_a_word(run, 3)
    assert "died" in text
    assert "no test was run" in text
    if fault == "segv":
        assert "test_bad.py" in text, "the Python stack says where"


@pytest.mark.parametrize("start", ["template", "early"])
def test_sys_exit_at_import_of_a_test_module(suite, run_hasten, start):
    """pytest ends with that status; here too, and not with 0."""
    files = {"test_a.py": TESTS, "test_bad.py": FAULTS["sysexit"][0] + "\n"}
    run = run_hasten(suite(files), "-n2", f"--start={start}")
    assert run.status != 0, run.describe()
    assert "SystemExit" in run.out + run.err


@pytest.mark.parametrize("fault", ["segv", "sigkill"])
def test_fault_at_import_of_a_conftest(suite, run_hasten, fault):
    run = run_hasten(suite({"test_a.py": TESTS, "conftest.py": FAULTS[fault][0] + "\n"}), "-n2")
    assert FAULTS[fault][1] in ended_with_a_word(run, 3)


def test_exit_at_import_of_a_conftest_is_never_green(suite, run_hasten):
    run = run_hasten(suite({"test_a.py": TESTS, "conftest.py": FAULTS["exit0"][0] + "\n"}), "-n2")
    assert run.status == 3, run.describe()
    assert "hasten:" in run.err


@pytest.mark.parametrize("fault", ["segv", "exit0"])
@pytest.mark.parametrize("hook", ["pytest_configure(config)", "pytest_collection_modifyitems(config)"])
def test_fault_in_a_workers_hook_before_tests(suite, run_hasten, fault, hook):
    conftest = f"def {hook}:\n    {WORKER_ONLY}{FAULTS[fault][0].replace('; ', '; ')}\n"
    for module in ("os", "ctypes"):
        conftest = conftest.replace(f"import {module}; {module}", f"__import__('{module}')")
    run = run_hasten(suite({"test_a.py": TESTS, "conftest.py": conftest}), "-n2")
    text = ended_with_a_word(run, 3)
    assert "died" in text
    assert "no test was run" in text


@pytest.mark.parametrize("fault", ["segv", "exit0", "sigkill", "loop"])
def test_fault_in_teardown_of_a_session_fixture(suite, run_hasten, fault):
    """It belongs to the last test of each worker, whose teardown it is."""
    code = FAULTS[fault][0] if fault in FAULTS else "while True: pass"
    conftest = f"""
    import pytest
    @pytest.fixture(scope="session", autouse=True)
    def everything():
        yield
        {code}
    """
    run = run_hasten(suite({"test_a.py": TESTS, "conftest.py": conftest}), "-n2", "--timeout=0.5")
    outcomes = run.outcomes()
    assert len(outcomes) == 4
    assert set(outcomes.values()) <= {"passed", "failed"}
    assert 1 <= list(outcomes.values()).count("failed") <= 4
    assert run.status == 1


@pytest.mark.parametrize("fault", ["segv", "exit0", "exit3", "sigkill"])
def test_fault_in_a_workers_sessionfinish_keeps_every_result(suite, run_hasten, fault):
    code = FAULTS[fault][0].split("; ")
    conftest = f"""
    {code[0]}
    def pytest_sessionfinish(session):
        if hasattr(session.config, "workerinput"): {code[1]}
    """
    run = run_hasten(suite({"test_a.py": TESTS, "conftest.py": conftest}), "-n2")
    passed = [case.name for case in run.cases() if case.outcome == "passed"]
    errors = [case.name for case in run.cases() if case.outcome == "error"]
    assert len(passed) == len(set(passed)) == 4
    assert 1 <= len(errors) <= 2, "as pytest reports what follows the last test: an error of its teardown"
    assert "end of its session" in run.out
    assert run.status == 1, run.describe()
    assert FAULTS[fault][1] in run.out + run.err, run.describe()


def test_fault_in_a_workers_unconfigure_keeps_every_result(suite, run_hasten):
    conftest = """
    import os
    def pytest_unconfigure(config):
        if hasattr(config, "workerinput"): os.kill(os.getpid(), 11)
    """
    run = run_hasten(suite({"test_a.py": TESTS, "conftest.py": conftest}), "-n2")
    assert run.outcomes() == {f"test_quick[{i}]": "passed" for i in range(4)}
    assert "died after its session: killed by SIGSEGV" in run.out


LOOPS = {"python": "while True: pass", "c": "__import__('ctypes').PyDLL(None).sleep(1000)"}
PLACES = {
    "sessionfinish": ("def pytest_sessionfinish(session):", "session.config", "at the end of its session"),
    "unconfigure": ("def pytest_unconfigure(config):", "config", "died after its session"),
    "exit": ("def pytest_unconfigure(config):\n    import atexit\n    atexit.register(endless, config)", "None", ""),
}


@pytest.mark.parametrize("start", ["template", "early"])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("place", PLACES)
def test_endless_loop_after_the_last_test_is_ended_with_its_stack_and_every_result(
    suite, run_hasten, place, loop, start
):
    head, config, said = PLACES[place]
    conftest = f"def endless(config):\n    if not hasattr(config, 'workerinput'): return\n    {LOOPS[loop]}\n\n{head}\n"
    conftest += "" if place == "exit" else f"    endless({config})\n"
    folder = suite({"test_a.py": TESTS, "conftest.py": conftest})
    run = run_hasten(folder, "-n1", "--timeout=1", f"--start={start}", env={"HASTEN_TEST_END_MS": "500"})
    cases = [(case.name, case.outcome) for case in run.cases() if case.outcome == "passed"]
    assert sorted(cases) == [(f"test_quick[{i}]", "passed") for i in range(4)]
    assert "4 passed" in run.out
    assert (said or "died after its session") in run.out, run.describe()
    assert run.out.count("in endless") == 1, "the stack says where, once\n" + run.describe()
    assert run.status == (1 if place == "sessionfinish" else 0), run.describe()


def test_slow_end_of_a_session_is_no_endless_one(suite, run_hasten):
    """--timeout is for tests: what saves their results may take longer."""
    conftest = "import time\ndef pytest_sessionfinish(session): time.sleep(0.6)\n"
    run = run_hasten(suite({"test_a.py": TESTS, "conftest.py": conftest}), "-n2", "--timeout=0.3")
    assert run.status == 0, run.describe()
    assert run.outcomes() == {f"test_quick[{i}]": "passed" for i in range(4)}


def test_endless_teardown_of_a_session_once_fixture_is_ended_with_every_result(suite, run_hasten):
    conftest = """
    import pytest
    @pytest.fixture(scope="session")
    def once():
        yield 1
        while True: pass
    """
    tests = TESTS.replace("(i): pass", "(i, once): pass")
    folder = suite({"test_a.py": tests, "conftest.py": conftest})
    run = run_hasten(folder, "-n2", "--session-once=once", "--timeout=0.5", env={"HASTEN_TEST_END_MS": "500"})
    assert run.outcomes() == {f"test_quick[{i}]": "passed" for i in range(4)}
    assert "teardown of --session-once fixtures ran into its time limit" in run.out, run.describe()
    assert "conftest.py" in run.err, "the Python stack says where"


def test_failing_teardown_of_a_session_once_fixture_is_an_error_as_in_pytest(suite, run_hasten):
    conftest = """
    import pytest
    @pytest.fixture(scope="session")
    def once():
        yield 1
        print("about to fail")
        assert 1 == 2
    """
    folder = suite({"test_a.py": TESTS.replace("(i): pass", "(i, once): pass"), "conftest.py": conftest})
    for args in (("-n0",), ("-n2", "--session-once=once")):
        run = run_hasten(folder, *args)
        assert run.status == 1, run.describe()
        assert "4 passed, 1 error" in run.out, run.describe()
        assert "ERROR at teardown of test_quick[3]" in run.out
        assert "about to fail" in run.out
        assert "assert 1 == 2" in run.out


def test_ctrl_c_ends_an_endless_loop_of_the_reporter_after_the_tests(suite, start_hasten):
    conftest = """
    def pytest_sessionfinish(session):
        if not hasattr(session.config, "workerinput"):
            with open("held", "w") as f: f.write("x")
            while True: pass
    """
    run = start_hasten(suite({"test_a.py": TESTS, "conftest.py": conftest}), "-n2")
    run.wait_file("held")
    os.kill(run.process.pid, signal.SIGINT)
    run.finish(10)
    assert run.status == 2, run.describe()


def test_exit_of_the_reporter_in_the_middle_is_never_green(suite, run_hasten):
    conftest = """
    import os
    def pytest_runtest_logreport(report):
        if "PYTEST_XDIST_WORKER" not in os.environ: os._exit(0)
    """
    run = run_hasten(suite({"test_a.py": TESTS, "conftest.py": conftest}), "-n2")
    assert run.status == 3, run.describe()
    assert "in the middle" in run.err


# ---- exceptions in hooks: pytest's own answer is expected

HOOKS = {
    "pytest_configure(config)": 1,
    "pytest_sessionstart(session)": 3,
    "pytest_collection_modifyitems(items)": 3,
    "pytest_collection_finish(session)": 3,
    "pytest_runtest_logstart(nodeid)": 3,
    "pytest_runtest_protocol(item)": 3,
    "pytest_runtest_setup(item)": 1,
    "pytest_runtest_call(item)": 1,
    "pytest_runtest_teardown(item)": 1,
    "pytest_runtest_makereport(item)": 3,
    "pytest_runtest_logreport(report)": 3,
    "pytest_runtest_logfinish(nodeid)": 3,
    "pytest_fixture_setup(request)": 1,
    "pytest_sessionfinish(session)": 1,
    "pytest_unconfigure(config)": 1,
}


@pytest.mark.slow
@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.partition("(")[0])
def test_exception_in_a_hook_ends_as_in_pytest(suite, run_hasten, hook):
    """Same exit status as with -n 0, which is pytest itself, and the exception's text is shown."""
    conftest = f"def {hook}: raise RuntimeError('raised by the hook')\n"
    tests = "import pytest\n@pytest.fixture\ndef fix(): pass\ndef test_a(fix): pass\ndef test_b(fix): pass\n"
    folder = suite({"conftest.py": conftest, "test_a.py": tests})
    plain = run_hasten(folder, "-n0")
    run = run_hasten(folder, "-n2")
    assert "raised by the hook" in plain.out + plain.err
    assert "raised by the hook" in run.out + run.err, run.describe()
    assert run.status == plain.status, plain.out + plain.err + run.describe()
