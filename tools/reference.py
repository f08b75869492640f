"""Writes docs/reference/cli.md from what the built program says about itself, or checks that it is up to date.

Usage: reference.py HASTEN [--check]    HASTEN is the program; --check changes nothing and ends with 1 on a difference.
"""

import pathlib
import re
import subprocess
import sys

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "reference" / "cli.md"
HEAD = """\
# Command line

Written by `make docs` from the program's own help; do not edit. `hasten run` hands every option that is not listed
here to pytest: `pytest --help` lists those, and what hasten's plugin adds to them.
"""


def says(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip()


def page(hasten: str) -> str:
    overview = says(hasten, "--help")
    parts = [HEAD, f"## hasten\n\n```\n{overview}\n```\n"]
    for name in re.findall(r"^  ([a-z][a-z-]*) ", overview, re.MULTILINE):
        parts.append(f"## hasten {name}\n\n```\n{says(hasten, name, '--help')}\n```\n")
    return "\n".join(parts)


def main() -> int:
    text = page(sys.argv[1])
    if "--check" in sys.argv[2:]:
        same = PAGE.exists() and PAGE.read_text() == text
        print("reference: up to date" if same else f"reference: {PAGE} is not what the program says; run make docs")
        return 0 if same else 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
