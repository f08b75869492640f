"""Run the demo of the live region in a real terminal emulator (tmux) and compare the screens with the recorded ones.

Usage: screens.py DEMO [--record]

Each recorded file is named after its size and holds the screen in the middle of the run, with the region, and after its
end. Answers 77 (skipped, for meson) where there is no tmux.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
SIZES = [(80, 24), (40, 10)]
DEADLINE_S = 20


class Screen:
    """One tmux server with one window that runs the demo."""

    def __init__(self, demo, columns, rows, folder):
        self.tmux = ["tmux", "-S", f"{folder}/tmux", "-f", "/dev/null"]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        environment.pop("TMUX", None)
        self.environment = environment
        command = f"env -u NO_COLOR -u PY_COLORS TERM=screen LC_ALL=C.UTF-8 {demo} --stop; read end"
        self("new-session", "-d", "-x", str(columns), "-y", str(rows), command)

    def __call__(self, *args):
        return subprocess.run(
            [*self.tmux, *args], env=self.environment, check=True, stdout=subprocess.PIPE, encoding="utf-8"
        ).stdout

    def wait_for(self, text):
        """The screen as soon as it holds the text."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            seen = self("capture-pane", "-p")
            if text in seen:
                return seen
            if time.monotonic() > deadline:
                raise SystemExit(f"no {text!r} on the screen within {DEADLINE_S} s:\n{seen}")
            time.sleep(0.02)


def look(demo, columns, rows):
    """The two screens as text."""
    with tempfile.TemporaryDirectory() as folder:
        screen = Screen(demo, columns, rows, folder)
        try:
            middle = screen.wait_for("gw0  2.1 s")
            screen("send-keys", "Enter")
            end = screen.wait_for("hasten: slowest")
        finally:
            screen("kill-server")
    return f"=== in the middle\n{middle.rstrip()}\n=== at the end\n{end.rstrip()}\n"


def main():
    demo, record = pathlib.Path(sys.argv[1]).resolve(), "--record" in sys.argv[2:]
    if not shutil.which("tmux"):
        print("no tmux")
        return 77
    failed = 0
    for columns, rows in SIZES:
        golden = HERE / f"line-{columns}x{rows}.txt"
        seen = look(demo, columns, rows)
        if record:
            golden.write_text(seen, encoding="utf-8")
        elif seen != golden.read_text(encoding="utf-8"):
            print(f"{golden.name} was:\n{golden.read_text(encoding='utf-8')}\nis now:\n{seen}")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
