"""Coverage by hasten's collector is coverage.py's: processes, threads and tools, beside its C tracer where that can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("coverage")
pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="no sys.monitoring")

DRIVER = """
import json, os, runpy, sys
core, branch, program, contexts = sys.argv[1:5]
import coverage
cov = coverage.Coverage(data_file=None, branch=branch == "1", include=[program], config_file=False)
if core == "hasten":
    from hasten import monitor
    assert monitor.why_not(cov, contexts) == "", monitor.why_not(cov, contexts)
    monitor.start(cov, contexts)
    switch = monitor.switch
else:
    cov.start()
    switch = cov.switch_context
namespace = runpy.run_path(program, init_globals={"switch": switch if contexts else None, "core": core})
cov.stop()
if core == "hasten":
    monitor.finish(cov)
data = cov.get_data()
found = {}
for context in data.measured_contexts():
    data.set_query_context(context)
    found[context] = sorted(data.lines(program) or ())
print("FOUND " + json.dumps([found, namespace.get("result")]))
"""


def measure(tmp_path: Path, core: str, program: str, *, branch: bool = False, contexts: str = ""):
    """Lines by context, and the program's own `result`."""
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    env = {key: value for key, value in os.environ.items() if key != "COVERAGE_CORE"}
    if core != "hasten":
        env["COVERAGE_CORE"] = core
    command = [sys.executable, str(driver), core, str(int(branch)), str(path), contexts]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("FOUND "))[6:])


def same(tmp_path: Path, program: str, contexts: str = "") -> dict[str, list[int]]:
    """The lines of all contexts, equal to those of coverage.py's C tracer with and without branches."""
    lines: dict[str, list[int]] = {}
    for branch in (False, True):
        own, _ = measure(tmp_path, "hasten", program, branch=branch, contexts=contexts)
        lines, _ = measure(tmp_path, "ctrace", program, branch=branch, contexts=contexts)
        assert own == lines
    return lines


def test_threads(tmp_path):
    lines = same(
        tmp_path,
        """
        import threading
        def work(n):
            for i in range(n):
                if i == 2:
                    continue
            return n
        threads = [threading.Thread(target=work, args=(n,)) for n in (1, 5)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """,
    )
    assert set(range(2, 11)) - {1} <= set(lines[""])


def test_asyncio_and_generators_closed_late(tmp_path):
    lines = same(
        tmp_path,
        """
        import asyncio, gc
        def generator():
            try:
                yield 1
            finally:
                closed = 1
        async def endless():
            try:
                while True:
                    yield 1
            finally:
                ended = 1
        async def main():
            async for x in endless():
                break
            await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))
        kept = generator()
        next(kept)
        asyncio.run(main())
        del kept
        gc.collect()
        """,
    )
    assert {7, 13} <= set(lines[""])


def test_code_that_is_made_while_the_program_runs(tmp_path):
    lines = same(
        tmp_path,
        """
        def f(x):
            if x:
                return 1
            return 2
        text = "\\n" * 20 + "def g():\\n    return 1\\ng()\\n"
        exec(compile(text, __file__, "exec"), {})
        copy = type(f)(f.__code__.replace(co_name="copy"), globals())
        copy(0)
        exec(compile("x = 1", "<string>", "exec"), {})
        """,
    )
    assert {2, 5, 21, 22, 23} <= set(lines[""])
    assert 4 not in lines[""]


def test_lines_far_behind_the_end_of_the_file(tmp_path):
    lines = same(
        tmp_path,
        """
        for at in (300, 3000, 70000):
            exec(compile("\\n" * at + "if at:\\n    pass\\n", __file__, "exec"), {"at": at})
        """,
    )
    assert {301, 3001, 70001} <= set(lines[""])


def test_a_hundred_thousand_code_objects_take_no_memory(tmp_path):
    program = """
        import resource
        def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        def run(n):
            for i in range(n):
                exec(compile(f"def f(a):\\n    return a + {i}\\nf(1)\\n", __file__, "exec"), {})
        run(10000)
        before = peak()
        run(100000)
        result = peak() - before
        """
    for branch in (False, True):
        _, grown_kib = measure(tmp_path, "hasten", program, branch=branch)
        assert grown_kib < 4096


FORKS = """
    import os
    def child(x):
        if x:
            y = 1
        return x
    pid = os.fork()
    if pid == 0:
        child(1)
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_what_a_forked_child_ran_is_there(tmp_path):
    """coverage.py needs `patch = fork` and a file of the child's own for that."""
    own, _ = measure(tmp_path, "hasten", FORKS)
    assert {2, 3, 4, 5, 6, 7, 8, 9, 10, 11} <= set(own[""])
    own, _ = measure(tmp_path, "hasten", FORKS.replace("os._exit(0)", "os.kill(os.getpid(), 9)"), branch=True)
    assert {4, 5, 6} <= set(own[""])


def test_contexts_of_a_parent_and_of_its_child_are_apart(tmp_path):
    program = """
        import os
        def f(): return 1
        def g(): return 2
        switch("parent")
        pid = os.fork()
        if pid == 0:
            switch("child")
            f()
            os._exit(0)
        os.waitpid(pid, 0)
        g()
        switch("")
    """
    own, _ = measure(tmp_path, "hasten", program, contexts="test")
    assert 3 in own["child"]
    assert 4 not in own["child"]
    assert 4 in own["parent"]
    assert 3 not in own["parent"]


