"""Lists the files below a folder whose names end in one of the given ways, for meson.build: one path per line.

Usage: sources.py FOLDER ENDING...    Paths are relative to the root of the source tree; a missing folder is empty.
"""

import os
import sys


def main() -> int:
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    folder, endings = sys.argv[1], tuple(sys.argv[2:])
    for here, folders, names in os.walk(os.path.join(root, folder)):
        folders.sort()
        for name in sorted(names):
            path = os.path.relpath(os.path.join(here, name), root)
            if path.endswith(endings) and not name.startswith((".", "#")):
                print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
