"""`hasten run` on a terminal: failures at once, progress below them, and nothing of it left at the end."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import INHERITED, TAG, find_program, read_cases, tagged, wait_until

REGION = re.compile(r"\x1b7\x1b\[m\x1b\[\?7l(.*?)\x1b\[\?7h\x1b8", re.DOTALL)
CONTROL = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|[78D])")


class Terminal:
    """The program on a pseudo-terminal of its own, which it controls as a shell's would."""

    def __init__(self, folder: Path, args: tuple[str, ...], env: dict[str, str], columns: int, rows: int) -> None:
        self.folder = folder
        self.master, self.slave = pty.openpty()  # our own end of the slave keeps what is said last
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.slave)
        self.tag = uuid.uuid4().hex
        environment = {key: os.environ[key] for key in INHERITED if key in os.environ}
        environment |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", TAG: self.tag} | env
        command = [find_program(), "run", "-p", "no:cacheprovider", *args]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )
        self.raw = b""
        self.status = -1

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds: float = 0.05) -> bool:
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            self.raw += os.read(self.master, 65536)
        return bool(ready)

    def wait_for(self, text: str, seconds: float = 20) -> None:
        """Until the output (without the region) or the region shows text."""
        end = time.monotonic() + seconds
        while text not in self.text and text not in self.region:
            if time.monotonic() > end or (self.process.poll() is not None and not self.read()):
                pytest.fail(f"no {text!r} within {seconds} s; seen:\n{self.text}\nregion:\n{self.region}")
            self.read()

    def finish(self, seconds: float = 30) -> Terminal:
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            self.read()
            if time.monotonic() > end:
                pytest.fail(f"still running after {seconds} s; seen:\n{self.text}")
        while self.read(0):
            pass
        self.status = self.process.returncode
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"
        assert not tagged(self.tag)
        return self

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for line in tagged(self.tag):
            os.kill(int(line.split()[0]), signal.SIGKILL)
        os.close(self.master)
        os.close(self.slave)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def release(self) -> None:
        """Lets tests that wait for it go on (WAIT)."""
        (self.folder / "go").touch()

    @property
    def output(self) -> str:
        return self.raw.decode(errors="replace")

    @property
    def text(self) -> str:
        """Everything but the region, without colours and the like."""
        return CONTROL.sub("", REGION.sub("", self.output)).replace("\r", "")

    @property
    def region(self) -> str:
        """What the region showed last."""
        shown = REGION.findall(self.output)
        return CONTROL.sub("", shown[-1]).replace("\r", "\n") if shown else ""

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)


@pytest.fixture
def on_terminal() -> Iterator[Callable[..., Terminal]]:
    """on_terminal(folder, *args, env={}, columns=80, rows=24) -> Terminal."""
    terminals: list[Terminal] = []

    def start(
        folder: Path, *args: str, env: dict[str, str] | None = None, columns: int = 80, rows: int = 24
    ) -> Terminal:
        terminals.append(Terminal(folder, args, env or {}, columns, rows))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


WAIT = """
    def wait():
        import os, time
        while not os.path.exists("go"):
            time.sleep(0.01)
"""
FAILING = {
    "waiting.py": WAIT,
    "test_a.py": """
        import pytest, warnings
        from waiting import wait

        @pytest.fixture
        def broken():
            raise RuntimeError("broken set-up")

        @pytest.fixture
        def leaky():
            yield
            print("said in teardown")
            raise RuntimeError("broken teardown")

        def test_fail():
            print("said in test")
            assert 1 == 2

        def test_error(broken): pass
        def test_leak(leaky): pass
        def test_warns(): warnings.warn("take care")

        @pytest.mark.parametrize("n", range(20))
        def test_ok(n): pass

        def test_waits(): wait()
    """,
}


def test_failures_come_in_full_when_they_happen_and_once(suite, on_terminal):
    terminal = on_terminal(suite(FAILING), "-n2", "--dist=load", "--junitxml=junit.xml")
    for text in (
        "_ test_fail _",
        "assert 1 == 2",
        "said in test",
        "broken set-up",
        "broken teardown",
        "said in teardown",
    ):
        terminal.wait_for(text)
    assert terminal.process.poll() is None
    terminal.wait_for("3 failed")
    terminal.release()
    text = terminal.finish().text
    assert terminal.status == 1
    for once in (
        ">       assert 1 == 2",
        "E       assert 1 == 2",
        "Captured stdout call",
        "Captured stdout teardown",
        "_ test_fail _",
        "_ ERROR at setup of test_error _",
        "_ ERROR at teardown of test_leak _",
    ):
        assert text.count(once) == 1, text
    for title in ("= FAILURES =", "= ERRORS ="):
        assert title not in text
    for kept in ("short test summary info", "FAILED test_a.py::test_fail", "ERROR test_a.py::test_error", "take care"):
        assert kept in text
    assert "1 failed, 23 passed, 1 warning, 2 errors in" in text
    outcomes = [case.outcome for case in read_cases(terminal.folder / "junit.xml")]
    assert sorted(set(outcomes)) == ["error", "failed", "passed"]
    assert len(outcomes) == 25


