"""Checks that every header below src/ compiles alone, so that the order of includes never matters.

Usage: headers.py [ROOT]    Exit status 1 and the compiler's words for each that does not.
"""

import os
import pathlib
import subprocess
import sys
import sysconfig


def compiler_says(root: pathlib.Path, header: pathlib.Path) -> str:
    """What the compiler has against a file that includes only this header; "" for nothing."""
    command = [os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-fsyntax-only", f"-I{root / 'src'}"]
    command += ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]
    if header.parent.name == "py":
        command.append(f"-I{sysconfig.get_path('include')}")
    line = f'#include "{header.relative_to(root / "src")}"\n'
    done = subprocess.run([*command, "-xc", "-"], input=line, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1]).resolve()
    headers = sorted((root / "src").rglob("*.h"))
    complaints = [said for header in headers if (said := compiler_says(root, header))]
    print("".join(complaints) if complaints else f"headers: {len(headers)} compile alone")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
