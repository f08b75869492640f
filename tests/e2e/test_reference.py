"""docs/reference/cli.md says what the program says."""

import pathlib
import subprocess
import sys

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "reference.py"


def test_the_reference_page_is_up_to_date() -> None:
    hasten = pathlib.Path(sys.executable).parent / "hasten"
    done = subprocess.run([sys.executable, TOOL, hasten, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