def test_there_are_no_dots_but_a_region_with_progress(suite, on_terminal):
    terminal = on_terminal(suite(FAILING), "-n2")
    terminal.wait_for("24/25")
    assert "96%" in terminal.region
    assert "3 failed" in terminal.region
    terminal.wait_for("test_a.py::test_waits")  # running for more than a second
    terminal.release()
    text = terminal.finish().text
    assert not re.search(r"(?m)^\.", text)
    assert "[100%]" not in text
    assert "━" not in text
    assert "25/25" not in text


def test_verbose_keeps_a_line_for_each_test(suite, on_terminal):
    terminal = on_terminal(suite(FAILING), "-n2", "-v")
    terminal.wait_for("test_a.py::test_ok[19] PASSED")
    terminal.release()
    text = terminal.finish().text
    for line in [rf"test_ok\[{n}\] PASSED" for n in range(20)] + ["test_fail FAILED"]:
        assert len(re.findall(rf"(?m)^test_a.py::{line} +\[ *\d+%\]$", text)) == 1, text
    assert len(re.findall(r"(?m)^test_a.py::test_ok", text)) == 20
    assert "= FAILURES =" not in text
    assert "assert 1 == 2" in text


@pytest.mark.parametrize(
    ("args", "seen", "unseen"),
    [
        (["--tb=no"], ["FAILED test_a.py::test_fail"], ["said in test", "_ test_fail _", ">       assert 1 == 2"]),
        (["--tb=line"], ["test_a.py:17: assert 1 == 2"], ["_ test_fail _"]),
        (["-rN"], [">       assert 1 == 2"], ["FAILED test_a.py::test_fail", "short test summary"]),
        (["-q"], [">       assert 1 == 2", "1 failed, 23 passed"], ["test session starts", "\nhasten: "]),
        (["--no-summary"], ["1 failed, 23 passed"], [">       assert 1 == 2", "short test summary"]),
        (["--show-capture=no"], [">       assert 1 == 2"], ["Captured stdout"]),
    ],
    ids=lambda value: value[0] if value[0].startswith("-") else "",
)
def test_options_of_the_summary_count(suite, on_terminal, args, seen, unseen):
    terminal = on_terminal(suite(FAILING), "-n2", *args)
    terminal.release()
    text = terminal.finish().text
    assert not [part for part in seen if part not in text], text
    assert not [part for part in unseen if part in text], text
    assert terminal.status == 1


def test_collection_errors_are_shown_once(suite, on_terminal):
    terminal = on_terminal(
        suite({"test_a.py": "import no_such_module_x\n", "test_b.py": "def test_b(): pass\n"}), "-n2"
    )
    text = terminal.finish().text
    assert text.count("_ ERROR collecting test_a.py _") == 1, text
    assert text.count("E   ModuleNotFoundError") == 1, text
    assert "Interrupted: 1 error during collection" in text
    assert terminal.status == 2


def test_a_crash_is_shown_at_once(suite, on_terminal):
    crash = "import os\nfrom waiting import wait\ndef test_dies(): os.kill(os.getpid(), 9)\ndef test_waits(): wait()\n"
    terminal = on_terminal(suite({"waiting.py": WAIT, "test_a.py": crash}), "-n2")
    terminal.wait_for("killed by SIGKILL")
    terminal.release()
    assert terminal.finish().status == 1
    assert terminal.text.count("_ test_a.py::test_dies _") == 1


