"""--collect=parallel: what several processes collect is what one collects, or one collects it and says why."""

from __future__ import annotations

import json
import os
import signal
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run, tagged, wait_until
from twins import Twins

PARALLEL, ONCE = "parallel", "once"
COLLECTORS = {"HASTEN_TEST_COLLECTORS": "3"}
ANEW = [PARALLEL, "anew", ONCE]

TESTS = """
import pytest

def test_one(): pass
def test_two(): assert {n} != 3

@pytest.mark.parametrize("x, y", [(1, 2), (1, 2), ("a", "b")])
def test_three(x, y): pass

@pytest.mark.slow
class TestFour:
    def test_five(self, own): assert own == __name__
    def test_six(self): pytest.skip("no")

@pytest.fixture(scope="module")
def own(): return __name__
"""
FILES = {f"test_{i:02}.py": TESTS.format(n=i) for i in range(8)}
INI = "[pytest]\nmarkers = slow\n"


class Pair:
    """Plain pytest, and hasten with one way of collecting, on the same files."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        source = folder / "source"
        for name, text in ({"pytest.ini": INI} | files).items():
            path = source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        self.folder = folder
        self.twins = {collect: Twins(folder / collect, source) for collect in (ONCE, PARALLEL)}
        self.n = 0

    def same(
        self,
        *args: str,
        how: list[str],
        workers: tuple[str, ...] = ("-n", "3"),
        why: str = "",
        out: str = "",
        once: bool = False,
    ) -> str:
        """Everything that pytest says is said. how: the events of --collect=parallel; once: --collect=once, too."""
        text = ""
        for collect, twins in self.twins.items():
            if collect == ONCE and not once:
                continue
            self.n += 1
            trace = self.folder / f"trace-{self.n}"
            env = COLLECTORS | {"HASTEN_TRACE": str(trace)}
            workers = (*workers, f"--collect={collect}")
            plain, own = twins.run("--junitxml=junit.xml", "-rA", *args, record=True, env=env, workers=workers)
            text = f"{plain.raw}\n{own.raw}\n{trace.read_text() if trace.exists() else ''}"
            assert own.status == plain.status, text
            assert own.counts() == plain.counts(), text
            assert own.short_summary() == plain.short_summary(), text
            for title in ("ERRORS", "FAILURES", "PASSES"):
                assert own.blocks(title) == plain.blocks(title), text
                if title == "ERRORS":  # of collection: in their order
                    assert own.sections().get(title) == plain.sections().get(title), text
            assert own.warnings() == plain.warnings(), text
            assert own.junit() == plain.junit(), text
            for one in (own, plain):  # counted, but known to the reporting process by their ids alone
                one.reports = [report for report in one.reports if report["when"] != "deselected"]
            assert own.phases() == plain.phases(), text
            events = [json.loads(line) for line in trace.read_text().splitlines() if '"ev":"collect"' in line]
            assert [event["how"] for event in events] == (how if collect == PARALLEL else [ONCE]), text
            if collect == PARALLEL:
                assert why in " ".join(event["why"] for event in events), text
                assert out in own.out, text
        return text


@pytest.fixture
def pair(tmp_path: Path) -> Callable[[dict[str, str]], Pair]:
    return lambda files: Pair(tmp_path, files)


OPTIONS = [[], ["-k", "three or five"], ["-m", "slow"], ["-k", "nothing_is_so"], ["--maxfail=1", "-k", "not two"],
           ["--deselect", "test_05.py::test_one", "--deselect", "test_02.py"], ["--ignore=test_03.py"],
           ["test_06.py", "test_01.py", "test_02.py"], ["--import-mode=importlib"], ["--import-mode=append"],
           ["--capture=sys"], ["-q"], ["-vv"],
           ["-W", "error"], ["--doctest-modules"]]  # fmt: skip


@pytest.mark.parametrize("args", OPTIONS, ids=" ".join)
def test_options_select_the_same_tests(args: list[str], pair: Callable[..., Pair]) -> None:
    pair(FILES).same(*args, how=[PARALLEL], once=args[:1] in ([], ["-k"], ["--deselect"]))


@pytest.mark.slow
@pytest.mark.parametrize("dist", ["loadfile", "loadscope", "worksteal"])
def test_groups_are_kept_together(dist: str, pair: Callable[..., Pair]) -> None:
    pair(FILES).same(how=[PARALLEL], workers=("-n", "3", "--dist", dist))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "why"), [(("-n", "3", "--dist=loadgroup"), "--dist loadgroup"), (("-n", "1"), "one w")]
)
def test_ways_to_share_that_need_one_collector(workers: tuple[str, ...], why: str, pair: Callable[..., Pair]) -> None:
    pair(FILES).same(how=[ONCE], workers=workers, why=why)


@pytest.mark.slow
@pytest.mark.parametrize(("args", "why"), [
    (["test_01.py::test_two", "test_03.py"], "single tests are named"),
    (["-s"], "--capture=no"),
    (["--log-file=log"], "--log-file"),
    (["-o", "log_cli=1"], "live logs"),
])  # fmt: skip
def test_options_that_need_one_collector_have_one(args: list[str], why: str, pair: Callable[..., Pair]) -> None:
    pair(FILES).same(*args, how=[ONCE], why=why)


@pytest.mark.slow
def test_failed_first_of_an_earlier_run(pair: Callable[..., Pair]) -> None:
    both = pair(FILES)
    both.same(how=[PARALLEL])
    for option in ("--lf", "--ff", "--nf"):
        text = both.same(option, how=[ONCE], why=option)
        assert "1 failed" in text


ERROR = "import pytest\ndef test_here(): pass\nraise RuntimeError('at import')\n"


@pytest.mark.parametrize("args", [[], ["-x"], ["--maxfail=2"], ["--continue-on-collection-errors"]], ids=" ".join)
def test_an_error_in_one_file(args: list[str], pair: Callable[..., Pair]) -> None:
    files = FILES | {"test_04.py": ERROR, "test_06.py": "import nothing_of_this_name\n", "test_07.py": "def (:\n"}
    text = pair(files).same(*args, how=ANEW, why="has an error", out="collected once more, by one process: test_0")
    assert "at import" in text


def test_an_error_in_the_first_file_is_found_before_the_fork(pair: Callable[..., Pair]) -> None:
    pair(FILES | {"test_00.py": ERROR}).same(how=[ONCE], why="test_00.py has an error")


@pytest.mark.slow
@pytest.mark.parametrize("text", ["import sys\nsys.exit(7)\n", "import pytest\npytest.exit('enough', 9)\n",
                                  "raise KeyboardInterrupt\n"], ids=["sys", "pytest", "key"])  # fmt: skip
@pytest.mark.parametrize("name", ["test_03.py", "test_07.py"])
def test_a_file_that_ends_collection(name: str, text: str, pair: Callable[..., Pair]) -> None:
    """What is written then is the same, whoever collects."""
    both = pair(FILES | {name: text})
    trace = both.folder / "trace"
    said = {}
    for collect, twins in both.twins.items():
        env = COLLECTORS | {"HASTEN_TRACE": str(trace)}
        plain, own = twins.run(env=env, workers=("-n", "3", f"--collect={collect}"))
        assert own.status == plain.status, f"{plain.raw}\n{own.raw}\n{trace.read_text()}"
        lines = own.text().splitlines()
        said[collect] = [line.strip("=! ") for line in lines if not line.startswith("hasten: ")]
    assert said[PARALLEL] == said[ONCE]
    events = [json.loads(line) for line in trace.read_text().splitlines() if '"ev":"collect"' in line]
    assert [event["how"] for event in events] == [ONCE, *ANEW]


def test_modules_that_skip_or_print_or_warn_at_import(pair: Callable[..., Pair]) -> None:
    files = FILES | {
        "test_02.py": "import pytest\npytest.skip('not here', allow_module_level=True)\n",
        "test_04.py": "import pytest\npytest.importorskip('nothing_of_this_name')\n",
        "test_05.py": "import warnings\nwarnings.warn('at import of five')\nprint('five')\ndef test_it(): pass\n",
        "test_06.py": "import sys\nprint('six')\nprint('six', file=sys.stderr)\ndef test_it(): print('inside')\n",
        "test_07.py": "import warnings\nwarnings.warn('at import of seven')\ndef test_it(): pass\n",
    }
    text = pair(files).same(how=[PARALLEL])
    assert "at import of five" in text


@pytest.mark.slow
@pytest.mark.parametrize("capture", ["fd", "sys"])
def test_what_a_conftest_of_a_folder_prints_is_printed_once(capture: str, pair: Callable[..., Pair]) -> None:
    """Every process imports it."""
    prints = "import sys\nprint('on output', flush=True)\nprint('on error', file=sys.stderr, flush=True)\n"
    test = "import os\ndef test_it(capfd):\n    os.write(2, b'x')\n    assert capfd.readouterr().err == 'x'\n"
    files = FILES | {"x/conftest.py": prints, "x/test_x.py": test, "a/conftest.py": prints, "a/test_y.py": test}
    both = pair(files)
    both.same(f"--capture={capture}", how=[PARALLEL], once=True)
    said = []
    for collect, twins in both.twins.items():
        workers = ("-n", "3", f"--collect={collect}")
        own = twins.run(f"--capture={capture}", env=COLLECTORS, workers=workers)[1]
        said.append((own.out.count("on output"), own.err.count("on error")))
    assert said[0] == said[1], own.raw


@pytest.mark.slow
def test_a_warning_that_one_process_might_show_once_is_left_to_one(pair: Callable[..., Pair]) -> None:
    warns = "import lib\ndef test_w(): pass\n"
    files = FILES | {"lib.py": "import warnings\nwarnings.warn('of lib')\n", "test_02.py": warns, "test_07.py": warns}
    pair(files | {"conftest.py": ""}).same(how=ANEW, why="several processes have warned of of lib")


HOOKS = {
    "pytest_collection_modifyitems": "def pytest_collection_modifyitems(items): items.reverse()\n",
    "pytest_itemcollected": "def pytest_itemcollected(item): item.add_marker('slow')\n",
    "pytest_deselected": "def pytest_deselected(items): pass\n",
    "pytest_collection_finish": "def pytest_collection_finish(session): assert len(session.items) > 9\n",
    "pytest_report_collectionfinish": "def pytest_report_collectionfinish(items): return f'{len(items)} found'\n",
    "pytest_collectreport": "def pytest_collectreport(report): pass\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_that_see_all_tests_have_one_collector(hook: str, pair: Callable[..., Pair]) -> None:
    pair(FILES | {"conftest.py": HOOKS[hook]}).same(how=[ONCE], why=f"{hook} of", out=f"by one process: {hook} of ")


def test_such_a_hook_in_a_folder_is_seen_when_it_is_there(pair: Callable[..., Pair]) -> None:
    files = FILES | {f"x/test_x{i}.py": TESTS.format(n=3) for i in range(3)} | {"x/__init__.py": ""}
    files["x/conftest.py"] = "def pytest_collection_modifyitems(items): items.sort(key=lambda i: i.name)\n"
    pair(files).same(how=ANEW, why="pytest_collection_modifyitems of")


def test_session_items_are_all_of_them_for_whoever_asks(pair: Callable[..., Pair]) -> None:
    asks = """
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def whole(request):
            return [item.nodeid for item in request.session.items], request.session.testscollected
    """
    test = "def test_whole(whole): assert (len(whole[0]), whole[1]) == (64, 64), whole\n"
    pair({name: text + test for name, text in FILES.items()} | {"conftest.py": asks}).same(how=[PARALLEL])


def test_one_module_name_in_two_folders_is_left_to_one(pair: Callable[..., Pair]) -> None:
    files = FILES | {"a/test_same.py": "def test_a(): pass\n", "b/test_same.py": "def test_b(): pass\n"}
    pair(files).same(how=ANEW, why="have the same module name")


def test_equal_names_in_packages(pair: Callable[..., Pair]) -> None:
    files = {f"{p}/test_same.py": TESTS.format(n=9) for p in ("a", "b", "c/d")}
    files |= {f"{p}/__init__.py": "" for p in ("a", "b", "c", "c/d")}
    package = """
        import pytest

        @pytest.fixture(scope="package", autouse=True)
        def packed(request): return request.node.name

        @pytest.fixture(scope="session")
        def whole(tmp_path_factory): return tmp_path_factory.mktemp("whole")
    """
    files |= {f"{p}/conftest.py": package for p in ("a", "b")}
    files["b/test_more.py"] = "def test_p(packed, whole): assert packed == 'b' and whole.exists()\n"
    pair(files).same(how=[PARALLEL])


def test_sys_path_is_as_one_collector_leaves_it(pair: Callable[..., Pair]) -> None:
    """Files of other processes are not imported, but their folders are on the path, in the same order."""
    shows = "import os, sys\nPATH = [os.path.basename(p) for p in sys.path]\ndef test_p(): assert PATH == {}, PATH\n"
    folders = ("a", "b", "c", "d")
    files = {f"{p}/test_of_{p}.py": "def test_it(): pass\n" for p in folders}
    files |= {"a/helper_of_a.py": "VALUE = 7\n", "d/test_of_d.py": "import helper_of_a\ndef test_h(): pass\n"}
    files["d/test_zz.py"] = shows.format("PATH[:0] + PATH and PATH")
    files["d/test_first.py"] = "import sys, os\nFIRST = [os.path.basename(p) for p in sys.path[:4]]\n"
    files["d/test_first.py"] += "def test_f(): assert FIRST == ['d', 'c', 'b', 'a'], FIRST\n"
    pair(files).same(how=[PARALLEL])


def test_a_test_module_that_another_one_imports(pair: Callable[..., Pair]) -> None:
    files = FILES | {"test_05.py": "from test_01 import test_one, TestFour\nfrom test_00 import own\n"}
    pair(files).same(how=[PARALLEL])


@pytest.mark.slow
def test_parameters_of_session_scope_order_tests_of_several_files(pair: Callable[..., Pair]) -> None:
    fixture = (
        "import pytest\n@pytest.fixture(scope='session', params=[1, 2])\ndef both(request): return request.param\n"
    )
    files = FILES | {"conftest.py": fixture, "test_05.py": "def test_a(both): pass\ndef test_b(both): pass\n"}
    pair(files).same(how=ANEW, why="have parameters of a scope" if False else "has parameters of a scope")


def test_parameters_of_module_and_class_scope(pair: Callable[..., Pair]) -> None:
    text = """
        import pytest

        @pytest.fixture(scope="module", params=[1, 2])
        def m(request): return request.param

        @pytest.fixture(scope="class", params=[1, 2])
        def c(request): return request.param

        def test_a(m): pass
        def test_b(): pass
        class TestC:
            def test_d(self, c, m): pass
            def test_e(self, c): pass
        def test_f(m): pass
    """
    pair({f"test_{i}.py": text for i in range(6)}).same("-v", how=[PARALLEL], workers=("-n", "3", "--dist=loadfile"))


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 3])
def test_more_workers_than_files(n: int, pair: Callable[..., Pair]) -> None:
    pair(dict(list(FILES.items())[:n])).same(how=[PARALLEL] if n > 2 else [ONCE], workers=("-n", "6"))


@pytest.mark.slow
def test_one_huge_file_among_small_ones(pair: Callable[..., Pair]) -> None:
    huge = "import pytest\n@pytest.mark.parametrize('i', range(1500))\ndef test_h(i): pass\n" + "# long\n" * 5000
    pair(FILES | {"test_03.py": huge}).same("-q", how=[PARALLEL])


@pytest.mark.slow
def test_files_of_other_kinds_are_left_to_one(pair: Callable[..., Pair]) -> None:
    yaml = """
        import pytest

        def pytest_collect_file(parent, file_path):
            if file_path.suffix == ".yaml":
                return Yaml.from_parent(parent, path=file_path)

        class Yaml(pytest.File):
            def collect(self): yield Item.from_parent(self, name="it")

        class Item(pytest.Item):
            def runtest(self): pass
            def reportinfo(self): return self.path, 0, self.name
    """
    files = FILES | {"conftest.py": yaml, "test_04.yaml": "x\n"}
    pair(files).same(how=ANEW, why="is collected by a plugin (Yaml)")


@pytest.mark.slow
def test_unittest_and_doctest_files(pair: Callable[..., Pair]) -> None:
    case = """
        import unittest

        class Case(unittest.TestCase):
            '''
            >>> 1 + 1
            2
            '''
            @classmethod
            def setUpClass(cls): cls.there = 1
            def test_a(self): self.assertEqual(self.there, 1)
            def test_b(self): self.fail("no")
    """
    files = {f"test_u{i}.py": case for i in range(5)} | {
        "test_read.txt": ">>> 1\n2\n",
        "pkg/mod.py": "'''\n>>> 3\n3\n'''\n",
    }
    pair(files).same("--doctest-modules", how=[PARALLEL])


CRASH = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"


def test_a_file_that_kills_its_process_at_import(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    folder = suite(FILES | {"pytest.ini": INI, "test_06.py": CRASH})
    said = {}
    for collect in (ONCE, PARALLEL):
        run = run_hasten(folder, "-n", "3", f"--collect={collect}", "-p", "no:faulthandler", env=COLLECTORS, timeout=90)
        lines = run.out.splitlines()
        assert "the process that collects tests died" in run.out, run.describe()
        said[collect] = (
            run.status,
            [line for line in lines if line.startswith("hasten: ") and "once more" not in line],
        )
    assert said[PARALLEL] == said[ONCE]
    assert [event["how"] for event in run.events("collect")][:2] == [PARALLEL, "anew"], run.describe()
    assert "a process that collected has died" in run.out


def test_a_crash_that_does_not_come_again_costs_nothing(
    suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    """Only in a process that collects beside others: what it had is collected by one process."""
    text = "import os, pathlib, signal\nif not pathlib.Path('seen').exists():\n    pathlib.Path('seen').touch()\n"
    folder = suite(
        FILES | {"pytest.ini": INI, "test_06.py": f"{text}    os.kill(os.getpid(), 9)\ndef test_it(): pass\n"}
    )
    run = run_hasten(folder, "-n", "3", "--collect=parallel", env=COLLECTORS)
    assert [event["how"] for event in run.events("collect")] == ANEW, run.describe()
    assert len([case for case in run.cases() if case.name]) == 7 * 7 + 1, run.describe()


def test_a_worker_that_crashes_is_replaced_from_where_its_tests_are(
    suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    crash = "import os, signal\ndef test_a(): pass\ndef test_dies(): os.kill(os.getpid(), signal.SIGKILL)\n"
    crash += "def test_z(): pass\n"
    folder = suite(FILES | {"pytest.ini": INI, "test_06.py": crash, "test_00.py": crash})
    run = run_hasten(folder, "-n", "3", "--collect=parallel", env=COLLECTORS).no_traceback_of_ours()
    cases = [(case.file, case.name, case.outcome) for case in run.cases() if case.name]
    assert sorted(case for case in cases if case[1] == "test_dies") == [
        ("test_00", "test_dies", "failed"), ("test_06", "test_dies", "failed")], run.describe()  # fmt: skip
    assert len(cases) == len(set(cases)) == 6 * 7 + 6, run.describe()
    assert [event["how"] for event in run.events("collect")] == [PARALLEL]


@pytest.mark.parametrize("name", ["test_00.py", "test_07.py"], ids=["template", "beside"])
def test_killing_a_process_that_has_collected_loses_no_result(
    name: str, suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    """A test kills the process that its worker was forked from: the template, or one that collected beside it."""
    kills = "import os\ndef test_kills(): os.kill(os.getppid(), 9)\n"
    files = FILES | {"pytest.ini": INI, "test_03.py": "def test_passes(): pass\n"}
    folder = suite(files | {name: kills + "def test_after(): pass\n"})
    run = run_hasten(folder, "-n", "3", "--collect=parallel", env=COLLECTORS, timeout=90).no_traceback_of_ours()
    cases = [(case.file, case.name) for case in run.cases() if case.name]
    assert len(cases) == len(set(cases)) == 6 * 7 + 1 + 2, run.describe()
    assert run.status == 0, run.describe()


def test_a_part_with_much_left_gets_a_worker_more(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    """Half of the files are over at once; who ran them helps with the others."""
    slow = "import time, pytest\n@pytest.mark.parametrize('i', range(12))\ndef test_s(i): time.sleep(0.1)\n"
    files = {f"test_{i}.py": "def test_q(): pass\n" + "# as long as the others\n" * 4 for i in range(4)}
    files |= {f"test_z{i}.py": slow for i in range(2)}
    folder = suite(files)
    env = {"HASTEN_TEST_COLLECTORS": "2"}
    run = run_hasten(folder, "-n", "2", "--collect=parallel", env=env)
    assert run.status == 0, run.describe()
    assert len(run.events("result")) == 28, run.describe()
    assert run.events("part_helped"), run.describe()
    last = run.events("worker_start")[-1]["slot"]
    assert any(event["slot"] == last for event in run.events("result")), run.describe()


def test_the_supervisor_s_death_ends_all_that_collect(
    suite: Callable[..., Path], start_hasten: Callable[..., Run]
) -> None:
    waits = "import time, pathlib, os\npathlib.Path(f'at-{os.getpid()}').write_text('x')\ntime.sleep(600)\n"
    folder = suite(FILES | {"pytest.ini": INI, "test_04.py": waits, "test_07.py": waits})
    run = start_hasten(folder, "-n", "3", "--collect=parallel", env=COLLECTORS)
    wait_until(lambda: len(list(folder.glob("at-*"))) == 2, 20, "two that collect")
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.communicate(timeout=20)

    wait_until(lambda: not tagged(run.tag), 10, "everything to be gone")


def test_ctrl_c_while_several_collect(suite: Callable[..., Path], start_hasten: Callable[..., Run]) -> None:
    waits = "import time, pathlib, os\npathlib.Path(f'at-{os.getpid()}').write_text('x')\ntime.sleep(600)\n"
    folder = suite(FILES | {"pytest.ini": INI, "test_04.py": waits, "test_07.py": waits})
    run = start_hasten(folder, "-n", "3", "--collect=parallel", env=COLLECTORS)
    wait_until(lambda: len(list(folder.glob("at-*"))) == 2, 20, "two that collect")
    run.process.send_signal(signal.SIGINT)
    run.finish(20)
    assert run.status == 2, run.describe()


def test_nobody_collects_in_parts_unasked(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    folder = suite(FILES | {"pytest.ini": INI})
    (folder / ".hasten").mkdir()
    (folder / ".hasten" / "collect").write_text("3000000000 5000000000\n\n")
    run = run_hasten(folder, "-n", "3", env=COLLECTORS)
    assert [e["how"] for e in run.events("collect")] == [ONCE]


def test_auto_goes_by_what_earlier_runs_took(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    folder = suite(FILES | {"pytest.ini": INI})
    env = COLLECTORS
    run = run_hasten(folder, "-n", "3", "--collect=auto", env=env)
    assert [(e["how"], e["why"]) for e in run.events("collect")] == [(ONCE, "no history")]
    file = folder / ".hasten" / "collect"
    collection, whole = map(int, file.read_text().split())
    assert 0 < collection < whole < 30e9
    run = run_hasten(folder, "-n", "3", "--collect=auto", env=env)
    assert [e["how"] for e in run.events("collect")] == [ONCE]
    file.write_text("3000000000 5000000000\n\n")
    run = run_hasten(folder, "-n", "3", "--collect=auto", env=env)
    assert [e["how"] for e in run.events("collect")] == [PARALLEL]
    assert "collection took 3.00 of 5.00 s" in run.events("collect")[0]["why"]
    assert file.read_text() == "3000000000 5000000000\n\n"


@pytest.mark.slow
def test_auto_does_not_try_again_what_could_not_be(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    folder = suite(FILES | {"pytest.ini": INI, "a/test_same.py": "def test_a(): pass\n", "b/test_same.py": ""})
    (folder / ".hasten").mkdir()
    file = folder / ".hasten" / "collect"
    file.write_text("3000000000 5000000000\n\n")
    run = run_hasten(folder, "-n", "3", "--collect=auto", "--continue-on-collection-errors", env=COLLECTORS)
    assert [e["how"] for e in run.events("collect")] == ANEW, run.describe()
    assert "have the same module name" in file.read_text()
    run = run_hasten(folder, "-n", "3", "--collect=auto", "--continue-on-collection-errors", env=COLLECTORS)
    assert [e["how"] for e in run.events("collect")] == [ONCE]
    assert "have the same module name" in run.events("collect")[0]["why"]


@pytest.mark.slow
def test_an_error_is_no_reason_for_the_next_run(suite: Callable[..., Path], run_hasten: Callable[..., Run]) -> None:
    folder = suite(FILES | {"pytest.ini": INI, "test_06.py": ERROR})
    (folder / ".hasten").mkdir()
    (folder / ".hasten" / "collect").write_text("3000000000 5000000000\n\n")
    for _ in range(2):
        run = run_hasten(folder, "-n", "3", "--collect=auto", "--continue-on-collection-errors", env=COLLECTORS)
        assert [e["how"] for e in run.events("collect")] == ANEW, run.describe()


def test_a_thread_started_by_a_file_asks_for_the_early_start(
    suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    """Found in a process that collects beside the template as it is in the template."""
    thread = "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='own').start()\n"
    folder = suite(FILES | {"pytest.ini": INI, "test_07.py": thread + "def test_it(): pass\n"})
    run = run_hasten(folder, "-n", "3", "--collect=parallel", env=COLLECTORS)
    assert [event["why"] for event in run.events("early")] == [
        "thread 'own' was started before the workers are forked"
    ], run.describe()
    assert len([case for case in run.cases() if case.name]) == 7 * 7 + 1, run.describe()


def test_the_first_run_of_a_suite_needs_no_folder_of_ours(
    suite: Callable[..., Path], run_hasten: Callable[..., Run]
) -> None:
    """Late: pytest --hasten is the same engine."""
    folder = suite(FILES | {"pytest.ini": INI})
    run = run_hasten(folder, "-n", "3", "--collect=parallel", "--session-once", "own", env=COLLECTORS)
    assert [e["why"] for e in run.events("collect")] == ["--session-once"], run.describe()
