"""``python -m hasten``: the hasten program that was installed with this package, with this interpreter.

As with ``python -m pytest``, the current folder is on the suite's import path.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig


def find_program() -> str | None:
    """The path of the ``hasten`` program beside this interpreter, or on PATH; None when there is none."""
    name = "hasten"
    for folder in (sysconfig.get_path("scripts"), os.path.dirname(sys.executable)):
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    return shutil.which(name)


def main() -> int:
    if sys.platform == "win32":
        print("hasten: Windows is not supported", file=sys.stderr)
        return 4
    program = find_program()
    if program is None:
        print("hasten: the hasten program is not installed beside this Python; reinstall the package", file=sys.stderr)
        return 4
    os.environ["HASTEN_PYTHON"] = sys.executable
    os.environ["HASTEN_CWD_ON_PATH"] = "1"
    return os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