def test_keys_are_not_echoed_while_the_region_is_shown(suite, on_terminal):
    terminal = on_terminal(suite(FAILING), "-n2")
    terminal.wait_for("24/25")
    assert not terminal.echoes
    terminal.type("typed ahead\r")
    terminal.release()
    assert "typed ahead" not in terminal.finish().text
    assert terminal.echoes


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_with_2_and_leaves_the_terminal_as_it_was(suite, on_terminal, times):
    stubborn = "import time\ndef test_a():\n    try: time.sleep(60)\n    except KeyboardInterrupt: time.sleep({})\n"
    terminal = on_terminal(
        suite({"test_a.py": stubborn.format(60 if times == 2 else 0), "test_b.py": "def test(): pass"}), "-n2"
    )
    terminal.wait_for("test_a.py::test_a")
    terminal.type("\x03")
    if times == 2:
        terminal.wait_for("stopping")
        terminal.type("\x03")
    assert terminal.finish().status == 2, terminal.text
    assert ("KeyboardInterrupt" in terminal.text) == (times == 1)
    assert ("hasten run --resume" in terminal.text) == (times == 2), terminal.text


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(suite, on_terminal):
    terminal = on_terminal(suite(FAILING), "-n2")
    terminal.wait_for("24/25")
    terminal.type("\x1a")
    stat = Path(f"/proc/{terminal.process.pid}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 20, "stopped")
    while terminal.read():
        pass
    assert terminal.echoes
    assert terminal.output.endswith("\x1b[J\x1b8")  # the region is gone
    n = len(terminal.raw)
    terminal.process.send_signal(signal.SIGCONT)
    wait_until(lambda: terminal.read() and REGION.search(terminal.raw[n:].decode(errors="replace")), 20, "the region")
    assert not terminal.echoes
    terminal.release()
    assert terminal.finish().status == 1


def test_a_resize_reaches_pytest_and_the_region(suite, on_terminal):
    terminal = on_terminal(suite(FAILING), "-n2", columns=80)
    terminal.wait_for("24/25")
    terminal.resize(50, 12)
    n = len(terminal.raw)
    terminal.process.send_signal(signal.SIGWINCH)
    wait_until(lambda: terminal.read() and REGION.search(terminal.raw[n:].decode(errors="replace")), 20, "the region")
    assert max(map(len, terminal.region.split("\n"))) < 50
    terminal.release()
    lines = terminal.finish().text.split("\n")
    assert [len(line) for line in lines if "short test summary" in line] == [50]


def test_no_color_has_none(suite, on_terminal):
    terminal = on_terminal(suite(FAILING), "-n2", env={"NO_COLOR": "1"})
    terminal.release()
    assert not re.search(r"\x1b\[[0-9;]+m", terminal.finish().output)


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"CI": "true"}], ids=str)
def test_no_live_screen_where_it_does_not_belong(suite, on_terminal, env):
    terminal = on_terminal(suite(FAILING), "-n2", env=env)
    terminal.release()
    text = terminal.finish().text
    assert "= FAILURES =" in text
    assert re.search(r"(?m)^[.FE]{10}", text), text
    assert not REGION.search(terminal.output)


def test_output_of_tests_is_live_with_s(suite, on_terminal):
    said = (
        "from waiting import wait\ndef test_a():\n    print('said early', flush=True)\n    wait()\ndef test_b(): pass\n"
    )
    terminal = on_terminal(suite({"waiting.py": WAIT, "test_a.py": said}), "-n2", "-s")
    terminal.wait_for("said early")
    assert terminal.process.poll() is None
    terminal.release()
    assert terminal.finish().status == 0


def test_tests_do_not_see_how_pytest_was_told(suite, on_terminal):
    look = "import os\ndef test_a(): assert 'HASTEN_LIVE' not in os.environ\ndef test_b(): pass\n"
    assert on_terminal(suite({"test_a.py": look}), "-n2").finish().status == 0


def test_another_terminal_reporter_is_left_alone(suite, on_terminal):
    conftest = """
        import pytest
        from _pytest.terminal import TerminalReporter

        class Own(TerminalReporter):
            def summary_failures(self):
                self.write_line("my own failures")

        @pytest.hookimpl(trylast=True)
        def pytest_configure(config):
            config.pluginmanager.unregister(name="terminalreporter")
            config.pluginmanager.register(Own(config), "terminalreporter")
    """
    conftest = conftest.replace("class Own(TerminalReporter)", "class Own(TerminalReporter.__mro__[0])")
    terminal = on_terminal(suite(FAILING | {"conftest.py": conftest}), "-n2")
    terminal.release()
    text = terminal.finish().text
    assert "my own failures" in text
    assert "= ERRORS =" in text
    assert re.search(r"(?m)^[.FE]{10}", text), text


