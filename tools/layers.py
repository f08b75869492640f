"""Checks that includes point one way: base < os < store = sched < db = imports < run < ui < cmd = py < main.

A file includes headers of its own folder and of lower ones only; Python.h belongs to src/py alone.
Usage: layers.py [ROOT]    Exit status 1 and one line for each wrong include.
"""

import pathlib
import re
import sys

RANKS = {
    "base": 0,
    "os": 1,
    "store": 2,
    "sched": 2,
    "db": 3,
    "imports": 3,
    "run": 4,
    "ui": 5,
    "cmd": 6,
    "py": 6,
    "main": 7,
}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def folder_of(path: pathlib.PurePath) -> str:
    return path.parts[0] if len(path.parts) > 1 else path.stem


def wrong(here: str, ours: str, system: str) -> str | None:
    """Says what is wrong with one include in a file of folder `here`; None when nothing is."""
    if system:
        return "Python.h belongs to src/py" if system == "Python.h" and here != "py" else None
    there = folder_of(pathlib.PurePosixPath(ours)) if "/" in ours else ""
    if there not in RANKS:
        return "includes are written folder/name.h"
    if there != here and RANKS[there] >= RANKS[here]:
        return f"{here} must not include {there}"
    return None


def problems(root: pathlib.Path) -> list[str]:
    found = []
    for path in sorted((root / "src").rglob("*.[ch]")):
        here = folder_of(path.relative_to(root / "src"))
        if here not in RANKS:
            found.append(f"{path.relative_to(root)}: folder '{here}' has no place in tools/layers.py")
            continue
        text = path.read_text()
        for match in INCLUDE.finditer(text):
            why = wrong(here, match[1] or "", match[2] or "")
            if why:
                line = text.count("\n", 0, match.start()) + 1
                found.append(f"{path.relative_to(root)}:{line}: {match[1] or match[2]}: {why}")
    return found


def main() -> int:
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    found = problems(root if root.is_dir() else root.parent.parent)
    print("\n".join(found) if found else "layers: every include points down")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