def test_worker_processes_of_multiprocessing(tmp_path):
    """Forked ones count as they are; spawned ones are processes of their own, as for coverage.py."""
    program = """
        import multiprocessing, sys
        def work(x):
            if x > 1:
                return 0
            return x
        if __name__ != "__mp_main__":
            context = multiprocessing.get_context("fork")
            with context.Pool(2) as pool:
                result = pool.map(work, range(4))
    """
    own, result = measure(tmp_path, "hasten", program)
    assert result == [0, 1, 0, 0]
    assert {4, 5, 6} <= set(own[""])


def test_contexts_are_coverages(tmp_path):
    lines = same(
        tmp_path,
        """
        def f(x):
            if x:
                return 1
            return 2
        def documented(): "nothing else"
        def one(): return 1
        class C:
            def method(self):
                "also documented"
        switch("a"); f(0); documented()
        switch("b"); f(1); one(); C().method()
        switch("c"); f(0); f(1); documented(); one()
        switch("a"); f(1)
        switch("")
        """,
        contexts="test",
    )
    assert {3, 4, 7, 12} <= set(lines["b"])


def test_functions_by_context(tmp_path):
    program = """
        def f(x):
            if x:
                return 1
        def g(): return f(1)
        switch("a"); f(0); f(0)
        switch("b"); g()
        switch("c")
        switch("a"); g()
        switch("")
    """
    for branch in (False, True):
        own, _ = measure(tmp_path, "hasten", program, branch=branch, contexts="function")
        assert own["a"] == [2, 5]
        assert own["b"] == [2, 5]
        assert set(range(2, 11)) <= set(own[""])


def test_a_trace_function_runs_beside_it(tmp_path):
    program = """
        import sys
        seen = []
        def trace(frame, event, arg):
            seen.append((event, frame.f_lineno))
            return trace
        def f():
            x = 1
            return x
        f()
        sys.settrace(trace)
        f()
        sys.settrace(None)
        result = seen
    """
    own, seen = measure(tmp_path, "hasten", program, branch=True)
    assert {8, 9} <= set(own[""])
    assert [tuple(e) for e in seen] == [("call", 7), ("line", 8), ("line", 9), ("return", 9)]


def test_another_tool_of_sys_monitoring_runs_beside_it(tmp_path):
    program = """
        import sys
        m = sys.monitoring
        tool = next(t for t in range(6) if m.get_tool(t) is None)
        m.use_tool_id(tool, "other")
        lines = []
        def f(x):
            if x:
                return 1
            return 2
        m.register_callback(tool, m.events.LINE, lambda code, line: lines.append(line))
        m.set_local_events(tool, f.__code__, m.events.LINE)
        f(1)
        m.restart_events()
        f(0)
        m.set_local_events(tool, f.__code__, 0)
        m.free_tool_id(tool)
        f(0)
        result = lines
    """
    for contexts in ("", "test"):
        own, lines = measure(tmp_path, "hasten", program, branch=True, contexts=contexts)
        assert {8, 9, 10} <= set(own[""])
        assert lines == [8, 9, 8, 10]


@pytest.mark.parametrize("taken", [(1,), (1, 3), (0, 1, 2, 3, 4, 5)])
def test_tool_ids_that_are_taken(tmp_path, taken):
    program = tmp_path / "taken.py"
    program.write_text(
        f"import sys, coverage\nfor t in {taken}: sys.monitoring.use_tool_id(t, 'somebody')\n"
        "from hasten import monitor\ncov = coverage.Coverage(data_file=None, config_file=False)\n"
        "print(monitor.why_not(cov))\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("tool id" in done.stdout) == (len(taken) == 6)


def test_too_few_addresses_for_its_memory(tmp_path):
    program = tmp_path / "few.py"
    program.write_text(
        "import resource, coverage\nfrom hasten import monitor\n"
        "cov = coverage.Coverage(data_file=None, config_file=False)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))\nprint(monitor.why_not(cov))\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert "memory" in done.stdout, done.stderr


def test_a_program_that_uses_coverage_itself(tmp_path):
    program = """
        import coverage, sys
        def f(): return 1
        inner = coverage.Coverage(data_file=None, include=[__file__], config_file=False)
        with inner.collect():
            f()
        def g():
            return 2
        g()
        result = sorted(inner.get_data().lines(__file__))
    """
    own, inner = measure(tmp_path, "hasten", program)
    assert {8, 9} <= set(own[""])
    assert 6 not in inner
    assert 3 in inner


def test_nothing_is_recorded_while_paused_and_nothing_lost_after(tmp_path):
    program = """
        from hasten import monitor
        def f():
            return 1
        def g():
            return 2
        if core == "hasten": monitor.pause()
        f(); g()
        if core == "hasten": monitor.resume()
        f()
    """
    for branch in (False, True):
        own, _ = measure(tmp_path, "hasten", program, branch=branch)
        assert 4 in own[""]
        assert 6 not in own[""]


def test_nothing_is_left_behind(tmp_path):
    program = tmp_path / "left.py"
    program.write_text(
        "import coverage, sys\nfrom hasten import monitor\n"
        "for contexts in ('', 'test', 'function', ''):\n"
        "    cov = coverage.Coverage(data_file=None, branch=True, config_file=False, include=[__file__])\n"
        "    monitor.start(cov, contexts)\n    eval(compile('\\n' * 3 + '1', __file__, 'eval'))\n    cov.stop()\n"
        "    monitor.finish(cov)\n"
        "    assert 4 in cov.get_data().lines(__file__), cov.get_data().lines(__file__)\n"
        "    assert [sys.monitoring.get_tool(i) for i in range(6)] == [None] * 6\n"
    )
    done = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