def test_a_debugger_in_a_worker_gets_the_keys(suite, on_terminal):
    tests = "def test_a():\n    value = 6\n    breakpoint()\ndef test_b(): pass\n"
    terminal = on_terminal(suite({"test_a.py": tests}), "-n2")
    terminal.wait_for("(Pdb)")
    wait_until(lambda: not termios.tcgetattr(terminal.slave)[3] & termios.ISIG, 20, "all keys lent")
    terminal.type("p value * 7\r")
    terminal.wait_for("42")
    terminal.type("c\r")
    assert terminal.finish().status == 0, terminal.text
    assert "2 passed" in terminal.text


@pytest.mark.parametrize("env", [{}, {"CI": "true"}], ids=["live", "not-live"])
def test_a_debugger_gets_the_keys(suite, on_terminal, env):
    terminal = on_terminal(
        suite({"test_a.py": "def test_a():\n    value = 6\n    assert 0\n"}), "-n0", "--pdb", env=env
    )
    terminal.wait_for("(Pdb)")
    terminal.type("p value * 7\r")
    terminal.wait_for("42")
    terminal.type("q\r")
    assert terminal.finish().status == 2, terminal.text


ASKS = """
    import signal, subprocess, sys
    def test_asks():
        assert input("your name? ") == "Ada"
        print("and then?", flush=True)
        assert sys.stdin.readline() == "second\\n"
        assert signal.getsignal(signal.SIGTTIN) == signal.SIG_DFL
        print("thanks")
    def test_quick(): pass
"""


@pytest.mark.parametrize("env", [{}, {"CI": "true"}], ids=["live", "not-live"])
def test_a_test_that_asks_under_s_gets_the_keys(suite, on_terminal, env):
    """As in plain pytest, and however long it takes to answer."""
    terminal = on_terminal(suite({"test_a.py": ASKS}), "-n2", "-s", "--timeout=1", env=env)
    terminal.wait_for("your name? ")
    wait_until(lambda: not terminal.read(1.5), 20, "the time limit has passed")
    terminal.type("Ada\r")
    terminal.wait_for("and then?")
    terminal.type("second\r")
    terminal.wait_for("thanks")
    assert terminal.finish().status == 0, terminal.text
    assert "2 passed" in terminal.text


def test_tests_of_two_workers_ask_one_after_the_other(suite, on_terminal):
    asks = "def test_{0}():\n    assert input('{0}? ') == 'it is {0}'\n    print('got {0}', flush=True)\n"
    files = {f"test_{name}.py": asks.format(name) for name in ("one", "two")}
    terminal = on_terminal(suite(files), "-n2", "-s", "--dist=loadfile")
    wait_until(lambda: terminal.read() and re.search(r"(one|two)\? ", terminal.text), 20, "a question")
    found = re.search(r"(one|two)\? ", terminal.text)
    assert found
    first = found[1]
    other = {"one": "two", "two": "one"}[first]
    for name in (first, other):
        terminal.wait_for(f"{name}? ")
        terminal.type(f"it is {name}\r")
        terminal.wait_for(f"got {name}")
    assert terminal.finish().status == 0, terminal.text


def test_a_process_that_a_test_has_started_may_ask(suite, on_terminal):
    code = "print('name?', flush=True); assert input() == 'Ada'"
    tests = f"import subprocess, sys\ndef test_a(): subprocess.run([sys.executable, '-c', {code!r}], check=True)\n"
    terminal = on_terminal(suite({"test_a.py": tests, "test_b.py": "def test_b(): pass\n"}), "-n2", "-s")
    terminal.wait_for("name?")
    terminal.type("Ada\r")
    assert terminal.finish().status == 0, terminal.text


def test_without_a_terminal_a_question_has_no_answer_as_in_pytest(suite, run_hasten):
    tests = "import pytest\ndef test_a():\n    with pytest.raises(EOFError): input()\ndef test_b(): pass\n"
    assert run_hasten(suite({"test_a.py": tests}), "-n2", "-s").status == 0
    run = run_hasten(suite({"test_a.py": "def test_a(): input()\ndef test_b(): pass\n"}), "-n2")
    assert "reading from stdin while output is captured" in run.out


def test_ctrl_c_of_one_process_is_pytests(suite, on_terminal):
    tests = "import time\ndef test_a():\n    print('it runs', flush=True)\n    time.sleep(1000)\n"
    terminal = on_terminal(suite({"test_a.py": tests}), "-n0", "-s", env={"CI": "true"})
    terminal.wait_for("it runs")
    terminal.type("\x03")
    assert terminal.finish().status == 2
    assert terminal.text.count("! KeyboardInterrupt !") == 1
    assert re.search(r"^\S+:\d+: KeyboardInterrupt", terminal.text, re.MULTILINE)  # in print still, or in sleep
